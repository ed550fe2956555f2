"""`kernels.integers.Integers` on a device: what a witness is made of never leaves it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from kernels.array import FrArray
from kernels.cuda import layers, witness
from kernels.cuda.launch.places import pack
from kernels.cuda.launch.runtime import Array, Device
from kernels.integers import IntegerRows, Rounding
from kernels.numpy_types import Int64Array
from kernels.planes import Sliding

T = TypeVar("T")


class Constants:
    """Device copies of host arrays that never change, made once and kept while the array lives."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._copies: dict[int, tuple[weakref.ref[Any], Array]] = {}

    def __call__(self, constant: npt.NDArray[Any]) -> Array:
        key = id(constant)
        if key not in self._copies:
            forget = weakref.ref(constant, lambda _: self._copies.pop(key, None))
            self._copies[key] = forget, self._device.asarray(constant)
        return self._copies[key][1]

    def __len__(self) -> int:
        return len(self._copies)


class DeviceIntegers:
    """Integers on one device; its arrays are the device's."""

    is_remote = True

    def __init__(self, device: Device, constants: Constants) -> None:
        self._device, self._constants = device, constants

    def active(self, of: object | None = None) -> AbstractContextManager[None]:
        return self._device.active(of)

    def replay(
        self,
        name: Hashable,
        hosts: Sequence[npt.NDArray[Any]],
        work: Callable[[Sequence[Array]], T],
    ) -> T:
        whole, places = pack(hosts)
        with self._device.active():
            return self._device.replay(
                (name, places),
                [self._device.asarray(whole)],
                lambda given: work([place.within(given[0]) for place in places]),
            )

    def upload(self, host: npt.NDArray[Any]) -> Array:
        return self._device.asarray(host)

    def keep(self, constant: npt.NDArray[Any]) -> Array:
        return self._constants(constant)

    def zeros(self, shape: tuple[int, ...]) -> Array:
        with self._device.active():
            out = self._device.empty(shape, np.int64)
            witness.fill(self._device, out.reshape(-1), 0)
            return out

    def write(self, target: Array, values: Array | int) -> None:
        with self._device.active():
            if isinstance(values, int):
                witness.fill(self._device, target, values)
            else:
                witness.write(self._device, target, values)

    def spread(self, x: Array, n: int) -> Array:
        with self._device.active():
            return layers.spread(self._device, x, n)

    def multiply(self, x: Array, weight: Array, bias: Array) -> Array:
        with self._device.active():
            return layers.multiply(self._device, x, weight, bias)

    def convolve(
        self, x: Array, weight: Array, bias: Array, window: Sliding, pad_values: Sequence[int] = ()
    ) -> Array:
        with self._device.active():
            return layers.convolve(self._device, x, weight, bias, window, pad_values)

    def pool(self, x: Array, window: Sliding, *, greatest: bool) -> Array:
        with self._device.active():
            return layers.pool(self._device, x, window, greatest)

    def mix(self, values: Sequence[Array], factors: Sequence[tuple[int, ...]]) -> Array:
        with self._device.active():
            return layers.mix(self._device, values, factors)

    def requantize(self, z: Array, how: Rounding) -> tuple[Array, Array, Array]:
        with self._device.active():
            return layers.requantize(self._device, z, how)

    def combine(self, values: Array, rows: IntegerRows) -> Array:
        with self._device.active():
            keep = self._constants
            constants = keep(rows.starts), keep(rows.columns), keep(rows.coefficients)
            return witness.combine(self._device, values, *constants)

    def count_lookups(self, indices: Sequence[Array], n_rows: int) -> Array:
        with self._device.active():
            return witness.count_lookups(self._device, indices, n_rows)

    def limbs(self, values: Array, shifts: Int64Array, bits: int) -> Array:
        with self._device.active():
            return witness.limbs(self._device, values, self._constants(shifts), bits)

    def counters(self, n: int) -> Array:
        with self._device.active():
            out = self._device.empty((n,), np.uint32)
            witness.fill(self._device, out, 0)
            return out

    def read(self, counters: Array) -> list[int]:
        with self._device.active():
            found: list[int] = self._device.to_host(counters).tolist()
            return found

    def count_outside(self, index: Array, limits: Int64Array, counter: Array) -> None:
        with self._device.active():
            witness.count_outside(self._device, index, self._constants(limits), counter)

    def find_correct(self, logits: Array, labels: Array, counter: Array) -> Array:
        with self._device.active():
            return witness.find_correct(self._device, logits, labels, counter)

    def mark_hits(
        self, logits: Array, labels: Array, correct: Array, claimed: Array
    ) -> tuple[Array, Array, Array]:
        with self._device.active():
            return witness.mark_hits(self._device, logits, labels, correct, claimed)

    def to_scalars(self, values: Array) -> FrArray:
        with self._device.active():
            return FrArray(witness.small_scalars(self._device, values))
