"""What the conformance suite cannot see of an MSM: its plan, its arenas, and what it is not fed."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.array import FrArray, G1Array, G2Array, words_from_ints
from kernels.bn254 import G1, G2, P, R
from kernels.cpu.lanes import interface
from kernels.cpu.msm import buckets, runs
from kernels.cpu.msm import pippenger as msm
from kernels.cpu.msm.digits import most_tasks, plan_tasks
from kernels.cpu.msm.pippenger import (
    MAX_WINDOW,
    SCALAR_BITS,
    Msm,
    choose_tables,
    choose_window,
)
from kernels.cpu.pool import Pool
from kernels.reference import mul_g1, mul_g2

GROUPS: dict[str, tuple[int, Any, Any, Callable[..., Any]]] = {
    "g1": (1, G1Array, G1, mul_g1),
    "g2": (2, G2Array, G2, mul_g2),
}
LANES = "scalar"


def multiples(group: str, ks: list[int]) -> Any:
    """The points k G (0: infinity)."""
    _, array, generator, mul = GROUPS[group]
    return array.from_ints([mul(k, generator) for k in ks])


def expect(group: str, scalars: list[int], ks: list[int]) -> Any:
    _, array, generator, mul = GROUPS[group]
    total = sum(s * k for s, k in zip(scalars, ks, strict=True)) % R
    return array.from_ints([mul(total, generator)]).data.reshape(-1)


@pytest.fixture(params=["g1", "g2"])
def group(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engine(group: str) -> Msm:
    return Msm(LANES, GROUPS[group][0], Pool(1))


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every array of an MSM is followed by words that must stay as they are."""
    behind: list[Any] = []
    plain = interface.aligned_words
    mark = np.uint64(0x5AFE5AFE5AFE5AFE)

    def aligned(n: int) -> Any:
        words = plain(n + 64)
        words[n:] = mark
        behind.append(words[n:])
        return words[:n]

    monkeypatch.setattr(msm, "aligned_words", aligned)
    yield
    assert behind
    assert all((words == mark).all() for words in behind)


# -- plans -----------------------------------------------------------------------------------------
def histogram(**counts: int) -> Any:
    lengths = np.zeros(257, np.int64)
    for bits, n in counts.items():
        lengths[int(bits.removeprefix("b"))] = n
    return lengths


def test_windows_widen_with_the_number_of_scalars() -> None:
    chosen = [choose_window(histogram(b253=1 << lg)) for lg in range(25)]
    assert chosen == sorted(chosen)
    assert chosen[0] >= 2
    assert 14 <= chosen[20] <= MAX_WINDOW


def test_windows_fit_short_scalars() -> None:
    assert choose_window(histogram(b1=1000)) == 2
    mixed = choose_window(histogram(b1=1 << 20, b253=1 << 10))
    assert mixed <= choose_window(histogram(b253=1 << 20))


@given(n=st.integers(1, 1 << 24), most=st.integers(0, 300))
def test_tables_hold_every_window_and_no_more_than_allowed(n: int, most: int) -> None:
    c, n_sets, n_tables = choose_tables(n, most)
    n_windows = SCALAR_BITS // c + 1
    assert 1 <= n_tables <= max(most, 1)
    assert (n_tables - 1) * n_sets < n_windows <= n_tables * n_sets


def test_tables_save_work_as_memory_grows() -> None:
    sets = [choose_tables(1 << 16, most)[1] for most in (1, 2, 4, 8, 16, 300)]
    assert sets == sorted(sets, reverse=True)
    assert sets[-1] == 1


