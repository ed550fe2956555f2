"""Which wires of layers have an entry in A, B and C: those whose points a key holds."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

Span = tuple[int, int, int, int]
"""Cells of a grid: first row and the one after the last, first column and the one after it."""


@dataclass(slots=True)
class CommittedWires:
    """Advice with an entry in one matrix: so many wires of a tensor, by what they are there for."""

    parts: dict[int, dict[Hashable, int]] = field(default_factory=dict)

    def add(self, tensor: int, n: int, key: Hashable = None) -> None:
        """n wires of it; the same ones where the key is the same, others where it is not."""
        self.parts.setdefault(tensor, {})[key] = n

    def count(self, n_wires: dict[int, int]) -> int:
        """n_wires : of every tensor"""
        return sum(
            min(n_wires[tensor], sum(found.values())) for tensor, found in self.parts.items()
        )


@dataclass(slots=True, kw_only=True)
class Occurrence:
    """Wires of layers, beside those that have their entries in any circuit.

    n_wires      : of every tensor of advice
    in_a, in_c   : advice; all of it has an entry in B
    private_in_b : private wires
    grid_in_a, grid_in_b, inverse_in_b : weights of positions
    """

    n_wires: dict[int, int] = field(default_factory=dict)
    in_a: CommittedWires = field(default_factory=CommittedWires)
    in_c: CommittedWires = field(default_factory=CommittedWires)
    private_in_b: int = 0
    grid_in_a: list[Span] = field(default_factory=list)
    grid_in_b: list[Span] = field(default_factory=list)
    inverse_in_b: list[Span] = field(default_factory=list)

    def count_in_a(self) -> int:
        """Of advice."""
        return self.in_a.count(self.n_wires)

    def count_in_c(self) -> int:
        """Of advice."""
        return self.in_c.count(self.n_wires)

    def count_private_in_b(self) -> int:
        return self.private_in_b + count_cells(self.grid_in_b) + count_cells(self.inverse_in_b)


def count_cells(spans: Iterable[Span]) -> int:
    """Cells that at least one span covers."""
    spans = list(spans)
    rows = sorted({edge for span in spans for edge in span[:2]})
    columns = sorted({edge for span in spans for edge in span[2:]})
    return sum(
        (bottom - top) * (right - left)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
        if any(a <= top and bottom <= b and c <= left and right <= d for a, b, c, d in spans)
    )
