"""The state of a chain between two blocks, and its one digest. `chain` moves it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Self, get_type_hints

from consensus.learning.election import Lapse
from consensus.wire.addresses import Address
from consensus.wire.codec import MAX_TRANSACTIONS, MAX_VALIDATORS, PublicKey, ValidatorIndex
from consensus.wire.genesis import Genesis
from consensus.wire.outcomes import MAX_EDGES, Edge, Exclusion
from consensus.wire.transactions import ExchangeKey, MaybeDigest, MaybePoint
from prover.wire.kinds import (
    DIGEST_BYTES,
    POINT_BYTES,
    Bytes,
    Count,
    Digest,
    Listed,
    Mapped,
    PointBytes,
    Word,
)
from prover.wire.records import Record, encode_fields, find_kind, split_fields

NO_MODEL = bytes(DIGEST_BYTES)
"""The digest that stands for "no global model yet"."""
_DOMAIN = b"zkpot chain state v6\x00"


class Phase(StrEnum):
    """A phase of a learning round."""

    REGISTER = "register"
    ORDER = "order"
    COMMIT = "commit"
    BEACON = "beacon"
    PROVE = "prove"
    MASK = "mask"
    UNMASK = "unmask"
    ATTEST = "attest"
    REVEAL = "reveal"
    ELECT = "elect"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Commitment(Record):
    """A client's commitment of the learning round; without training the last two are empty."""

    d_w: PointBytes
    mask_key: ExchangeKey
    share_key: ExchangeKey
    trajectory: MaybeDigest = b""
    d_m: MaybePoint = b""

    @property
    def summed(self) -> bytes:
        """The commitment to what the client adds to the sum: its masters, or its model."""
        return self.d_m or self.d_w


@dataclass(frozen=True, slots=True)
class Proven(Record):
    """A client's accepted proof of the learning round.

    deal     : digest of its encrypted shares
    training : digest of its proofs of training; empty in a task without
    """

    transaction_digest: Digest
    claimed_correct: Count
    deal: Digest
    training: MaybeDigest = b""


@dataclass(frozen=True, slots=True)
class Absence(Record):
    """The absence of a client that kept a phase waiting, see `consensus.learning.standing`.

    length : in learning rounds; the next one is twice as long
    until  : the learning round that waits for it again
    """

    length: Count
    until: Count


_Validators = Annotated[tuple[ValidatorIndex, ...], Listed(0, MAX_VALIDATORS)]
_Payloads = Annotated[Mapping[PublicKey, Digest], Mapped(MAX_TRANSACTIONS)]
_Clients = Annotated[tuple[PublicKey, ...], Listed(0, MAX_TRANSACTIONS)]
_BY_CLIENT = Mapped(MAX_TRANSACTIONS)


