"""Shares of a key's secrets, and the proof that who changed the anchors knew them.

    delta' = d delta      delta_A' = d_A delta_A
    A2' = a A2            C1' = a (C1 + k1 A2)            C2' = a (C2 + k2 A2)

in G2, for shares d, d_A and, of each linked group, k1, k2, a. With m1 = a k1 and m2 = a k2 every
line is linear in the shares: the proof is Maurer's of a preimage of a linear map (AFRICACRYPT 2009;
Schnorr's for each d), made non-interactive by Fiat and Shamir as in Nikolaenko, Ragsdale, Bonneau
and Boneh (eprint 2022/1592):

    T = map(random)      c = hash( place before | change | T )      responses = random + c shares

The place names everything before, the change everything that the contribution says of itself: a
proof fits nowhere else, and shares that are built of another's points cannot be proven.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from kernels.array import FrArray, G2Array
from kernels.backend import Backend
from kernels.bn254 import R
from kernels.encoding import encode_g2
from kernels.hash_to_curve import expand_message_xmd
from prover.ceremony.own.record import Anchors, Change, Contribution
from prover.keys.halves import LINK_POINTS
from prover.randomness import RandomBytes, draw_nonzero_scalar, draw_scalar, fork

CHALLENGE_TAG = b"zkpot/v1/ceremony-challenge"
BEACON_TAG = b"zkpot/v1/ceremony-beacon"
_CHALLENGE_BYTES = 48  # 254 + 128 bits: the bias mod r is below 2^-128


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkShare:
    """The shares of a linked group: k1 and k2 are added, a is multiplied."""

    k1: int = field(repr=False)
    k2: int = field(repr=False)
    a: int = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """A contributor's secrets, each in [1, r). Forget them: all contributors' together forge."""

    delta: int = field(repr=False)
    delta_a: int = field(repr=False)
    links: tuple[LinkShare, ...] = field(repr=False)

    @property
    def preimage(self) -> list[int]:
        """d, d_A, and of each group m1, m2, a: what the anchors are linear in."""
        links = [x for s in self.links for x in (s.a * s.k1 % R, s.a * s.k2 % R, s.a)]
        return [self.delta, self.delta_a, *links]


def draw_shares(random_bytes: RandomBytes, n_linked: int) -> Shares:
    """Fresh shares; `random_bytes` must be cryptographic."""

    def draw() -> int:
        return draw_nonzero_scalar(random_bytes)

    delta, delta_a = draw(), draw()
    links = tuple(LinkShare(k1=draw(), k2=draw(), a=draw()) for _ in range(n_linked))
    return Shares(delta=delta, delta_a=delta_a, links=links)


def listen(beacon: bytes, exponent: int, place: bytes) -> RandomBytes:
    """The bytes that a beacon gives at this place, the same for everybody.

    cost : 2^exponent hashes
    """
    digest = beacon
    for _ in range(1 << exponent):
        digest = sha256(digest).digest()
    seed = sha256(BEACON_TAG + place + digest).digest()
    return fork(lambda _: seed)


def apply(preimage: list[int], before: Anchors, backend: Backend) -> Anchors:
    """The linear map: the anchors after shares with this preimage."""
    d, d_a, *links = preimage
    of_links: list[G2Array] = []
    for group in range(len(before.links) // LINK_POINTS):
        c1, c2, a2 = (before.link(group)[i : i + 1] for i in range(LINK_POINTS))
        m1, m2, a = links[LINK_POINTS * group : LINK_POINTS * (group + 1)]
        of_links += [
            _sum([a, m1], [c1, a2], backend),
            _sum([a, m2], [c2, a2], backend),
            _sum([a], [a2], backend),
        ]
    return Anchors(
        delta=_sum([d], [before.delta], backend),
        delta_a=_sum([d_a], [before.delta_a], backend),
        links=G2Array.concat(of_links),
    )


def prove(
    shares: Shares,
    before: Anchors,
    change: Change,
    place: bytes,
    random_bytes: RandomBytes,
    backend: Backend,
) -> Contribution:
    """The change with a proof that its shares were known.

    place : before the change
    random_bytes : cryptographic; one draw told would tell the shares
    """
    preimage = shares.preimage
    randoms = [draw_scalar(random_bytes) for _ in preimage]
    c = _hash(place, change, apply(randoms, before, backend))
    responses = [(t + c * x) % R for t, x in zip(randoms, preimage, strict=True)]
    return Contribution(
        change=change,
        challenge=FrArray.from_ints([c]),
        responses=FrArray.from_ints(responses),
    )


def is_proven(one: Contribution, before: Anchors, place: bytes, backend: Backend) -> bool:
    """Whether the proof of a contribution behind these anchors, at this place, holds."""
    (c,) = one.challenge.to_ints()
    mapped = apply(one.responses.to_ints(), before, backend).points
    after = one.change.anchors.points
    committed = [
        _sum([1, R - c], [mapped[i : i + 1], after[i : i + 1]], backend) for i in range(len(after))
    ]
    return _hash_points(place, one.change, G2Array.concat(committed)) == c


def _hash(place: bytes, change: Change, committed: Anchors) -> int:
    return _hash_points(place, change, committed.points)


def _hash_points(place: bytes, change: Change, points: G2Array) -> int:
    message = place + sha256(change.encode()).digest() + encode_g2(points, compressed=False)
    return int.from_bytes(expand_message_xmd(message, CHALLENGE_TAG, _CHALLENGE_BYTES), "big") % R


def _sum(scalars: list[int], points: list[G2Array], backend: Backend) -> G2Array:
    return backend.msm_g2(FrArray.from_ints(scalars), G2Array.concat(points))
