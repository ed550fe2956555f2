"""Sizes of circuits are golden: a row more or less is a decision, not an accident.

After a decision: `python -m tests.soundness.test_counts` writes counts.csv anew.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from kernels.backend import get_backend
from kernels.bn254 import R
from kernels.errors import BackendUnavailable
from prover.circuit.accuracy import compile_accuracy
from prover.circuit.constraints import check_independence
from prover.circuit.sizes import compute_sizes
from prover.circuit.witness import check, solve_committed, solve_private
from tests.soundness.circuits import CIRCUITS, count_all
from tests.support.models import random_images, random_model

GOLDEN = Path(__file__).with_name("counts.csv")


def test_counts_are_golden() -> None:
    with GOLDEN.open(newline="") as file:
        expected = [tuple(row) for row in csv.reader(file)]
    assert count_all() == expected


def test_reach_of_the_mnist_circuit() -> None:
    """At most 585 rows per sample for 784-128-10 at N = 1024, all under 2^20."""
    report = compile_accuracy(*CIRCUITS["mlp-784-128-10 N=1024"]).explain()
    assert report.rows_per_sample <= 585
    assert report.rows < 1 << 20
    assert report.domain == 598_016
    assert sum(line.rows for line in report.lines) == report.rows
    assert sum(line.private_wires for line in report.lines) == report.wires["private"]
    per_sample = {(x.part, x.gadget): x.rows / report.n_samples for x in report.lines}
    assert per_sample["layer 0", "activation"] == 3 * 128  # rem, g * y, (q, y)
    assert round(per_sample["layer 0", "linear"]) == 128 // 8 + 784 * 16 // 1024
    assert round(per_sample["layer 1", "input"]) == round(128 / 9)
    assert round(per_sample["correctness", "count"]) == 35
    assert report.tables["range"] == {"bits": 13}
    assert "2^12 would cost" in report.width_reason


def test_reach_of_convolutional_networks() -> None:
    """At most 30,000 rows per sample for the LeNet of CIFAR-10, 1.2 million for ResNet-20."""
    lenet, resnet = (compute_sizes(*CIRCUITS[x]) for x in ("lenet-small N=64", "resnet20 N=1"))
    assert lenet.n_rows <= 30_000 * lenet.n_samples
    assert (resnet.n_samples, resnet.n_rows <= 1_200_000) == (1, True)
    circuit = compile_accuracy(*CIRCUITS["cnn-2x6x8-3 N=1"])
    reasons = {(x.part, x.gadget): x.why for x in circuit.explain().lines}
    assert "columns x" in reasons["layer 2", "conv2d"]
    assert "fused with the clamp" in reasons["layer 1", "max"]
    assert "plain: others take its input" in reasons["layer 5", "max"]
    assert "outputs a pack" in reasons["layer 4", "add"]
    assert all(why for (part, gadget), why in reasons.items() if gadget in ("conv2d", "input"))


@pytest.mark.slow
def test_mnist_circuit_is_satisfied() -> None:
    """784-128-10, 1,000 real samples and 24 of padding, every row checked."""
    try:
        backend = get_backend("cpu")
    except BackendUnavailable as error:
        pytest.skip(str(error))
    accuracy = compile_accuracy(*CIRCUITS["mlp-784-128-10 N=1024"])
    check_independence(accuracy.r1cs)
    rng = np.random.default_rng(11)
    model = random_model(accuracy.architecture, rng)
    images = random_images(accuracy.architecture, 1000, rng)
    labels = model.logits(images).argmax(axis=1).astype(np.uint8)
    labels[::7] = (labels[::7] + 1) % 10
    committed = solve_committed(accuracy, model, images, labels)
    assert committed.claimed == 1000 - len(labels[::7])
    public = accuracy.public_inputs(
        claimed=committed.claimed,
        images=images,
        labels=labels,
        challenges=[3 ** (100 * i) % R for i in range(1, accuracy.n_challenges + 1)],
    )
    z = solve_private(
        accuracy.circuit,
        public=public,
        model=committed.model_scalars,
        advice=committed.advice_scalars,
        backend=backend,
    )
    check(accuracy.circuit, z, backend)


if __name__ == "__main__":
    with GOLDEN.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(count_all())
