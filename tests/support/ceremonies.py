"""Committed files of snarkjs's ceremonies, and circuits of any size for others."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np

from kernels.array import FrArray
from kernels.backend import get_backend
from kernels.bn254 import R
from prover.ceremony.initial import count_rows, make_initial
from prover.ceremony.phase1 import require_powers
from prover.formats.key_sections import KeySections, read_sections
from prover.formats.ptau import Powers, Prepared, read_powers
from prover.formats.r1cs import read_r1cs
from tests.support.foreign import VECTORS, put_together, vector
from tests.support.tiny_circuits import seeded

POWERS = {"multiplier": VECTORS / "powers_3.ptau", "mixed": VECTORS / "powers_6.ptau"}
"""The first is prepared and of one power more than its circuit needs; the second is neither."""

BEACON, EXPONENT = bytes(range(1, 32)), 10
"""Of both files, and of the key `multiplier_2.zkey`."""

_TERM = [("wire", "<u4"), ("value", "<u8", (4,))]
_ROW = np.dtype(
    [("n_a", "<u4"), ("a", _TERM), ("n_b", "<u4"), ("b", _TERM, (2,)), ("n_c", "<u4"), ("c", _TERM)]
)


class Ceremony(NamedTuple):
    """Powers of a file, their Lagrange bases, and the first key of a circuit."""

    powers: Powers
    prepared: Prepared
    initial: KeySections


@cache
def begin(circuit: str) -> Ceremony:
    """Everything up to the first key of a committed circuit."""
    backend = get_backend("cpu")
    r1cs = read_r1cs(vector(circuit, ".r1cs"), backend)
    powers = read_powers(POWERS[circuit], count_rows(r1cs))
    prepared = require_powers(powers, backend, seeded(1))
    return Ceremony(powers, prepared, make_initial(r1cs, powers, prepared, backend))


@cache
def read_finished() -> KeySections:
    """snarkjs's key of the multiplier with a contribution and a beacon."""
    return read_sections(vector("multiplier", "_2.zkey"), get_backend("cpu"), seeded(2))


def write_chain(folder: Path, n_rows: int, *, is_wide: bool) -> Path:
    """A circuit of rows a x_i (b x_i + c x_0) = d x_(i+1), whose last wire is public.

    is_wide : coefficients are drawn from F_r; else they are +-1 and small powers of two
    """
    rng, n_wires = Random(n_rows), n_rows + 2
    small = [1, R - 1, 2, 1 << 20]
    drawn = [rng.randrange(R) if is_wide else rng.choice(small) for _ in range(4 * n_rows)]
    values = FrArray.from_ints(drawn).data.reshape(n_rows, 4, 4)
    wires = np.append(np.arange(2, n_wires), 1)  # x_0, x_1, ...
    rows = np.zeros(n_rows, dtype=_ROW)
    rows["n_a"], rows["n_b"], rows["n_c"] = 1, 2, 1
    rows["a"]["wire"], rows["c"]["wire"] = wires[:-1], wires[1:]
    rows["b"]["wire"] = np.stack([wires[:-1], np.full(n_rows, wires[0])], axis=1)
    rows["a"]["value"], rows["b"]["value"], rows["c"]["value"] = (
        values[:, 0],
        values[:, 1:3],
        values[:, 3],
    )
    prime = R.to_bytes(32, "little")
    head = struct.pack("<I32sIIIIQI", 32, prime, n_wires, 1, 0, 1, n_wires, n_rows)
    labels = np.arange(n_wires, dtype="<u8").tobytes()
    path = folder / f"chain_{n_rows}.r1cs"
    sections = [(1, head), (2, rows.tobytes()), (3, labels)]
    path.write_bytes(put_together(b"r1cs" + struct.pack("<I", 1), sections))
    return path
