"""Tasks on real samples: disjoint parts, all from a seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

from federated.errors import DatasetMissing
from federated.experiments.simulation.tasks import TaskPlan, make_setting

NOWHERE = Path("no-such-folder")
PLAN = TaskPlan(
    dataset="mnist",
    network="mlp-784-8-10",
    partition="shards",
    n_clients=4,
    n_malicious=1,
    n_public=50,
    n_train=400,
    n_pool=100,
    n_test=150,
)


def test_parts_are_disjoint_and_of_their_sizes() -> None:
    setting = make_setting(PLAN, NOWHERE, seed=1)
    parts = [*setting.clients, setting.public, setting.shard, setting.test]
    assert [len(part) for part in parts[4:]] == [50, 100, 150]
    assert sum(map(len, setting.clients)) == 400
    images = {image.tobytes() for part in parts for image in part.images}
    assert len(images) == 700
    assert all(len(np.unique(own.labels)) < 8 for own in setting.clients), "two pieces each"
    assert (setting.stakes > 0).all()
    assert (setting.hash_power > 0).all()
    assert setting.n_malicious == 1


def test_a_seed_draws_everything() -> None:
    first, again = (make_setting(PLAN, NOWHERE, seed=1) for _ in range(2))
    other = make_setting(PLAN, NOWHERE, seed=2)
    assert np.array_equal(first.clients[0].images, again.clients[0].images)
    assert np.array_equal(first.start.weights[0], again.start.weights[0])
    assert first.scales == again.scales
    assert not np.array_equal(first.test.images, other.test.images)
    assert not np.array_equal(first.stakes, other.stakes)


def test_what_is_not_packaged_has_to_be_fetched() -> None:
    with pytest.raises(DatasetMissing, match="fetch mnist"):
        make_setting(replace(PLAN, n_train=7000), NOWHERE, seed=1)
