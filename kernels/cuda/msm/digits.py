"""Scalars to signed digits, digits to references sorted by bucket: plans around `src/sort.cu`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.cuda.launch.runtime import Array, Device, ceil_div
from kernels.cuda.msm.plan import N_LENGTHS, SCALAR_BITS, SORT_BLOCK, MsmPlan

_HISTOGRAMS = 8  # in the shared memory of a block of count_lengths
_BLOCKS_PER_PROCESSOR = 8
_WORD = 4


@dataclass(frozen=True, slots=True, eq=False)
class SortedDigits:
    """The nonzero digits of some scalars, by bucket.

    references : uint32[>= n_entries], record << 1 | negate; those of bucket b from offsets[b] on
    offsets    : uint32[> plan.n_sums]; offsets[n_sums] = n_entries
    """

    references: Array
    offsets: Array
    n_entries: int


def scalar_limbs(scalars: Array) -> Any:
    """uint64[n, 4], C-contiguous, of host or device as uint32[n, 8], lowest limb first."""
    return scalars.view(np.uint32).reshape(-1, 8)


def count_lengths(device: Device, scalars: Array, infinite: Array) -> list[int]:
    """lengths[b]: how many scalars of finite bases have min(s, r - s) of b bits.

    scalars  : uint32[n, 8]; infinite : uint8[n]
    raises   : ValueError if a scalar is not below r
    """
    histogram = device.zeros((N_LENGTHS,), np.uint32)
    n = len(scalars)
    n_blocks = min(ceil_div(n, SORT_BLOCK), _BLOCKS_PER_PROCESSOR * device.n_processors)
    arguments = (histogram, scalars, infinite, np.uint64(n))
    _launch(device, "count_lengths", n_blocks, arguments, _HISTOGRAMS * N_LENGTHS)
    lengths = device.to_host(histogram).tolist()
    if any(lengths[SCALAR_BITS + 1 :]):
        raise ValueError("MSM: a scalar is not below the group order r")
    return [int(n) for n in lengths]


def sort_entries(
    device: Device, scalars: Array, infinite: Array, plan: MsmPlan, *, first: int, stride: int
) -> SortedDigits:
    """The nonzero digits' references, sorted by bucket.

    Digit w of scalar i refers to table record (w // n_sets) * stride + first + i.
    """
    n_parts, per_block = plan.n_parts, plan.scalars_per_block(device.n_processors)
    n_blocks = ceil_div(plan.n, per_block)
    part_sizes = device.zeros((n_parts,), np.uint32)
    part_bases = device.empty((n_blocks, n_parts), np.uint32)
    source = scalars, infinite, np.uint64(plan.n), np.uint32(per_block)
    digits = _words(plan.c, plan.n_windows, plan.n_sets, plan.lg_places, n_parts)
    _launch(device, "count_parts", n_blocks, (part_sizes, part_bases, *source, *digits), n_parts)
    starts = _scan(device, part_sizes, device.zeros((1,), np.uint32))
    n_entries = int(device.to_host(starts[-1:])[0])

    references = device.empty((max(n_entries, 1),), np.uint32)
    placing = (starts, part_bases, *source, *_words(first, stride), *digits)
    if plan.lg_places == 0:
        _launch(device, "place_references", n_blocks, (references, *placing), n_parts)
        return SortedDigits(references, starts, n_entries)
    entries = device.empty((max(n_entries, 1), 2), np.uint32)
    _launch(device, "place_parts", n_blocks, (entries, *placing), n_parts)

    n_places, n_chunks = 1 << plan.lg_places, ceil_div(n_entries, plan.entries_per_block)
    sizes = device.zeros((n_parts * n_places,), np.uint32)
    bases = device.empty((n_chunks + n_parts, n_places), np.uint32)
    chunks = (np.uint64(n_entries), *_words(plan.entries_per_block, plan.lg_places, n_parts))
    arguments = (sizes, bases, entries, starts, *chunks)
    _launch(device, "count_buckets", n_chunks, arguments, n_places)
    offsets = _scan(device, sizes, starts)
    arguments = (references, offsets, bases, entries, starts, *chunks)
    _launch(device, "place_buckets", n_chunks, arguments, n_places)
    return SortedDigits(references, offsets, n_entries)


def _scan(device: Device, counts: Array, starts: Array) -> Array:
    """Sums of the counts before each, uint32[n + 1]; starts: a word a row, and maybe one more."""
    n_rows = max(len(starts) - 1, 1)
    out = device.empty((len(counts) + 1,), np.uint32)
    arguments = (out, counts, starts, np.uint32(len(counts) // n_rows))
    _launch(device, "scan_rows", n_rows, arguments, SORT_BLOCK)
    return out


def _words(*values: int) -> tuple[np.uint32, ...]:
    return tuple(np.uint32(v) for v in values)


def _launch(
    device: Device, name: str, n_blocks: int, arguments: tuple[object, ...], n_shared: int
) -> None:
    """n_shared: words of shared memory."""
    kernel = device.load_module("sort").kernel(name)
    kernel((n_blocks, 1, 1), (SORT_BLOCK, 1, 1), arguments, shared_bytes=_WORD * n_shared)
