"""Integers of a witness: what a network computes, before it becomes field elements.

All values are int64 with |x| < 2^62. `HOST` is the definition, in NumPy; a device has its own
(`kernels.cuda.integers`), whose arrays are the device's. Code around them works on both kinds: it
uses the operators, methods and NumPy functions that NumPy and cupy share, and lets arrays meet
only where `upload` or `keep` brought them. Values are private: no error carries one.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kernels.array import FrArray
from kernels.bn254 import R
from kernels.numpy_types import (
    BoolArray,
    Int8Array,
    Int32Array,
    Int64Array,
    UInt8Array,
    UInt32Array,
)

MAX_SMALL = 1 << 62
BLOCK_VALUES = 1 << 20
"""Integers that are doubles at a time: 8 MiB."""
_WORD = (1 << 64) - 1
assert R & _WORD > MAX_SMALL  # so r - |x| borrows from no other word


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """q = (m z + 2^(s-1)) >> s, rem = m z + 2^(s-1) - q 2^s, y = clamp(q, least, greatest)."""

    shift: int
    multiplier: int
    least: int
    greatest: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntegerRows:
    """Rows of small integers, constants of a circuit: entries starts[i] to starts[i + 1] - 1.

    starts : int64[n + 1]; columns : uint32[m]; coefficients : int64[m]
    """

    starts: Int64Array
    columns: UInt32Array
    coefficients: Int64Array


class Integers(Protocol):
    """Where int64 arrays live and what computes on them."""

    @property
    def is_remote(self) -> bool:
        """Whether every call is an errand to a device: a few large ones beat many."""
        ...

    def active(self, of: object | None = None) -> AbstractContextManager[None]:
        """What a thread does with these arrays, operators and NumPy functions, it does inside.

        of : a key, for which it is done again and again: a device keeps the memory of what is
             computed from one time to the next, while the key lives
        """
        ...

    def upload(self, host: npt.NDArray[Any]) -> Any:
        """The array where these integers compute."""
        ...

    def keep(self, constant: npt.NDArray[Any]) -> Any:
        """`upload` of an array that never changes: done once while the array lives."""
        ...

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """int64 zeros."""
        ...

    def multiply(self, x: Any, weight: Int8Array, bias: Int32Array) -> Any:
        """z = x W^T + b, int64[N, n_out], exactly: all sums of |products| are below 2^53.

        x : integers[N, n_in] where these integers compute; W int8[n_out, n_in], b int32[n_out]
        """
        ...

    def requantize(self, z: Any, how: Rounding) -> tuple[Any, Any, Any]:
        """(q, rem, y) of every value, in the shape of z; |m z| < 2^47."""
        ...

    def combine(self, values: Any, rows: IntegerRows) -> Any:
        """Rows times values: sum_k coefficients[k] values[columns[k]], int64[n]; rows are kept."""
        ...

    def count_lookups(self, index: Any, n_rows: int) -> Any:
        """How often each row of a table is looked up, int64[n_rows]; what lies outside is not."""
        ...

    def limbs(self, values: Any, shifts: Int64Array, bits: int) -> Any:
        """(values >> shift) mod 2^bits for every shift, in one more axis; shifts are kept."""
        ...

    def find_correct(self, logits: Any, labels: Any) -> BoolArray:
        """Per labelled sample, on the host: logit[label] > logit[c] for every other class c.

        logits : int64[n, n_classes]; labels : uint8[n_real <= n] below n_classes; both are where
                 these integers compute
        """
        ...

    def mark_hits(self, logits: Any, labels: Any, counted: BoolArray) -> tuple[Any, Any, Any]:
        """Of every sample: label + 1, or 0 behind the labels, int64[n]; 1 at the label of those
        that are counted, int64[n, n_classes]; the logit there, of others the greatest plus one,
        int64[n].

        logits, labels : as in `find_correct`
        counted        : bool[n_real], on the host
        """
        ...

    def to_scalars(self, values: Any) -> FrArray:
        """x mod r for int64[n], where the values are."""
        ...


class HostIntegers:
    """NumPy's integers."""

    is_remote = False

    def active(self, of: object | None = None) -> AbstractContextManager[None]:
        return nullcontext()

    def upload(self, host: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return host

    def keep(self, constant: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return constant

    def zeros(self, shape: tuple[int, ...]) -> Int64Array:
        return np.zeros(shape, dtype=np.int64)

    def multiply(self, x: npt.NDArray[Any], weight: Int8Array, bias: Int32Array) -> Int64Array:
        return exact_matmul(x, weight) + bias.astype(np.int64)

    def requantize(self, z: Int64Array, how: Rounding) -> tuple[Int64Array, Int64Array, Int64Array]:
        q = quotient(z, how)
        rem = z * how.multiplier + (1 << (how.shift - 1)) - (q << how.shift)
        return q, rem, np.clip(q, how.least, how.greatest)

    def combine(self, values: Int64Array, rows: IntegerRows) -> Int64Array:
        totals = np.cumsum(np.append(0, values[rows.columns] * rows.coefficients))
        found: Int64Array = totals[rows.starts[1:]] - totals[rows.starts[:-1]]
        return found

    def count_lookups(self, index: Int64Array, n_rows: int) -> Int64Array:
        inside = index[(index >= 0) & (index < n_rows)]
        return np.bincount(inside, minlength=n_rows).astype(np.int64)

    def limbs(self, values: Int64Array, shifts: Int64Array, bits: int) -> Int64Array:
        found: Int64Array = (values[..., None] >> shifts) & ((1 << bits) - 1)
        return found

    def find_correct(self, logits: Int64Array, labels: UInt8Array) -> BoolArray:
        own = np.take_along_axis(logits[: len(labels)], labels.astype(np.int64)[:, None], axis=1)
        found: BoolArray = (logits[: len(labels)] < own).sum(axis=1) == logits.shape[1] - 1
        return found

    def mark_hits(
        self, logits: Int64Array, labels: UInt8Array, counted: BoolArray
    ) -> tuple[Int64Array, Int64Array, Int64Array]:
        y, hit, level = (
            np.zeros(len(logits), np.int64),
            np.zeros_like(logits),
            logits.max(axis=1) + 1,
        )
        y[: len(labels)] = labels.astype(np.int64) + 1
        places = np.flatnonzero(counted)
        hit[places, labels[places]] = 1
        level[places] = logits[places, labels[places]]
        return y, hit, level

    def to_scalars(self, values: Int64Array) -> FrArray:
        return to_scalars(values)


HOST = HostIntegers()


def exact_matmul(x: npt.NDArray[Any], weight: npt.NDArray[Any]) -> Int64Array:
    """x W^T of integers by floating-point BLAS: exact, because all partial sums are below 2^53.

    x    : [..., n_in]; weight : [n_out, n_in]
    cost : beside the result, doubles of a few blocks only: samples and weights are bytes, and a
           copy of them all as doubles would take eight times their memory
    """
    rows, n_out = x.reshape(-1, x.shape[-1]), len(weight)
    product = np.empty((len(rows), n_out), dtype=np.int64)
    width = max(1, BLOCK_VALUES // x.shape[-1])
    for left in range(0, n_out, width):
        block = weight[left : left + width].T.astype(np.float64)
        height = max(1, BLOCK_VALUES // max(block.shape))
        for top in range(0, len(rows), height):
            part = rows[top : top + height].astype(np.float64) @ block
            product[top : top + height, left : left + width] = part
    return product.reshape(*x.shape[:-1], n_out)


def quotient(z: Int64Array, how: Rounding) -> Int64Array:
    """q = (m z + 2^(s-1)) >> s, floor; no int64 wrap because |m z| < 2^47 and s <= 24."""
    return (z * how.multiplier + (1 << (how.shift - 1))) >> how.shift


def to_scalars(values: Int64Array) -> FrArray:
    """int64[n] with |x| < 2^62 as canonical scalars, x mod r.

    holds : the lowest word of r exceeds 2^62, so r - |x| borrows from no other word
    """
    words = np.zeros((len(values), 4), dtype=np.uint64)
    negative = values < 0
    words[:, 0] = np.where(negative, R & _WORD, 0).astype(np.uint64) + values.astype(np.uint64)
    for i in range(1, 4):
        words[negative, i] = np.uint64(R >> (64 * i) & _WORD)
    return FrArray(words)
