"""`.zkey` of Groth16 over BN254: snarkjs's proving key.

    section 1  : protocol u32 = 1
    section 2  : n8q u32 = 32 | p [32] | n8r u32 = 32 | r [32] | n_wires u32 | n_public u32 | n u32
                 | alpha1 | beta1 | beta2 | gamma2 | delta1 | delta2
    section 3  : 1 + n_public   x G1   [K_k/gamma]_1, "IC"
    section 4  : count u32 | count x ( matrix u32 | row u32 | wire u32 | value * 2^512 mod r [32] )
                 matrix 0 is A, 1 is B; C is left out: a prover takes C z to be A z o B z
    section 5  : n_wires        x G1   [u_k]_1
    section 6  : n_wires        x G1   [v_k]_1
    section 7  : n_wires        x G2   [v_k]_2
    section 8  : n_wires - 1 - n_public x G1   [K_k/delta]_1
    section 9  : n              x G1   [-L~_i(tau) Z(tau) / (2 delta)]_1, L~ the Lagrange basis of
                 the odd coset zeta * H, zeta a primitive 2n-th root of one
    section 10 : circuit hash [64] | count u32 | contributions (optional; not interpreted here)

Points are affine, coordinates times 2^256 mod p, all-zero for infinity: the words of `G1Array` and
`G2Array`. After the circuit's rows, A has one row per public wire with its only entry 1 there.
Source: snarkjs 0.7.6, src/zkey_new.js, zkey_utils.js, groth16_prove.js.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from kernels.array import U64, FrArray, FrMont, G1Array, G2Array, SparseMatrix
from kernels.backend import Backend
from kernels.bn254 import TWO_ADICITY, P, R
from kernels.numpy_types import UInt8Array
from prover.circuit.r1cs import Factors
from prover.formats.binfile import BinFile, Buffer, require_below, write_binfile
from prover.formats.checks import is_infinity, require_finite, require_g1, require_g2
from prover.formats.coefficients import build_matrix, list_rows, list_values
from prover.formats.key_memory import KeyMemory
from prover.keys.halves import (
    MAX_PUBLIC,
    G1Bases,
    G2Bases,
    Quotient,
    Wires,
)
from prover.keys.plain import PlainKey, PlainProvingKey
from prover.randomness import RandomBytes

GROTH16 = 1
SIZES = struct.Struct("<I32sI32sIII")
_G1, _G2 = 64, 128  # bytes
_HEADER_BYTES = SIZES.size + 3 * _G1 + 3 * _G2
_ENTRY = np.dtype([("matrix", "<u4"), ("row", "<u4"), ("wire", "<u4"), ("value", "<u8", (4,))])
_HASH_BYTES = 64
_MIN_CONTRIBUTION = 3 * _G1 + _G2 + 64 + 4 + 4
_P_BYTES, _R_BYTES = P.to_bytes(32, "little"), R.to_bytes(32, "little")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Zkey:
    """A proving key as its file tells it.

    key           : its quotient WHOLE; wires whose base is infinity, of
                    which circom circuits have many on the B side, are in no query
    circuit       : n = 2^lg_n rows, empty ones at the end
    contributions : section 10 as it is, or empty
    """

    key: PlainProvingKey
    circuit: Factors
    contributions: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    n_wires: int
    n_public: int
    lg_n: int
    g1: G1Array  # alpha, beta, delta
    g2: G2Array  # beta, gamma, delta


def read_zkey(
    path: str | os.PathLike[str],
    backend: Backend,
    *,
    check_points: bool = True,
    random_bytes: RandomBytes | None = None,
    memory: KeyMemory | None = None,
) -> Zkey:
    """The key of a file.

    check_points : test every point of the queries for its curve and group. A key from a stranger
                   with points elsewhere can make proofs that tell about the witness; switch this
                   off only for keys that were checked before. Header and IC are always tested.
    random_bytes : cryptographic; with it the query in G2 is tested all at once, and wrongly
                   accepted with probability at most 2^-128. Without it each point is tested by
                   itself, about 0.1 ms each.
    memory       : of files that passed every test here; the points of such a one, whose bytes these
                   are by SHA-256, are not tested again, and a new one that passes is added
    raises       : FormatError; OSError as `open` does
    """
    with BinFile(path, magic=b"zkey", versions=(1,)) as file:
        digest = file.load() if memory is not None else b""
        is_known = memory is not None and memory.knows(digest)
        check_points = check_points and not is_known
        header = read_header(file, backend, check=not is_known)
        zkey = Zkey(
            circuit=_read_circuit(file, header, backend),
            key=_read_key(
                file,
                header,
                backend,
                check_public=not is_known,
                check_points=check_points,
                random_bytes=random_bytes,
            ),
            contributions=_read_contributions(file),
        )
    if memory is not None and check_points:
        memory.add(digest)
    return zkey


def write_zkey(path: str | os.PathLike[str], zkey: Zkey, backend: Backend) -> None:
    """Inverse of `read_zkey`: entries of section 4 by row, A before B.

    A key without contributions gets a section 10 that says so: zero contributions, and as hash
    BLAKE2b-512 of sections 2 to 9. (snarkjs's own hash also covers powers of tau, which a key has
    not.) snarkjs proves, verifies and exports with such a key; its `zkey verify` refuses it.
    Raises TypeError for a key that is prepared for a device.
    """
    sections = [(1, [struct.pack("<I", GROTH16)]), *_encode_body(zkey, backend)]
    contributions = zkey.contributions
    if not contributions:
        digest = blake2b(digest_size=_HASH_BYTES)
        for _, buffers in sections[1:]:
            for b in buffers:
                digest.update(np.ascontiguousarray(b).data if isinstance(b, np.ndarray) else b)
        contributions = digest.digest() + struct.pack("<I", 0)
    sections.append((10, [contributions]))
    write_binfile(path, magic=b"zkey", version=1, sections=sections)


def _encode_body(zkey: Zkey, backend: Backend) -> list[tuple[int, Sequence[Buffer]]]:
    """Sections 2 to 9."""
    key, v = zkey.key, zkey.key.verifying
    n_ic = 1 + key.n_public
    b1, b2, h = _as_stored(key.b1), _as_stored(key.b2), _as_stored(key.h)
    sizes = SIZES.pack(32, _P_BYTES, 32, _R_BYTES, key.n_wires, key.n_public, key.domain)
    points = (v.alpha, b1[-2:-1], v.beta, v.gamma, key.correction[:1], v.delta)
    return [
        (2, [sizes, *(_bytes_of(p.data) for p in points)]),
        (3, [_bytes_of(v.public.data)]),
        (4, [encode_entries(zkey.circuit.a, zkey.circuit.b, backend)]),
        (5, [_bytes_of(_spread(_as_stored(key.a), key.a_wires, key.n_wires))]),
        (6, [_bytes_of(_spread(b1, key.b_wires, key.n_wires))]),
        (7, [_bytes_of(_spread(b2, key.b_wires, key.n_wires))]),
        (8, [_bytes_of(_spread(_as_stored(key.c), key.c_wires, key.n_wires)[n_ic:])]),
        (9, [_bytes_of(h.data)]),
    ]


def _as_stored(bases: G1Bases | G2Bases) -> G1Array | G2Array:
    if not isinstance(bases, G1Array | G2Array):
        raise TypeError("the key is prepared for a device; write it before that")
    return bases


def _spread(bases: G1Array | G2Array, wires: Wires, n_wires: int) -> U64:
    """The points of a query for every wire, infinity where it has none."""
    out = np.zeros((n_wires, bases.WORDS), dtype=np.uint64)
    out[wires] = bases.data[: len(wires)]
    return out


def _bytes_of(words: U64) -> Buffer:
    return words.astype("<u8", copy=False)


def encode_entries(a: SparseMatrix, b: SparseMatrix, backend: Backend) -> UInt8Array:
    """Section 4: count and records, by row, those of A before those of B."""
    rows = np.concatenate([list_rows(m) for m in (a, b)])
    order = np.argsort(rows, kind="stable")
    values = FrArray.concat([list_values(m, backend) for m in (a, b)])
    once = backend.to_mont(values)
    twice = backend.to_mont(FrArray(once.data))  # as a plain scalar: one more factor 2^256
    entries = np.empty(len(order), dtype=_ENTRY)
    entries["matrix"] = np.repeat(np.arange(2), [a.nnz, b.nnz])[order]
    entries["row"] = rows[order]
    entries["wire"] = np.concatenate([a.cols, b.cols])[order]
    entries["value"] = twice.data[order]
    count = np.frombuffer(struct.pack("<I", len(entries)), dtype=np.uint8)
    return np.concatenate([count, entries.view(np.uint8)])


def read_header(file: BinFile, backend: Backend, *, check: bool) -> Header:
    """Sections 1 and 2; every count is checked against the size of the section it rules."""
    file.require_bytes(1, 4, "a protocol number")
    (protocol,) = struct.unpack("<I", file.read(1))
    if protocol != GROTH16:
        raise file.refuse(
            f"protocol {protocol} is not Groth16", section=1, next_step="use a Groth16 key"
        )
    file.require_bytes(2, _HEADER_BYTES, "the header of a BN254 key")
    raw = file.read(2)
    n8q, p, n8r, r, n_wires, n_public, n = SIZES.unpack_from(raw)
    if (n8q, p, n8r, r) != (32, _P_BYTES, 32, _R_BYTES):
        raise file.refuse("the curve is not BN254", section=2, next_step="use a BN254 key")
    lg_n = int(n).bit_length() - 1
    if n < 2 or n != 1 << lg_n or lg_n >= TWO_ADICITY:
        raise file.refuse(
            f"domain size {n} is no power of two from 2 to 2^{TWO_ADICITY - 1}", section=2
        )
    if n_wires < 1 + n_public:
        raise file.refuse(f"{n_wires} wires are too few for {n_public} public ones", section=2)
    if n_public > MAX_PUBLIC:
        raise file.refuse(f"{n_public} public wires are more than {MAX_PUBLIC}", section=2)
    for section, count, size in (
        (3, 1 + n_public, _G1),
        (5, n_wires, _G1),
        (6, n_wires, _G1),
        (7, n_wires, _G2),
        (8, n_wires - 1 - n_public, _G1),
        (9, n, _G1),
    ):
        file.require_bytes(section, count * size, f"{count} points")
    g1, g2 = _split_points(raw[SIZES.size :])
    if check:
        require_g1(g1, backend, where=file.where(2))
        require_g2(g2, backend, where=file.where(2))
        require_finite(g1, where=file.where(2))
        require_finite(g2, where=file.where(2))
    return Header(n_wires=n_wires, n_public=n_public, lg_n=lg_n, g1=g1, g2=g2)


def _split_points(raw: bytes) -> tuple[G1Array, G2Array]:
    """The header's points by group: (alpha, beta, delta) and (beta, gamma, delta)."""
    words = np.frombuffer(raw, dtype="<u8").astype(np.uint64)
    g1 = np.concatenate([words[:16], words[48:56]]).reshape(3, 8)
    g2 = np.concatenate([words[16:48], words[56:72]]).reshape(3, 16)
    return G1Array(g1), G2Array(g2)


