"""A key of a ceremony at some moment: the file of a proving key, whose bases stay on the disk.

Who contributes or verifies goes through it piece by piece, so memory does not grow with the key. A
state proves nothing and verifies nothing: it becomes a key when its ceremony is finished.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from kernels.array import G1Array
from prover.errors import FormatError
from prover.keys.halves import KeyArray, count_blinders, count_links
from prover.keys.proving_file import Counts, read_contents
from prover.keys.streamed import Points, StreamedBases, find_tail

DELTA_ENDS = ("a", "b1", "b2")
"""Queries whose last base is delta."""
OVER_DELTA = ("c", "h")
"""Queries that are divided by delta, whole."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """The arrays of a file by name, and the sha256 of all its bytes."""

    path: Path
    counts: Counts
    arrays: dict[KeyArray, Any]
    digest: bytes

    def find(self, name: str) -> Any:
        """An array by its name."""
        return next(value for array, value in self.arrays.items() if array.name == name)

    def g1(self, name: str) -> Iterator[G1Array]:
        """The pieces of an array of G1."""
        return cast(Iterator[G1Array], list_pieces(self.find(name)))

    def find_end(self, name: str) -> Points:
        """The last point of an array."""
        found: Points = find_tail(self.find(name), 1)
        return found

    def read_link(self) -> Reading:
        """The bases of the link, in portions of one's own."""
        return Reading(self.g1("link"))

    def list_parts_of_link(
        self, hashed: G1Array, size: int
    ) -> Iterator[tuple[int, G1Array, G1Array]]:
        """What each base of the link is a sum of: multiples by k1 of the first point, by k2 of the
        second, portion by portion, each with the group whose k1 it is.

            h_1, h_2, ...      and      K_i          of each group
            h_0                and      eta_g        of each group
            nothing            and      eta

        hashed : h_0, h_1, ..., as many as the largest group has wires
        size   : of a portion, at the most
        """
        own, linked = Reading(self.g1("basis")), self.counts.linked
        for group, n_wires in enumerate(linked):
            for at in range(1, 1 + n_wires, size):
                portion = hashed[at : min(at + size, 1 + n_wires)]
                yield group, portion, own.take(len(portion))
        for group in range(len(linked)):
            yield group, hashed[:1], own.take(1)
        yield 0, G1Array.zeros(1), own.take(1)

    @property
    def shape(self) -> tuple[object, ...]:
        """Counts and lengths: equal for all states of a ceremony."""
        return self.counts, tuple(len(value) for value in self.arrays.values())


def open_state(path: Path, expected_digest: bytes | None = None) -> State:
    """The state of a file. Raises FormatError, also for another file than expected; OSError.

    cost : reads and hashes the file once
    """
    found = read_contents(path, streams=True)
    if expected_digest not in (None, found.digest):
        raise FormatError(
            "is altered, or of another moment than the transcript says",
            where=path.name,
            next_step="get it again from those who run the ceremony",
        )
    state = State(
        path=path,
        counts=found.counts,
        arrays=dict(found.arrays),
        digest=found.digest,
    )
    _require_lengths(state)
    return state


def _require_lengths(state: State) -> None:
    """The arrays are long enough for what is asked of them by place."""
    linked = state.counts.linked
    n, n_blinders = count_links(linked), count_blinders(len(linked))
    fits = len(linked) > 0 and len(state.find("correction")) == 2 + n_blinders
    fits = fits and len(state.find("basis")) == len(state.find("link")) == n
    if not fits or any(len(state.find(name)) < 2 for name in (*DELTA_ENDS, "advice")):
        raise FormatError(
            "its arrays do not fit each other",
            where=state.path.name,
            next_step="get it again from those who run the ceremony",
        )


def list_pieces(value: Any) -> Iterator[Points]:
    """The points of an array, in memory or in its file."""
    if isinstance(value, StreamedBases):
        for _, points in value.list_pieces():
            yield points
    elif len(value):
        yield value


class Reading:
    """Points of a stream in portions of one's own length."""

    def __init__(self, pieces: Iterator[G1Array]) -> None:
        self._pieces, self._left = pieces, G1Array.zeros(0)

    def take(self, n: int) -> G1Array:
        """The next n points; fewer at the end."""
        parts, missing = [self._left], n - len(self._left)
        while missing > 0 and (piece := next(self._pieces, None)) is not None:
            parts.append(piece)
            missing -= len(piece)
        joined = G1Array(np.concatenate([part.data for part in parts]))
        self._left = joined[n:]
        return joined[:n]
