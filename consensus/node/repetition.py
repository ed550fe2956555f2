"""When something is said again: soon at first, then ever more rarely, and soon again after news."""

from __future__ import annotations

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 16.0
"""What is lost is said again within this, however long nothing has changed."""


class Repetition:
    """Pauses that double from the first to LONGEST_PAUSE_S. The clock is the caller's."""

    def __init__(self, due_at: float, *, first_pause_s: float = FIRST_PAUSE_S) -> None:
        """due_at : the first time"""
        self.due_at = due_at
        self._first_pause_s = self._pause_s = first_pause_s

    def take_turn(self, now: float) -> bool:
        """Whether it is time; then the next one comes after the next pause."""
        if now < self.due_at:
            return False
        self.due_at = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return True

    def begin_again(self, due_at: float) -> None:
        """Something is new: at this time, and after short pauses."""
        self.due_at, self._pause_s = due_at, self._first_pause_s
