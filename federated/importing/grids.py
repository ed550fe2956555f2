"""Clamps and grids: Relu, Clip, QuantizeLinear and DequantizeLinear.

A value is clamped and rounded where it is made: by the convolution, linear layer or addition
before it, through max pools and flattening, which commute with both. Where others take the value
as it was, a node of kind `requantize` of its own does it.

A grid's numbers are the file's minus its zero point, so that 0 is 0: zeros around a plane are then
zeros in the circuit, and accumulators need no correction. ReLU is the clamp of a zero point at the
end of the integers' range.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import onnx

from federated.errors import OnnxFileInvalid
from federated.importing.network import ENDLESS, ROUNDING, Grid, Node, intersect
from federated.importing.tensors import Array
from federated.importing.values import Constant, Op, Quantizer, Value, to_real
from kernels.numpy_types import Float64Array

_QDQ = "quantize with onnxruntime's quantize_static: QuantFormat.QDQ, QUInt8 or QInt8 activations"
_TOLERANCE = 1e-6  # of equal scales: they are float32
BYTE_TYPES = (np.dtype(np.uint8), np.dtype(np.int8))


def clamp(op: Op, value: Value, low: float, high: float) -> Value:
    """The value inside real bounds."""
    if low > high or not low <= 0 <= high:
        op.refuse(f"clamps to [{low:g}, {high:g}], which lacks 0", "clamp to a range with 0 in it")
    maker = find_maker(value.node)
    reach = maker.reach
    if low <= reach[0] and reach[1] <= high:
        return value
    if maker.kind == "samples":
        op.refuse("clamps the samples", "leave the samples as they are")
    if _may_refine(value):
        if maker.grid is not None:
            maker.clamp = intersect(maker.clamp, maker.grid.ends)
        maker.clamp = intersect(maker.clamp, (low, high))
        return value
    return value.of(_append(op, value, clamp=(low, high)))


def relu(op: Op) -> Value:
    return clamp(op, op.real(0), 0.0, inf)


def clip(op: Op) -> Value:
    """Bounds are inputs from opset 11 on."""
    low, high = op.scalar(1), op.scalar(2)
    return clamp(op, op.real(0), -inf if low is None else low, inf if high is None else high)


def quantize(op: Op) -> Value | Constant:
    """QuantizeLinear: of a value, rounding to a grid; of constants, their integers."""
    scale, zero = _read_scale(op)
    if isinstance(op.inputs[0], Constant):
        return _quantize_constant(op, op.inputs[0], scale, zero)
    value = op.real(0)
    if scale.size != 1 or zero.size != 1 or zero.dtype not in BYTE_TYPES:
        op.refuse(f"rounds values to {zero.dtype}, or channels apart", _QDQ)
    quantizer = Quantizer(float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]), zero.dtype)
    return replace(_round(op, value, quantizer.grid), quantizer=quantizer)


def dequantize(op: Op) -> Value | Constant:
    """DequantizeLinear: of constants, the numbers with their integers; of a value, what it was."""
    scale, zero = _read_scale(op)
    if isinstance(op.inputs[0], Constant):
        return _dequantize_constant(op, op.inputs[0], scale, zero)
    value = op.value(0)
    made = value.quantizer
    if made is None:
        op.refuse("takes real numbers", "export it again")
    if scale.size != 1 or not _is_close(float(scale.reshape(-1)[0]), made.scale):
        op.refuse("has another scale than the values were quantized with", _QDQ)
    if zero.dtype != made.kind or int(zero.reshape(-1)[0]) != made.zero:
        op.refuse("has another zero point than the values were quantized with", _QDQ)
    return replace(value, quantizer=None)


def find_maker(node: Node) -> Node:
    """The node whose numbers these are: through max pools and flattening, which move them only."""
    while node.kind in ("max_pool", "flatten"):
        node = node.inputs[0]
    return node


def _may_refine(value: Value) -> bool:
    """Whether nobody has seen the value as it was, all the way to a node that clamps and rounds."""
    node = value.node
    if value.is_shared:
        return False
    while node.kind in ("max_pool", "flatten"):
        if not node.exclusive:
            return False
        node = node.inputs[0]
    return node.kind in ROUNDING


def _round(op: Op, value: Value, grid: Grid) -> Value:
    maker = find_maker(value.node)
    if maker.kind == "samples":
        maker.grid = maker.grid or grid  # for the record: pixels are integers already
        return value
    if maker.kind == "average_pool" and maker.grid is None and maker.inputs[0].reach != ENDLESS:
        low, high = maker.reach
        if grid.ends[0] - grid.scale <= low and high <= grid.ends[1] + grid.scale:
            maker.grid = grid
            return value
    if maker.grid is not None and _is_within(maker.grid, grid):
        return value
    if _may_refine(value):
        if maker.grid is not None:
            maker.clamp = intersect(maker.clamp, maker.grid.ends)
        maker.grid = grid
        return value
    return value.of(_append(op, value, grid=grid))


def _is_within(inner: Grid, outer: Grid) -> bool:
    """Whether rounding to the outer grid changes nothing of the inner."""
    same = _is_close(inner.scale, outer.scale)
    return same and outer.least <= inner.least and inner.greatest <= outer.greatest


def _is_close(a: float, b: float) -> bool:
    return abs(a - b) <= _TOLERANCE * abs(b)


def _append(
    op: Op, value: Value, clamp: tuple[float, float] = ENDLESS, grid: Grid | None = None
) -> Node:
    return Node(
        kind="requantize",
        operator=op.operator,
        name=op.name,
        shape=value.node.shape,
        inputs=(value.node,),
        exclusive=not value.is_shared,
        clamp=clamp,
        grid=grid,
    )


def _read_scale(op: Op) -> tuple[Float64Array, Array]:
    """Scale, positive, and zero point of the integers' type, of the same size."""
    scale = to_real(op.constant(1).array)
    found = op.find_constant(2)
    zero = np.zeros(scale.shape, dtype=_find_kind(op)) if found is None else found.array
    if scale.ndim > 1 or scale.size != zero.size or zero.dtype.kind not in "iu":
        op.refuse("quantizes blocks, or to no integers", _QDQ)
    if not (scale > 0).all():
        raise OnnxFileInvalid(f"{op.name} has a scale that is not positive", "quantize it again")
    return scale, zero


