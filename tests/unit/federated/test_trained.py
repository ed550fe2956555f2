"""The trained networks among the test vectors: every range holds, and so does their accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from federated.data import DatasetRef, load_samples
from prover.model.network import is_correct
from prover.model.presets import parse_architecture
from prover.model.ranges import compute_ranges
from prover.model.samples import shape_samples
from prover.model.zkq import decode_model

TRAINED = [
    ("mnist-mlp.zkq", "mlp-784-128-10", "mnist:test[0:2048]", 0.97),
    ("mnist-lenet5.zkq", "lenet5", "mnist:test[0:1024]", 0.99),
    ("cifar10-lenet-small.zkq", "lenet-small", "cifar10:test[0:512]", 0.64),
    pytest.param(
        *("cifar10-resnet20.zkq", "resnet20", "cifar10:test[0:64]", 0.8), marks=pytest.mark.slow
    ),
]


@pytest.mark.parametrize(("file", "name", "reference", "least"), TRAINED)
def test_trained_networks(
    file: str, name: str, reference: str, least: float, root: Path, tmp_path: Path
) -> None:
    model = decode_model((root / "tests" / "vectors" / file).read_bytes())
    network, found = parse_architecture(name), model.architecture
    assert found.input_shape == network.input_shape
    assert [layer.kind for layer in found.layers] == [layer.kind for layer in network.layers]
    assert found.weight_shapes == network.weight_shapes
    compute_ranges(model)
    samples = load_samples(DatasetRef.parse(reference), tmp_path)
    logits = model.logits(shape_samples(samples.images, found.input_shape))
    assert float(np.mean(is_correct(logits, samples.labels))) >= least
