"""What nodes and clients send: transactions, votes, proposals, blocks. Values and bytes, no rules.

    transactions   Register  Commit  Proof  Contribution       signed by a client
                   Refusal of a proof that does not verify     made by whoever proposes a block
    votes          Proposal  Prevote/Precommit (Vote)           signed by a validator
                   BeaconShare        Receipt                  signed by a validator
    final          Block  QuorumCertificate (of Precommits)  FinalBlock

A signature covers the class, the genesis digest and every field (`codec.Signed`), so no message can
be replayed as another, or on another chain, of the same name or not. Validators are named by their
index in genesis. Numbers are non-negative; heights start at 1, rounds at 0. Digests are sha256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar, Self

from consensus.wire.codec import (
    BLANK,
    MAX_TRANSACTIONS,
    MAX_VALIDATORS,
    Height,
    Message,
    Signature,
    Signed,
    ValidatorIndex,
)
from consensus.wire.outcomes import Aggregate
from consensus.wire.transactions import Transaction
from prover.errors import FieldInvalid
from prover.wire.kinds import (
    DIGEST_BYTES,
    POINT_BYTES,
    Bytes,
    Count,
    Digest,
    Listed,
    Number,
    PointBytes,
)

MAX_BLOCK_BYTES = 1 << 21
ROOM_BYTES = MAX_BLOCK_BYTES - (1 << 18)
"""Of a block for transactions; the rest is for the header: certificate (32 KiB at most) and
evidence (against every validator 100 KiB). A block with an aggregate holds no transactions."""
MAX_TRANSACTION_BYTES = Message.MAX_BYTES
NIL = b""
"""What a vote for no block names."""


class Step(IntEnum):
    """A step of a Tendermint round; the first two of a vote's kinds."""

    PROPOSE = 0
    PREVOTE = 1
    PRECOMMIT = 2


