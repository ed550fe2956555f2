"""Layers at work on samples, wherever the integers compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from kernels.integers import Integers
from kernels.numpy_types import Int64Array, UInt8Array
from prover.model.layers import Layer, RequantTrace


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LayerTrace:
    """One layer at work on N samples: the first value it takes (samples as uint8), accumulators z,
    and requantization if any."""

    x: Int64Array
    z: Int64Array
    requant: RequantTrace | None

    @property
    def y(self) -> Int64Array:
        """What the layer hands on."""
        return self.z if self.requant is None else self.requant.y


def trace_layers(
    layers: Sequence[Layer], samples: UInt8Array, tensors: Sequence[Any], integers: Integers
) -> tuple[LayerTrace, ...]:
    """Everything computed on the way to the logits.

    samples : uint8[N, *input_shape]
    tensors : the weights of every layer, then the biases; all are where `integers` computes
    """
    steps, values = list[LayerTrace](), [cast(Int64Array, samples)]
    weights, biases = tensors[: len(layers)], tensors[len(layers) :]
    for layer, w, b in zip(layers, weights, biases, strict=True):
        taken = [values[value] for value in layer.inputs]
        z = layer.accumulate(taken, w, b, integers)
        requant = None if layer.requant is None else layer.requant.apply(z, integers)
        steps.append(LayerTrace(x=taken[0], z=z, requant=requant))
        values.append(steps[-1].y)
    return tuple(steps)
