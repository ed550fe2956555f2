"""Several arrays in one piece of memory: what goes to a device together, or is laid out for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.cuda.launch.runtime import ceil_div
from kernels.numpy_types import UInt8Array

ALIGNMENT = 256
PACKED = 16  # bytes: the alignment of what travels together


@dataclass(frozen=True, slots=True)
class Place:
    """An array in a piece of memory."""

    at: int
    shape: tuple[int, ...]
    dtype: Any

    @property
    def n_bytes(self) -> int:
        return prod(self.shape) * int(np.dtype(self.dtype).itemsize)

    def within(self, memory: Any) -> Any:
        """The array, a view of memory uint8[...]."""
        raw = memory[self.at : self.at + self.n_bytes]
        return raw.view(self.dtype).reshape(self.shape)


@dataclass(slots=True)
class Room:
    """Memory handed out from `at` on."""

    at: int = 0
    alignment: int = ALIGNMENT

    def take(self, shape: tuple[int, ...], dtype: Any) -> Place:
        """Room for an array."""
        self.at = ceil_div(self.at, self.alignment) * self.alignment
        place = Place(self.at, shape, dtype)
        self.at += place.n_bytes
        return place


def pack(arrays: Sequence[npt.NDArray[Any]]) -> tuple[UInt8Array, tuple[Place, ...]]:
    """Copies of arrays of the host in one piece, uint8[n], and where each lies."""
    room = Room(alignment=PACKED)
    places = tuple(room.take(array.shape, array.dtype) for array in arrays)
    whole = np.zeros(room.at, np.uint8)
    for place, array in zip(places, arrays, strict=True):
        place.within(whole)[...] = array
    return whole, places
