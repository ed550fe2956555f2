"""Sybils: an attacker that takes part under many names (Douceur, IPTPS 2002)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from federated.experiments.simulation.interface import Setting
from kernels.numpy_types import Float64Array


def multiply(setting: Setting, *, n_identities: int) -> Setting:
    """The same participants, but the attacker's one client counts for so many.

    All have its samples. What can't be copied is shared out among them: its stake and its
    hash power.
    raises : ValueError unless exactly one client is the attacker's
    """
    if setting.n_malicious != 1 or n_identities < 1:
        raise ValueError("one client is multiplied, by 1 or more")

    def share(power: Float64Array) -> Float64Array:
        return np.concatenate([np.full(n_identities, power[0] / n_identities), power[1:]])

    return replace(
        setting,
        clients=(*setting.clients[:1] * n_identities, *setting.clients[1:]),
        n_malicious=n_identities,
        stakes=share(setting.stakes),
        hash_power=share(setting.hash_power),
    )
