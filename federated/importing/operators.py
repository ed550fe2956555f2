"""Operators that compute: convolutions, linear layers, pools, additions, normalizations."""

from __future__ import annotations

from math import prod

import numpy as np

from federated.importing.grids import find_maker
from federated.importing.network import ENDLESS, Node, Samples, Weight, is_uniform
from federated.importing.shapes import to_vector
from federated.importing.values import Constant, Op, Value, to_real
from kernels.numpy_types import Float64Array
from prover.errors import ArchitectureInvalid
from prover.model.planes import Window

_WHOLE = "take a convolution of whole channels (groups=1) and neighbouring places (dilation=1)"
_SIMPLER = "simplify the network there and export it again"


def conv(op: Op) -> Value:
    value = op.real(0)
    weight, bias = op.constant(1), op.find_constant(2)
    plane = _require_plane(op, value)
    shape = weight.array.shape
    group = op.attribute("group", 1)
    if group != 1:
        op.refuse(f"has {group} groups", _WHOLE)
    if any(n != 1 for n in op.int_list("dilations", [1, 1])):
        op.refuse("is dilated", _WHOLE)
    if len(shape) != 4 or shape[1] != value.node.shape[0]:
        op.refuse(f"has weights {list(shape)} for {list(value.shape)}", "export it again")
    window = _read_window(op, plane, kernel=[int(n) for n in shape[2:]], around=value.pads)
    n_out = int(shape[0])
    node = Node(
        kind="conv",
        operator=op.operator,
        name=op.name,
        shape=(n_out, *_slide(op, window, plane)),
        inputs=(value.node,),
        exclusive=not value.is_shared,
        window=window,
        weight=_read_weight(weight),
        bias=_read_bias(op, bias, n_out),
    )
    return Value(node)


def gemm(op: Op) -> Value:
    """alpha x W + beta b; W transposed where the file says so."""
    if op.attribute("transA", 0):
        op.refuse("transposes the samples", _SIMPLER)
    weight = op.constant(1)
    if weight.array.ndim == 2 and not op.attribute("transB", 0):
        weight = weight.transpose((1, 0))
    made = _linear(op, weight, op.find_constant(2))
    alpha, beta = op.attribute("alpha", 1.0), op.attribute("beta", 1.0)
    node = made.node
    read, shift = node.parameters
    node.weight, node.bias = read.scaled(np.full(node.shape, alpha)), shift * beta
    return made


def matmul(op: Op) -> Value:
    weight = op.constant(1)
    return _linear(op, weight.transpose((1, 0)) if weight.array.ndim == 2 else weight, None)


def add(op: Op) -> Value:
    """Of two values; where one is a convolution that nobody else takes, it adds the other."""
    a, b = op.real(0), op.real(1)
    if a.shape != b.shape or a.axes != b.axes or not _same_order(a, b):
        op.refuse(f"adds {list(a.shape)} and {list(b.shape)}", "add values of one shape")
    for branch, skip in ((a, b), (b, a)):
        node = branch.node
        if node.kind == "conv" and node.is_bare and not branch.is_shared:
            node.inputs = (*node.inputs, skip.node)
            node.branch_grid, node.grid = node.grid, None
            return branch
    node = Node(
        kind="add",
        operator=op.operator,
        name=op.name,
        shape=a.node.shape,
        inputs=(a.node, b.node),
    )
    return a.of(node)


def arithmetic(op: Op) -> Value:
    """Add, Sub, Mul and Div of a value and a constant, or Add of two values."""
    first, second = (op.inputs[i] if i < len(op.inputs) else None for i in (0, 1))
    if op.operator == "Add" and isinstance(first, Value) and isinstance(second, Value):
        return add(op)
    index = 0 if isinstance(first, Value) else 1
    value, constant = op.real(index), to_real(op.constant(1 - index).array)
    one, zero = np.ones(()), np.zeros(())
    if op.operator == "Add":
        return affine(op, value, one, constant)
    if op.operator == "Mul":
        return affine(op, value, constant, zero)
    if op.operator == "Sub":
        return (
            affine(op, value, one, -constant) if index == 0 else affine(op, value, -one, constant)
        )
    if index == 1 or not constant.all():
        op.refuse("divides by a value, or by zero", _SIMPLER)
    return affine(op, value, 1 / constant, zero)


def batch_norm(op: Op) -> Value:
    if op.attribute("training_mode", 0):
        op.refuse("normalizes by the batch", "export the network in evaluation mode")
    value = op.real(0)
    scale, shift, mean, variance = (to_real(op.constant(i).array) for i in range(1, 5))
    spread = np.sqrt(variance + op.attribute("epsilon", 1e-5))
    if not (spread > 0).all():
        op.refuse("divides by zero", "train the network again")
    gain = scale / spread
    column = (-1, *(1,) * (len(value.shape) - 2))
    return affine(op, value, gain.reshape(column), (shift - mean * gain).reshape(column))


