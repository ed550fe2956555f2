"""Rates and open streams per caller."""

from __future__ import annotations

import pytest

from api.http.limits import Places, RateLimits, Shares
from api.http.problems import ApiProblem


def test_a_rate_counts_each_caller_and_kind_by_itself() -> None:
    limits = RateLimits(submit="2/hour", read="3/hour")
    limits.admit("submit", "alice")
    limits.admit("submit", "alice")
    with pytest.raises(ApiProblem) as refused:
        limits.admit("submit", "alice")
    assert refused.value.code == "rate_limited"
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 3600
    limits.admit("submit", "bob")
    limits.admit("read", "alice")


def test_streams_are_counted_in_all_and_per_caller() -> None:
    streams = Places("too_many_streams", total=3, per_caller=2)
    with streams.hold("alice"), streams.hold("alice"):
        with pytest.raises(ApiProblem, match="too_many_streams"), streams.hold("alice"):
            pass
        with (
            streams.hold("bob"),
            pytest.raises(ApiProblem, match="too_many_streams"),
            streams.hold("carol"),
        ):
            pass
    with streams.hold("alice"), streams.hold("carol"):
        pass


def test_a_stream_that_fails_gives_its_place_back() -> None:
    streams = Places("too_many_streams", total=1, per_caller=1)
    with pytest.raises(KeyError), streams.hold("alice"):
        raise KeyError
    with streams.hold("alice"):
        pass


def test_shares_of_several_sizes_add_up() -> None:
    shares = Shares("too_many_uploads", total=10, per_caller=7)
    with shares.hold("alice", 4), shares.hold("bob", 3):
        for caller, n in (("alice", 4), ("carol", 4), ("bob", 5)):
            with pytest.raises(ApiProblem, match="too_many_uploads"), shares.hold(caller, n):
                pass
        with shares.hold("alice", 3):
            pass
    with shares.hold("alice", 7):
        pass
