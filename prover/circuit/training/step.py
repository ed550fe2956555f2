"""The statement "D_M(t+1) is one step of SGD from D_M(t) on D_X", as a circuit.

Linked groups: `before`, masters M; `after`, masters M'; `data`, a batch of images and labels. One
circuit, hence one key, per recipe: it holds no weight and no sample. PROTOCOL section 4.6.

    every M       its W in [-127, 127] and its remainder in [0, 2^u)            two lookups
    every pixel   in [0, 255]                                                   a lookup
    forward, loss, backward, gradient                       `products.py`, `loss.py`

M' has no range here. It is whatever M - c G is: the next step's proof, or that of the export, says
that it is the masters of int8 weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prover.circuit.compiled import CompiledCircuit
from prover.circuit.constraints import Circuit, System
from prover.circuit.gadgets.activation import compute_clamp_rows
from prover.circuit.gadgets.lookup import Table, build_integer_table
from prover.circuit.linear_form import LinearForm
from prover.circuit.sizes import MAX_ROWS
from prover.circuit.training.loss import Loss, build_labels, build_loss
from prover.circuit.training.plan import PIXEL_BITS, StepPlan
from prover.circuit.training.products import Samples, require_gradient, require_product
from prover.circuit.training.range_tables import Ranges
from prover.circuit.training.report import TrainingReport, explain_training
from prover.circuit.training.sizes import require_step
from prover.model.layers import RELU_RANGE, WEIGHT_MAX
from prover.training.loss import EXP_TABLE
from prover.training.recipe import TrainingRecipe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepCircuit(CompiledCircuit):
    """The compiled statement for one recipe."""

    plan: StepPlan

    @property
    def recipe(self) -> TrainingRecipe:
        return self.plan.recipe

    @property
    def n_challenges(self) -> int:
        return len(self.plan.challenges)

    def explain(self) -> TrainingReport:
        """Rows and wires per part and gadget, and the reasons of the compiler."""
        return explain_training(
            self,
            self.recipe,
            kind="a training step",
            groups=("before", "after", "data"),
            width_reason=self.plan.ranges.reason,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Wires of a layer: masters before and after, and the weights that are seen of them."""

    before: tuple[LinearForm, LinearForm]
    after: tuple[LinearForm, LinearForm]
    seen: tuple[LinearForm, LinearForm]


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """Wires of what a hidden layer makes, LinearForm[B, n_out] each."""

    q: LinearForm
    rem: LinearForm
    a: LinearForm
    gate: LinearForm


def compile_plan(plan: StepPlan) -> StepCircuit:
    """The circuit of a plan, which `plan_step` makes the cheapest; any other holds as well."""
    return StepCircuit(plan=plan, circuit=_Compiler.start(plan).build())


def compile_step(recipe: TrainingRecipe, *, max_rows: int = MAX_ROWS) -> StepCircuit:
    """The circuit of one training step.

    raises : CircuitTooLarge for more than `max_rows` rows, before anything is allocated
    cost   : about four rows a weight and three a pixel, and the tables
    """
    return compile_plan(require_step(recipe, max_rows=max_rows))


def list_tensors(recipe: TrainingRecipe) -> list[tuple[str, tuple[int, ...]]]:
    """Label and shape of each tensor of masters, in their order."""
    found: list[tuple[str, tuple[int, ...]]] = []
    for layer in range(recipe.n_layers):
        n_in, n_out = recipe.widths[layer : layer + 2]
        found += [(f"layer {layer}/weights", (n_out, n_in)), (f"layer {layer}/biases", (n_out,))]
    return found


def link_tensors(
    system: System, recipe: TrainingRecipe, group: str
) -> list[tuple[LinearForm, LinearForm]]:
    """Wires of one linked group for weights and biases of each layer."""
    forms = [
        system.linked(group, f"{group}/{label}", shape) for label, shape in list_tensors(recipe)
    ]
    return list(zip(forms[::2], forms[1::2], strict=True))


def require_rounding(
    recipe: TrainingRecipe,
    label: str,
    *,
    masters: LinearForm,
    weights: LinearForm,
    ranges: Ranges,
    table: Table,
) -> None:
    """W = (M + 2^(u-1)) >> u in [-127, 127], of tensors of one shape.

    holds : W is an integer of the table, and M + 2^(u-1) - 2^u W one of [0, 2^u): so M is an
            integer, and W its division with remainder. Both are far below r.
    """
    u = recipe.master_bits
    table.lookup(f"{label}/weight", weights, index=weights + WEIGHT_MAX, why="int8 weights")
    ranges.require(
        f"{label}/rounding",
        masters + (1 << (u - 1)) - weights * (1 << u),
        u,
        why="a weight is its master, rounded",
    )


