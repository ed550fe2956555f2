"""A proof of bounds on an update, from a model and the public one to bytes.

    prove_update   model W, rho, public model G
                     │ witness 1   W - G, its squares and limbs
                     │ ...         as `prover.groth16.whole` proves it, D = Com(W; rho) being linked
                     │             by D - Com(G; 0) = Com(W - G; rho)
                     │ verify      its own proof, with the verifier's code
                     v
                   envelope: statement and 224 bytes

The commitment is the one that every proof about the model names, so a verifier has both proofs
about one model without knowing it.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernels.backend import Backend
from kernels.encoding import encode_g1
from kernels.machine import count_memory
from prover.circuit.norm.circuit import NormCircuit, compile_norm, solve_update
from prover.circuit.norm.inputs import UpdateInputs
from prover.circuit.norm.plan import require_norm
from prover.errors import KeyMismatch
from prover.groth16.commitment import Opening
from prover.groth16.verify import verify_updates
from prover.groth16.whole import prove_statement, require_same, require_valid
from prover.keys.card import UpdateCard
from prover.keys.halves import ProvingKey, VerifyingKey
from prover.model.network import QuantizedModel
from prover.model.update import compute_update
from prover.pedersen.commitment import Blinding, Committer, ModelCommitment
from prover.progress import Clock, StageProgress, Stages, silent
from prover.randomness import RandomBytes
from prover.wire.statement import Occasion
from prover.wire.update import UpdateEnvelope, UpdateStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvedUpdate:
    """What a proof of bounds publishes, and how long its stages took."""

    envelope: bytes
    statement: UpdateStatement
    timings_s: dict[str, float]


def prove_update(
    norm: NormCircuit,
    key: ProvingKey,
    model: QuantizedModel,
    origin: QuantizedModel,
    *,
    occasion: Occasion,
    commitment: ModelCommitment,
    blinding: Blinding,
    committer: Committer,
    random_bytes: RandomBytes,
    backend: Backend,
    clock: Clock,
    progress: StageProgress | None = None,
) -> ProvedUpdate:
    """One verified proof that a committed model lies within the bounds around a public one.

    origin     : G, public and of the same architecture
    commitment : by `commit_job`, of this model with this blinding
    raises     : UpdateExceeds, for the owner's eyes, when it does not (`clip_update` mends it);
                 KeyMismatch, ShapeMismatch, SelfCheckFailed
    """
    require_same(norm.digest, UpdateCard.of(norm).digest, key)
    stages = Stages(clock=clock, report=progress or silent)
    inputs = UpdateInputs.of(norm.plan, origin, committer)

    with backend.integers.active(key):  # entered once, by both halves of the witness
        with stages.stage("witness 1"):
            solved = solve_update(norm, compute_update(model, origin), backend.integers)
            opening = Opening(wires=solved.integers.to_scalars(solved.update), rho=blinding.rho)
            advice = solved.integers.to_scalars(solved.advice)

        statement = UpdateStatement(
            occasion=occasion,
            verifying_key_digest=key.verifying.digest,
            origin_digest=inputs.digest,
            commitment=encode_g1(commitment.d),
        )
        whole = prove_statement(
            norm.circuit,
            key,
            statement,
            inputs,
            openings=[opening],
            advice=advice,
            random_bytes=random_bytes,
            backend=backend,
            stages=stages,
        )
    envelope = UpdateEnvelope(statement=statement, proof=whole.proof.encode()).encode()

    with stages.stage("verify"):
        verdict = verify_updates(
            [envelope], key=key.verifying, inputs=inputs, random_bytes=random_bytes
        )[0]
        require_valid(whole, verdict, norm.circuit, backend)

    return ProvedUpdate(envelope=envelope, statement=statement, timings_s=stages.timings_s)


def compile_norm_for_key(card: UpdateCard, key: VerifyingKey) -> NormCircuit:
    """The circuit that the card describes; KeyMismatch when the key was made for another.

    Raises CircuitTooLarge, before anything is allocated, for one that this machine cannot hold.
    """
    require_norm(card.architecture, card.bounds, max_bytes=count_memory())
    norm = compile_norm(card.architecture, card.bounds)
    if norm.digest != key.circuit_digest:
        raise KeyMismatch(
            f"the key was made for another circuit than bounds on updates of "
            f"{card.architecture.name}"
        )
    return norm
