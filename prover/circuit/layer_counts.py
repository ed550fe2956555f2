"""Counts of an accuracy circuit, layer by layer: its gadgets with numbers in place of tensors."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod

from prover.circuit.affine import AffineShape, list_affine
from prover.circuit.choices import Choices
from prover.circuit.counting import Counts
from prover.circuit.gadgets.packing import Packing
from prover.circuit.positions import grid_shape, inverse_shape
from prover.circuit.public_inputs import PublicLayout, list_clamp_kinds
from prover.model.graph import trace_samples
from prover.model.layers import BIAS_BITS, WEIGHT_MAX, Linear, Requant
from prover.model.planes import Conv2d
from prover.model.pooling import SumPool

Span = tuple[int, int, int, int]
"""Cells of a grid: first row and the one after the last, first column and the one after it."""


@dataclass(frozen=True, slots=True)
class Value:
    """Forms of what a layer makes.

    base    : the layer whose wires they are of
    n       : forms of one sample
    n_terms : wires of each; where windows of sums overlap, the most that it can be
    """

    base: int
    n: int
    n_terms: int


@dataclass(slots=True, kw_only=True)
class LayerCounts(Counts):
    """The counts while layers are added.

    in_b, in_c    : private wires with an entry in B, and committed ones in A and C, beside those
                    that have one there in any circuit
    grid, inverse : cells of grids of weights with an entry in A and in B
    """

    layout: PublicLayout
    choices: Choices
    values: list[Value | None] = field(default_factory=lambda: [None])
    n_wires: dict[int, int] = field(default_factory=dict)
    in_b: int = 0
    bases_in_c: set[int] = field(default_factory=set)
    grid_in_a: list[Span] = field(default_factory=list)
    grid_in_b: list[Span] = field(default_factory=list)
    inverse_in_b: list[Span] = field(default_factory=list)
    sums_in_c: bool = False
    _weight_sums: set[Hashable] = field(default_factory=set)
    _combinations: dict[Hashable, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, layout: PublicLayout) -> LayerCounts:
        """All of a circuit."""
        choices = layout.choices
        counts = cls(layout=layout, choices=choices, table_bits=choices.widths.table_bits)
        if layout.n_samples > 1:  # 1 and s come without a row
            counts.define(layout.n_samples - 2, a=1, b=1, c=1, in_a=True)
        counts._add_positions()
        counts._add_layers()
        counts._close_tables()
        counts.n_private_in_a += count_cells(counts.grid_in_a)
        return counts

    # -- weights -----------------------------------------------------------------------------------

    def _add_positions(self) -> None:
        """Powers of x and y, and their products; the same of inverses, each after a quotient."""
        positions = self.choices.positions
        for n_inverse in positions.inverses:
            self.define(n_inverse > 1, a=1, b=1, c=1, in_a=True)
        for shape in (positions.grid, positions.inverses):
            for n in shape:
                self.define(max(n - 2, 0), a=1, b=1, c=1, in_a=True)
            # The greatest power of y multiplies none, and stands on the B side of the products.
            self.n_private_in_a -= shape[1] > 2
            if shape != (1, 1):
                self.define(prod(shape), a=1, b=1, c=1)

    def _add_weight_sum(self, packing: Packing) -> None:
        """The sum of all samples' weights is a wire, for each kind of weights."""
        kind = _weights_kind(packing)
        if kind not in self._weight_sums:
            self._weight_sums.add(kind)
            n_packs = packing.count_packs(self.layout.n_samples)
            self.sums_in_c |= n_packs > 1
            self.define(1, c=n_packs + 1, in_a=True)

    # -- layers ------------------------------------------------------------------------------------

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
                    made = self._add_affine(index, layer, shapes[index], n)
                case SumPool():
                    taken = self._value(layer.inputs[0])
                    made = Value(taken.base, n, taken.n_terms * layer.window.area)
                case _:
                    taken = self._value(layer.inputs[0])
                    made = Value(taken.base, n, taken.n_terms)
            self.values.append(made)

    def _value(self, number: int) -> Value:
        value = self.values[number]
        assert value is not None
        return value

    def _add_affine(
        self, index: int, layer: Linear | Conv2d, shape: AffineShape, n: int
    ) -> Value | None:
        packing = self.choices.packings[index].packing
        self._add_weight_sum(packing)
        if shape.n_places > 1:
            cells = self._use_grid(shape, packing, self.grid_in_b)
            self.define(1, a=1, b=cells, c=1, in_a=True)
        if not shape.public_input:
            self._add_input(layer.inputs[0], shape, packing)
        self._add_parameters(shape, packing)
        n_entries = self._count_columns(shape, packing) * (shape.depth + 1)
        if shape.has_skip:
            n_entries += self._add_skip(self._value(layer.inputs[1]), shape, packing)
        if layer.requant is None:
            self._add_logits(index, n, shape, packing, n_entries)
            return None
        self._add_quotient(index, n, layer.requant)
        self._add_requantized(index, n, shape, packing, n_entries)
        self._add_clamp(n, layer.requant)
        return Value(index, n, 1)

    def _add_input(self, number: int, shape: AffineShape, packing: Packing) -> None:
        """Sums over samples, then what windows meet."""
        value, n_samples = self._value(number), self.layout.n_samples
        n_packs, sliding = packing.count_packs(n_samples), shape.sliding
        if n_packs == 1:
            n_terms = n_samples * value.n_terms
        else:
            n_terms = 1
            key: Hashable = number
            if sliding is not None:
                key = (number, sliding.rows.used.tobytes(), sliding.columns.used.tobytes())
            key = (key, *_weights_kind(packing))
            has_product = sliding is None or shape.count_cells(packing) > 1
            if key not in self._combinations:
                self._define_packed(
                    n_packs * shape.n_inputs, n_samples * shape.n_inputs * value.n_terms
                )
                self.define(shape.n_inputs, c=n_packs + 1)
                self._combinations[key] = False
            if has_product and not self._combinations[key]:
                self._combinations[key] = True
                self.n_private_in_a += shape.n_inputs
        if sliding is None:
            if n_packs == 1:
                self.bases_in_c.add(value.base)
                self.define(shape.n_inputs, c=n_terms + 1, in_a=True)
            return
        self._add_windows(value, shape, packing, n_terms)

    def _add_windows(
        self, value: Value, shape: AffineShape, packing: Packing, n_terms: int
    ) -> None:
        """n_terms : wires of a number that windows meet"""
        sliding = shape.sliding
        assert sliding is not None
        is_committed = packing.count_packs(self.layout.n_samples) == 1
        height, width = int(sliding.rows.n_meetings.sum()), int(sliding.columns.n_meetings.sum())
        used_rows = len(sliding.rows.used)
        if packing.columns > 1:
            n_blocks = packing.count_blocks(sliding.columns.n_out)
            n_numbers = shape.n_channels * used_rows * width * n_terms
        else:
            n_blocks = 0
            n_numbers = shape.n_inputs * n_terms
        n_positioned = shape.count_positioned(packing)
        if n_positioned:
            self.define(n_positioned, c=1)
            self.nnz[1 if is_committed else 0] += n_numbers
            self.nnz[0 if is_committed else 1] += n_positioned
            exponents = sliding.columns.exponents
            across = (0, n_blocks) if n_blocks else (int(exponents[0]), int(exponents[-1]) + 1)
            down = sliding.rows.exponents
            span = (int(down[0]), int(down[-1]) + 1, *across)
            (self.grid_in_a if is_committed else self.grid_in_b).append(span)
            n_entries = shape.n_channels * height * (sliding.columns.kernel * n_blocks or width)
        else:
            n_entries = shape.n_channels * height * width * n_terms
            if is_committed:
                self.bases_in_c.add(value.base)
        self.define(shape.depth, c=1, in_a=True)
        self.nnz[2] += n_entries
        moved = inverse_shape(sliding, packing)
        if moved != (1, 1):
            self.define(shape.depth, a=1, b=1, c=1, in_a=True)
            self.inverse_in_b.append((0, moved[0], 0, moved[1]))

    def _add_parameters(self, shape: AffineShape, packing: Packing) -> None:
        """Weights and biases in range, and the products that their layer's outputs are sums of."""
        n_weights = shape.n_outputs * shape.depth
        self.n_model += n_weights + shape.n_outputs
        self.look_up("weight", n_weights, terms=1)
        self.require_range(shape.n_outputs, BIAS_BITS, terms=2, exact=True)
        groups = self._count_columns(shape, packing)
        self._define_packed(groups * (shape.depth + 1), n_weights + shape.n_outputs)

    def _count_columns(self, shape: AffineShape, packing: Packing) -> int:
        return shape.count_columns(packing)

    def _add_skip(self, value: Value, shape: AffineShape, packing: Packing) -> int:
        groups = shape.count_columns(packing)
        return self._sum_outputs(value.base, value.n_terms, shape, packing, groups)

    def _sum_outputs(
        self, base: int, n_terms: int, shape: AffineShape, packing: Packing, groups: int
    ) -> int:
        """Entries of all sums together."""
        n_samples, cells = self.layout.n_samples, shape.count_cells(packing)
        n_packs = packing.count_packs(n_samples)
        n_wires = n_samples * shape.n_outputs * shape.n_places * n_terms
        if n_packs > 1:
            self._define_packed(n_packs * groups * cells, n_wires)
        if cells == 1:
            if n_packs == 1:
                self.bases_in_c.add(base)
                return n_wires
            return n_packs * groups
        if n_packs > 1:
            self.define(groups * cells, c=n_packs + 1, in_a=True)
            self.define(groups * cells, a=1, b=1, c=1)
            self._use_grid(shape, packing, self.grid_in_b)
        else:
            self._define_packed(groups * cells, n_wires)
            self._use_grid(shape, packing, self.grid_in_a)
        return groups * cells

    def _use_grid(self, shape: AffineShape, packing: Packing, spans: list[Span]) -> int:
        """Cells of the output's grid; 1, a constant, where there is none."""
        assert shape.sliding is not None
        height, width = grid_shape(shape.sliding, packing)
        if (height, width) != (1, 1):
            spans.append((0, height, 0, width))
        return height * width

    def _add_quotient(self, index: int, n: int, requant: Requant) -> None:
        n *= self.layout.n_samples
        self.n_advice += 2 * n
        self.require_range(n, requant.shift, terms=1)

    def _add_clamp(self, n: int, requant: Requant) -> None:
        n *= self.layout.n_samples
        self.n_advice += n
        self.define(n, a=1, b=1, c=1)
        self.in_b += n  # the product just defined, in the lookup
        self.look_up((requant.q_range, requant.y_range), n, terms=3)

    def _add_requantized(
        self, index: int, n: int, shape: AffineShape, packing: Packing, n_entries: int
    ) -> None:
        """n_entries : of the outputs, before they are wires"""
        groups, apart = packing.count_groups(shape.n_outputs), shape.count_columns(packing)
        quotients = -1 - index  # q and rem, wires of their own
        self.n_wires[index], self.n_wires[quotients] = n, 2 * n
        n_rounded = self._sum_outputs(quotients, 2, shape, packing, groups)
        self.define(apart, c=1, in_a=True)
        self.nnz[2] += n_entries + n_rounded + groups
        if shape.per_channel:
            self.define(apart, a=1, b=1, c=1)
            self.state(groups)
            self.nnz[2] += apart
        else:
            self.state(groups, a=1, b=1)

    def _add_logits(
        self, index: int, n: int, shape: AffineShape, packing: Packing, n_entries: int
    ) -> None:
        """The logits as raw accumulators, and the count over them."""
        n_samples, n_logits = self.layout.n_samples, self.layout.n_samples * n
        self.n_wires[index] = n
        self.n_advice += n_logits
        groups = packing.count_groups(shape.n_outputs)
        n_entries += self._sum_outputs(index, 1, shape, packing, groups)
        self.state(groups)
        self.nnz[2] += n_entries
        self.n_advice += n_logits + 2 * n_samples  # hits, labels, levels
        self.state(n_logits, a=1, b=2)
        self.state(n_samples, a=n, b=n + 1)
        self.state(n_samples, a=n, b=1, c=n)
        self.define(n_samples, a=1, b=1, c=1)
        self.state(1, c=n_samples + 1)
        self.require_range(n_logits, self.choices.margin_bits, terms=4)
        self.require_range(n_samples, self.choices.level_bits, terms=2)
        self.state(1, c=n_logits + 1)

    def _define_packed(self, n_rows: int, n_wires: int) -> None:
        """Products, which together have so many wires on their B sides."""
        self.define(n_rows, a=1, c=1)
        self.nnz[1] += n_wires

    def _close_tables(self) -> None:
        n_range, n_weight = 1 << self.table_bits, 2 * WEIGHT_MAX + 1
        self.close("range", "range", n_range, terms=n_range - 1)  # the row of 0 has no term
        self.close("weight", "weight", n_weight, terms=n_weight - 1)
        for index, kind in enumerate(list_clamp_kinds(self.layout.architecture)):
            (q_min, q_max), (y_min, _) = kind
            n_rows = q_max - q_min + 1
            with_y = q_max if y_min == 0 else n_rows - 1  # y = 0 at every q <= 0, or at q = 0 alone
            self.close(f"clamp {index}", kind, n_rows, terms=n_rows - 1 + with_y)

    # -- wires that occur --------------------------------------------------------------------------

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
        in_b += self.in_b + self._count_weights_in_b()
        # 1, the claimed count and the sum of labels; s; hits and multiplicities; private wires.
        in_c = 3 + self.sums_in_c + n_hits + n_multiplicities + self.n_private
        in_c -= sum(n > 1 for n in inverses)
        in_c += layout.n_samples * sum(self.n_wires[base] for base in self.bases_in_c)
        return in_a + self.n_private_in_a, in_b, in_c

    def _count_weights_in_b(self) -> int:
        """Private wires of grids and of powers: of y all, of x what powers are made of."""
        grid, inverses = self.choices.positions.grid, self.choices.positions.inverses
        n_powers = max(grid[1] - 2, 0) + inverses[1] - 1 + (inverses[0] > 2)
        return n_powers + count_cells(self.grid_in_b) + count_cells(self.inverse_in_b)


def _weights_kind(packing: Packing) -> tuple[int, int]:
    """Layers that agree in it weigh samples alike."""
    return packing.samples, packing.bits if packing.samples > 1 else 0


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
