"""The suite `aggregation`: stable ids, and a lab whose shortcuts a node cannot tell."""

from __future__ import annotations

import pytest

from bench.registry import load_suite
from bench.suites.aggregation import Lab, count_kib
from consensus.aggregation import masked
from consensus.aggregation.outcome import Ending


def test_ids_are_stable() -> None:
    ids = [case.id for case in load_suite("aggregation", quick=False).cases]
    names = ("client", "payload", "node", "check", "round")
    assert ids == [f"aggregation.{name}.c{n}" for n in (100, 300, 1000) for name in names]


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab(10, 50)


def test_a_node_opens_the_sum_of_all_who_stayed(lab: Lab) -> None:
    outcome = lab.run_node()
    assert outcome.ending is Ending.MODEL
    assert outcome.sums is not None
    assert outcome.sums.tolist() == lab.expect_sums()
    assert len(outcome.entries) == 9


def test_one_client_plays_a_whole_round(lab: Lab) -> None:
    deal, update, unmasking = lab.run_client()
    assert masked.find_fault(update, lab.circle, lab.first, lab.accepted) is None
    assert deal.encode() == lab.deals[lab.first]
    assert unmasking.encode() == lab.unmaskings[lab.first]
    assert lab.unmask(update) == lab.expect_vector()
    n_bytes = len(deal.encode()) + len(unmasking.encode())
    assert count_kib((deal, update, unmasking)) == n_bytes / 1024


def test_a_round_is_all_clients_and_a_node(lab: Lab) -> None:
    seconds, outcome = lab.measure_round()
    assert seconds > 0
    assert outcome.ending is Ending.MODEL
