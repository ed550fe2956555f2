"""How large a circuit is, exactly and without compiling it: arithmetic on shapes.

Each gadget is counted beside the equation that it states, so this page reads like
`prover.circuit.accuracy` with numbers in place of tensors; a test compares both over extreme
parameters. Whoever is about to compile a circuit, to make or load its key or to take a request for
its proofs asks `require_circuit` first: a few hundred bytes of public description can ask for more
rows than any machine holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from prover.circuit.choices import Choices, make_choices
from prover.circuit.counting import Counts
from prover.circuit.gadgets.packing import Packing
from prover.circuit.public_inputs import ClampKind, PublicLayout, list_clamp_kinds
from prover.errors import ArchitectureInvalid, CircuitTooLarge
from prover.model.layers import BIAS_BITS, WEIGHT_MAX, Linear
from prover.model.network import Architecture

MAX_ROWS = 1 << 27
"""Of any circuit: a key has no more, since its quotient lies on a domain of twice as many."""

# The most that compiling takes, matrices included: measured, and asserted of shapes of all kinds.
_COMPILE_ENTRY_BYTES, _COMPILE_ROW_BYTES = 80, 32
_COMPILE_LAYER_BYTES, _COMPILE_BYTES = 1 << 16, 1 << 21  # labels, blocks and forms of few rows


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitSizes:
    """Counts of a compiled circuit, as its matrices have them.

    n_samples : 0 for a circuit that is about no samples
    n_public  : statement wires, without the constant one
    nnz       : entries of A, B and C
    occurring : wires with an entry in A, in B, in C; every private wire has one in C
    n_private_in_a : private ones among those in A
    tables    : rows of each lookup table
    """

    n_layers: int
    n_samples: int
    n_rows: int
    n_public: int
    n_model: int
    n_advice: int
    n_private: int
    nnz: tuple[int, int, int]
    occurring: tuple[int, int, int]
    n_private_in_a: int
    tables: dict[str, int]

    @property
    def n_wires(self) -> int:
        return 1 + self.n_public + self.n_model + self.n_advice + self.n_private

    @property
    def lg_n(self) -> int:
        """log2 of the evaluation domain, as `R1CS.lg_n`."""
        return max(self.n_rows - 1, 0).bit_length()

    @property
    def compile_bytes(self) -> int:
        """At least the memory that compiling takes at its peak, the matrices included."""
        return (
            _COMPILE_ENTRY_BYTES * sum(self.nnz)
            + _COMPILE_ROW_BYTES * self.n_rows
            + _COMPILE_LAYER_BYTES * self.n_layers
            + _COMPILE_BYTES
        )

    def require_fit(
        self, name: str, n_samples: int, *, max_rows: int, max_bytes: int | None
    ) -> None:
        """CircuitTooLarge for more rows, or more memory to compile in; None: as much as it takes.

        n_samples : of the circuit, 0 where it has none
        """
        too_much = max_bytes is not None and self.compile_bytes > max_bytes
        if self.n_rows > max_rows or too_much:
            raise CircuitTooLarge(
                name=name,
                n_samples=n_samples,
                n_rows=self.n_rows,
                max_rows=max_rows,
                n_bytes=self.compile_bytes,
                max_bytes=max_bytes,
            )


def require_circuit(
    architecture: Architecture,
    n_samples: int,
    *,
    max_rows: int = MAX_ROWS,
    max_bytes: int | None = None,
) -> CircuitSizes:
    """The sizes of a circuit that may be compiled.

    max_bytes : of memory that there is for compiling; None: as much as it takes
    raises    : ArchitectureInvalid as `compute_sizes`; CircuitTooLarge
    """
    sizes = compute_sizes(architecture, n_samples)
    sizes.require_fit(architecture.name, n_samples, max_rows=max_rows, max_bytes=max_bytes)
    return sizes


def compute_sizes(architecture: Architecture, n_samples: int) -> CircuitSizes:
    """What `compile_accuracy` makes of the same arguments, in a few thousand additions.

    raises : ArchitectureInvalid for a kind of layer without a gadget, or n_samples out of range
    """
    layout = PublicLayout(architecture, n_samples)
    for layer in architecture.layers:
        if not isinstance(layer, Linear):
            raise ArchitectureInvalid(f"no gadget for layers of kind {layer.kind!r}")
        if layer.requant is not None and not isinstance(layer.requant.multiplier, int):
            raise ArchitectureInvalid("no gadget for multipliers per channel")
    choices = make_choices(architecture, n_samples)
    count = _Count(layout=layout, choices=choices, table_bits=choices.widths.table_bits)
    count.add_powers()
    n_in = prod(architecture.input_shape)
    for index, layer in enumerate(architecture.layers):
        n_out, packing = prod(architecture.shapes[index + 1]), choices.packings[index].packing
        if index:
            count.add_combinations(n_in, packing)
        count.add_parameters(n_in, n_out, packing)
        if layer.requant is None:
            count.add_correctness(n_in, n_out, packing)
        else:
            count.add_activation(
                n_out, layer.requant.shift, (layer.requant.q_range, layer.requant.y_range)
            )
            count.add_requantized(n_in, n_out, packing)
        n_in = n_out
    count.close_tables()
    return count.finish()


@dataclass(slots=True, kw_only=True)
class _Count(Counts):
    """The counts while the gadgets of an accuracy circuit are added."""

    layout: PublicLayout
    choices: Choices
    in_b: int = 0
    weight_sums: set[tuple[int, int]] = field(default_factory=set)

    def add_powers(self) -> None:
        """1 and s come without a row."""
        self.define(self.layout.n_samples - 2, a=1, b=1, c=1, in_a=True)

    def add_parameters(self, n_in: int, n_out: int, packing: Packing) -> None:
        """Weights and biases in range, and the products that their layer's outputs are sums of."""
        n_weights, n_groups = n_in * n_out, packing.count_groups(n_out)
        self.n_model += n_weights + n_out
        self.look_up("weight", n_weights, terms=1)
        self.require_range(n_out, BIAS_BITS, terms=2, exact=True)
        self._add_weight_sum(packing)
        self._define_packed(n_groups * (n_in + 1), n_weights + n_out)

    def _add_weight_sum(self, packing: Packing) -> None:
        """The sum of all samples' weights is a wire, for each kind of weights."""
        kind = (packing.samples, packing.bits if packing.samples > 1 else 0)
        if kind not in self.weight_sums:
            self.weight_sums.add(kind)
            self.define(1, c=packing.count_packs(self.layout.n_samples) + 1, in_a=True)

    def _define_packed(self, n_rows: int, n_wires: int) -> None:
        """Products, which together have so many wires on their B sides."""
        self.define(n_rows, a=1, c=1)
        self.nnz[1] += n_wires

    def add_activation(self, n_out: int, shift: int, kind: ClampKind) -> None:
        n = self.layout.n_samples * n_out
        self.n_advice += 3 * n
        self.require_range(n, shift, terms=1)
        self.define(n, a=1, b=1, c=1)
        self.in_b += n  # the product just defined, in the lookup
        self.look_up(kind, n, terms=3)

    def add_requantized(self, n_in: int, n_out: int, packing: Packing) -> None:
        n, n_groups = self.layout.n_samples, packing.count_groups(n_out)
        n_packs = packing.count_packs(n)
        self._define_packed(n_packs * n_groups, 2 * n * n_out)
        self.define(n_groups, c=n_in + 2, in_a=True)
        self.state(n_groups, a=1, b=1, c=n_packs + 1)

    def add_combinations(self, n_in: int, packing: Packing) -> None:
        n_packs = packing.count_packs(self.layout.n_samples)
        self._define_packed(n_packs * n_in, self.layout.n_samples * n_in)
        self.define(n_in, c=n_packs + 1, in_a=True)

    def add_correctness(self, n_in: int, n_out: int, packing: Packing) -> None:
        """The logits as raw accumulators, and the count over them."""
        n, n_logits = self.layout.n_samples, self.layout.n_samples * n_out
        n_packs, n_groups = packing.count_packs(n), packing.count_groups(n_out)
        self.n_advice += n_logits
        self._define_packed(n_packs * n_groups, n_logits)
        self.state(n_groups, c=n_packs + n_in + 1)
        self.n_advice += n_logits + 2 * n  # hits, labels, levels
        self.state(n_logits, a=1, b=2)
        self.state(n, a=n_out, b=n_out + 1)
        self.state(n, a=n_out, b=1, c=n_out)
        self.define(n, a=1, b=1, c=1)
        self.state(1, c=n + 1)
        self.require_range(n_logits, self.choices.margin_bits, terms=4)
        self.require_range(n, self.choices.level_bits, terms=2)
        self.state(1, c=n_logits + 1)

    def close_tables(self) -> None:
        n_range, n_weight = 1 << self.table_bits, 2 * WEIGHT_MAX + 1
        self.close("range", "range", n_range, terms=n_range - 1)  # the row of 0 has no term
        self.close("weight", "weight", n_weight, terms=n_weight - 1)
        for index, kind in enumerate(list_clamp_kinds(self.layout.architecture)):
            (q_min, q_max), (y_min, _) = kind
            n_rows = q_max - q_min + 1
            with_y = q_max if y_min == 0 else n_rows - 1  # y = 0 at every q <= 0, or at q = 0 alone
            self.close(f"clamp {index}", kind, n_rows, terms=n_rows - 1 + with_y)

    def finish(self) -> CircuitSizes:
        layout, n_hidden = self.layout, len(self.layout.architecture.multipliers)
        n_challenges, n_hits = (
            len(layout.challenges),
            layout.n_samples * layout.architecture.n_classes,
        )
        n_multiplicities = sum(self.tables.values())
        n_clamp_challenges = 1 if n_hidden else 0
        # Beside 1: s, the samples' combinations and hits; and g where there are pairs.
        in_a = 2 + prod(layout.architecture.input_shape) + n_hits + n_clamp_challenges
        # Beside 1: challenges, of them s only as a base of powers; multipliers; committed wires.
        in_b = n_challenges + (layout.n_samples > 2) + n_hidden + self.n_model
        in_b += self.n_advice - n_multiplicities + self.in_b
        # 1, s, the claimed count and the sum of labels; hits and multiplicities; private wires.
        in_c = 4 + n_hits + n_multiplicities + self.n_private
        a, b, c = self.nnz
        return CircuitSizes(
            n_layers=len(layout.architecture.layers),
            n_samples=layout.n_samples,
            n_rows=self.n_rows,
            n_public=layout.n_public,
            n_model=self.n_model,
            n_advice=self.n_advice,
            n_private=self.n_private,
            nnz=(a, b, c),
            occurring=(in_a + self.n_private_in_a, in_b, in_c),
            n_private_in_a=self.n_private_in_a,
            tables=self.tables,
        )