def _find_kind(op: Op) -> np.dtype[Any]:
    """The type of integers without a zero point: what is dequantized has one; of what is quantized
    the file may say it, from opset 21 on."""
    given = op.inputs[0]
    if op.operator == "QuantizeLinear":
        told = op.attribute("output_dtype", 0)
        return onnx.helper.tensor_dtype_to_np_dtype(told) if told else np.dtype(np.uint8)
    if isinstance(given, Value):
        return np.dtype(np.uint8) if given.quantizer is None else given.quantizer.kind
    assert given is not None
    return given.array.dtype


def _along(op: Op, constant: Constant, scale: Float64Array) -> tuple[int, tuple[int, ...]]:
    """The axis of scales per channel, and the shape that broadcasts them."""
    array = constant.array
    if scale.size == 1:
        return 0, (1,) * array.ndim
    axis = op.attribute("axis", 1)
    axis += array.ndim if axis < 0 else 0
    if not 0 <= axis < array.ndim or array.shape[axis] != scale.size:
        raise OnnxFileInvalid(
            f"{op.name} has scales for another shape than it takes", "quantize it again"
        )
    return axis, tuple(scale.size if i == axis else 1 for i in range(array.ndim))


def _quantize_constant(op: Op, constant: Constant, scale: Float64Array, zero: Array) -> Constant:
    _, shape = _along(op, constant, scale)
    ends = np.iinfo(zero.dtype)
    numbers = np.rint(to_real(constant.array) / scale.reshape(shape)) + zero.reshape(shape)
    return Constant(np.clip(numbers, ends.min, ends.max).astype(zero.dtype))


def _dequantize_constant(op: Op, constant: Constant, scale: Float64Array, zero: Array) -> Constant:
    if constant.array.dtype != zero.dtype:
        raise OnnxFileInvalid(
            f"{op.name} has a zero point of another type than its integers", "quantize it again"
        )
    axis, shape = _along(op, constant, scale)
    ints = constant.array.astype(np.int64) - zero.astype(np.int64).reshape(shape)
    return Constant(ints * scale.reshape(shape), ints, scale.reshape(-1), axis)
