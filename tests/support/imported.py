"""An imported network evaluated in real numbers by its definition, for comparison with the file."""

from __future__ import annotations

import numpy as np

from federated.importing.network import Grid, Network, Node, Samples, sort_nodes
from kernels.numpy_types import Float64Array, UInt8Array
from prover.model.planes import Window


def evaluate(network: Network, images: UInt8Array) -> Float64Array:
    """Logits, float64[N, n_classes], of uint8[N, ...] samples; grids round as the file says."""
    made: dict[int, Float64Array] = {}
    for node in sort_nodes(network.logits):
        taken = [made[id(each)] for each in node.inputs]
        made[id(node)] = _make(node, taken, images)
    return made[id(network.logits)]


def _make(node: Node, taken: list[Float64Array], images: UInt8Array) -> Float64Array:
    if isinstance(node, Samples):
        return images.reshape(len(images), *node.shape) * node.gain + node.offset
    x = taken[0]
    if node.kind == "flatten":
        return x.reshape(len(x), -1)
    if node.kind in ("max_pool", "average_pool"):
        assert node.window is not None
        seen = see(x, node.window, -np.inf)
        z = seen.max(axis=-1) if node.kind == "max_pool" else seen.mean(axis=-1)
    else:
        z = np.clip(_accumulate(node, taken), *node.clamp)
    return _round(z, node.grid)


def _accumulate(node: Node, taken: list[Float64Array]) -> Float64Array:
    x = taken[0]
    if node.kind == "requantize":
        return x
    if node.kind == "add":
        return x + taken[1]
    weight, bias = node.parameters
    if node.kind == "linear":
        return x @ weight.values.T + bias
    assert node.window is not None
    windows = see(x, node.window, 0.0)  # N, C, H', W', area
    kernel = weight.values.reshape(*weight.values.shape[:2], -1)
    z: Float64Array = np.einsum("nchwk,ock->nohw", windows, kernel) + bias[:, None, None]
    return _round(z, node.branch_grid) + taken[1] if len(taken) > 1 else z


def _round(z: Float64Array, grid: Grid | None) -> Float64Array:
    if grid is None:
        return z
    return grid.scale * np.clip(np.rint(z / grid.scale), grid.least, grid.greatest)


def see(x: Float64Array, window: Window, border: float) -> Float64Array:
    """What each window sees, float64[N, C, H', W', area]."""
    top, left, bottom, right = window.pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=border)
    views = np.lib.stride_tricks.sliding_window_view(padded, window.kernel, axis=(2, 3))
    taken = views[:, :, :: window.stride[0], :: window.stride[1]]
    return taken.reshape(*taken.shape[:4], -1)