def _read_g1(file: BinFile, section: int, n: int, backend: Backend, *, check: bool) -> G1Array:
    file.require_bytes(section, _G1 * n, f"{n} points")
    points = G1Array(file.words(section, 8))
    if check:
        require_g1(points, backend, where=file.where(section))
    return points


def _read_b2(
    file: BinFile, n: int, backend: Backend, *, check: bool, random_bytes: RandomBytes | None
) -> G2Array:
    file.require_bytes(7, _G2 * n, f"{n} points")
    points = G2Array(file.words(7, 16))
    if check:
        require_g2(points, backend, where=file.where(7), random_bytes=random_bytes)
    return points


def _read_key(
    file: BinFile,
    header: Header,
    backend: Backend,
    *,
    check_public: bool,
    check_points: bool,
    random_bytes: RandomBytes | None,
) -> PlainProvingKey:
    """Sections 3 and 5 to 9, with the points of the header."""
    n_wires, n_ic = header.n_wires, 1 + header.n_public
    alpha, beta1, delta1 = (header.g1[i : i + 1] for i in range(3))
    beta2, gamma2, delta2 = (header.g2[i : i + 1] for i in range(3))

    def read(section: int, n: int) -> G1Array:
        return _read_g1(file, section, n, backend, check=check_points)

    ic = _read_g1(file, 3, n_ic, backend, check=check_public)
    a, b1 = read(5, n_wires), read(6, n_wires)
    b2 = _read_b2(file, n_wires, backend, check=check_points, random_bytes=random_bytes)
    c = read(8, n_wires - n_ic)
    a_wires, b_wires, of_c = _find_finite(a), _find_finite(b1, b2), _find_finite(c)
    return PlainProvingKey(
        verifying=PlainKey(alpha=alpha, public=ic, beta=beta2, gamma=gamma2, delta=delta2),
        quotient=Quotient.WHOLE,
        domain=1 << header.lg_n,
        n_wires=n_wires,
        n_advice=0,
        a_wires=a_wires,
        b_wires=b_wires,
        c_wires=of_c + np.uint32(n_ic),
        a=G1Array.concat([a[a_wires], alpha, delta1]),
        b1=G1Array.concat([b1[b_wires], beta1, delta1]),
        b2=G2Array.concat([b2[b_wires], beta2, delta2]),
        c=c[of_c],
        h=read(9, 1 << header.lg_n),
        linked=(),
        advice=G1Array.zeros(0),
        basis=G1Array.zeros(0),
        link=G1Array.zeros(0),
        correction=G1Array.concat([delta1, G1Array.zeros(1)]),
    )


