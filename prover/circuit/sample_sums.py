"""What the verifier sums up of its own samples: the inputs of the layer that they enter.

    linear       P_k = sum_n s^n x_nk
    convolution  P[c,ky,kx] = sum_n s^n sum_ij x^i w_j x_n[c, i t + ky - p, j t + kx - p]

s and x are challenges, w_j = y^(j div pw) C^(j mod pw) with a third one, y (PROTOCOL 4.1). At the
border stand the layer's `pad_values`, of slots without a sample as well, whose samples are zeros.
All of it is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from operator import mul

import numpy as np
import numpy.typing as npt

from kernels.array import ints_from_words, words_from_ints
from kernels.bn254 import R
from kernels.integers import BLOCK_VALUES
from kernels.numpy_types import UInt8Array
from prover.circuit.sizing.packing import Packing
from prover.circuit.sizing.sliding import Sliding, slide_layer
from prover.model.layers import Shape
from prover.model.network import Architecture
from prover.model.planes import Conv2d

_LIMB_BITS = 32
# Products this small stay on one thread in OpenBLAS: on a busy machine threads would wait longer
# for each other than the product takes. With 8 limbs it is also at most 2^13 samples at a time.
_MATMUL_TERMS = 1 << 16
_EXACT_SAMPLES = 1 << 13  # of 8 bits, times limbs of 32: sums below 2^53


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
        self, samples: UInt8Array, weights: Sequence[int], *, total: int, x: int, y: int
    ) -> list[int]:
        """Every P mod r, in the order of the layer's weights.

        samples : uint8[n, *shape]; weights : of each sample, below r
        total   : the sum of the weights of all slots, those without a sample included
        cost    : the sums of weighted samples, then a few multiplications per number and row of
                  the kernel
        """
        sums = compute_weighted_sums(samples.reshape(len(samples), -1), weights)
        if self.sliding is None:
            return sums
        _, height, width = samples.shape[1:]
        size = height * width
        borders = [v * total % R for v in self.pad_values or (0,) * self.depth[0]]
        by_x = compute_powers(x, self.sliding.rows.n_out)
        by_y = self.packing.compute_column_weights(y, self.sliding.columns.n_out)
        found = []
        for c, border in enumerate(borders):
            plane = sums[c * size : (c + 1) * size]
            found += _slide(plane, self.sliding, border, by_x, by_y)
        return found


def _slide(
    plane: Sequence[int], sliding: Sliding, border: int, by_x: Sequence[int], by_y: Sequence[int]
) -> list[int]:
    """sum_ij by_x[i] by_y[j] plane[i t + ky - p, j t + kx - p] mod r at every place of the kernel.

    Rows first: what a row of the kernel meets, summed up by rows, is one padded row.
    """
    rows, columns = sliding.rows, sliding.columns
    outside = [border] * columns.n
    lines = [plane[u * columns.n : (u + 1) * columns.n] for u in range(rows.n)]
    edge = border * sum(by_x) % R
    found = []
    for met in rows.met.tolist():
        taken = [lines[u] if 0 <= u < rows.n else outside for u in met]
        line = [sum(map(mul, numbers, by_x)) % R for numbers in zip(*taken, strict=True)]
        for places in columns.met.tolist():
            numbers = [line[v] if 0 <= v < columns.n else edge for v in places]
            found.append(sum(map(mul, numbers, by_y)) % R)
    return found


def compute_powers(base: int, n: int) -> list[int]:
    """1, base, ..., base^(n-1) mod r."""
    powers = [1]
    for _ in range(n - 1):
        powers.append(powers[-1] * base % R)
    return powers


def sum_powers(base: int, n: int) -> int:
    """1 + base + ... + base^(n-1) mod r."""
    if base == 1:
        return n
    return (pow(base, n, R) - 1) * pow(base - 1, -1, R) % R


def compute_weighted_sums(samples: UInt8Array, weights: Sequence[int]) -> list[int]:
    """sum_n weights_n * samples_nk mod r for every k.

    samples : uint8[n, d]; weights : n scalars below r
    holds   : weights are cut into 32-bit limbs; a limb's sum over at most 2^13 samples
              is below 2^53, hence exact in float64, and the BLAS may add in any order; over all of
              MAX_SAMPLES it is below 2^60, hence exact in int64
    cost    : samples become doubles block by block, never all of them
    """
    limbs = words_from_ints(weights).view(np.uint32).T.astype(np.float64)
    n, d = samples.shape
    step = max(1, _MATMUL_TERMS // (len(limbs) * max(d, 1)))
    height = max(step, min(_EXACT_SAMPLES, BLOCK_VALUES // max(d, 1)))
    sums = np.zeros((len(limbs), d), dtype=np.int64)
    for first in range(0, n, height):
        exact = samples[first : first + height].astype(np.float64)
        scales = limbs[:, first : first + height]
        total = np.zeros((len(limbs), d))
        for start in range(0, len(exact), step):
            total += scales[:, start : start + step] @ exact[start : start + step]
        sums += total.astype(np.int64)
    return [total % R for total in _join_limbs(sums)]


def _join_limbs(sums: npt.NDArray[np.int64]) -> list[int]:
    """sum_i 2^(32 i) sums_ik for every k, from int64[8, d] of entries in [0, 2^62).

    Limbs of even and of odd index, each below 2^64, make two integers without any carry.
    """
    unsigned = sums.astype(np.uint64)
    even = ints_from_words(np.ascontiguousarray(unsigned[0::2].T))
    odd = ints_from_words(np.ascontiguousarray(unsigned[1::2].T))
    return [low + (high << _LIMB_BITS) for low, high in zip(even, odd, strict=True)]
