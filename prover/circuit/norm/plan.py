"""What the circuit of bounds on updates looks like, in numbers only: tables, challenges and sizes.

The change of a weight or of a bias lies in [-B, B]: either it is looked up in a table of its own of
2 B + 1 rows, or both B + d and B - d are cut into limbs of the range table that serves the squares.
The plan takes whichever has fewer rows, so small networks have no large tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod

from kernels.array import FrArray
from kernels.bn254 import R
from prover.circuit.sizes import MAX_ROWS, CircuitSizes
from prover.circuit.sizing.counting import Counts
from prover.circuit.sizing.widths import RangeDemand, WidthChoice, choose_table_bits
from prover.errors import KeyMismatch, ShapeMismatch
from prover.model.network import Architecture
from prover.model.update import UpdateBounds

KINDS = ("weight", "bias")
_MAX_TABLE_BITS = 14  # scaled to it, a bound of 48 bits on the squares stays below 2^62


@dataclass(frozen=True, kw_only=True)
class NormPlan:
    """The circuit of bounds on updates of one architecture.

    tabled : which of KINDS have a table of their own
    widths : of the range table, with the rows that other widths would have cost
    """

    architecture: Architecture
    bounds: UpdateBounds
    tabled: tuple[str, ...]
    widths: WidthChoice

    @property
    def challenges(self) -> tuple[str, ...]:
        """Names of the challenges; they are all of the public wires.

        One, at which the sums of all tables are compared: what is looked up stands before it, and
        the chances of the tables add up (PROTOCOL 4.2).
        """
        return ("lookup",)

    def compute_public(self, challenges: Sequence[int]) -> FrArray:
        """All public wires but the constant one, shape [n_public].

        Raises KeyMismatch for another number of challenges, ShapeMismatch for what is no scalar.
        """
        if len(challenges) != len(self.challenges):
            raise KeyMismatch(
                f"the key asks for {len(challenges)} challenges, the circuit of bounds on updates "
                f"of {self.architecture.name} for {len(self.challenges)}"
            )
        if not all(0 <= x < R for x in challenges):
            raise ShapeMismatch("a challenge is not a canonical scalar")
        return FrArray.from_ints(challenges)

    @cached_property
    def sizes(self) -> CircuitSizes:
        """Of the circuit that `prover.circuit.norm.compile_norm` makes, without compiling it."""
        counts, in_limbs = Counts(table_bits=self.widths.table_bits), 0
        layers = zip(self.architecture.weight_shapes, self.architecture.bias_shapes, strict=True)
        for shapes in layers:
            for kind, shape in zip(KINDS, shapes, strict=True):
                n = prod(shape)
                counts.n_model += n
                _count_bound(counts, self, kind, n)
                counts.define(n, a=1, b=1, c=1)  # its square
        n_parameters = counts.n_model
        counts.n_advice += 1  # the squares' sum
        counts.state(1, c=n_parameters + 1)
        counts.require_range(1, self.bounds.scaled_squares.bit_length(), terms=2)
        in_limbs = counts.n_advice
        n_range = 1 << self.widths.table_bits
        counts.close("range", "range", n_range, terms=n_range - 1)  # the row of 0 has no term
        for kind in self.tabled:
            n_rows = 2 * getattr(self.bounds, kind) + 1
            counts.close(kind, kind, n_rows, terms=n_rows - 1)
        a, b, c = counts.nnz
        n_multiplicities = sum(counts.tables.values())
        return CircuitSizes(
            n_layers=len(self.architecture.layers),
            n_samples=0,
            n_rows=counts.n_rows,
            n_public=len(self.challenges),
            n_model=counts.n_model,
            n_advice=counts.n_advice,
            n_private=counts.n_private,
            nnz=(a, b, c),
            occurring=(
                n_parameters + counts.n_private_in_a,
                1 + len(self.challenges) + n_parameters + in_limbs,
                # 1, the squares' sum, multiplicities; private wires.
                2 + n_multiplicities + counts.n_private,
            ),
            n_private_in_a=counts.n_private_in_a,
            tables=counts.tables,
        )


def _count_bound(counts: Counts, plan: NormPlan, kind: str, n: int) -> None:
    """n changes in [-B, B]."""
    if kind in plan.tabled:
        counts.look_up(kind, n, terms=1)
        return
    bits = _count_bits(getattr(plan.bounds, kind))
    counts.require_range(n, bits, terms=2, exact=True)
    counts.require_range(n, bits, terms=2)


def _count_bits(bound: int) -> int:
    """Of the integers from 0 to 2 B."""
    return (2 * bound).bit_length()


def plan_norm(architecture: Architecture, bounds: UpdateBounds) -> NormPlan:
    """The plan with the fewest rows; tables rather than limbs on a tie."""
    counts = {
        "weight": sum(map(prod, architecture.weight_shapes)),
        "bias": sum(map(prod, architecture.bias_shapes)),
    }
    plans = []
    for choice in product((True, False), repeat=len(KINDS)):
        tabled = tuple(kind for kind, chosen in zip(KINDS, choice, strict=True) if chosen)
        widths = choose_table_bits(_list_demands(bounds, counts, tabled), max_bits=_MAX_TABLE_BITS)
        plans.append(
            NormPlan(architecture=architecture, bounds=bounds, tabled=tabled, widths=widths)
        )
    return min(plans, key=lambda plan: plan.sizes.n_rows)


def _list_demands(
    bounds: UpdateBounds, counts: dict[str, int], tabled: Sequence[str]
) -> list[RangeDemand]:
    """Every value that the range table has to serve."""
    demands = [RangeDemand(what="squares", count=1, bits=bounds.scaled_squares.bit_length())]
    for kind in KINDS:
        if kind not in tabled:
            bits = _count_bits(getattr(bounds, kind))
            demands += [
                RangeDemand(what=f"{kind} from below", count=counts[kind], bits=bits, exact=True),
                RangeDemand(what=f"{kind} from above", count=counts[kind], bits=bits),
            ]
    return demands


def require_norm(
    architecture: Architecture,
    bounds: UpdateBounds,
    *,
    max_rows: int = MAX_ROWS,
    max_bytes: int | None = None,
) -> NormPlan:
    """The plan of a circuit that may be compiled.

    max_bytes : of memory that there is for compiling; None: as much as it takes
    raises    : CircuitTooLarge
    """
    plan = plan_norm(architecture, bounds)
    plan.sizes.require_fit(
        f"bounds on updates of {architecture.name}", 0, max_rows=max_rows, max_bytes=max_bytes
    )
    return plan
