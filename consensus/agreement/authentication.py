"""Where a message is from: a validator of the genesis signed it, or 2f + 1 of them did.

It stands between the transport, which anyone can write to, and `consensus.agreement`: megabytes of
anybody are not decoded before their signature holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from consensus.agreement.votes import quorum
from consensus.wire import signatures
from consensus.wire.codec import Message, Signed
from consensus.wire.finality import FinalityShare
from consensus.wire.genesis import Genesis
from consensus.wire.gossip_messages import BlobPart, BlobRequest, Holdings
from consensus.wire.messages import (
    BeaconShare,
    BlockRequest,
    FinalBlock,
    Proposal,
    QuorumCertificate,
    Receipt,
    Vote,
)

S = TypeVar("S", bound=Signed)

Check = Callable[[Signed, int], bool]
"""Whether a message is signed by the validator of this index, below n."""


def authenticate(message: Message, genesis: Genesis) -> str | None:
    """What is wrong with the origin of a message, or None: then the state machine may have it.

    Vote, Proposal, Receipt, Holdings, BeaconShare, FinalityShare, BlobPart: signed by a validator.
    QuorumCertificate, FinalBlock: 2f + 1 distinct validators signed. Any other kind proves its
    origin by other means and is a fault here.
    """

    def is_signed(signed: Signed, validator: int) -> bool:
        key = genesis.validators[validator].key
        return signatures.is_signed(signed, key, genesis.digest)

    return find_origin_fault(message, genesis.n_validators, is_signed)


_SIGNED: dict[int, type[Signed]] = {
    kind.KIND: kind for kind in (Vote, Proposal, Receipt, Holdings, BeaconShare, FinalityShare)
}
_UNSIGNED: dict[int, type[Message]] = {kind.KIND: kind for kind in (BlockRequest, BlobRequest)}


def decode_message(raw: bytes, genesis: Genesis) -> Message | None:
    """What nodes tell each other of a height: signed by its validator, or in need of no signature.

    Those are Vote, Proposal, Receipt, Holdings, BeaconShare, FinalityShare; and BlockRequest,
    BlobRequest.
    """
    kind = raw[0] if raw else 0
    if kind in _SIGNED:
        return decode_signed(_SIGNED[kind], raw, genesis)
    return _UNSIGNED[kind].decode(raw) if kind in _UNSIGNED else None


def decode_signed(kind: type[S], raw: bytes, genesis: Genesis) -> S | None:
    """A message that has passed `authenticate`; None for all other bytes, most of them undecoded.

    kind : one of those that `authenticate` says are signed by a validator, which they name
    """
    fields = kind.split(raw)
    if fields is None:
        return None
    validator = int.from_bytes(fields["validator"], "little")
    if validator >= genesis.n_validators:
        return None
    message = kind.make_sign_bytes(raw, genesis.digest)
    key = genesis.validators[validator].key
    return kind.decode(raw) if signatures.is_valid(key, fields["signature"], message) else None


def find_origin_fault(message: Message, n_validators: int, is_signed: Check) -> str | None:
    """`authenticate` for any way of signing."""
    match message:
        case Vote() | Proposal() | Receipt() | Holdings() | BlobPart():
            return find_sender_fault(message, n_validators, is_signed)
        case BeaconShare() | FinalityShare():
            return find_sender_fault(message, n_validators, is_signed)
        case QuorumCertificate():
            return find_certificate_fault(message, n_validators, is_signed)
        case FinalBlock():
            return find_certificate_fault(message.certificate, n_validators, is_signed)
        case _:
            return f"a {type(message).__name__} is not signed by a validator"


def find_sender_fault(
    message: Vote | Proposal | Receipt | Holdings | BeaconShare | FinalityShare | BlobPart,
    n_validators: int,
    is_signed: Check,
) -> str | None:
    """Its validator exists and has signed."""
    if message.validator >= n_validators:
        return "the sender is no validator"
    if not is_signed(message, message.validator):
        return "the signature is not its validator's"
    return None


def find_certificate_fault(
    certificate: QuorumCertificate, n_validators: int, is_signed: Check
) -> str | None:
    """2f + 1 validators signed its precommits; `QuorumCertificate` itself sees to the rest.

    By its own checks the votes are precommits of distinct validators for its height, round, block.
    """
    if len(certificate.votes) < quorum(n_validators):
        return f"{len(certificate.votes)} precommits are no quorum"
    faults = (find_sender_fault(vote, n_validators, is_signed) for vote in certificate.votes)
    return next((fault for fault in faults if fault is not None), None)
