"""The layer that the samples enter: what pixels stand for goes into its weights and biases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from federated.errors import GraphUnsupported
from federated.importing.network import Node, Samples, is_uniform
from kernels.numpy_types import Float64Array
from prover.model.planes import PIXEL_MAX


@dataclass(frozen=True, slots=True, eq=False)
class Entered:
    """What a layer sees of pixels.

    gain       : of a pixel, broadcasts against the layer's weights
    shift      : what zero pixels add to each output channel, [n_out]
    pad_values : the pixel of each channel that stands for zero; () where that is 0
    """

    gain: Float64Array
    shift: Float64Array
    pad_values: tuple[int, ...]


def take_samples(node: Node) -> Entered | None:
    """What a convolution or linear layer sees of the samples; None where it takes another value.

    Raises GraphUnsupported.
    """
    source = node.inputs[0]
    while source.kind == "flatten":
        source = source.inputs[0]
    if not isinstance(source, Samples):
        return None
    weight, bias = node.parameters
    gain, offset = source.gain, source.offset
    pad_values: tuple[int, ...] = ()
    if node.kind == "linear":
        gain, offset = gain.reshape(-1), offset.reshape(-1)
    else:
        if not is_uniform(gain, (1, 2)) or not is_uniform(offset, (1, 2)):
            _refuse(node, "takes samples that differ by place", "normalize whole channels")
        gain, offset = gain[:, :1, :1], offset[:, :1, :1]
        pad_values = _find_pad_values(node, gain.reshape(-1), offset.reshape(-1))
    shift = (weight.values * offset).reshape(len(bias), -1).sum(axis=1)
    return Entered(gain, shift, pad_values)


def _find_pad_values(node: Node, gain: Float64Array, offset: Float64Array) -> tuple[int, ...]:
    """The nearest pixels to zero."""
    assert node.window is not None
    if not any(node.window.pads):
        return ()
    if not gain.all():
        _refuse(node, "takes samples that are constant", "normalize with another scale")
    values = np.rint(-offset / gain)
    if values.min() < 0 or values.max() > PIXEL_MAX:
        _refuse(
            node, "pads samples with zeros, which no pixel stands for", "normalize with the mean"
        )
    return tuple(int(v) for v in values) if values.any() else ()


def _refuse(node: Node, what: str, next_step: str) -> NoReturn:
    raise GraphUnsupported(operator=node.operator, node=node.name, what=what, next_step=next_step)
