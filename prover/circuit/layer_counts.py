"""Counts of an accuracy circuit, layer by layer: its gadgets with numbers in place of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from prover.circuit.affine_counts import AffineCounts, Value, quotients_of
from prover.circuit.occurrence import count_cells
from prover.circuit.public_inputs import PublicLayout, list_clamp_kinds
from prover.circuit.sizing.affine import list_affine
from prover.circuit.sizing.maxima import MOST_IN_A_ROW, count_alike
from prover.circuit.sizing.sliding import Sliding
from prover.model.graph import trace_samples
from prover.model.layers import WEIGHT_MAX, Linear
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Add, MaxPool, SumPool


@dataclass(slots=True, kw_only=True)
class LayerCounts(AffineCounts):
    """The counts of a whole circuit."""

    @classmethod
    def of(cls, layout: PublicLayout) -> LayerCounts:
        """All of a circuit."""
        choices = layout.choices
        counts = cls(layout=layout, choices=choices, table_bits=choices.widths.table_bits)
        if layout.n_samples > 1:  # 1 and s come without a row
            counts.define(layout.n_samples - 2, a=1, b=1, c=1, in_a=True)
        counts.add_positions()
        counts._add_layers()
        counts._close_tables()
        counts.n_private_in_a += count_cells(counts.occurs.grid_in_a)
        return counts

    def _add_layers(self) -> None:
        architecture = self.layout.architecture
        shapes = dict(list_affine(architecture, self.layout.n_samples))
        for index, layer in enumerate(architecture.layers):
            made: Value | None = None
            if trace_samples(architecture.layers, index + 1):
                self.values.append(None)
                continue
            n = prod(architecture.shapes[index + 1])
            match layer:
                case Linear() | Conv2d():
                    made = self.add_affine(index, layer, shapes[index], n)
                case Add():
                    made = self._add_sums(index, layer, n)
                case MaxPool() if layer.window.area > 1:
                    made = self._add_maxima(index, layer, n)
                case SumPool() | MaxPool():
                    made = self._pool(layer.window, layer.inputs[0], n)
                case _:
                    taken = self.value(layer.inputs[0])
                    made = Value(taken.base, n, taken.n_terms, taken.n_base)
            self.values.append(made)

    def _pool(self, window: Window, number: int, n: int) -> Value:
        """Sums of windows."""
        taken, shape = self.value(number), self.layout.architecture.shapes[number]
        n_base = taken.n_base
        if taken.n_terms == 1:
            n_base = min(n_base, shape[0] * Sliding.of(window, shape).n_used)
        return Value(taken.base, n, taken.n_terms * window.area, n_base)

    def _add_sums(self, index: int, layer: Add, n: int) -> Value:
        """Sums and quotients packed alike; what is added twice is one wire."""
        a, b = map(self.value, layer.inputs)
        n_sums = n * self.layout.n_samples
        self.add_quotient(index, n, layer.requant)
        n_rows = self.choices.packings[index].packing.count_groups(n_sums)
        self.state(n_rows, b=1, c=1)
        self.nnz[0] += n_sums * (a.n_terms + (b.n_terms if a != b else 0))
        self.nnz[2] += 2 * n_sums
        for value in (a, b):
            self.occur(self.occurs.in_a, value)
        self.occurs.in_c.add(quotients_of(index), 2 * n_sums)
        return self.clamp_unless_fused(index, n, layer.requant)

    def _add_maxima(self, index: int, layer: MaxPool, n: int) -> Value:
        """Differences in range, and a product of each window that is zero."""
        choice, taken = self.choices.pools[index], self.value(layer.inputs[0])
        shape = self.layout.architecture.shapes[layer.inputs[0]]
        n_planes, maxima = self.layout.n_samples * shape[0], index
        if choice.source is not None:
            maxima = quotients_of(index)
        self.add_advice(maxima, n * self.layout.n_samples)
        sliding, n_several = Sliding.of(layer.window, shape), 0
        for n_places, n_alike in count_alike(sliding):
            n_windows, n_terms = n_planes * n_alike, 1 + taken.n_terms
            if n_places == 1:
                self.state(n_windows, c=n_terms)
                self.occurs.in_c.add(maxima, n_windows, ("alone", index))
                self.occurs.in_c.add(taken.base, n_windows * taken.n_terms, ("alone", index))
                continue
            self.require_range(n_windows * n_places, choice.bits, terms=n_terms)
            self._add_zero_product(n_windows, n_places, n_terms)
            n_several += n_windows
        self.occurs.in_a.add(maxima, n_several, ("maxima", index))
        self.occurs.in_a.add(taken.base, n_planes * count_left(sliding) * taken.n_terms, index)
        if choice.source is None:
            return Value(index, n, 1, n)
        requant = self.layout.architecture.layers[choice.source].requant
        assert requant is not None
        return self.add_clamp(index, n, requant)

    def _add_zero_product(self, n: int, n_factors: int, n_terms: int) -> None:
        """n products of factors of so many terms."""
        loose: list[int] = []
        while n_factors > MOST_IN_A_ROW:
            half = n_factors // 2
            loose += [n_terms] * (n_factors % 2)
            self.define(n * half, a=n_terms, b=n_terms, c=1)
            n_factors, n_terms = half, 1
            n_in_a = half // 2 if half > MOST_IN_A_ROW else 1
            self.n_private_in_a += n * n_in_a
            self.occurs.private_in_b += n * (half - n_in_a)
        factors = [n_terms] * n_factors + loose
        self.define(n * (len(factors) - 2), a=1, c=1, in_a=True)
        self.state(n, a=1)
        self.nnz[0] += n * (factors[0] - 1)
        self.nnz[1] += n * sum(factors[1:])

    def _close_tables(self) -> None:
        n_range, n_weight = 1 << self.table_bits, 2 * WEIGHT_MAX + 1
        self.close("range", "range", n_range, terms=n_range - 1)  # the row of 0 has no term
        self.close("weight", "weight", n_weight, terms=n_weight - 1)
        for index, kind in enumerate(list_clamp_kinds(self.layout.architecture)):
            (q_min, q_max), (y_min, _) = kind
            n_rows = q_max - q_min + 1
            with_y = q_max if y_min == 0 else n_rows - 1  # y = 0 at every q <= 0, or at q = 0 alone
            self.close(f"clamp {index}", kind, n_rows, terms=n_rows - 1 + with_y)

    @property
    def occurring(self) -> tuple[int, int, int]:
        """Wires with an entry in A, B and C."""
        layout, architecture = self.layout, self.layout.architecture
        n_hits = layout.n_samples * architecture.n_classes
        n_multiplicities = sum(self.tables.values())
        grid, inverses = self.choices.positions.grid, self.choices.positions.inverses
        has_s, has_pairs = layout.n_samples > 1, bool(architecture.multipliers)
        # 1, s, g, x, and y where it has powers; the samples' sums and hits.
        in_a = 1 + has_s + has_pairs + layout.sums.n_sums + n_hits + (grid[0] > 1) + (grid[1] > 2)
        # 1, challenges, of them s and x only as a base of powers or below 1; multipliers.
        in_b = 1 + len(layout.challenges) - has_s + (layout.n_samples > 2)
        in_b += (grid[0] > 2 or inverses[0] > 1) - (grid[0] > 1)
        in_b += len(architecture.multipliers) + self.n_model + self.n_advice - n_multiplicities
        in_b += self.occurs.count_private_in_b() + self._count_powers_in_b()
        # 1, the claimed count and the sum of labels; s; hits and multiplicities; private wires.
        in_c = 3 + self.sums_in_c + n_hits + n_multiplicities + self.n_private
        in_c -= sum(n > 1 for n in inverses)
        in_a += self.occurs.count_in_a()
        in_c += self.occurs.count_in_c()
        return in_a + self.n_private_in_a, in_b, in_c

    def _count_powers_in_b(self) -> int:
        """Private powers: of y all, of x what powers are made of."""
        grid, inverses = self.choices.positions.grid, self.choices.positions.inverses
        return max(grid[1] - 2, 0) + inverses[1] - 1 + (inverses[0] > 2)


def count_left(sliding: Sliding) -> int:
    """Numbers of a plane whose difference stands first in the product of some window, on the A
    side: one of each window, or half of a large one; at most, where such windows overlap."""
    n_first, n_alone = 1, 1
    for axis in (sliding.rows, sliding.columns):
        seen, starts = axis.n_seen, np.arange(axis.n_out) * axis.stride - axis.pad
        first = np.maximum(starts, 0)
        several = np.unique(first[seen > 1])
        n_first *= len(np.unique(first))
        n_alone *= len(np.setdiff1d(first, several))
    large = [(k, n) for k, n in count_alike(sliding) if k > MOST_IN_A_ROW]
    return n_first - n_alone + sum(n * (k // 2 - 1) for k, n in large)
