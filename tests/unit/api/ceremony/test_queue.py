"""The queue of a ceremony, by times that are arguments."""

from __future__ import annotations

import pytest

from api.ceremony.queue import Limits, Queue, Stage, Ticket
from api.http.problems import ApiProblem

LIMITS = Limits(turn_s=100.0, longest_turns=3, seen_s=20.0, n_active=3, n_per_caller=2, n_ended=2)


def make(*names: str, now: float = 0.0) -> Queue:
    queue = Queue(LIMITS)
    for name in names:
        queue.join(Ticket(id=name, token_digest=b"", name=name, caller=name), now)
    queue.tick(now)
    return queue


def stages(queue: Queue) -> dict[str, str]:
    return {one.id: one.stage.value for one in queue.tickets}


def test_one_works_at_a_time_in_the_order_of_coming() -> None:
    queue = make("a", "b", "c")
    assert stages(queue) == {"a": "working", "b": "waiting", "c": "waiting"}
    assert [queue.count_ahead(one) for one in queue.tickets] == [0, 1, 2]
    assert queue.estimate_s(2) is None
    queue.check("a", "place")
    assert queue.tick(1000.0) != []  # b and c did not ask
    queue = make("a", "b", "c")
    queue.check("a", "place")
    queue.end("a", Stage.ACCEPTED, "place", 10.0)
    queue.tick(10.0)
    assert stages(queue) == {"a": "accepted", "b": "working", "c": "waiting"}
    assert queue.estimate_s(2) == 20.0


def test_who_does_not_move_is_late_and_may_come_again() -> None:
    queue = make("a")
    queue.see("a", 50.0)
    queue.tick(99.0)
    assert queue.tickets[0].stage is Stage.WORKING
    queue.move("a", 99.0)
    queue.tick(198.0)
    assert queue.tickets[0].stage is Stage.WORKING
    queue.tick(199.0)
    assert queue.tickets[0].stage is Stage.LATE
    assert "nothing of the turn moved" in queue.tickets[0].detail
    queue.join(Ticket(id="a2", token_digest=b"", name="a", caller="a"), 200.0)
    queue.tick(200.0)
    assert queue.at_work is not None
    assert queue.at_work.id == "a2"


def test_a_turn_that_only_trickles_ends_too() -> None:
    queue = make("a")
    for now in range(0, 300, 50):
        queue.move("a", float(now))
        queue.tick(float(now))
    queue.tick(299.0)
    assert queue.at_work is not None
    queue.tick(300.0)
    assert "longer than 300 s" in queue.tickets[0].detail


def test_who_does_not_ask_while_it_waits_is_passed_over() -> None:
    queue = make("a", "b", "c")
    queue.see("c", 15.0)
    queue.tick(20.0)
    assert stages(queue) == {"a": "working", "b": "late", "c": "waiting"}


def test_a_turn_that_its_holder_does_not_notice_ends_early() -> None:
    queue = make("a", "b", now=0.0)
    queue.see("b", 5.0)
    queue.end("a", Stage.LEFT, "", 10.0)
    queue.tick(10.0)
    queue.tick(29.0)
    assert queue.at_work is not None
    queue.tick(30.0)
    assert stages(queue)["b"] == "late"


def test_what_is_checked_cannot_be_late() -> None:
    queue = make("a")
    queue.check("a", "place")
    queue.move("a", 1.0)
    assert queue.tick(10_000.0) == []
    assert queue.left_s(queue.tickets[0], 0.0) == 0


def test_the_queue_is_bounded() -> None:
    queue = make("a", "b")
    queue.join(Ticket(id="a2", token_digest=b"", name="", caller="a"), 0.0)
    with pytest.raises(ApiProblem, match="queue_full"):
        queue.join(Ticket(id="d", token_digest=b"", name="", caller="d"), 0.0)
    queue.end("b", Stage.LEFT, "", 0.0)
    with pytest.raises(ApiProblem, match="quota_full"):
        queue.join(Ticket(id="a3", token_digest=b"", name="", caller="a"), 0.0)
    for i in range(9):
        queue.join(Ticket(id=f"e{i}", token_digest=b"", name="", caller="e"), 0.0)
        queue.end(f"e{i}", Stage.LEFT, "", 0.0)
    queue.tick(0.0)
    assert len(queue.tickets) == 2 + LIMITS.n_ended
