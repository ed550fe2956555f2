"""The order of proposers: accuracy, then the beacon, then turns."""

from __future__ import annotations

from fractions import Fraction

from consensus.learning.election import order_proposers, rank_clients

A, B, C = b"a" * 32, b"b" * 32, b"c" * 32


def test_the_highest_accuracy_leads() -> None:
    ranked = rank_clients({A: Fraction(1, 3), B: Fraction(2, 3), C: Fraction(1, 2)}, b"beacon")
    assert ranked == (B, C, A)


def test_accuracies_are_compared_exactly() -> None:
    """Floats of these two are equal."""
    less, more = Fraction(2**60, 2**60 + 1), Fraction(2**60 + 1, 2**60 + 2)
    assert float(less) == float(more)
    assert rank_clients({A: less, B: more}, b"") == (B, A)


def test_ties_are_broken_by_the_beacon_alone() -> None:
    tied = {key: Fraction(1, 2) for key in (A, B, C)}
    orders = {rank_clients(tied, b"beacon %d" % i) for i in range(64)}
    assert len(orders) == 6
    backwards = dict(reversed(tied.items()))
    assert rank_clients(tied, b"x") == rank_clients(backwards, b"x")


def test_a_tie_does_not_beat_accuracy() -> None:
    for i in range(16):
        ranked = rank_clients({A: Fraction(2), B: Fraction(1), C: Fraction(1)}, b"%d" % i)
        assert ranked[0] == A


def test_without_leaders_validators_take_turns() -> None:
    orders = [order_proposers((), n_validators=4, height=h) for h in range(1, 5)]
    assert orders == [(1, 2, 3, 0), (2, 3, 0, 1), (3, 0, 1, 2), (0, 1, 2, 3)]


def test_homes_of_leaders_come_first_and_once() -> None:
    assert order_proposers((2, 2, 0), n_validators=4, height=1) == (2, 0, 1, 3)
    assert order_proposers((3, 2, 1, 0), n_validators=4, height=9) == (3, 2, 1, 0)


def test_every_validator_is_in_the_order_once() -> None:
    for height in range(8):
        for leaders in ((), (6,), (6, 0, 6, 3)):
            order = order_proposers(leaders, n_validators=7, height=height)
            assert sorted(order) == list(range(7))
