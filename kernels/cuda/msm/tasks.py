"""What kernels are told of a batch, written for the device: jobs and sets (`src/jobs.cuh`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.cuda.launch.places import Room
from kernels.cuda.launch.runtime import Array, Device
from kernels.cuda.msm.digits import Jobs
from kernels.cuda.msm.layout import RoundLayout

JOB = np.dtype(
    [
        *[(name, np.uint64) for name in ("scalars", "infinite", "table")],
        *[(name, np.uint32) for name in ("n", "per_block", "first_block", "first_bucket")],
        *[(name, np.uint32) for name in ("n_parts", "bases_at", "first_record", "stride")],
        *[(name, np.uint32) for name in ("c", "n_sets")],
    ]
)
"""`Job` of src/jobs.cuh."""
_BEHIND_ALL = (1 << 32) - 1
_WORD = 8  # bytes of the longest that a record has


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What one part of a sum is made of, on the device.

    scalars  : uint64[n, 4]
    infinite : uint8[n], 1 for points at infinity; None if nobody looked
    table    : uint64[..., 8 degree]; base i of the part is record first + i, its multiples follow
               in steps of `stride`
    """

    scalars: Array
    infinite: Array | None
    table: Array
    first: int
    stride: int


@dataclass(frozen=True, slots=True, eq=False)
class GroupTasks:
    """What a group's sums are of, then its sets for each step of its reduction and for each of its
    lists: on the device."""

    jobs: Jobs
    steps: list[Array]
    lists: list[Array]


@dataclass(frozen=True, slots=True, eq=False)
class RoundTasks:
    """Of one round. jobs : of its sort"""

    jobs: Jobs
    groups: list[GroupTasks]


def send_tasks(
    device: Device, rounds: Sequence[RoundLayout], sources: Sequence[Sequence[Source]]
) -> list[RoundTasks]:
    """The rounds' jobs and sets, in one copy; sources: of each part of each round."""
    room, written = Room(), list[tuple[Any, npt.NDArray[Any]]]()

    def write(records: npt.NDArray[Any]) -> Any:
        place = room.take((records.nbytes // _WORD,), np.uint64)
        written.append((place, records))
        return place

    placed = []
    for layout, own in zip(rounds, sources, strict=True):
        jobs, groups = write(_describe(device, layout, layout.plan.sorted, own)), []
        for group in layout.plan.groups:
            lists = (group.reduction.left, *group.reduction.after)
            groups.append(
                (
                    write(_describe(device, layout, group.parts, own)),
                    [write(step.sets) for step in group.reduction.steps],
                    [write(sets) for sets in lists],
                    tuple(own[k].table for k in group.parts),
                )
            )
        read = tuple(a for s in own for a in (s.scalars, s.infinite) if a is not None)
        placed.append((jobs, read, groups))
    host = np.zeros(room.at, np.uint8)
    for place, records in written:
        place.within(host)[:] = np.ascontiguousarray(records).view(np.uint64).reshape(-1)
    sent = device.asarray(host)
    return [
        RoundTasks(
            Jobs(jobs.within(sent), read),
            [
                GroupTasks(
                    Jobs(own.within(sent), tables),
                    [p.within(sent) for p in steps],
                    [p.within(sent) for p in lists],
                )
                for own, steps, lists, tables in groups
            ],
        )
        for jobs, read, groups in placed
    ]


def _describe(
    device: Device, layout: RoundLayout, parts: Sequence[int], sources: Sequence[Source]
) -> npt.NDArray[np.void]:
    """The jobs of these parts of a round, and the one behind them."""
    whole, jobs = layout.plan, np.zeros(len(parts) + 1, JOB)
    for job, k in zip(jobs, parts, strict=False):
        part, place, source = whole.parts[k], whole.places[k], sources[k]
        job["scalars"] = device.address(source.scalars)
        job["infinite"] = 0 if source.infinite is None else device.address(source.infinite)
        job["table"] = device.address(source.table)
        job["n"], job["per_block"] = part.plan.n, place.per_block
        job["first_block"], job["first_bucket"] = place.first_block, place.first_bucket
        job["n_parts"], job["bases_at"] = place.n_parts, place.bases_at
        job["first_record"], job["stride"] = source.first, source.stride
        job["c"], job["n_sets"] = part.plan.c, part.plan.n_sets
    last = whole.places[parts[-1]]
    jobs[-1]["first_block"] = _BEHIND_ALL
    jobs[-1]["first_bucket"] = last.first_bucket + (last.n_parts << whole.lg_places)
    return jobs
