"""What Groth16 keys and proofs consist of, and the checks that their points must pass.

Source: Groth16, eprint 2016/260; no commitments here: this is the plain scheme of foreign files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernels.array import G1Array, G2Array
from kernels.backend import Backend
from kernels.numpy_types import BoolArray
from prover.errors import FormatError
from prover.formats.binfile import REGENERATE
from prover.randomness import RandomBytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Groth16Key:
    """Single points are arrays of length 1; `ic` has one point for 1 and one per public input."""

    alpha1: G1Array
    beta2: G2Array
    gamma2: G2Array
    delta2: G2Array
    ic: G1Array

    @property
    def n_public(self) -> int:
        return len(self.ic) - 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Groth16Proof:
    """A, B, C of Groth16: arrays of length 1."""

    a: G1Array
    b: G2Array
    c: G1Array


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
