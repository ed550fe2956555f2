"""How large the circuit of a training step is, without compiling it: its gadgets in numbers.

Rows, wires and entries are exact. Wires that occur in a matrix are at least those that do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from prover.circuit.sizes import MAX_ROWS, CircuitSizes
from prover.circuit.sizing.counting import Counts
from prover.circuit.sizing.packing import Packing
from prover.circuit.training.plan import PIXEL_BITS, StepPlan, plan_step
from prover.model.layers import RELU_RANGE, WEIGHT_MAX
from prover.training.batch import count_batch_wires
from prover.training.loss import EXP_TABLE
from prover.training.recipe import TrainingRecipe

N_WEIGHTS = 2 * WEIGHT_MAX + 1


@dataclass(frozen=True, slots=True)
class Outputs:
    """Terms of what a product makes: of each number alone, and of each sample, which all of its
    numbers share."""

    own: int
    shared: int = 0

    def count(self, n_samples: int, n_outputs: int, groups: int) -> int:
        """Entries of all packs together."""
        return n_samples * (n_outputs * self.own + groups * self.shared)


@dataclass(slots=True, kw_only=True)
class StepCounts(Counts):
    """The counts of a whole circuit.

    weight_sums : ways to pack samples that have occurred, and whether a bias has met their sum
    """

    plan: StepPlan
    weight_sums: dict[tuple[int, int], bool] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: StepPlan) -> StepCounts:
        """All of a circuit."""
        counts = cls(plan=plan, table_bits=plan.ranges.table_bits)
        recipe = plan.recipe
        if plan.n_powers > 2:
            counts.define(plan.n_powers - 2, a=1, b=1, c=1, in_a=True)
        counts._add_linked()
        for layer in range(recipe.n_layers - 1):
            counts._add_activation(layer)
        counts._add_loss()
        for layer in range(recipe.n_layers):
            counts._add_forward(layer)
            counts._add_gradient(layer)
        for layer in range(recipe.n_layers - 1):
            counts._add_backward(layer)
        counts._close_tables()
        return counts

    def to_sizes(self) -> CircuitSizes:
        recipe, (a, b, c) = self.plan.recipe, self.nnz
        n, n_public = recipe.batch_size, self.plan.n_public
        n_hidden, n_logits = n * sum(recipe.widths[1:-1]), n * recipe.widths[-1]
        n_seen, n_multiplicities = recipe.architecture.n_parameters, sum(self.tables.values())
        n_values = self.n_advice - n_seen - n_multiplicities
        return CircuitSizes(
            n_layers=recipe.n_layers,
            n_samples=n,
            n_rows=self.n_rows,
            n_public=n_public,
            n_model=self.n_model,
            n_advice=self.n_advice,
            n_private=self.n_private,
            nnz=(a, b, c),
            occurring=(
                1 + n_public + self.n_private_in_a + n_values + n * recipe.widths[0],
                1 + n_public + self.n_model + n_seen + n_values + 2 * n_hidden + n_logits,
                1 + n_public + n + self.n_private + n_values + n_multiplicities,
            ),
            n_private_in_a=self.n_private_in_a,
            tables=self.tables,
        )

    def add_rounding(self, n: int) -> None:
        """n weights of n masters."""
        self.look_up("weight", n, terms=1)
        self.plan.ranges.count(self, n, self.plan.recipe.master_bits, terms=3)

    # -- parts, as `prover.circuit.training.step` has them -----------------------------------------

    @property
    def _n(self) -> int:
        return self.plan.recipe.batch_size

    def _range(self, n: int, bits: int, terms: int = 1) -> None:
        self.plan.ranges.count(self, n, bits, terms=terms)

    def _add_linked(self) -> None:
        recipe = self.plan.recipe
        n_parameters = recipe.architecture.n_parameters
        self.n_model += 2 * n_parameters + count_batch_wires(recipe)
        self.n_advice += n_parameters
        self._range(self._n * recipe.widths[0], PIXEL_BITS)
        self.add_rounding(n_parameters)

    def _add_activation(self, layer: int) -> None:
        requant, n = self.plan.recipe.hidden[layer], self._n * self.plan.recipe.widths[layer + 1]
        self.n_advice += 4 * n
        self._range(n, requant.shift)
        self.define(2 * n, a=1, b=1, c=1)
        self.look_up(f"clamp {self.plan.clamp_ranges.index(requant.q_range)}", n, terms=4)

    def _add_loss(self) -> None:
        recipe, bits, n = self.plan.recipe, self.plan.loss_bits, self._n
        classes = recipe.widths[-1]
        n_logits = n * classes
        self.n_advice += n + 8 * n_logits  # hit, delta, and all of the softmax
        self.state(n_logits, a=1, b=2)
        self.state(n, a=classes, b=classes + 1)
        self.state(n, c=classes + 1)
        self.state(1, c=n_logits + 1)
        self._range(n, bits.top, terms=2)
        self._range(n_logits, recipe.logit_shift)
        self._range(n_logits, bits.excess)
        self.define(n * (classes - 2), a=1, b=3, c=1, in_a=True)
        self.state(n, a=1, b=3)
        self.nnz[0] += 2 * n  # the first distance has three terms
        self.state(n_logits, a=1, b=2)
        self.define(n_logits, a=1, b=1, c=1)
        self.look_up("exp", n_logits, terms=2)
        self._range(n_logits, bits.p)
        self.state(n_logits, a=classes, b=1, c=classes + 1)
        self._range(n_logits, bits.p_rem)
        self._range(n_logits, bits.p_rem, terms=classes + 2)
        self.state(n_logits, a=classes, b=1, c=2)

    def _add_forward(self, layer: int) -> None:
        recipe = self.plan.recipe
        is_last = layer == recipe.n_layers - 1
        self._add_product(
            self.plan.forward[layer].packing,
            n_in=recipe.widths[layer],
            n_out=recipe.widths[layer + 1],
            outputs=Outputs(own=3, shared=1) if is_last else Outputs(own=2),
            has_biases=True,
            has_constant=not is_last,
        )

    def _add_backward(self, layer: int) -> None:
        recipe = self.plan.recipe
        n = self._n * recipe.widths[layer + 1]
        self.n_advice += 3 * n
        self._range(n, recipe.error_bits, terms=2)
        self._range(n, recipe.backward_shift)
        self.state(n, a=1, b=1, c=1)
        self._add_product(
            self.plan.backward[layer].packing,
            n_in=recipe.widths[layer + 2],
            n_out=recipe.widths[layer + 1],
            outputs=Outputs(own=2),
            has_biases=False,
            has_constant=True,
        )

    def _add_product(
        self,
        packing: Packing,
        *,
        n_in: int,
        n_out: int,
        outputs: Outputs,
        has_biases: bool,
        has_constant: bool,
    ) -> None:
        n, packs, groups = self._n, packing.count_packs(self._n), packing.count_groups(n_out)
        kind = packing.samples, packing.bits if packing.samples > 1 else 0
        if kind not in self.weight_sums:
            self.define(1, c=packs + 1)
        if has_biases and not self.weight_sums.get(kind, False):
            self.n_private_in_a += 1  # once, with the first bias that it is the input of
        self.weight_sums[kind] = has_biases or self.weight_sums.get(kind, False)
        if packs > 1:
            self.define(n_in * packs, a=1, c=1)
            self.nnz[1] += n * n_in
            self.define(n_in, c=packs + 1, in_a=True)
        self.define(groups * n_in, c=1)
        self.nnz[0] += groups * n_in * (1 if packs > 1 else n)
        self.nnz[1] += n_in * n_out
        if has_biases:
            self.define(groups, a=1, c=1)
            self.nnz[1] += n_out
        entries = outputs.count(n, n_out, groups)
        if packs > 1:
            self.define(packs * groups, a=1, c=1)
            self.nnz[1] += entries
            entries = packs * groups
        self.state(groups, c=n_in + has_biases + has_constant)
        self.nnz[2] += entries

    def _add_gradient(self, layer: int) -> None:
        n_in, n_out = self.plan.recipe.widths[layer : layer + 2]
        n = self._n
        self.define(n_out * (n_in + 1), a=1, b=2, c=1)
        self.define(n * n_in, a=1, b=1, c=1)
        self.define(n, c=n_in + 2, in_a=True)
        self.define(n * n_out, a=1, b=1, c=1)
        self.state(n_out, c=n_in + 1 + n)

    def _close_tables(self) -> None:
        self.plan.ranges.close(self)
        self.close("weight", "weight", N_WEIGHTS, terms=N_WEIGHTS - 1)
        for index, (least, greatest) in enumerate(self.plan.clamp_ranges):
            n_rows, n_gates = greatest - least + 1, RELU_RANGE[1] - 1
            terms = n_rows - 1 + greatest + n_gates
            self.close(f"clamp {index}", f"clamp {index}", n_rows, terms=terms)
        terms = len(EXP_TABLE) - 1 + int(np.count_nonzero(EXP_TABLE))
        self.close("exp", "exp", len(EXP_TABLE), terms=terms)


@lru_cache(maxsize=64)
def compute_step_sizes(plan: StepPlan) -> CircuitSizes:
    """Of the circuit that `prover.circuit.training.step.compile_plan` makes of the plan."""
    return StepCounts.of(plan).to_sizes()


def require_step(
    recipe: TrainingRecipe, *, max_rows: int = MAX_ROWS, max_bytes: int | None = None
) -> StepPlan:
    """The plan of a circuit that may be compiled.

    max_bytes : of memory that there is for compiling; None: as much as it takes
    raises    : CircuitTooLarge
    """
    plan = plan_step(recipe)
    compute_step_sizes(plan).require_fit(
        f"a training step of {recipe.architecture.name}",
        0,
        max_rows=max_rows,
        max_bytes=max_bytes,
    )
    return plan
