"""Operators that move numbers or look at shapes: reshapes, transpositions, pads.

The network has planes as (channels, height, width) and vectors in that order. Files of TensorFlow
have channels last: a `Value` remembers how the file sees it, transpositions change that view
alone, and the next linear layer's columns are put into our order.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np

from federated.importing.folding import read_axes
from federated.importing.network import Node, Samples
from federated.importing.values import Constant, Op, Value, count
from prover.model.layers import Shape

_PER_SAMPLE = "export the network for a batch of one, or with a dynamic batch axis"


def pass_on(op: Op) -> Value:
    """Identity and Dropout, which is none outside of training."""
    if op.operator == "Dropout" and (op.scalar(2) or 0):
        op.refuse("drops numbers", "export the network in evaluation mode")
    return op.value(0)


def cast(op: Op) -> Value:
    """To real numbers; a value of pixels, too."""
    if op.attribute("to", 0) not in (1, 10, 11, 16):  # float32, float16, float64, bfloat16
        op.refuse("casts values to integers", "leave them as they are")
    return op.value(0)


def read_shape(op: Op) -> Constant:
    """Shape, of what is known: a batch of one."""
    found = op.inputs[0]
    shape = found.array.shape if isinstance(found, Constant) else op.value(0).shape
    part = shape[op.attribute("start", 0) : op.attribute("end", len(shape))]
    return Constant(np.array(part, dtype=np.int64))


def flatten(op: Op) -> Value:
    value = op.value(0)
    if op.attribute("axis", 1) not in (1, 1 - len(value.shape)):
        op.refuse("does not keep the batch axis", _PER_SAMPLE)
    return to_vector(op, value)


def reshape(op: Op) -> Value:
    value = op.value(0)
    dims = op.ints(1)
    if dims is None:
        op.refuse("has no shape", "export it again")
    old = value.shape
    keeps_zeros = bool(op.attribute("allowzero", 0))
    if not keeps_zeros:
        dims = [old[i] if n == 0 and i < len(old) else n for i, n in enumerate(dims)]
    known = count(tuple(n for n in dims if n != -1))
    if dims.count(-1) > 1 or known == 0 or count(old) % known:
        op.refuse(f"makes {dims} of {list(old)}", _PER_SAMPLE)
    return set_shape(op, value, tuple(count(old) // known if n == -1 else n for n in dims))


def squeeze(op: Op) -> Value:
    value = op.value(0)
    old, axes = value.shape, read_axes(op)
    if axes is None:
        op.refuse("names no axes", "name the axes, without the batch axis")
    gone = {axis % len(old) for axis in axes}
    if any(old[axis] != 1 for axis in gone):
        op.refuse(f"drops axes {sorted(gone)} of {list(old)}", "export it again")
    return set_shape(op, value, tuple(n for i, n in enumerate(old) if i not in gone))


def unsqueeze(op: Op) -> Value:
    value = op.value(0)
    dims = list(value.shape)
    axes = read_axes(op) or []
    rank = len(dims) + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        dims.insert(axis, 1)
    return set_shape(op, value, tuple(dims))


def transpose(op: Op) -> Value:
    value = op.value(0)
    rank = len(value.shape)
    axes = op.int_list("perm", list(reversed(range(rank))))
    if sorted(axes) != list(range(rank)) or axes[0] != 0:
        op.refuse(f"moves the batch axis or has no axes {axes}", _PER_SAMPLE)
    if axes == list(range(rank)):
        return value
    if rank != 4:
        op.refuse("moves axes of what is no plane", "transpose planes only")
    return replace(value, axes=tuple(value.axes[axis - 1] for axis in axes[1:]))


def pad(op: Op) -> Value:
    """Zeros around a plane, which the convolution after it takes as its own."""
    value = op.real(0)
    if op.attribute("mode", "constant") != "constant" or (op.scalar(2) or 0) != 0:
        op.refuse("pads with something else than zeros", "pad with zeros")
    rank = len(value.shape)
    given = op.ints(1) or []
    axes = op.ints(3)
    places = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    if len(given) != 2 * len(places) or any(n < 0 for n in given):
        op.refuse("has no pads that are read here", "pad with zeros, with 0 or more of them")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(places):
        before[axis], after[axis] = given[i], given[len(places) + i]
    if not any(given):
        return value
    if rank != 4:
        op.refuse("pads what is no plane", "pad planes only")
    own = {axis: (before[i + 1], after[i + 1]) for i, axis in enumerate(value.axes)}
    if before[0] or after[0] or any(own[0]):
        op.refuse("pads the batch or the channels", "pad height and width only")
    top, left, bottom, right = value.pads
    pads = (top + own[1][0], left + own[2][0], bottom + own[1][1], right + own[2][1])
    return replace(value, pads=pads)


def to_vector(op: Op, value: Value) -> Value:
    """All numbers of a sample in one axis, in the file's order."""
    node = value.node
    if len(node.shape) == 1:
        return value
    flat = Node(
        kind="flatten",
        operator=op.operator,
        name=op.name,
        shape=(count(node.shape),),
        inputs=(node,),
        exclusive=not value.is_shared,
    )
    order = None
    if len(node.shape) == 3 and not _has_our_order(value):
        places = np.arange(count(node.shape)).reshape(value.shape[1:])
        order = places.transpose(np.argsort(value.axes)).reshape(-1)
    return replace(value, node=flat, is_shared=False, axes=(0, 1, 2), order=order)


def set_shape(op: Op, value: Value, new: Shape) -> Value:
    """The same numbers as the file's shape `new`, the batch of one included."""
    if new == value.shape:
        return value
    if not new or new[0] != 1:
        op.refuse(f"makes {list(new)} of {list(value.shape)}", _PER_SAMPLE)
    if len(new) == 2:
        return to_vector(op, value)
    if len(value.node.shape) == 3 and len(new) == 4:
        own = value.node.shape
        for axes in permutations(range(3)):
            if tuple(own[a] for a in axes) == new[1:] and _wide(own, axes) == _wide(
                own, value.axes
            ):
                return replace(value, axes=axes)
    node = value.node
    if _is_as_given(node) and value.is_plain and not value.is_shared and len(new) <= 4:
        assert isinstance(node, Samples)
        node.shape = new[1:]
        node.gain, node.offset = node.gain.reshape(new[1:]), node.offset.reshape(new[1:])
        node.file_axes = tuple(range(len(new) - 1))
        return value
    op.refuse(
        f"makes {list(new)} of {list(value.shape)}", "reshape planes to vectors only (Flatten)"
    )


def _is_as_given(node: Node) -> bool:
    """Whether these are samples whose numbers the file has in our order."""
    return isinstance(node, Samples) and list(node.file_axes) == sorted(node.file_axes)


def _has_our_order(value: Value) -> bool:
    """Whether flattening in the file's order is flattening in ours: axes of length 1 may move."""
    own = value.node.shape
    return _wide(own, value.axes) == _wide(own, (0, 1, 2))


def _wide(shape: Shape, axes: tuple[int, ...]) -> list[int]:
    """Axes that are longer than 1, in their order."""
    return [axis for axis in axes if shape[axis] > 1]
