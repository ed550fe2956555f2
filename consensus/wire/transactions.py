"""What clients send, and the refusal of it: values and bytes, as in `consensus.wire.messages`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar, Union

from consensus.wire.addresses import MaybeAddress, MaybeAddressSignature
from consensus.wire.codec import (
    BLANK,
    KEY_BYTES,
    Message,
    PublicKey,
    Signature,
    Signed,
    ValidatorIndex,
)
from prover.wire.envelope import MAX_ENVELOPE_BYTES
from prover.wire.kinds import DIGEST_BYTES, POINT_BYTES, Bytes, Count, Digest, Number, PointBytes
from prover.wire.update import MAX_UPDATE_BYTES

ExchangeKey = Annotated[bytes, Bytes(KEY_BYTES)]
"""X25519, fresh for the learning round (`consensus.wire.exchange_keys`)."""
MaybeDigest = Annotated[bytes, Bytes(0, DIGEST_BYTES, step=DIGEST_BYTES)]
"""Of a blob, or empty where the task asks for none."""
MaybePoint = Annotated[bytes, Bytes(0, POINT_BYTES, step=POINT_BYTES)]
"""Compressed, or empty where the task asks for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Register(Signed):
    """A client joins the task.

    validator : the validator that proposes a block when this client is the leader
    permit    : Ed25519 of the task's admission key over `permit_bytes`
    batches   : digest of its committed batches, where the task asks for training; else empty
    address   : of the account that contracts pay, and whose votes are this client's; or empty
    address_signature : of that account over the client's key (`consensus.learning.binding`)
    """

    KIND: ClassVar[int] = 1
    client_key: PublicKey
    validator: ValidatorIndex
    permit: Signature
    batches: MaybeDigest = b""
    address: MaybeAddress = b""
    address_signature: MaybeAddressSignature = b""
    signature: Signature = BLANK


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit(Signed):
    """A client's model commitment of a learning round: D_W, compressed.

    mask_key   : from which it and each neighbour derive the mask that both of them know
    share_key  : under which its neighbours encrypt shares for it
    trajectory : digest of its commitments to all steps, where the task asks for training
    d_m        : the last of these, D_M(T), likewise; else both are empty
    """

    KIND: ClassVar[int] = 2
    client_key: PublicKey
    learning_round: Count
    d_w: PointBytes
    mask_key: ExchangeKey
    share_key: ExchangeKey
    trajectory: MaybeDigest = b""
    d_m: MaybePoint = b""
    signature: Signature = BLANK


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof(Signed):
    """A client's proof of accuracy, an envelope of `prover.wire.envelope` (not decoded here).

    deal     : digest of the blob with the shares of its secrets, encrypted for its neighbours
    norm     : an envelope of `prover.wire.update`, where the task asks for bounds; else empty
    training : digest of its proofs of training, where the task asks for them; else empty
    """

    KIND: ClassVar[int] = 3
    client_key: PublicKey
    learning_round: Count
    envelope: Annotated[bytes, Bytes(1, MAX_ENVELOPE_BYTES)]
    deal: Digest
    norm: Annotated[bytes, Bytes(0, MAX_UPDATE_BYTES)] = b""
    training: MaybeDigest = b""
    signature: Signature = BLANK


class RoundStep(IntEnum):
    """What a client contributes to the aggregate of a learning round, after its proof.

    MASK   : its model under masks
    UNMASK : shares of the secrets behind the masks
    ATTEST : where the sum does not open, commitments to its pairwise masks
    REVEAL : the seeds of those masks that have to be taken off, or in which two clients differ
    """

    MASK = 1
    UNMASK = 2
    ATTEST = 3
    REVEAL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution(Signed):
    """A client's part in the secure aggregation of a learning round, a blob by its digest."""

    KIND: ClassVar[int] = 6
    client_key: PublicKey
    learning_round: Count
    step: Annotated[int, Number(RoundStep.MASK, RoundStep.REVEAL)]
    payload: Digest
    signature: Signature = BLANK


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
SentTransaction = Union[Register, Commit, Proof, Contribution]  # noqa: UP007
Transaction = Union[Register, Commit, Proof, Contribution, Refusal]  # noqa: UP007


def permit_bytes(genesis_digest: bytes, client_key: bytes) -> bytes:
    """What the admission key signs to let a client in."""
    return b"zkpot permit v1\x00" + genesis_digest + client_key


def decode_transaction(raw: bytes) -> SentTransaction | None:
    """A transaction of any kind that clients send; None for every other byte string."""
    for kind in (Register, Commit, Proof, Contribution):
        if raw[:1] == bytes((kind.KIND,)):
            return kind.decode(raw)
    return None
