"""A small accuracy circuit with its key, jobs about it, and a prover of any assignment given."""

from __future__ import annotations

from functools import cache
from itertools import count

from kernels.backend import Backend, get_backend
from prover.circuit.constraints import Group
from prover.circuit.public_inputs import ShardInputs
from prover.groth16.commitment import Opening, commit_advice, link_groups
from prover.groth16.prove import compute_points
from prover.groth16.setup import setup_accuracy
from prover.groth16.transcript import compute_challenges
from prover.keys.halves import ProvingKey
from prover.model.network import QuantizedModel
from prover.pedersen.commitment import Committer, ModelCommitment, draw_blinding
from prover.pipeline import ProvedJob, build_statement, commit_job, prove_job
from prover.progress import StageProgress, silent
from prover.randomness import draw_scalar
from prover.wire.envelope import Envelope, Proof, encode_committed
from prover.wire.statement import Occasion
from tests.support.assignments import Assignment
from tests.support.forgeries import Scene
from tests.support.tiny_circuits import seeded

OCCASION = Occasion(
    chain_id=b"chain", task_id=b"task", round_index=1, commit_height=2, client_key=b"client"
)


@cache
def scene() -> Scene:
    return Scene.of()


def backend() -> Backend:
    return get_backend("cpu")


@cache
def accuracy_key() -> ProvingKey:
    return setup_accuracy(scene().accuracy, random_bytes=seeded(71), backend=backend())


@cache
def committer() -> Committer:
    return Committer(scene().model.architecture.n_parameters, backend())


def shard_inputs() -> ShardInputs:
    s = scene()
    return ShardInputs.of(s.accuracy.public_layout, s.images, s.labels)


def run_job(
    *,
    key: ProvingKey | None = None,
    device: Backend | None = None,
    seed: int = 1,
    model: QuantizedModel | None = None,
    committed: QuantizedModel | None = None,
    inputs: ShardInputs | None = None,
    claimed: int | None = None,
    shard_index: int = 0,
    progress: StageProgress = silent,
) -> ProvedJob:
    """A job about the scene, committed and proven; by default with the scene's key on the CPU."""
    s, source = scene(), seeded(seed)
    key, device = key or accuracy_key(), device or backend()
    inputs = inputs or shard_inputs()
    blinding = draw_blinding(source)
    commitment = commit_job(committed or s.model, blinding, committer())
    ticks = count()
    return prove_job(
        s.accuracy,
        key,
        model or s.model,
        images=inputs.images,
        labels=inputs.labels,
        occasion=OCCASION,
        shard_index=shard_index,
        commitment=commitment,
        blinding=blinding,
        claimed=claimed,
        random_bytes=source,
        backend=device,
        clock=lambda: float(next(ticks)),
        progress=progress,
    )


def prove_assignment(
    assignment: Assignment,
    *,
    claimed: int,
    seed: int,
    about: tuple[Scene, ProvingKey] | None = None,
) -> bytes:
    """An envelope for committed wires that may be a lie: everything else is done by the book.

    about : by default the scene and its key
    """
    s, key = about or (scene(), accuracy_key())
    source = seeded(seed)
    blinding, rho_a = draw_blinding(source), draw_scalar(source)
    wires = assignment.scalars(Group.LINKED)
    commit = committer() if about is None else Committer(len(wires), backend())
    commitment = ModelCommitment(d=commit.commit(wires, blinding.rho))
    inputs = ShardInputs.of(s.accuracy.public_layout, s.images, s.labels)
    opening = Opening(wires=wires, rho=blinding.rho)
    linked = link_groups(key, [opening], draw_scalar(source), backend())
    d_a = commit_advice(key, assignment.scalars(Group.ADVICE), rho_a, backend())
    statement = build_statement(
        s.accuracy, key, inputs, OCCASION, commitment, shard_index=0, claimed=claimed
    )
    challenges = compute_challenges(
        statement.encode(),
        committed=encode_committed(own=linked.own, link=linked.link, d_a=d_a),
        n_challenges=s.accuracy.n_challenges,
    )
    s.publish(assignment, claimed, challenges)
    points = compute_points(
        key,
        s.accuracy.r1cs,
        assignment.complete(backend()),
        blindings=linked.blindings,
        rho_a=rho_a,
        random_bytes=source,
        backend=backend(),
    )
    proof = Proof(a=points.a, b=points.b, c=points.c, own=linked.own, link=linked.link, d_a=d_a)
    return Envelope(statement=statement, proof=proof.encode()).encode()
