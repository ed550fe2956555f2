"""All rules by name, each with the setting that it runs in."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from federated.experiments.simulation.batches import LocalTraining, draw_all_batches
from federated.experiments.simulation.exact_training import make_exact
from federated.experiments.simulation.float_training import train_all
from federated.experiments.simulation.interface import Rule, Setting
from federated.experiments.simulation.rules.claimed import LearningBased, NoisyLearningBased
from federated.experiments.simulation.rules.lotteries import ProofOfStake, ProofOfWork
from federated.experiments.simulation.rules.means import (
    FedAvg,
    Krum,
    Median,
    MultiKrum,
    TrimmedMean,
)
from federated.experiments.simulation.rules.zkpot import BoundedZkPot, TrainedZkPot, ZkPot
from federated.experiments.simulation.vectors import to_model, to_vector
from federated.task_scales import quantize_for_task
from prover.model.update import (
    BIAS_UNIT,
    UpdateBounds,
    compute_squares,
    compute_update,
    find_biases,
)

THRESHOLD = 0.2
"""Of the drawn samples: twice what guessing gets right of ten classes."""
MARGIN = -0.15
"""Of the drawn samples. A client of few classes has a worse model than the mean of all, so a margin
of 0 or more refuses the honest ones as soon as the mean is good; this is for a class and a half of
ten forgotten."""
NOISE = 0.01
"""Of PoFL with noise, per parameter, in norms of an update."""
SLACK = 2
"""How many times the squares of a public update the bounds let pass."""

OPEN_RULES: Mapping[str, Callable[[], Rule]] = {
    "fedavg": FedAvg,
    "krum": Krum,
    "multi-krum": MultiKrum,
    "trimmed-mean": TrimmedMean,
    "median": Median,
    "pow": ProofOfWork,
    "pos": ProofOfStake,
    "pofl": LearningBased,
    "pofl-dp": lambda: NoisyLearningBased(noise=NOISE),
}
PROVEN_RULES = ("zkpot", "zkpot-bounds", "zkpot-training")
RULES = (*OPEN_RULES, *PROVEN_RULES)


def is_possible(name: str, setting: Setting) -> bool:
    """Whether there is such a rule for the network of a setting: training is proven of networks of
    linear layers alone."""
    return name != "zkpot-training" or setting.architecture.is_mlp


def make_rule(
    name: str, setting: Setting, training: LocalTraining, *, seed: int
) -> tuple[Rule, Setting]:
    """The rule of a name of `RULES`, and the setting to run it in.

    Raises KeyError for another name, RecipeInvalid for proven training of a network that
    `is_possible` excludes.
    """
    if name == "zkpot":
        return ZkPot(threshold=THRESHOLD, margin=MARGIN), setting
    if name == "zkpot-bounds":
        bounds = find_bounds(setting, training, seed=seed)
        return BoundedZkPot(threshold=THRESHOLD, margin=MARGIN, bounds=bounds), setting
    if name == "zkpot-training":
        exact = make_exact(setting, seed.to_bytes(8, "little"))
        return TrainedZkPot(threshold=THRESHOLD, margin=MARGIN), exact
    return OPEN_RULES[name](), setting


def find_bounds(setting: Setting, training: LocalTraining, *, seed: int) -> UpdateBounds:
    """Bounds that the author of a task finds before there is any client: what a round of training
    on the public samples changes at most, and `SLACK` times its squares."""
    samples = [setting.public]
    batches = draw_all_batches(samples, training, np.random.default_rng(seed))
    (trained,) = train_all(setting, to_vector(setting.start), samples, batches, training)
    after = quantize_for_task(
        to_model(trained, setting.architecture, setting.scales),
        setting.architecture,
        setting.scales,
    )
    before = quantize_for_task(setting.start, setting.architecture, setting.scales)
    update = compute_update(after, before)
    is_bias = find_biases(setting.architecture)
    squares = compute_squares(setting.architecture, update)
    return UpdateBounds(
        weight=max(1, int(np.abs(update[~is_bias]).max())),
        bias=max(1, int(np.abs(update[is_bias]).max())),
        squares=max(1, SLACK * -(-squares // BIAS_UNIT**2)),
    )