BlockName = Annotated[bytes, Bytes(0, DIGEST_BYTES, step=DIGEST_BYTES)]
"""A block's hash, or NIL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote(Signed):
    """A prevote or precommit for a block, or for none (`block_hash` = NIL).

    time_ms : of a precommit, its validator's clock when it signed, since 1970; of a prevote 0
    """

    KIND: ClassVar[int] = 10
    step: Annotated[int, Number(Step.PREVOTE, Step.PRECOMMIT)]
    height: Count
    round: Count
    block_hash: BlockName
    time_ms: Count = 0
    validator: ValidatorIndex
    signature: Signature = BLANK

    def check_whole(self) -> None:
        timely = self.step == Step.PRECOMMIT or self.time_ms == 0
        self.require(timely, "a prevote has no time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(Message):
    """Two different votes of one validator for one height, round and step."""

    KIND: ClassVar[int] = 11
    first: Vote
    second: Vote

    def check_whole(self) -> None:
        a, b = self.first, self.second
        same = (a.validator, a.height, a.round, a.step) == (b.validator, b.height, b.round, b.step)
        self.require(
            same and a.block_hash < b.block_hash, "two votes that do not contradict in order"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Precommit(Message):
    """What a certificate keeps of a vote; height, round and block are those of all its votes."""

    KIND: ClassVar[int] = 22
    validator: ValidatorIndex
    time_ms: Count
    signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumCertificate(Message):
    """2f+1 or more precommits for one block. precommits : by ascending validator"""

    KIND: ClassVar[int] = 18
    MAX_BYTES: ClassVar[int] = MAX_VALIDATORS * 128
    height: Count
    round: Count
    block_hash: Digest
    precommits: Annotated[tuple[Precommit, ...], Listed(1, MAX_VALIDATORS)]

    def check_whole(self) -> None:
        names = [p.validator for p in self.precommits]
        self.require(names == sorted(set(names)), "precommits are not by ascending validator")

    @classmethod
    def of(cls, votes: Iterable[Vote]) -> Self:
        """The certificate of precommits for one block. Raises FieldInvalid when they are anything
        else.
        """
        by_validator = sorted(votes, key=lambda vote: vote.validator)
        places = {(v.step, v.height, v.round, v.block_hash) for v in by_validator}
        if len(places) != 1:
            raise FieldInvalid("the votes are not for one block")
        step, height, number, block_hash = places.pop()
        if step != Step.PRECOMMIT:
            raise FieldInvalid("the votes are no precommits")
        return cls(
            height=height,
            round=number,
            block_hash=block_hash,
            precommits=tuple(
                Precommit(validator=v.validator, time_ms=v.time_ms, signature=v.signature)
                for v in by_validator
            ),
        )

    @property
    def votes(self) -> tuple[Vote, ...]:
        """The precommits as they were signed, by ascending validator."""
        return tuple(
            Vote(
                step=int(Step.PRECOMMIT),
                height=self.height,
                round=self.round,
                block_hash=self.block_hash,
                time_ms=p.time_ms,
                validator=p.validator,
                signature=p.signature,
            )
            for p in self.precommits
        )

    @property
    def time_ms(self) -> int:
        """The median of its times, the lower of two.

        Among 2f + 1 or more with f false ones at most, it lies between two times of correct
        validators: fewer than half can be false, so at least one correct one is on either side.
        """
        times = sorted(p.time_ms for p in self.precommits)
        return times[(len(times) - 1) // 2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block(Message):
    """What one height adds to the chain.

    parent      : hash of the block before, or the genesis digest
    certificate : of the parent; absent at height 1. It gives the block its time (`chain.apply`)
                  and says in which round the parent was decided, and who was there
    proposer    : validator that made the block (in whatever round)
    state_root  : digest of the chain's state before this block, by the proposer's reckoning
    beacon      : the threshold signature due at this height, 32 bytes; else empty
    aggregate   : what the learning round comes to, due at this height; else no element
    """

    KIND: ClassVar[int] = 14
    MAX_BYTES: ClassVar[int] = MAX_BLOCK_BYTES
    height: Height
    parent: Digest
    certificate: Annotated[tuple[QuorumCertificate, ...], Listed(0, 1)]
    proposer: ValidatorIndex
    state_root: Digest
    beacon: Annotated[bytes, Bytes(0, POINT_BYTES, step=POINT_BYTES)]
    transactions: Annotated[tuple[Transaction, ...], Listed(0, MAX_TRANSACTIONS)]
    evidence: Annotated[tuple[Evidence, ...], Listed(0, MAX_VALIDATORS)]
    aggregate: Annotated[tuple[Aggregate, ...], Listed(0, 1)]

    @property
    def hash(self) -> bytes:
        """What votes name: sha256 over the class and the canonical bytes."""
        return _hash_block(self.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal(Signed):
    """A proposer's block for a round: its own, or one that had 2f+1 prevotes, whoever made it.

    So no final block names a proposer that did not make it: f + 1 correct validators prevoted it
    when it was new.

    valid_round : 1 + the round in which the block had 2f+1 prevotes, 0 for none (the paper's -1)
    """

    KIND: ClassVar[int] = 15
    MAX_BYTES: ClassVar[int] = MAX_BLOCK_BYTES + 1024
    height: Count
    round: Count
    valid_round: Count
    block: Block
    validator: ValidatorIndex
    signature: Signature = BLANK

    def check_whole(self) -> None:
        self.require(self.height == self.block.height, "the block is of another height")
        self.require(self.valid_round <= self.round, "valid_round is not an earlier round")
        own = self.block.proposer == self.validator
        self.require(own or self.valid_round > 0, "a new block is not its proposer's")


@dataclass(frozen=True, slots=True, kw_only=True)
class BeaconShare(Signed):
    """A validator's BLS share over the message of the beacon that is due; compressed G1 point.

    Signed, so that nobody else can take its place, or have a pairing computed for nothing.

    commit_height : of the block whose phase the beacon follows: COMMIT, or before the first round
                    REGISTER
    """

    KIND: ClassVar[int] = 16
    MAX_BYTES: ClassVar[int] = 256
    learning_round: Count
    commit_height: Count
    validator: ValidatorIndex
    share: PointBytes
    signature: Signature = BLANK


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Signed):
    """A validator has a valid transaction of this digest, in time for its phase.

    learning_round : under way
    """

    KIND: ClassVar[int] = 17
    learning_round: Count
    transaction_digest: Digest
    validator: ValidatorIndex
    signature: Signature = BLANK


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalBlock(Message):
    """A block with its certificate: what a node that was away, or a light client, reads."""

    KIND: ClassVar[int] = 19
    MAX_BYTES: ClassVar[int] = MAX_BLOCK_BYTES + QuorumCertificate.MAX_BYTES + 1024
    block: Block
    certificate: QuorumCertificate

    def check_whole(self) -> None:
        c = self.certificate
        self.require(
            c.height == self.block.height and c.block_hash == self.block.hash,
            "the certificate is for another block",
        )

    @classmethod
    def read_certificate(cls, raw: bytes) -> QuorumCertificate | None:
        """The certificate in such bytes if it is for the block in them, which is not decoded."""
        fields = cls.split(raw)
        certificate = QuorumCertificate.decode(fields["certificate"]) if fields else None
        if fields is None or certificate is None:
            return None
        return certificate if certificate.block_hash == _hash_block(fields["block"]) else None


def _hash_block(raw: bytes) -> bytes:
    return hashlib.sha256(b"zkpot block v1\x00" + raw).digest()


def count_bytes(transactions: Sequence[Transaction]) -> int:
    """How much of ROOM_BYTES these take."""
    return sum(len(tx.encode()) + _OVERHEAD_BYTES for tx in transactions)


_OVERHEAD_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRequest(Message):
    """A node that lacks the final blocks from this height on asks whoever has them. Unsigned."""

    KIND: ClassVar[int] = 20
    height: Height
