"""Sums on the emulated device: slices that cross, keys that do not fit, memory as planned.

Values are judged by tests/conformance; here is what a small sum does not reach.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from kernels.array import U64, FrArray
from kernels.bn254 import R
from kernels.cuda.msm import layout as msm_layout
from kernels.cuda.msm import rounds as msm_rounds
from kernels.cuda.msm.bases import CudaBases, find_infinite, lend_bases, prepare_bases
from kernels.cuda.msm.digits import SortedDigits, sort_entries
from kernels.cuda.msm.layout import Batch, RoundLayout, plan_batch
from kernels.cuda.msm.plan import (
    SCALAR_BITS,
    MsmPlan,
    TableChoice,
    bound_slices,
    fixed_bytes,
    plan_merges,
    plan_sum,
)
from kernels.cuda.msm.rounds import Part, Round
from kernels.cuda.msm.sums import Sum, compute_sums, list_sizes
from kernels.cuda.msm.tasks import Source, send_tasks
from tests.conformance.inputs import (
    EDGES,
    GROUPS,
    SCALARS,
    Group,
    build_bases,
    draw_scalars,
    known_sum,
)
from tests.support.cuda_meter import metered
from tests.support.metered_device import MeteredDevice
from tests.support.skips import or_skip

G1, G2 = GROUPS


def open_device(**options: Any) -> MeteredDevice:
    return or_skip(MeteredDevice, **options)


@pytest.fixture(scope="module")
def device() -> MeteredDevice:
    return open_device()


# -- digits and their order ------------------------------------------------------------------------


def sort(
    device: MeteredDevice, plan: MsmPlan, scalars: U64, marks: Any, *, first: int, stride: int
) -> tuple[SortedDigits, Round, int]:
    """The digits of one sum, sorted; its round, and how many scalars were refused."""
    part = Part(index=0, first=0, plan=plan, travels=False)
    batch = Batch([RoundLayout(Round(parts=(part,), n_processors=device.n_processors))])
    layout = batch.rounds[0].sort
    table = device.zeros((1, 8), np.uint64)
    source = Source(device.asarray(scalars), device.asarray(marks), table, first, stride)
    refused = device.zeros((1,), np.uint32)
    found = sort_entries(
        device,
        layout,
        send_tasks(device, batch.rounds, [[source]])[0].jobs,
        work=device.empty((layout.n_bytes,), np.uint8),
        kept=device.empty((layout.sorted_bytes,), np.uint8),
        refused=refused,
    )
    return found, layout.plan, int(device.to_host(refused)[0])


def read_digits(found: SortedDigits, plan: MsmPlan, n: int, first: int, stride: int) -> list[int]:
    """Scalars as the references spell them, which must be sorted and refer to known records."""
    values = [0] * n
    offsets = found.offsets.tolist()
    assert offsets[0] == 0
    assert offsets[plan.n_sums] == offsets[-1]  # what fills up the last part is empty
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
    plan = plan_sum(n, 1, tables)
    words = FrArray.from_ints(scalars).data
    found, _, n_refused = sort(device, plan, words, infinite, first=11, stride=300)
    assert n_refused == 0
    values = read_digits(found, plan, n, 11, 300)
    for s, value, is_infinite in zip(scalars, values, infinite, strict=True):
        assert value == (0 if is_infinite else min(s, s - R, key=abs))


def test_scalars_that_are_not_canonical_are_counted_and_have_no_digits(
    device: MeteredDevice,
) -> None:
    values = [5, R, R + 1, R - 1, R + (1 << 200), (1 << 256) - 1]
    words = np.array([[v >> 64 * i & (1 << 64) - 1 for i in range(4)] for v in values], np.uint64)
    plan, marks = plan_sum(6, 1, None), np.zeros(6, np.uint8)
    found, _, n_refused = sort(device, plan, words, marks, first=0, stride=6)
    assert n_refused == 4
    assert read_digits(found, plan, 6, 0, 6) == [5, 0, 0, -1, 0, 0]
    bases, _ = build_bases(G1, "distinct", 6)
    fixed = prepare_bases(device, bases.data, 1)
    with pytest.raises(ValueError, match="group order"):
        compute_sums(device, [Sum(FrArray(words), fixed)])


@pytest.mark.parametrize("reversed_order", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", ["full", "all equal", "one"])
def test_sorting_by_many_parts_and_blocks(
    monkeypatch: pytest.MonkeyPatch, name: str, reversed_order: bool
) -> None:
    """Parts in several blocks, blocks with several parts, parts without entries."""
    sort_by_parts(monkeypatch)
    monkeypatch.setattr(msm_rounds, "MIN_ENTRIES", 40)
    monkeypatch.setattr(msm_rounds, "PER_PLACE", 1)
    device, scalars = open_device(reversed_order=reversed_order), draw_scalars(name, 700)
    plan, words = plan_sum(700, 1, None), FrArray.from_ints(scalars).data
    found, whole, _ = sort(device, plan, words, np.zeros(700, np.uint8), first=0, stride=700)
    assert whole.n_blocks == 3
    assert whole.n_parts > 1
    assert name == "one" or int(found.offsets[-1]) > 2 * whole.entries_per_block
    assert read_digits(found, plan, 700, 0, 700) == [min(s, s - R, key=abs) for s in scalars]


def sort_by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msm_rounds, "MAX_DIRECT", 0)
    monkeypatch.setattr(msm_layout, "_lay_out", msm_layout._lay_out.__wrapped__)


# -- sums ------------------------------------------------------------------------------------------


def check(device: MeteredDevice, group: Group, scalars: list[int], kind: str, room: int) -> None:
    bases, factors = build_bases(group, kind, len(scalars))
    fixed = prepare_bases(device, bases.data, degree_of(group), room)
    (result,) = compute_sums(device, [Sum(FrArray.from_ints(scalars), fixed)])
    assert (result == known_sum(group, scalars, factors).data[0]).all()


def degree_of(group: Group) -> int:
    return 1 if group is G1 else 2


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("kind", ["mixed", "one and its opposite", "all equal"])
def test_a_bucket_over_many_slices_and_merges(group: Group, kind: str) -> None:
    """Equal scalars fill one bucket per window; slices are short, so that merges are deep."""
    device = open_device(reversed_order=kind == "mixed")
    n = 1024 if group is G1 else 512
    max_entries = plan_sum(n, degree_of(group), None).max_entries
    assert len(plan_merges(bound_slices(max_entries, device.n_processors))) >= 2
    for scalars in ["one"] if group is G2 else ["one", "all equal", "minus small"]:
        check(device, group, draw_scalars(scalars, n), kind, 0)


@pytest.mark.parametrize("room", [0, 1 << 20])
def test_sums_of_entries_sorted_by_parts(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    sort_by_parts(monkeypatch)
    check(open_device(), G1, draw_scalars("full", 300), "mixed", room)


def draw_sums(device: MeteredDevice) -> tuple[list[Sum], list[U64]]:
    """Sums of both groups, of several lengths, digits and places of their bases; their values."""
    sums, values = list[Sum](), list[U64]()
    for seed, (group, n, name, room) in enumerate(
        [
            (G1, 300, "full", 1 << 20),
            (G2, 40, "witness-like", None),
            (G1, 0, "full", None),
            (G1, 7, "small", 0),
            (G2, 33, "full", 1 << 16),
            (G1, 130, "zero", 1 << 14),
        ]
    ):
        bases, factors = build_bases(group, "mixed", n)
        scalars = draw_scalars(name, n, seed)
        fixed = (
            lend_bases(bases.data, degree_of(group))
            if room is None
            else prepare_bases(device, bases.data, degree_of(group), room)
        )
        sums.append(Sum(FrArray.from_ints(scalars), fixed))
        values.append(known_sum(group, scalars, factors).data[0])
    return sums, values


def plan_of(device: MeteredDevice, sums: list[Sum]) -> Batch:
    """As it is with all memory at hand."""
    own = [s for degree in (1, 2) for s in sums if s.bases.degree == degree and len(s.bases)]
    sizes = list_sizes(own)
    return plan_batch(sizes, memory_bytes=1 << 30, n_processors=device.n_processors)


@pytest.mark.parametrize("by_parts", [False, True])
@pytest.mark.parametrize("entries", [1 << 24, 3000, 200])
def test_sums_of_a_batch_in_one_round_or_many(
    monkeypatch: pytest.MonkeyPatch, entries: int, by_parts: bool
) -> None:
    """Cut or packed, of both groups, resident or sent meanwhile: the same points, few waits."""
    monkeypatch.setattr(msm_layout, "ROUND_ENTRIES", entries)
    if by_parts:
        sort_by_parts(monkeypatch)
    device = open_device(reversed_order=by_parts)
    sums, values = draw_sums(device)
    told = Counter[int]()
    with metered() as counts:
        found = compute_sums(device, sums, lambda i, done, total: told.update([i]))
    spans = plan_of(device, sums).spans
    assert counts.synchronizations == len(spans)
    assert (len(spans) > 1) == (entries == 200)
    for result, value in zip(found, values, strict=True):
        assert (result == value).all()
    assert set(told) == set(range(len(sums)))
    assert (told[0] > 2) == (entries < 1 << 24)  # in parts


def draw_pairs(device: MeteredDevice, room: int | None) -> tuple[list[Sum], list[U64]]:
    """Two pairs of sums with the same scalars in both groups, and one more in each."""
    sums, values = list[Sum](), list[U64]()
    for seed, n, groups in [(0, 60, GROUPS), (1, 7, [G1]), (2, 33, GROUPS), (3, 33, [G2])]:
        drawn = draw_scalars("full", n, seed)
        scalars = FrArray.from_ints(drawn)
        for group in groups:
            bases, factors = build_bases(group, "mixed", n)
            if group is G2:  # infinite in another place than in G1
                bases, factors = bases[::-1], factors[::-1]
            degree = degree_of(group)
            fixed = (
                lend_bases(bases.data, degree)
                if room is None
                else CudaBases(
                    n,
                    degree,
                    table=device.asarray(bases.data),
                    infinite=device.asarray(find_infinite(bases.data)),
                )
                if room == 0
                else prepare_bases(device, bases.data, degree, room * degree * (n + 1))
            )
            sums.append(Sum(scalars, fixed))
            values.append(known_sum(group, drawn, factors).data[0])
    return sums, values


@pytest.mark.parametrize("by_parts", [False, True])
@pytest.mark.parametrize("entries", [1 << 24, 900])
@pytest.mark.parametrize("room", [None, 0, 1024])
def test_sums_of_the_same_scalars_are_sorted_once(
    monkeypatch: pytest.MonkeyPatch, room: int | None, entries: int, by_parts: bool
) -> None:
    """In both groups, whatever else is summed with them: as if each had been sorted for itself."""
    monkeypatch.setattr(msm_layout, "ROUND_ENTRIES", entries)
    if by_parts:
        sort_by_parts(monkeypatch)
    device = open_device(reversed_order=by_parts)
    sums, values = draw_pairs(device, room)
    for result, value in zip(compute_sums(device, sums), values, strict=True):
        assert (result == value).all()
    rounds = [layout.plan for layout in plan_of(device, sums).rounds]
    n_sorted = sum(whole.max_entries for whole in rounds)
    n_summed = sum(part.plan.max_entries for whole in rounds for part in whole.parts)
    with_others = [part for whole in rounds for part in whole.parts if part.sorted_with is not None]
    assert {part.index for part in with_others} == {3, 4}
    assert n_summed - n_sorted == sum(part.plan.max_entries for part in with_others)
    assert n_sorted < 0.7 * n_summed
    assert (len(rounds) > 1) == (entries == 900)


def test_only_what_has_the_same_digits_is_sorted_together(device: MeteredDevice) -> None:
    scalars = FrArray.from_ints(draw_scalars("full", 33))
    one, two = (build_bases(group, "distinct", 33)[0].data for group in GROUPS)
    resident, lent = prepare_bases(device, one, 1), lend_bases(two, 2)
    other = FrArray.from_ints(draw_scalars("full", 33, 1))
    tables = prepare_bases(device, two, 2, 1 << 20)
    for with_what in (lent, tables):
        assert list_sizes([Sum(scalars, resident), Sum(scalars, with_what)])[1].sorted_with is None
    fixed = prepare_bases(device, two, 2)
    assert list_sizes([Sum(scalars, resident), Sum(other, fixed)])[1].sorted_with is None
    found = list_sizes([Sum(other, resident), Sum(scalars, resident), *[Sum(scalars, fixed)] * 2])
    assert [size.sorted_with for size in found] == [None, None, 1, None]


@pytest.mark.parametrize("n", [1, 3, 8, 9, 16, 17, 127, 129])
def test_ends_of_slices(device: MeteredDevice, n: int) -> None:
    """Buckets that begin, end or fill slices in every way: runs of equal small scalars."""
    for run in (1, 2, 7, 8, 9, 16, 33):
        check(device, G1, [2 + i // run for i in range(n)], "distinct", 0)


def test_keys_larger_than_the_device_travel_in_pieces() -> None:
    device = open_device(memory_bytes=600_000)
    bases, factors = build_bases(G1, "mixed", 1000)
    device.memory_bytes = 100_000  # the bases alone need 65,000
    fixed = prepare_bases(device, bases.data, 1, 1 << 30)
    assert not fixed.is_resident
    device.memory_bytes = 400_000
    told: list[tuple[int, int]] = []
    scalars = draw_scalars("full", 1000)
    (result,) = compute_sums(
        device,
        [Sum(FrArray.from_ints(scalars), fixed)],
        lambda i, done, total: told.append((done, total)),
    )
    assert (result == known_sum(G1, scalars, factors).data[0]).all()
    assert told[-1][1] > 3  # more than one piece
    assert device.peak <= 400_000


class Stopped(BaseException):
    """As an interruption from the keyboard: no error that somebody handles on the way."""


@pytest.mark.parametrize("stage", [1, 2])
def test_who_stops_a_sum_leaves_no_copy_under_way(
    monkeypatch: pytest.MonkeyPatch, stage: int
) -> None:
    """It would write into memory that the pool has given to somebody else by then."""
    monkeypatch.setattr(msm_layout, "ROUND_ENTRIES", 8_000)
    device = open_device()
    bases, _ = build_bases(G1, "mixed", 1000)
    started: list[int] = []

    def stop(i: int, done: int, total: int) -> None:
        assert total > 3
        started.append(len(device.under_way))
        if done == stage:
            raise Stopped

    scalars = FrArray.from_ints(draw_scalars("full", 1000))
    own = Sum(scalars, lend_bases(bases.data, 1))
    with pytest.raises(Stopped):
        compute_sums(device, [own], stop)
    assert started[-1] == 1  # the next piece is on its way
    assert not device.under_way


@pytest.mark.parametrize("memory", [1 << 20, 1 << 22])
def test_multiples_are_bounded_by_memory(memory: int) -> None:
    device = open_device(memory_bytes=memory)
    bases, factors = build_bases(G1, "mixed", 1000)
    fixed = prepare_bases(device, bases.data, 1, 1 << 40)
    assert fixed.tables is not None
    assert fixed.n_bytes == fixed_bytes(1000, 1, fixed.tables.n_tables) <= memory // 2
    scalars = draw_scalars("full", 1000)
    (result,) = compute_sums(device, [Sum(FrArray.from_ints(scalars), fixed)])
    assert (result == known_sum(G1, scalars, factors).data[0]).all()
    assert device.peak <= memory


@pytest.mark.parametrize("entries", [1 << 24, 2000])
def test_a_batch_takes_the_memory_that_it_says(
    monkeypatch: pytest.MonkeyPatch, entries: int
) -> None:
    monkeypatch.setattr(msm_layout, "ROUND_ENTRIES", entries)
    device = open_device()
    sums, _ = draw_sums(device)
    kept = device.peak = device.used
    assert kept == sum(each.bases.n_bytes for each in sums if each.bases.is_resident)
    compute_sums(device, sums)
    batch = plan_of(device, sums)
    scalars = sum(s.scalars.data.nbytes for s in sums)
    least = batch.n_bytes + scalars
    assert least < device.peak - kept <= least + batch.task_bytes
    assert device.used == kept


def test_multiples_are_what_they_say(device: MeteredDevice) -> None:
    bases, factors = build_bases(G1, "mixed", 12)
    fixed = prepare_bases(device, bases.data, 1, 1 << 13)
    assert fixed.tables is not None
    step = fixed.tables.c * fixed.tables.n_sets
    for j in range(fixed.tables.n_tables):
        scaled = G1.multiples([k << step * j for k in factors])
        assert (fixed.table[12 * j : 12 * (j + 1)] == G1.array.from_ints(scaled).data).all()


def test_what_a_sum_refuses(device: MeteredDevice) -> None:
    bases, _ = build_bases(G1, "distinct", 2)
    fixed = prepare_bases(device, bases.data, 1)
    with pytest.raises(ValueError, match="3 scalars for 2 bases"):
        Sum(FrArray.from_ints([1, 2, 3]), fixed)
    with pytest.raises(ValueError, match="shape"):
        Sum(FrArray(np.zeros((1, 2, 4), np.uint64)), fixed)
    for make in (prepare_bases, lambda device, points, degree: lend_bases(points, degree)):
        with pytest.raises(ValueError, match="shape"):
            make(device, np.zeros((1, 2, 8), np.uint64), 1)


def test_infinite_bases_are_found() -> None:
    bases, factors = build_bases(G2, "every third infinite", 9)
    assert find_infinite(bases.data).tolist() == [int(k == 0) for k in factors]
    assert CudaBases(9, 2).n_bytes == fixed_bytes(9, 2, 1)
    assert ((R - 1) // 2).bit_length() == SCALAR_BITS
