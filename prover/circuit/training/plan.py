"""What the circuit of a training step looks like, in numbers only: tables, packs, challenges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from kernels.array import FrArray
from kernels.bn254 import R
from prover.circuit.sizing.packing import PackingChoice, RequantBound, choose_packing
from prover.circuit.sizing.widths import RangeDemand
from prover.circuit.training.range_tables import RangePlan, plan_ranges
from prover.errors import KeyMismatch, ShapeMismatch
from prover.training.loss import EXP_BITS, TABLE_ROWS
from prover.training.recipe import TrainingRecipe

PIXEL_BITS = 8

LOOKUP, POINT = "lookup", "point"
"""Names of the challenges: where the sums of all tables are compared, and at which point products
of matrices, columns of tables and polynomials are."""


@dataclass(frozen=True, kw_only=True)
class LossBits:
    """Widths of the ranges of a sample's loss.

    top : of the greatest logit, in two's complement; excess : of what a distance is beyond the
    table; p : of a probability; p_rem : of the remainder of its division, and of what it is less
    than 2 S
    """

    top: int
    excess: int
    p: int
    p_rem: int

    @classmethod
    def of(cls, recipe: TrainingRecipe) -> LossBits:
        """Wide enough for every step that the recipe's architecture can make."""
        greatest = recipe.bound_accumulator(recipe.n_layers - 1)
        total = recipe.widths[-1] << EXP_BITS
        return cls(
            top=greatest.bit_length() + 1,
            excess=max(1, (2 * greatest >> recipe.logit_shift).bit_length()),
            p=recipe.loss_bits + 1,
            p_rem=(2 * total - 1).bit_length(),
        )

    def bound_logit(self, recipe: TrainingRecipe) -> int:
        """Greatest |top - distance| that these ranges admit, whatever else holds."""
        steps = TABLE_ROWS + (1 << self.excess)
        return (1 << (self.top - 1)) + (steps << recipe.logit_shift)


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """The circuit of one training step of a recipe.

    ranges   : its range tables
    forward  : how errors of the product of each layer are packed
    backward : likewise, of what goes back through each layer but the first
    """

    recipe: TrainingRecipe
    ranges: RangePlan
    forward: tuple[PackingChoice, ...]
    backward: tuple[PackingChoice, ...]

    @cached_property
    def loss_bits(self) -> LossBits:
        return LossBits.of(self.recipe)

    @cached_property
    def clamp_ranges(self) -> tuple[tuple[int, int], ...]:
        """Quotients of each kind of hidden layer: of each there is a table."""
        return tuple(dict.fromkeys(requant.q_range for requant in self.recipe.hidden))

    @cached_property
    def n_powers(self) -> int:
        """Powers of the point, the zeroth among them, that some check needs.

        One for each pack of samples; one for each input of a layer, and one for its biases; three
        for the columns of clamp tables.
        """
        n_inputs = max(self.recipe.widths[:-1])
        return max(self.n_packs, n_inputs + 1, 3 if self.clamp_ranges else 2)

    @cached_property
    def n_packs(self) -> int:
        """The most packs of samples that a product has."""
        n = self.recipe.batch_size
        return max(x.packing.count_packs(n) for x in (*self.forward, *self.backward))

    @property
    def challenges(self) -> tuple[str, ...]:
        """Names of the challenges, in the order in which the transcript draws them.

        Checks share them: each fails at few values of a challenge, and what a prover says stands
        before both, so chances add up whether draws are of one check or of all (PROTOCOL 4.6). They
        are two, as entries of a table are polynomials in one, compared at the other.
        """
        return (LOOKUP, POINT)

    @property
    def n_public(self) -> int:
        """The number of real samples, then the challenges."""
        return 1 + len(self.challenges)

    def compute_public(self, n_real: int, challenges: Sequence[int]) -> FrArray:
        """All public wires but the constant one, shape [n_public].

        Raises KeyMismatch for another number of challenges, ShapeMismatch for what is no scalar.
        """
        require_challenges(challenges, len(self.challenges), "a training step")
        return FrArray.from_ints([n_real, *challenges])


