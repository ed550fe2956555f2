"""Likelihood-ratio attacks on membership, and curves of what they reach.

Online LiRA of Carlini et al. (Membership Inference Attacks From First Principles, S&P 2022,
arXiv 2112.03570): for each sample the attacker knows how what it observes is distributed over
shadow models that were trained with the sample and without, as Gaussians, and takes the ratio.

Targets and shadows are never the same: targets are dealt to folds, the shadows of one fold are the
models of all others, and curves are means over folds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kernels.numpy_types import BoolArray, Float64Array

N_FOLDS = 4
LEAST_SHARE = 1e-6
"""Of a variance that is added to it, so that no Gaussian is degenerate."""


def deal_folds(n_targets: int) -> Iterator[tuple[BoolArray, BoolArray]]:
    """Of each fold, bool[T]: who is attacked, and who stands as shadow."""
    fold = np.arange(n_targets) % N_FOLDS
    for number in range(N_FOLDS):
        yield fold == number, fold != number


def score_by_own_variance(
    targets: Float64Array, shadows: Float64Array, is_member: BoolArray
) -> Float64Array:
    """float64[T, N], log p(seen | in) - log p(seen | out) of one observed number per sample.

    targets   : float64[T, N], what is seen of target t about sample x
    shadows   : float64[S, N], the same of shadows
    is_member : bool[S, N], whether a shadow was trained on a sample; both happen of every sample
    """
    scores = np.zeros_like(targets)
    for sign, weight in _weigh(is_member):
        mean = (weight * shadows).sum(0)
        variance = (weight * (shadows - mean) ** 2).sum(0)
        variance = np.maximum(variance, LEAST_SHARE * (mean**2 + np.finfo(np.float64).tiny))
        scores += sign * -0.5 * ((targets - mean) ** 2 / variance + np.log(variance))
    return scores


def score_by_shared_variance(
    targets: Float64Array, shadows: Float64Array, is_member: BoolArray
) -> Float64Array:
    """float64[T, N], the log ratio of all numbers seen at once, with one covariance for in and out.

    targets, shadows : float64[T, N, F] and [S, N, F], as in `score_by_own_variance`
    holds : with equal covariances the ratio is linear, which is less noisy where members hardly
            differ, as in means of many models
    """
    means, rest = [], np.zeros_like(shadows)
    for _, weight in _weigh(is_member):
        mean = (weight[..., None] * shadows).sum(0)
        rest += (weight > 0)[..., None] * (shadows - mean)
        means.append(mean)
    scale = np.sqrt((rest**2).mean(0))
    scale = np.where(scale > 0.0, scale, 1.0)
    rest = rest / scale
    correlation = np.einsum("snf,sng->nfg", rest, rest) / len(rest)
    correlation = correlation + LEAST_SHARE * np.eye(targets.shape[-1])
    inside, outside = (mean / scale for mean in means)
    direction = np.linalg.solve(correlation, (inside - outside)[..., None])[..., 0]
    return np.asarray(((targets / scale - (inside + outside) / 2) * direction).sum(-1))


def _weigh(is_member: BoolArray) -> Iterator[tuple[float, Float64Array]]:
    """The sign of members and then of others, and weights [S, N] that take their mean."""
    for sign, where in ((1.0, is_member), (-1.0, ~is_member)):
        yield sign, where / where.sum(0)


def compute_auc(scores: Float64Array, is_member: BoolArray) -> float:
    """The chance that a member scores above a sample that is none; ties count half."""
    flat, labels = scores.reshape(-1), is_member.reshape(-1)
    _, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[inverse]
    n_in = int(labels.sum())
    n_out = len(labels) - n_in
    return float((ranks[labels].sum() - n_in * (n_in + 1) / 2) / (n_in * n_out))


def compute_tpr(scores: Float64Array, is_member: BoolArray, rates: Float64Array) -> Float64Array:
    """The share of members above each threshold that at most these shares of others exceed."""
    flat, labels = scores.reshape(-1), is_member.reshape(-1)
    others = np.sort(flat[~labels])[::-1]
    members = np.sort(flat[labels])
    above = np.minimum((rates * len(others)).astype(np.int64), len(others) - 1)
    found = len(members) - np.searchsorted(members, others[above], side="right")
    return np.asarray(np.where(rates >= 1.0, 1.0, found / len(members)))