@settings(max_examples=200)
@given(data=st.data(), limit=st.integers(1, 12))
def test_tasks_cover_every_entry_once_within_bounds(data: st.DataObject, limit: int) -> None:
    n_sets, n_buckets = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 24))
    size = st.one_of(st.just(0), st.integers(0, 3), st.just(limit + 1), st.integers(0, 5 * limit))
    sizes = np.array(
        data.draw(st.lists(size, min_size=n_sets * n_buckets, max_size=n_sets * n_buckets)),
        np.int64,
    ).reshape(n_sets, n_buckets)
    offsets = np.zeros((n_sets, n_buckets + 1), np.int64)
    np.cumsum(sizes, axis=1, out=offsets[:, 1:])
    tasks = np.full((int(sizes.sum()) + n_sets * n_buckets + 1, 5), -1, np.int64)
    n = plan_tasks(offsets, n_sets, n_buckets, limit, tasks)
    assert n <= most_tasks(int(sizes.sum()), n_sets, limit)
    assert (tasks[n:] == -1).all()
    seen = [np.zeros(offsets[s, -1], np.int64) for s in range(n_sets)]
    for s, b0, b1, e0, e1 in tasks[:n].tolist():
        assert 0 < e1 - e0 <= limit
        assert 0 <= b0 < b1 <= n_buckets
        whole = (offsets[s, b0], offsets[s, b1]) == (e0, e1)
        assert whole or (b1 - b0 == 1 and offsets[s, b0] <= e0 < e1 <= offsets[s, b1])
        seen[s][e0:e1] += 1
    assert all((count == 1).all() for count in seen)


def test_bound_on_tasks_is_needed() -> None:
    """Long and short buckets in turn make three tasks of little more than `limit` entries."""
    limit, periods = 100, 20
    sizes = np.array([[limit + 1, 1] * periods], np.int64)
    offsets = np.zeros((1, 2 * periods + 1), np.int64)
    np.cumsum(sizes, axis=1, out=offsets[:, 1:])
    tasks = np.zeros((4 * periods, 5), np.int64)
    n = plan_tasks(offsets, 1, 2 * periods, limit, tasks)
    assert n == 3 * periods <= most_tasks(int(sizes.sum()), 1, limit)


# -- sums ------------------------------------------------------------------------------------------
SKEWS: dict[str, Callable[[Random, int], int]] = {
    "one bucket": lambda rng, i: 3,
    "two signs": lambda rng, i: rng.choice([5, R - 5]),
    "long and short buckets": lambda rng, i: 1 + 2 * (i % 7) if i % 4 else rng.randrange(100),
    "full": lambda rng, i: rng.randrange(R),
    "tiny and full": lambda rng, i: rng.choice([0, 1, 2, R - 1, rng.randrange(R)]),
}


