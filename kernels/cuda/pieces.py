"""Elementwise operations on arrays that may be larger than the device, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kernels.array import U64, FrMont
from kernels.cuda import pointwise
from kernels.cuda.launch.runtime import Array, Device
from kernels.cuda.plan import ELEMENT_BYTES
from kernels.errors import ShapeError


def resident(device: Device, words: U64) -> Array:
    """The array on the device: itself, or a copy."""
    return words if device.holds(words) else device.asarray(words)


def combine(device: Device, kernel: str, a: FrMont, b: FrMont) -> FrMont:
    """`add_all`, `sub_all` or `mul_all`; on the device if one of them is. Raises ShapeError."""
    require_equal_shapes(a, b)
    if device.holds(a.data) or device.holds(b.data):
        x, y = resident(device, a.data), resident(device, b.data)
        return FrMont(pointwise.combine(device, kernel, x, y))
    out = np.empty_like(a.data)
    flat = out.reshape(-1, FrMont.WORDS)
    for part, x, y in split(device, a.data, b.data):
        flat[part] = device.to_host(pointwise.combine(device, kernel, x, y))
    return FrMont(out)


def multiply_by(device: Device, words: U64, factor: int) -> U64:
    """See `kernels.cuda.pointwise.multiply_by`; on the device if the array is."""
    if device.holds(words):
        there: U64 = pointwise.multiply_by(device, words, factor)
        return there
    out = np.empty_like(words)
    flat = out.reshape(-1, FrMont.WORDS)
    for part, x in split(device, words):
        flat[part] = device.to_host(pointwise.multiply_by(device, x, factor))
    return out


def split(device: Device, *arrays: U64) -> Iterator[tuple[Any, ...]]:
    """(slice, an array of the device for each array) over all elements."""
    flat = [a.reshape(-1, FrMont.WORDS) for a in arrays]
    for start, end in ranges(device, len(flat[0]), len(arrays) + 1):
        part = slice(start, end)
        copies: list[Array] = [resident(device, a[part]) for a in flat]
        yield part, *copies


def ranges(device: Device, n: int, n_arrays: int) -> Iterator[tuple[int, int]]:
    """Ranges whose elements fit on the device in so many arrays, with room to spare."""
    size = max(1, device.free_bytes // (2 * ELEMENT_BYTES * n_arrays))
    for start in range(0, n, size):
        yield start, min(start + size, n)


def require_equal_shapes(a: FrMont, b: FrMont) -> None:
    """Raises ShapeError."""
    if a.shape != b.shape:
        raise ShapeError(f"shapes differ: {list(a.shape)} and {list(b.shape)}")
