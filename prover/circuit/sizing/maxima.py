"""Max pools by their numbers: windows alike, and which of two gadgets a pool gets.

plain  the pool takes activations y: y_out - y_i in range for every place of a window, and one of
       the differences is zero
fused  right behind a layer that requantizes, if nothing else takes that layer's output: the same
       of quotients q, and the clamp once a window in place of once a number
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from kernels.numpy_types import Int64Array
from prover.circuit.sizing.sliding import Axis, Sliding
from prover.circuit.sizing.widths import split_widths
from prover.errors import ArchitectureInvalid
from prover.model.layers import Layer, Requant
from prover.model.network import Architecture
from prover.model.pooling import MaxPool

MAX_AREA = 1 << 12
"""Of a window of a circuit: its differences are multiplied one after the other."""

MOST_IN_A_ROW = 16
"""Factors that are multiplied one after the other; of more, pairs first."""

_CLAMP_ROWS = 2  # of an activation: a product and a lookup


def group_outputs(axis: Axis) -> Iterator[tuple[Int64Array, Int64Array]]:
    """Outputs that meet equally many numbers, and these numbers: int64[m], int64[m, count]."""
    met = axis.met.T
    inside = (met >= 0) & (met < axis.n)
    counts = inside.sum(axis=1)
    for count in np.unique(counts).tolist():
        alike = np.flatnonzero(counts == count).astype(np.int64)
        yield alike, met[alike][inside[alike]].reshape(len(alike), count)


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of one plane that have the same shape where they meet it."""

    rows: Int64Array
    columns: Int64Array
    met_rows: Int64Array
    met_columns: Int64Array

    @property
    def n(self) -> int:
        return len(self.rows) * len(self.columns)

    @property
    def n_places(self) -> int:
        """Numbers that each of them meets."""
        n_places: int = self.met_rows.shape[1] * self.met_columns.shape[1]
        return n_places


def list_windows(sliding: Sliding) -> Iterator[Windows]:
    """All windows of a plane, those alike together."""
    across = list(group_outputs(sliding.columns))
    for rows, met_rows in group_outputs(sliding.rows):
        for columns, met_columns in across:
            yield Windows(rows, columns, met_rows, met_columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolChoice:
    """What a max pool is made of.

    bits   : of the range of differences
    source : the layer whose quotients it takes; None for the plain gadget
    n_rows : of the pool, and of the clamps of its input or of its output
    """

    bits: int
    source: int | None
    n_rows: int
    reason: str

    @property
    def is_fused(self) -> bool:
        return self.source is not None


def choose_pools(
    architecture: Architecture, n_samples: int, table_bits: int
) -> Mapping[int, PoolChoice]:
    """The gadget of every max pool, by its index, with a range table of so many bits.

    Windows of one place are no maximum: such a pool is another form of its input.
    """
    return {
        index: _choose(architecture, layer, n_samples, table_bits)
        for index, layer in enumerate(architecture.layers)
        if isinstance(layer, MaxPool) and layer.window.area > 1
    }


def _choose(
    architecture: Architecture, pool: MaxPool, n_samples: int, table_bits: int
) -> PoolChoice:
    taken = pool.inputs[0]
    shape = architecture.shapes[taken]
    if pool.window.area > MAX_AREA:
        raise ArchitectureInvalid(f"a max pool has windows of at most {MAX_AREA} numbers")
    sliding = Sliding.of(pool.window, shape)
    n_planes = n_samples * shape[0]
    n_windows, n_numbers = n_planes * prod(sliding.plane), n_samples * prod(shape)
    low, high = architecture.value_ranges[taken]
    bits = (high - low).bit_length()
    plain = n_planes * count_rows(sliding, bits, table_bits)
    source = architecture.layers[taken - 1]
    if not isinstance(source.requant, Requant):
        return PoolChoice(
            bits=bits, source=None, n_rows=plain, reason="plain: it takes no quotients"
        )
    plain += _CLAMP_ROWS * n_numbers
    if count_takers(architecture.layers, taken) > 1:
        return PoolChoice(
            bits=bits, source=None, n_rows=plain, reason="plain: others take its input"
        )
    if shape[0] * sliding.n_used < prod(shape):
        reason = "plain: a quotient in no window would have no range"
        return PoolChoice(bits=bits, source=None, n_rows=plain, reason=reason)
    q_bits = source.requant.q_bits
    fused = n_planes * count_rows(sliding, q_bits, table_bits) + _CLAMP_ROWS * n_windows
    if plain <= fused:
        reason = f"plain: {plain} rows, {fused} if fused with the clamp"
        return PoolChoice(bits=bits, source=None, n_rows=plain, reason=reason)
    reason = f"fused with the clamp: {fused} rows, not {plain}"
    return PoolChoice(bits=q_bits, source=taken - 1, n_rows=fused, reason=reason)


def count_takers(layers: Sequence[Layer], value: int) -> int:
    """How often layers take a value."""
    return sum(layer.inputs.count(value) for layer in layers)


def count_rows(sliding: Sliding, bits: int, table_bits: int) -> int:
    """Rows of the differences of one plane: in range, and one of each window zero."""
    n_lookups = len(split_widths(bits, table_bits))
    rows, columns = sliding.rows.n_seen, sliding.columns.n_seen
    n_differences = int(rows.sum()) * int(columns.sum())
    n_alone = int((rows == 1).sum()) * int((columns == 1).sum())  # equal to the only number
    n_windows = prod(sliding.plane)
    return (n_lookups + 1) * n_differences - n_windows - (n_lookups - 1) * n_alone


def count_alike(sliding: Sliding) -> Iterator[tuple[int, int]]:
    """Numbers that windows of a plane meet, and how many windows meet so many."""
    across = _count_values(sliding.columns)
    for height, n_rows in _count_values(sliding.rows):
        for width, n_columns in across:
            yield height * width, n_rows * n_columns


def _count_values(axis: Axis) -> list[tuple[int, int]]:
    values, counts = np.unique(axis.n_seen, return_counts=True)
    return list(zip(values.tolist(), counts.tolist(), strict=True))
