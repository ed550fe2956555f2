"""Linear layers and convolutions of a circuit: their parameters, and the check of their outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from prover.circuit.gadgets.activation import Quotient
from prover.circuit.gadgets.conv import build_window_sums
from prover.circuit.gadgets.linear import (
    build_outputs,
    require_logits,
    require_requantized,
    sum_outputs,
)
from prover.circuit.linear_form import LinearForm
from prover.circuit.shared import Shared
from prover.circuit.sizing.packing import Packing
from prover.circuit.sizing.positions import grid_shape
from prover.circuit.sizing.sliding import Sliding, slide_layer
from prover.model.layers import BIAS_BITS, BIAS_MIN, WEIGHT_MAX, Linear, Requant
from prover.model.network import label_parameters
from prover.model.planes import Conv2d


@dataclass(slots=True)
class AffineLayer:
    """The check of one layer: `add_outputs` first, then what they are."""

    shared: Shared
    index: int
    layer: Linear | Conv2d
    sliding: Sliding | None
    packing: Packing
    why: str
    weight_sum: LinearForm

    @classmethod
    def of(cls, shared: Shared, index: int, layer: Linear | Conv2d) -> AffineLayer:
        choice = shared.choices.packings[index]
        sliding = slide_layer(shared.architecture, layer)
        made = cls(
            shared=shared,
            index=index,
            layer=layer,
            sliding=sliding,
            packing=choice.packing,
            why=choice.reason,
            weight_sum=shared.sum_sample_weights(choice.packing),
        )
        if sliding is not None and sliding.plane != (1, 1):
            grid = made.grid or LinearForm.constant([1])[None]
            places = choice.packing.spread_columns(grid, sliding.columns.n_out)
            made.weight_sum = shared.system.product(
                f"{made.label}/sum of weights", made.weight_sum, places.flat().sum(0)
            )
        return made

    @property
    def label(self) -> str:
        return f"layer {self.index}/{self.layer.kind}"

    @property
    def grid(self) -> LinearForm | None:
        """Weights of positions, [rows, blocks of columns], where there are any but constants."""
        if self.sliding is None:
            return None
        height, width = grid_shape(self.sliding, self.packing)
        return None if height == width == 1 else self.shared.positions.grid[:height, :width]

    @property
    def column_packing(self) -> Packing:
        """Of outputs before they are scaled: multipliers of their own keep them apart."""
        requant = self.layer.requant
        if requant is None or isinstance(requant.multiplier, int):
            return self.packing
        return replace(self.packing, outputs=1)

    def build_inputs(self, value: LinearForm) -> LinearForm:
        """The value summed up over samples, and over the positions of windows: wires."""
        shared, sliding, number = self.shared, self.sliding, self.layer.inputs[0]
        label = f"layer {self.index}/input"
        is_committed = self.packing.count_packs(shared.layout.n_samples) == 1
        if sliding is None:
            combined = shared.combine(label, number, value, self.packing)
            if not is_committed:
                return combined
            return shared.system.total(f"{label}/inputs", combined, why="all samples in one pack")
        rows, columns = sliding.rows.used, sliding.columns.used
        used = value[:, :, rows[:, None], columns]
        key = (number, sliding.rows.used_key, sliding.columns.used_key)
        return build_window_sums(
            shared.system,
            label,
            combined=shared.combine(label, key, used, self.packing),
            positions=shared.positions,
            sliding=sliding,
            packing=self.packing,
            has_grid=self.grid is not None,
            is_committed=is_committed,
        )

    def build_outputs(self, inputs: LinearForm, skip: LinearForm | None) -> LinearForm:
        """Weights and biases, in range, and the layer's outputs at the random combination.

        inputs : of `build_inputs`, or the verifier's; skip : the value that is added, if any
        """
        system, part = self.shared.system, f"layer {self.index}"
        architecture = self.shared.architecture
        shapes = label_parameters(
            self.index, architecture.weight_shapes[self.index], architecture.bias_shapes[self.index]
        )
        weights, biases = (system.model(*parameter) for parameter in shapes.items())
        self.shared.weights.lookup(
            f"{part}/weights/range",
            weights,
            index=weights + WEIGHT_MAX,
            why="a weight is of [-127, 127]",
        )
        # Exact: nothing else makes a bias an integer, and B/2^a mod r would poison the aggregate.
        self.shared.ranges.require_range(
            f"{part}/biases/range",
            biases - BIAS_MIN,
            BIAS_BITS,
            exact=True,
            why="an unchecked bias could be any field element",
        )
        outputs = build_outputs(
            system,
            self.label,
            inputs=inputs.flat(),
            weight_sum=self.weight_sum,
            weights=weights.reshape((weights.shape[0], prod(weights.shape[1:]))),
            biases=biases,
            packing=self.column_packing,
            why=self.why,
        )
        return outputs if skip is None else outputs + self._sum_skip(skip)

    def require_requantized(
        self, outputs: LinearForm, quotient: Quotient, requant: Requant
    ) -> None:
        """m times the outputs is what the quotient says."""
        require_requantized(
            self.shared.system,
            self.label,
            outputs=outputs,
            multiplier=self.shared.multiplier_of(self.index),
            weight_sum=self.weight_sum,
            rounded=self._sum(f"{self.label}/output", quotient.scale_back(requant.shift)),
            n_outputs=self.layer.n_out,
            shift=requant.shift,
            packing=self.packing,
        )

    def require_logits(self, outputs: LinearForm, logits: LinearForm) -> None:
        """The outputs are the logits."""
        summed = self._sum(f"{self.label}/output", logits)
        require_logits(self.shared.system, self.label, outputs=outputs, summed=summed)

    def _sum_skip(self, skip: LinearForm) -> LinearForm:
        assert isinstance(self.layer, Conv2d)
        scales = np.array(self.layer.skip_scales, dtype=np.int64)[:, None, None]
        return self._sum(f"{self.label}/skip", skip * scales, self.column_packing)

    def _sum(self, label: str, values: LinearForm, packing: Packing | None = None) -> LinearForm:
        return sum_outputs(
            self.shared.system,
            label,
            values=values,
            powers=self.shared.powers,
            packing=packing or self.packing,
            grid=self.grid,
        )
