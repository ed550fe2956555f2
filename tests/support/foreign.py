"""The committed files of circom and snarkjs, and containers taken apart and put together."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from kernels.backend import Backend
from kernels.bn254 import B2
from kernels.encoding import is_in_subgroup_g2, sqrt_fp2
from kernels.reference import Fp2, add_fp2, is_on_curve_g2, mul_fp2
from prover.circuit.r1cs import R1CS
from prover.formats.coefficients import list_values

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "snarkjs"
CIRCUITS = ("multiplier", "mixed")

Sections = list[tuple[int, bytes]]


def vector(circuit: str, ending: str) -> Path:
    return VECTORS / f"{circuit}{ending}"


def take_apart(raw: bytes) -> tuple[bytes, Sections]:
    """Magic and version, and all sections in their order; for well-formed containers only."""
    (n,) = struct.unpack_from("<I", raw, 8)
    sections, position = [], 12
    for _ in range(n):
        kind, size = struct.unpack_from("<IQ", raw, position)
        position += 12
        sections.append((kind, raw[position : position + size]))
        position += size
    assert position == len(raw)
    return raw[:8], sections


def put_together(head: bytes, sections: Sequence[tuple[int, bytes]]) -> bytes:
    table = (struct.pack("<IQ", kind, len(body)) + body for kind, body in sections)
    return head + struct.pack("<I", len(sections)) + b"".join(table)


def patched(raw: bytes, section: int, offset: int, new: bytes) -> bytes:
    """The container with some bytes of a section overwritten; a negative offset is from its end."""
    head, sections = take_apart(raw)
    out = []
    for kind, body in sections:
        if kind == section:
            at = offset % len(body)
            body = body[:at] + new + body[at + len(new) :]
        out.append((kind, body))
    return put_together(head, out)


def replaced(raw: bytes, section: int, body: bytes | None) -> bytes:
    """The container with another section of that type, or without it."""
    head, sections = take_apart(raw)
    kept = [(kind, old if kind != section else body) for kind, old in sections]
    return put_together(head, [(kind, new) for kind, new in kept if new is not None])


def encode_rows(circuit: R1CS, backend: Backend) -> bytes:
    """Section 2 of the circuit's `.r1cs`."""
    terms = [zip(m.cols, list_values(m, backend).to_ints(), strict=True) for m in circuit.matrices]
    out = []
    for counts in zip(*(np.diff(m.indptr) for m in circuit.matrices), strict=True):
        for left, count in zip(terms, counts, strict=True):
            out.append(struct.pack("<I", count))
            for wire, value in islice(left, count):
                out.append(struct.pack("<I", wire) + value.to_bytes(32, "little"))
    return b"".join(out)


def outside_g2() -> tuple[Fp2, Fp2]:
    """A point of E' whose order is not r."""
    for i in range(1, 100):
        x = (i, 1)
        y = sqrt_fp2(add_fp2(mul_fp2(mul_fp2(x, x), x), B2))
        if y is not None and not is_in_subgroup_g2((x, y)):
            assert is_on_curve_g2((x, y))
            return x, y
    raise AssertionError("the cofactor is large: the first point found should do")
