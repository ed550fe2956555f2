"""The transcript of a ceremony: what it began with, and what each contribution says of itself.

    transcript = "zkpotcer" | version, 2 bytes | head | contributions      (field lists)
    place 0    = sha256( tag | head )
    place i    = sha256( tag | place i-1 | contribution i )

A place names all that came before it; a contributor publishes its own, and its proof of knowledge
is bound to the one before. The last contribution names the file that is the proving half of the
key, and the points in it and in the head are those of the verifying half: so the transcript
determines a key but for its card (multipliers, which no point depends on), and the key names the
sha256 of the transcript.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, ClassVar

from kernels.array import FrArray, G1Array, G2Array
from prover.ceremony.beacon_limit import BEACON_BYTES
from prover.ceremony.draws import MAX_EXPONENT, MIN_EXPONENT
from prover.ceremony.ratios import G2_GENERATOR
from prover.keys.halves import MAX_CHALLENGES, MAX_PUBLIC
from prover.wire.array_kinds import Points, Scalars
from prover.wire.kinds import Bytes, Digest, Listed, Number
from prover.wire.records import Document, Record, header
from prover.wire.statement import MAX_LINKED

MAX_CONTRIBUTIONS = 4096
MAX_NAME_BYTES = 64
N_DELTAS = 2
"""Anchors that are multiplied, delta and delta_A; those of the link are added to."""
PLACE_TAG = b"zkpot/v2/ceremony-place"

_G1 = Annotated[G1Array, Points(G1Array, compressed=False, identity=False)]
_G2 = Annotated[G2Array, Points(G2Array, compressed=False, identity=False)]
_PublicG1 = Annotated[G1Array, Points(G1Array, 1, MAX_PUBLIC + 1, compressed=False)]
_LinkPoints = Points(G2Array, 2, MAX_LINKED + 1, compressed=False, identity=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Anchors:
    """The points of G2 that decide what every point of a state has to be; delta of length 1.

    links : C1 of each linked group, then C2; infinity before the first contribution
    """

    delta: G2Array
    delta_a: G2Array
    links: G2Array

    @classmethod
    def first(cls, n_linked: int) -> Anchors:
        """Of the first key."""
        return cls(delta=G2_GENERATOR, delta_a=G2_GENERATOR, links=G2Array.zeros(n_linked + 1))

    @property
    def points(self) -> G2Array:
        """All of them."""
        return G2Array.concat([self.delta, self.delta_a, self.links])

    @classmethod
    def of(cls, points: G2Array) -> Anchors:
        """Inverse of `points`."""
        return cls(delta=points[:1], delta_a=points[1:2], links=points[N_DELTAS:])


@dataclass(frozen=True, kw_only=True, eq=False)
class Head(Record):
    """What a ceremony begins with.

    first_digest : sha256 of the first key's file, which follows from circuit and powers of tau
    tau, alpha, beta : of the powers; public: [K_k]_1 of the constant one and the public wires
    """

    circuit_digest: Digest
    first_digest: Digest
    n_challenges: Annotated[int, Number(0, MAX_CHALLENGES)]
    n_linked: Annotated[int, Number(1, MAX_LINKED)]
    alpha: _G1
    public: _PublicG1
    tau: _G2
    beta: _G2


@dataclass(frozen=True, kw_only=True, eq=False)
class Change(Record):
    """What a contribution leaves behind.

    name     : who contributed, printable ASCII
    beacon, exponent : of shares that a beacon draws by 2^exponent hashes; else nothing and 0
    delta, delta_a, links : the anchors after it
    state    : sha256 of the file after it
    """

    name: Annotated[bytes, Bytes(0, MAX_NAME_BYTES)]
    beacon: Annotated[bytes, Bytes(0, BEACON_BYTES)]
    exponent: Annotated[int, Number(0, MAX_EXPONENT)]
    delta: _G2
    delta_a: _G2
    links: Annotated[G2Array, _LinkPoints]
    state: Digest

    def check_whole(self) -> None:
        self.require(self.name.isascii() and self.label.isprintable(), "has a name that is no text")
        if self.beacon:
            self.require(self.exponent >= MIN_EXPONENT, "has a beacon of too few hashes")
        else:
            self.require(self.exponent == 0, "has an exponent without a beacon")

    @property
    def label(self) -> str:
        return self.name.decode("ascii", "replace")

    @property
    def anchors(self) -> Anchors:
        return Anchors(delta=self.delta, delta_a=self.delta_a, links=self.links)


@dataclass(frozen=True, kw_only=True, eq=False)
class Contribution(Record):
    """A change, and the proof that who made it knew all shares (`prover.ceremony.own.shares`)."""

    change: Change
    challenge: Annotated[FrArray, Scalars(1, 1)]
    responses: Annotated[FrArray, Scalars(N_DELTAS + 2, N_DELTAS + MAX_LINKED + 1)]

    def check_whole(self) -> None:
        fits = len(self.responses) == N_DELTAS + len(self.change.links)
        self.require(fits, "has not one response for each share")


@dataclass(frozen=True, kw_only=True, eq=False)
class Transcript(Document):
    """A ceremony so far."""

    HEADER: ClassVar[bytes] = header(b"zkpotcer", 2)
    NAME: ClassVar[str] = "transcript of a ceremony"
    NEXT_STEP: ClassVar[str] = "get it again from those who run the ceremony"
    MAX_BYTES: ClassVar[int] = 1 << 27
    head: Head
    contributions: Annotated[tuple[Contribution, ...], Listed(0, MAX_CONTRIBUTIONS)]

    def check_whole(self) -> None:
        n_points = self.head.n_linked + 1
        fits = all(len(one.change.links) == n_points for one in self.contributions)
        self.require(fits, "has a contribution for another number of linked groups")

    @property
    def digest(self) -> bytes:
        """What a finished key names: sha256 of `encode()`."""
        return sha256(self.encode()).digest()

    @property
    def state(self) -> bytes:
        """The sha256 of the file after the last contribution."""
        found = self.contributions
        return found[-1].change.state if found else self.head.first_digest

    @property
    def anchors(self) -> Anchors:
        """Those after the last contribution."""
        found = self.contributions
        return found[-1].change.anchors if found else Anchors.first(self.head.n_linked)

    def list_places(self) -> Iterator[bytes]:
        """Place 0, 1, ...: one more than there are contributions."""
        place = sha256(PLACE_TAG + self.head.encode()).digest()
        yield place
        for one in self.contributions:
            place = follow(place, one)
            yield place

    @property
    def place(self) -> bytes:
        """The last place."""
        *_, last = self.list_places()
        return last

    def behind(self, one: Contribution) -> Transcript:
        """The transcript with one contribution more."""
        return Transcript(head=self.head, contributions=(*self.contributions, one))


def follow(place: bytes, one: Contribution) -> bytes:
    """The place after a contribution, which its contributor publishes."""
    return sha256(PLACE_TAG + place + one.encode()).digest()
