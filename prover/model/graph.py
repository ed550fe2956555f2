"""How layers hang together: which values they take, of which shape and range.

Value 0 are the samples, value i + 1 is what layer i makes.
"""

from __future__ import annotations

from collections.abc import Sequence

from prover.errors import ArchitectureInvalid
from prover.model.layers import INPUT_RANGE, Layer, Linear, Range, Shape
from prover.model.planes import Conv2d
from prover.model.pooling import Flatten

SAMPLES = 0


def require_graph(layers: Sequence[Layer]) -> None:
    """ArchitectureInvalid unless the layers are a network that a circuit can state.

    Every value comes before the layers that take it, and is taken by some layer; linear layers,
    convolutions and additions requantize, but for the last layer, which is linear and makes the
    logits. The samples enter one linear layer or convolution, as they are or flattened: what the
    verifier computes of them is the input of that layer.
    """
    last = len(layers) - 1
    for index, layer in enumerate(layers):
        if any(value > index for value in layer.inputs):
            raise ArchitectureInvalid(f"layer {index} takes a value that is not there yet")
        has_parameters = isinstance(layer, Linear | Conv2d)
        if has_parameters and (layer.requant is None) != (index == last):
            raise ArchitectureInvalid("every layer but the last requantizes, the last one does not")
    if not isinstance(layers[last], Linear):
        raise ArchitectureInvalid("the last layer must be linear")
    taken = {value for layer in layers for value in layer.inputs}
    for value in range(1, last + 1):
        if value not in taken:
            raise ArchitectureInvalid(f"no layer takes what layer {value - 1} makes")
    _require_one_entrance(layers)


def trace_samples(layers: Sequence[Layer], value: int) -> bool:
    """Whether a value is the samples, as they are or flattened."""
    while value != SAMPLES:
        layer = layers[value - 1]
        if not isinstance(layer, Flatten):
            return False
        value = layer.inputs[0]
    return True


def find_entrance(layers: Sequence[Layer]) -> int:
    """The layer that the samples enter."""
    found = [
        index
        for index, layer in enumerate(layers)
        if not isinstance(layer, Flatten) and any(trace_samples(layers, v) for v in layer.inputs)
    ]
    if len(found) != 1:
        raise ArchitectureInvalid("the samples must enter one layer")
    return found[0]


def _require_one_entrance(layers: Sequence[Layer]) -> None:
    layer = layers[find_entrance(layers)]
    others = layer.inputs[1:]
    if not isinstance(layer, Linear | Conv2d) or any(trace_samples(layers, v) for v in others):
        raise ArchitectureInvalid("the samples must enter a linear layer or a convolution")


def compute_shapes(input_shape: Shape, layers: Sequence[Layer]) -> tuple[Shape, ...]:
    """Shape of one sample of every value."""
    shapes = [input_shape]
    for layer in layers:
        shapes.append(layer.output_shape([shapes[value] for value in layer.inputs]))
    return tuple(shapes)


def compute_accumulator_ranges(
    layers: Sequence[Layer], shapes: Sequence[Shape]
) -> tuple[Range, ...]:
    """Per layer the least and greatest z of any weights and biases that the circuit accepts."""
    found = []
    values: list[Range] = [INPUT_RANGE]
    for layer in layers:
        taken = layer.inputs
        z = layer.public_range([shapes[v] for v in taken], [values[v] for v in taken])
        found.append(z)
        values.append(z if layer.requant is None else layer.requant.y_range)
    return tuple(found)
