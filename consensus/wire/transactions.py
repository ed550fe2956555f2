"""What clients send, and the refusal of it: values and bytes, as in `consensus.wire.messages`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Union

from consensus.wire.codec import SIGNATURE_BYTES, Message, Signed, require_lengths, require_numbers
from prover.wire.envelope import MAX_ENVELOPE_BYTES

DIGEST_BYTES = 32
KEY_BYTES = 32
POINT_BYTES = 32
BLANK = bytes(SIGNATURE_BYTES)


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
    signature: bytes = BLANK

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
    signature: bytes = BLANK

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
    """A client's proof of accuracy, an envelope of `prover.wire.envelope` (not decoded here)."""

    KIND: ClassVar[int] = 3
    client_key: bytes
    learning_round: int
    envelope: bytes
    signature: bytes = BLANK

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
    signature: bytes = BLANK

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


def permit_bytes(genesis_digest: bytes, client_key: bytes) -> bytes:
    """What the admission key signs to let a client in."""
    return b"zkpot permit v1\x00" + genesis_digest + client_key


def decode_transaction(raw: bytes) -> SentTransaction | None:
    """A transaction of any kind that clients send; None for every other byte string."""
    for kind in (Register, Commit, Proof, Update):
        if raw[:1] == bytes((kind.KIND,)):
            return kind.decode(raw)
    return None
