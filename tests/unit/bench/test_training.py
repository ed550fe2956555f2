"""The suite `training`: stable ids, a recount that sees a wrong count, float SGD that learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.peers.float_sgd import count_right, train_float
from bench.plot import plot_curves
from bench.registry import Row, load_suite
from bench.suites.training import QUICK, Lab, _is_right, recount
from prover.model.network import is_correct
from prover.training.masters import export


@pytest.fixture(autouse=True)
def _packaged_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path / "no-data"))


def test_ids_are_stable() -> None:
    name = "mlp-784-128-10"
    accuracies = [f"training.accuracy.{name}.s{s}.e{e}" for s in (0, 1, 2) for e in (1, 2, 3, 4)]
    others = [f"training.{figure}.{name}" for figure in ("step", "masters", "batch")]
    found = [case.id for case in load_suite("training", quick=False).cases]
    assert found == accuracies + others


def test_right_is_recounted_another_way() -> None:
    lab = Lab(QUICK, 320)
    curve = lab.measure(0, 1)
    assert _is_right(curve)
    assert not _is_right(replace(curve, right=[curve.right[0] + 1]))
    assert len(curve.of_float) == 1
    model = export(lab.recipe, lab.begin(3))
    right = int(is_correct(model.logits(lab.test.images), lab.test.labels).sum())
    assert recount(model, lab.test) == right


@pytest.mark.parametrize("name", ["masters", "batch"])
def test_commitments_are_compared_with_others(name: str) -> None:
    suite = load_suite("training", quick=True)
    case = next(case for case in suite.cases if f".{name}." in case.id)
    task = case.make()
    assert task.answer(task.run()) == case.expect()


def test_float_sgd_descends() -> None:
    """Two classes that one value tells apart."""
    images = np.repeat(np.array([[0, 255], [255, 0]], dtype=np.uint8), 8, axis=0)
    labels = np.repeat(np.array([0, 1], dtype=np.uint8), 8)
    batches = np.arange(16).reshape(4, 4)
    *_, layers = train_float([2, 4, 2], images, labels, [batches] * 20, rate=0.5, seed=0)
    assert count_right(layers, images, labels) == 16


def test_curves_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `bench` is not installed")
    rows = [
        Row(
            id=f"x{seed}{epoch}",
            params={"seed": seed, "epoch": epoch},
            value=90.0 + epoch,
            unit="%",
            iqr=0.0,
            n=1,
            peers={"float": 89.0 + seed},
        )
        for seed in (0, 1)
        for epoch in (1, 2)
    ]
    path = plot_curves(rows, tmp_path / "curves.png", title="two seeds")
    assert path.read_bytes().startswith(b"\x89PNG")
