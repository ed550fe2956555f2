"""PROTOCOL section 1 as nested loops, one number after the other, of integers of any size.

It shares no code with `prover.model` nor with `tests.support.inference`, which slide whole planes:
a place that one of them gets wrong, the others would not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from prover.model.layers import Layer, Linear, Requant
from prover.model.network import Architecture
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Add, MaxPool, SumPool
from tests.support.assignments import Tensor

Place = tuple[int, int]
Range = tuple[int, int]
"""Least and greatest, both inclusive."""


def list_meetings(window: Window, plane: Sequence[int]) -> Iterator[tuple[Place, list[Place]]]:
    """Every output (i, j) of a plane, and the places (u, v) that its kernel lies on, row by row;
    some of them outside of the plane."""
    top, left, bottom, right = window.pads
    (height, width), (down, across) = window.kernel, window.stride
    for i in range((plane[0] + top + bottom - height) // down + 1):
        for j in range((plane[1] + left + right - width) // across + 1):
            above, before = i * down - top, j * across - left
            yield (
                (i, j),
                list(product(range(above, above + height), range(before, before + width))),
            )


def list_numbers(window: Window, plane: Sequence[int]) -> Iterator[tuple[Place, list[Place]]]:
    """Every output, and the numbers of the plane that it meets."""
    for output, places in list_meetings(window, plane):
        yield (
            output,
            [(u, v) for u, v in places if 0 <= u < plane[0] and 0 <= v < plane[1]],
        )


def combine(layer: Layer, taken: Sequence[Tensor], w: Tensor, b: Tensor, shape: Any) -> Tensor:
    """z of a layer that adds and multiplies only, so that its numbers may be of the field as well.

    taken : [N, *shape] each; w, b : its parameters; shape : of one sample of z
    """
    x = taken[0]
    match layer:
        case Linear():
            return x @ w.T + b
        case Add():
            return taken[0] * layer.scales[0] + taken[1] * layer.scales[1]
        case Conv2d():
            return _convolve(layer, taken, w, b, shape)
        case SumPool():
            z = np.zeros((len(x), *shape), dtype=object)
            for (i, j), numbers in list_numbers(layer.window, x.shape[2:]):
                z[:, :, i, j] = sum(x[:, :, u, v] for u, v in numbers)
            return z
        case _:
            return x.reshape((len(x), *shape))


def _convolve(layer: Conv2d, taken: Sequence[Tensor], w: Tensor, b: Tensor, shape: Any) -> Tensor:
    x = taken[0]
    n, channels, height, width = x.shape
    z = np.zeros((n, *shape), dtype=object)
    for (i, j), places in list_meetings(layer.window, (height, width)):
        seen = []
        for c, (u, v) in product(range(channels), places):
            border = layer.pad_values[c] if layer.pad_values else 0
            inside = 0 <= u < height and 0 <= v < width
            seen.append(x[:, c, u, v] if inside else np.full(n, border, dtype=object))
        z[:, :, i, j] = np.stack(seen, axis=1) @ w.reshape(len(w), -1).T + b
    if len(layer.inputs) == 2:
        for o in range(layer.n_out):
            scale = layer.skip_scale if isinstance(layer.skip_scale, int) else layer.skip_scale[o]
            z[:, o] = z[:, o] + scale * taken[1][:, o]
    return z


def take_greatest(layer: MaxPool, x: Tensor, shape: Any) -> Tensor:
    """The greatest number of every window, of integers."""
    z = np.zeros((len(x), *shape), dtype=object)
    for (i, j), numbers in list_numbers(layer.window, x.shape[2:]):
        for n, c in np.ndindex(*x.shape[:2]):
            z[n, c, i, j] = max(x[n, c, u, v] for u, v in numbers)
    return z


def compute_extreme(
    layer: Layer, shapes: Sequence[Any], ranges: Sequence[Range], shape: Any
) -> Range:
    """Least and greatest z, from what the layer makes of the worst numbers of their ranges."""
    if isinstance(layer, MaxPool):
        return ranges[0]
    lows, highs = (
        [np.full((1, *s), r[end], dtype=object) for s, r in zip(shapes, ranges, strict=True)]
        for end in (0, 1)
    )
    if not isinstance(layer, Linear | Conv2d):
        none = np.zeros(0, dtype=object)
        return (
            int(combine(layer, lows, none, none, shape).min()),
            int(combine(layer, highs, none, none, shape).max()),
        )
    # Weights of either sign: the largest number, times 127 each, and the bias -2^23.
    worst = [np.maximum(-low, high) for low, high in zip(lows, highs, strict=True)]
    if isinstance(layer, Conv2d) and layer.pad_values:
        worst[0] = np.maximum(worst[0], max(layer.pad_values))
    w = np.full(layer.weight_shape(shapes), 127, dtype=object)
    b = np.full(layer.bias_shape(shapes), 1 << 23, dtype=object)
    most = int(combine(layer, worst, w, b, shape).max())
    return -most, most


def list_quotients(requant: Requant) -> range:
    """Quotients that the table has, ascending."""
    return range(-(2 ** (requant.q_bits - 1)), 2 ** (requant.q_bits - 1))


def list_clamps(architecture: Architecture) -> list[tuple[int, int, int]]:
    """Kinds of tables of pairs, in order of first use: bits of q, least and greatest y."""
    requants = [layer.requant for layer in architecture.layers if layer.requant is not None]
    return list(dict.fromkeys((r.q_bits, r.least, r.greatest) for r in requants))


def requantize(z: Tensor, requant: Requant, multipliers: Sequence[int]) -> dict[str, Tensor]:
    """q, rem and y of z [N, channels, ...]."""
    made = {name: np.zeros(z.shape, dtype=object) for name in ("q", "rem", "y")}
    for place in np.ndindex(z.shape):
        m = multipliers[place[1] if len(multipliers) > 1 else 0]
        t = m * int(z[place]) + 2 ** (requant.shift - 1)
        q, rem = divmod(t, 2**requant.shift)
        y = min(max(q, requant.least), requant.greatest)
        made["q"][place], made["rem"][place], made["y"][place] = q, rem, y
    return made


def run(
    architecture: Architecture, x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]
) -> list[dict[str, Tensor]]:
    """Of every layer z, and q, rem and y where it requantizes; of a max pool also its greatest
    quotient, `q`, where it takes the activations of a layer that requantizes."""
    values, quotients, steps = [x], {}, []
    for index, layer in enumerate(architecture.layers):
        taken = [values[number] for number in layer.inputs]
        shape = architecture.shapes[index + 1]
        if isinstance(layer, MaxPool):
            step = {"z": take_greatest(layer, taken[0], shape)}
            if layer.inputs[0] in quotients:
                step["q"] = take_greatest(layer, quotients[layer.inputs[0]], shape)
        else:
            step = {"z": combine(layer, taken, weights[index], biases[index], shape)}
        if layer.requant is not None:
            step |= requantize(step["z"], layer.requant, layer.requant.multipliers)
            quotients[index + 1] = step["q"]
        steps.append(step)
        values.append(step.get("y", step["z"]))
    return steps
