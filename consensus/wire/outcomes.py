"""What a learning round comes to, as a block says it: see `consensus.aggregation.outcome`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from consensus.aggregation.outcome import Cheat, Ending, Failure
from consensus.wire.codec import MAX_TRANSACTIONS, Message, PublicKey
from prover.wire.kinds import Count, Digest, Listed, Word
from prover.wire.records import Record

MAX_EDGES = 4096  # of one aggregate, 76 bytes each


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Message):
    """A client in the global model of a round. proven : the count that its proof claims"""

    KIND: ClassVar[int] = 12
    client_key: PublicKey
    proven: Count


@dataclass(frozen=True, slots=True)
class Exclusion(Record):
    """A client that is proven to have cheated in this learning round, and how."""

    client_key: PublicKey
    cheat: Annotated[Cheat, Word(Cheat)]


@dataclass(frozen=True, slots=True)
class Edge(Record):
    """A pair's mask, whose seed its owner is asked for. owner, other : clients' keys"""

    owner: PublicKey
    other: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate(Message):
    """What a learning round comes to; with MODEL, who entered it.

    model_digest : of the global model after this block
    entries      : of MODEL, by ascending client
    excluded     : all that were found to cheat in this round so far, by ascending client
    edges        : of REVEAL, ascending
    reason       : of NONE, one
    silent       : of NONE for SHARES_MISSING or UNRESOLVED, who did not do what it was asked for,
                   ascending
    lost         : of NONE for LOST, the blob
    """

    KIND: ClassVar[int] = 13
    MAX_BYTES: ClassVar[int] = 1 << 19  # 1,024 entries and exclusions of 54 bytes, and MAX_EDGES
    learning_round: Count
    ending: Annotated[Ending, Word(Ending)]
    model_digest: Digest
    entries: Annotated[tuple[Entry, ...], Listed(0, MAX_TRANSACTIONS)] = ()
    excluded: Annotated[tuple[Exclusion, ...], Listed(0, MAX_TRANSACTIONS)] = ()
    edges: Annotated[tuple[Edge, ...], Listed(0, MAX_EDGES)] = ()
    reason: Annotated[tuple[Annotated[Failure, Word(Failure)], ...], Listed(0, 1)] = ()
    silent: Annotated[tuple[PublicKey, ...], Listed(0, MAX_TRANSACTIONS)] = ()
    lost: Annotated[tuple[Digest, ...], Listed(0, 1)] = ()

    def check_whole(self) -> None:
        for what, parts, due in (
            ("entries", self.entries, self.ending is Ending.MODEL),
            ("edges", self.edges, self.ending is Ending.REVEAL),
            ("a reason", self.reason, self.ending is Ending.NONE),
            ("a lost blob", self.lost, self.failure is Failure.LOST),
        ):
            self.require(bool(parts) == due, f"has {what} undue, or lacks it")
        has_silent = self.failure in (Failure.SHARES_MISSING, Failure.UNRESOLVED)
        self.require(has_silent or not self.silent, "names clients that owe it nothing")
        for named in (
            [entry.client_key for entry in self.entries],
            [exclusion.client_key for exclusion in self.excluded],
            [edge.owner + edge.other for edge in self.edges],
            list(self.silent),
        ):
            self.require(named == sorted(set(named)), "has a list that is not ascending")

    @property
    def failure(self) -> Failure | None:
        """Why there is no model."""
        return self.reason[0] if self.reason else None

    @property
    def ends_round(self) -> bool:
        """Whether the next learning round follows."""
        return self.ending in (Ending.MODEL, Ending.NONE)
