"""The suite `cuda`: right before it is timed, kept by device, silent where there is none."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench import baseline
from bench import inputs as known
from bench.baseline import describe_gpu, name_file, query_driver, save_baseline
from bench.registry import BenchCase, Row, Suite
from bench.run import Outcome, run_case, run_suite
from bench.suites import cuda
from bench.suites.cuda import FULL, QUICK, Builder, Engine, build_suite
from kernels.array import FrArray, G1Array
from kernels.cuda.backend import CudaBackend
from kernels.cuda.launch.rate import Rate
from tests.conformance.backends import build_backend
from tests.support.skips import or_skip

TINY = FULL._replace(
    msm_g1=(3, 5),
    msm_witness=5,
    msm_g2=3,
    ntt=(3, 6),
    copy=4,
    samples=2,
    large=3,
    dense=4,
    add_steps=1,
    product_steps=2,
)
GPU = "NVIDIA H100 80GB HBM3"
SMI = f"NVIDIA A40, 570.1, 210, 1740, 7251\n{GPU}, 580.65.06, 345, 1980, [N/A]\n"


class Emulated(Engine):
    def backend(self) -> CudaBackend:
        backend = or_skip(build_backend, "cuda-emulated")
        assert isinstance(backend, CudaBackend)
        return backend


class Forgetful(CudaBackend):
    """Its multi-exponentiation leaves out the last scalar."""

    def msm_g1(self, scalars: FrArray, bases: Any, **options: Any) -> G1Array:
        words = scalars.data.copy()
        words[-1] = 0
        return super().msm_g1(FrArray(words), bases, **options)


class ForgetfulEngine(Emulated):
    def backend(self) -> CudaBackend:
        return Forgetful(super().backend().device)


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)


def run(cases: list[BenchCase], tmp_path: Path, **options: Any) -> Outcome:
    suite = Suite(cases=cases, **options)
    return run_suite("cuda", suite, out=tmp_path, console=Console(quiet=True), budget_s=0.0)


# -- cases --------------------------------------------------------------------------------------


def test_ids_are_stable(root: Path) -> None:
    """An id once published is not renamed: baselines are compared by it."""
    ids = [case.id for case in Builder(FULL).cases()]
    assert ids == (root / "tests" / "unit" / "bench" / "bench_ids_cuda.txt").read_text().split()


@pytest.mark.usefixtures("no_device")
def test_without_a_device_every_case_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    suite = build_suite(quick=False)
    outcome = run(list(suite.cases), tmp_path / "out", keep=suite.keep)
    assert outcome.rows == outcome.wrong == []
    assert len(outcome.absent) == len(suite.cases)
    assert all("no CUDA device: no cupy" in line for line in outcome.absent)
    assert not (tmp_path / "bench").exists()


def test_cases_are_right_on_an_emulated_device(tmp_path: Path) -> None:
    build = Builder(TINY, Emulated())
    cases = [*build.rates(), *build.copies(), *build.msms(), *build.ntts()]
    outcome = run(cases, tmp_path)
    assert outcome.wrong == outcome.absent == []
    assert [row["id"] for row in outcome.rows] == [case.id for case in cases]
    assert all(row["value"] > 0 for row in outcome.rows)
    assert {row["params"]["device"] for row in outcome.rows} == {"emulated"}


def test_a_foreign_key_is_proven_on_an_emulated_device(tmp_path: Path) -> None:
    build = Builder(TINY, Emulated(), tmp_path / "keys")
    outcome = run([case for case in build.proving() if "dense" in case.id], tmp_path)
    assert outcome.wrong == outcome.absent == []
    assert [row["id"] for row in outcome.rows] == ["cuda.prove.dense.lg4"]


def test_a_wrong_device_gets_no_time() -> None:
    outcome = Outcome()
    case = Builder(TINY, ForgetfulEngine()).msm_g1("fixed", known.random_scalars, 3)
    assert run_case(case, outcome, budget_s=0.0) is None
    assert outcome.wrong == ["cuda.msm_g1.fixed.lg3: wrong answer, so no time"]


@pytest.mark.parametrize("name", ["measure_multiply_adds", "measure_products"])
def test_a_processor_that_computes_wrongly_has_no_rate(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure: Callable[..., Rate] = getattr(cuda.rate, name)

    def measure_and_spoil(*arguments: Any) -> Rate:
        found = measure(*arguments)
        found.words.reshape(-1)[-1] += 1
        return found

    monkeypatch.setattr(cuda.rate, name, measure_and_spoil)
    outcome = Outcome()
    for case in Builder(TINY, Emulated()).rates():
        run_case(case, outcome, budget_s=0.0)
    unit = "multiply_add" if "adds" in name else "product"
    assert {line.split(":")[0] for line in outcome.wrong} >= {
        "cuda.product.share_of_bound",
        f"cuda.{unit}.device",
    }


@pytest.mark.parametrize("lg_n", [0, 1, 6])
def test_closed_form_by_the_cpu_is_the_closed_form(lg_n: int) -> None:
    assert Builder(TINY).expect_ntt(lg_n) == known.expect_ntt(lg_n)


def test_known_answers_reach_to_the_largest_size() -> None:
    assert max(*FULL.msm_g1, FULL.msm_witness, FULL.msm_g2) == 24
    limbs, n = (1 << known.LIMB_BITS) - 1, 1 << 24
    assert limbs * (n * (n + 1) // 2) < 1 << 64


def test_a_quick_suite_has_the_same_kinds_and_is_not_kept() -> None:
    assert build_suite(quick=True).keep is None
    quick, full = Builder(QUICK).cases(), Builder(FULL).cases()
    assert [c.unit for c in quick] == [c.unit for c in full]


# -- baselines ----------------------------------------------------------------------------------


def make_row(value: float = 2.0) -> Row:
    return Row(id="cuda.x", params={}, value=value, unit="ms", iqr=0.1, n=3, peers={})


def test_a_baseline_names_device_driver_clocks_and_commit(tmp_path: Path) -> None:
    path = save_baseline([make_row()], device=GPU, folder=tmp_path / "new", query=lambda: SMI)
    assert path == tmp_path / "new" / "nvidia-h100-80gb-hbm3.json"
    found = json.loads(path.read_text())
    assert found.pop("commit") == baseline.describe_commit()
    assert found == {
        "device": GPU,
        "driver": "580.65.06",
        "clocks": {"sm_mhz": 345, "sm_max_mhz": 1980, "memory_max_mhz": 0},
        "rows": [make_row()],
    }
    save_baseline([make_row(3.0)], device=GPU, folder=tmp_path / "new", query=lambda: SMI)
    assert json.loads(path.read_text())["rows"] == [make_row(3.0)]


@pytest.mark.parametrize("lines", ["", "garbage\n", f"{GPU}, 580\n", "NVIDIA H100, 5, 1, 2, 3\n"])
def test_a_driver_that_does_not_tell_is_unknown(lines: str) -> None:
    driver, clocks = describe_gpu(GPU, lines)
    assert driver == "unknown"
    assert set(clocks.values()) == {0}


def test_a_missing_tool_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert query_driver() == ""
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\necho "$1 $2"\n')
    tool.chmod(0o755)
    assert query_driver().startswith("--query-gpu=name,driver_version,clocks.sm,")
    tool.write_text("#!/bin/sh\necho text\nexit 9\n")
    assert query_driver() == ""


@pytest.mark.parametrize(
    ("device", "name"),
    [(GPU, "nvidia-h100-80gb-hbm3"), ("../x", "x"), ("", "unknown"), ("Tesla T4 ", "tesla-t4")],
)
def test_names_of_files_hold_letters_and_digits(device: str, name: str) -> None:
    assert name_file(device) == name


def test_a_whole_run_is_kept_and_a_part_or_a_wrong_one_is_not(tmp_path: Path) -> None:
    build = Builder(TINY, Emulated())
    keep = partial(cuda.keep, build.engine, folder=tmp_path / "kept")
    right = build.copies()
    part = Suite(cases=right, keep=keep).only(["to_host"])
    assert part.keep is None
    wrong = Builder(TINY, ForgetfulEngine()).msm_g1("fixed", known.random_scalars, 3)
    assert run([*right, wrong], tmp_path, keep=keep).wrong != []
    assert not (tmp_path / "kept").exists()
    outcome = run(right, tmp_path, keep=keep)
    assert outcome.files[-1] == tmp_path / "kept" / "emulated.json"
    found = json.loads(outcome.files[-1].read_text())
    assert (found["device"], len(found["rows"])) == ("emulated", 2)
