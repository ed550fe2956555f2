"""Scalars to signed digits, digits to references sorted by bucket: launches around `src/sort.cu`.

Nothing comes to the host: how many entries there are is found, and needed, on the device alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.cuda.launch.runtime import Array, Device, ceil_div
from kernels.cuda.msm.layout import SortLayout
from kernels.cuda.msm.rounds import SORT_BLOCK

_WORD = 4


@dataclass(frozen=True, slots=True, eq=False)
class SortedDigits:
    """The nonzero digits of some scalars, by bucket.

    references : uint32[>= entries], record << 1 | negate; those of bucket b from offsets[b] on
    offsets    : uint32[n_buckets + 1]; the last one is the number of entries
    """

    references: Array
    offsets: Array


@dataclass(frozen=True, slots=True, eq=False)
class Jobs:
    """The jobs of a sort, or of a group's sums, as `kernels.cuda.msm.tasks` writes them.

    records : of the device
    reads   : what they point to: scalars, and marks of infinite bases; or the points of bases
    """

    records: Array
    reads: tuple[Array, ...]


def sort_entries(
    device: Device, layout: SortLayout, jobs: Jobs, *, work: Array, kept: Array, refused: Array
) -> SortedDigits:
    """The nonzero digits' references of a round, sorted by bucket.

    work    : memory for the sort; kept: for what it returns
    refused : uint32[1], to which it adds how many scalars are not below r; they have no digits
    """
    whole, lg_places = layout.plan, np.uint32(layout.plan.lg_places)
    device.clear(work[: layout.cleared])
    references, offsets = layout.references.within(kept), layout.offsets.within(kept)
    starts = layout.starts.within(work) if whole.lg_places else offsets
    sizes, bases = layout.part_sizes.within(work), layout.part_bases.within(work)
    n_shared = max(place.n_parts for place in whole.places)

    def launch(
        name: str, n_blocks: int, n_shared: int, *arguments: Any, reads: tuple[Array, ...] = ()
    ) -> None:
        kernel = device.load_module("sort").kernel(name)
        shared_bytes = _WORD * n_shared
        kernel(
            (n_blocks, 1, 1), (SORT_BLOCK, 1, 1), arguments, shared_bytes=shared_bytes, reads=reads
        )

    def scan(out: Array, counts: Array, first: Array, n_rows: int) -> None:
        launch(
            "scan_rows", n_rows, SORT_BLOCK, out, counts, first, np.uint32(len(counts) // n_rows)
        )

    def from_scalars(name: str, *arguments: Any) -> None:
        launch(name, whole.n_blocks, n_shared, *arguments, reads=jobs.reads)

    from_scalars("count_parts", sizes, bases, refused, jobs.records, lg_places)
    scan(starts, sizes, layout.zero.within(work), 1)
    if whole.lg_places == 0:
        from_scalars("place_references", references, starts, bases, jobs.records)
        return SortedDigits(references, offsets)
    by_part, places = layout.by_part.within(work), layout.places.within(work)
    from_scalars("place_parts", by_part, places, starts, bases, jobs.records, lg_places)
    n_blocks, n_places = ceil_div(whole.max_entries, whole.entries_per_block), 1 << whole.lg_places
    chunks = np.uint32(whole.entries_per_block), lg_places, np.uint32(whole.n_parts)
    sizes, rows = layout.bucket_sizes.within(work), layout.bucket_bases.within(work)
    launch("count_buckets", n_blocks, n_places, sizes, rows, places, starts, *chunks)
    scan(offsets, sizes, starts, whole.n_parts)
    moving = references, offsets, rows, by_part, places, starts
    launch("place_buckets", n_blocks, n_places, *moving, *chunks)
    return SortedDigits(references, offsets)
