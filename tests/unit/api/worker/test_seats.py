"""Seats of a worker: who has the device, and who goes on beside whom."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

import pytest

from api.worker import seats as seats_module
from api.worker.seats import Seat, Seats

PATIENCE_S = 60.0
"""Of waits that end with an event; only a test that fails waits so long."""


class Stopped(Exception):
    """A task is not wanted any more."""


class Doing:
    """A call in a thread of its own. waits : set whenever it has to ask whether it is wanted"""

    def __init__(self, seats: Seats, *, is_alone: bool = False) -> None:
        self.waits, self.done, self.is_wanted = Event(), Event(), True
        self.seat = seats.take(self._check, is_alone=is_alone)
        self.failed: BaseException | None = None

    def _check(self) -> None:
        self.waits.set()
        if not self.is_wanted:
            raise Stopped

    def start(self, call: Callable[[Seat], object]) -> None:
        def run() -> None:
            try:
                call(self.seat)
            except Stopped as error:
                self.failed = error
            self.done.set()

        Thread(target=run, daemon=True).start()

    def must_wait(self) -> None:
        assert self.waits.wait(PATIENCE_S)
        assert not self.done.is_set()

    def must_end(self) -> None:
        assert self.done.wait(PATIENCE_S)


@pytest.fixture(autouse=True)
def ask_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seats_module, "ASK_S", 0.001)


def use(seat: Seat) -> None:
    with seat.device():
        pass


def test_the_device_goes_to_tasks_in_their_order() -> None:
    seats = Seats(2)
    first, second = Doing(seats), Doing(seats)
    second.start(use)
    second.must_wait()  # for the first, which reads its inputs still
    use(first.seat)
    second.must_end()


def test_the_device_is_one_tasks_at_a_time() -> None:
    seats = Seats(2)
    first, second = Doing(seats), Doing(seats)
    with first.seat.device():
        second.start(use)
        second.must_wait()
    second.must_end()


def test_who_needs_the_device_again_comes_before_who_was_taken_later() -> None:
    """A proof that is made again, on the device that takes over."""
    seats = Seats(2)
    first, second = Doing(seats), Doing(seats)
    use(first.seat)
    order: list[str] = []

    def note(name: str) -> Callable[[Seat], None]:
        def run(seat: Seat) -> None:
            with seat.device():
                order.append(name)

        return run

    with second.seat.device():
        first.start(note("first"))
        first.must_wait()
    first.must_end()
    second.start(note("second"))
    second.must_end()
    assert order == ["first", "second"]


@pytest.mark.parametrize("ends", ["by itself", "by an error"])
def test_a_task_that_ends_is_waited_for_no_more(ends: str) -> None:
    seats = Seats(2)
    first, second = Doing(seats), Doing(seats)
    if ends == "by an error":
        with pytest.raises(Stopped), first.seat.device():
            raise Stopped
    second.start(use)
    if ends == "by itself":
        second.must_wait()
    first.seat.leave()
    second.must_end()


def test_a_task_that_is_not_wanted_stops_waiting() -> None:
    seats = Seats(2)
    first, second = Doing(seats), Doing(seats)
    second.start(use)
    second.must_wait()
    second.is_wanted = False
    second.must_end()
    assert isinstance(second.failed, Stopped)
    second.seat.leave()
    use(first.seat)
    assert seats.taken == [first.seat]


def test_a_task_goes_on_beside_another_where_both_fit() -> None:
    seats = Seats(2, memory_bytes=10)
    first, second = Doing(seats), Doing(seats)
    second.start(lambda seat: seat.claim(lambda: 4))
    second.must_wait()  # what the first takes is not known yet
    first.seat.claim(lambda: 6)
    second.must_end()
    first.seat.leave()
    third = Doing(seats)
    third.start(lambda seat: seat.claim(lambda: 7))
    third.must_wait()
    second.seat.leave()
    third.must_end()


def test_who_was_taken_first_has_all_there_is() -> None:
    """It was planned for this worker, or will fail by itself."""
    Doing(Seats(2, memory_bytes=10)).seat.claim(lambda: 11)
    unknown = Seats(2)
    for _ in range(2):
        Doing(unknown).seat.claim(lambda: 1 << 60)


def test_a_single_seat_is_not_measured() -> None:
    def measure() -> int:
        raise AssertionError("nobody is beside")

    seats = Seats()
    Doing(seats).seat.claim(measure)
    assert not seats.wait_for_room(0.0)


def test_a_task_that_was_taken_before_is_worked_alone() -> None:
    seats = Seats(2)
    first, again = Doing(seats), Doing(seats, is_alone=True)
    again.start(Seat.begin)
    again.must_wait()
    first.seat.begin()
    first.seat.leave()
    again.must_end()
    with again.seat.device():
        assert not seats.wait_for_room(0.0)


def test_another_task_is_looked_for_when_the_device_is_at_work() -> None:
    seats = Seats(2)
    assert seats.wait_for_room(0.0)
    first = Doing(seats)
    assert not seats.wait_for_room(0.0)
    with first.seat.device():
        assert seats.wait_for_room(0.0)
        second = Doing(seats)
        assert not seats.wait_for_room(0.0)
        second.seat.leave()
    assert not seats.wait_for_room(0.0)
    first.seat.leave()
    assert seats.wait_for_room(0.0)
    seats.rest(PATIENCE_S)  # returns: nothing is in hand


def test_waiting_is_told_from_work() -> None:
    seats = Seats(2)
    first, second = Doing(seats), Doing(seats)
    with first.seat.device():
        second.start(use)
        second.must_wait()
    second.must_end()
    assert second.seat.waited_s >= seats_module.ASK_S
    assert first.seat.waited_s < second.seat.waited_s
