"""What a round asks of a client's training, and what is at fault with what it shows. Pure.

    before the first round   batches D_X,b by number; then a beacon draws orders
    before a round's beacon  the trajectory D_M(1), ..., D_M(T) and D_W; then it draws q of T steps
    with the proof           a proof of each drawn step, and of the export D_M(T) -> D_W

A client's order and its steps are functions of a beacon, the round and its key, so nobody draws
for itself; D_M(0) is that of the round's public model, under the blinding 0. With q = T each step
is proven, else a client that lies in f of its steps gets away with it with chance
C(T - f, q) / C(T, q). What is proven, and of what a proof without fault is, stands in PROTOCOL 4.6.

Pairings are the business of `prover.groth16.verify_training`: a client has trained when there is
no fault here and no verdict but VALID there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TypeVar

from consensus.learning.samples import draw_indices
from consensus.wire.task_training import TrainingTerms
from kernels.encoding import encode_g1
from prover.errors import FormatError
from prover.training.commitments import (
    MAX_RECIPE_BYTES,
    BatchCommitments,
    TrajectoryCommitments,
    expect_step,
)
from prover.training.draws import order_batches
from prover.wire.kinds import NUMBER_BYTES
from prover.wire.records import Document, Record, encode_fields
from prover.wire.statement import Occasion
from prover.wire.training import (
    MAX_ROUND_STEPS,
    ExportEnvelope,
    ExportStatement,
    StepEnvelope,
    TrainingProofs,
)

MAX_BATCHES_BYTES = 1 << 18
MAX_CLIENT_BATCHES = 8_000  # that these hold for sure
MAX_TRAJECTORY_BYTES = MAX_RECIPE_BYTES + 64 * MAX_ROUND_STEPS
_ORDER = b"zkpot order of a client v1"
_DRAW = b"zkpot drawn steps v1"
D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStart:
    """What is known when clients begin to train for a round: the same for all.

    start        : digest by which trajectories name what they start from: of the public model
    order_beacon : drawn when no batch could be registered any more
    """

    start: bytes
    order_beacon: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRound(TrainingStart):
    """What is known when they prove.

    masters     : D_M(0), compressed: masters of the start under the blinding 0
    draw_beacon : of this round, drawn when no trajectory could be committed to any more
    """

    masters: bytes
    draw_beacon: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCommit:
    """What a client commits to in a round, before steps are drawn.

    batches    : sha256 of its file of committed batches
    trajectory : sha256 of its file of commitments to steps
    d_m        : the last of these, D_M(T), compressed: what is summed
    """

    learning_round: int
    client_key: bytes
    batches: bytes
    trajectory: bytes
    d_m: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingClaim:
    """What its proofs are about.

    occasion : of all its statements in this round
    commit   : what the chain has of it
    d_w      : commitment to its model, compressed
    """

    occasion: Occasion
    commit: TrainingCommit
    d_w: bytes


def draw_order(
    beacon: bytes, learning_round: int, client_key: bytes, *, n_batches: int, n_steps: int
) -> list[int]:
    """Numbers of the batches that a client trains on in a round, step by step."""
    seed = _derive_seed(_ORDER, beacon, learning_round, client_key)
    order: list[int] = order_batches(seed, n_batches=n_batches, n_steps=n_steps).tolist()
    return order


def draw_steps(
    beacon: bytes, learning_round: int, client_key: bytes, *, n_steps: int, n_drawn: int
) -> list[int]:
    """Which steps a client proves in a round, ascending: n_drawn of n_steps."""
    seed = _derive_seed(_DRAW, beacon, learning_round, client_key)
    drawn: list[int] = draw_indices(seed, n_steps, n_drawn).tolist()
    return drawn


def _derive_seed(domain: bytes, beacon: bytes, learning_round: int, client_key: bytes) -> bytes:
    number = learning_round.to_bytes(NUMBER_BYTES, "little")
    return hashlib.sha256(encode_fields([domain, beacon, number, client_key])).digest()


# -- what is wrong ---------------------------------------------------------------------------------


def find_batches_fault(terms: TrainingTerms, raw: bytes) -> str | None:
    """What is wrong with the file of batches that a client registers; any bytes."""
    data = _read(BatchCommitments, raw, MAX_BATCHES_BYTES)
    if data is None:
        return "the committed batches are none"
    return _find_shape_fault(terms, data)


def find_path_fault(
    terms: TrainingTerms,
    start: TrainingStart,
    commit: TrainingCommit,
    *,
    batches: bytes,
    trajectory: bytes,
) -> str | None:
    """What is wrong with what a client commits to, or None.

    batches, trajectory : the two files; any bytes
    """
    files = _read_files(terms, commit, batches, trajectory)
    if isinstance(files, str):
        return files
    return _find_path_fault(terms, start, commit, *files)


def find_training_fault(
    terms: TrainingTerms,
    of_round: TrainingRound,
    claim: TrainingClaim,
    *,
    batches: bytes,
    trajectory: bytes,
    proofs: bytes,
) -> str | None:
    """What is wrong with a client's training but for the equations of its proofs, or None.

    batches, trajectory, proofs : the three files; any bytes
    """
    files = _read_files(terms, claim.commit, batches, trajectory)
    if isinstance(files, str):
        return files
    fault = _find_path_fault(terms, of_round, claim.commit, *files)
    if fault is not None:
        return fault
    shown = TrainingProofs.decode(proofs)
    if shown is None:
        return "the proofs are none"
    return _find_proofs_fault(terms, of_round, claim, *files, shown)


def _read_files(
    terms: TrainingTerms, commit: TrainingCommit, batches: bytes, trajectory: bytes
) -> tuple[BatchCommitments, TrajectoryCommitments] | str:
    """Both, or what is wrong with them by themselves."""
    data = _read(BatchCommitments, batches, MAX_BATCHES_BYTES, commit.batches)
    if data is None:
        return "the committed batches are none, or not those that were registered"
    path = _read(TrajectoryCommitments, trajectory, MAX_TRAJECTORY_BYTES, commit.trajectory)
    if path is None:
        return "the trajectory is none, or not the one that was committed to"
    return _find_shape_fault(terms, data) or (data, path)


def _read(kind: type[D], raw: bytes, most: int, digest: bytes | None = None) -> D | None:
    """The file; None for bytes of none, or of another digest, and for more than a chain reads."""
    if len(raw) > most or digest not in (None, hashlib.sha256(raw).digest()):
        return None
    try:
        return kind.decode(raw)
    except FormatError:
        return None


def _find_shape_fault(terms: TrainingTerms, data: BatchCommitments) -> str | None:
    if data.fits(terms.recipe):
        return None
    return "the committed batches are of another shape than the recipe's"


def _find_path_fault(
    terms: TrainingTerms,
    start: TrainingStart,
    commit: TrainingCommit,
    data: BatchCommitments,
    path: TrajectoryCommitments,
) -> str | None:
    """What the trajectory says of itself, and must say."""
    if path.recipe != terms.recipe.encode():
        return "the trajectory is of another recipe"
    if path.batches != commit.batches:
        return "the trajectory is on other batches"
    if path.start != start.start:
        return "the trajectory starts from another model"
    if len(path.d) != terms.n_steps:
        return f"the trajectory has {len(path.d)} steps, the task asks for {terms.n_steps}"
    order = draw_order(
        start.order_beacon,
        commit.learning_round,
        commit.client_key,
        n_batches=len(data.d),
        n_steps=terms.n_steps,
    )
    if path.numbers.tolist() != order:
        return "the batches are in another order"
    is_last = encode_g1(path.d[-1:]) == commit.d_m
    return None if is_last else "the trajectory ends at other masters than are committed to"


def _find_proofs_fault(
    terms: TrainingTerms,
    of_round: TrainingRound,
    claim: TrainingClaim,
    data: BatchCommitments,
    path: TrajectoryCommitments,
    proofs: TrainingProofs,
) -> str | None:
    """Each statement is the one that is asked for, and none is missing."""
    drawn = draw_steps(
        of_round.draw_beacon,
        claim.occasion.round_index,
        claim.occasion.client_key,
        n_steps=terms.n_steps,
        n_drawn=terms.n_drawn,
    )
    if len(proofs.steps) != len(drawn):
        return f"{len(proofs.steps)} steps are proven, {len(drawn)} were drawn"
    for t, raw in zip(drawn, proofs.steps, strict=True):
        envelope = StepEnvelope.decode(raw)
        if envelope is None:
            return f"step {t}: the envelope is malformed"
        found = envelope.statement
        expected = expect_step(found, t, path=path, data=data, start=of_round.masters)
        name = _find_difference(
            found,
            replace(expected, occasion=claim.occasion, verifying_key_digest=terms.step_key),
        )
        if name is not None:
            return f"step {t}: {name} is another"
    return _find_export_fault(terms, claim, proofs.export)


def _find_export_fault(terms: TrainingTerms, claim: TrainingClaim, raw: bytes) -> str | None:
    envelope = ExportEnvelope.decode(raw)
    if envelope is None:
        return "export: the envelope is malformed"
    expected = ExportStatement(
        occasion=claim.occasion,
        verifying_key_digest=terms.export_key,
        masters=claim.commit.d_m,
        model=claim.d_w,
    )
    name = _find_difference(envelope.statement, expected)
    return None if name is None else f"export: {name} is another"


def _find_difference(found: Record, expected: Record) -> str | None:
    """The first field in which two statements of one kind differ."""
    wanted = expected.list_values()
    return next((name for name, x in found.list_values().items() if x != wanted[name]), None)
