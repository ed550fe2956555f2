"""`.ptau` over BN254: powers of tau, the first phase of a setup, as snarkjs keeps them.

    section 1  : 32 u32 | p [32] | power k u32 | power of the whole ceremony u32
    section 2  : 2^(k+1) - 1 x G1   tau^i          section 12 : Lagrange bases of section 2
    section 3  : 2^k         x G2   tau^i          section 13 : ... of section 3
    section 4  : 2^k         x G1   alpha tau^i    section 14 : ... of section 4
    section 5  : 2^k         x G1   beta tau^i     section 15 : ... of section 5
    section 6  : 1           x G2   beta
    section 7  : contributions, not interpreted here

Sections 12 to 15, which a file that is "prepared" has, hold [L_i(tau)] for the domains of 1, 2, 4,
..., 2^k points one after the other, section 12 also for 2^(k+1), where tau^(2^(k+1) - 1), which the
file has not, counts as zero. Points are as in `prover.formats.zkey`. A file may be truncated to a
smaller power, which then differs from the ceremony's.

Source: snarkjs 0.7.6, src/powersoftau_new.js, powersoftau_preparephase2.js, powersoftau_utils.js.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from kernels.array import U64, G1Array, G2Array
from kernels.bn254 import TWO_ADICITY, P
from prover.formats.binfile import BinFile

TAU_1, TAU_2, ALPHA_1, BETA_1, BETA_2, CONTRIBUTIONS = 2, 3, 4, 5, 6, 7
LAGRANGE = {TAU_1: 12, TAU_2: 13, ALPHA_1: 14, BETA_1: 15}
NAMES = {
    TAU_1: "tau in G1",
    TAU_2: "tau in G2",
    ALPHA_1: "alpha tau in G1",
    BETA_1: "beta tau in G1",
    BETA_2: "beta in G2",
    12: "Lagrange of tau in G1",
    13: "Lagrange of tau in G2",
    14: "Lagrange of alpha tau in G1",
    15: "Lagrange of beta tau in G1",
}
HASHED_AT_ONCE = 1 << 14
"""Differences of powers that snarkjs hashes at a time: it rounds their number up to this."""

_HEADER = struct.Struct("<I32sII")
_G1, _G2 = 64, 128  # bytes
_POINT_BYTES = {TAU_2: _G2, BETA_2: _G2, 13: _G2}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """Lagrange bases of n points at tau, times 1, alpha or beta; and on the odd coset.

    odd  : L'_(2i+1)(tau), L' of 2n points: the bases of a zkey's H
    even : L'_(2i)(tau), of powers that are read `doubled`; else None
    """

    tau_1: G1Array
    tau_2: G2Array
    alpha_1: G1Array
    beta_1: G1Array
    odd: G1Array
    even: G1Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Powers:
    """What circuits of n = 2^lg_n rows need of a file, not verified (`prover.ceremony.phase1`).

    n_tau    : powers in tau_1 that the file has: 2n, or 2n - 1
    tau_1    : 2n points, the last of which is zero where the file has it not; other powers n
    prepared : None where the file has no Lagrange bases
    doubled  : whether the Lagrange bases are of the even points of 2n, too
    behind   : the 64 bytes after 2n - 1 powers in section 2, a point or not, uint64[1, 8]; None
               below the size from which snarkjs reads them (`prover.ceremony.initial`)
    name     : of the file
    """

    lg_n: int
    n_tau: int
    tau_1: G1Array
    tau_2: G2Array
    alpha_1: G1Array
    beta_1: G1Array
    beta_2: G2Array
    prepared: Prepared | None
    behind: U64 | None
    name: str
    doubled: bool = False

    @property
    def n(self) -> int:
        return 1 << self.lg_n

    def where(self, section: int) -> str:
        """Name of the place, for errors."""
        return f"{self.name}, section {section} ({NAMES[section]})"


def read_powers(path: str | os.PathLike[str], lg_n: int, *, doubled: bool = False) -> Powers:
    """The powers that circuits of 2^lg_n rows need. Memory is that of what is returned.

    doubled : all 2n powers of tau in G1 are there, and the Lagrange basis of 2n points is exact:
              one whose last power counts as zero is of no multiples of Z
    raises : FormatError, naming the section, for a header that is none, sections of another size
             than the header says, or too few powers; OSError as `open` does
    """
    with BinFile(path, magic=b"ptau", versions=(1,)) as file:
        power, _ = read_header(file)
        is_prepared = any(file.has(section) for section in LAGRANGE.values())
        _require_sizes(file, power, is_prepared=is_prepared)
        if lg_n + doubled > power:
            wanted = f"needs 2^{lg_n + 1}" if doubled else f"has 2^{lg_n}"
            raise file.refuse(
                f"has powers for 2^{power} rows, and the circuit {wanted}",
                section=1,
                next_step="take a file of at least that power",
            )
        n = 1 << lg_n
        n_tau = min(2 * n, (2 << power) - 1)
        tau_1 = _read_g1(file, TAU_1, 0, n_tau)
        return Powers(
            lg_n=lg_n,
            n_tau=n_tau,
            tau_1=G1Array.concat([tau_1, G1Array.zeros(2 * n - n_tau)]),
            tau_2=_read_g2(file, TAU_2, 0, n),
            alpha_1=_read_g1(file, ALPHA_1, 0, n),
            beta_1=_read_g1(file, BETA_1, 0, n),
            beta_2=_read_g2(file, BETA_2, 0, 1),
            prepared=_read_prepared(file, n, doubled=doubled) if is_prepared else None,
            behind=file.behind(TAU_1, (2 * n - 1) * _G1, 8) if n > HASHED_AT_ONCE else None,
            name=file.name,
            doubled=doubled,
        )


def read_header(file: BinFile) -> tuple[int, int]:
    """The file's power, and that of the whole ceremony."""
    file.require_bytes(1, _HEADER.size, "a 32-byte prime and two powers")
    n8, prime, power, whole = _HEADER.unpack(file.read(1))
    if n8 != 32 or int.from_bytes(prime, "little") != P:
        raise file.refuse("the curve is not BN254", section=1, next_step="use a file of BN254")
    if not 1 <= power <= whole <= TWO_ADICITY:
        raise file.refuse(f"powers {power} of {whole} cannot be", section=1)
    return int(power), int(whole)


