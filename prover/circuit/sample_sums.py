"""What the verifier sums up of its own samples: the inputs of the layer that they enter.

    linear       P_k = sum_n s^n x_nk
    convolution  P[c,ky,kx] = sum_n s^n sum_ij x^i w_j x_n[c, i t + ky - p, j t + kx - p]

s and x are challenges, w_j = y^(j div pw) C^(j mod pw) with a third one, y (PROTOCOL 4.1). At the
border stand the layer's `pad_values`, of slots without a sample as well, whose samples are zeros.
All of it is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from kernels.array import FrArray
from kernels.bn254 import R
from kernels.cpu.words.weighted_sums import compute_powers, gather_sums, sum_bytes
from kernels.numpy_types import Int64Array, UInt8Array
from prover.circuit.sizing.packing import Packing
from prover.circuit.sizing.sliding import Axis, Sliding, slide_layer
from prover.model.layers import Shape
from prover.model.network import Architecture
from prover.model.planes import Conv2d


@dataclass(frozen=True, slots=True)
class SampleSums:
    """The layer that samples enter, as the verifier sees it.

    depth   : inputs of one of its outputs, (d_in,) or (channels, kernel height, kernel width)
    sliding : of a convolution; pad_values of each of its channels
    packing : of its outputs, which says how columns are weighed
    """

    depth: Shape
    sliding: Sliding | None
    pad_values: tuple[int, ...]
    packing: Packing

    @classmethod
    def of(cls, architecture: Architecture, packing: Packing) -> SampleSums:
        index = architecture.entrance
        layer = architecture.layers[index]
        pads = layer.pad_values if isinstance(layer, Conv2d) and any(layer.pad_values) else ()
        sliding = slide_layer(architecture, layer)
        return cls(architecture.weight_shapes[index][1:], sliding, pads, packing)

    @property
    def n_sums(self) -> int:
        return prod(self.depth)

    def compute(
        self, samples: UInt8Array, weights: FrArray, *, total: int, x: int, y: int
    ) -> FrArray:
        """Every P, in the order of the layer's weights, shape [n_sums].

        samples : uint8[n, *shape]; weights : of each sample, shape [n]
        total   : the sum of the weights of all slots, those without a sample included
        cost    : the sums of weighted samples, then a product per number and row of the kernel
        """
        sums = sum_bytes(samples.reshape(len(samples), -1), weights)
        if self.sliding is None:
            return sums
        rows, columns = self.sliding.rows, self.sliding.columns
        borders = FrArray.from_ints(v * total for v in self.pad_values or (0,) * self.depth[0])
        # One row and one column more, which stand for all that lies outside.
        plane = np.empty((len(borders), rows.n + 1, columns.n + 1, FrArray.WORDS), dtype=np.uint64)
        plane[:] = borders.data[:, None, None]
        plane[:, :-1, :-1] = sums.data.reshape(-1, rows.n, columns.n, FrArray.WORDS)
        by_x = compute_powers(x, rows.n_out)
        by_y = FrArray.from_ints(self.packing.compute_column_weights(y, columns.n_out))
        # Rows first: what a row of the kernel meets, summed up by rows, is one such row.
        lines = gather_sums(FrArray(plane), _find_met(rows), by_x)
        lines = FrArray(lines.data.reshape(-1, columns.n + 1, 1, FrArray.WORDS))
        return FrArray(gather_sums(lines, _find_met(columns), by_y).data.reshape(-1, FrArray.WORDS))


def _find_met(axis: Axis) -> Int64Array:
    """The number that each output meets at each place, `axis.n` for one outside: [kernel, n_out]"""
    met = axis.met
    return np.where((met >= 0) & (met < axis.n), met, axis.n)


def sum_powers(base: int, n: int) -> int:
    """1 + base + ... + base^(n-1) mod r."""
    if base == 1:
        return n
    return (pow(base, n, R) - 1) * pow(base - 1, -1, R) % R
