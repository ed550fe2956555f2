"""What nodes and clients send: transactions, votes, proposals, blocks. Values and bytes, no rules.

    transactions   Register  Commit  Proof  Update             signed by a client
                   Refusal of a proof that does not verify     made by whoever proposes a block
    votes          Proposal  Prevote/Precommit (Vote)           signed by a validator
    shares         BeaconShare (a BLS share, checked by itself)  Receipt (signed by a validator)
    final          Block  QuorumCertificate  FinalBlock

A signature covers the class, the genesis digest and every field (`codec.Signed`), so no message can
be replayed as another, or on another chain, of the same name or not. Validators are named by their
index in genesis. Numbers are non-negative; heights start at 1, rounds at 0. Digests are sha256.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Union

from consensus.codec import (
    SIGNATURE_BYTES,
    Message,
    Signed,
    require,
    require_lengths,
    require_numbers,
)
from prover.wire import MAX_ENVELOPE_BYTES

DIGEST_BYTES = 32
KEY_BYTES = 32
POINT_BYTES = 32
MAX_VALIDATORS = 256
MAX_TRANSACTIONS = 1024  # of one block
MAX_BLOCK_BYTES = 1 << 21
NIL = b""
"""What a vote for no block names."""
_BLANK = bytes(SIGNATURE_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Register(Signed):
    """A client joins the task.

    validator : the validator that proposes a block when this client is the leader
    permit    : Ed25519 of the task's admission key over `permit_bytes`
    """

    KIND: ClassVar[int] = 1
    client_key: bytes
    validator: int
    permit: bytes
    signature: bytes = _BLANK

    def __post_init__(self) -> None:
        require_numbers(self)
        require_lengths(
            self, client_key=KEY_BYTES, permit=SIGNATURE_BYTES, signature=SIGNATURE_BYTES
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit(Signed):
    """A client's model commitment of a learning round: D_W and PoK_W, compressed."""

    KIND: ClassVar[int] = 2
    client_key: bytes
    learning_round: int
    d_w: bytes
    pok_w: bytes
    signature: bytes = _BLANK

    def __post_init__(self) -> None:
        require_numbers(self)
        require_lengths(
            self,
            client_key=KEY_BYTES,
            d_w=POINT_BYTES,
            pok_w=POINT_BYTES,
            signature=SIGNATURE_BYTES,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof(Signed):
    """A client's proof of accuracy, an envelope of `prover.wire` (not decoded here)."""

    KIND: ClassVar[int] = 3
    client_key: bytes
    learning_round: int
    envelope: bytes
    signature: bytes = _BLANK

    def __post_init__(self) -> None:
        require_numbers(self)
        require_lengths(
            self,
            client_key=KEY_BYTES,
            envelope=(1, MAX_ENVELOPE_BYTES),
            signature=SIGNATURE_BYTES,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(Signed):
    """A client opens its commitment: the model's bytes by digest, and rho_W (32 bytes)."""

    KIND: ClassVar[int] = 4
    client_key: bytes
    learning_round: int
    model_digest: bytes
    rho: bytes
    signature: bytes = _BLANK

    def __post_init__(self) -> None:
        require_numbers(self)
        require_lengths(
            self,
            client_key=KEY_BYTES,
            model_digest=DIGEST_BYTES,
            rho=32,
            signature=SIGNATURE_BYTES,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(Message):
    """A client's proof that does not verify, on record; its client is waited for no more.

    A proposer makes it for its block: everyone can check that the proof is none, and nobody but the
    client could have signed it.
    """

    KIND: ClassVar[int] = 5
    proof: Proof

    @property
    def client_key(self) -> bytes:
        return self.proof.client_key

    @property
    def learning_round(self) -> int:
        return self.proof.learning_round


# Unions of this form, since their parts are read at run time.
SentTransaction = Union[Register, Commit, Proof, Update]  # noqa: UP007
Transaction = Union[Register, Commit, Proof, Update, Refusal]  # noqa: UP007


class Step(IntEnum):
    """Of a Tendermint round; the first two of a vote's kinds."""

    PROPOSE = 0
    PREVOTE = 1
    PRECOMMIT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote(Signed):
    """A prevote or precommit for a block, or for none (`block_hash` = NIL)."""

    KIND: ClassVar[int] = 10
    step: int
    height: int
    round: int
    block_hash: bytes
    validator: int
    signature: bytes = _BLANK

    def __post_init__(self) -> None:
        require_numbers(self)
        require(self.step in (Step.PREVOTE, Step.PRECOMMIT), "step is no vote")
        require(len(self.block_hash) in (0, DIGEST_BYTES), "block_hash has a wrong length")
        require(self.validator < MAX_VALIDATORS, "validator is out of range")
        require_lengths(self, signature=SIGNATURE_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(Message):
    """Two different votes of one validator for one height, round and step."""

    KIND: ClassVar[int] = 11
    first: Vote
    second: Vote

    def __post_init__(self) -> None:
        a, b = self.first, self.second
        same = (a.validator, a.height, a.round, a.step) == (b.validator, b.height, b.round, b.step)
        require(same and a.block_hash < b.block_hash, "two votes that do not contradict in order")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Message):
    """A client's part in the global model of a round. weight : positive"""

    KIND: ClassVar[int] = 12
    client_key: bytes
    weight: int

    def __post_init__(self) -> None:
        require_numbers(self)
        require_lengths(self, client_key=KEY_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate(Message):
    """The global model that a learning round ends with, and who entered it with what weight."""

    KIND: ClassVar[int] = 13
    MAX_BYTES: ClassVar[int] = 1 << 16  # MAX_TRANSACTIONS entries of 54 bytes, and the rest
    learning_round: int
    model_digest: bytes
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        require_numbers(self)
        require_lengths(self, model_digest=DIGEST_BYTES, entries=(0, MAX_TRANSACTIONS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Block(Message):
    """What one height adds to the chain.

    parent     : hash of the block before, or the genesis digest
    proposer   : validator that made the block (in whatever round)
    state_root : digest of the chain's state before this block, by the proposer's reckoning
    beacon     : the threshold signature due at this height, 32 bytes; else empty
    aggregate  : the global model due at this height; else no element
    """

    KIND: ClassVar[int] = 14
    MAX_BYTES: ClassVar[int] = MAX_BLOCK_BYTES
    height: int
    parent: bytes
    proposer: int
    state_root: bytes
    beacon: bytes
    transactions: tuple[Transaction, ...]
    evidence: tuple[Evidence, ...]
    aggregate: tuple[Aggregate, ...]

    def __post_init__(self) -> None:
        require_numbers(self)
        require(self.height >= 1, "height starts at 1")
        require(len(self.beacon) in (0, POINT_BYTES), "beacon has a wrong length")
        require_lengths(
            self,
            parent=DIGEST_BYTES,
            state_root=DIGEST_BYTES,
            transactions=(0, MAX_TRANSACTIONS),
            evidence=(0, MAX_VALIDATORS),
            aggregate=(0, 1),
        )

    @property
    def hash(self) -> bytes:
        """What votes name: sha256 over the class and the canonical bytes."""
        return hashlib.sha256(b"zkpot block v1\x00" + self.encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal(Signed):
    """A proposer's block for a round.

    valid_round : 1 + the round in which the block had 2f+1 prevotes, 0 for none (the paper's -1)
    """

    KIND: ClassVar[int] = 15
    MAX_BYTES: ClassVar[int] = MAX_BLOCK_BYTES + 1024
    height: int
    round: int
    valid_round: int
    block: Block
    validator: int
    signature: bytes = _BLANK

    def __post_init__(self) -> None:
        require_numbers(self)
        require(self.height == self.block.height, "the block is of another height")
        require(self.valid_round <= self.round, "valid_round is not an earlier round")
        require(self.validator < MAX_VALIDATORS, "validator is out of range")
        require_lengths(self, signature=SIGNATURE_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeaconShare(Message):
    """A validator's BLS share over the beacon message of a learning round; compressed G1 point."""

    KIND: ClassVar[int] = 16
    learning_round: int
    commit_height: int
    validator: int
    share: bytes

    def __post_init__(self) -> None:
        require_numbers(self)
        require(self.validator < MAX_VALIDATORS, "validator is out of range")
        require_lengths(self, share=POINT_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Signed):
    """A validator has a valid proof of this statement, in time for its learning round.

    transaction_digest : of the `Proof` transaction
    """

    KIND: ClassVar[int] = 17
    learning_round: int
    transaction_digest: bytes
    validator: int
    signature: bytes = _BLANK

    def __post_init__(self) -> None:
        require_numbers(self)
        require(self.validator < MAX_VALIDATORS, "validator is out of range")
        require_lengths(self, transaction_digest=DIGEST_BYTES, signature=SIGNATURE_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumCertificate(Message):
    """2f+1 precommits for one block. votes : by ascending validator"""

    KIND: ClassVar[int] = 18
    MAX_BYTES: ClassVar[int] = MAX_VALIDATORS * 256
    height: int
    round: int
    block_hash: bytes
    votes: tuple[Vote, ...]

    def __post_init__(self) -> None:
        require_numbers(self)
        require_lengths(self, block_hash=DIGEST_BYTES, votes=(1, MAX_VALIDATORS))
        names = [vote.validator for vote in self.votes]
        require(names == sorted(set(names)), "votes are not by ascending validator")
        expected = (Step.PRECOMMIT, self.height, self.round, self.block_hash)
        for v in self.votes:
            require((v.step, v.height, v.round, v.block_hash) == expected, "a vote is for another")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalBlock(Message):
    """A block with its certificate: what a node that was away, or a light client, reads."""

    KIND: ClassVar[int] = 19
    MAX_BYTES: ClassVar[int] = MAX_BLOCK_BYTES + MAX_VALIDATORS * 256 + 1024
    block: Block
    certificate: QuorumCertificate

    def __post_init__(self) -> None:
        c = self.certificate
        require(
            c.height == self.block.height and c.block_hash == self.block.hash,
            "the certificate is for another block",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRequest(Message):
    """A node that lacks the final blocks from this height on asks whoever has them. Unsigned."""

    KIND: ClassVar[int] = 20
    height: int

    def __post_init__(self) -> None:
        require_numbers(self)
        require(self.height >= 1, "height starts at 1")


def permit_bytes(genesis_digest: bytes, client_key: bytes) -> bytes:
    """What the admission key signs to let a client in."""
    return b"zkpot permit v1\x00" + genesis_digest + client_key


def decode_transaction(raw: bytes) -> SentTransaction | None:
    """A transaction of any kind that clients send; None for every other byte string."""
    for kind in (Register, Commit, Proof, Update):
        if raw[:1] == bytes((kind.KIND,)):
            return kind.decode(raw)
    return None
