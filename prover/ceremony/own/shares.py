"""Shares of a key's secrets, and the proof that who changed the anchors knew them.

    delta' = d delta      delta_A' = d_A delta_A
    C1_g' = C1_g + k1_g [1]_2 of each linked group        C2' = C2 + k2 [1]_2

in G2, for shares d, d_A, k1_g and k2. (delta', delta_A', C1_g' - C1_g, C2' - C2) is linear in them:
the proof is Maurer's of a preimage of a linear map (AFRICACRYPT 2009; Schnorr's for each share),
made non-interactive by Fiat and Shamir as in Nikolaenko, Ragsdale, Bonneau and Boneh (eprint
2022/1592):

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
from prover.ceremony.own.record import N_DELTAS, Anchors, Change, Contribution
from prover.ceremony.ratios import G2_GENERATOR
from prover.randomness import RandomBytes, draw_nonzero_scalar, draw_scalar, fork

CHALLENGE_TAG = b"zkpot/v2/ceremony-challenge"
BEACON_TAG = b"zkpot/v2/ceremony-beacon"
_CHALLENGE_BYTES = 48  # 254 + 128 bits: the bias mod r is below 2^-128


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """A contributor's secrets, each in [1, r). Forget them: all contributors' together forge.

    delta, delta_a : are multiplied
    k1, k2         : are added; k1 of each linked group
    """

    delta: int = field(repr=False)
    delta_a: int = field(repr=False)
    k1: tuple[int, ...] = field(repr=False)
    k2: int = field(repr=False)

    @property
    def scalars(self) -> list[int]:
        """All, in the order of `Anchors.points`."""
        return [self.delta, self.delta_a, *self.k1, self.k2]


def draw_shares(random_bytes: RandomBytes, n_linked: int) -> Shares:
    """Fresh shares; `random_bytes` must be cryptographic."""
    delta, delta_a, *k1, k2 = (draw_nonzero_scalar(random_bytes) for _ in range(3 + n_linked))
    return Shares(delta=delta, delta_a=delta_a, k1=tuple(k1), k2=k2)


def listen(beacon: bytes, exponent: int, place: bytes) -> RandomBytes:
    """The bytes that a beacon gives at this place, the same for everybody.

    cost : 2^exponent hashes
    """
    digest = beacon
    for _ in range(1 << exponent):
        digest = sha256(digest).digest()
    seed = sha256(BEACON_TAG + place + digest).digest()
    return fork(lambda _: seed)


def apply(shares: Shares, before: Anchors, backend: Backend) -> Anchors:
    """The anchors after these shares."""
    moved = _map(shares.scalars, before, backend)
    links = [
        _sum([1, 1], [before.links[i : i + 1], point], backend)
        for i, point in enumerate(moved[N_DELTAS:])
    ]
    return Anchors.of(G2Array.concat([*moved[:N_DELTAS], *links]))


def _map(scalars: list[int], before: Anchors, backend: Backend) -> list[G2Array]:
    """The linear map: d delta, d_A delta_A, k1_g [1]_2 of each group, k2 [1]_2."""
    bases = [before.delta, before.delta_a, *[G2_GENERATOR] * len(before.links)]
    return [_sum([x], [base], backend) for x, base in zip(scalars, bases, strict=True)]


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
    randoms = [draw_scalar(random_bytes) for _ in shares.scalars]
    c = _hash(place, change, _map(randoms, before, backend))
    responses = [(t + c * x) % R for t, x in zip(randoms, shares.scalars, strict=True)]
    return Contribution(
        change=change,
        challenge=FrArray.from_ints([c]),
        responses=FrArray.from_ints(responses),
    )


def is_proven(one: Contribution, before: Anchors, place: bytes, backend: Backend) -> bool:
    """Whether the proof of a contribution behind these anchors, at this place, holds."""
    (c,) = one.challenge.to_ints()
    mapped = _map(one.responses.to_ints(), before, backend)
    old, new = before.points, one.change.anchors.points
    committed = []
    for i, point in enumerate(mapped):
        is_added = i >= N_DELTAS  # what the map leads to is then the difference
        scalars = [1, R - c, c if is_added else 0]
        committed.append(_sum(scalars, [point, new[i : i + 1], old[i : i + 1]], backend))
    return _hash(place, one.change, committed) == c


def _hash(place: bytes, change: Change, committed: list[G2Array]) -> int:
    points = encode_g2(G2Array.concat(committed), compressed=False)
    message = place + sha256(change.encode()).digest() + points
    return int.from_bytes(expand_message_xmd(message, CHALLENGE_TAG, _CHALLENGE_BYTES), "big") % R


def _sum(scalars: list[int], points: list[G2Array], backend: Backend) -> G2Array:
    return backend.msm_g2(FrArray.from_ints(scalars), G2Array.concat(points))
