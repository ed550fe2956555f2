"""A sum that does not open: clients attest their pairs' masks, then reveal those with cheaters.

ATTEST  client i sends M_ij = Com(PRG(s_ij)) for its neighbours j in U and for those whose deal was
        bad. M_ij tells nothing of the mask: its last element blinds. Both sides of a pair commit to
        the same, so the equation of i can be checked by itself:

            Com(v_i) = c_i D_i + sum_j sign(i, j) M_ij        v_i = y_i less all that is recovered

        Whoever fails its own has cheated; an honest client never does.
REVEAL  neighbours of whoever is excluded send the seeds that they share with it, and so do two who
        both pass with different M: one of them colludes with a cheater. That is enough to take the
        masks of these pairs from the others' sum.

Honest pairs agree and are never asked, so an honest client stays masked by its honest neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Annotated, ClassVar

from consensus.aggregation.circle import Circle
from consensus.aggregation.commitments import combine, commit_vector
from consensus.aggregation.deal import MAX_CLIENTS
from consensus.aggregation.masks import SEED_BYTES, Masker
from consensus.aggregation.outcome import Edges
from consensus.aggregation.secrets import OwnSecrets, agree_pair_seed
from kernels.array import FrArray, G1Array
from prover.pedersen.commitment import Committer
from prover.randomness import RandomBytes, draw_weight
from prover.wire.array_kinds import Points
from prover.wire.kinds import Bytes
from prover.wire.records import Record, header


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attestation(Record):
    """M_ij of a client, in the order of `list_attested`; uncompressed, so that they read fast."""

    HEADER: ClassVar[bytes] = header(b"zkpotatt", 1)
    MAX_BYTES: ClassVar[int] = 64 * MAX_CLIENTS + 64
    commitments: Annotated[G1Array, Points(G1Array, 0, MAX_CLIENTS, compressed=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revelation(Record):
    """Seeds of a client's listed edges, in their order."""

    HEADER: ClassVar[bytes] = header(b"zkpotrev", 1)
    MAX_BYTES: ClassVar[int] = SEED_BYTES * MAX_CLIENTS + 64
    seeds: Annotated[bytes, Bytes(0, SEED_BYTES * MAX_CLIENTS, step=SEED_BYTES)]

    def list_seeds(self) -> list[bytes]:
        return [self.seeds[i : i + SEED_BYTES] for i in range(0, len(self.seeds), SEED_BYTES)]


Attestations = Mapping[bytes, Attestation]
"""By sender."""
Revelations = Mapping[bytes, Revelation]
"""By sender."""


def list_attested(
    circle: Circle, client: bytes, *, masked: Set[bytes], bad: Set[bytes]
) -> tuple[bytes, ...]:
    """The neighbours whose pairs' masks are still in v_i: in U, or with a bad deal."""
    return circle.list_neighbours(client, frozenset(masked | bad))


def make_attestation(
    circle: Circle,
    sender: bytes,
    secrets: OwnSecrets,
    *,
    masked: Set[bytes],
    bad: Set[bytes],
    masker: Masker,
    committer: Committer,
) -> Attestation:
    """What an honest client attests. bad : whose deals are bad, as the block says that asks"""
    points = [G1Array.zeros(0)]
    for other in list_attested(circle, sender, masked=masked, bad=bad):
        seed = agree_pair_seed(circle, sender, secrets.mask_private, other)
        stream = masker.sum_streams([(1, seed)], circle.n_elements)
        points.append(commit_vector(stream, committer))
    return Attestation(commitments=G1Array.concat(points))


def find_attestation_fault(
    attestation: Attestation,
    circle: Circle,
    sender: bytes,
    *,
    masked: Set[bytes],
    bad: Set[bytes],
) -> str | None:
    """Why an attestation does not count; None when it does. Whether it is true shows later."""
    if sender not in masked or sender in bad:
        return "is by a client that is not asked"
    n = len(list_attested(circle, sender, masked=masked, bad=bad))
    if len(attestation.commitments) != n:
        return "attests more or fewer masks than its sender has"
    return None


class PairCommitments:
    """M_ij for every i: its own where it attested, else the other's."""

    def __init__(
        self, circle: Circle, *, masked: Set[bytes], bad: Set[bytes], attestations: Attestations
    ) -> None:
        self._own: dict[tuple[bytes, bytes], G1Array] = {}
        for client, attestation in attestations.items():
            others = list_attested(circle, client, masked=masked, bad=bad)
            for k, other in enumerate(others):
                self._own[client, other] = attestation.commitments[k : k + 1]

    def find(self, client: bytes, other: bytes) -> G1Array | None:
        """The commitment that the client's equation is checked with; None when there is none."""
        return self._own.get((client, other), self._own.get((other, client)))

    def differ(self, client: bytes, other: bytes) -> bool:
        """Whether both attested, and not the same."""
        a, b = self.find(client, other), self.find(other, client)
        return a is not None and b is not None and not a.equals(b)


def list_asked(edges: Edges, owner: bytes) -> tuple[bytes, ...]:
    """With whom the seeds are shared that an owner has to reveal, in order."""
    return tuple(other for client, other in edges if client == owner)


def make_revelation(
    circle: Circle, sender: bytes, secrets: OwnSecrets, others: Sequence[bytes]
) -> Revelation:
    """The seeds shared with these neighbours."""
    seeds = (agree_pair_seed(circle, sender, secrets.mask_private, other) for other in others)
    return Revelation(seeds=b"".join(seeds))


def find_revelation_fault(
    revelation: Revelation,
    circle: Circle,
    sender: bytes,
    *,
    edges: Edges,
    pairs: PairCommitments,
    masker: Masker,
    committer: Committer,
    random_bytes: RandomBytes,
) -> str | None:
    """Why a revelation does not count; None when it does.

    pairs : of the attestations that the edges come from
    holds : all seeds are checked at once with random weights of 128 bits, which who made them did
            not know: a false one passes with a chance of 2^-128
    """
    others = list_asked(edges, sender)
    if not others:
        return "is by a client that is not asked"
    seeds = revelation.list_seeds()
    if len(seeds) != len(others):
        return "has more or fewer seeds than its sender is asked for"
    total, points, weights = FrArray.zeros(circle.n_elements), [], []
    for seed, other in zip(seeds, others, strict=True):
        attested = pairs.find(sender, other)
        if attested is None:
            return "has a seed of a mask that nobody attested"
        weight = draw_weight(random_bytes)
        stream = masker.sum_streams([(1, seed)], circle.n_elements)
        total = masker.add(total, masker.scale(stream, weight))
        points.append(attested)
        weights.append(weight)
    if not commit_vector(total, committer).equals(combine(points, weights)):
        return "has a seed of another mask than the attested one"
    return None
