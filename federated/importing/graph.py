"""From a file's graph to the network: every operator in its order, for one sample.

A network classifies samples one by one, so the batch is one: shapes that exporters compute from a
dynamic batch axis are then constants, and are folded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from federated.errors import FederatedError, GraphUnsupported, OnnxFileInvalid
from federated.importing import grids, operators, shapes
from federated.importing.folding import FOLDING, fold
from federated.importing.names import shorten, show
from federated.importing.network import Network, Node, Samples, Weight
from federated.importing.onnx_file import OnnxModel, name_operator
from federated.importing.tensors import Array
from federated.importing.values import Constant, Op, Value, count
from prover.model.layers import MAX_DIMENSION, Shape
from prover.model.network import MAX_CLASSES, MAX_LAYERS, MAX_PARAMETERS

MAX_SAMPLE = 1 << 22  # numbers of one sample
MAX_MADE = 1 << 24  # numbers that a layer makes of it
MAX_FOLDED, FOLDED_PER_NUMBER = 1 << 24, 8  # numbers that are computed of those the file holds
MAX_TOUCHED = 1 << 28  # numbers of values and weights that arithmetic goes through
_BYTE, _REALS = 2, (1, 10, 11)  # uint8; float32, float16, float64
_GIVE = "export the network with one input of samples, of fixed height and width"

RULES: Mapping[str, Callable[[Op], Value | Constant]] = {
    "Add": operators.arithmetic,
    "AveragePool": operators.average_pool,
    "BatchNormalization": operators.batch_norm,
    "Cast": shapes.cast,
    "Clip": grids.clip,
    "Conv": operators.conv,
    "DequantizeLinear": grids.dequantize,
    "Div": operators.arithmetic,
    "Dropout": shapes.pass_on,
    "Flatten": shapes.flatten,
    "Gemm": operators.gemm,
    "GlobalAveragePool": operators.average_pool,
    "Identity": shapes.pass_on,
    "LogSoftmax": operators.softmax,
    "MatMul": operators.matmul,
    "MaxPool": operators.max_pool,
    "Mul": operators.arithmetic,
    "Pad": shapes.pad,
    "QuantizeLinear": grids.quantize,
    "ReduceMean": operators.reduce_mean,
    "Relu": grids.relu,
    "Reshape": shapes.reshape,
    "Shape": shapes.read_shape,
    "Softmax": operators.softmax,
    "Squeeze": shapes.squeeze,
    "Sub": operators.arithmetic,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.unsqueeze,
}
"""Of values, by operator; of constants alone: `federated.importing.folding`."""

SUPPORTED = frozenset(RULES) | frozenset(FOLDING)
_OF_CONSTANTS = ("QuantizeLinear", "DequantizeLinear", "Shape")
_ARITHMETIC = ("Add", "BatchNormalization", "Div", "Mul", "Sub")
_AFTER_SOFTMAX = ("Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "Dropout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """What the file's network is given for a pixel p of 0 to 255: (scale * p - mean) / std.

    scale      : None: 1/255, or 1 where the file takes uint8
    mean, std  : of all channels, or one per channel
    """

    scale: float | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


def build_network(model: OnnxModel, pixels: Pixels) -> Network:
    """The network of a file. Raises OnnxFileInvalid, GraphUnsupported."""
    return _Walk(model, pixels).run()


class _Walk:
    """The names that are known so far."""

    def __init__(self, model: OnnxModel, pixels: Pixels) -> None:
        self._model, graph = model, model.graph
        self._known: dict[str, Value | Constant] = {
            name: Constant(array) for name, array in model.constants.items()
        }
        readers = Counter(name for node in graph.node for name in node.input)
        self._readers = readers + Counter(output.name for output in graph.output)
        self._rounded = _find_rounded(graph)
        self._budget = _Budget(model.constants.values())
        self._samples = self._enter(pixels)

    def run(self) -> Network:
        for node in self._model.graph.node:
            self._take(node)
        if len(self._model.graph.output) != 1:
            raise OnnxFileInvalid(
                "it has several outputs", "export the network with its logits only"
            )
        name = self._model.graph.output[0].name
        found = self._known.get(name)
        if not isinstance(found, Value):
            raise OnnxFileInvalid(
                f"its output {show(name)} depends on no sample", "export it again"
            )
        logits, notes = _finish(found)
        return Network(self._samples, logits, self._model.opset, tuple(notes))

    def _enter(self, pixels: Pixels) -> Samples:
        inputs = [x for x in self._model.graph.input if x.name not in self._known]
        if len(inputs) != 1:
            raise OnnxFileInvalid(f"it has {len(inputs)} inputs", _GIVE)
        kind = inputs[0].type.tensor_type
        if kind.elem_type not in (_BYTE, *_REALS):
            raise OnnxFileInvalid("its input is no tensor of real numbers or uint8", _GIVE)
        dims = [dim.dim_value for dim in kind.shape.dim]
        if not 2 <= len(dims) <= 4 or any(not 1 <= n <= MAX_DIMENSION for n in dims[1:]):
            raise OnnxFileInvalid(shorten(f"its input has the shape {dims}"), _GIVE)
        if count(tuple(dims[1:])) > MAX_SAMPLE:
            raise OnnxFileInvalid(
                f"its samples have more than {MAX_SAMPLE} numbers", "take smaller samples"
            )
        samples, axes = _make_samples(tuple(dims[1:]), pixels, is_byte=kind.elem_type == _BYTE)
        self._known[inputs[0].name] = Value(samples, axes=axes)
        return samples

    def _take(self, proto: Any) -> None:
        op = Op(proto, tuple(self._find(name) for name in proto.input), self._model.opset)
        try:
            made = self._apply(op)
        except FederatedError:
            raise  # some are ValueErrors, too
        except (ValueError, LookupError, TypeError, ArithmeticError) as error:
            # NumPy's, of shapes: the checker looks at single nodes, and knows no shapes.
            raise OnnxFileInvalid(
                f"{op.operator} of node {op.name} does not fit its inputs", "export it again"
            ) from error
        self._budget.charge(op, made)
        if isinstance(made, Value) and proto.input[0] in self._rounded:
            made = replace(made, is_shared=True)
        if not proto.output or proto.output[0] in self._known:
            raise OnnxFileInvalid(f"{op.name} makes what is there already", "export it again")
        self._known[proto.output[0]] = made

    def _apply(self, op: Op) -> Value | Constant:
        operator = name_operator(op.proto)
        given = [x for x in op.inputs if isinstance(x, Value)]
        if not given and operator not in _OF_CONSTANTS:
            return fold(op)
        if operator in _AFTER_SOFTMAX and given and given[0].is_softmax:
            return given[0]
        rule = RULES.get(operator)
        if rule is None:
            op.refuse("takes values of the network", "leave it out and export again")
        return rule(op)

    def _find(self, name: str) -> Value | Constant | None:
        if not name:
            return None
        if name not in self._known:
            raise OnnxFileInvalid(f"nothing makes {show(name)}", "export it again")
        found = self._known[name]
        if isinstance(found, Value) and self._readers[name] > 1 and name not in self._rounded:
            return replace(found, is_shared=True)
        return found


def _find_rounded(graph: Any) -> set[str]:
    """Names of what several nodes take, all of them to round it alike: nobody takes it unrounded.

    Quantizers may give each layer behind a value a rounding of its own (DedicatedQDQPair).
    """
    ways: dict[str, list[tuple[Any, ...] | None]] = {}
    for node in graph.node:
        how = None
        if name_operator(node) == "QuantizeLinear":
            attributes = (each.SerializeToString() for each in node.attribute)
            how = (*node.input[1:3], *attributes)
        for place, name in enumerate(node.input):
            ways.setdefault(name, []).append(how if place == 0 else None)
    made = {output.name for output in graph.output}
    return {
        name
        for name, found in ways.items()
        if len(found) > 1 and len(set(found)) == 1 and None not in found and name not in made
    }


class _Budget:
    """What a walk may make, so that a small file takes little memory and time."""

    def __init__(self, constants: Iterable[Array]) -> None:
        self._room = MAX_FOLDED + FOLDED_PER_NUMBER * sum(array.size for array in constants)
        self._made: dict[int, Node] = {}
        self._n_parameters = self._touched = 0

    def charge(self, op: Op, made: Value | Constant) -> None:
        """Raises OnnxFileInvalid, GraphUnsupported where it is too much."""
        if isinstance(made, Value):
            self._charge_value(op, made.node)
            return
        size = made.array.size
        self._room += FOLDED_PER_NUMBER * size if op.operator == "Constant" else -size
        if self._room < 0:
            raise OnnxFileInvalid("its constants grow too large", "let the exporter fold them")

    def _charge_value(self, op: Op, node: Node) -> None:
        n_made, n_weights = count(node.shape), 0 if node.weight is None else node.weight.values.size
        if not 1 <= n_made <= MAX_MADE:
            op.refuse(f"makes {list(node.shape)}", f"make 1 to {MAX_MADE} numbers of a sample")
        if id(node) not in self._made:
            self._made[id(node)] = node
            self._n_parameters += n_weights
        if len(self._made) > MAX_LAYERS or self._n_parameters > MAX_PARAMETERS:
            raise OnnxFileInvalid(
                f"it has more than {MAX_LAYERS} layers or {MAX_PARAMETERS} weights",
                "take a smaller network",
            )
        if op.operator in _ARITHMETIC:
            self._touched += n_made + n_weights
        if self._touched > MAX_TOUCHED:
            raise OnnxFileInvalid(
                "its arithmetic goes through too many numbers", "let the exporter fold constants"
            )


def _make_samples(
    shape: Shape, pixels: Pixels, *, is_byte: bool
) -> tuple[Samples, tuple[int, ...]]:
    """The entrance, and the file's view of it. Channels are last where only that can be."""
    axes: tuple[int, ...] = tuple(range(len(shape)))
    ours = shape
    if len(shape) == 3 and shape[0] not in (1, 3) and shape[2] in (1, 3):
        axes, ours = (1, 2, 0), (shape[2], shape[0], shape[1])
    scale = pixels.scale if pixels.scale is not None else (1.0 if is_byte else 1 / 255)
    mean, std = (_per_channel(numbers, ours) for numbers in (pixels.mean, pixels.std))
    gain, offset = scale / std, (0.0 - mean) / std
    samples = Samples(
        operator="input",
        name="samples",
        shape=ours,
        gain=gain,
        offset=offset,
        file_shape=shape,
        file_axes=axes,
        given=(gain.transpose(axes), offset.transpose(axes)),
    )
    return samples, axes if len(shape) == 3 else (0, 1, 2)


