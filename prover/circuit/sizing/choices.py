"""What the compiler of accuracy circuits chooses by cost: the range table's width, and packings.

Both go together: a remainder that does not fill its limbs is looked up as a multiple of itself, so
its layer's errors are counted in fractions, and packs hold fewer of them. Numbers only, from public
ones: a verifier asks here as well, for which multipliers a circuit holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from math import prod

from prover.circuit.sizing.affine import list_affine
from prover.circuit.sizing.maxima import PoolChoice, choose_pools
from prover.circuit.sizing.packing import (
    PackingChoice,
    RequantBound,
    bound_logits,
    choose_packing,
)
from prover.circuit.sizing.positions import PositionShapes
from prover.circuit.sizing.widths import (
    RangeDemand,
    WidthChoice,
    count_table_rows,
    fill_limbs,
    split_widths,
)
from prover.model.layers import BIAS_BITS, PRODUCT_BITS, Linear, Requant
from prover.model.network import Architecture
from prover.model.planes import Conv2d
from prover.model.pooling import Add

_MAX_TABLE_BITS = 16
_MAX_RANGE_BITS = 60  # of full limbs, so that no coefficient reaches 2^62


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The choices for one architecture and number of samples.

    margin_bits, level_bits : of the correctness count, in full limbs
    packings        : of each layer that multiplies by weights or adds, by its index
    pools           : of each max pool, by its index
    max_multipliers : for each of `Architecture.multipliers` the greatest m that packs hold for
    positions       : weights of the outputs of convolutions
    """

    widths: WidthChoice
    margin_bits: int
    level_bits: int
    packings: Mapping[int, PackingChoice]
    pools: Mapping[int, PoolChoice]
    max_multipliers: tuple[int, ...]
    positions: PositionShapes


@lru_cache(maxsize=256)
def make_choices(architecture: Architecture, n_samples: int) -> Choices:
    """The choices with the fewest rows, the narrower range table on a tie.

    cost : some ten thousand additions a layer; remembered
    """
    plans = {
        bits: _Plan(architecture, n_samples, bits, choose_pools(architecture, n_samples, bits))
        for bits in range(1, _MAX_TABLE_BITS + 1)
        if fill_limbs(_count_level_bits(architecture), bits) <= _MAX_RANGE_BITS
    }
    shapes = dict(list_affine(architecture, n_samples))

    @cache
    def choose(index: int, error_bits: int) -> PackingChoice:
        """The samples themselves are weighed by the verifier, by plain powers."""
        if index in shapes:
            shape = shapes[index]
            return choose_packing(
                error_bits,
                shape.count_rows,
                n_samples=1 if shape.public_input else n_samples,
                n_columns=shape.width,
                n_outputs=shape.n_outputs,
            )
        n = n_samples * prod(architecture.shapes[index + 1])
        return choose_packing(error_bits, lambda p, pw, po: -(-n // po), n_samples=1, n_outputs=n)

    packings = {
        bits: {i: choose(i, bound.bit_length()) for i, bound in plan.bound_errors().items()}
        for bits, plan in plans.items()
    }
    widths = WidthChoice.cheapest(
        {
            bits: count_table_rows(plan.list_range_demands(), bits)
            + sum(choice.n_rows for choice in packings[bits].values())
            + sum(choice.n_rows for choice in plan.pools.values())
            for bits, plan in plans.items()
        },
        rows_of="its lookups and all packs",
    )
    best = plans[widths.table_bits]
    return Choices(
        widths=widths,
        margin_bits=best.margin_bits,
        level_bits=best.level_bits,
        packings=packings[widths.table_bits],
        pools=best.pools,
        max_multipliers=tuple(best.find_multipliers(packings[widths.table_bits])),
        positions=PositionShapes.of(
            (shape.sliding, packings[widths.table_bits][index].packing, shape.public_input)
            for index, shape in shapes.items()
            if shape.sliding is not None
        ),
    )


def _count_level_bits(architecture: Architecture) -> int:
    """Of l + 2^(v-1), where l is a logit, or one more: |l| <= bound + 1."""
    return (architecture.public_bounds[-1] + 1).bit_length() + 1


@dataclass(frozen=True, slots=True)
class _Plan:
    """What follows from the width of the range table."""

    architecture: Architecture
    n_samples: int
    table_bits: int
    pools: Mapping[int, PoolChoice]

    @property
    def margin_bits(self) -> int:
        return fill_limbs(self.architecture.margin_bits, self.table_bits)

    @property
    def level_bits(self) -> int:
        return fill_limbs(_count_level_bits(self.architecture), self.table_bits)

    def list_range_demands(self) -> list[RangeDemand]:
        """Every value that the shared range table has to serve."""
        architecture, n = self.architecture, self.n_samples
        n_biases = sum(map(prod, architecture.bias_shapes))
        demands = [
            RangeDemand(what="margin", count=n * architecture.n_classes, bits=self.margin_bits),
            RangeDemand(what="level", count=n, bits=self.level_bits),
            RangeDemand(what="bias", count=n_biases, bits=BIAS_BITS, exact=True),
        ]
        for index, layer in enumerate(architecture.layers):
            if layer.requant is not None:
                count, bits = n * prod(architecture.shapes[index + 1]), layer.requant.shift
                demands.append(RangeDemand(what=f"remainder {index}", count=count, bits=bits))
        return demands

    def bound_errors(self) -> Mapping[int, int]:
        """The greatest |2^a e| of every layer that is packed, by its index."""
        layers = self.architecture.layers
        return {
            index: self._bound_errors(index, layer.requant)
            for index, layer in enumerate(layers)
            if isinstance(layer, Linear | Conv2d | Add)
        }

    def find_multipliers(self, packings: Mapping[int, PackingChoice]) -> Iterator[int]:
        """Within the packs; and |m z| stays below 2^47, as the integer model has it."""
        for index, layer in enumerate(self.architecture.layers):
            if layer.requant is not None:
                bound = self._bound_requantization(index, layer.requant)
                most = ((1 << PRODUCT_BITS) - 1) // bound.accumulator
                most = min(most, bound.find_multiplier(packings[index].packing.limit))
                yield from [most] * len(layer.requant.multipliers)

    def _bound_errors(self, index: int, requant: Requant | None) -> int:
        if requant is not None:
            return self._bound_requantization(index, requant).compute(max(requant.multipliers))
        return bound_logits(
            accumulator=self.architecture.public_bounds[index],
            level_bits=self.level_bits,
            margin_bits=self.margin_bits,
        )

    def _bound_requantization(self, index: int, requant: Requant) -> RequantBound:
        """With the quotients that a max pool admits in place of a table."""
        least, greatest = requant.q_range
        fraction_bits = self._count_fraction_bits(requant.shift)
        for pool in self.pools.values():
            if pool.source == index:
                least -= 1 << pool.bits
                of_quotients = self._count_fraction_bits(pool.bits) - requant.shift
                fraction_bits = max(fraction_bits, of_quotients)
        return RequantBound(
            accumulator=self.architecture.public_bounds[index],
            shift=requant.shift,
            q_range=(least, greatest),
            fraction_bits=fraction_bits,
        )

    def _count_fraction_bits(self, bits: int) -> int:
        """a, if multiples of 2^-a pass a range of so many bits."""
        return self.table_bits - split_widths(bits, self.table_bits)[0]
