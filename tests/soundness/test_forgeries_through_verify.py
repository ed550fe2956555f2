"""Every forged witness of the accuracy circuit, carried through commitments and a whole proof.

The forger commits to its wires, draws its own challenges and completes the witness as well as it
can be completed. `verify` sees nothing but the envelope and the verifier's own data.
"""

from __future__ import annotations

from prover.groth16.verify import verify, verify_batch
from prover.wire.verdict import Verdict
from tests.support.accuracy_protocol import accuracy_key, prove_assignment, scene, shard_inputs
from tests.support.forgeries import FORGERIES
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
