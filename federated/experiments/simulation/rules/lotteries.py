"""Chains whose leader is drawn, and writes the mean of all models, or what it likes.

    PoW    who finds a hash first: waiting times are exponential, at the rate of each one's power
    PoS    a draw by stakes

Nobody checks what the leader writes against what clients sent: that it is the mean is its word. A
chain that lets all nodes add up again what a leader has added up is FedAvg with a witness, and has
the accuracy of `FedAvg` here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from federated.experiments.simulation.interface import Closing, View
from federated.experiments.simulation.rules.means import OpenRule, compute_mean


@dataclass(frozen=True, slots=True)
class ProofOfWork(OpenRule):
    """The leader has found a hash first."""

    name = "pow"
    label = "PoW"

    def close(self, view: View) -> Closing:
        waits = view.generator.exponential(1 / view.setting.hash_power)
        return close_by_leader(view, int(waits.argmin()))


@dataclass(frozen=True, slots=True)
class ProofOfStake(OpenRule):
    """The leader is drawn by stakes."""

    name = "pos"
    label = "PoS"

    def close(self, view: View) -> Closing:
        stakes = view.setting.stakes
        leader = view.generator.choice(len(stakes), p=stakes / stakes.sum())
        return close_by_leader(view, int(leader))


def close_by_leader(view: View, leader: int) -> Closing:
    """The mean of all models, as the leader writes it."""
    everyone = np.ones(len(view.sent), dtype=np.bool_)
    written = view.replace(leader, compute_mean(view.sent))
    return Closing(model=written, accepted=everyone, leader=leader)
