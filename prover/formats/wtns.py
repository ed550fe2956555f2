"""`.wtns`: the values of all wires, (1 | public outputs | public inputs | the rest).

section 1 : n8 u32 = 32 | r [32] | n_wires u32
section 2 : n_wires x canonical scalar [32]
"""

from __future__ import annotations

import os
import struct

import numpy as np

from kernels.array import FrArray
from kernels.bn254 import R
from prover.formats.binfile import BinFile, require_below, write_binfile

_HEADER = struct.Struct("<I32sI")


def read_wtns(path: str | os.PathLike[str]) -> FrArray:
    """All wires, [n_wires], the first of them 1.

    raises : FormatError, which never carries a value; OSError as `open` does
    """
    with BinFile(path, magic=b"wtns", versions=(2,)) as file:
        file.require_bytes(1, _HEADER.size, "a 32-byte prime and a count")
        n8, prime, n_wires = _HEADER.unpack(file.read(1))
        if n8 != 32 or int.from_bytes(prime, "little") != R:
            raise file.refuse("the field is not that of BN254's scalars", section=1)
        file.require_bytes(2, 32 * n_wires, f"{n_wires} wires")
        words = file.words(2, 4)
        require_below(words, R, where=file.where(2))
        if not n_wires or words[0].tolist() != [1, 0, 0, 0]:
            raise file.refuse("the first wire is not the constant 1", section=2)
        return FrArray(words)


def write_wtns(path: str | os.PathLike[str], witness: FrArray) -> None:
    """Inverse of `read_wtns`."""
    header = _HEADER.pack(32, R.to_bytes(32, "little"), len(witness))
    scalars = witness.data.astype(np.dtype("<u8"), copy=False)
    write_binfile(path, magic=b"wtns", version=2, sections=[(1, [header]), (2, [scalars])])
