"""Slow inference in integers of any size, layer by layer, with a lie in one place.

An independent definition beside `QuantizedModel.trace`: no NumPy arithmetic of fixed width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from kernels.bn254 import R
from prover.circuit.accuracy import AccuracyCircuit
from prover.model.layers import Layer, Linear, Requant
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Add, MaxPool, SumPool
from tests.support.assignments import Tensor

Alter = Callable[[int, dict[str, Tensor]], None]
"""alter(layer, its advice by name) changes a layer's advice in place; what follows uses it."""

Compute = Callable[[int, Layer, list[Tensor], Tensor, Tensor], Tensor | None]
"""compute(layer's index, layer, values taken, weights, biases) gives other accumulators; None: the
right ones."""


def infer(
    accuracy: AccuracyCircuit,
    x: Tensor,
    *,
    weights: Sequence[Any],
    biases: Sequence[Any],
    multipliers: Sequence[int],
    alter: Alter | None = None,
    compute: Compute | None = None,
) -> dict[str, Tensor]:
    """Committed inputs up to the logits of samples x, padding included."""
    pools, left = accuracy.choices.pools, list(multipliers)
    fused = {choice.source for choice in pools.values()}
    values, quotients = [x], dict[int, Tensor]()
    inputs: dict[str, Tensor] = {}
    for index, layer in enumerate(accuracy.architecture.layers):
        w, b = (np.array(t[index]).astype(object) for t in (weights, biases))
        if w.size:
            inputs |= {f"layer {index}/weights": w, f"layer {index}/biases": b}
        taken = [values[number] for number in layer.inputs]
        z = None if compute is None else compute(index, layer, taken, w, b)
        z = accumulate(layer, taken, w, b) if z is None else z
        if layer.requant is not None:
            n = len(layer.requant.multipliers)
            m = np.array(left[:n], dtype=object).reshape(-1, *(1,) * (z.ndim - 2))
            del left[:n]
            step = requantize(z * m, layer.requant)
            if alter is not None:
                alter(index, step)
            quotients[index] = step["q"]
            names = ("q", "rem") if index in fused else ("q", "rem", "y")
            inputs |= {f"layer {index}/activation/{name}": step[name] for name in names}
            z = step["y"]
        elif index in pools:
            step, source = {"y": z}, pools[index].source
            if source is not None:
                requant = accuracy.architecture.layers[source].requant
                assert requant is not None
                q = accumulate(layer, [quotients[source]], w, b)
                step = {"q": q, "y": clamp(q, requant)}
            if alter is not None:
                alter(index, step)
            inputs |= {f"layer {index}/max/{name}": tensor for name, tensor in step.items()}
            z = step["y"]
        values.append(z)
    inputs[f"layer {index}/logits"] = values[-1]
    return inputs


def accumulate(layer: Layer, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    """z of a layer, [N, *shape]."""
    x = taken[0]
    match layer:
        case Linear():
            return x @ w.T + b
        case Conv2d():
            z = convolve(x, w, layer.window, layer.pad_values) + b[:, None, None]
            if layer.has_skip:
                z = z + taken[1] * np.array(layer.skip_scales, dtype=object)[:, None, None]
            return z
        case SumPool():
            return np.array(sum(slide(x, layer.window, 0).values()))
        case MaxPool():
            low = min(x.reshape(-1).tolist()) - 1
            return np.array(np.maximum.reduce(list(slide(x, layer.window, low).values())))
        case Add():
            return taken[0] * layer.scales[0] + taken[1] * layer.scales[1]
        case _:
            return x.reshape(len(x), -1)


def convolve(x: Tensor, w: Tensor, window: Window, pad_values: Sequence[int] = ()) -> Tensor:
    """Cross-correlation [N, n_out, H', W'] of x [N, C, H, W] and w [n_out, C, kh, kw]."""
    border = np.array(pad_values or (0,) * x.shape[1], dtype=object)[None, :, None, None]
    total: Any = 0
    for (ky, kx), seen in slide(x, window, border).items():
        total = total + np.moveaxis(np.tensordot(seen, w[:, :, ky, kx], axes=(1, 1)), 3, 1)
    return np.array(total)


def slide(x: Tensor, window: Window, border: Any) -> dict[tuple[int, int], Tensor]:
    """What each place of the kernel sees: [N, C, H', W'] of x [N, C, H, W]."""
    top, left, bottom, right = window.pads
    n, channels, height, width = x.shape
    padded = np.zeros((n, channels, top + height + bottom, left + width + right), dtype=object)
    padded += border
    padded[:, :, top : top + height, left : left + width] = x
    rows, columns = window.output_plane((height, width))
    down, across = (t * np.arange(m) for t, m in zip(window.stride, (rows, columns), strict=True))
    return {
        (ky, kx): padded[:, :, (ky + down)[:, None], kx + across]
        for ky, kx in product(range(window.kernel[0]), range(window.kernel[1]))
    }


def requantize(t: Tensor, requant: Requant) -> dict[str, Tensor]:
    """q, rem, y of m*z, in integers; m*z mod r where that is a small integer."""
    t = t % R
    t = np.where((t > R // 2).astype(bool), t - R, t) + (1 << (requant.shift - 1))
    q = t // (1 << requant.shift)
    return {"q": q, "rem": t - q * (1 << requant.shift), "y": clamp(q, requant)}


def clamp(q: Tensor, requant: Requant) -> Tensor:
    low, high = requant.y_range
    return np.array([min(max(v, low), high) for v in q.reshape(-1)], dtype=object).reshape(q.shape)
