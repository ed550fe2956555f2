"""Sums over the bases of a key, wherever they are: in memory, prepared, or in the key's file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kernels.array import FrArray, G1Array, G2Array
from kernels.backend import Backend, Progress
from prover.keys.halves import G1Bases, G2Bases
from prover.keys.streamed import StreamedBases

P = TypeVar("P", G1Array, G2Array)


def sum_g1(
    scalars: FrArray, bases: G1Bases, backend: Backend, progress: Progress | None = None
) -> G1Array:
    """sum s_i P_i, as an array of length 1. Raises KeyMismatch as `StreamedBases`, OSError."""
    if isinstance(bases, StreamedBases):
        return _sum_pieces(scalars, bases, backend.msm_g1, G1Array, progress)
    return backend.msm_g1(scalars, bases, progress=progress)


def sum_g2(
    scalars: FrArray, bases: G2Bases, backend: Backend, progress: Progress | None = None
) -> G2Array:
    """`sum_g1` in G2."""
    if isinstance(bases, StreamedBases):
        return _sum_pieces(scalars, bases, backend.msm_g2, G2Array, progress)
    return backend.msm_g2(scalars, bases, progress=progress)


def _sum_pieces(
    scalars: FrArray,
    bases: StreamedBases,
    msm: Callable[[FrArray, P], P],
    kind: type[P],
    progress: Progress | None,
) -> P:
    """The sum of a file's bases, a piece at a time."""
    parts = [kind.zeros(1)]
    for place, points in bases.list_pieces():
        assert isinstance(points, kind)
        parts.append(msm(scalars[place], points))
        _tell(progress, place.stop, len(bases))
    return msm(_ones(len(parts)), kind.concat(parts))


def _ones(n: int) -> FrArray:
    return FrArray.from_ints([1] * n)


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