def _per_channel(numbers: tuple[float, ...], shape: Shape) -> Any:
    """One number, or one per channel, at every place of a sample."""
    if len(numbers) > 1 and (len(shape) != 3 or shape[0] != len(numbers)):
        raise GraphUnsupported(
            operator="input",
            node="samples",
            what=f"has {list(shape)}, not {len(numbers)} channels",
            next_step="give one mean and one std, or one per channel",
        )
    column = np.array(numbers, dtype=np.float64).reshape(-1, *(1,) * (len(shape) - 1))
    return np.broadcast_to(column, shape).copy()


def _finish(found: Value) -> tuple[Node, list[str]]:
    """The node that makes the logits, in the file's order of classes: a linear layer."""
    if any(found.pads):
        raise OnnxFileInvalid("its output is padded", "export the network with its logits only")
    node, order = found.node, found.order
    if operators.is_final(node) and order is None:
        return node, []
    n = count(node.shape)
    if n > MAX_CLASSES:
        raise OnnxFileInvalid(f"it has {n} classes", f"take up to {MAX_CLASSES} classes")
    if len(node.shape) > 1:
        flat = Node("flatten", "Flatten", "of the output", (n,), (node,))
        if found.axes != (0, 1, 2) and max(node.shape) != n:
            raise OnnxFileInvalid("its output is no vector", "flatten the logits")
        node = flat
    unit = np.eye(n, dtype=np.int64)[:, np.arange(n) if order is None else order]
    weight = Weight(unit.astype(np.float64), unit, np.ones(n))
    last = Node(
        "linear", "Identity", "of the output", (n,), (node,), weight=weight, bias=np.zeros(n)
    )
    return last, ["a last layer that copies was added: circuits take logits from a linear layer"]
