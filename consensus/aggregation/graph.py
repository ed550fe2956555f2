"""Who shares masks with whom: the graph of a round (Bell et al., CCS 2020, eprint 2020/704).

The beacon orders the committed clients. Up to 128 of them all are neighbours; beyond, position p
has the k / 2 positions before and after it, k about 12 log2 n, so a client's work is n log n in
all. Whoever commits does so before the beacon, so where colluders stand is chance:

    threshold   least t with P[Hypergeometric(n - 1, C, k) >= t] < 2^-40 / n
                colluders hold fewer than t shares of any honest client's secrets
    ahead       least a with P[Hypergeometric(n - 1, C, k / 2) >= a] < 2^-40 / n
                of a client's k / 2 successors fewer than a collude

A set whose members all have `ahead` members among their successors therefore has, for each of its
honest clients, an honest one within reach on the ring: its honest clients are one connected graph,
whoever else dropped out and by whose doing. Without that the masks of a few that are left among
colluders would be known to these. In a complete graph two honest clients suffice: C + 2 members.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import comb

MAX_COMPLETE = 128
FAILURE_BITS = 40
LEAST_MEMBERS = 3
_DEGREE_FACTOR = 12
_DOMAIN = b"zkpot aggregation graph v1\x00"


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """Clients in graph order and their neighbours; at most `collusion` of them collude.

    degree    : of the sparse graph, even; None: everybody is everybody's neighbour
    threshold : shares that reconstruct a secret
    ahead     : how many successors in a set each member of it needs; 0 in a complete graph
    """

    order: tuple[bytes, ...]
    collusion: int
    degree: int | None
    threshold: int
    ahead: int

    @cached_property
    def _positions(self) -> dict[bytes, int]:
        return {client: i for i, client in enumerate(self.order)}

    @cached_property
    def _slots(self) -> dict[bytes, dict[bytes, int]]:
        return {}

    def __contains__(self, client: bytes) -> bool:
        return client in self._positions

    def find_position(self, client: bytes) -> int:
        """A client's place in graph order, from 0. KeyError for a stranger."""
        return self._positions[client]

    def list_neighbours(self, client: bytes) -> tuple[bytes, ...]:
        """A client's neighbours in graph order."""
        return tuple(self._find_slots(client))

    def find_slot(self, client: bytes, neighbour: bytes) -> int | None:
        """The place of a neighbour among those of a client; None when it is none."""
        return self._find_slots(client).get(neighbour)

    def find_sign(self, client: bytes, neighbour: bytes) -> int:
        """1 when the client adds the mask of the pair, -1 when it takes it away."""
        return 1 if self._positions[neighbour] > self._positions[client] else -1

    def is_enough(self, members: Collection[bytes]) -> bool:
        """Whether a sum over these clients hides each honest one among others."""
        chosen = frozenset(members)
        if len(chosen) < count_least(self.collusion) or not chosen <= set(self.order):
            return False
        if self.degree is None:
            return True
        inside = [client in chosen for client in self.order]
        return all(
            sum(self._list_ahead(inside, p)) >= self.ahead for p, here in enumerate(inside) if here
        )

    def _list_ahead(self, inside: Sequence[bool], position: int) -> list[bool]:
        half, n = (self.degree or 0) // 2, len(inside)
        return [inside[(position + i) % n] for i in range(1, half + 1)]

    def _find_slots(self, client: bytes) -> dict[bytes, int]:
        found = self._slots.get(client)
        if found is None:
            p, n = self._positions[client], len(self.order)
            if self.degree is None:
                places = [i for i in range(n) if i != p]
            else:
                half = self.degree // 2
                places = sorted((p + i) % n for i in range(-half, half + 1) if i)
            found = self._slots[client] = {self.order[i]: slot for slot, i in enumerate(places)}
        return found


def draw_graph(beacon: bytes, clients: Collection[bytes], collusion: int) -> Graph:
    """The graph of a round over the clients that committed.

    Where so few committed that no sparse graph withstands the collusion, the complete one is drawn.
    """

    def rank(client: bytes) -> bytes:
        return hashlib.sha256(_DOMAIN + beacon + client).digest()

    order = tuple(sorted(frozenset(clients), key=rank))
    n = len(order)
    try:
        degree = compute_degree(n)
        threshold, ahead = compute_bounds(n, collusion)
    except ValueError:
        degree, threshold, ahead = None, collusion + 1, 0
    return Graph(order=order, collusion=collusion, degree=degree, threshold=threshold, ahead=ahead)


def count_least(collusion: int) -> int:
    """The least number of clients of which a sum tells nothing of each."""
    return max(LEAST_MEMBERS, collusion + 2)


def compute_degree(n: int) -> int | None:
    """Neighbours of each of n clients in the sparse graph; None for few, who are all neighbours."""
    if n <= MAX_COMPLETE:
        return None
    power: int = n**_DEGREE_FACTOR
    least = (power - 1).bit_length()  # 12 log2 n, rounded up, in whole numbers
    return least + least % 2


@lru_cache(maxsize=256)
def compute_bounds(n: int, collusion: int) -> tuple[int, int]:
    """Threshold and `ahead` of the graph over n clients.

    Raises ValueError when so many may collude that a third of a client's neighbours, or of its
    successors, could not drop out.
    """
    degree = compute_degree(n)
    if degree is None:
        return collusion + 1, 0
    threshold = _bound_tail(n - 1, collusion, degree, n)
    ahead = _bound_tail(n - 1, collusion, degree // 2, n)
    if 3 * threshold > 2 * degree or 3 * ahead > degree:
        raise ValueError(f"{collusion} colluding clients are too many for {n} clients")
    return threshold, ahead


def _bound_tail(population: int, marked: int, drawn: int, n: int) -> int:
    """Least t with P[Hypergeometric(population, marked, drawn) >= t] < 2^-FAILURE_BITS / n."""
    total, tail = comb(population, drawn), 0
    for t in range(min(marked, drawn), -1, -1):
        tail += comb(marked, t) * comb(population - marked, drawn - t)
        if (tail * n << FAILURE_BITS) >= total:
            return t + 1
    raise AssertionError("the whole of a distribution is less than its tail")
