"""How a client learns in a round: by the task's own recipe on its samples, or by its own.

Either starts from the global model, and in the first round, which has none, from a network that
all clients draw alike: a mean of networks that started apart is a mean of nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from consensus.learning.aggregate import GlobalModel
from consensus.wire.genesis import Task
from federated.calibration import Progress
from federated.client import Learn
from federated.data import LabeledImages
from federated.float_model import FloatModel
from federated.joining.own_network import read_network, require_supported, write_network
from federated.local import improve
from federated.task_scales import TaskScales, dequantize, quantize_for_task
from federated.train import draw_model
from prover.model.network import QuantizedModel
from prover.randomness import RandomBytes

Fit = Callable[[torch.nn.Module, int], None]
"""fit(network, learning round) trains it on in place, on whatever its owner has."""


def learn_from_samples(
    samples: LabeledImages, task: Task, *, random_bytes: RandomBytes, progress: Progress
) -> Learn:
    """Trains on a client's own samples as `federated.local` says. Raises ScalesInvalid."""
    scales = TaskScales.of_task(task)

    def learn(model: GlobalModel | None, learning_round: int) -> QuantizedModel:
        return improve(
            find_start(model, task, scales),
            samples,
            architecture=task.architecture,
            scales=scales,
            seed=int.from_bytes(random_bytes(4), "little"),
            progress=progress,
        )

    return learn


def learn_by(network: torch.nn.Module, fit: Fit, task: Task) -> Learn:
    """Trains a client's own network by its own code. Raises NetworkUnsupported, ScalesInvalid.

    network : its parameters are overwritten at the start of every round
    """
    scales, architecture = TaskScales.of_task(task), task.architecture
    require_supported(network, architecture)

    def learn(model: GlobalModel | None, learning_round: int) -> QuantizedModel:
        write_network(network, find_start(model, task, scales), architecture)
        fit(network, learning_round)
        trained = read_network(network, architecture, scales)
        return quantize_for_task(trained, architecture, scales)

    return learn


def find_start(model: GlobalModel | None, task: Task, scales: TaskScales) -> FloatModel:
    """Where a round's training starts: the global model, or what stands for it in the first."""
    if model is not None:
        return dequantize(model, scales)
    return draw_model(task.architecture, mean=scales.mean, std=scales.std)
