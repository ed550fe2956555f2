"""How many samples a model of integers gets right, as proofs count them."""

from __future__ import annotations

import numpy as np

from federated.data import LabeledImages
from prover.model.network import QuantizedModel, is_correct
from prover.model.samples import shape_samples


def count_correct(model: QuantizedModel, samples: LabeledImages) -> int:
    """Correct samples by the integer evaluator, which is what proofs speak of; a tie is wrong."""
    images = shape_samples(samples.images, model.architecture.input_shape)
    return int(np.count_nonzero(is_correct(model.logits(images), samples.labels)))
