"""Every forged witness of the accuracy circuit, carried through commitments and a whole proof.

The forger commits to its wires, draws its own challenges and completes the witness as well as it
can be completed. `verify` sees nothing but the envelope and the verifier's own data.
"""

from __future__ import annotations

import numpy as np

from prover.circuit.public_inputs import ShardInputs
from prover.groth16.setup import setup_accuracy
from prover.groth16.verify import verify, verify_batch
from prover.wire.verdict import Verdict
from tests.support.accuracy_protocol import (
    accuracy_key,
    backend,
    prove_assignment,
    scene,
    shard_inputs,
)
from tests.support.assignments import Tensor
from tests.support.conv_nets import make_residual
from tests.support.forgeries import FORGERIES, Scene
from tests.support.tiny_circuits import seeded


def honest_envelope(seed: int = 81) -> bytes:
    s = scene()
    honest = s.count(s.infer(), s.honest_hits())
    return prove_assignment(honest, claimed=s.n_correct, seed=seed)


def test_the_honest_witness_is_valid() -> None:
    verdict = verify(
        honest_envelope(),
        key=accuracy_key().verifying,
        public_inputs=shard_inputs(),
        random_bytes=seeded(1),
    )
    assert verdict is Verdict.VALID


def test_every_forgery_is_refused() -> None:
    """All in one batch with honest proofs between them, so the bisection finds each."""
    forgeries = [lie(scene()) for lie in FORGERIES]
    forged = [
        prove_assignment(f.assignment, claimed=f.claimed, seed=100 + i)
        for i, f in enumerate(forgeries)
    ]
    raws = [raw for f in forged for raw in (f, honest_envelope())]
    verdicts = verify_batch(
        raws,
        key=accuracy_key().verifying,
        public_inputs=shard_inputs(),
        random_bytes=seeded(2),
    )
    accepted = [f.lie for f, v in zip(forgeries, verdicts[::2], strict=True) if v is Verdict.VALID]
    assert accepted == []
    assert set(verdicts[::2]) == {Verdict.PAIRING_FAILED}
    assert set(verdicts[1::2]) == {Verdict.VALID}


def test_every_lie_about_a_graph_of_layers_is_refused() -> None:
    """One of each kind; between them honest proofs, whose window sums the verifier makes itself."""
    s = Scene.of(make_residual(), n_samples=2)
    key = setup_accuracy(s.accuracy, random_bytes=seeded(72), backend=backend())
    inputs = s.infer()

    def swap(layer: int, step: dict[str, Tensor]) -> None:
        if layer == 2:
            for name in step:
                step[name] = step[name][:, [1, 0, 2]]

    def lower(layer: int, step: dict[str, Tensor]) -> None:
        if layer == 5:
            step["y"][0, 0, 0, 0] += 1

    multipliers = list(s.accuracy.architecture.multipliers)
    multipliers[1:3] = multipliers[2:0:-1]
    lies = [
        s.infer(images=np.roll(s.images, 1, axis=3)),
        s.infer(alter=swap),
        s.infer(alter=lower),
        s.infer(multipliers=multipliers),
    ]
    raws = [
        prove_assignment(s.count(wires, {}), claimed=0, seed=200 + i, about=(s, key))
        for i, lie in enumerate(lies)
        for wires in (lie, inputs)
    ]
    verdicts = verify_batch(
        raws,
        key=key.verifying,
        public_inputs=ShardInputs.of(s.accuracy.public_layout, s.images, s.labels),
        random_bytes=seeded(3),
    )
    assert set(verdicts[::2]) == {Verdict.PAIRING_FAILED}
    assert set(verdicts[1::2]) == {Verdict.VALID}
