"""Counting votes: how many make a quorum, and who voted for what in one round and step.

Kept small whatever arrives. Of each validator its first vote counts; a second one for another block
counts too, but only for a block that f + 1 others have named: what a validator that votes twice
told others must not be hidden from us by what it told us (arXiv 1807.04938 assumes that a message
seen by one correct process is seen by all). At most two blocks can have f + 1 first votes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from consensus.wire.messages import NIL, Evidence, Vote

_EMPTY: Mapping[Any, Any] = MappingProxyType({})


def n_faulty(n_validators: int) -> int:
    """f: how many of n validators may be faulty, the largest with n >= 3f + 1."""
    return (n_validators - 1) // 3


def quorum(n_validators: int) -> int:
    """2f + 1: any two quorums of n = 3f + 1 share a correct validator."""
    return 2 * n_faulty(n_validators) + 1


@dataclass(frozen=True, slots=True)
class Tally:
    """Votes of one height, round and step.

    first : what each validator named first
    named : the votes for each block, or NIL, by validator
    """

    first: Mapping[int, bytes] = field(default_factory=dict)
    named: Mapping[bytes, Mapping[int, Vote]] = field(default_factory=dict)

    def add(self, vote: Vote, *, support: int) -> Tally:
        """The tally with this vote; unchanged for a repeated one, or a second one without support
        (f + 1).
        """
        block_hash, validator = vote.block_hash, vote.validator
        votes = self.named.get(block_hash, _EMPTY)
        if validator in votes:
            return self
        first = self.first
        if validator not in first:
            first = {**first, validator: block_hash}
        elif len(votes) < support:
            return self
        return Tally(first, {**self.named, block_hash: {**votes, validator: vote}})

    def find_contradiction(self, vote: Vote) -> Evidence | None:
        """This vote and the first of its validator, when they name different blocks."""
        known = self.first.get(vote.validator)
        if known is None or known == vote.block_hash:
            return None
        pair = sorted((self.named[known][vote.validator], vote), key=lambda v: v.block_hash)
        return Evidence(first=pair[0], second=pair[1])

    def count(self, block_hash: bytes) -> int:
        """How many validators named this block."""
        return len(self.named.get(block_hash, _EMPTY))

    @property
    def n_voters(self) -> int:
        """How many validators voted, for anything."""
        return len(self.first)

    def find_block(self, least: int) -> bytes | None:
        """A block, not NIL, that at least so many validators named, or None."""
        for block_hash, votes in self.named.items():
            if len(votes) >= least and block_hash != NIL:
                return block_hash
        return None

    def list_votes(self, block_hash: bytes) -> tuple[Vote, ...]:
        """The votes for this block by ascending validator."""
        votes = self.named.get(block_hash, _EMPTY)
        return tuple(votes[validator] for validator in sorted(votes))

    def get_vote(self, validator: int) -> Vote | None:
        """The first vote of this validator."""
        known = self.first.get(validator)
        return None if known is None else self.named[known][validator]