@dataclass(slots=True, kw_only=True, eq=False)
class _Compiler:
    """A circuit under construction. powers : 1, s, s^2, ... of the point s"""

    system: System
    plan: StepPlan
    n_real: LinearForm
    powers: LinearForm
    ranges: Ranges
    weights: Table
    clamps: Mapping[tuple[int, int], Table]
    exponentials: Table
    samples: Samples

    @classmethod
    def start(cls, plan: StepPlan) -> _Compiler:
        """Public wires, tables and powers of the point."""
        system, n = System(), plan.recipe.batch_size
        n_real = system.public("n_real")
        lookup, point = (system.public(f"challenge/{name}") for name in plan.challenges)
        powers = system.powers(
            "point/powers/power",
            point,
            plan.n_powers,
            why="one for each pack of samples, and for each input and biases of a layer",
        )
        steps = np.arange(len(EXP_TABLE), dtype=np.int64)
        return cls(
            system=system,
            plan=plan,
            n_real=n_real,
            powers=powers,
            ranges=Ranges.build(system, plan.ranges, lookup),
            weights=build_integer_table(
                system, "weight table", lookup, np.arange(-WEIGHT_MAX, WEIGHT_MAX + 1)
            ),
            clamps={
                q_range: _build_clamp_table(system, i, q_range, lookup, powers)
                for i, q_range in enumerate(plan.clamp_ranges)
            },
            exponentials=Table(system, "exp table", lookup, point * EXP_TABLE + steps),
            samples=Samples(system=system, n=n, powers=powers[: plan.n_packs]),
        )

    @property
    def recipe(self) -> TrainingRecipe:
        return self.plan.recipe

    def build(self) -> Circuit:
        """All rows, and the finished circuit."""
        layers, images, y = self._add_linked()
        hidden = [self._add_activation(i) for i in range(self.recipe.n_layers - 1)]
        labels = build_labels(
            self.system, y=y, n_classes=self.recipe.widths[-1], n_real=self.n_real
        )
        loss = build_loss(
            self.system,
            self.plan,
            labels=labels,
            ranges=self.ranges,
            exponentials=self.exponentials,
            point=self.powers[1],
        )
        inputs = [images, *(x.a for x in hidden)]
        self._add_forward(layers, inputs, hidden, loss)
        deltas = self._add_backward(layers, hidden, loss)
        self._add_gradients(layers, inputs, deltas)
        for table in (
            *self.ranges.tables,
            *(self.weights, *self.clamps.values(), self.exponentials),
        ):
            table.close()
        return self.system.build(_list_parameters(self.plan))

    def _add_linked(self) -> tuple[list[Layer], LinearForm, LinearForm]:
        """Masters with their weights, images and y."""
        system, recipe = self.system, self.recipe
        before = link_tensors(system, recipe, "before")
        after = link_tensors(system, recipe, "after")
        n, n_in = recipe.batch_size, recipe.widths[0]
        images = system.linked("data", "data/images", (n, n_in))
        y = system.linked("data", "data/y", (n,))
        self.ranges.require("data/pixels/range", images, PIXEL_BITS, why="samples are bytes")
        flat = [form for pair in before for form in pair]
        seen = []
        for (label, shape), masters in zip(list_tensors(recipe), flat, strict=True):
            weights = system.advice(f"{label}/seen", shape)
            require_rounding(
                recipe,
                label,
                masters=masters,
                weights=weights,
                ranges=self.ranges,
                table=self.weights,
            )
            seen.append(weights)
        pairs = zip(seen[::2], seen[1::2], strict=True)
        layers = [Layer(*parts) for parts in zip(before, after, pairs, strict=True)]
        return layers, images, y

    def _add_activation(self, index: int) -> Hidden:
        """Quotients of a hidden layer, their clamps and gates.

        holds : (q, a, gate) is a row of the table, looked up as a polynomial in the point, so q is
                an integer of its range and the others follow from it; rem is an integer of
                [0, 2^s), so (q, rem) is the one division of what the product says.
        """
        system, requant = self.system, self.recipe.hidden[index]
        shape = (self.recipe.batch_size, self.recipe.widths[index + 1])
        part = f"layer {index}/activation"
        q, rem, a, gate = (system.advice(f"{part}/{x}", shape) for x in ("q", "rem", "a", "gate"))
        self.ranges.require(f"{part}/remainder", rem, requant.shift, why="0 <= rem < 2^shift")
        of_a = system.product(f"{part}/second", self.powers[1], a)
        of_gate = system.product(f"{part}/third", self.powers[2], gate)
        at = q - requant.q_range[0]
        self.clamps[requant.q_range].lookup(
            f"{part}/clamp", at + of_a + of_gate, index=at, why="a = clamp(q), gate = [0 < q < 255]"
        )
        return Hidden(q, rem, a, gate)

    def _add_forward(
        self,
        layers: Sequence[Layer],
        inputs: Sequence[LinearForm],
        hidden: Sequence[Hidden],
        loss: Loss,
    ) -> None:
        for index, (layer, x) in enumerate(zip(layers, inputs, strict=True)):
            outputs, half = loss.logits, 0
            if index < len(hidden):
                shift = self.recipe.hidden[index].shift
                outputs = hidden[index].q * (1 << shift) + hidden[index].rem
                half = 1 << (shift - 1)
            weights, biases = layer.seen
            require_product(
                self.samples,
                f"layer {index}/forward",
                inputs=x,
                weights=weights,
                biases=biases * self.recipe.bias_input,
                outputs=outputs,
                less=half,
                packing=self.plan.forward[index].packing,
                why=self.plan.forward[index].reason,
            )

    def _add_backward(
        self, layers: Sequence[Layer], hidden: Sequence[Hidden], loss: Loss
    ) -> list[LinearForm]:
        """Errors of all layers, from those of the logits.

        holds : w and w_rem are integers of their ranges, so they are the one division of what the
                product says; delta is w or 0, as the gate is a bit of the table.
        """
        system, shift, bits = self.system, self.recipe.backward_shift, self.recipe.error_bits
        deltas = [loss.delta]
        for index in reversed(range(len(hidden))):
            part, shape = f"layer {index}/error", hidden[index].q.shape
            w, w_rem, delta = (system.advice(f"{part}/{x}", shape) for x in ("w", "w_rem", "delta"))
            self.ranges.require(f"{part}/range", w + (1 << (bits - 1)), bits, why="bounded errors")
            self.ranges.require(f"{part}/remainder", w_rem, shift, why="0 <= rem < 2^shift")
            system.require(f"{part}/gate", a=hidden[index].gate, b=w, c=delta)
            choice = self.plan.backward[index]
            weights, _ = layers[index + 1].seen
            require_product(
                self.samples,
                f"layer {index + 1}/backward",
                inputs=deltas[0],
                weights=_transpose(weights),
                biases=None,
                outputs=w * (1 << shift) + w_rem,
                less=1 << (shift - 1),
                packing=choice.packing,
                why=choice.reason,
            )
            deltas.insert(0, delta)
        return deltas

    def _add_gradients(
        self, layers: Sequence[Layer], inputs: Sequence[LinearForm], deltas: Sequence[LinearForm]
    ) -> None:
        for index, (layer, x, delta) in enumerate(zip(layers, inputs, deltas, strict=True)):
            weights, biases = (b - a for b, a in zip(layer.before, layer.after, strict=True))
            require_gradient(
                self.system,
                f"layer {index}/gradient",
                powers=self.powers,
                inputs=x,
                bias_input=self.recipe.bias_input,
                deltas=delta,
                weight_changes=weights,
                bias_changes=biases,
                rate=self.recipe.rate,
            )


