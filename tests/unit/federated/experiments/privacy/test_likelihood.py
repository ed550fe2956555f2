"""Likelihood ratios against their plain definitions, and curves on examples by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from federated.experiments.privacy.likelihood import (
    compute_auc,
    compute_tpr,
    deal_folds,
    score_by_own_variance,
    score_by_shared_variance,
)
from kernels.numpy_types import BoolArray, Float64Array


def draw_members(n_targets: int, n_samples: int, seed: int = 0) -> BoolArray:
    order = np.random.default_rng(seed).random((n_targets, n_samples)).argsort(axis=1)
    return np.asarray(order < n_samples // 2)


def test_auc_counts_pairs_in_order_and_ties_half() -> None:
    labels = np.array([False, False, True, True])
    assert compute_auc(np.array([0.1, 0.4, 0.35, 0.8]), labels) == 0.75
    assert compute_auc(np.array([0.0, 1.0, 2.0, 3.0]), labels) == 1.0
    assert compute_auc(np.array([3.0, 2.0, 1.0, 0.0]), labels) == 0.0
    assert compute_auc(np.array([1.0, 1.0, 1.0, 1.0]), labels) == 0.5
    assert compute_auc(np.array([1.0, 2.0, 2.0, 3.0]), labels) == 0.875


def test_tpr_is_of_thresholds_that_few_others_exceed() -> None:
    scores = np.array([0.9, 0.7, 0.5, 0.3, 0.8, 0.6, 0.4, 0.2])
    labels = np.array([True] * 4 + [False] * 4)
    found = compute_tpr(scores, labels, np.array([0.0, 0.25, 0.5, 1.0]))
    assert found.tolist() == [0.25, 0.5, 0.75, 1.0]
    same = compute_tpr(np.zeros(8), labels, np.array([0.25]))
    assert same.tolist() == [0.0]


def test_own_variance_is_the_ratio_of_two_gaussians() -> None:
    rng = np.random.default_rng(3)
    is_member = draw_members(12, 4)
    shadows = rng.normal(size=(12, 4)) + is_member
    targets = rng.normal(size=(5, 4))
    found = score_by_own_variance(targets, shadows, is_member)
    for t in range(5):
        for x in range(4):
            inside, outside = shadows[is_member[:, x], x], shadows[~is_member[:, x], x]
            ratio = _log_density(targets[t, x], inside) - _log_density(targets[t, x], outside)
            assert found[t, x] == pytest.approx(ratio)


def _log_density(value: float, sample: Float64Array) -> float:
    mean, variance = float(np.mean(sample)), float(np.var(sample))
    return -((value - mean) ** 2) / (2 * variance) - math.log(variance) / 2


def test_shared_variance_is_the_ratio_of_two_gaussians_of_one_covariance() -> None:
    rng = np.random.default_rng(4)
    is_member = draw_members(14, 4)
    shadows = rng.normal(size=(14, 4, 2)) @ np.array([[1.0, 0.8], [0.0, 3.0]])
    shadows += is_member[..., None] * np.array([0.5, -1.0])
    targets = rng.normal(size=(5, 4, 2))
    found = score_by_shared_variance(targets, shadows, is_member)
    for t in range(5):
        for x in range(4):
            inside, outside = shadows[is_member[:, x], x], shadows[~is_member[:, x], x]
            rest = np.concatenate([inside - inside.mean(0), outside - outside.mean(0)])
            inverse = np.linalg.inv(rest.T @ rest / len(rest))
            ratio = 0.0
            for sign, sample in ((0.5, outside), (-0.5, inside)):
                away = targets[t, x] - sample.mean(0)
                ratio += sign * float(away @ inverse @ away)
            assert found[t, x] == pytest.approx(ratio, rel=1e-3, abs=1e-4)


def test_what_never_varies_tells_nothing() -> None:
    is_member = draw_members(8, 4)
    flat = np.full((8, 4), 3.0)
    assert np.allclose(score_by_own_variance(flat, flat, is_member), 0.0)
    assert np.allclose(score_by_shared_variance(*[flat[..., None]] * 2, is_member), 0.0)


def test_no_target_is_its_own_shadow_and_each_is_attacked_once() -> None:
    folds = list(deal_folds(10))
    assert sum(attacked.astype(int) for attacked, _ in folds).tolist() == [1] * 10
    assert not any((attacked & shadowing).any() for attacked, shadowing in folds)


def test_who_is_the_same_in_and_out_is_not_told() -> None:
    rng = np.random.default_rng(6)
    is_member = draw_members(128, 64)
    seen = rng.normal(size=(128, 64, 2))
    assert abs(_attack(seen, is_member) - 0.5) < 0.03
    seen[..., 0] += is_member
    assert _attack(seen, is_member) > 0.7


def _attack(seen: Float64Array, is_member: BoolArray) -> float:
    """The mean AUC over folds."""
    aucs = []
    for attacked, shadowing in deal_folds(len(seen)):
        scores = score_by_shared_variance(seen[attacked], seen[shadowing], is_member[shadowing])
        aucs.append(compute_auc(scores, is_member[attacked]))
    return sum(aucs) / len(aucs)
