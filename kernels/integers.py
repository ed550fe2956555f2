"""Integers of a witness: what a network computes, before it becomes field elements.

All values are int64 with |x| < 2^62. `HOST` is the definition, in NumPy; a device has its own
(`kernels.cuda.integers`), whose arrays are the device's. Code around them works on both kinds: it
asks these integers for all that is computed, and takes whole parts and other shapes of arrays,
which are views. Only what is too large for that uses operators that NumPy and cupy share, on arrays
that `upload` or `keep` brought. Values are private: no error carries one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol, TypeVar

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
from kernels.planes import Sliding, convolve, pool

T = TypeVar("T")

MAX_SMALL = 1 << 62
BELOW_ALL = -(1 << 61)  # what the greatest number of a window is looked for from
ALL = -1  # of the samples that are correct, to count
BLOCK_VALUES = 1 << 20
"""Integers that are doubles at a time: 8 MiB."""
_WORD = (1 << 64) - 1
assert R & _WORD > MAX_SMALL  # so r - |x| borrows from no other word


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """q = (m z + 2^(s-1)) >> s, rem = m z + 2^(s-1) - q 2^s, y = clamp(q, least, greatest).

    multipliers : one m for all, or one for each channel, which is axis 1 of z
    """

    shift: int
    multipliers: tuple[int, ...]
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

    def replay(
        self,
        name: Hashable,
        hosts: Sequence[npt.NDArray[Any]],
        work: Callable[[Sequence[Any]], T],
    ) -> T:
        """work(hosts, where these integers compute); they go there together.

        name : with the shapes of `hosts` all that the work depends on but their values. Inside
               `active(of)` a device starts what the work started again for other values, and does
               not ask for it: the work waits for nothing and uses no operators, and what it returns
               is good until the next time.
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

    def write(self, target: Any, values: Any) -> None:
        """target = values, int64[n] and n integers of any shape, or a number for all of it."""
        ...

    def spread(self, x: Any, n: int) -> Any:
        """The rows of x, then the last one again until there are n; x itself if it has n."""
        ...

    def multiply(self, x: Any, weight: Int8Array, bias: Int32Array) -> Any:
        """z = x W^T + b, int64[N, n_out], exactly: all sums of |products| are below 2^53.

        x, W, b : integers[N, n_in], int8[n_out, n_in] and int32[n_out], all where these integers
                  compute
        """
        ...

    def convolve(
        self,
        x: Any,
        weight: Int8Array,
        bias: Int32Array,
        window: Sliding,
        pad_values: Sequence[int] = (),
    ) -> Any:
        """z = x * W + b, cross-correlation, int64[N, n_out, *window.slide(...)], as exact.

        x, W, b    : integers[N, C, height, width], int8[n_out, C, *kernel] and int32[n_out]
        pad_values : of each channel of x beyond its border; none: zeros
        """
        ...

    def pool(self, x: Any, window: Sliding, *, greatest: bool) -> Any:
        """The greatest number that each window sees, else the sum of all, of x[N, C, ...]."""
        ...

    def mix(self, values: Sequence[Any], factors: Sequence[tuple[int, ...]]) -> Any:
        """a f_a + b f_b of two arrays of one shape; a factor for all, or one for each channel."""
        ...

    def requantize(self, z: Any, how: Rounding) -> tuple[Any, Any, Any]:
        """(q, rem, y) of every value, in the shape of z; |m z| < 2^47."""
        ...

    def combine(self, values: Any, rows: IntegerRows) -> Any:
        """Rows times values: sum_k coefficients[k] values[columns[k]], int64[n]; rows are kept."""
        ...

    def count_lookups(self, indices: Sequence[Any], n_rows: int) -> Any:
        """How often each row of a table is looked up by any of the indices, int64[n_rows]; what
        lies outside is not counted."""
        ...

    def limbs(self, values: Any, shifts: Int64Array, bits: int) -> Any:
        """(values >> shift) mod 2^bits for every shift, in one more axis; shifts are kept."""
        ...

    def counters(self, n: int) -> Any:
        """Zeros that are counted up in place, where these integers compute; `read` tells them."""
        ...

    def read(self, counters: Any) -> list[int]:
        """On the host; it waits for what counts."""
        ...

    def count_outside(self, index: Any, limits: Int64Array, counter: Any) -> None:
        """counter += how many i have index[i] < 0 or index[i] >= limits[i]; limits are kept.

        counter : one of `counters`, a slice of length 1
        """
        ...

    def find_correct(self, logits: Any, labels: Any, counter: Any) -> Any:
        """Per labelled sample: logit[label] > logit[c] for every other class c; counter += those.

        logits : int64[n, n_classes]; labels : uint8[n_real <= n] below n_classes; both are where
                 these integers compute, as what it returns is
        """
        ...

    def mark_hits(
        self, logits: Any, labels: Any, correct: Any, claimed: Any
    ) -> tuple[Any, Any, Any]:
        """Of every sample: label + 1, or 0 behind the labels, int64[n]; 1 at the label of those
        that are counted, int64[n, n_classes]; the logit there, of others the greatest plus one,
        int64[n].

        correct : by `find_correct`, of these logits and labels
        claimed : int64[1], how many of the correct samples are counted, the first ones; or ALL
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

    def replay(
        self,
        name: Hashable,
        hosts: Sequence[npt.NDArray[Any]],
        work: Callable[[Sequence[Any]], T],
    ) -> T:
        return work(hosts)

    def upload(self, host: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return host

    def keep(self, constant: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return constant

    def zeros(self, shape: tuple[int, ...]) -> Int64Array:
        return np.zeros(shape, dtype=np.int64)

    def write(self, target: Int64Array, values: npt.NDArray[Any] | int) -> None:
        target[:] = values if isinstance(values, int) else values.reshape(-1)

    def spread(self, x: Int64Array, n: int) -> Int64Array:
        return x if len(x) == n else x[np.minimum(np.arange(n), len(x) - 1)]

    def multiply(self, x: npt.NDArray[Any], weight: Int8Array, bias: Int32Array) -> Int64Array:
        return exact_matmul(x, weight) + bias.astype(np.int64)

    def convolve(
        self,
        x: npt.NDArray[Any],
        weight: Int8Array,
        bias: Int32Array,
        window: Sliding,
        pad_values: Sequence[int] = (),
    ) -> Int64Array:
        return convolve(x, weight, bias, window, pad_values, self.multiply)

    def pool(self, x: Int64Array, window: Sliding, *, greatest: bool) -> Int64Array:
        return pool(x, window, *((np.maximum, BELOW_ALL) if greatest else (np.add, 0)))

    def mix(self, values: Sequence[Int64Array], factors: Sequence[tuple[int, ...]]) -> Int64Array:
        (a, b), (f, g) = values, factors
        mixed: Int64Array = a * _per_channel(f, a.ndim) + b * _per_channel(g, b.ndim)
        return mixed

    def requantize(self, z: Int64Array, how: Rounding) -> tuple[Int64Array, Int64Array, Int64Array]:
        t = z * _per_channel(how.multipliers, z.ndim) + (1 << (how.shift - 1))
        q = t >> how.shift
        return q, t - (q << how.shift), np.clip(q, how.least, how.greatest)

    def combine(self, values: Int64Array, rows: IntegerRows) -> Int64Array:
        totals = np.cumsum(np.append(0, values[rows.columns] * rows.coefficients))
        found: Int64Array = totals[rows.starts[1:]] - totals[rows.starts[:-1]]
        return found

    def count_lookups(self, indices: Sequence[Int64Array], n_rows: int) -> Int64Array:
        index = np.concatenate([each.reshape(-1) for each in indices])
        inside = index[(index >= 0) & (index < n_rows)]
        return np.bincount(inside, minlength=n_rows).astype(np.int64)

    def limbs(self, values: Int64Array, shifts: Int64Array, bits: int) -> Int64Array:
        found: Int64Array = (values[..., None] >> shifts) & ((1 << bits) - 1)
        return found

    def counters(self, n: int) -> UInt32Array:
        return np.zeros(n, dtype=np.uint32)

    def read(self, counters: UInt32Array) -> list[int]:
        found: list[int] = counters.tolist()
        return found

    def count_outside(self, index: Int64Array, limits: Int64Array, counter: UInt32Array) -> None:
        counter += np.uint32(((index < 0) | (index >= limits)).sum())

    def find_correct(
        self, logits: Int64Array, labels: UInt8Array, counter: UInt32Array
    ) -> BoolArray:
        own = np.take_along_axis(logits[: len(labels)], labels.astype(np.int64)[:, None], axis=1)
        found: BoolArray = (logits[: len(labels)] < own).sum(axis=1) == logits.shape[1] - 1
        counter += np.uint32(found.sum())
        return found

    def mark_hits(
        self, logits: Int64Array, labels: UInt8Array, correct: BoolArray, claimed: Int64Array
    ) -> tuple[Int64Array, Int64Array, Int64Array]:
        y, hit, level = (
            np.zeros(len(logits), np.int64),
            np.zeros_like(logits),
            logits.max(axis=1) + 1,
        )
        y[: len(labels)] = labels.astype(np.int64) + 1
        is_counted = correct & ((claimed[0] == ALL) | (correct.cumsum() <= claimed[0]))
        places = np.flatnonzero(is_counted)
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


def count_within(shape: Sequence[int]) -> int:
    """Numbers of a sample's channel, for arrays with channels in axis 1."""
    return prod(shape[2:])


def _per_channel(factors: tuple[int, ...], n_axes: int) -> Int64Array:
    """Factors that meet axis 1 of an array with so many axes."""
    column = np.array(factors, dtype=np.int64)
    return column.reshape(-1, *(1,) * max(n_axes - 2, 0))


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
