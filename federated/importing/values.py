"""What names stand for while a file's graph is walked: constants, and values of the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NoReturn

import numpy as np
import onnx

from federated.errors import GraphUnsupported, OnnxFileInvalid
from federated.importing.names import shorten
from federated.importing.network import Grid, Node
from federated.importing.onnx_file import name_node, name_operator
from federated.importing.tensors import Array
from kernels.numpy_types import Float64Array, Int64Array
from prover.model.layers import Shape

MAX_INTS = 64  # of a shape, axes, pads


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """An array that the file knows. Where it was dequantized, array = ints * scale along `axis`.

    scale : of one number for all, or one per index of the axis
    """

    array: Array
    ints: Int64Array | None = None
    scale: Float64Array | None = None
    axis: int = 0

    def transpose(self, axes: Sequence[int]) -> Constant:
        if self.ints is None:
            return Constant(self.array.transpose(axes))
        ints = self.ints.transpose(axes)
        return Constant(self.array.transpose(axes), ints, self.scale, list(axes).index(self.axis))


@dataclass(frozen=True, slots=True)
class Quantizer:
    """How a value's integers were made: rint(real / scale) + zero, clamped to this type."""

    scale: float
    zero: int
    kind: np.dtype[Any]

    @property
    def grid(self) -> Grid:
        ends = np.iinfo(self.kind)
        return Grid(self.scale, int(ends.min) - self.zero, int(ends.max) - self.zero)


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One value of the network, as the file names it; of one sample, so its first axis is 1.

    is_shared   : somebody else takes it, too
    axes        : of a plane as the file has it, among ours (channels, height, width)
    order       : of a vector, the file's index of each of our numbers; None where they agree
    pads        : rows and columns of zeros around it that the next convolution has to take
    quantizer   : of a value that was quantized, and not dequantized yet
    is_softmax  : the file has a softmax of it: nothing but the output may follow
    """

    node: Node
    is_shared: bool = False
    axes: tuple[int, ...] = (0, 1, 2)
    order: Int64Array | None = None
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    quantizer: Quantizer | None = None
    is_softmax: bool = False

    @property
    def shape(self) -> Shape:
        """As the file has it, the batch of one included."""
        own = self.node.shape
        if len(own) == 3:
            top, left, bottom, right = self.pads
            padded = (own[0], own[1] + top + bottom, own[2] + left + right)
            return (1, *(padded[axis] for axis in self.axes))
        return (1, *own)

    @property
    def is_plain(self) -> bool:
        """Whether the file has its numbers in our order."""
        return self.order is None and (len(self.node.shape) != 3 or self.axes == (0, 1, 2))

    def of(self, node: Node) -> Value:
        """The same view of what another node makes."""
        return replace(self, node=node, is_shared=False)


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """A node of the file with what its inputs stand for; None where an optional one is left out."""

    proto: Any
    inputs: tuple[Value | Constant | None, ...]
    opset: int

    @property
    def operator(self) -> str:
        return name_operator(self.proto)

    @property
    def name(self) -> str:
        return name_node(self.proto)

    def refuse(self, what: str, next_step: str) -> NoReturn:
        raise GraphUnsupported(
            operator=self.operator, node=self.name, what=shorten(what), next_step=next_step
        )

    def value(self, index: int) -> Value:
        """Input `index` as a value to compute with; refuses what else stands there."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if not isinstance(found, Value):
            self.refuse("takes no value of the network", "simplify the graph and export again")
        if found.is_softmax:
            self.refuse("follows the softmax", "end the network with its logits, or the softmax")
        if any(found.pads) and self.operator not in ("Conv", *PASSING):
            self.refuse("takes a padded value", "pad in front of convolutions only")
        return found

    def real(self, index: int) -> Value:
        """Input `index` as a value of real numbers."""
        found = self.value(index)
        if found.quantizer is not None:
            self.refuse(
                "computes with quantized numbers", "quantize in the QDQ format: QuantFormat.QDQ"
            )
        return found

    def find_constant(self, index: int) -> Constant | None:
        """Input `index`; None where it is left out. Refuses what depends on the sample."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if isinstance(found, Value):
            self.refuse(
                f"takes a computed value as its input {index}", "make it a constant of the file"
            )
        return found

    def constant(self, index: int) -> Constant:
        found = self.find_constant(index)
        if found is None:
            self.refuse(f"lacks its input {index}", "export it again")
        return found

    def ints(self, index: int) -> list[int] | None:
        """The integers of a constant input; None where it is left out."""
        found = self.find_constant(index)
        if found is None:
            return None
        array = found.array
        if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > MAX_INTS:
            self.refuse(f"needs a few integers as its input {index}", "export it again")
        return [int(n) for n in array.reshape(-1)]

    def scalar(self, index: int) -> float | None:
        """The number of a constant input; None where it is left out."""
        found = self.find_constant(index)
        if found is None:
            return None
        if found.array.size != 1:
            self.refuse(f"needs one number as its input {index}", "export it again")
        return float(found.array.reshape(-1)[0])

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute of the file, of the default's type: int, float, str or a list of int."""
        for attribute in self.proto.attribute:
            if attribute.name == name:
                found = onnx.helper.get_attribute_value(attribute)
                if isinstance(found, bytes):
                    found = found.decode("utf-8", "replace")
                if isinstance(default, list) or default is None:
                    found = list(found) if hasattr(found, "__iter__") else found
                elif type(found) is not type(default):
                    break
                return found
        else:
            return default
        raise OnnxFileInvalid(
            f"attribute {name} of node {self.name} has another type than its operator asks for",
            "export it again",
        )

    def int_list(self, name: str, default: list[int]) -> list[int]:
        """An attribute of integers."""
        found = self.attribute(name, default)
        if not isinstance(found, list) or not all(type(n) is int for n in found):
            raise OnnxFileInvalid(
                f"attribute {name} of node {self.name} is no list of integers", "export it again"
            )
        return found


PASSING = ("QuantizeLinear", "DequantizeLinear", "Identity", "Cast", "Shape", "Dropout", "Pad")
"""Operators that a padded value goes through."""


def count(shape: Shape) -> int:
    return prod(shape)


def to_real(array: Array) -> Float64Array:
    found: Float64Array = array.astype(np.float64)
    return found
