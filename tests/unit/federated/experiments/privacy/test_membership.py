"""Membership inference end to end, tiny: updates tell members, and sums of ten tell less."""

from __future__ import annotations

from pathlib import Path

import pytest

from federated.experiments.kinds import Cell, Json, Lab
from federated.experiments.privacy.experiment import EXPERIMENT
from kernels.backend import get_backend


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(
        data_dir=tmp_path,
        scratch=tmp_path,
        backend=get_backend("cpu"),
        progress=lambda what, done, total: None,
    )


def run(lab: Lab, **changes: int) -> Json:
    cell = Cell(
        seed=1,
        parameters={
            "part": "membership",
            "architecture": "mlp-784-16-10",
            "n_public": 200,
            "n_own": 16,
            "n_targets": 48,
            "n_others": 20,
            "n_elsewhere": 500,
            "n_shard": 32,
            "n_epochs": 10,
            "batch_size": 8,
            "learning_rate": 0.1,
            "noises": "0.3",
            "numbers": "2 10",
            **changes,
        },
    )
    return EXPERIMENT.run(cell, lab)


def test_updates_tell_members_and_sums_tell_less(lab: Lab) -> None:
    result = run(lab)
    found = {
        name: {attack: rated["auc"] for attack, rated in attacks.items()}
        for name, attacks in result["reveals"].items()
    }
    assert set(found) == {"raw", "noised-0.3", "clear", "sum-2", "sum-10", "count"}
    assert min(found["raw"].values()) > 0.6
    assert found["raw"]["lira"] > 0.7
    assert found["sum-10"]["update"] < found["sum-2"]["update"] < found["raw"]["update"] - 0.05
    assert abs(found["noised-0.3"]["loss"] - 0.5) < 0.1
    assert set(found["raw"]) == {"loss", "lira", "update"}
    assert set(found["sum-10"]) == {"loss", "lira", "update", "all"}
    accuracy = result["accuracy"]
    assert accuracy["noised-0.3"] < accuracy["raw"]
    assert abs(accuracy["sum"] - accuracy["raw"]) < 0.05
    curve = result["reveals"]["raw"]["lira"]["curve"]
    assert curve == sorted(curve)
    assert curve[-1] == 1.0


def test_a_cell_gives_the_same_again_and_takes_what_samples_there_are(lab: Lab) -> None:
    few = {"n_targets": 40, "n_others": 18, "n_epochs": 1}
    first = run(lab, n_elsewhere=100_000, **few)
    assert first["n_elsewhere"] == (6000 - 200 - 32) // 2
    assert first == run(lab, n_elsewhere=100_000, **few)
