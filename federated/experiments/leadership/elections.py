"""Who leads a round, by each rule, from the same models; and how leadership is spread."""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction

import numpy as np

from consensus.learning.election import rank_clients
from kernels.numpy_types import Float64Array, Int64Array

NOBODY = -1


def draw_lot(weights: Float64Array, generator: np.random.Generator) -> int:
    """The winner of a lottery: of hash power, or of stake.

    holds : the first of n exponential clocks of these rates rings; so does the first valid hash of
            miners of these rates
    """
    return int(np.argmin(generator.exponential(1.0, len(weights)) / weights))


def lead_by_claim(claimed: Int64Array, n_samples: int, beacon: bytes) -> int:
    """Who claims most, as nobody asks for a proof; ties as `lead_by_proof` breaks them."""
    return _rank(claimed, n_samples, beacon, range(len(claimed)))


def lead_by_proof(claimed: Int64Array, true: Int64Array, n_samples: int, beacon: bytes) -> int:
    """The best of those who can prove what they claim, by the chain's own ranking.

    A claim above the truth has no proof that is accepted (the experiment `claims` tries).
    """
    able = np.flatnonzero(claimed <= true).tolist()
    return _rank(claimed, n_samples, beacon, able)


def _rank(counts: Int64Array, n_samples: int, beacon: bytes, among: Collection[int]) -> int:
    names = {bytes([client]) * 32: client for client in among}
    if not names:
        return NOBODY
    ranked = rank_clients(
        {name: Fraction(int(counts[client]), n_samples) for name, client in names.items()}, beacon
    )
    return names[ranked[0]]


def compute_gini(shares: Float64Array) -> float:
    """Gini's coefficient of shares: 0 where all are equal, (n - 1) / n where one has all.

    source : sum_ij |x_i - x_j| / (2 n^2 mean)
    """
    differences = np.abs(shares[:, None] - shares[None, :]).sum()
    return float(differences / (2 * len(shares) * shares.sum()))


def compute_spearman(a: Float64Array, b: Float64Array) -> float:
    """The correlation of ranks, equal values having their mean rank; 0 where one side is constant.

    source : Pearson's correlation of ranks
    """
    x, y = (_rank_values(values) for values in (a, b))
    x, y = x - x.mean(), y - y.mean()
    length = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / length if length else 0.0


def _rank_values(values: Float64Array) -> Float64Array:
    below = (values[None, :] < values[:, None]).sum(axis=1)
    alike = (values[None, :] == values[:, None]).sum(axis=1)
    ranks: Float64Array = below + (alike - 1) / 2
    return ranks
