"""The state of a chain between two blocks, and its one digest. `consensus.chain` moves it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cached_property
from typing import Any

from consensus.election import Lapse
from consensus.genesis import Genesis
from consensus.messages import DIGEST_BYTES
from prover.statement import encode_fields

NO_MODEL = bytes(DIGEST_BYTES)
"""The digest that stands for "no global model yet"."""
_DOMAIN = b"zkpot chain state v1\x00"


class Phase(StrEnum):
    """Of a learning round."""

    REGISTER = "register"
    COMMIT = "commit"
    BEACON = "beacon"
    PROVE = "prove"
    UPDATE = "update"
    ELECT = "elect"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Commitment:
    """A client's commitment of the learning round, compressed points."""

    d_w: bytes
    pok_w: bytes


@dataclass(frozen=True, slots=True)
class Proven:
    """A client's accepted proof of the learning round."""

    transaction_digest: bytes
    claimed_correct: int


@dataclass(frozen=True, slots=True)
class Absence:
    """Of a client that kept a phase waiting, see `consensus.standing`.

    length : in learning rounds; the next one is twice as long
    until  : the learning round that waits for it again
    """

    length: int
    until: int


@dataclass(frozen=True, kw_only=True)
class ChainState:
    """What is known after `height` final blocks. Mappings are by client key and never change.

    head          : hash of the last block, or the genesis digest
    time_ms       : of the last block, since 1970; 0 below height 2, where blocks have none
    phase_ms      : how long this phase has lasted, see `consensus.chain`
    order         : who could propose the last block, in that order
    maker         : the validator that made it
    lapses        : of validators that missed their turn, ascending, see `consensus.election`
    clients       : home validator of each registered client
    absences      : of clients that kept a phase waiting
    debtors       : clients that proved or lied and have opened no model since, ascending
    commit_height : height of the block that closed COMMIT in this round; 0 before
    beacon        : of this round; empty before
    refusals      : digests of recorded proofs that do not verify
    updates       : model digests of the accepted openings
    global_model  : digest of the last round's global model, or NO_MODEL
    ranking       : clients that may lead by proven accuracy, best first
    offenders     : validators with evidence in a block, ascending
    """

    genesis: Genesis
    height: int
    head: bytes
    time_ms: int
    phase: Phase
    phase_ms: int
    learning_round: int
    order: tuple[int, ...]
    maker: int
    lapses: tuple[Lapse, ...]
    clients: Mapping[bytes, int]
    absences: Mapping[bytes, Absence]
    debtors: tuple[bytes, ...]
    commits: Mapping[bytes, Commitment]
    commit_height: int
    beacon: bytes
    proofs: Mapping[bytes, Proven]
    refusals: Mapping[bytes, bytes]
    updates: Mapping[bytes, bytes]
    global_model: bytes
    ranking: tuple[bytes, ...]
    offenders: tuple[int, ...]

    @cached_property
    def digest(self) -> bytes:
        """sha256 over every field, genesis by its digest: a block's `state_root`."""
        values = [getattr(self, f.name) for f in fields(self) if f.name != "genesis"]
        parts = [self.genesis.digest, *map(_encode, values)]
        return hashlib.sha256(_DOMAIN + encode_fields(parts)).digest()

    @property
    def leader(self) -> bytes | None:
        """The client that leads: highest proven accuracy."""
        return self.ranking[0] if self.ranking else None


def _encode(value: Any) -> bytes:
    """Canonical bytes of a field of the state."""
    match value:
        case bytes():
            return value
        case str():
            return value.encode("ascii")
        case int():
            return value.to_bytes(8, "little")
        case Mapping():
            return encode_fields([x for key in sorted(value) for x in (key, _encode(value[key]))])
        case Commitment():
            return value.d_w + value.pok_w
        case Proven():
            return value.transaction_digest + value.claimed_correct.to_bytes(8, "little")
        case Absence():
            return _encode((value.length, value.until))
        case Lapse():
            return _encode((value.validator, value.n_missed, value.back_at, value.is_heard))
        case _:
            return encode_fields([_encode(item) for item in value])