@pytest.mark.parametrize("skew", SKEWS)
@pytest.mark.parametrize("limit", [1, 2, 8])
@pytest.mark.usefixtures("guarded")
def test_buckets_cut_over_tasks_are_merged(
    engine: Msm, group: str, skew: str, limit: int, rng: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(msm, "TASK_ENTRIES", limit)
    n = 60
    scalars = [SKEWS[skew](rng, i) for i in range(n)]
    ks = [rng.choice([1, 2, R - 2, 7, 0, rng.randrange(1000)]) for _ in range(n)]
    bases = engine.prepare(multiples(group, ks).data)
    found = engine.run(FrArray.from_ints(scalars), bases)
    assert (found == expect(group, scalars, ks)).all()


@pytest.mark.parametrize("most_bytes", [0, 4000, 20_000, 10**6])
@pytest.mark.parametrize("skew", ["tiny and full", "two signs", "one bucket"])
@pytest.mark.usefixtures("guarded")
def test_tables_with_infinite_bases(
    engine: Msm, group: str, most_bytes: int, skew: str, rng: Random
) -> None:
    """Short scalars have fewer windows than the tables have sets."""
    n = 9
    ks = [0 if i % 4 == 1 else rng.randrange(1, 50) for i in range(n)]
    bases = engine.prepare_tables(multiples(group, ks).data, most_bytes)
    assert bases.n_tables == 1 or bases.n_bytes <= most_bytes + 4096
    scalars = [SKEWS[skew](rng, i) for i in range(n)]
    found = engine.run(FrArray.from_ints(scalars), bases)
    assert (found == expect(group, scalars, ks)).all()


@pytest.mark.parametrize("bits", [1, 2, 3, 8, 16, 100, 252])
def test_short_scalars_on_tables(bits: int, rng: Random) -> None:
    engine = Msm(LANES, 1, Pool(2, grain_ns=1))
    ks = list(range(1, 8))
    bases = engine.prepare_tables(multiples("g1", ks).data, 10**5)
    assert bases.n_tables > 1
    scalars = [rng.randrange(1 << bits) for _ in ks]
    found = engine.run(FrArray.from_ints(scalars), bases)
    assert (found == expect("g1", scalars, ks)).all()


def test_nothing_to_add(engine: Msm, group: str) -> None:
    empty = engine.prepare(multiples(group, []).data)
    assert not engine.run(FrArray.from_ints([]), empty).any()
    infinite = engine.prepare_tables(multiples(group, [0, 0]).data, 10**6)
    assert not engine.run(FrArray.from_ints([5, R - 1]), infinite).any()
    finite = engine.prepare(multiples(group, [1, 2]).data)
    assert not engine.run(FrArray.from_ints([0, 0]), finite).any()


def test_runs_of_every_length_stay_in_their_arena(rng: Random) -> None:
    """`sum_runs` uses fewer slots than references, plus W."""
    engine = Msm("ifma-emulated", 1, Pool(1))
    width = engine.lanes.width
    table = engine.convert(multiples("g1", list(range(1, 30))).data, packed=True)
    counts = np.array([0, 1, 2, 3, 5, 8, 13, 0, 1], np.int64)
    picks = [rng.randrange(29) for _ in range(int(counts.sum()))]
    refs = np.array([p << 1 for p in picks] + [0] * width, np.int64)
    arena = np.zeros((len(picks) + 4 * width) * 8 + 16, np.uint64)
    skip = (table.ctypes.data - arena.ctypes.data) % 64 // 8
    slot = (arena.ctypes.data + 8 * skip - table.ctypes.data) // 64
    group, work = engine.group.at(table), engine.scratch(0).work
    last = runs.sum_runs(group, refs, counts, len(counts), slot, work.ctypes.data)
    assert last - slot < len(picks) + width
    ends = np.cumsum([0, 0, 1, 2, 3, 5, 8, 13, 0, 1])
    for r in range(9):
        ks = [picks[i] + 1 for i in range(ends[r], ends[r + 1])]
        if not ks:
            assert refs[r] == runs.NONE
            continue
        out = np.zeros(8 * (1 + width), np.uint64)
        buckets.export(group, out.ctypes.data, int(refs[r]))
        point = engine.convert(out[:8].reshape(1, 8), packed=False)[:8]
        assert (point == multiples("g1", [sum(ks)]).data[0]).all()


# -- what it is not fed ----------------------------------------------------------------------------
@pytest.mark.parametrize("value", [R + 1, R + 5, 2**254, 2**255 + 1, 2**256 - 1])
@pytest.mark.parametrize("tables", [False, True])
def test_scalars_beyond_the_order_are_refused(value: int, tables: bool) -> None:
    engine = Msm(LANES, 1, Pool(1))
    points = multiples("g1", [1, 2, 3]).data
    bases = engine.prepare_tables(points, 10**5) if tables else engine.prepare(points)
    words = words_from_ints([1, value, 2])
    with pytest.raises(ValueError, match="not below the group order"):
        engine.run(FrArray(words), bases)


@pytest.mark.parametrize("name", ["scalar", "ifma-emulated"])
def test_points_off_the_curve_end_in_some_result(name: str, group: str, rng: Random) -> None:
    degree = GROUPS[group][0]
    engine = Msm(name, degree, Pool(1))
    n, words = 50, 8 * degree
    coordinates = [rng.choice([0, 1, P - 1, rng.randrange(P)]) for _ in range(n * words // 4)]
    points = words_from_ints(coordinates).reshape(n, words)
    points[10:20] = points[0]  # equal ones, opposite ones below
    scalars = FrArray.from_ints([rng.choice([1, R - 1, 2, rng.randrange(R)]) for _ in range(n)])
    for bases in (engine.prepare(points), engine.prepare_tables(points, 10**6)):
        assert engine.run(scalars, bases).shape == (words,)


def test_more_bases_than_references_are_refused() -> None:
    engine = Msm(LANES, 1, Pool(1))
    many = np.broadcast_to(np.zeros(8, np.uint64), (1 << 31, 8))  # one record, seen 2^31 times
    with pytest.raises(ValueError, match="1 multiples of 2147483648 bases"):
        engine.prepare(many)


def test_lengths_must_agree() -> None:
    engine = Msm(LANES, 1, Pool(1))
    bases = engine.prepare(multiples("g1", [1, 2]).data)
    with pytest.raises(ValueError, match="3 scalars for 2 bases"):
        engine.run(FrArray.from_ints([1, 2, 3]), bases)
