"""Weights of the positions of convolutions: which monomials of x and y a circuit has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prover.circuit.sizing.packing import Packing
from prover.circuit.sizing.sliding import Sliding


def grid_shape(sliding: Sliding, packing: Packing) -> tuple[int, int]:
    """Rows of the output, and blocks of columns: what has a weight of its own."""
    return sliding.rows.n_out, packing.count_blocks(sliding.columns.n_out)


def input_shape(sliding: Sliding, packing: Packing) -> tuple[int, int]:
    """One more than the greatest exponents of the numbers that windows meet."""
    columns = sliding.columns
    width = columns.exponent_range[1] + 1
    if packing.columns > 1:
        width = packing.count_blocks(columns.n_out)
    return sliding.rows.exponent_range[1] + 1, width


def inverse_shape(sliding: Sliding, packing: Packing) -> tuple[int, int]:
    """One more than the greatest exponents of inverses."""
    width = sliding.columns.greatest_inverse + 1 if packing.columns == 1 else 1
    return sliding.rows.greatest_inverse + 1, width


@dataclass(frozen=True, slots=True)
class PositionShapes:
    """Monomials x^i y^j that a circuit needs, and inverses: one more than greatest exponents."""

    grid: tuple[int, int] = (1, 1)
    inverses: tuple[int, int] = (1, 1)

    @classmethod
    def of(cls, layers: Iterable[tuple[Sliding, Packing, bool]]) -> PositionShapes:
        """layers : of every convolution, and whether its input is the samples"""
        grids, inverses = [(1, 1)], [(1, 1)]
        for sliding, packing, is_entrance in layers:
            grids.append(grid_shape(sliding, packing))
            if not is_entrance:
                grids.append(input_shape(sliding, packing))
                inverses.append(inverse_shape(sliding, packing))
        return cls(_cover(grids), _cover(inverses))

    @property
    def axes(self) -> tuple[str, ...]:
        """The challenges that there are."""
        return tuple(name for name, n in zip("xy", self.grid, strict=True) if n > 1)


def _cover(shapes: list[tuple[int, int]]) -> tuple[int, int]:
    return max(h for h, _ in shapes), max(w for _, w in shapes)
