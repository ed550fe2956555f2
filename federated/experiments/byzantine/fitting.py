"""An attacker of proven training that fits how much it poisons to what is refused.

It commits to its samples before the first round, so it chooses once, for all rounds. What it does
first is to play the whole run by itself, with the rule, the honest clients and all that will be
drawn: no attacker knows more, and none can be worse off for it. All malicious clients choose alike.
"""

from __future__ import annotations

from collections.abc import Callable

from federated.experiments.attacks.adaptive import DataOnly
from federated.experiments.kinds import Json
from federated.experiments.results import get_final

N_TRIALS = 4
"""Shares that are tried at most: the last two are an eighth apart."""
PASSING = 0.5
"""Of the attacker's models in all rounds, from which a share counts as one that passes."""


def fit(attack: DataOnly, play: Callable[[DataOnly], Json]) -> Json:
    """The result of the share, of those tried, that does most harm; as `poisoned` the share itself.

    All of it, if that passes; else halving between nothing and all, towards the greatest share that
    passes. What does not pass harms too, as a client that is missing, and is taken where that is
    worse.

    play : the result of a run with this attack, `accuracy`, `success` and `admitted` among it
    """
    low, high, share = 0.0, 1.0, 1.0
    tried: list[Json] = []
    while len(tried) < N_TRIALS:
        result = play(DataOnly(attack.attack, share=share))
        tried.append({**result, "poisoned": share})
        low, high = (share, high) if result["admitted"] >= PASSING else (low, share)
        if low == high:
            break
        share = (low + high) / 2
    return max(tried, key=lambda result: measure_harm(attack.name, result))


def measure_harm(attack: str, result: Json) -> float:
    """Success where an attack has an aim, else the accuracy that is missing to all."""
    success = result["success"].get(attack)
    return 1.0 - get_final(result) if success is None else float(success)
