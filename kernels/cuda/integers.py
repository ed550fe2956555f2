"""`kernels.integers.Integers` on a device: what a witness is made of never leaves it."""

from __future__ import annotations

import weakref
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.array import FrArray
from kernels.cuda import witness
from kernels.cuda.launch.runtime import Array, Device
from kernels.integers import IntegerRows, Rounding
from kernels.numpy_types import BoolArray, Int8Array, Int32Array, Int64Array


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

    def upload(self, host: npt.NDArray[Any]) -> Array:
        return self._device.asarray(host)

    def keep(self, constant: npt.NDArray[Any]) -> Array:
        return self._constants(constant)

    def zeros(self, shape: tuple[int, ...]) -> Array:
        return self._device.zeros(shape, np.int64)

    def multiply(self, x: Array, weight: Int8Array, bias: Int32Array) -> Array:
        with self._device.active():
            return witness.multiply(self._device, x, weight, bias)

    def requantize(self, z: Array, how: Rounding) -> tuple[Array, Array, Array]:
        with self._device.active():
            return witness.requantize(self._device, z, how)

    def combine(self, values: Array, rows: IntegerRows) -> Array:
        with self._device.active():
            keep = self._constants
            constants = keep(rows.starts), keep(rows.columns), keep(rows.coefficients)
            return witness.combine(self._device, values, *constants)

    def count_lookups(self, index: Array, n_rows: int) -> Array:
        with self._device.active():
            return witness.count_lookups(self._device, index, n_rows)

    def limbs(self, values: Array, shifts: Int64Array, bits: int) -> Array:
        with self._device.active():
            return witness.limbs(self._device, values, self._constants(shifts), bits)

    def find_correct(self, logits: Array, labels: Array) -> BoolArray:
        with self._device.active():
            correct = witness.find_correct(self._device, logits, labels)
            return self._device.to_host(correct).astype(np.bool_)

    def mark_hits(
        self, logits: Array, labels: Array, counted: BoolArray
    ) -> tuple[Array, Array, Array]:
        with self._device.active():
            marks = self._device.asarray(counted.astype(np.uint8))
            return witness.mark_hits(self._device, logits, labels, marks)

    def to_scalars(self, values: Array) -> FrArray:
        with self._device.active():
            return FrArray(witness.small_scalars(self._device, values))