def require_challenges(challenges: Sequence[int], n: int, what: str) -> None:
    """KeyMismatch for another number of challenges, ShapeMismatch for what is no scalar."""
    if len(challenges) != n:
        raise KeyMismatch(
            f"the key asks for {len(challenges)} challenges, the circuit of {what} for {n}"
        )
    if not all(0 <= x < R for x in challenges):
        raise ShapeMismatch("a challenge is not a canonical scalar")


def plan_step(recipe: TrainingRecipe) -> StepPlan:
    """The plan with the fewest rows."""
    n = recipe.batch_size
    layers = range(recipe.n_layers)
    return StepPlan(
        recipe=recipe,
        ranges=plan_ranges([*list_demands(recipe)]),
        forward=tuple(
            _choose(
                _bound_forward(recipe, layer), n, recipe.widths[layer], recipe.widths[layer + 1]
            )
            for layer in layers
        ),
        backward=tuple(
            _choose(
                _bound_backward(recipe, layer), n, recipe.widths[layer + 1], recipe.widths[layer]
            )
            for layer in layers[1:]
        ),
    )


def list_demands(recipe: TrainingRecipe) -> Iterator[RangeDemand]:
    """Every range of the circuit."""
    n, n_in, n_classes = recipe.batch_size, recipe.widths[0], recipe.widths[-1]
    bits, n_logits = LossBits.of(recipe), n * n_classes
    yield RangeDemand(what="pixels", count=n * n_in, bits=PIXEL_BITS)
    n_parameters = recipe.architecture.n_parameters
    yield RangeDemand(what="masters", count=n_parameters, bits=recipe.master_bits)
    for requant, width in zip(recipe.hidden, recipe.widths[1:-1], strict=True):
        yield RangeDemand(what="remainder", count=n * width, bits=requant.shift)
        yield RangeDemand(what="error", count=n * width, bits=recipe.error_bits)
        yield RangeDemand(what="error remainder", count=n * width, bits=recipe.backward_shift)
    yield RangeDemand(what="greatest logit", count=n, bits=bits.top)
    yield RangeDemand(what="logit remainder", count=n_logits, bits=recipe.logit_shift)
    yield RangeDemand(what="excess", count=n_logits, bits=bits.excess)
    yield RangeDemand(what="probability", count=n_logits, bits=bits.p)
    yield RangeDemand(what="probability remainder", count=2 * n_logits, bits=bits.p_rem)


def _choose(bound: int, n_samples: int, n_in: int, n_out: int) -> PackingChoice:
    """The packing of a product of matrices whose errors are at most this bound."""

    def count_rows(p: int, _: int, po: int) -> int:
        packs, groups = -(-n_samples // p), -(-n_out // po)
        of_inputs = n_in * (packs + 1) if packs > 1 else 0
        return of_inputs + groups * (n_in + 1) + packs * groups

    return choose_packing(bound.bit_length(), count_rows, n_samples=n_samples, n_outputs=n_out)


def _bound_forward(recipe: TrainingRecipe, layer: int) -> int:
    """Greatest error that ranges and tables admit."""
    accumulator = recipe.bound_accumulator(layer)
    if layer == recipe.n_layers - 1:
        return accumulator + LossBits.of(recipe).bound_logit(recipe)
    requant = recipe.hidden[layer]
    bound = RequantBound(
        accumulator=accumulator, shift=requant.shift, q_range=requant.q_range, fraction_bits=0
    )
    return bound.compute(1)


def _bound_backward(recipe: TrainingRecipe, layer: int) -> int:
    most = 1 << (recipe.error_bits - 1)
    bound = RequantBound(
        accumulator=recipe.bound_backward(layer),
        shift=recipe.backward_shift,
        q_range=(-most, most - 1),
        fraction_bits=0,
    )
    return bound.compute(1)