def _find_finite(*queries: G1Array | G2Array) -> Wires:
    """Where some of the queries over the same wires have a base."""
    infinite = np.all([is_infinity(points) for points in queries], axis=0)
    return np.flatnonzero(~infinite).astype(np.uint32)


def _read_circuit(file: BinFile, header: Header, backend: Backend) -> Factors:
    """A and B of section 4."""
    n_rows, n_wires = 1 << header.lg_n, header.n_wires
    if file.n_bytes(4) < 4:
        raise file.refuse("too short for a count", section=4)
    entries = file.array(4, _ENTRY, offset=4)
    (count,) = struct.unpack("<I", file.head(4, 4))
    if count != len(entries):
        raise file.refuse(f"{len(entries)} entries where the count says {count}", section=4)
    for name, bound in (("matrix", 2), ("row", n_rows), ("wire", n_wires)):
        if count and int(entries[name].max()) >= bound:
            raise file.refuse(f"{name} {int(entries[name].max())} is not below {bound}", section=4)
    stored = np.ascontiguousarray(entries["value"]).astype(np.uint64, copy=False)
    require_below(stored, R, where=file.where(4))
    once = backend.from_mont(FrMont(stored))  # value * 2^256
    values = backend.from_mont(FrMont(once.data))

    def build(k: int) -> SparseMatrix:
        mine = np.flatnonzero(entries["matrix"] == k)
        return build_matrix(
            entries["row"][mine],
            entries["wire"][mine],
            values[mine],
            n_rows=n_rows,
            n_cols=n_wires,
            backend=backend,
        )

    return Factors(
        n_public=header.n_public,
        linked=(),
        n_advice=0,
        n_private=n_wires - 1 - header.n_public,
        a=build(0),
        b=build(1),
    )


def _read_contributions(file: BinFile) -> bytes:
    """Section 10, if it is there and as long as its count demands at least."""
    if not file.has(10):
        return b""
    raw = file.read(10)
    if len(raw) < _HASH_BYTES + 4:
        raise file.refuse("too short for a hash and a count", section=10)
    (count,) = struct.unpack_from("<I", raw, _HASH_BYTES)
    if len(raw) < _HASH_BYTES + 4 + count * _MIN_CONTRIBUTION:
        raise file.refuse(f"too short for {count} contributions", section=10)
    return raw
