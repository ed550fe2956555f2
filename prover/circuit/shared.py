"""What all layers of a circuit share while it is compiled: public wires, tables, and weights."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from prover.circuit.constraints import System
from prover.circuit.gadgets.activation import build_pair_table, compute_clamp_rows
from prover.circuit.gadgets.conv import Positions
from prover.circuit.gadgets.linear import build_combinations, build_weight_sum
from prover.circuit.gadgets.lookup import RangeTable, Table, build_integer_table
from prover.circuit.linear_form import LinearForm
from prover.circuit.public_inputs import ClampKind, PublicLayout, list_clamp_kinds
from prover.circuit.sizing.choices import Choices
from prover.circuit.sizing.packing import Packing
from prover.model.layers import WEIGHT_MAX, Shape
from prover.model.network import Architecture


@dataclass(slots=True, kw_only=True)
class Shared:
    """A circuit under construction.

    powers    : 1, s, s^2, ..., one per sample
    positions : monomials of x and y
    """

    system: System
    layout: PublicLayout
    choices: Choices
    public: dict[str, LinearForm]
    ranges: RangeTable
    weights: Table
    clamps: dict[ClampKind, Table]
    powers: LinearForm
    positions: Positions
    _weight_sums: dict[tuple[int, ...], LinearForm] = field(default_factory=dict)
    _combinations: dict[Hashable, LinearForm] = field(default_factory=dict)

    @classmethod
    def start(cls, layout: PublicLayout, choices: Choices) -> Shared:
        """The public wires, the tables, and the weights of samples and positions."""
        system = System()
        public = {label: system.public(label, shape) for label, shape in layout.blocks.items()}
        challenges = {name: public[f"challenge/{name}"] for name in layout.challenges}
        weights = build_integer_table(
            system, "weight table", challenges["weight"], np.arange(-WEIGHT_MAX, WEIGHT_MAX + 1)
        )
        clamps = {
            kind: build_pair_table(
                system,
                f"clamp table {i}",
                challenges[f"clamp {i}"],
                challenges["pair"],
                compute_clamp_rows(*kind),
            )
            for i, kind in enumerate(list_clamp_kinds(layout.architecture))
        }
        powers = LinearForm.constant([1])
        if "s" in challenges:
            powers = system.powers(
                "samples/powers/power", challenges["s"], layout.n_samples, why="one per sample"
            )
        return cls(
            system=system,
            layout=layout,
            choices=choices,
            public=public,
            ranges=RangeTable.build(
                system, "range table", challenges["range"], choices.widths.table_bits
            ),
            weights=weights,
            clamps=clamps,
            powers=powers,
            positions=Positions.build(system, challenges, choices.positions),
        )

    @property
    def architecture(self) -> Architecture:
        return self.layout.architecture

    def shape_of(self, index: int) -> Shape:
        """Of the wires of what a layer makes, all samples together."""
        return (self.layout.n_samples, *self.architecture.shapes[index + 1])

    def multiplier_of(self, index: int) -> LinearForm:
        """Of a requantizing layer: one wire, or one per output channel."""
        before = [x.requant for x in self.architecture.layers[:index] if x.requant is not None]
        start = sum(len(requant.multipliers) for requant in before)
        requant = self.architecture.layers[index].requant
        assert requant is not None
        if isinstance(requant.multiplier, int):
            return self.public["multiplier"][start]
        return self.public["multiplier"][start : start + len(requant.multiplier)]

    def sum_sample_weights(self, packing: Packing) -> LinearForm:
        """One wire for all layers whose samples have the same weights."""
        kind = _weights_kind(packing)
        if kind not in self._weight_sums:
            self._weight_sums[kind] = build_weight_sum(
                self.system,
                f"samples/weights/sum, {kind[0]} a pack of {kind[1]} bits each",
                powers=self.powers,
                packing=packing,
                n_samples=self.layout.n_samples,
            )
        return self._weight_sums[kind]

    def combine(self, label: str, key: Hashable, value: LinearForm, packing: Packing) -> LinearForm:
        """A value summed up over samples, once for all layers that weigh them alike.

        label : of the layer that takes it first; key : of the value, or part of it
        """
        kind = (key, *_weights_kind(packing))
        if kind not in self._combinations:
            self._combinations[kind] = build_combinations(
                self.system, label, powers=self.powers, activations=value, packing=packing
            )
        return self._combinations[kind]

    def close_tables(self) -> None:
        for table in (self.ranges.table, self.weights, *self.clamps.values()):
            table.close()

    def parameters(self) -> dict[str, Any]:
        """What the digest covers beside the matrices: the choices a reader would ask for."""
        layers, choices = self.architecture.layers, self.choices
        return {
            "n_samples": self.layout.n_samples,
            "challenges": list(self.layout.challenges),
            "margin_bits": choices.margin_bits,
            "level_bits": choices.level_bits,
            "packings": [[i, asdict(choice.packing)] for i, choice in choices.packings.items()],
            "pools": [[i, choice.bits, choice.is_fused] for i, choice in choices.pools.items()],
            "shifts": [x.requant.shift for x in layers if x.requant is not None],
            "tables": {
                "range": {"bits": choices.widths.table_bits},
                "weight": {"least": -WEIGHT_MAX, "greatest": WEIGHT_MAX},
                **{
                    f"clamp {i}": {"q": list(q), "y": list(y)}
                    for i, (q, y) in enumerate(self.clamps)
                },
            },
        }


def _weights_kind(packing: Packing) -> tuple[int, int]:
    """Layers that agree in it weigh samples alike."""
    return packing.samples, packing.bits if packing.samples > 1 else 0