def _require_sizes(file: BinFile, power: int, *, is_prepared: bool) -> None:
    n = 1 << power
    counts = {TAU_1: 2 * n - 1, TAU_2: n, ALPHA_1: n, BETA_1: n, BETA_2: 1}
    if is_prepared:
        counts |= {12: 4 * n - 1, 13: 2 * n - 1, 14: 2 * n - 1, 15: 2 * n - 1}
    for section, count in counts.items():
        n_bytes = count * _POINT_BYTES.get(section, _G1)
        file.require_bytes(section, n_bytes, f"{count} points ({NAMES[section]})")
    if file.n_bytes(CONTRIBUTIONS) < 4:
        raise file.refuse("too short for a count", section=CONTRIBUTIONS)


def _read_prepared(file: BinFile, n: int, *, doubled: bool) -> Prepared:
    """The domain of n points lies behind those of 1, 2, ..., n/2: n - 1 points."""
    whole = _read_g1(file, 12, 2 * n - 1, 2 * n)
    return Prepared(
        tau_1=_read_g1(file, 12, n - 1, n),
        tau_2=_read_g2(file, 13, n - 1, n),
        alpha_1=_read_g1(file, 14, n - 1, n),
        beta_1=_read_g1(file, 15, n - 1, n),
        odd=whole[1::2],
        even=whole[0::2] if doubled else None,
    )


def _read_g1(file: BinFile, section: int, first: int, count: int) -> G1Array:
    return G1Array(file.part(section, first * _G1, 8 * count, 8))


def _read_g2(file: BinFile, section: int, first: int, count: int) -> G2Array:
    return G2Array(file.part(section, first * _G2, 16 * count, 16))
