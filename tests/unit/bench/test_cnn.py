"""The suite `cnn`: one child for many rows, drawn networks, peers' graphs, who is ahead."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import Unavailable
from bench.nets.drawn import MISTAKES, NetworkBench, draw_model
from bench.nets.published import MLP, PUBLISHED
from bench.nets.table import format_network, write_table
from bench.peers import ezkl, jstprove
from bench.peers.children import GIB, Child
from bench.peers.float_graph import make_graph, take_maxima, take_surest, write_graph
from bench.registry import Row
from bench.run import Outcome, run_case
from bench.suites.cnn import FULL, QUICK, Builder, Net
from prover.model.presets import PRESETS
from prover.model.ranges import compute_ranges

SETUP = {
    "answers": [True],
    "compile_s": 0.5,
    "setup_s": 4.0,
    "n_rows": 100,
    "n_parameters": 20,
    "key_bytes": 3 << 20,
    "peak_mib": 200.0,
}
PROOFS = {
    "answers": [True, False, True],
    "prove_s": [2.0, 8.0, 4.0],
    "verify_ms": 9.0,
    "proof_bytes": 224,
    "load_s": 0.1,
    "peak_mib": 512.0,
}
NET = Net(name="lenet5", samples=8, peers={})


class Children:
    """What the child processes print, and how often they were asked."""

    def __init__(self, **found: dict[str, Any]) -> None:
        self.found = {"setup": SETUP, "prove": PROOFS} | found
        self.asked: list[str] = []

    def __call__(self, step: str, *arguments: str, module: str, limit_s: int) -> dict[str, Any]:
        self.asked.append(step)
        if step not in self.found:
            raise Unavailable(f"no {step}")
        return self.found[step]


def rows_of(children: Children, net: Net = NET) -> tuple[list[Row], Outcome]:
    outcome = Outcome()
    cases = Builder([net], run=children).cases()
    found = [run_case(case, outcome, budget_s=0.0) for case in cases]
    return [row for row in found if row is not None], outcome


def test_ids_are_stable(root: Path) -> None:
    """An id once published is not renamed: baselines are compared by it."""
    ids = [case.id for case in Builder(FULL).cases()]
    assert ids == (root / "tests" / "unit" / "bench" / "bench_ids_cnn.txt").read_text().split()


def test_a_quick_suite_has_the_same_figures_without_peers() -> None:
    figures = {str(case.params["figure"]) for case in Builder(FULL).cases()}
    quick = Builder(QUICK).cases()
    assert {str(case.params["figure"]) for case in quick} == figures
    assert not any(case.peers for case in quick)


def test_each_child_runs_once_for_all_its_rows() -> None:
    children = Children()
    rows, outcome = rows_of(children)
    assert (outcome.absent, outcome.wrong) == ([], [])
    assert sorted(children.asked) == ["prove", "setup"]
    values = {str(row["params"]["figure"]): row["value"] for row in rows}
    assert values["prove"] == 4.0
    assert values["prove_per_sample"] == 0.5
    assert values["key"] == 3.0


def test_a_false_proof_has_no_row_and_an_absent_child_says_why() -> None:
    false = Children(prove=PROOFS | {"answers": [True, True, True]})
    rows, outcome = rows_of(false)
    assert {row["params"]["figure"] for row in rows} == {
        "rows", "compile", "setup", "setup_memory", "key",
    }  # fmt: skip
    assert len(outcome.wrong) == 5
    without = Children()
    del without.found["setup"]
    _, outcome = rows_of(without)
    assert without.asked.count("setup") == 1
    assert set(outcome.absent) == {
        f"cnn.{figure}.lenet5.n8: no setup"
        for figure in ("rows", "compile", "setup", "setup_memory", "key")
    }


# -- the table -------------------------------------------------------------------------------------


def test_the_table_says_who_is_ahead(tmp_path: Path) -> None:
    """0.5 s a sample: behind a peer of 0.25 s, ahead of the published 0.56 s."""
    rows, _ = rows_of(Children())
    for row in rows:
        row["peers"] = {"jstprove": row["value"] / 2}
    text = write_table(rows, tmp_path / "cnn.md").read_text()
    assert "**0.5x, ahead of us**" in text
    assert "| zkCNN | 0.56 | 1.12x |" in text
    assert "Faster than us per sample: jstprove." in text
    assert "jstprove (memory), jstprove (verify), jstprove (proof_bytes)" in text


def test_a_network_without_a_time_has_no_table() -> None:
    rows, _ = rows_of(Children())
    assert format_network("resnet20", rows) == ""
    assert "Faster than us per sample: none." in format_network("lenet5", rows, published=())


def test_published_figures_are_of_networks_that_the_suite_has() -> None:
    assert {p.network for p in PUBLISHED} <= {net.name for net in FULL}
    assert all(p.seconds > 0 and p.conditions for p in PUBLISHED)


# -- networks --------------------------------------------------------------------------------------


@cache
def draw_network(name: str) -> NetworkBench:
    return NetworkBench(name, 2)


@pytest.mark.parametrize("name", ["mlp-784-32-10", MLP, *PRESETS])
def test_drawn_activations_spread_over_their_range(name: str) -> None:
    """Else figures would be of witnesses of zeros."""
    bench = draw_network(name)
    images, labels = bench.samples(16)
    for step in bench.model.trace(images):
        if step.requant is not None:
            assert 2 < np.abs(step.requant.y).mean() < 128
            assert (step.requant.y != 0).mean() > 0.2
            assert (step.requant.y == 255).mean() < 0.05
    assert bench.count_correct(images, labels) == 16 - 16 // MISTAKES
    compute_ranges(bench.model)  # raises where the worst samples leave a table
    again = draw_model(bench.model.architecture)
    assert again.wires.tolist() == bench.model.wires.tolist()


@pytest.mark.parametrize("name", ["mlp-784-32-10", *PRESETS])
@pytest.mark.parametrize("is_changed", [False, True])
def test_graphs_of_peers_are_the_network_in_real_numbers(
    name: str, is_changed: bool, tmp_path: Path
) -> None:
    """What onnxruntime computes from the file that a peer reads, against the integer model."""
    runtime = pytest.importorskip("onnxruntime")
    bench = draw_network(name)
    model = take_maxima(bench.model) if is_changed else bench.model
    images, labels = take_surest(model, *bench.samples(16), 4)
    write_graph(model, images, labels, tmp_path)
    child = Child(name="onnx", setting="", python=sys.executable, packages=("onnx",), limit_s=60)
    child.require()
    child.run("onnx_child.py", str(tmp_path))
    session = runtime.InferenceSession(tmp_path / "network.onnx")
    (found,) = session.run(None, {"v0": (images / 255).astype(np.float32)})
    exact = model.logits(images)
    assert np.array_equal(found.argmax(axis=1), exact.argmax(axis=1))
    error = np.abs(found - exact / make_graph(model).scales[-1]).max()
    # maxima are a quarter of the sums that the weights are drawn for, so rounding weighs more
    assert error < (0.35 if is_changed else 0.15) * np.abs(found).max()


# -- peers -----------------------------------------------------------------------------------------


def test_peers_that_are_absent_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench = NetworkBench("mlp-16-4-3", 2, tmp_path)
    monkeypatch.setenv("EZKL_PYTHON", str(tmp_path / "no-python"))
    monkeypatch.setenv("JSTPROVE_PYTHON", str(tmp_path / "no-python"))
    with pytest.raises(Unavailable, match=r"\$EZKL_PYTHON cannot be run"):
        ezkl.measure(bench, 1)
    with pytest.raises(Unavailable, match=r"\$JSTPROVE_PYTHON cannot be run"):
        jstprove.measure(bench)


def test_a_child_says_what_it_lacks_and_why_it_failed(tmp_path: Path) -> None:
    def child(*packages: str, limit_s: int = 60) -> Child:
        return Child(
            name="toy",
            setting="TOY_PYTHON",
            python=sys.executable,
            packages=packages,
            limit_s=limit_s,
        )

    with pytest.raises(Unavailable, match=r"no_such_package is not installed .*\$TOY_PYTHON"):
        child("no_such_package").require()
    with pytest.raises(Unavailable, match="toy takes 1048576 GiB, this machine has"):
        child("json").require(1 << 20 << 30)
    child("json").require(GIB // 1024)
    with pytest.raises(Unavailable, match=r"toy .* failed: .*network.json"):
        child("json").run("onnx_child.py", str(tmp_path))