def _build_clamp_table(
    system: System, index: int, q_range: tuple[int, int], lookup: LinearForm, powers: LinearForm
) -> Table:
    """Rows (q - q_min, clamp(q), gate), looked up as q - q_min + s clamp(q) + s^2 gate.

    holds : first columns are distinct, so rows are distinct polynomials in the point s; entries
            that are no row are other polynomials, of degree two. A sum of fractions over X and
            these, which is not that of the rows, is not zero in X and s together: at a random
            (X, s) it passes with chance at most 2 (lookups + rows)/r.
    """
    first, clamped = compute_clamp_rows(q_range, RELU_RANGE)
    q = first + q_range[0]
    gate = ((q > RELU_RANGE[0]) & (q < RELU_RANGE[1])).astype(np.int64)
    values = powers[1] * clamped + powers[2] * gate + first
    return Table(system, f"clamp table {index}", lookup, values)


def _transpose(form: LinearForm) -> LinearForm:
    """Of two axes."""
    rows, columns = form.shape
    index = np.arange(columns)[:, None], np.arange(rows)[None, :]
    return form[index[1], index[0]]


def _list_parameters(plan: StepPlan) -> dict[str, Any]:
    """What the digest covers beside the matrices: the choices a reader would ask for."""
    packings = [choice.packing for choice in (*plan.forward, *plan.backward)]
    return {
        "training": plan.recipe.numbers,
        "challenges": list(plan.challenges),
        "packings": [[p.samples, p.outputs, p.bits] for p in packings],
        "tables": {
            **plan.ranges.parameters,
            "weight": {"least": -WEIGHT_MAX, "greatest": WEIGHT_MAX},
            **{f"clamp {i}": {"q": list(q)} for i, q in enumerate(plan.clamp_ranges)},
            "exp": EXP_TABLE.tolist(),
        },
    }
