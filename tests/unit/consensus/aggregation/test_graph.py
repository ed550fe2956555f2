"""The graph: who is whose neighbour, bounds from the exact distribution, sets that hide."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb
from random import Random

import pytest

from consensus.aggregation.graph import Graph, compute_bounds, compute_degree, draw_graph

BEACON = bytes(range(32))


def make_names(n: int) -> list[bytes]:
    return [i.to_bytes(32, "big") for i in range(n)]


def make_ring(n: int, **changes: int) -> Graph:
    """n clients in the order of their numbers, few of them neighbours."""
    fields = {"collusion": 1, "degree": 6, "threshold": 3, "ahead": 2} | changes
    return Graph(order=tuple(make_names(n)), **fields)


def test_few_clients_are_all_neighbours() -> None:
    names = make_names(128)
    graph = draw_graph(BEACON, names, 40)
    assert (graph.degree, graph.threshold, graph.ahead) == (None, 41, 0)
    assert sorted(graph.order) == names
    for client in names[:5]:
        assert graph.list_neighbours(client) == tuple(c for c in graph.order if c != client)


@pytest.mark.parametrize(("n", "degree"), [(129, 86), (300, 100), (1000, 120), (1024, 120)])
def test_many_clients_have_some_neighbours(n: int, degree: int) -> None:
    graph = draw_graph(BEACON, make_names(n), n // 10)
    assert compute_degree(n) == graph.degree == degree
    for client in graph.order[:3] + graph.order[-3:]:
        p = graph.find_position(client)
        near = {(p + i) % n for i in range(-degree // 2, degree // 2 + 1)} - {p}
        assert graph.list_neighbours(client) == tuple(graph.order[i] for i in sorted(near))


def test_neighbours_are_mutual_and_their_signs_opposite() -> None:
    graph = make_ring(20)
    for a, b in combinations(graph.order, 2):
        slot, back = graph.find_slot(a, b), graph.find_slot(b, a)
        assert (slot is None) == (back is None)
        assert graph.find_sign(a, b) == -graph.find_sign(b, a)
        if slot is not None:
            assert graph.list_neighbours(a)[slot] == b


def test_the_beacon_orders() -> None:
    names = make_names(20)
    first, second = draw_graph(BEACON, names, 2), draw_graph(bytes(32), names, 2)
    assert first.order == draw_graph(BEACON, names[::-1], 2).order
    assert first.order != second.order
    assert names[0] in first
    assert bytes(31) not in first


@pytest.mark.parametrize(("n", "collusion"), [(129, 20), (300, 60), (1000, 100), (1024, 0)])
def test_bounds_are_the_least(n: int, collusion: int) -> None:
    degree = compute_degree(n)
    assert degree is not None

    def compute_tail(drawn: int, t: int) -> Fraction:
        ways = sum(
            comb(collusion, x) * comb(n - 1 - collusion, drawn - x)
            for x in range(t, min(collusion, drawn) + 1)
        )
        return Fraction(ways, comb(n - 1, drawn))

    threshold, ahead = compute_bounds(n, collusion)
    rare = Fraction(1, n << 40)
    assert compute_tail(degree, threshold) < rare <= compute_tail(degree, threshold - 1)
    assert compute_tail(degree // 2, ahead) < rare <= compute_tail(degree // 2, ahead - 1)


def test_too_many_colluders_for_a_sparse_graph() -> None:
    """They are refused when a task is made; a round that has so few clients is complete."""
    with pytest.raises(ValueError, match="400 colluding clients are too many for 1000"):
        compute_bounds(1000, 400)
    graph = draw_graph(BEACON, make_names(200), 100)
    assert (graph.degree, graph.threshold, graph.ahead) == (None, 101, 0)


def test_colluders_hold_less_than_a_threshold(rng: Random) -> None:
    graph = draw_graph(BEACON, make_names(400), 60)
    for _ in range(20):
        bad = set(rng.sample(graph.order, 60))
        for client in rng.sample(graph.order, 20):
            assert len(bad & set(graph.list_neighbours(client))) < graph.threshold


@pytest.mark.parametrize(("collusion", "least"), [(0, 3), (1, 3), (2, 4), (5, 7)])
def test_a_set_has_two_honest_clients(collusion: int, least: int) -> None:
    graph = draw_graph(BEACON, make_names(9), collusion)
    assert graph.is_enough(graph.order[:least])
    assert not graph.is_enough(graph.order[: least - 1])
    assert not graph.is_enough([*graph.order[: least - 1], bytes(32)[:-1] + b"\xff"])
    assert not graph.is_enough([graph.order[0]] * least)


def list_parts(graph: Graph, members: set[bytes]) -> int:
    """Of how many pieces these clients are, joined by edges."""
    parts, rest = 0, set(members)
    while rest:
        parts, queue = parts + 1, [rest.pop()]
        while queue:
            near = set(graph.list_neighbours(queue.pop())) & rest
            rest -= near
            queue += near
    return parts


def test_honest_clients_of_a_set_that_is_enough_are_connected(rng: Random) -> None:
    """Whoever dropped out: fewer colluders than `ahead` among anybody's successors."""
    graph, n_enough, n_apart = make_ring(16), 0, 0
    for _ in range(3000):
        members = set(rng.sample(graph.order, rng.randrange(3, 17)))
        bad = {rng.choice(graph.order)}
        parts = list_parts(graph, members - bad)
        if graph.is_enough(members):
            n_enough += 1
            assert parts == 1
        n_apart += parts > 1
    assert n_enough > 300
    assert n_apart > 300


def test_a_client_that_only_colluders_are_near_is_not_hidden() -> None:
    """All others near it dropped out: as many members as it likes elsewhere do not help."""
    graph = make_ring(20)
    lonely = {graph.order[i] for i in (0, 1, *range(4, 17))}
    assert not graph.is_enough(lonely)
    assert graph.is_enough(lonely | {graph.order[2], graph.order[18], graph.order[19]})