def affine(op: Op, value: Value, gain: Float64Array, offset: Float64Array) -> Value:
    """gain * value + offset, folded into what makes the value. Arrays broadcast as in the file."""
    gain, offset = (_in_our_order(op, value, array) for array in (gain, offset))
    if (gain == 1).all() and (offset == 0).all():
        return value
    node = value.node
    if isinstance(node, Samples) and not value.is_shared:
        node.gain, node.offset = gain * node.gain, gain * node.offset + offset
        return value
    rest = range(1, len(node.shape))
    fits = is_uniform(gain, rest) and is_uniform(offset, rest)
    if not node.is_bare or value.is_shared or not fits:
        op.refuse("follows no convolution or linear layer that it could be folded into", _SIMPLER)
    if node.grid is not None and node.grid.is_one_sided:
        op.refuse(
            "follows a ReLU that the quantizer left to the rounding",
            "fold batch normalizations into convolutions before you quantize",
        )
    weight, bias = node.parameters
    gain, offset = (array.reshape(len(array), -1)[:, 0] for array in (gain, offset))
    node.weight, node.bias = weight.scaled(gain), bias * gain + offset
    node.grid = None  # the file's rounding before this; it rounds again behind
    return value


def max_pool(op: Op) -> Value:
    value = op.value(0)
    plane = _require_plane(op, value)
    window = _read_pool(op, plane)
    return _pool(op, value, "max_pool", window)


def average_pool(op: Op) -> Value:
    value = op.value(0)
    plane = _require_plane(op, value)
    if op.operator == "AveragePool":
        window = _read_pool(op, plane)
        if any(window.pads):
            op.refuse("averages over a padded border", "pool without padding")
    else:
        window = Window(kernel=plane, stride=plane)
    return _pool(op, value, "average_pool", window)


def reduce_mean(op: Op) -> Value:
    """The mean of whole planes: global average pooling by another name."""
    value = op.value(0)
    rank = len(value.shape)
    found = op.ints(1) if len(op.inputs) > 1 else op.int_list("axes", [])
    axes = sorted(axis % rank for axis in found or [])
    if rank != 4 or [value.axes[axis - 1] for axis in axes if axis] not in ([1, 2], [2, 1]):
        op.refuse(f"averages over axes {axes}", "average over height and width")
    if 0 in axes:
        op.refuse("averages over the batch", "average over height and width")
    _, height, width = value.node.shape
    window = Window(kernel=(height, width), stride=(height, width))
    made = _pool(op, value, "average_pool", window)
    return made if op.attribute("keepdims", 1) else to_vector(op, made)


def softmax(op: Op) -> Value:
    """Keeps the order of the classes, so the logits stand for it."""
    value = op.real(0)
    rank = len(value.shape)
    axis = op.attribute("axis", -1 if op.opset >= 13 else 1) % rank
    if any(n != 1 for i, n in enumerate(value.shape) if i not in (0, axis)):
        op.refuse(f"has axis {axis} of {list(value.shape)}", "end with a softmax over the classes")
    return Value(value.node, axes=value.axes, order=value.order, is_softmax=True)


def _linear(op: Op, weight: Constant, bias: Constant | None) -> Value:
    value = op.real(0)
    shape = weight.array.shape
    if len(value.node.shape) != 1 or len(value.shape) != 2:
        op.refuse(f"multiplies {list(value.shape)}", "flatten in front of linear layers")
    if len(shape) != 2 or shape[1] != value.node.shape[0]:
        op.refuse(f"has weights {list(shape)} for {list(value.shape)}", "export it again")
    n_out = int(shape[0])
    read = _read_weight(weight)
    node = Node(
        kind="linear",
        operator=op.operator,
        name=op.name,
        shape=(n_out,),
        inputs=(value.node,),
        exclusive=not value.is_shared,
        weight=read if value.order is None else read.columns(value.order),
        bias=_read_bias(op, bias, n_out),
    )
    return Value(node)


def _read_weight(constant: Constant) -> Weight:
    values, ints, scale = to_real(constant.array), constant.ints, constant.scale
    if ints is None or scale is None or (scale.size > 1 and constant.axis != 0):
        return Weight(values)
    return Weight(values, ints, np.broadcast_to(scale, values.shape[:1]).copy())


def _read_bias(op: Op, constant: Constant | None, n_out: int) -> Float64Array:
    if constant is None:
        return np.zeros(n_out)
    shape = constant.array.shape
    if shape[-1:] not in ((), (1,), (n_out,)) or prod(shape[:-1]) != 1:
        op.refuse(f"has biases {list(shape)} for {n_out} channels", "export it again")
    return np.broadcast_to(to_real(constant.array).reshape(-1), (n_out,)).copy()


def _require_plane(op: Op, value: Value) -> tuple[int, int]:
    shape = value.node.shape
    if len(shape) != 3 or value.axes != (0, 1, 2):
        op.refuse(
            f"takes {list(value.shape)}, which is no (channels, height, width)",
            "transpose in front of it, or reshape the samples",
        )
    return shape[1], shape[2]


