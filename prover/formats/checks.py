"""The checks that the points of foreign keys and proofs must pass."""

from __future__ import annotations

import numpy as np

from kernels.array import G1Array, G2Array
from kernels.backend import Backend
from kernels.numpy_types import BoolArray
from prover.errors import FormatError
from prover.formats.binfile import REGENERATE
from prover.randomness import RandomBytes


def is_infinity(points: G1Array | G2Array) -> BoolArray:
    """Per point: all words zero."""
    infinite: BoolArray = ~np.any(points.data, axis=1)
    return infinite


def require_g1(points: G1Array, backend: Backend, *, where: str) -> None:
    """Refuse points off the curve (infinity is on it); names the first."""
    _require(backend.is_on_curve_g1(points), "is not on the curve", where)


def require_g2(
    points: G2Array, backend: Backend, *, where: str, random_bytes: RandomBytes | None = None
) -> None:
    """Refuse points off the curve or outside the subgroup of order r; names the first.

    random_bytes : to test all at once (`Backend.are_all_in_subgroup_g2`); else each by itself
    """
    if random_bytes is not None and backend.are_all_in_subgroup_g2(points, random_bytes):
        return
    _require(backend.is_in_subgroup_g2(points), "is not in the group G2", where)


def require_finite(points: G1Array | G2Array, *, where: str) -> None:
    """Refuse infinity: a trapdoor that is zero lets anybody prove anything."""
    _require(~is_infinity(points), "is infinity", where)


def _require(valid: BoolArray, fault: str, where: str) -> None:
    if not valid.all():
        index = int(np.argmin(valid))
        raise FormatError(f"point {index} {fault}", where=where, next_step=REGENERATE)
