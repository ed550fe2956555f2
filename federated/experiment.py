"""Federated learning without a chain: what the rounds of a task do to accuracy, in one process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from consensus.learning.aggregate import GlobalModel, combine
from federated.calibration import Progress
from federated.data import LabeledImages
from federated.local import improve, warm_up
from federated.task_scales import dequantize
from prover.model.network import Architecture, QuantizedModel, is_correct
from prover.model.samples import shape_samples


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoundOutcome:
    """Correct test samples: of each client's model, and of their mean, rounded."""

    counts: tuple[int, ...]
    global_count: int
    global_model: GlobalModel


def count_correct(model: QuantizedModel, samples: LabeledImages) -> int:
    """Correct samples by the integer evaluator, which is what proofs speak of; a tie is wrong."""
    images = shape_samples(samples.images, model.architecture.input_shape)
    return int(np.count_nonzero(is_correct(model.logits(images), samples.labels)))


def run_rounds(
    clients: Sequence[LabeledImages],
    public: LabeledImages,
    test: LabeledImages,
    *,
    architecture: Architecture,
    n_rounds: int,
    progress: Progress,
) -> Iterator[RoundOutcome]:
    """One outcome per round: clients train from the mean, which weighs each by its test count."""
    start, scales = warm_up(public, architecture, progress)
    for learning_round in range(n_rounds):
        models = [
            improve(
                start,
                own + public,
                architecture=architecture,
                scales=scales,
                seed=learning_round * len(clients) + index,
                progress=progress,
            )
            for index, own in enumerate(clients)
        ]
        counts = tuple(count_correct(model, test) for model in models)
        weights = [max(1, count) for count in counts]
        mean = combine(zip(models, weights, strict=True))
        start = dequantize(mean, scales)
        yield RoundOutcome(
            counts=counts,
            global_count=count_correct(mean.rounded(), test),
            global_model=mean,
        )
