"""Non-IID splits: a partition, reproducible, skewed as asked, and nobody left without samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federated.data import load
from federated.partition import split_by_label
from kernels.numpy_types import UInt8Array


@pytest.fixture(scope="module")
def labels() -> UInt8Array:
    return load("mnist", "train", Path("no-such-folder"))[1]


@given(
    st.lists(st.integers(0, 9), min_size=20, max_size=120),
    st.integers(1, 7),
    st.sampled_from([1e-3, 0.3, 1.0, 1e6]),
    st.integers(0, 1 << 32),
)
def test_every_sample_has_one_owner(
    labels: list[int], n_clients: int, concentration: float, seed: int
) -> None:
    least = len(labels) // n_clients
    parts = split_by_label(
        np.array(labels, dtype=np.uint8),
        n_clients=n_clients,
        concentration=concentration,
        seed=seed,
        least=least,
    )
    assert len(parts) == n_clients
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    assert all(len(part) >= least and (np.diff(part) > 0).all() for part in parts)


def test_the_seed_decides(labels: UInt8Array) -> None:
    first, again, other = (
        split_by_label(labels, n_clients=5, concentration=0.5, seed=seed) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(x, y) for x, y in zip(first, again, strict=True))
    assert any(not np.array_equal(x, y) for x, y in zip(first, other, strict=True))


def test_small_concentrations_skew_the_classes(labels: UInt8Array) -> None:
    """A client's most frequent class: near a tenth of its samples when even, far more when not."""

    def find_skew(concentration: float) -> float:
        parts = split_by_label(labels, n_clients=5, concentration=concentration, seed=1, least=100)
        tops = [np.bincount(labels[part]).max() / len(part) for part in parts]
        return float(np.mean(tops))

    assert find_skew(1e4) < 0.14
    assert find_skew(0.3) > 0.25
    assert find_skew(1e-3) > 0.5


@pytest.mark.parametrize(
    ("n_clients", "concentration", "least"),
    [(0, 1.0, 1), (2, 0.0, 1), (2, -1.0, 1), (2, float("nan"), 1), (2, 1.0, 0), (3, 1.0, 4)],
)
def test_what_cannot_be_split(n_clients: int, concentration: float, least: int) -> None:
    with pytest.raises(ValueError, match="client"):
        split_by_label(
            np.zeros(10, dtype=np.uint8),
            n_clients=n_clients,
            concentration=concentration,
            seed=0,
            least=least,
        )
