"""The state of a chain between two blocks, and its one digest. `chain` moves it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cached_property
from typing import Self, get_type_hints

from consensus.learning.election import Lapse
from consensus.wire.genesis import Genesis
from consensus.wire.state_codec import decode_value, encode_value
from prover.wire.kinds import DIGEST_BYTES
from prover.wire.records import encode_fields, split_fields

NO_MODEL = bytes(DIGEST_BYTES)
"""The digest that stands for "no global model yet"."""
_DOMAIN = b"zkpot chain state v2\x00"


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
    """Of a client that kept a phase waiting, see `consensus.learning.standing`.

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
    phase_ms      : how long this phase has lasted, see `consensus.learning.chain`
    order         : who could propose the last block, in that order
    maker         : the validator that made it
    lapses        : of validators that missed their turn, ascending, see
                    `consensus.learning.election`
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

    def encode(self) -> bytes:
        """The canonical bytes of every field, genesis by its digest: what a snapshot holds."""
        values = [getattr(self, f.name) for f in fields(self) if f.name != "genesis"]
        parts = [self.genesis.digest, *map(encode_value, values)]
        return _DOMAIN + encode_fields(parts)

    @classmethod
    def decode(cls, raw: bytes, genesis: Genesis) -> Self | None:
        """Inverse of `encode`; None for every other byte string, and for another genesis."""
        kinds = get_type_hints(cls)
        names = [f.name for f in fields(cls) if f.name != "genesis"]
        try:
            parts = split_fields(raw.removeprefix(_DOMAIN), 1 + len(names))
            values = {
                name: decode_value(kinds[name], part)
                for name, part in zip(names, parts[1:], strict=True)
            }
        except (ValueError, OverflowError):
            return None
        found = cls(genesis=genesis, **values)
        return found if found.encode() == raw else None

    @cached_property
    def digest(self) -> bytes:
        """sha256 of the canonical bytes: a block's `state_root`."""
        return hashlib.sha256(self.encode()).digest()

    @property
    def leader(self) -> bytes | None:
        """The client that leads: highest proven accuracy."""
        return self.ranking[0] if self.ranking else None
