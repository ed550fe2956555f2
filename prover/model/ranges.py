"""Range analysis: can this very model leave a range of the circuit, on any input at all?

Interval bounds from the actual weights over all uint8 inputs, layer by layer. Run before a model is
committed: a model that passes can be proven on every sample of every dataset. Reports and errors
tell about private weights and stay with the model's owner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prover.errors import RangeExceeded
from prover.model.layers import INPUT_RANGE, Interval, Requant
from prover.model.network import Architecture, QuantizedModel


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LayerRange:
    """Worst cases of one layer, inclusive. Private.

    q is None where the layer does not requantize.
    """

    z: tuple[int, int]
    q: tuple[int, int] | None


def compute_ranges(model: QuantizedModel) -> tuple[LayerRange, ...]:
    """Worst-case bounds per layer; RangeExceeded when the circuit could not prove some sample."""
    arch = model.architecture
    values = [compute_start(arch)]
    ranges = []
    for index, layer in enumerate(arch.layers):
        taken = [values[value] for value in layer.inputs]
        z = layer.bounds(taken, model.weights[index], model.biases[index])
        made, q = z, None
        if layer.requant is not None:
            bounds = layer.requant.bounds(z)
            q = require_quotients(index, bounds, layer.requant)
            made = Interval(layer.requant.clamp(bounds.lo), layer.requant.clamp(bounds.hi))
        values.append(made)
        ranges.append(LayerRange(z=_ends(z), q=q))
    _require_margin(model, ranges[-1])
    return tuple(ranges)


def compute_start(architecture: Architecture) -> Interval:
    """Every uint8 sample."""
    low, high = INPUT_RANGE
    shape = architecture.input_shape
    return Interval(np.full(shape, low, dtype=np.int64), np.full(shape, high, dtype=np.int64))


def _ends(interval: Interval) -> tuple[int, int]:
    return int(interval.lo.min()), int(interval.hi.max())


def require_quotients(index: int, bounds: Interval, requant: Requant) -> tuple[int, int]:
    """Least and greatest quotient of a layer; RangeExceeded when the table does not hold them."""
    q = _ends(bounds)
    least, greatest = requant.q_range
    for value, fits in ((q[0], q[0] >= least), (q[1], q[1] <= greatest)):
        if not fits:
            raise RangeExceeded(
                layer=index,
                quantity="quotient",
                value=value,
                bound=requant.q_range,
                next_step="quantize this layer with smaller weights (a greater weight scale), "
                "or take an architecture with a greater shift or q_bits",
            )
    return q


def _require_margin(model: QuantizedModel, last: LayerRange) -> None:
    """Any two logits differ by less than 2^margin_bits, whatever the input."""
    limit = (1 << model.architecture.margin_bits) - 1
    margin = last.z[1] - last.z[0]
    if margin > limit:
        raise RangeExceeded(
            layer=len(model.architecture.layers) - 1,
            quantity="logit margin",
            value=margin,
            bound=(0, limit),
            next_step="quantize the last layer with smaller weights, "
            "or take an architecture with more margin_bits",
        )
