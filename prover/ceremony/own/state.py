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
from prover.keys.halves import KeyArray
from prover.keys.proving_file import Counts, read_contents
from prover.keys.streamed import Points, StreamedBases

DELTA_ENDS = ("a", "b1", "b2")
"""Queries whose last base is delta."""
OVER_DELTA = ("c", "h")
"""Queries that are divided by delta, whole."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """The arrays of a file by group and name, and the sha256 of all its bytes."""

    path: Path
    counts: Counts
    n_linked: int
    arrays: dict[KeyArray, Any]
    digest: bytes

    def find(self, name: str, group: int | None = None) -> Any:
        """An array by its name."""
        return next(
            value
            for array, value in self.arrays.items()
            if (array.name, array.group) == (name, group)
        )

    def g1(self, name: str, group: int | None = None) -> Iterator[G1Array]:
        """The pieces of an array of G1."""
        return cast(Iterator[G1Array], list_pieces(self.find(name, group)))

    def tail(self, name: str, group: int | None = None) -> Points:
        """The last points of an array, two at the most."""
        value = self.find(name, group)
        found: Points = value.tail if isinstance(value, StreamedBases) else value[-2:]
        return found

    def read_link(self, group: int) -> Reading:
        """The bases of a link, in portions of one's own."""
        return Reading(self.g1("link", group))

    @property
    def shape(self) -> tuple[object, ...]:
        """Counts and lengths: equal for all states of a ceremony."""
        return self.counts, self.n_linked, tuple(len(value) for value in self.arrays.values())


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
        n_linked=found.n_linked,
        arrays=dict(found.arrays),
        digest=found.digest,
    )
    _require_lengths(state)
    return state


def _require_lengths(state: State) -> None:
    """The arrays are long enough for what is asked of them by place."""
    fits = state.n_linked > 0 and len(state.find("correction")) == 2 + state.n_linked
    fits = fits and all(len(state.find(name)) >= 2 for name in (*DELTA_ENDS, "advice"))
    for group in range(state.n_linked):
        n = len(state.find("basis", group))
        fits = fits and n >= 2 and len(state.find("link", group)) == n + 1
    if not fits:
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


def list_halves(
    hashed: G1Array, basis: Iterator[G1Array], n_wires: int, size: int
) -> Iterator[tuple[G1Array, G1Array]]:
    """What each base of a link is a sum of: multiples by k1 of the first, by k2 of the second.

        h_1, h_2, ..., h_0, nothing      and      K_1, K_2, ..., nothing, eta

    hashed : h_0, h_1, ..., h_(n_wires)
    size   : of a portion; the last one has the two blinders
    """
    own, nothing = Reading(basis), G1Array.zeros(1)
    for at in range(0, n_wires, size):
        stop = min(at + size, n_wires)
        yield hashed[1 + at : 1 + stop], own.take(stop - at)
    yield G1Array.concat([hashed[:1], nothing]), G1Array.concat([nothing, own.take(1)])
