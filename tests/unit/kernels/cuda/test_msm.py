"""MSM on the emulated device: slices that cross, keys that do not fit, memory as planned.

Values are judged by tests/conformance; here is what a small sum does not reach.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from kernels.array import FrArray
from kernels.bn254 import R
from kernels.cuda.launch.runtime import ceil_div
from kernels.cuda.msm import plan as msm_plan
from kernels.cuda.msm.bases import CudaBases, find_infinite
from kernels.cuda.msm.digits import SortedDigits, count_lengths, scalar_limbs, sort_entries
from kernels.cuda.msm.plan import (
    SCALAR_BITS,
    Budget,
    MsmPlan,
    TableChoice,
    choose_slice,
    fixed_bytes,
    plan_longest,
    plan_merges,
    plan_pass,
)
from kernels.cuda.msm.slices import CudaMsm
from tests.conformance.inputs import (
    EDGES,
    GROUPS,
    SCALARS,
    Group,
    build_bases,
    draw_scalars,
    known_sum,
)
from tests.support.metered_device import MeteredDevice
from tests.support.skips import or_skip

G1, G2 = GROUPS
AMPLE = Budget(work_bytes=1 << 40, n_processors=1)


def open_device(**options: Any) -> MeteredDevice:
    return or_skip(MeteredDevice, **options)


@pytest.fixture(scope="module")
def device() -> MeteredDevice:
    return open_device()


# -- digits and their order ------------------------------------------------------------------------


def read_digits(found: SortedDigits, plan: MsmPlan, n: int, first: int, stride: int) -> list[int]:
    """Scalars as the references spell them, which must be sorted and refer to known records."""
    values = [0] * n
    offsets = found.offsets.tolist()
    assert offsets[0] == 0
    assert offsets[plan.n_sums] == found.n_entries
    for bucket, (start, end) in enumerate(pairwise(offsets[: plan.n_sums + 1])):
        window, digit = divmod(bucket, plan.n_buckets)
        for reference in found.references[start:end].tolist():
            table, i = divmod((reference >> 1) - first, stride)
            assert 0 <= i < n
            assert 0 <= table < plan.n_tables
            weight = (digit + 1) << plan.c * (table * plan.n_sets + window)
            values[i] += -weight if reference & 1 else weight
    return values


@pytest.mark.parametrize("tables", [None, TableChoice(c=7, n_sets=5, n_tables=8)], ids=str)
@pytest.mark.parametrize("name", [*SCALARS, "every edge"])
def test_references_spell_the_scalars(
    device: MeteredDevice, name: str, tables: TableChoice | None
) -> None:
    scalars = EDGES if name == "every edge" else draw_scalars(name, 200)
    n = len(scalars)
    infinite = np.array([i % 5 == 3 for i in range(n)], dtype=np.uint8)
    limbs = device.asarray(scalar_limbs(FrArray.from_ints(scalars).data))
    marks = device.asarray(infinite)
    lengths = count_lengths(device, limbs, marks)
    expected = [0] * 257
    for s, is_infinite in zip(scalars, infinite, strict=True):
        expected[min(s, R - s).bit_length()] += 1 - int(is_infinite)
    assert lengths == expected
    if not any(lengths[1:]):
        return
    plan = plan_pass(n, 1, lengths, tables=tables, budget=AMPLE)
    found = sort_entries(device, limbs, marks, plan, first=11, stride=300)
    values = read_digits(found, plan, n, 11, 300)
    for s, value, is_infinite in zip(scalars, values, infinite, strict=True):
        assert value == (0 if is_infinite else min(s, s - R, key=abs))


def test_a_scalar_that_is_not_canonical_is_refused(device: MeteredDevice) -> None:
    for bad in (R, R + 1, R + (1 << 200), (1 << 256) - 1):
        words = np.array([[bad >> 64 * i & (1 << 64) - 1 for i in range(4)]], dtype=np.uint64)
        with pytest.raises(ValueError, match="group order"):
            count_lengths(device, device.asarray(scalar_limbs(words)), device.zeros((1,), np.uint8))


@pytest.mark.parametrize("reversed_order", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", ["full", "all equal", "one"])
def test_sorting_by_many_parts_and_blocks(
    monkeypatch: pytest.MonkeyPatch, name: str, reversed_order: bool
) -> None:
    """Parts in several blocks, blocks with several parts, parts without entries."""
    monkeypatch.setattr(msm_plan, "MAX_DIRECT", 0)
    monkeypatch.setattr(msm_plan, "MIN_ENTRIES", 40)
    monkeypatch.setattr(msm_plan, "PER_PLACE", 1)
    device, scalars = open_device(reversed_order=reversed_order), draw_scalars(name, 700)
    limbs = device.asarray(scalar_limbs(FrArray.from_ints(scalars).data))
    marks = device.zeros((700,), np.uint8)
    plan = plan_pass(700, 1, count_lengths(device, limbs, marks), tables=None, budget=AMPLE)
    assert ceil_div(700, plan.scalars_per_block(device.n_processors)) == 3
    assert plan.n_parts > 1 or name == "one"  # which has digits of two values
    found = sort_entries(device, limbs, marks, plan, first=0, stride=700)
    assert found.n_entries > 2 * plan.entries_per_block
    assert read_digits(found, plan, 700, 0, 700) == [min(s, s - R, key=abs) for s in scalars]


# -- sums ------------------------------------------------------------------------------------------


def check(device: MeteredDevice, group: Group, scalars: list[int], kind: str, room: int) -> None:
    degree = 1 if group is G1 else 2
    bases, factors = build_bases(group, kind, len(scalars))
    msm = CudaMsm(device, degree)
    result = msm.run(FrArray.from_ints(scalars), msm.prepare(bases.data, room))
    assert (result == known_sum(group, scalars, factors).data[0]).all()


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("kind", ["mixed", "one and its opposite", "all equal"])
def test_a_bucket_over_many_slices_and_merges(group: Group, kind: str) -> None:
    """Equal scalars fill one bucket per window; slices are short, so that merges are deep."""
    device = open_device(reversed_order=kind == "mixed")
    n = 1024 if group is G1 else 512
    assert len(plan_merges(-(-n // choose_slice(n, device.n_processors)))) >= 2
    for scalars in ["one"] if group is G2 else ["one", "all equal", "minus small"]:
        check(device, group, draw_scalars(scalars, n), kind, 0)


@pytest.mark.parametrize("room", [0, 1 << 20])
def test_sums_of_entries_sorted_by_parts(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    monkeypatch.setattr(msm_plan, "MAX_DIRECT", 0)
    check(open_device(), G1, draw_scalars("full", 300), "mixed", room)


@pytest.mark.parametrize("n", [1, 3, 8, 9, 16, 17, 127, 129])
def test_ends_of_slices(device: MeteredDevice, n: int) -> None:
    """Buckets that begin, end or fill slices in every way: runs of equal small scalars."""
    for run in (1, 2, 7, 8, 9, 16, 33):
        check(device, G1, [2 + i // run for i in range(n)], "distinct", 0)


def test_keys_larger_than_the_device_travel_in_chunks() -> None:
    device = open_device(memory_bytes=600_000)
    bases, factors = build_bases(G1, "mixed", 1000)
    device.memory_bytes = 100_000  # the bases alone need 65,000
    msm = CudaMsm(device, 1)
    fixed = msm.prepare(bases.data, 1 << 30)
    assert not fixed.is_resident
    device.memory_bytes = 400_000
    told: list[tuple[int, int]] = []
    scalars = draw_scalars("full", 1000)
    result = msm.run(FrArray.from_ints(scalars), fixed, lambda *now: told.append(now))
    assert (result == known_sum(G1, scalars, factors).data[0]).all()
    assert told[-1][1] > 3  # more than one chunk
    assert device.peak <= 400_000


class Stopped(BaseException):
    """As an interruption from the keyboard: no error that somebody handles on the way."""


@pytest.mark.parametrize("stage", [1, 2, 4])
def test_who_stops_a_sum_leaves_no_copy_under_way(stage: int) -> None:
    """It would write into memory that the pool has given to somebody else by then."""
    device = open_device(memory_bytes=100_000)
    bases, _ = build_bases(G1, "mixed", 1000)
    msm = CudaMsm(device, 1)
    fixed = msm.prepare(bases.data, None)
    device.memory_bytes = 400_000
    started: list[int] = []

    def stop(done: int, total: int) -> None:
        started.append(len(device.under_way))
        if done == stage:
            raise Stopped

    with pytest.raises(Stopped):
        msm.run(FrArray.from_ints(draw_scalars("full", 1000)), fixed, stop)
    assert (started[-1] > 0) == (stage == 2)  # the next chunk is on its way
    assert not device.under_way


@pytest.mark.parametrize("memory", [1 << 20, 1 << 22])
def test_multiples_are_bounded_by_memory(memory: int) -> None:
    device = open_device(memory_bytes=memory)
    bases, factors = build_bases(G1, "mixed", 1000)
    msm = CudaMsm(device, 1)
    fixed = msm.prepare(bases.data, 1 << 40)
    assert fixed.tables is not None
    assert fixed.n_bytes == fixed_bytes(1000, 1, fixed.tables.n_tables) <= memory // 2
    scalars = draw_scalars("full", 1000)
    result = msm.run(FrArray.from_ints(scalars), fixed)
    assert (result == known_sum(G1, scalars, factors).data[0]).all()
    assert device.peak <= memory


@pytest.mark.parametrize("scalars", ["full", "one", "all equal"])
def test_a_pass_stays_within_its_footprint(scalars: str) -> None:
    for n, room in ((9, 0), (300, 0), (300, 1 << 20)):
        device = open_device()
        bases, _ = build_bases(G1, "distinct", n)
        msm = CudaMsm(device, 1)
        fixed = msm.prepare(bases.data, room)
        kept = device.used
        assert kept == fixed.n_bytes
        device.peak = kept
        msm.run(FrArray.from_ints(draw_scalars(scalars, n)), fixed)
        planned = plan_longest(n, 1, fixed.tables).work_bytes(device.n_processors)
        assert device.peak - kept <= planned
        assert device.used == kept
        if scalars == "full" and n == 300:
            assert device.peak - kept > planned // 4


def test_multiples_are_what_they_say(device: MeteredDevice) -> None:
    bases, factors = build_bases(G1, "mixed", 12)
    fixed = CudaMsm(device, 1).prepare(bases.data, 1 << 13)
    assert fixed.tables is not None
    step = fixed.tables.c * fixed.tables.n_sets
    for j in range(fixed.tables.n_tables):
        scaled = G1.multiples([k << step * j for k in factors])
        assert (fixed.table[12 * j : 12 * (j + 1)] == G1.array.from_ints(scaled).data).all()


def test_what_a_sum_refuses(device: MeteredDevice) -> None:
    msm = CudaMsm(device, 1)
    bases, _ = build_bases(G1, "distinct", 2)
    fixed = msm.prepare(bases.data)
    with pytest.raises(ValueError, match="3 scalars for 2 bases"):
        msm.run(FrArray.from_ints([1, 2, 3]), fixed)
    with pytest.raises(ValueError, match="shape"):
        msm.run(FrArray(np.zeros((1, 2, 4), np.uint64)), fixed)
    with pytest.raises(ValueError, match="shape"):
        msm.prepare(np.zeros((1, 2, 8), np.uint64))


def test_infinite_bases_are_found() -> None:
    bases, factors = build_bases(G2, "every third infinite", 9)
    assert find_infinite(bases.data).tolist() == [int(k == 0) for k in factors]
    assert CudaBases(9, 2).n_bytes == fixed_bytes(9, 2, 1)
    assert ((R - 1) // 2).bit_length() == SCALAR_BITS
