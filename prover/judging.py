"""What `verify` decides: a file of one envelope or a container of shards, against given samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernels.array import FrArray
from kernels.numpy_types import UInt8Array
from prover.circuit.public_inputs import PublicLayout, ShardInputs
from prover.groth16.verify import verify_all
from prover.keys.halves import VerifyingKey
from prover.randomness import RandomBytes
from prover.shards import MAGIC as CONTAINER_MAGIC
from prover.shards import MAX_CONTAINER_BYTES, Container, count_shards, find_fault, split_range
from prover.wire.envelope import Envelope
from prover.wire.statement import Statement
from prover.wire.verdict import Verdict
from prover.wire.wording import find_difference

REASONS = {
    Verdict.MALFORMED: "the file is no proof of this version; fetch it again",
    Verdict.NOT_ON_CURVE: "a point of the proof is not on its curve",
    Verdict.WRONG_SUBGROUP: "a point of the proof has the wrong order",
    Verdict.WRONG_KEY: "the proof was made under another key; give the folder of that key",
    Verdict.WRONG_STATEMENT: "the proof contradicts its own statement",
    Verdict.PAIRING_FAILED: "the proof does not hold for its statement",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a proof counts for nothing: a stable code, and a sentence for people."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """What a valid file proves: its statements, in the order of their shard index."""

    statements: tuple[Statement, ...]

    @property
    def n_correct(self) -> int:
        return sum(s.claimed_correct for s in self.statements)

    @property
    def n_samples(self) -> int:
        return sum(s.n_real for s in self.statements)


def read_proof(path: Path) -> bytes:
    """The file, or its beginning when it is longer than any proof. Raises OSError."""
    with path.open("rb") as stream:
        return stream.read(MAX_CONTAINER_BYTES + 1)


def list_models(raw: bytes) -> set[bytes] | None:
    """The model commitments that the envelopes of any bytes name; None for bytes that are no proof.

    Nothing is verified.
    """
    raws = _split(raw, is_container=raw.startswith(CONTAINER_MAGIC))
    envelopes = [Envelope.decode(one) for one in raws]
    found = {e.statement.commitments[0] for e in envelopes if e is not None}
    return found if raws and None not in envelopes else None


def judge_file(
    raw: bytes,
    *,
    key: VerifyingKey,
    layout: PublicLayout,
    images: UInt8Array,
    labels: UInt8Array,
    expected: dict[str, Any],
    random_bytes: RandomBytes,
) -> Proven | Refusal:
    """The verdict on any bytes. A container is valid when all its shards are: one product of
    pairings tells, and the first false one is named for less than that again.

    images, labels : all samples that the file should be about; a container's shards are cut here
    expected       : fields of the statement that must be as given; others are only reported
    raises         : ShapeMismatch when the samples do not fit the key
    """
    is_container = raw.startswith(CONTAINER_MAGIC)
    raws = _split(raw, is_container=is_container)
    envelopes = [Envelope.decode(one) for one in raws]
    statements = tuple(e.statement for e in envelopes if e is not None)
    if not raws or len(statements) < len(raws):
        return _refuse(Verdict.MALFORMED)
    for statement in statements:
        if statement.verifying_key_digest != key.digest:
            return _refuse(Verdict.WRONG_KEY)
        difference = find_difference(statement, expected)
        if difference is not None:
            return _refuse(Verdict.WRONG_STATEMENT, difference)
    n_shards = count_shards(len(labels), layout.n_samples)
    if not is_container and n_shards != 1:
        return _refuse(
            Verdict.WRONG_STATEMENT,
            f"the proof is about {statements[0].n_real} samples, {len(labels)} are given",
        )
    fault = find_fault(statements, n_shards) if is_container else None
    if fault is not None:
        return Refusal(
            code="shards_incomplete",
            reason=f"{fault}; give the whole dataset, or prove all its shards",
        )
    cuts = split_range(len(labels), layout.n_samples)  # no more than there are proofs
    shards = [ShardInputs.of(layout, images[cut], labels[cut]) for cut in cuts]
    return _judge_shards(raws, statements, shards, key=key, random_bytes=random_bytes)


def _judge_shards(
    raws: Sequence[bytes],
    statements: tuple[Statement, ...],
    shards: Sequence[ShardInputs],
    *,
    key: VerifyingKey,
    random_bytes: RandomBytes,
) -> Proven | Refusal:
    """Envelope i against shard i."""
    for index, (statement, shard) in enumerate(zip(statements, shards, strict=True)):
        other = _find_other_data(statement, shard)
        if other is not None:
            return _refuse(Verdict.WRONG_STATEMENT, _place(index, len(shards)) + other)
    # A single envelope may be any shard of a greater set: it is judged by the samples given.
    places = {s.shard_index: shard for s, shard in zip(statements, shards, strict=True)}

    def public_inputs(statement: Statement, challenges: list[int]) -> FrArray | None:
        return places[statement.shard_index](statement, challenges)

    verdict, at = verify_all(raws, key=key, public_inputs=public_inputs, random_bytes=random_bytes)
    if verdict is not Verdict.VALID:
        return _refuse(verdict, _place(at, len(raws)) + REASONS[verdict])
    return Proven(statements=statements)


def _split(raw: bytes, *, is_container: bool) -> Sequence[bytes]:
    if not is_container:
        return (raw,)
    container = Container.decode(raw)
    return () if container is None else container.envelopes


def _find_other_data(statement: Statement, shard: ShardInputs) -> str | None:
    """In what a statement is not about this shard, in words; else None."""
    if statement.n_real != len(shard.labels):
        return f"the proof is about {statement.n_real} samples, {len(shard.labels)} are given"
    if statement.dataset_digest != shard.digest:
        return "the proof is about other samples or labels than those given"
    if statement.multipliers != shard.layout.architecture.multipliers:
        return "the proof uses other multipliers than the key's task"
    return None


def _place(index: int | None, n_shards: int) -> str:
    """Which shard a reason is about, as its beginning."""
    return "" if n_shards == 1 else f"shard {index}: "


def _refuse(verdict: Verdict, reason: str | None = None) -> Refusal:
    return Refusal(code=verdict.value, reason=reason or REASONS[verdict])
