"""Integers of the witness on a device: lookups, hits and gathering, a thread each.

The definition is `kernels.integers.HOST`; here are the same integers, computed where they are
needed next. Layers are in `kernels.cuda.layers`. Arrays of values are private: no error carries
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.bn254 import R
from kernels.cuda.launch.per_thread import AtomicAdd, Body, Jit, PerThread
from kernels.cuda.launch.runtime import Array, Device
from kernels.integers import ALL

COPIES = 64  # of a table's counters, so that equal lookups seldom meet
MAX_COUNTERS = 1 << 22
JOINED = 3  # arrays in one launch

_R_WORDS = np.array([R >> (64 * i) & ((1 << 64) - 1) for i in range(4)], dtype=np.uint64)


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
    def body(i: Any, logits: Any, labels: Any, correct: Any, counter: Any) -> None:
        """Whether the label's logit exceeds every other one of sample i."""
        label = np.int64(labels[i])
        least = np.int64(1)
        for k in range(logits.shape[1]):
            if k != label and logits[i, k] >= logits[i, label]:
                least = np.int64(0)
        correct[i] = np.uint8(least)
        if least != 0:
            atomic_add(counter, 0, 1)

    return body


def _build_mark_hits(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(
        i: Any, logits: Any, labels: Any, correct: Any, claimed: Any, y: Any, hit: Any, level: Any
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
            before = np.int64(0)
            if claimed[0] != ALL:
                for k in range(i):
                    before += np.int64(correct[k])
            if correct[i] != 0 and (claimed[0] == ALL or before < claimed[0]):
                hit[i, label] = 1
                level[i] = logits[i, label]

    return body


def _build_count_outside(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, index: Any, limits: Any, counter: Any) -> None:
        """counter[0] += 1 unless 0 <= index[i] < limits[i]."""
        if index[i] < 0 or index[i] >= limits[i]:
            atomic_add(counter, 0, 1)

    return body


def _build_write(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, values: Any, out: Any) -> None:
        """out[i] = values[i]."""
        out[i] = np.int64(values[i])

    return body


def _build_set(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, value: Any, out: Any) -> None:
        """out[i] = value."""
        out[i] = value

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


_combine = PerThread("combine", _build_combine, "int64[:], uint32[:], int64[:], int64[:], int64[:]")
_count = PerThread("count_lookups", _build_count, "int64[:], uint32[:,:]")
_gather = PerThread("gather", _build_gather, "uint64[:,:], uint32[:], uint64[:,:]")
_scatter = PerThread("scatter", _build_scatter, "uint64[:,:], uint32[:], uint64[:,:]")
_join = PerThread("join", _build_join, "uint64[:,:], uint64[:,:], uint64[:,:], uint64[:,:]")
_set = PerThread("set_all", _build_set, "int64, uint32[:]", "int64, int64[:]")
_write = PerThread(
    "write", _build_write, "int8[:], int64[:]", "int32[:], int64[:]", "int64[:], int64[:]"
)
_limbs = PerThread("limbs", _build_limbs, "int64[:], int64[:], int64, int64[:,:]")
_add_copies = PerThread("add_copies", _build_add_copies, "uint32[:,:], int64[:]")
_count_outside = PerThread("count_outside", _build_count_outside, "int64[:], int64[:], uint32[:]")
_find_correct = PerThread(
    "find_correct", _build_find_correct, "int64[:,:], uint8[:], uint8[:], uint32[:]"
)
_mark_hits = PerThread(
    "mark_hits",
    _build_mark_hits,
    "int64[:,:], uint8[:], uint8[:], int64[:], int64[:], int64[:,:], int64[:]",
)
_scalars = PerThread("small_scalars", _build_scalars, "int64[:], uint64[:,:]")


def combine(
    device: Device, values: Array, starts: Array, columns: Array, coefficients: Array
) -> Array:
    """See `kernels.integers.Integers.combine`; all on the device."""
    n = len(starts) - 1
    out = device.empty((n,), np.int64)
    _combine(device, n, starts, columns, coefficients, values, out)
    return out


def count_lookups(device: Device, indices: Sequence[Array], n_rows: int) -> Array:
    """Multiplicities of a table: how often each of its rows is looked up, int64[n_rows].

    indices : int64 arrays; what lies outside the table is not counted
    """
    copies = max(min(COPIES, MAX_COUNTERS // max(n_rows, 1)), 1)
    counts = device.empty((copies, n_rows), np.uint32)
    fill(device, counts.reshape(-1), 0)
    for index in indices:
        _count(device, index.size, index.reshape(-1), counts)
    out = device.empty((n_rows,), np.int64)
    _add_copies(device, n_rows, counts, out)
    return out


def limbs(device: Device, values: Array, shifts: Array, bits: int) -> Array:
    """(values >> shift) mod 2^bits for every shift, in one more axis."""
    out = device.empty((*values.shape, len(shifts)), np.int64)
    flat = values.reshape(-1)
    _limbs(device, len(flat), flat, shifts, (1 << bits) - 1, out.reshape(-1, len(shifts)))
    return out


def count_outside(device: Device, index: Array, limits: Array, counter: Array) -> None:
    """See `kernels.integers.Integers.count_outside`; all on the device."""
    _count_outside(device, len(index), index, limits, counter)


def find_correct(device: Device, logits: Array, labels: Array, counter: Array) -> Array:
    """uint8[n_real]: see `kernels.integers.Integers.find_correct`."""
    correct = device.empty(labels.shape, np.uint8)
    _find_correct(device, len(labels), logits, labels, correct, counter)
    return correct


def mark_hits(
    device: Device, logits: Array, labels: Array, correct: Array, claimed: Array
) -> tuple[Array, Array, Array]:
    """See `kernels.integers.Integers.mark_hits`; all on the device.

    cost : where not all are counted, a thread reads all samples before its own
    """
    y, level = (device.empty((len(logits),), np.int64) for _ in range(2))
    hit = device.empty(logits.shape, np.int64)
    _mark_hits(device, len(logits), logits, labels, correct, claimed, y, hit, level)
    return y, hit, level


def fill(device: Device, out: Array, value: int) -> None:
    """out = value, uint32[n] or int64[n]."""
    _set(device, len(out), value, out)


def write(device: Device, target: Array, values: Array) -> None:
    """target = values, int64[n] and n integers of any shape."""
    flat = values.reshape(-1)
    _write(device, len(flat), flat, target)


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
    gather_into(device, out, source, index)
    return out


def gather_into(device: Device, out: Array, source: Array, index: Array) -> None:
    """out = source[index], see `gather`."""
    _gather(device, out.size, source, index, out)


def scatter(device: Device, target: Array, index: Array, values: Array) -> None:
    """target[index] = values, for distinct index uint32[n] below len(target)."""
    _scatter(device, values.size, target, index, values)


def small_scalars(device: Device, values: Array) -> Array:
    """int64[n], |x| < 2^62, as canonical scalars x mod r, uint64[n, 4]."""
    out = device.empty((len(values), 4), np.uint64)
    _scalars(device, len(values), values, out)
    return out
