"""What a round of aggregation comes to, as every node computes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from kernels.numpy_types import Int64Array

Exclusions = tuple[tuple[bytes, "Cheat"], ...]
Edges = tuple[tuple[bytes, bytes], ...]
"""(owner, other): the owner is asked for the seed that it shares with the other."""


class Ending(StrEnum):
    """What follows."""

    MODEL = "model"  # the sum is open, the round ends
    NONE = "none"  # there is no sum, the round ends
    DISPUTE = "dispute"  # somebody cheated: clients attest their masks
    REVEAL = "reveal"  # it is known who: their neighbours reveal the seeds shared with them


class Failure(StrEnum):
    """Why there is no sum."""

    TOO_FEW = "too_few"  # of those left the honest ones would not be hidden among each other
    SHARES_MISSING = "shares_missing"  # a secret has fewer shares than its threshold
    UNRESOLVED = "unresolved"  # who cheated is not proven, since somebody did not answer
    LOST = "lost"  # a payload that is needed is nowhere any more


class Cheat(StrEnum):
    """What is proven against a client."""

    DEAL = "deal"  # the shares that it dealt are not of its secret
    MASKED = "masked"  # its masked update is not the committed model under the masks it attests


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One of four endings.

    sums     : of MODEL: sum c_i W_i over the entries, int64[n_parameters]
    entries  : of MODEL: (client, c_i), by key
    excluded : whom something is proven against, by key, whatever the ending; of DISPUTE those who
               need not attest, and whose pairs' masks the others attest as well
    edges    : of REVEAL, in graph order
    reason   : of NONE
    names    : of NONE: who did not do what was asked, by key. No proof of anything: a client whose
               answer was late is named, too
    """

    ending: Ending
    sums: Int64Array | None = field(default=None, compare=False)
    entries: tuple[tuple[bytes, int], ...] = ()
    excluded: Exclusions = ()
    edges: Edges = ()
    reason: Failure | None = None
    names: tuple[bytes, ...] = ()
