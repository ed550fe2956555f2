"""`.r1cs`: constraints A z o B z = C z, as circom writes them.

    section 1 : n8 u32 = 32 | r [32] | n_wires u32 | n_public_out u32 | n_public_in u32
                | n_private_in u32 | n_labels u64 | n_rows u32
    section 2 : per row three linear combinations: n u32 | n x ( wire u32 | coefficient [32] )
    section 3 : n_wires x label u64
    section 4 : n u32 | custom gates: name, ending in 0 | ...      both only of PLONK: must be empty
    section 5 : n u32 | uses of custom gates                       or n = 0, if they are there

Wires are ordered (1 | public outputs | public inputs | private inputs | the rest).
Source: github.com/iden3/r1csfile, doc/r1cs_bin_format.md.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kernels.array import FrArray, SparseMatrix
from kernels.backend import Backend
from kernels.bn254 import R
from prover.circuit.r1cs import R1CS
from prover.formats.binfile import BinFile, require_below
from prover.formats.coefficients import build_matrix

_HEADER = struct.Struct("<I32sIIIIQI")
_TERM_WORDS = 9  # 32-bit words of wire and coefficient
_MAX_NAME_BYTES = 128
_NAME = re.compile(rb"([A-Za-z_$][A-Za-z0-9_$]*)\0")  # of a template

U32 = npt.NDArray[np.uint32]


def read_r1cs(path: str | os.PathLike[str], backend: Backend) -> R1CS:
    """The circuit of a file; a wire that occurs twice in a combination counts with the sum.

    raises : FormatError (also for custom gates, named, which only PLONK has); OSError as `open`
    cost   : vectorized, but for finding where combinations start: each says where the next one is
    """
    with BinFile(path, magic=b"r1cs", versions=(1,)) as file:
        _require_no_custom_gates(file)
        file.require_bytes(1, _HEADER.size, "a 32-byte prime and seven counts")
        n8, prime, n_wires, n_out, n_in, n_private_in, _, n_rows = _HEADER.unpack(file.read(1))
        if n8 != 32 or int.from_bytes(prime, "little") != R:
            raise file.refuse("the field is not that of BN254's scalars", section=1)
        if n_wires < 1 + n_out + n_in + n_private_in:
            raise file.refuse(f"{n_wires} wires are too few for the inputs and outputs", section=1)
        file.require_bytes(3, 8 * n_wires, f"{n_wires} wires")
        a, b, c = _read_matrices(file, n_rows=n_rows, n_wires=n_wires, backend=backend)
        return R1CS(
            n_public=n_out + n_in,
            linked=(),
            n_advice=0,
            n_private=n_wires - 1 - n_out - n_in,
            a=a,
            b=b,
            c=c,
        )


def _require_no_custom_gates(file: BinFile) -> None:
    """Refuse section 4 or 5 unless it says that there are none."""
    for section, content in ((4, "custom gates"), (5, "uses of custom gates")):
        n_bytes = file.n_bytes(section) if file.has(section) else 0
        if not n_bytes:
            continue
        if n_bytes < 4:
            raise file.refuse(f"{n_bytes} bytes are too few for a count", section=section)
        head = file.head(section, min(n_bytes, 4 + _MAX_NAME_BYTES))
        count = int.from_bytes(head[:4], "little")
        if not count and n_bytes > 4:
            raise file.refuse(f"{n_bytes - 4} bytes follow a count of 0", section=section)
        if count:
            name = _NAME.match(head, 4) if section == 4 else None
            first = f", the first named {name[1].decode()}" if name else ""
            raise file.refuse(
                f"the circuit has {count} {content}{first}, and Groth16 has none",
                section=section,
                next_step="compile it without custom templates",
            )


def _read_matrices(
    file: BinFile, *, n_rows: int, n_wires: int, backend: Backend
) -> Sequence[SparseMatrix]:
    """A, B and C of section 2."""
    words = file.array(2, np.dtype("<u4")).astype(np.uint32, copy=False)
    # Each combination takes a word at least, so a hostile count is refused before it costs memory.
    if 3 * n_rows > len(words):
        raise file.refuse(f"{len(words)} words are too few for {n_rows} rows", section=2)
    starts = _find_combinations(words, 3 * n_rows, file)
    counts = words[starts]
    terms = np.delete(words, starts).reshape(-1, _TERM_WORDS)
    wires = terms[:, 0]
    if len(wires) and int(wires.max()) >= n_wires:
        raise file.refuse(f"wire {int(wires.max())} of {n_wires} occurs", section=2)
    values = np.ascontiguousarray(terms[:, 1:]).view(np.uint64)
    require_below(values, R, where=file.where(2))
    combination = np.repeat(np.arange(3 * n_rows, dtype=np.uint32), counts)
    rows, kinds = combination // 3, combination % 3
    return [
        build_matrix(
            rows[kinds == k],
            wires[kinds == k],
            FrArray(values[kinds == k]),
            n_rows=n_rows,
            n_cols=n_wires,
            backend=backend,
        )
        for k in range(3)
    ]


def _find_combinations(words: U32, n: int, file: BinFile) -> npt.NDArray[np.int64]:
    """Positions of the n counts in section 2, which they must fill exactly.

    The one loop in these formats: a count's place depends on all before it. Some 0.1 us each.
    """
    view, position = words.data, 0
    starts = np.empty(n, dtype=np.int64)
    out = starts.data
    try:
        for i in range(n):
            out[i] = position
            position += 1 + _TERM_WORDS * view[position]
    except IndexError:
        position = -1
    if position != len(words):
        raise file.refuse(f"the linear combinations do not fill {len(words)} words", section=2)
    return starts
