"""The `zkpot` program: exit codes, messages and machine-readable output."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from api.cli import build_app
from api.commands.walk import tamper
from api.console.output import refuse
from bench import registry
from bench.registry import BenchCase, Suite, Task
from kernels.backend import get_backend
from prover.wire.envelope import PROOF_BYTES
from tests.support.commands import make_runner


@pytest.fixture
def runner() -> CliRunner:
    return make_runner()


def toy_suite(*, quick: bool) -> Suite:
    """One case; at full size its answer is wrong."""
    case = BenchCase(
        id="toy.one",
        params={},
        unit="ns",
        make=lambda: Task(run=lambda: 1, answer=lambda x: x),
        expect=lambda: 1 if quick else 2,
    )
    return Suite(cases=[case])


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "SUITES", {"toy": f"{__name__}:toy_suite"})


def test_help_lists_the_commands(runner: CliRunner) -> None:
    result = runner.invoke(build_app(), ["--help"])
    assert result.exit_code == 0
    assert all(name in result.stdout for name in ("info", "walk", "selftest", "bench"))


def test_data_sets_are_listed(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path))
    result = runner.invoke(build_app(), ["data", "list"])
    assert result.exit_code == 0
    assert "mnist:test  2048 of 10000 samples here" in result.stdout
    assert "cifar10:train 512 of 50000 samples here" in result.stdout
    listed = json.loads(runner.invoke(build_app(), ["data", "list", "--json"]).stdout)["datasets"]
    assert [one["dataset"] for one in listed] == ["mnist", "cifar10"]
    assert listed[1]["sample_shape"] == [3, 32, 32]
    assert listed[1]["here"] == {"train": 512, "test": 512}


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom api.cli import build_app\nbuild_app()\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'numpy', 'numba', 'torch', 'bench', 'kernels', 'matplotlib'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_unknown_suite_is_a_usage_error(runner: CliRunner) -> None:
    result = runner.invoke(build_app(), ["bench", "nothing"])
    assert result.exit_code == 2
    assert f"no suite 'nothing'; there are: {', '.join(registry.SUITES)}, all" in result.output


@pytest.mark.usefixtures("toy")
def test_bench_runs_only_the_cases_asked_for(runner: CliRunner, tmp_path: Path) -> None:
    arguments = ["bench", "toy", "--quick", "--out", str(tmp_path), "--only"]
    assert runner.invoke(build_app(), [*arguments, "nothing"]).exit_code == 2
    assert not list(tmp_path.iterdir())
    assert runner.invoke(build_app(), [*arguments, "nothing", "--only", ".one"]).exit_code == 0
    assert len(json.loads((tmp_path / "toy.json").read_text())["rows"]) == 1


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("name", ["toy", "all"])
def test_bench_writes_the_report(runner: CliRunner, tmp_path: Path, name: str) -> None:
    arguments = ["bench", name, "--quick", "--out", str(tmp_path), "--json"]
    result = runner.invoke(build_app(), arguments)
    assert result.exit_code == 0, result.output
    path = tmp_path / "toy.json"
    assert json.loads(result.stdout) == {"files": [str(path)], "wrong": {}}
    assert json.loads(path.read_text())["rows"][0]["id"] == "toy.one"


@pytest.mark.usefixtures("toy")
def test_bench_with_a_wrong_answer_fails(runner: CliRunner, tmp_path: Path) -> None:
    result = runner.invoke(build_app(), ["bench", "toy", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "WRONG  toy.one: wrong answer, so no time" in result.stdout
    assert json.loads((tmp_path / "toy.json").read_text())["rows"] == []


def test_info_says_what_is_used(runner: CliRunner) -> None:
    result = runner.invoke(build_app(), ["info", "--backend", "reference", "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["backend"] == "reference"
    assert {"lanes", "threads", "device", "versions"} <= set(found)
    assert runner.invoke(build_app(), ["info", "--backend", "reference"]).exit_code == 0


UNINSTALLED = """
import importlib.metadata as metadata
def version(name):
    raise metadata.PackageNotFoundError(name)
metadata.version = version  # as in a source tree of which nothing is installed
from api.cli import main
main()
"""


def test_info_works_in_a_source_tree(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNINSTALLED, "info", "--backend", "reference", "--json"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    versions = json.loads(done.stdout)["versions"]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert (versions["zkpot"], versions["numba"]) == (project["version"], "absent")


def test_info_refuses_an_unknown_backend(runner: CliRunner) -> None:
    result = runner.invoke(build_app(), ["info", "--backend", "abacus"])
    assert result.exit_code == 2
    assert "unknown backend 'abacus'" in result.output


@pytest.mark.parametrize(("threads", "exit_code"), [("", 0), ("1", 0), ("0", 2), ("two", 2)])
def test_what_is_blamed_for_threads_is_their_variable(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch, threads: str, exit_code: int
) -> None:
    monkeypatch.setenv("ZKPOT_THREADS", threads)
    # Each time anew, not once per process.
    monkeypatch.setattr("kernels.backend.get_backend", get_backend.__wrapped__)
    result = runner.invoke(build_app(), ["info", "--json"])
    assert result.exit_code == exit_code, result.output
    if exit_code:
        assert "ZKPOT_THREADS" in result.output
        assert "environment" in result.output
        assert "--backend" not in result.output
    elif threads:
        assert json.loads(result.stdout)["threads"] == int(threads)


@pytest.mark.parametrize("as_json", [False, True])
def test_refusal_tells_the_reason(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    with pytest.raises(typer.Exit) as stopped:
        refuse("the key is for another circuit", code="key_mismatch", as_json=as_json)
    assert stopped.value.exit_code == 1
    shown = capsys.readouterr()
    if as_json:
        assert json.loads(shown.out) == {
            "refused": "key_mismatch",
            "reason": "the key is for another circuit",
        }
    else:
        assert shown.err == "refused (key_mismatch): the key is for another circuit\n"


@pytest.mark.slow
def test_selftest_shows_right_answers(runner: CliRunner) -> None:
    result = runner.invoke(build_app(), ["selftest", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert len(found["steps"]) == 4
    assert all(step["right"] for step in found["steps"])


def test_walk_forges_within_the_proof(tmp_path: Path) -> None:
    whole = bytes(range(200)) * 3
    (tmp_path / "proof").write_bytes(whole)
    tamper(tmp_path / "proof", tmp_path / "forged")
    pairs = zip(whole, (tmp_path / "forged").read_bytes(), strict=True)
    changed = [i for i, (a, b) in enumerate(pairs) if a != b]
    assert len(changed) == 1
    assert changed[0] >= len(whole) - PROOF_BYTES
