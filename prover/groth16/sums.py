"""Sums over the bases of a key, wherever they are: in memory, prepared, or in the key's file."""

from __future__ import annotations

from kernels.array import FrArray, G1Array, G2Array
from kernels.backend import Backend, Progress
from prover.keys.halves import G1Bases, G2Bases
from prover.keys.streamed import StreamedBases


def sum_g1(
    scalars: FrArray, bases: G1Bases, backend: Backend, progress: Progress | None = None
) -> G1Array:
    """sum s_i P_i, as an array of length 1. Raises KeyMismatch as `StreamedBases`, OSError."""
    if not isinstance(bases, StreamedBases):
        return backend.msm_g1(scalars, bases, progress=progress)
    parts = [G1Array.zeros(1)]
    for place, points in bases.list_pieces():
        assert isinstance(points, G1Array)
        parts.append(backend.msm_g1(scalars[place], points))
        _tell(progress, place.stop, len(bases))
    return backend.msm_g1(_ones(len(parts)), G1Array.concat(parts))


def sum_g2(
    scalars: FrArray, bases: G2Bases, backend: Backend, progress: Progress | None = None
) -> G2Array:
    """`sum_g1` in G2."""
    if not isinstance(bases, StreamedBases):
        return backend.msm_g2(scalars, bases, progress=progress)
    parts = [G2Array.zeros(1)]
    for place, points in bases.list_pieces():
        assert isinstance(points, G2Array)
        parts.append(backend.msm_g2(scalars[place], points))
        _tell(progress, place.stop, len(bases))
    return backend.msm_g2(_ones(len(parts)), G2Array.concat(parts))


def _ones(n: int) -> FrArray:
    return FrArray.from_ints([1] * n)


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
