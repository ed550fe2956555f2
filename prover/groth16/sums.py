"""Sums over the bases of a key, wherever they are: in memory, prepared, or in the key's file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import count
from typing import Any, TypeVar

from kernels.array import FrArray, G1Array, G2Array
from kernels.backend import Backend, Progress, SumProgress
from prover.keys.halves import G1Bases, G2Bases
from prover.keys.streamed import StreamedBases, read_ahead

P = TypeVar("P", G1Array, G2Array)


def sum_all(
    g1: Iterable[tuple[FrArray, G1Bases]],
    g2: Iterable[tuple[FrArray, G2Bases]] = (),
    *,
    backend: Backend,
    progress: SumProgress | None = None,
) -> tuple[list[G1Array], list[G2Array]]:
    """sum s_i P_i of each pair of scalars and bases, as arrays of length 1, in their order.

    What one phase of a proof sums, it sums here at once: a device does it together. Bases in a file
    are summed apart, piece by piece.
    g1, g2   : read one by one where the backend computes so, and then not kept
    progress : counts the sums of G1, then those of G2
    raises   : KeyMismatch as `StreamedBases`, OSError
    """
    numbers, together = count(), list[int]()
    points: dict[int, G1Array | G2Array] = {}

    def tell(i: int, done: int, total: int) -> None:
        if progress is not None:
            progress(i, done, total)

    def read(pairs: Iterable[Any], sum_apart: Callable[..., Any]) -> Iterator[Any]:
        for scalars, bases in pairs:
            i = next(numbers)
            if isinstance(bases, StreamedBases):
                points[i] = sum_apart(scalars, bases, partial(tell, i))
            else:
                together.append(i)
                yield scalars, bases

    own_g1, own_g2 = backend.msm_all(
        read(g1, partial(_sum_pieces, backend.msm_g1, G1Array)),
        read(g2, partial(_sum_pieces, backend.msm_g2, G2Array)),
        progress=lambda k, done, total: tell(together[k], done, total),
    )
    points.update(zip(together, [*own_g1, *own_g2], strict=True))
    ordered = [points[i] for i in sorted(points)]
    return (
        [point for point in ordered if isinstance(point, G1Array)],
        [point for point in ordered if isinstance(point, G2Array)],
    )


def _sum_pieces(
    msm: Callable[[FrArray, P], P],
    kind: type[P],
    scalars: FrArray,
    bases: StreamedBases,
    progress: Progress,
) -> P:
    """The sum of a file's bases, a piece at a time; the next one is read meanwhile."""
    parts = [kind.zeros(1)]
    with closing(read_ahead(bases.list_pieces())) as pieces:
        for place, points in pieces:
            assert isinstance(points, kind)
            parts.append(msm(scalars[place], points))
            progress(place.stop, len(bases))
    return msm(FrArray.from_ints([1] * len(parts)), kind.concat(parts))
