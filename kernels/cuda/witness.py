"""Integers of the witness on a device: inference, lookups and gathering, a thread each.

The definition is `kernels.integers.HOST`; here are the same integers, computed where they are
needed next. Everything is exact: the caller's architecture keeps |m z| below 2^47. Arrays of values
are private: no error carries one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.bn254 import R
from kernels.cuda.launch.per_thread import AtomicAdd, Body, Jit, PerThread
from kernels.cuda.launch.runtime import Array, Device
from kernels.errors import ShapeError
from kernels.integers import Rounding
from kernels.numpy_types import Int8Array, Int32Array

COPIES = 64  # of a table's counters, so that equal lookups seldom meet
MAX_COUNTERS = 1 << 22
JOINED = 3  # arrays in one launch

_R_WORDS = np.array([R >> (64 * i) & ((1 << 64) - 1) for i in range(4)], dtype=np.uint64)


def _build_accumulate(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, x: Any, weight: Any, bias: Any, z: Any) -> None:
        """z[n, j] = sum_k x[n, k] weight[k, j] + bias[j]: neighbours read neighbouring weights."""
        n_out = weight.shape[1]
        n, j = i // n_out, i % n_out
        total = np.int64(bias[j])
        for k in range(weight.shape[0]):
            total += np.int64(x[n, k]) * np.int64(weight[k, j])
        z[n, j] = total

    return body


def _build_round(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(
        i: Any, z: Any, shift: Any, multiplier: Any, least: Any, greatest: Any,
        q: Any, rem: Any, y: Any,
    ) -> None:  # fmt: skip
        """One value; >> is floor division."""
        t = np.int64(z[i]) * multiplier + (np.int64(1) << (shift - 1))
        quotient = t >> shift
        q[i] = quotient
        rem[i] = t - (quotient << shift)
        y[i] = min(max(quotient, least), greatest)

    return body


def _build_combine(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, starts: Any, columns: Any, coefficients: Any, values: Any, out: Any) -> None:
        """out[i] = sum_k coefficients[k] values[columns[k]], starts[i] <= k < starts[i + 1]."""
        total = np.int64(0)
        for k in range(starts[i], starts[i + 1]):
            total += coefficients[k] * values[np.int64(columns[k])]
        out[i] = total

    return body


def _build_count(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, index: Any, counts: Any) -> None:
        """counts[i mod copies, index[i]] += 1 for indices of the table."""
        row = np.int64(index[i])
        if row >= 0 and row < counts.shape[1]:
            atomic_add(counts, (i % counts.shape[0], row), 1)

    return body


def _build_gather(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, source: Any, index: Any, out: Any) -> None:
        """out[i, k] = source[index[i], k]; one thread per word, i = record * words + k."""
        words = source.shape[1]
        record, k = i // words, i % words
        out[record, k] = source[np.int64(index[record]), k]

    return body


def _build_scatter(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, target: Any, index: Any, values: Any) -> None:
        """target[index[i], k] = values[i, k]; one thread per word."""
        words = target.shape[1]
        record, k = i // words, i % words
        target[np.int64(index[record]), k] = values[record, k]

    return body


def _build_join(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, a: Any, b: Any, c: Any, out: Any) -> None:
        """out = a, then b, then c, then zeros; one thread per word."""
        words = out.shape[1]
        record, k = i // words, i % words
        behind_a = record - a.shape[0]
        behind_b = behind_a - b.shape[0]
        if behind_a < 0:
            out[record, k] = a[record, k]
        elif behind_b < 0:
            out[record, k] = b[behind_a, k]
        elif behind_b < c.shape[0]:
            out[record, k] = c[behind_b, k]
        else:
            out[record, k] = np.uint64(0)

    return body


def _build_set_words(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, value: Any, out: Any) -> None:
        """out[i] = value."""
        out[i] = np.uint32(value)

    return body


def _build_limbs(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, values: Any, shifts: Any, mask: Any, out: Any) -> None:
        """out[i, k] = (values[i] >> shifts[k]) & mask; >> is floor division."""
        for k in range(shifts.shape[0]):
            out[i, k] = (values[i] >> shifts[k]) & mask

    return body


def _build_add_copies(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, counts: Any, out: Any) -> None:
        """out[i] = sum_k counts[k, i]."""
        total = np.int64(0)
        for k in range(counts.shape[0]):
            total += np.int64(counts[k, i])
        out[i] = total

    return body


def _build_find_correct(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, logits: Any, labels: Any, correct: Any) -> None:
        """Whether the label's logit exceeds every other one of sample i."""
        label = np.int64(labels[i])
        least = np.int64(1)
        for k in range(logits.shape[1]):
            if k != label and logits[i, k] >= logits[i, label]:
                least = np.int64(0)
        correct[i] = np.uint8(least)

    return body


