"""Linear layers and convolutions by their numbers: what the check of either costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from prover.circuit.sizing.packing import Packing
from prover.circuit.sizing.positions import grid_shape, inverse_shape
from prover.circuit.sizing.sliding import Sliding, slide_layer
from prover.model.layers import Linear
from prover.model.network import Architecture
from prover.model.planes import Conv2d


@dataclass(frozen=True, slots=True, kw_only=True)
class AffineShape:
    """A layer z = W x + b, x the input or what windows of it meet.

    n_inputs     : numbers that it takes, or that windows meet
    depth        : inputs of one output
    n_outputs    : of one position
    sliding      : of a convolution, with the channels of its input
    public_input : the verifier has the samples and sums them up
    requantized  : else its outputs are the logits
    per_channel  : every output has a multiplier of its own
    has_skip     : a multiple of another value is added
    """

    n_samples: int
    n_inputs: int
    depth: int
    n_outputs: int
    sliding: Sliding | None
    n_channels: int
    public_input: bool
    requantized: bool
    per_channel: bool
    has_skip: bool

    @property
    def width(self) -> int:
        """Positions side by side."""
        return 1 if self.sliding is None else self.sliding.columns.n_out

    @property
    def n_places(self) -> int:
        """Positions of one output."""
        return 1 if self.sliding is None else prod(self.sliding.plane)

    def count_cells(self, packing: Packing) -> int:
        """Rows times blocks of columns: what has a weight of its own; 1 where there is no grid."""
        return 1 if self.sliding is None else prod(grid_shape(self.sliding, packing))

    def has_inverses(self, packing: Packing) -> bool:
        return self.sliding is not None and inverse_shape(self.sliding, packing) != (1, 1)

    def count_positioned(self, packing: Packing) -> int:
        """Products of inputs and weights of positions."""
        if self.sliding is None or self.count_cells(packing) == 1:
            return 0
        if packing.columns == 1:
            return self.n_inputs
        columns = self.sliding.columns
        height = self.sliding.rows.n_used
        return self.n_channels * height * columns.kernel * packing.count_blocks(columns.n_out)

    def count_columns(self, packing: Packing) -> int:
        """Groups of outputs before they are scaled: multipliers of their own keep them apart."""
        return self.n_outputs if self.per_channel else packing.count_groups(self.n_outputs)

    def count_rows(self, samples: int, columns: int, outputs: int) -> int:
        """Rows of the check with such packs."""
        packing = Packing(samples=samples, columns=columns, outputs=outputs, bits=1)
        groups, apart = packing.count_groups(self.n_outputs), self.count_columns(packing)
        rows = 0 if self.public_input else self._count_input(packing)
        rows += apart * (self.depth + 1) + (samples > 1) + (self.n_places > 1)
        rows += self._count_outputs(packing, groups)
        if self.has_skip:
            rows += self._count_outputs(packing, apart)
        if not self.requantized:
            return rows + groups
        return rows + apart + groups + (apart if self.per_channel else 0)

    def _count_input(self, packing: Packing) -> int:
        n_packs = packing.count_packs(self.n_samples)
        rows = (n_packs + 1) * self.n_inputs if n_packs > 1 else 0
        if self.sliding is None:
            return rows or self.n_inputs
        return rows + self.count_positioned(packing) + self.depth * (1 + self.has_inverses(packing))

    def _count_outputs(self, packing: Packing, groups: int) -> int:
        n_packs, cells = packing.count_packs(self.n_samples), self.count_cells(packing)
        rows = n_packs * groups * cells if n_packs > 1 else 0
        if cells > 1:
            rows += groups * cells * (1 + (n_packs > 1))
        return rows


def list_affine(architecture: Architecture, n_samples: int) -> Iterator[tuple[int, AffineShape]]:
    """Of every linear layer and convolution, with its index."""
    shapes, weight_shapes = architecture.shapes, architecture.weight_shapes
    entrance = architecture.entrance
    for index, layer in enumerate(architecture.layers):
        if not isinstance(layer, Linear | Conv2d):
            continue
        taken, sliding = shapes[layer.inputs[0]], slide_layer(architecture, layer)
        yield (
            index,
            AffineShape(
                n_samples=n_samples,
                n_inputs=prod(taken) if sliding is None else taken[0] * sliding.n_used,
                depth=prod(weight_shapes[index][1:]),
                n_outputs=layer.n_out,
                sliding=sliding,
                n_channels=taken[0],
                public_input=index == entrance,
                requantized=layer.requant is not None,
                per_channel=layer.requant is not None
                and not isinstance(layer.requant.multiplier, int),
                has_skip=len(layer.inputs) > 1,
            ),
        )
