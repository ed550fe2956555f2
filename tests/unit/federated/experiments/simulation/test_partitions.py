"""Samples are dealt whole, and as unevenly as asked for."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

from federated.experiments.simulation.partitions import PARTITIONS, split_samples

LABELS = np.random.default_rng(3).integers(0, 10, 2000).astype(np.uint8)


@pytest.mark.parametrize("partition", PARTITIONS)
def test_every_sample_has_one_owner(partition: str) -> None:
    parts = split_samples(LABELS, partition, n_clients=10, seed=1)
    assert len(parts) == 10
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(2000))
    again = split_samples(LABELS, partition, n_clients=10, seed=1)
    other = split_samples(LABELS, partition, n_clients=10, seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(parts, other, strict=True))


def test_partitions_are_as_uneven_as_their_names() -> None:
    def share(partition: str) -> float:
        """How much of a client's samples its two most frequent classes are, on average."""
        parts = split_samples(LABELS, partition, n_clients=10, seed=1)
        counts = [np.sort(np.bincount(LABELS[p], minlength=10))[-2:].sum() / len(p) for p in parts]
        return float(np.mean(counts))

    iid, mild, strong, shards = map(share, PARTITIONS)
    assert iid < 0.3 < mild < strong
    assert shards > 0.9


def test_other_names_are_no_partitions() -> None:
    for name in ("dirichlet-2", "dirichlet-", "even"):
        with pytest.raises(ValueError, match="iid"):
            split_samples(LABELS, name, n_clients=10, seed=1)
