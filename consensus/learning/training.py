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
from dataclasses import dataclass
from typing import TypeVar

from consensus.learning.samples import draw_indices
from consensus.wire.task_training import TrainingTerms
from kernels.encoding import encode_g1
from prover.errors import FormatError
from prover.training.commitments import MAX_RECIPE_BYTES, BatchCommitments, TrajectoryCommitments
from prover.training.draws import order_batches
from prover.wire.kinds import NUMBER_BYTES, POINT_BYTES
from prover.wire.records import Document, Record, encode_fields
from prover.wire.statement import Occasion
from prover.wire.training import (
    MAX_ROUND_STEPS,
    ExportEnvelope,
    ExportStatement,
    StepEnvelope,
    StepStatement,
    TrainingProofs,
)

MAX_BATCHES_BYTES = 1 << 18  # over 8,000 batches
MAX_TRAJECTORY_BYTES = MAX_RECIPE_BYTES + 64 * MAX_ROUND_STEPS
_ORDER = b"zkpot order of a client v1"
_DRAW = b"zkpot drawn steps v1"
D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRound:
    """What is drawn for a round, and where it starts: the same for all clients.

    start        : sha256 of the .zkq file of the public model
    masters      : D_M(0), compressed: its masters under the blinding 0
    order_beacon : drawn when no batch could be registered any more
    draw_beacon  : of this round, drawn when no trajectory could be committed to any more
    """

    start: bytes
    masters: bytes
    order_beacon: bytes
    draw_beacon: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingClaim:
    """What the chain has of a client, each before what is drawn from it.

    occasion   : of all its statements in this round
    batches    : sha256 of its file of committed batches
    trajectory : sha256 of its file of commitments to steps
    d_w        : commitment to its model, compressed
    """

    occasion: Occasion
    batches: bytes
    trajectory: bytes
    d_w: bytes


def draw_order(beacon: bytes, occasion: Occasion, *, n_batches: int, n_steps: int) -> list[int]:
    """Numbers of the batches that this client trains on in this round, step by step."""
    seed = _derive_seed(_ORDER, beacon, occasion)
    order: list[int] = order_batches(seed, n_batches=n_batches, n_steps=n_steps).tolist()
    return order


def draw_steps(beacon: bytes, occasion: Occasion, *, n_steps: int, n_drawn: int) -> list[int]:
    """Which steps this client proves in this round, ascending: n_drawn of n_steps."""
    seed = _derive_seed(_DRAW, beacon, occasion)
    drawn: list[int] = draw_indices(seed, n_steps, n_drawn).tolist()
    return drawn


def _derive_seed(domain: bytes, beacon: bytes, occasion: Occasion) -> bytes:
    number = occasion.round_index.to_bytes(NUMBER_BYTES, "little")
    return hashlib.sha256(encode_fields([domain, beacon, number, occasion.client_key])).digest()


def find_training_fault(
    terms: TrainingTerms,
    of_round: TrainingRound,
    claim: TrainingClaim,
    *,
    batches: bytes,
    trajectory: bytes,
    proofs: TrainingProofs,
) -> str | None:
    """What is wrong with a client's training but for the equations of its proofs, or None.

    batches, trajectory : the two files; any bytes
    """
    data = _read(BatchCommitments, batches, claim.batches, MAX_BATCHES_BYTES)
    if data is None:
        return "the committed batches are none, or not those that were registered"
    path = _read(TrajectoryCommitments, trajectory, claim.trajectory, MAX_TRAJECTORY_BYTES)
    if path is None:
        return "the trajectory is none, or not the one that was committed to"
    fault = _find_batches_fault(terms, data) or _find_path_fault(
        terms, of_round, claim, len(data.d), path
    )
    return fault or _find_proofs_fault(terms, of_round, claim, data, path, proofs)


def _read(kind: type[D], raw: bytes, digest: bytes, most: int) -> D | None:
    """The file of this digest; None for other bytes, and for more than a chain reads."""
    if len(raw) > most or hashlib.sha256(raw).digest() != digest:
        return None
    try:
        return kind.decode(raw)
    except FormatError:
        return None


def _find_batches_fault(terms: TrainingTerms, data: BatchCommitments) -> str | None:
    recipe = terms.recipe
    found = (data.n_in, data.n_classes, data.batch_size)
    if found != (recipe.widths[0], recipe.widths[-1], recipe.batch_size):
        return "the committed batches are of another shape than the recipe's"
    return None


def _find_path_fault(
    terms: TrainingTerms,
    of_round: TrainingRound,
    claim: TrainingClaim,
    n_batches: int,
    path: TrajectoryCommitments,
) -> str | None:
    """What the trajectory says of itself, and must say."""
    if path.recipe != terms.recipe.encode():
        return "the trajectory is of another recipe"
    if path.batches != claim.batches:
        return "the trajectory is on other batches"
    if path.start != of_round.start:
        return "the trajectory starts from another model"
    if len(path.d) != terms.n_steps:
        return f"the trajectory has {len(path.d)} steps, the task asks for {terms.n_steps}"
    order = draw_order(
        of_round.order_beacon, claim.occasion, n_batches=n_batches, n_steps=terms.n_steps
    )
    return None if path.numbers.tolist() == order else "the batches are in another order"


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
        of_round.draw_beacon, claim.occasion, n_steps=terms.n_steps, n_drawn=terms.n_drawn
    )
    if len(proofs.steps) != len(drawn):
        return f"{len(proofs.steps)} steps are proven, {len(drawn)} were drawn"
    masters = [of_round.masters, *_cut_points(encode_g1(path.d))]
    points = _cut_points(encode_g1(data.d))
    for t, raw in zip(drawn, proofs.steps, strict=True):
        envelope = StepEnvelope.decode(raw)
        if envelope is None:
            return f"step {t}: the envelope is malformed"
        number = int(path.numbers[t])
        is_last = number == len(points) - 1
        n_full = terms.recipe.batch_size
        expected = StepStatement(
            occasion=claim.occasion,
            verifying_key_digest=terms.step_key,
            step=t,
            n_real=min(envelope.statement.n_real, n_full) if is_last else n_full,
            before=masters[t],
            after=masters[t + 1],
            data=points[number],
        )
        name = _find_difference(envelope.statement, expected)
        if name is not None:
            return f"step {t}: {name} is another"
    return _find_export_fault(terms, claim, masters[-1], proofs.export)


def _find_export_fault(
    terms: TrainingTerms, claim: TrainingClaim, masters: bytes, raw: bytes
) -> str | None:
    envelope = ExportEnvelope.decode(raw)
    if envelope is None:
        return "export: the envelope is malformed"
    expected = ExportStatement(
        occasion=claim.occasion,
        verifying_key_digest=terms.export_key,
        masters=masters,
        model=claim.d_w,
    )
    name = _find_difference(envelope.statement, expected)
    return None if name is None else f"export: {name} is another"


def _find_difference(found: Record, expected: Record) -> str | None:
    """The first field in which two statements of one kind differ."""
    wanted = expected.list_values()
    return next((name for name, x in found.list_values().items() if x != wanted[name]), None)


def _cut_points(raw: bytes) -> list[bytes]:
    return [raw[at : at + POINT_BYTES] for at in range(0, len(raw), POINT_BYTES)]
