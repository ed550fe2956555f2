"""Where scalars are, for backends that compute on the host: nothing ever moves."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

import numpy as np

from kernels.array import FrArray, FrMont, G1Array
from kernels.backend import FixedG1, Progress, Scalars, T
from kernels.errors import ShapeError
from kernels.integers import HOST, Integers
from kernels.numpy_types import UInt32Array


class _Inverting(Protocol):
    """What it is a part of."""

    def batch_inverse(self, a: FrMont) -> FrMont: ...


class _Summing(Protocol):
    """What it is a part of."""

    def msm_g1(
        self, scalars: FrArray, bases: G1Array | FixedG1, *, progress: Progress | None = None
    ) -> G1Array: ...


class HostArrays:
    """The part of `kernels.backend.Backend` about places."""

    @property
    def integers(self) -> Integers:
        return HOST

    def upload(self, a: Scalars) -> Scalars:
        return a

    def download(self, a: Scalars) -> Scalars:
        return a

    def concat(self, parts: Sequence[Scalars]) -> Scalars:
        return type(parts[0]).concat(parts)

    def stack(self, parts: Sequence[FrMont], n: int) -> FrMont:
        out = FrMont.zeros(len(parts), n)
        for row, part in zip(out.data, parts, strict=True):
            row[: len(part)] = part.data
        return out

    def take(self, a: FrArray, index: UInt32Array) -> FrArray:
        return FrArray(a.data[index])

    def upload_summing(
        self: _Summing,
        a: FrArray,
        index: UInt32Array,
        more: FrArray,
        bases: G1Array | FixedG1,
        *,
        progress: Progress | None = None,
    ) -> tuple[FrArray, G1Array]:
        scalars = FrArray.concat([a[index], more])
        return a, self.msm_g1(scalars, bases, progress=progress)

    def put(self, target: FrMont, places: UInt32Array, values: FrMont) -> None:
        require_places(target, places, values)
        target.data[places] = values.data

    def inverses(self: _Inverting, n: int) -> HostInverses:
        return HostInverses(self.batch_inverse)

    def replay(self, name: Hashable, given: Scalars, work: Callable[[Scalars], T]) -> T:
        return work(given)


class HostInverses:
    """See `kernels.backend.Inverses`: who is here looks at once."""

    def __init__(self, batch_inverse: Callable[[FrMont], FrMont]) -> None:
        self._batch_inverse = batch_inverse
        self._n = 0
        self._found: tuple[int, int] | None = None

    def invert(self, a: FrMont) -> FrMont:
        self._n += 1
        try:
            return self._batch_inverse(a)
        except ZeroDivisionError:
            if self._found is None:
                self._found = self._n - 1, int(np.argmin(a.data.any(axis=-1)))
            return a

    def find_zero(self) -> tuple[int, int] | None:
        return self._found


def require_places(target: FrMont, places: UInt32Array, values: FrMont) -> None:
    """Raises ShapeError unless there is a value for each place, IndexError for one too far."""
    if values.shape != places.shape:
        raise ShapeError(f"put: {list(values.shape)} values for {list(places.shape)} places")
    if len(places) and int(places.max()) >= len(target):
        raise IndexError(f"put: place {int(places.max())} of {len(target)}")
