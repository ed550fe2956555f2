"""Operators on constants: what exporters compute of shapes and weights is computed here once.

Every result is bounded before it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
import onnx

from federated.importing.tensors import Array, read_tensor
from federated.importing.values import Constant, Op

MAX_GROWN = 1 << 20  # numbers that an operator may make of fewer
MAX_CONCATENATED = 1 << 26

_T = onnx.TensorProto
_CASTS = (
    *(_T.FLOAT, _T.FLOAT16, _T.DOUBLE, _T.BOOL),
    *(_T.INT8, _T.INT16, _T.INT32, _T.INT64),
    *(_T.UINT8, _T.UINT16, _T.UINT32, _T.UINT64),
)
_ARITHMETIC: Mapping[str, Any] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
}


def fold(op: Op) -> Constant:
    """What an operator makes of constants alone.

    Raises OnnxFileInvalid, GraphUnsupported, and what NumPy raises for shapes that do not fit.
    """
    rule = FOLDING.get(op.operator)
    if rule is None:
        op.refuse("computes with constants alone", "let the exporter fold constants")
    with np.errstate(all="ignore"):
        found = rule(op)
    array = found.array
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        op.refuse("makes infinities or NaN of constants", "train the network again")
    return found


def _bounded(op: Op, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape of few numbers, or of no more than the constants it is made of have."""
    given = sum(x.array.size for x in op.inputs if isinstance(x, Constant))
    if len(shape) > 8 or any(n < 0 for n in shape) or prod(shape) > max(MAX_GROWN, given):
        op.refuse(f"makes more than {MAX_GROWN} numbers of fewer", "take a smaller network")
    return shape


def _constant(op: Op) -> Constant:
    for attribute in op.proto.attribute:
        if attribute.name == "value":
            return Constant(read_tensor(attribute.t, None))
        if attribute.name in ("value_int", "value_ints", "value_float", "value_floats"):
            kind = np.int64 if "int" in attribute.name else np.float32
            return Constant(np.array(onnx.helper.get_attribute_value(attribute), dtype=kind))
    op.refuse("holds no numbers", "export it again")


def _arithmetic(op: Op) -> Constant:
    a, b = op.constant(0).array, op.constant(1).array
    _bounded(op, np.broadcast_shapes(a.shape, b.shape))
    if op.operator == "Div" and a.dtype.kind in "iu":
        if not b.all():
            op.refuse("divides by zero", "export it again")
        return Constant(np.asarray(_divide_integers(a, b)))
    return Constant(np.asarray(_ARITHMETIC[op.operator](a, b)))


def _divide_integers(a: Array, b: Array) -> Array:
    """Towards zero, as the standard has it and NumPy has not."""
    quotient: Array = np.floor_divide(a, b)
    quotient += ((quotient < 0) & (quotient * b != a)).astype(quotient.dtype)
    return quotient


def _cast(op: Op) -> Constant:
    told = op.attribute("to", 0)
    if told == onnx.TensorProto.BFLOAT16:
        return Constant(op.constant(0).array.astype(np.float32))
    if told not in _CASTS:
        op.refuse("casts to what is no type of numbers that is read here", "cast to float32")
    return Constant(op.constant(0).array.astype(onnx.helper.tensor_dtype_to_np_dtype(told)))


def _concat(op: Op) -> Constant:
    parts = [op.constant(i).array for i in range(len(op.inputs))]
    if sum(part.size for part in parts) > MAX_CONCATENATED:
        op.refuse(f"makes more than {MAX_CONCATENATED} numbers", "take a smaller network")
    return Constant(np.concatenate(parts, axis=op.attribute("axis", 0)))


def _fill(op: Op) -> Constant:
    shape = _bounded(op, tuple(op.ints(0) or ()))
    fill: Array = np.zeros(1, dtype=np.float32)
    for attribute in op.proto.attribute:
        if attribute.name == "value":
            fill = read_tensor(attribute.t, None)
    return Constant(np.full(shape, fill.reshape(-1)[0], dtype=fill.dtype))


def _expand(op: Op) -> Constant:
    array = op.constant(0).array
    shape = np.broadcast_shapes(array.shape, _bounded(op, tuple(op.ints(1) or ())))
    return Constant(np.broadcast_to(array, _bounded(op, shape)).copy())


def _gather(op: Op) -> Constant:
    array, indices = op.constant(0).array, op.constant(1).array
    axis = op.attribute("axis", 0)
    rest = array.size // max(array.shape[axis], 1)
    _bounded(op, (rest, indices.size))
    return Constant(np.asarray(np.take(array, indices, axis=axis)))


def _slice(op: Op) -> Constant:
    array = op.constant(0).array
    starts, ends = op.ints(1) or [], op.ints(2) or []
    axes, steps = op.ints(3), op.ints(4)
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    places = [slice(None)] * array.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # The end of a walk backwards lies before the first place, which no index says.
        places[axis] = slice(start, None if step < 0 and end < -array.shape[axis] else end, step)
    return Constant(array[tuple(places)])


def _reshape(op: Op) -> Constant:
    array = op.constant(0).array
    shape = [array.shape[i] if n == 0 else n for i, n in enumerate(op.ints(1) or [])]
    return Constant(array.reshape(shape))


def _squeeze(op: Op) -> Constant:
    axes = read_axes(op)
    return Constant(np.squeeze(op.constant(0).array, None if axes is None else tuple(axes)))


def _unsqueeze(op: Op) -> Constant:
    return Constant(np.expand_dims(op.constant(0).array, tuple(read_axes(op) or ())))


def _transpose(op: Op) -> Constant:
    found = op.constant(0)
    axes = op.int_list("perm", list(reversed(range(found.array.ndim))))
    return found.transpose(axes)


def _flatten(op: Op) -> Constant:
    array, axis = op.constant(0).array, op.attribute("axis", 1)
    return Constant(array.reshape(prod(array.shape[:axis]), -1))


def read_axes(op: Op) -> list[int] | None:
    """Axes of Squeeze and the like: an attribute, and an input from opset 13 on."""
    if len(op.inputs) > 1:
        return op.ints(1)
    axes = op.int_list("axes", [])
    return axes or None


FOLDING: Mapping[str, Callable[[Op], Constant]] = {
    "Add": _arithmetic,
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _fill,
    "Div": _arithmetic,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Identity": lambda op: op.constant(0),
    "Mul": _arithmetic,
    "Reshape": _reshape,
    "Slice": _slice,
    "Sqrt": lambda op: Constant(np.sqrt(op.constant(0).array)),
    "Squeeze": _squeeze,
    "Sub": _arithmetic,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""By operator. Constants of QuantizeLinear and DequantizeLinear: `federated.importing.grids`."""