def _read_window(
    op: Op, plane: tuple[int, int], *, kernel: list[int], around: tuple[int, ...] = (0, 0, 0, 0)
) -> Window:
    """Kernel, strides and pads of the file, with what a Pad in front of it says."""
    if op.int_list("kernel_shape", kernel) != kernel or len(kernel) != 2:
        op.refuse(f"has a kernel {kernel}", "take a kernel of height and width")
    strides = op.int_list("strides", [1, 1])
    if len(strides) != 2 or any(n < 1 for n in (*strides, *kernel)):
        op.refuse(f"has strides {strides}", "take positive strides of height and width")
    pads = op.int_list("pads", [0, 0, 0, 0])
    how = op.attribute("auto_pad", "NOTSET")
    if how != "NOTSET" and any(pads):
        op.refuse("has both pads and auto_pad", "leave one of the two out")
    if how in ("SAME_UPPER", "SAME_LOWER"):
        padded = [n + around[i] + around[i + 2] for i, n in enumerate(plane)]
        pads = _pad_to_same(padded, kernel, strides, upper=how == "SAME_UPPER")
    if len(pads) != 4 or how not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        op.refuse(f"has pads {pads}", "take four pads")
    try:
        return Window(
            kernel=(kernel[0], kernel[1]),
            stride=(strides[0], strides[1]),
            pads=(
                pads[0] + around[0],
                pads[1] + around[1],
                pads[2] + around[2],
                pads[3] + around[3],
            ),
        )
    except ArchitectureInvalid as error:
        op.refuse(f"is none that circuits have: {error}", _SIMPLER)


def _pad_to_same(
    plane: list[int], kernel: list[int], strides: list[int], *, upper: bool
) -> list[int]:
    """Pads with which the output has ceil(n / stride) places; an odd one comes last if `upper`."""
    before, after = [], []
    for n, k, t in zip(plane, kernel, strides, strict=True):
        total = max(0, (-(-n // t) - 1) * t + k - n)
        small, large = total // 2, total - total // 2
        before.append(small if upper else large)
        after.append(large if upper else small)
    return [*before, *after]


def _read_pool(op: Op, plane: tuple[int, int]) -> Window:
    kernel = op.int_list("kernel_shape", [])
    if any(n != 1 for n in op.int_list("dilations", [1, 1])):
        op.refuse("is dilated", "pool over neighbouring places")
    if op.attribute("storage_order", 0):
        op.refuse("stores columns first", _SIMPLER)
    window = _read_window(op, plane, kernel=kernel)
    if not op.attribute("ceil_mode", 0):
        return window
    more = [
        _count_overhang(n, k, t, window.pads[i], window.pads[i + 2])
        for i, (n, k, t) in enumerate(zip(plane, window.kernel, window.stride, strict=True))
    ]
    top, left, bottom, right = window.pads
    pads = (top, left, bottom + more[0], right + more[1])
    try:
        return Window(kernel=window.kernel, stride=window.stride, pads=pads)
    except ArchitectureInvalid as error:
        op.refuse(f"is none that circuits have: {error}", _SIMPLER)


def _count_overhang(n: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Places beyond the plane that the last window of a pool in ceil mode covers."""
    n_out = -(-(n + before + after - kernel) // stride) + 1
    if (n_out - 1) * stride >= n + before:
        n_out -= 1  # a window has to begin inside
    return max(0, (n_out - 1) * stride + kernel - (n + before + after))


def _slide(op: Op, window: Window, plane: tuple[int, int]) -> tuple[int, int]:
    try:
        return window.output_plane(plane)
    except ArchitectureInvalid as error:
        op.refuse(f"is none that circuits have: {error}", _SIMPLER)


def _pool(op: Op, value: Value, kind: str, window: Window) -> Value:
    _, height, width = value.node.shape
    node = Node(
        kind="max_pool" if kind == "max_pool" else "average_pool",
        operator=op.operator,
        name=op.name,
        shape=(value.node.shape[0], *_slide(op, window, (height, width))),
        inputs=(value.node,),
        exclusive=not value.is_shared,
        window=window,
    )
    return value.of(node)


def _same_order(a: Value, b: Value) -> bool:
    if a.order is None or b.order is None:
        return a.order is None and b.order is None
    return bool((a.order == b.order).all())


def _in_our_order(op: Op, value: Value, array: Float64Array) -> Float64Array:
    """An array that broadcasts against the file's view of a value, of our shape of one sample."""
    shape = value.shape
    if prod(np.broadcast_shapes(array.shape, shape)) != prod(shape):
        op.refuse(f"has a constant {list(array.shape)} for {list(shape)}", _SIMPLER)
    whole: Float64Array = np.broadcast_to(array, shape)[0]
    if len(value.node.shape) == 3:
        return whole.transpose(np.argsort(value.axes))
    return whole if value.order is None else whole[value.order]


def is_final(node: Node) -> bool:
    """Whether a node can make the logits: a linear layer without a clamp."""
    return node.kind == "linear" and node.clamp == ENDLESS and find_maker(node) is node
