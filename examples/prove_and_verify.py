"""A proof by library: a small network, its key, a commitment, a proof, a verdict.

    python examples/prove_and_verify.py

The network and the samples are random, so nothing is downloaded and nothing is trained.
"""

from __future__ import annotations

import secrets
import time

import numpy as np

from kernels.backend import get_backend
from prover.circuit.accuracy import compile_accuracy
from prover.circuit.public_inputs import ShardInputs
from prover.groth16.setup import setup_accuracy
from prover.groth16.verify import verify
from prover.model.network import QuantizedModel
from prover.model.presets import parse_architecture
from prover.pedersen.commitment import Committer, draw_blinding
from prover.pipeline import commit_job, prove_job
from prover.wire.statement import Occasion

N_SAMPLES = 64


def main() -> None:
    backend = get_backend("cpu")
    rng = np.random.default_rng(1)

    architecture = parse_architecture("mlp-16-8-4")  # public
    model = QuantizedModel(  # private: int8 weights and int32 biases, layer by layer
        architecture=architecture,
        weights=tuple(rng.integers(-20, 21, s, dtype=np.int8) for s in architecture.weight_shapes),
        biases=tuple(rng.integers(-500, 501, s, dtype=np.int32) for s in architecture.bias_shapes),
    )
    images = rng.integers(0, 256, (N_SAMPLES, 16), dtype=np.uint8)  # public
    labels = rng.integers(0, 4, N_SAMPLES, dtype=np.uint8)

    # Once per architecture and number of samples. Whoever runs a setup can forge under its key.
    circuit = compile_accuracy(architecture, N_SAMPLES)
    key = setup_accuracy(circuit, random_bytes=secrets.token_bytes, backend=backend)

    # Once per model, for proofs under any key.
    blinding = draw_blinding(secrets.token_bytes)  # secret, needed for every proof
    commitment = commit_job(model, blinding, Committer(architecture.n_parameters, backend))

    # Once per shard of samples and occasion.
    proved = prove_job(
        circuit,
        key,
        model,
        images=images,
        labels=labels,
        occasion=Occasion(
            chain_id=b"example",
            task_id=b"example",
            round_index=0,
            commit_height=0,
            client_key=bytes(32),
        ),
        commitment=commitment,
        blinding=blinding,
        random_bytes=secrets.token_bytes,
        backend=backend,
        clock=time.perf_counter,
    )
    claimed = proved.statement.claimed_correct
    print(f"claimed: at least {claimed} of {N_SAMPLES} samples, {len(proved.envelope)} bytes")

    # A verifier has the verifying half of the key, the samples and the bytes. It compares what the
    # statement names with what it expects; `verify` says that the statement holds.
    inputs = ShardInputs.of(circuit.public_layout, images, labels)
    for name, shown in (
        ("as it came", proved.envelope),
        ("with a bit changed", proved.envelope[:-1] + bytes([proved.envelope[-1] ^ 1])),
    ):
        verdict = verify(
            shown, key=key.verifying, public_inputs=inputs, random_bytes=secrets.token_bytes
        )
        print(f"verdict {name}: {verdict.value}")


if __name__ == "__main__":
    main()
