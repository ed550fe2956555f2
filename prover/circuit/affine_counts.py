"""Counts of linear layers and convolutions, which make most of a circuit."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from math import prod

from prover.circuit.occurrence import CommittedWires, Occurrence, Span
from prover.circuit.public_inputs import PublicLayout
from prover.circuit.sizing.affine import AffineShape
from prover.circuit.sizing.choices import Choices
from prover.circuit.sizing.counting import Counts
from prover.circuit.sizing.packing import Packing
from prover.circuit.sizing.positions import grid_shape, inverse_shape
from prover.model.layers import BIAS_BITS, Linear, Requant
from prover.model.planes import Conv2d


@dataclass(frozen=True, slots=True)
class Value:
    """Forms of what a layer makes.

    base    : the tensor of advice whose wires they are of
    n       : forms of one sample
    n_terms : wires of each; where windows of sums overlap, the most that it can be
    n_base  : wires of one sample that any of them has, likewise
    """

    base: int
    n: int
    n_terms: int
    n_base: int


@dataclass(slots=True, kw_only=True)
class AffineCounts(Counts):
    """The counts while layers are added.

    values    : of the samples (none) and of what every layer makes
    occurs    : wires with entries in A, B and C
    sums_in_c : whether s has one in C, in sums of the weights of samples
    """

    layout: PublicLayout
    choices: Choices
    values: list[Value | None] = field(default_factory=lambda: [None])
    occurs: Occurrence = field(default_factory=Occurrence)
    sums_in_c: bool = False
    _weight_sums: set[Hashable] = field(default_factory=set)
    _combinations: dict[Hashable, bool] = field(default_factory=dict)

    def add_positions(self) -> None:
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

    def value(self, number: int) -> Value:
        value = self.values[number]
        assert value is not None
        return value

    def add_affine(
        self, index: int, layer: Linear | Conv2d, shape: AffineShape, n: int
    ) -> Value | None:
        packing = self.choices.packings[index].packing
        self._add_weight_sum(packing)
        if shape.n_places > 1:
            cells = self._use_grid(shape, packing, self.occurs.grid_in_b)
            self.define(1, a=1, b=cells, c=1, in_a=True)
        if not shape.public_input:
            self._add_input(layer.inputs[0], shape, packing)
        self._add_parameters(shape, packing)
        n_entries = shape.count_columns(packing) * (shape.depth + 1)
        if shape.has_skip:
            skip, groups = self.value(layer.inputs[1]), shape.count_columns(packing)
            n_entries += self._sum_outputs(skip, shape, packing, groups)
        if layer.requant is None:
            self._add_logits(index, n, shape, packing, n_entries)
            return None
        self.add_quotient(index, n, layer.requant)
        self._add_requantized(index, n, shape, packing, n_entries)
        return self.clamp_unless_fused(index, n, layer.requant)

    def _add_input(self, number: int, shape: AffineShape, packing: Packing) -> None:
        """Sums over samples, then what windows meet."""
        value, n_samples = self.value(number), self.layout.n_samples
        n_packs, sliding = packing.count_packs(n_samples), shape.sliding
        if n_packs == 1:
            n_terms = n_samples * value.n_terms
        else:
            n_terms = 1
            key: Hashable = number
            if sliding is not None:
                key = (number, sliding.rows.used_key, sliding.columns.used_key)
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
                self.occur(self.occurs.in_c, value)
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
        used_rows = sliding.rows.n_used
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
            top, bottom = sliding.rows.exponent_range
            left, right = (0, n_blocks - 1) if n_blocks else sliding.columns.exponent_range
            span = (top, bottom + 1, left, right + 1)
            (self.occurs.grid_in_a if is_committed else self.occurs.grid_in_b).append(span)
            n_entries = shape.n_channels * height * (sliding.columns.kernel * n_blocks or width)
        else:
            n_entries = shape.n_channels * height * width * n_terms
            if is_committed:
                n_met = min(value.n_base, shape.n_inputs * value.n_terms)
                self.occurs.in_c.add(value.base, self.layout.n_samples * n_met, (value, shape))
        self.define(shape.depth, c=1, in_a=True)
        self.nnz[2] += n_entries
        moved = inverse_shape(sliding, packing)
        if moved != (1, 1):
            self.define(shape.depth, a=1, b=1, c=1, in_a=True)
            self.occurs.inverse_in_b.append((0, moved[0], 0, moved[1]))

    def _add_parameters(self, shape: AffineShape, packing: Packing) -> None:
        """Weights and biases in range, and the products that their layer's outputs are sums of."""
        n_weights = shape.n_outputs * shape.depth
        self.n_model += n_weights + shape.n_outputs
        self.look_up("weight", n_weights, terms=1)
        self.require_range(shape.n_outputs, BIAS_BITS, terms=2, exact=True)
        groups = shape.count_columns(packing)
        self._define_packed(groups * (shape.depth + 1), n_weights + shape.n_outputs)

    def _sum_outputs(self, value: Value, shape: AffineShape, packing: Packing, groups: int) -> int:
        """Entries of all sums together."""
        n_samples, cells = self.layout.n_samples, shape.count_cells(packing)
        n_packs = packing.count_packs(n_samples)
        n_wires = n_samples * shape.n_outputs * shape.n_places * value.n_terms
        if n_packs > 1:
            self._define_packed(n_packs * groups * cells, n_wires)
        if cells == 1:
            if n_packs == 1:
                self.occur(self.occurs.in_c, value)
                return n_wires
            return n_packs * groups
        if n_packs > 1:
            self.define(groups * cells, c=n_packs + 1, in_a=True)
            self.define(groups * cells, a=1, b=1, c=1)
            self._use_grid(shape, packing, self.occurs.grid_in_b)
        else:
            self._define_packed(groups * cells, n_wires)
            self._use_grid(shape, packing, self.occurs.grid_in_a)
        return groups * cells

    def _use_grid(self, shape: AffineShape, packing: Packing, spans: list[Span]) -> int:
        """Cells of the output's grid; 1, a constant, where there is none."""
        assert shape.sliding is not None
        height, width = grid_shape(shape.sliding, packing)
        if (height, width) != (1, 1):
            spans.append((0, height, 0, width))
        return height * width

    def _add_requantized(
        self, index: int, n: int, shape: AffineShape, packing: Packing, n_entries: int
    ) -> None:
        """n_entries : of the outputs, before they are wires"""
        groups, apart = packing.count_groups(shape.n_outputs), shape.count_columns(packing)
        n_rounded = self._sum_outputs(
            Value(quotients_of(index), n, 2, 2 * n), shape, packing, groups
        )
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
        self.add_advice(index, n_logits)
        groups = packing.count_groups(shape.n_outputs)
        n_entries += self._sum_outputs(Value(index, n, 1, n), shape, packing, groups)
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

    def add_advice(self, tensor: int, n: int) -> None:
        """n wires of a tensor that others may come back to."""
        self.n_advice += n
        self.occurs.n_wires[tensor] = n

    def add_quotient(self, index: int, n: int, requant: Requant) -> None:
        self.add_advice(quotients_of(index), 2 * n * self.layout.n_samples)
        self.require_range(n * self.layout.n_samples, requant.shift, terms=1)

    def add_clamp(self, index: int, n: int, requant: Requant) -> Value:
        """Of a layer's own quotients, or of the greatest ones of windows."""
        n_wires = n * self.layout.n_samples
        self.add_advice(index, n_wires)
        self.define(n_wires, a=1, b=1, c=1)
        self.occurs.private_in_b += n_wires  # the product just defined, in the lookup
        self.look_up((requant.q_range, requant.y_range), n_wires, terms=3)
        return Value(index, n, 1, n)

    def clamp_unless_fused(self, index: int, n: int, requant: Requant) -> Value:
        if any(pool.source == index for pool in self.choices.pools.values()):
            return Value(quotients_of(index), n, 1, n)
        return self.add_clamp(index, n, requant)

    def occur(self, wires: CommittedWires, value: Value) -> None:
        """All of a value has an entry there."""
        whole = value.n_base * self.layout.n_samples == self.occurs.n_wires[value.base]
        wires.add(
            value.base,
            value.n_base * self.layout.n_samples,
            None if whole else (value.n, value.n_terms),
        )


def quotients_of(index: int) -> int:
    """The tensor of a layer's q and rem, or of a pool's q; its index alone is that of y."""
    return -1 - index


def _weights_kind(packing: Packing) -> tuple[int, int]:
    """Layers that agree in it weigh samples alike."""
    return packing.samples, packing.bits if packing.samples > 1 else 0