def _build_mark_hits(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(
        i: Any, logits: Any, labels: Any, counted: Any, y: Any, hit: Any, level: Any
    ) -> None:  # fmt: skip
        """Sample i; those behind the labels are padding."""
        greatest = logits[i, 0]
        for k in range(logits.shape[1]):
            hit[i, k] = 0
            greatest = max(greatest, logits[i, k])
        y[i], level[i] = 0, greatest + 1
        if i < labels.shape[0]:
            label = np.int64(labels[i])
            y[i] = label + 1
            if counted[i] != 0:
                hit[i, label] = 1
                level[i] = logits[i, label]

    return body


def _build_scalars(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, values: Any, out: Any) -> None:
        """out[i] = values[i] mod r. For x < 0: r - |x|, in which only the lowest word differs."""
        x = np.int64(values[i])
        if x >= 0:
            out[i, 0] = np.uint64(x)
            for k in range(1, 4):
                out[i, k] = np.uint64(0)
        else:
            out[i, 0] = _R_WORDS[0] - np.uint64(-x)
            for k in range(1, 4):
                out[i, k] = _R_WORDS[k]

    return body


_accumulate = PerThread(
    "accumulate",
    _build_accumulate,
    "uint8[:,:], int8[:,:], int32[:], int64[:,:]",
    "int64[:,:], int8[:,:], int32[:], int64[:,:]",
)
_round = PerThread(
    "round_values",
    _build_round,
    "int64[:], int64, int64, int64, int64, int64[:], int64[:], int64[:]",
)
_combine = PerThread("combine", _build_combine, "int64[:], uint32[:], int64[:], int64[:], int64[:]")
_count = PerThread("count_lookups", _build_count, "int64[:], uint32[:,:]")
_gather = PerThread("gather", _build_gather, "uint64[:,:], uint32[:], uint64[:,:]")
_scatter = PerThread("scatter", _build_scatter, "uint64[:,:], uint32[:], uint64[:,:]")
_join = PerThread("join", _build_join, "uint64[:,:], uint64[:,:], uint64[:,:], uint64[:,:]")
_set_words = PerThread("set_words", _build_set_words, "int64, uint32[:]")
_limbs = PerThread("limbs", _build_limbs, "int64[:], int64[:], int64, int64[:,:]")
_add_copies = PerThread("add_copies", _build_add_copies, "uint32[:,:], int64[:]")
_find_correct = PerThread("find_correct", _build_find_correct, "int64[:,:], uint8[:], uint8[:]")
_mark_hits = PerThread(
    "mark_hits",
    _build_mark_hits,
    "int64[:,:], uint8[:], uint8[:], int64[:], int64[:,:], int64[:]",
)
_scalars = PerThread("small_scalars", _build_scalars, "int64[:], uint64[:,:]")


def multiply(device: Device, x: Array, weight: Int8Array, bias: Int32Array) -> Array:
    """z = x W^T + b, int64[N, n_out].

    x      : integers[N, n_in] on the device; W int8[n_out, n_in] and b int32[n_out] on the host
    raises : ShapeError if the layer does not fit its input
    """
    n_out, n_in = weight.shape
    if x.shape[1:] != (n_in,) or bias.shape != (n_out,):
        raise ShapeError(f"a layer of shape {[n_out, n_in]} on inputs {list(x.shape)}")
    across = device.asarray(np.ascontiguousarray(weight.T))
    z = device.empty((len(x), n_out), np.int64)
    _accumulate(device, len(x) * n_out, x, across, device.asarray(bias), z)
    return z


def requantize(device: Device, z: Array, how: Rounding) -> tuple[Array, Array, Array]:
    """(q, rem, y) of every value, int64 in the shape of z."""
    flat = z.reshape(-1)
    q, rem, y = (device.empty(flat.shape, np.int64) for _ in range(3))
    _round(
        device, len(flat), flat, how.shift, how.multiplier, how.least, how.greatest, q, rem, y
    )  # fmt: skip
    return q.reshape(z.shape), rem.reshape(z.shape), y.reshape(z.shape)


def combine(
    device: Device, values: Array, starts: Array, columns: Array, coefficients: Array
) -> Array:
    """See `kernels.integers.Integers.combine`; all on the device."""
    n = len(starts) - 1
    out = device.empty((n,), np.int64)
    _combine(device, n, starts, columns, coefficients, values, out)
    return out


def count_lookups(device: Device, index: Array, n_rows: int) -> Array:
    """Multiplicities of a table: how often each of its rows is looked up, int64[n_rows].

    index : int64[n]; what lies outside the table is not counted
    """
    copies = max(min(COPIES, MAX_COUNTERS // max(n_rows, 1)), 1)
    counts = device.zeros((copies, n_rows), np.uint32)
    _count(device, len(index), index, counts)
    out = device.empty((n_rows,), np.int64)
    _add_copies(device, n_rows, counts, out)
    return out


def limbs(device: Device, values: Array, shifts: Array, bits: int) -> Array:
    """(values >> shift) mod 2^bits for every shift, in one more axis."""
    out = device.empty((*values.shape, len(shifts)), np.int64)
    flat = values.reshape(-1)
    _limbs(device, len(flat), flat, shifts, (1 << bits) - 1, out.reshape(-1, len(shifts)))
    return out


def find_correct(device: Device, logits: Array, labels: Array) -> Array:
    """uint8[n_real]: see `kernels.integers.Integers.find_correct`."""
    correct = device.empty(labels.shape, np.uint8)
    _find_correct(device, len(labels), logits, labels, correct)
    return correct


def mark_hits(
    device: Device, logits: Array, labels: Array, counted: Array
) -> tuple[Array, Array, Array]:
    """See `kernels.integers.Integers.mark_hits`; all on the device, counted uint8."""
    y, level = (device.empty((len(logits),), np.int64) for _ in range(2))
    hit = device.empty(logits.shape, np.int64)
    _mark_hits(device, len(logits), logits, labels, counted, y, hit, level)
    return y, hit, level


def set_words(device: Device, value: int, out: Array) -> None:
    """out = value, uint32[n]."""
    _set_words(device, len(out), value, out)


def join(device: Device, parts: Sequence[Array], out: Array) -> None:
    """out = one after the other, then zeros; uint64[n_i, w], at least one, and uint64[n, w]."""
    start = 0
    for first in range(0, len(parts), JOINED):
        few = list(parts[first : first + JOINED])
        is_last = first + JOINED >= len(parts)
        stop = len(out) if is_last else start + sum(map(len, few))
        few += [few[0][:0]] * (JOINED - len(few))
        _join(device, (stop - start) * out.shape[1], *few, out[start:stop])
        start = stop


def gather(device: Device, source: Array, index: Array) -> Array:
    """source[index], uint64[n, w] for index uint32[n] below len(source)."""
    out = device.empty((len(index), source.shape[1]), source.dtype)
    _gather(device, out.size, source, index, out)
    return out


def scatter(device: Device, target: Array, index: Array, values: Array) -> None:
    """target[index] = values, for distinct index uint32[n] below len(target)."""
    _scatter(device, values.size, target, index, values)


def small_scalars(device: Device, values: Array) -> Array:
    """int64[n], |x| < 2^62, as canonical scalars x mod r, uint64[n, 4]."""
    out = device.empty((len(values), 4), np.uint64)
    _scalars(device, len(values), values, out)
    return out
