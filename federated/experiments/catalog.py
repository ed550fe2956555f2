"""The experiments that there are, each loaded when it is asked for: most import PyTorch."""

from __future__ import annotations

from importlib import import_module

from federated.experiments.kinds import Experiment

EXPERIMENTS = {
    "accuracy": "accuracy and stability over rounds, for every rule",
    "byzantine": "accuracy and backdoor success against the share of malicious clients",
    "claims": "claims that are forged, inflated, copied or replayed, each against the verifier",
    "privacy": "membership inference and inversion against what each rule reveals",
    "cost": "bytes, seconds and work of a round, and growth with clients",
    "leadership": "who leads, against skill, stake and hash power",
}
"""Names, and what is measured, in the order in which `all` runs them."""


def load_experiment(name: str) -> Experiment:
    """The experiment of a name of `EXPERIMENTS`. Raises KeyError for another,
    ModuleNotFoundError without the extra `federated`."""
    if name not in EXPERIMENTS:
        raise KeyError(name)
    experiment: Experiment = import_module(f"federated.experiments.{name}.experiment").EXPERIMENT
    return experiment
