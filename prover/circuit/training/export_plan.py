"""What the circuit of an export looks like, in numbers only: its table, challenges and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from kernels.array import FrArray
from prover.circuit.sizes import MAX_ROWS, CircuitSizes
from prover.circuit.sizing.counting import Counts
from prover.circuit.sizing.widths import RangeDemand
from prover.circuit.training.plan import LOOKUP, require_challenges
from prover.circuit.training.range_tables import RangePlan, plan_ranges
from prover.circuit.training.sizes import N_WEIGHTS
from prover.training.recipe import TrainingRecipe


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """The circuit of the export of a recipe's masters."""

    recipe: TrainingRecipe
    ranges: RangePlan

    @property
    def challenges(self) -> tuple[str, ...]:
        """Names of the challenges; they are all of the public wires."""
        return (LOOKUP,)

    @property
    def n_public(self) -> int:
        return len(self.challenges)

    def compute_public(self, challenges: Sequence[int]) -> FrArray:
        """All public wires but the constant one. Raises KeyMismatch, ShapeMismatch."""
        require_challenges(challenges, len(self.challenges), "an export")
        return FrArray.from_ints(challenges)

    @cached_property
    def sizes(self) -> CircuitSizes:
        """Without compiling it. Wires that occur in a matrix are at least those that do."""
        recipe, counts = self.recipe, Counts(table_bits=self.ranges.table_bits)
        n, n_biases = recipe.architecture.n_parameters, sum(recipe.widths[1:])
        counts.n_model, counts.n_advice = 2 * n, n_biases
        counts.look_up("weight", n, terms=1)
        self.ranges.count(counts, n, recipe.master_bits, terms=3)
        counts.state(n_biases, c=2)
        self.ranges.close(counts)
        counts.close("weight", "weight", N_WEIGHTS, terms=N_WEIGHTS - 1)
        a, b, c = counts.nnz
        n_limbs = counts.n_advice - n_biases - sum(counts.tables.values())
        return CircuitSizes(
            n_layers=recipe.n_layers,
            n_samples=0,
            n_rows=counts.n_rows,
            n_public=self.n_public,
            n_model=counts.n_model,
            n_advice=counts.n_advice,
            n_private=counts.n_private,
            nnz=(a, b, c),
            occurring=(
                counts.n_private_in_a,
                1 + self.n_public + 2 * n + n_limbs,
                1 + n_biases + counts.n_advice + counts.n_private,
            ),
            n_private_in_a=counts.n_private_in_a,
            tables=counts.tables,
        )


def plan_export(recipe: TrainingRecipe) -> ExportPlan:
    """The plan with the fewest rows."""
    n = recipe.architecture.n_parameters
    demand = RangeDemand(what="masters", count=n, bits=recipe.master_bits)
    return ExportPlan(recipe=recipe, ranges=plan_ranges([demand]))


def require_export(
    recipe: TrainingRecipe, *, max_rows: int = MAX_ROWS, max_bytes: int | None = None
) -> ExportPlan:
    """The plan of a circuit that may be compiled. Raises CircuitTooLarge as `require_step`."""
    plan = plan_export(recipe)
    name = f"an export of {recipe.architecture.name}"
    plan.sizes.require_fit(name, 0, max_rows=max_rows, max_bytes=max_bytes)
    return plan
