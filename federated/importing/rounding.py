"""Integers of one layer: weights, biases and multipliers out of real numbers and a file's grids.

Accumulators of channel c count units u_c = S_x S_w[c]; requantization multiplies them by
M_c = u_c / S_y = m_c / 2^s. Where a channel's numbers leave what circuits hold (a bias of more than
24 bits, a multiplier that rounds to nothing), its weights are made coarser: u_c grows, and both
shrink.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from federated.importing.network import Weight
from kernels.numpy_types import Float64Array, Int64Array
from prover.model.layers import BIAS_MAX, MAX_MULTIPLIER, WEIGHT_MAX

LEAST_MULTIPLIER = 1 << 3
EXACT_BELOW = 1 << 5  # rounding such a multiplier of one channel is worse than rounding its weights


@dataclass(slots=True, eq=False)
class Rounded:
    """ints, int64[n_out, ...], and the scale of each output channel: weights = ints * scale."""

    ints: Int64Array
    scale: Float64Array

    def coarsen(self, factor: Float64Array) -> int:
        """Divides each channel's weights by a factor of at least 1; how many channels change."""
        column = factor.reshape(-1, *(1,) * (self.ints.ndim - 1))
        self.ints = np.where(column > 1, np.rint(self.ints / column).astype(np.int64), self.ints)
        self.scale = self.scale * factor
        return int((factor > 1).sum())


def round_weight(weight: Weight, *, one_scale: bool) -> tuple[Rounded, str | None]:
    """Weights in [-127, 127], and what was changed of the file's integers.

    one_scale : all channels have one, as logits need
    """
    if weight.ints is None or weight.scale is None:
        return _round_values(weight.values, one_scale=one_scale), None
    if one_scale and not _is_constant(weight.scale):
        said = "its weights were rounded anew, to one scale of all classes"
        return _round_values(weight.values, one_scale=True), said
    found = Rounded(weight.ints, weight.scale)
    greatest = np.abs(found.ints).reshape(len(found.ints), -1).max(axis=1)
    if greatest.max() <= WEIGHT_MAX:
        return found, None
    if greatest.max() == WEIGHT_MAX + 1:
        n = int((np.abs(found.ints) > WEIGHT_MAX).sum())
        found.ints = found.ints.clip(-WEIGHT_MAX, WEIGHT_MAX)
        return found, f"{n} of its weights were -128 and became -127"
    if one_scale or _is_constant(weight.scale):
        greatest = np.full(greatest.shape, greatest.max())
    found.coarsen(np.maximum(greatest / WEIGHT_MAX, 1.0))
    return found, f"its weights of up to {greatest.max()} were rounded to 127 steps"


def _round_values(values: Float64Array, *, one_scale: bool) -> Rounded:
    """Nearest integers of real weights; channels of zeros take the scale of the widest one."""
    greatest = np.abs(values).reshape(len(values), -1).max(axis=1)
    widest = greatest.max() or 1.0
    scale = (
        np.full(greatest.shape, widest) if one_scale else np.where(greatest > 0, greatest, widest)
    )
    scale = scale / WEIGHT_MAX
    column = scale.reshape(-1, *(1,) * (values.ndim - 1))
    return Rounded(np.rint(values / column).astype(np.int64), scale)


def fit_biases(rounded: Rounded, bias: Float64Array, x_scale: float, *, one_scale: bool) -> int:
    """Coarsens channels whose biases have more than 24 bits; how many."""
    excess = np.abs(bias) / (rounded.scale * x_scale * (BIAS_MAX - 1))
    if one_scale:
        excess = np.full(excess.shape, excess.max())
    return rounded.coarsen(np.maximum(excess, 1.0))


def round_bias(bias: Float64Array, unit: Float64Array) -> Int64Array:
    found: Int64Array = np.rint(bias / unit).astype(np.int64)
    return found


def choose_shift(ratios: Float64Array, shift: int) -> int:
    """The greatest shift up to this with which every m = M 2^s is a multiplier."""
    while shift > 1 and np.rint(ratios.max() * 2.0**shift) > MAX_MULTIPLIER:
        shift -= 1
    return shift


def fit_multipliers(rounded: Rounded, factor: float) -> tuple[Int64Array, int]:
    """m of each channel for M 2^s = factor * scale, and how many channels became coarser for it.

    One multiplier of all channels is rounded down: what it makes has a scale of its own. Small ones
    of single channels are made exact by coarser weights, since all channels have one scale.
    """
    wanted = factor * rounded.scale
    if _is_constant(wanted):
        n = rounded.coarsen(np.maximum(LEAST_MULTIPLIER / wanted, 1.0))
        return _to_multipliers(np.floor(factor * rounded.scale * (1 + 1e-9))), n
    exact = np.maximum(np.ceil(wanted), 2 * LEAST_MULTIPLIER)
    n = rounded.coarsen(np.where(wanted < EXACT_BELOW, exact / wanted, 1.0))
    return _to_multipliers(np.rint(factor * rounded.scale)), n


def _to_multipliers(numbers: Float64Array) -> Int64Array:
    """As integers; what no multiplier is, and may be no integer either, stays none."""
    found: Int64Array = np.minimum(numbers, MAX_MULTIPLIER + 1).astype(np.int64)
    return found


def _is_constant(scale: Float64Array) -> bool:
    return bool((scale == scale[0]).all())