@dataclass(frozen=True, kw_only=True)
class ChainState:
    """What is known after `height` final blocks. Mappings are by client key and never change.

    head          : hash of the last block, or the genesis digest
    time_ms       : of the last block, since 1970; 0 below height 2, where blocks have none
    phase_ms      : how long this phase has lasted, see `consensus.learning.chain`
    order         : who could propose the last block, in that order
    maker         : the validator that made it
    lapses        : of validators that missed their turn, ascending, see
                    `consensus.learning.election`
    clients       : home validator of each registered client
    accounts      : address of each one that is bound to an account (`consensus.learning.binding`),
                    no two to the same
    weights       : in votes about the task, of whom has any (`consensus.learning.governance`)
    rewards       : earned ever, of whom has any (`consensus.learning.rewards`)
    batches       : digest of each one's committed batches; empty in a task without training
    order_height  : height of the block that closed REGISTER; 0 before, and without training
    order_beacon  : from which the orders of batches are drawn; empty before, and without training
    absences      : of clients that kept a phase waiting
    bans          : of clients that left a dispute unresolved: they commit to nothing until then
    expelled      : clients that are proven to have cheated, ascending; for ever
    debtors       : clients that proved and did not go on, or lied, and served no round since,
                    ascending
    commit_height : height of the block that closed COMMIT in this round; 0 before
    beacon        : of this round; empty before
    refusals      : digests of recorded proofs that do not verify
    closed        : the phase before this one; in ELECT it says what the outcome follows from
    masked, unmasked, attested, revealed : digests of the payloads of each step by client; the
                    clients of `masked`, once MASK is closed, are those of the sum
    excluded      : who of this round is proven to have cheated, by ascending client
    edges         : whose seeds REVEAL asks for, ascending
    global_model  : digest of the last round's global model, or NO_MODEL
    ranking       : clients that may lead by proven accuracy, best first
    offenders     : validators with evidence in a block, ascending
    """

    genesis: Genesis
    height: Count
    head: Digest
    time_ms: Count
    phase: Annotated[Phase, Word(Phase)]
    phase_ms: Count
    learning_round: Count
    order: _Validators
    maker: ValidatorIndex
    lapses: Annotated[tuple[Lapse, ...], Listed(0, MAX_VALIDATORS)]
    clients: Annotated[Mapping[PublicKey, ValidatorIndex], _BY_CLIENT]
    accounts: Annotated[Mapping[PublicKey, Address], _BY_CLIENT]
    weights: Annotated[Mapping[PublicKey, Count], _BY_CLIENT]
    rewards: Annotated[Mapping[PublicKey, Count], _BY_CLIENT]
    batches: Annotated[Mapping[PublicKey, Digest], _BY_CLIENT]
    order_height: Count
    order_beacon: Annotated[bytes, Bytes(0, POINT_BYTES, step=POINT_BYTES)]
    absences: Annotated[Mapping[PublicKey, Absence], _BY_CLIENT]
    bans: Annotated[Mapping[PublicKey, Absence], _BY_CLIENT]
    expelled: _Clients
    debtors: _Clients
    commits: Annotated[Mapping[PublicKey, Commitment], _BY_CLIENT]
    commit_height: Count
    beacon: Annotated[bytes, Bytes(0, POINT_BYTES, step=POINT_BYTES)]
    proofs: Annotated[Mapping[PublicKey, Proven], _BY_CLIENT]
    refusals: Annotated[Mapping[PublicKey, Digest], _BY_CLIENT]
    closed: Annotated[Phase, Word(Phase)]
    masked: _Payloads
    unmasked: _Payloads
    attested: _Payloads
    revealed: _Payloads
    excluded: Annotated[tuple[Exclusion, ...], Listed(0, MAX_TRANSACTIONS)]
    edges: Annotated[tuple[Edge, ...], Listed(0, MAX_EDGES)]
    global_model: Digest
    ranking: _Clients
    offenders: _Validators

    def encode(self) -> bytes:
        """The canonical bytes of every field, genesis by its digest: what a snapshot holds."""
        parts = [kind.encode(getattr(self, name)) for name, kind in _KINDS.items()]
        return _DOMAIN + encode_fields([self.genesis.digest, *parts])

    @classmethod
    def decode(cls, raw: bytes, genesis: Genesis) -> Self | None:
        """Inverse of `encode`; None for every other byte string, and for another genesis.

        What rules have made of checked messages is in its ranges; so they are asked here alone.
        """
        try:
            name, *parts = split_fields(raw.removeprefix(_DOMAIN), 1 + len(_KINDS))
            pairs = zip(_KINDS.items(), parts, strict=True)
            values = {field: kind.decode(part) for (field, kind), part in pairs}
        except ValueError:
            return None
        in_range = all(kind.find_fault(values[field]) is None for field, kind in _KINDS.items())
        if not raw.startswith(_DOMAIN) or name != genesis.digest or not in_range:
            return None
        return cls(genesis=genesis, **values)

    @cached_property
    def digest(self) -> bytes:
        """sha256 of the canonical bytes: a block's `state_root`."""
        return hashlib.sha256(self.encode()).digest()

    @property
    def beacon_height(self) -> int | None:
        """Height of the block that the beacon which is due follows; None when none is due."""
        return {Phase.ORDER: self.order_height, Phase.BEACON: self.commit_height}.get(self.phase)

    @property
    def leader(self) -> bytes | None:
        """The client that leads: highest proven accuracy."""
        return self.ranking[0] if self.ranking else None


_KINDS = {
    name: find_kind(hint)
    for name, hint in get_type_hints(ChainState, include_extras=True).items()
    if name != "genesis"
}
"""Of the fields that a state has beside its genesis, in their order."""
