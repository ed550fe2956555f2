"""INSECURE powers of tau, of a tau, alpha and beta that everybody knows: for tests and figures.

    python -m tests.support.known_powers OUT POWER [LG_N]

Prepared, as snarkjs prepares them. With LG_N only the Lagrange bases that keys of 2^LG_N rows read
are there, and only the powers of these; the rest of the file is a hole, so that a large one is
quickly made.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import BinaryIO

from kernels.array import FrMont, G1Array, G2Array
from kernels.backend import get_backend
from kernels.bn254 import G1, G2, P, R, root_of_unity
from prover.groth16.domain import Domain

TAU, ALPHA, BETA = 0x1234567, 0x7654321, 0xABCDEF01
_BACKEND = get_backend("cpu")
_G1, _G2 = G1Array.from_ints([G1]), G2Array.from_ints([G2])
_PIECE = 1 << 18


def write_powers(path: Path, power: int, lg_n: int | None = None) -> Path:
    """The file; lg_n as above."""
    n = 1 << power
    counts = {2: 2 * n - 1, 3: n, 4: n, 5: n, 6: 1, 12: 4 * n - 1}
    counts |= {13: 2 * n - 1, 14: 2 * n - 1, 15: 2 * n - 1}
    sizes = {s: count * (128 if s in (3, 6, 13) else 64) for s, count in counts.items()}
    sizes |= {1: 44, 7: 4}
    with path.open("wb") as file:
        file.write(struct.pack("<4sII", b"ptau", 1, len(sizes)))
        places = {}
        for section, size in sorted(sizes.items()):
            file.write(struct.pack("<IQ", section, size))
            places[section] = file.tell()
            file.seek(size, 1)
        file.truncate(file.tell())
        file.seek(places[1])
        file.write(struct.pack("<I32sII", 32, P.to_bytes(32, "little"), power, power))
        _write_monomials(file, places, n if lg_n is None else 1 << lg_n, 2 * n - 1)
        for lg in range(power + 1) if lg_n is None else [lg_n]:
            _write_lagrange(file, places, lg)
            if lg_n is not None or lg == power:
                _write(file, places[12], (2 << lg) - 1, _twice(lg, is_all=lg < power), 1)
    return path


def _write_monomials(file: BinaryIO, places: dict[int, int], n: int, most: int) -> None:
    powers = _BACKEND.powers(TAU, min(2 * n, most))
    _write(file, places[2], 0, powers, 1)
    _write(file, places[3], 0, powers[:n], 1, in_g2=True)
    _write(file, places[4], 0, powers[:n], ALPHA)
    _write(file, places[5], 0, powers[:n], BETA)
    _write(file, places[6], 0, FrMont.from_ints([1]), BETA, in_g2=True)


def _write_lagrange(file: BinaryIO, places: dict[int, int], lg_n: int) -> None:
    values, first = _lagrange(lg_n), (1 << lg_n) - 1
    _write(file, places[12], first, values, 1)
    _write(file, places[13], first, values, 1, in_g2=True)
    _write(file, places[14], first, values, ALPHA)
    _write(file, places[15], first, values, BETA)


def _twice(lg_n: int, *, is_all: bool) -> FrMont:
    """The basis of 2n points, of the powers that a file has.

    is_all : of all; else without tau^(2n-1), which a file of n = 2^lg_n powers lacks
    """
    size = 2 << lg_n
    basis = _lagrange(lg_n + 1)
    if is_all:
        return basis
    last = pow(TAU, size - 1, R) * pow(size, -1, R)
    return _BACKEND.sub(basis, _BACKEND.powers(root_of_unity(lg_n + 1), size, first=last % R))


def _lagrange(lg_n: int) -> FrMont:
    return Domain(1 << lg_n).evaluate_lagrange(TAU, _BACKEND)


def _write(
    file: BinaryIO, place: int, first: int, values: FrMont, factor: int, *, in_g2: bool = False
) -> None:
    file.seek(place + first * (128 if in_g2 else 64))
    for at in range(0, len(values), _PIECE):
        scalars = _BACKEND.from_mont(_BACKEND.scale(values[at : at + _PIECE], factor % R))
        if in_g2:
            file.write(_BACKEND.fixed_base_g2(scalars, _G2).data.tobytes())
        else:
            file.write(_BACKEND.fixed_base_g1(scalars, _G1).data.tobytes())


if __name__ == "__main__":
    write_powers(Path(sys.argv[1]), int(sys.argv[2]), *map(int, sys.argv[3:4]))
