"""The whole job on convolutional networks: model and shard in, verified envelope out."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.numpy_types import UInt8Array
from prover.circuit.accuracy import compile_accuracy
from prover.circuit.public_inputs import ShardInputs
from prover.groth16.setup import setup_accuracy
from prover.groth16.verify import verify, verify_batch
from prover.pedersen.commitment import Committer, draw_blinding
from prover.pipeline import commit_job, prove_job
from prover.wire.verdict import Verdict
from tests.support.accuracy_protocol import OCCASION, backend
from tests.support.conv_nets import make_lenet
from tests.support.models import random_images, random_model
from tests.support.tiny_circuits import seeded


@pytest.mark.parametrize("n_samples", [1, 11])
def test_a_convolutional_network_is_proven(n_samples: int) -> None:
    """Two shards, one of them short, in one batch; then each as if it were about the other."""
    architecture = make_lenet()
    accuracy = compile_accuracy(architecture, n_samples)
    key = setup_accuracy(accuracy, random_bytes=seeded(61), backend=backend())
    rng, source = np.random.default_rng(5), seeded(62)
    model = random_model(architecture, rng)
    blinding = draw_blinding(source)
    committer = Committer(architecture.n_parameters, backend())
    commitment = commit_job(model, blinding, committer)

    def prove(images: UInt8Array) -> tuple[bytes, ShardInputs]:
        labels = model.logits(images).argmax(axis=1).astype(np.uint8)
        job = prove_job(
            accuracy,
            key,
            model,
            images=images,
            labels=labels,
            occasion=OCCASION,
            shard_index=0,
            commitment=commitment,
            blinding=blinding,
            random_bytes=source,
            clock=lambda: 0.0,
            backend=backend(),
        )
        assert job.statement.claimed_correct == len(images)
        return job.envelope, ShardInputs.of(accuracy.public_layout, images, labels)

    jobs = [prove(random_images(architecture, n, rng)) for n in (n_samples, max(1, n_samples - 3))]
    for raw, inputs in jobs:
        verdicts = verify_batch(
            [raw, raw], key=key.verifying, public_inputs=inputs, random_bytes=seeded(4)
        )
        assert verdicts == [Verdict.VALID] * 2
    (first, _), (_, other) = jobs
    verdict = verify(first, key=key.verifying, public_inputs=other, random_bytes=seeded(4))
    assert verdict is Verdict.WRONG_STATEMENT
