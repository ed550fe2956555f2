"""The benchmark harness: no time for a wrong answer, the schema of the report, stable ids."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench import inputs as known
from bench import isolated, pedersen
from bench.device import describe_commit, describe_device
from bench.errors import Unavailable, WrongAnswer
from bench.peers.interface import PEERS, load_peer
from bench.plot import plot_scaling
from bench.registry import SUITES, BenchCase, Row, Suite, Task, load_suite
from bench.run import Outcome, run_case, run_suite
from bench.suites.kernels import FULL, Builder, Engine, Sizes
from bench.timing import compute_measurement, measure
from kernels.array import FrArray, G1Array
from kernels.backend import Backend, get_backend
from kernels.bn254 import G1, R
from kernels.reference import Reference

WITH_NTT = {"arkworks"}
TINY = Sizes(
    msm_g1=(1, 2),
    msm_main=2,
    msm_g2=1,
    ntt=(2, 3),
    ntt_main=3,
    memory=4,
    scaling=(1, 2),
    wires=200,
)


def ticking(step_s: float) -> Callable[[], float]:
    """A clock that advances by `step_s` at each look."""
    ticks: Iterator[int] = iter(range(10_000))
    return lambda: next(ticks) * step_s


def make_case(run: Callable[[], int], **changes: Any) -> BenchCase:
    fields: dict[str, Any] = {
        "id": "toy.sum",
        "params": {"n": 3},
        "unit": "ms",
        "make": lambda: Task(run=run, answer=lambda x: x),
        "expect": lambda: 6,
    }
    return BenchCase(**(fields | changes))


# -- timing -----------------------------------------------------------------------------------


def test_value_is_the_median_in_the_unit_of_the_case() -> None:
    case = make_case(lambda: 6, n_max=3, unit="us/point", per=4)
    found = measure(case, case.make(), 6, budget_s=100.0, clock=ticking(1.0))
    assert (found.value, found.iqr, found.n) == (0.25e6, 0.0, 3)


def test_budget_ends_the_repetitions() -> None:
    case = make_case(lambda: 6, n_max=1000)
    found = measure(case, case.make(), 6, budget_s=10.0, clock=ticking(1.0))
    assert 1 <= found.n < 10


def test_budget_of_zero_still_measures_once() -> None:
    case = make_case(lambda: 6)
    assert measure(case, case.make(), 6, budget_s=0.0, clock=ticking(1.0)).n == 1


def test_wrong_answer_gets_no_time() -> None:
    case = make_case(lambda: 7)
    with pytest.raises(WrongAnswer, match=r"toy\.sum: wrong answer"):
        measure(case, case.make(), 6, budget_s=1.0)


def test_answer_that_goes_wrong_later_gets_no_time() -> None:
    answers = iter([6, 6, 7])
    case = make_case(lambda: next(answers), n_max=2)
    with pytest.raises(WrongAnswer):
        measure(case, case.make(), 6, budget_s=1000.0)


def test_reading_replaces_the_clock() -> None:
    readings = iter([3.0, 1.0, 2.0])
    task: Task[float] = Task(run=lambda: next(readings), answer=lambda _: 6, reading=float)
    found = measure(make_case(lambda: 6, n_max=3, unit="MiB"), task, 6, budget_s=1000.0)
    assert (found.value, found.iqr, found.n) == (2.0, 1.0, 3)


def test_measurement_is_median_and_interquartile_range() -> None:
    found = compute_measurement([5.0, 1.0, 2.0, 4.0, 100.0])
    assert (found.value, found.iqr, found.n) == (4.0, 3.0, 5)


# -- rows and reports -------------------------------------------------------------------------


def absent() -> Task[Any]:
    raise Unavailable("not installed")


def test_peers_are_checked_and_reported() -> None:
    peers = {
        "right": lambda: Task(run=lambda: 6, answer=lambda x: x),
        "wrong": lambda: Task(run=lambda: 5, answer=lambda x: x),
        "absent": absent,
    }
    outcome = Outcome()
    row = run_case(make_case(lambda: 6, peers=peers), outcome, budget_s=0.0)
    assert row is not None
    assert set(row["peers"]) == {"right"}
    assert outcome.absent == ["absent: not installed"]
    assert outcome.wrong == ["wrong: toy.sum: wrong answer, so no time"]


def test_wrong_or_absent_case_has_no_row() -> None:
    outcome = Outcome()
    assert run_case(make_case(lambda: 7), outcome, budget_s=0.0) is None
    assert run_case(make_case(lambda: 6, make=absent), outcome, budget_s=0.0) is None
    assert outcome.wrong == ["toy.sum: wrong answer, so no time"]
    assert outcome.absent == ["toy.sum: not installed"]


def test_a_fault_costs_its_own_row_only(tmp_path: Path) -> None:
    def fail() -> int:
        raise OSError("the device is gone")

    suite = Suite(cases=[make_case(fail, id="toy.fault"), make_case(lambda: 6)])
    outcome = run_suite("toy", suite, out=tmp_path, console=Console(quiet=True))
    assert [row["id"] for row in outcome.rows] == ["toy.sum"]
    assert outcome.wrong == ["toy.fault: OSError: the device is gone"]


def test_report_has_the_schema(tmp_path: Path) -> None:
    suite = Suite(cases=[make_case(lambda: 6), make_case(lambda: 7, id="toy.wrong")])
    console = Console(record=True, width=200, quiet=True)
    outcome = run_suite("toy", suite, out=tmp_path / "new", console=console, budget_s=0.0)
    report = json.loads((tmp_path / "new" / "toy.json").read_text())
    assert set(report) == {"device", "commit", "rows"}
    assert isinstance(report["device"], str)
    assert isinstance(report["commit"], str)
    [row] = report["rows"]
    assert set(row) == {"id", "params", "value", "unit", "iqr", "n", "peers"}
    assert row["id"] == "toy.sum"
    assert row["value"] > 0
    assert outcome.wrong == ["toy.wrong: wrong answer, so no time"]
    assert outcome.files == [tmp_path / "new" / "toy.json"]


def test_id_used_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"used twice: toy\.sum"):
        Suite(cases=[make_case(lambda: 6), make_case(lambda: 6)])


def test_unknown_suite_lists_those_that_exist() -> None:
    names = ", ".join(sorted(SUITES))
    with pytest.raises(ValueError, match=f"no suite 'nothing'; there are: {names}"):
        load_suite("nothing", quick=True)


# -- known answers ----------------------------------------------------------------------------


def test_known_scalar_is_the_weighted_sum() -> None:
    scalars = FrArray.from_ints([R - 1, 0, 1, 1 << 253, (1 << 64) - 1])
    expected = sum(s * (i + 1) for i, s in enumerate(scalars.to_ints())) % R
    assert known.compute_known_scalar(scalars) == expected


def test_random_scalars_are_canonical_and_wide() -> None:
    values = known.random_scalars(2000).to_ints()
    assert all(v < R for v in values)
    assert len(set(values)) == len(values)
    assert sum(v >> 252 != 0 for v in values) > 500


def test_witness_scalars_have_the_stated_mixture() -> None:
    n = 20_000
    values = known.witness_scalars(n).to_ints()
    assert all(v < R for v in values)
    assert abs(sum(v < 2 for v in values) / n - 0.60) < 0.02
    assert abs(sum(v >= 1 << 16 for v in values) / n - 0.05) < 0.01


def test_closed_form_is_the_transform() -> None:
    backend = get_backend("reference")
    sequence = known.Inputs(backend).sequence(16)
    assert known.digest_mont(backend.ntt(sequence), backend) == known.expect_ntt(4)
    assert known.digest_mont(sequence, backend) != known.expect_ntt(4)


# -- suite kernels ----------------------------------------------------------------------------


class ReferenceEngine(Engine):
    """Runs the cases of the suite on the reference backend."""

    def backend(self) -> Backend:
        return get_backend("reference")


class Forgetful(Reference):
    """Its multi-exponentiation leaves out the last point."""

    def msm_g1(self, scalars: FrArray, bases: Any, **options: Any) -> G1Array:
        return super().msm_g1(scalars[:-1], bases[:-1], **options)


class ForgetfulEngine(Engine):
    def backend(self) -> Backend:
        return Forgetful()


def test_kernel_cases_run_on_any_backend(tmp_path: Path) -> None:
    build = Builder(TINY, ReferenceEngine)
    suite = Suite(cases=[*build.msms(), *build.ntts(), *build.scaling()])
    console = Console(quiet=True)
    outcome = run_suite("kernels", suite, out=tmp_path, console=console, budget_s=0.0)
    assert outcome.wrong == []
    assert [row["id"] for row in outcome.rows] == [case.id for case in suite.cases]


def test_kernel_case_refuses_a_wrong_backend() -> None:
    outcome = Outcome()
    case = Builder(TINY, ForgetfulEngine).msm_g1("full.lg3", known.random_scalars, 3)
    assert run_case(case, outcome, budget_s=0.0) is None
    assert outcome.wrong == ["kernels.msm_g1.full.lg3: wrong answer, so no time"]


def test_commitments_have_rows_and_a_wrong_one_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> Outcome:
        outcome = Outcome()
        for case in pedersen.list_cases(200, get_backend, {"lanes": "any"}):
            run_case(case, outcome, budget_s=0.0)
        return outcome

    assert run().wrong == []
    monkeypatch.setattr(pedersen.Committer, "commit", lambda self, values, rho: G1Array.zeros(1))
    assert run().wrong == [
        f"kernels.pedersen.{name}.n200: wrong answer, so no time" for name in ("commit", "memory")
    ]


def test_kernel_ids_are_stable(root: Path) -> None:
    """An id once published is not renamed: baselines are compared by it."""
    ids = [case.id for case in Builder(FULL, ReferenceEngine).cases()]
    golden = root / "tests" / "unit" / "bench" / "bench_ids_kernels.txt"
    assert ids == golden.read_text().split()


@pytest.mark.parametrize("name", sorted(PEERS))
def test_peer_agrees_with_known_answers(name: str) -> None:
    peer = load_peer(name)
    inputs = known.Inputs(get_backend("reference"))
    scalars = known.random_scalars(5)
    g1, g2 = known.pairing_points(3)
    tasks = [
        (peer.msm_g1(scalars, inputs.bases_g1(5)), known.expect_msm_g1(scalars)),
        (peer.msm_g2(scalars, inputs.bases_g2(5)), known.expect_msm_g2(scalars)),
        (peer.pairing_check(g1, g2), (True, False)),
    ]
    if name in WITH_NTT:
        tasks.append((peer.ntt(inputs.sequence(8)), known.expect_ntt(3)))
    assert [task.answer(task.run()) for task, _ in tasks] == [answer for _, answer in tasks]


@pytest.mark.parametrize("name", sorted(set(PEERS) - WITH_NTT))
def test_peer_says_that_it_has_no_ntt(name: str) -> None:
    with pytest.raises(Unavailable, match="has no NTT"):
        load_peer(name).ntt(known.Inputs(get_backend("reference")).sequence(8))


@pytest.mark.parametrize("name", sorted(PEERS))
def test_peer_finds_infinity(name: str) -> None:
    opposite = G1Array.from_ints([G1, G1])
    task = load_peer(name).msm_g1(FrArray.from_ints([5, R - 5]), opposite)
    assert task.answer(task.run()) is None


def test_plot_draws_each_series(tmp_path: Path) -> None:
    rows = [
        Row(
            id=f"a.lg{lg_n}",
            params={"lg_n": lg_n},
            value=float(lg_n),
            unit="ns/point",
            iqr=0.5,
            n=3,
            peers={},
        )
        for lg_n in (4, 2, 3)
    ]
    draw = partial(plot_scaling, rows, path=tmp_path / "new" / "a.png", title="cost")
    path = draw({"a.": "first", "missing.": "second"})
    assert path.read_bytes().startswith(b"\x89PNG")


# -- processes of their own -------------------------------------------------------------------


def test_child_that_fails_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"ended with 1: usage: python -m bench\.isolated"):
        isolated.run_child("nothing")


@pytest.mark.slow
def test_memory_beyond_inputs_is_measured() -> None:
    task = isolated.memory_task(12)
    result = task.run()
    assert task.answer(result) == isolated.expect_memory(12)
    assert task.reading is not None
    assert task.reading(result) >= 0


@pytest.mark.slow
def test_start_uses_every_kernel() -> None:
    task = isolated.warm_start_task()
    assert task.answer(task.run()) == isolated.expect_start()


def test_device_and_commit_are_named() -> None:
    assert re.fullmatch(r".+, \d+ cores, \w+ \w+", describe_device())
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", describe_commit())
