"""Unmasking: shares of what has to be taken from the sum, and of nothing else (Bonawitz round 4).

S are the clients whose proofs were accepted, U those of them whose masked updates came; final
blocks froze both. A client u of U sends for each of its neighbours in S

    in U        its share of b      the neighbour's own mask goes, its pairs' masks cancel
    not in U    its share of sigma  the pairs' masks with it do not cancel, and go

and never both for one client: with both, a model could be read. Which is decided by the frozen sets
alone, so all honest clients decide alike; that is what Bonawitz' round 3 is for.

A share that does not open, or is not the one that its dealer's digest names, is not sent; its
dealer is listed instead. More complaints than clients may collude convict the dealer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar

from consensus.aggregation.circle import Circle
from consensus.aggregation.deal import MAX_CLIENTS, Deals, Secret, digest_share, open_share
from consensus.aggregation.secrets import OwnSecrets
from kernels.array import FrArray
from prover.wire.array_kinds import Scalars
from prover.wire.kinds import Number, Packed
from prover.wire.records import Record, header


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unmasking(Record):
    """A client's shares of its neighbours' secrets.

    complaints : dealers whose share is not as it should be, by graph position, ascending
    shares     : of the sender's other neighbours in S, in graph order
    """

    HEADER: ClassVar[bytes] = header(b"zkpotunm", 1)
    MAX_BYTES: ClassVar[int] = 64 * MAX_CLIENTS
    complaints: Annotated[
        tuple[Annotated[int, Number(0, MAX_CLIENTS - 1, width=2)], ...], Packed(0, MAX_CLIENTS)
    ]
    shares: Annotated[FrArray, Scalars(0, MAX_CLIENTS)]

    def check_whole(self) -> None:
        ascending = all(a < b for a, b in pairwise(self.complaints))
        self.require(ascending, "has complaints out of order")


Unmaskings = Mapping[bytes, Unmasking]
"""By sender."""


def choose_secret(dealer: bytes, masked: Set[bytes]) -> Secret:
    """Which of a client's secrets is opened. masked : the frozen set U"""
    return Secret.SELF if dealer in masked else Secret.PAIRS


def make_unmasking(
    circle: Circle,
    sender: bytes,
    secrets: OwnSecrets,
    *,
    accepted: Set[bytes],
    masked: Set[bytes],
    deals: Deals,
) -> Unmasking:
    """A client's answer for the sets S and U. deals : of its neighbours in S, at least"""
    shares, complaints = [], []
    for dealer in circle.list_neighbours(sender, frozenset(accepted)):
        share = open_share(
            deals[dealer],
            circle,
            dealer=dealer,
            receiver=sender,
            own=secrets.share_private,
            secret=choose_secret(dealer, masked),
        )
        if share is None:
            complaints.append(circle.graph.find_position(dealer))
        else:
            shares.append(share)
    return Unmasking(complaints=tuple(complaints), shares=FrArray.from_ints(shares))


def find_fault(
    unmasking: Unmasking,
    circle: Circle,
    sender: bytes,
    *,
    accepted: Set[bytes],
    masked: Set[bytes],
    deals: Deals,
) -> str | None:
    """Why an unmasking does not count; None when it does.

    accepted, masked : the frozen sets S and U; deals : of every client of S
    """
    if sender not in masked:
        return "is by a client whose masked update did not come in time"
    neighbours = circle.list_neighbours(sender, frozenset(accepted))
    if not set(unmasking.complaints) <= set(map(circle.graph.find_position, neighbours)):
        return "complains of a client that is no neighbour of its sender's"
    if len(unmasking.shares) + len(unmasking.complaints) != len(neighbours):
        return "has more or fewer shares than its sender has to send"
    for dealer, share in list_shares(unmasking, circle, sender, accepted):
        slot = circle.graph.find_slot(dealer, sender)
        secret = choose_secret(dealer, masked)
        if slot is None or digest_share(secret, share) != deals[dealer].read_digest(secret, slot):
            return "has a share that its dealer did not deal"
    return None


def list_shares(
    unmasking: Unmasking, circle: Circle, sender: bytes, accepted: Set[bytes]
) -> Iterator[tuple[bytes, int]]:
    """Dealers and the sender's shares of their secrets, of an unmasking without fault."""
    complaints = frozenset(unmasking.complaints)
    neighbours = circle.list_neighbours(sender, frozenset(accepted))
    sent = (c for c in neighbours if circle.graph.find_position(c) not in complaints)
    yield from zip(sent, unmasking.shares.to_ints(), strict=True)
