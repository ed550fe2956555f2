"""Commitments to vectors of a round: a masked vector's last element is the blinding."""

from __future__ import annotations

from collections.abc import Sequence

from kernels.array import FrArray, G1Array
from prover.pedersen.commitment import Committer
from prover.pedersen.opening import combine_commitments


def commit_vector(vector: FrArray, committer: Committer) -> G1Array:
    """The commitment to all elements but the last, blinded by the last."""
    (rho,) = vector[-1:].to_ints()
    return committer.commit(vector[:-1], rho)


def combine(points: Sequence[G1Array], weights: Sequence[int]) -> G1Array:
    """sum w_i P_i of arrays of length 1, for any integers."""
    return combine_commitments(G1Array.concat([G1Array.zeros(0), *points]), weights)
