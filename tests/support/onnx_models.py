"""Makes real ONNX files with torch's two exporters and onnxruntime's quantizer.

    python -m tests.support.onnx_models FOLDER

NAME.onnx    the model
NAME.npz     x float32 samples, y what onnxruntime answers with every optimization off, labels
README.txt   what each file is, with the versions that made it

Needs torch, onnx, onnxscript (for the exporter that traces with dynamo) and onnxruntime.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from tests.support.onnx_networks import (
    LeNet5,
    Normalized,
    TinyNet,
    TinyResNet,
    Trailing,
    make_mlp,
    make_shapes,
    make_unsupported,
    mnist,
    train_mnist,
)

SCRIPT_OPSETS = (11, 13, 17, 20, 22)
DYNAMO_OPSETS = (18, 20, 21, 23, 25, 28)
PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")
N_SAMPLES = 32
N_CALIBRATION = 256
SEED = 1


class Factory:
    """Writes models into a folder and remembers what each is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.onnx"

    def script(self, name: str, network: nn.Module, x: Tensor, said: str, **more: Any) -> None:
        """torch.onnx.export by TorchScript; `more` overrides its options."""
        options = {"opset_version": 17, "input_names": ["image"], "output_names": ["logits"]} | more
        torch.onnx.export(network, (x[:1],), self.path(name), dynamo=False, **options)
        self.keep(name, x, f"TorchScript exporter, opset {options['opset_version']}: {said}")

    def dynamo(self, name: str, network: nn.Module, x: Tensor, said: str, **more: Any) -> None:
        """torch.onnx.export by torch.export; `more` overrides its options."""
        options = {"opset_version": 20, "external_data": False, "verbose": False} | more
        torch.onnx.export(network, (x[:1],), self.path(name), dynamo=True, **options)
        self.keep(name, x, f"dynamo exporter, opset {options['opset_version']}: {said}")

    def keep(self, name: str, x: Tensor, said: str, labels: Tensor | None = None) -> None:
        """Runs the file on samples, one at a time, and writes what it answers."""
        onnx.checker.check_model(self.path(name), full_check=True)
        y = run(self.path(name), x.numpy())
        extra = {} if labels is None else {"labels": labels.numpy()}
        np.savez_compressed(self.folder / f"{name}.npz", x=x.numpy(), y=y, **extra)
        self.said[name] = said

    def write_readme(self) -> None:
        """README.txt: versions, then a line for each file with its operators."""
        lines = [f"{package} {version(package)}" for package in PACKAGES]
        lines += ["", *(__doc__ or "").splitlines(), ""]
        for name, said in self.said.items():
            model = onnx.load(self.path(name), load_external_data=False)
            kinds = dict.fromkeys(node.op_type for node in model.graph.node)
            lines += [f"{name}.onnx", f"    {said}", f"    {' '.join(kinds)}"]
        (self.folder / "README.txt").write_text("\n".join(lines) + "\n")


def run(path: Path, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The outputs of a model on samples one at a time: files often fix the batch at one."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    outputs = [session.run(None, {name: x[i : i + 1]})[0] for i in range(len(x))]
    return np.concatenate(outputs)


# -- exporters -------------------------------------------------------------------------------------
def add_floats(make: Factory, tiny: nn.Module, x: Tensor) -> None:
    """One network through both exporters at many opsets, then its graph in many dresses."""
    for opset in SCRIPT_OPSETS:
        make.script(f"tiny-script-{opset}", tiny, x, "conv, max pools", opset_version=opset)
    for opset in DYNAMO_OPSETS:
        make.dynamo(f"tiny-dynamo-{opset}", tiny, x, "conv, max pools", opset_version=opset)
    make.script(
        "tiny-script-batch",
        tiny,
        x,
        "dynamic batch axis",
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
    )
    make.dynamo(
        "tiny-dynamo-batch",
        tiny,
        x,
        "dynamic batch axis",
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    make.script(
        "tiny-script-inputs",
        tiny,
        x,
        "initializers are inputs as well",
        keep_initializers_as_inputs=True,
    )
    make.script("tiny-script-unfolded", tiny, x, "constants not folded", do_constant_folding=False)
    make.dynamo("tiny-dynamo-external", tiny, x, "weights in a file beside", external_data=True)
    make.dynamo("tiny-dynamo-unoptimized", tiny, x, "as traced, not optimized", optimize=False)


def add_structures(make: Factory, tiny: nn.Module, x: Tensor) -> None:
    """Other graphs: averages, residuals, batch normalization, uneven pads, normalized inputs."""
    colours = torch.round(torch.rand(N_SAMPLES, 3, 8, 8) * 255) / 255
    resnet = TinyResNet()
    with torch.no_grad():
        for _ in range(20):
            resnet(torch.rand(64, 3, 8, 8))  # statistics of the batch normalizations
    shapes = make_shapes()
    shapes(x)
    cases = {
        "avgpool": (TinyNet(nn.AvgPool2d), x, "average pools"),
        "mlp": (make_mlp(), x, "flatten, two dense layers, dropout"),
        "shapes": (shapes, x, "strides, uneven pads, overlapping max pool, ReLU6, 3x5 kernel"),
        "resnet": (resnet, colours, "residual blocks, global average"),
        "normalized": (Normalized(tiny, [0.1307], [0.3081]), x, "(x - mean) / std in the graph"),
        "softmax": (Trailing(tiny, nn.Softmax(1)), x, "softmax after the logits"),
        "log-softmax": (Trailing(tiny, nn.LogSoftmax(1)), x, "log-softmax after the logits"),
    }
    for name, (network, samples, said) in cases.items():
        make.script(f"{name}-script", network.eval(), samples, said)
        make.dynamo(f"{name}-dynamo", network.eval(), samples, said)
    make.script(
        "resnet-script-bn",
        resnet,
        colours,
        "batch normalizations left in the graph",
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
    )


def add_unsupported(make: Factory, x: Tensor) -> None:
    """Networks that an importer must refuse by the name of the operator or attribute."""
    for name, network in make_unsupported().items():
        make.dynamo(f"unsupported-{name}", network.eval(), x, f"to be refused: {name}")


# -- integers --------------------------------------------------------------------------------------
class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Samples one at a time, as the quantizer asks for them."""

    def __init__(self, name: str, x: np.ndarray[Any, Any]) -> None:
        self._feeds: Iterator[dict[str, Any]] = ({name: x[i : i + 1]} for i in range(len(x)))

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


def list_quantizations() -> dict[str, dict[str, Any]]:
    """What quantize_static is asked for: types of activations and weights, symmetry, grain."""
    unsigned, signed = QuantType.QUInt8, QuantType.QInt8
    u8 = {"activation_type": unsigned, "weight_type": signed}
    s8 = {"activation_type": signed, "weight_type": signed}
    symmetric = {"extra_options": {"ActivationSymmetric": True}}
    return {
        "u8-tensor": u8,
        "u8-channel": {**u8, "per_channel": True},
        "s8-tensor": s8,
        "s8-channel": {**s8, "per_channel": True},
        "s8-symmetric": {**s8, **symmetric},
        "s8-symmetric-channel": {**s8, **symmetric, "per_channel": True},
        "u8-weights-u8": {"activation_type": unsigned, "weight_type": unsigned},
        "s16": {"activation_type": QuantType.QInt16, "weight_type": signed},
        "qoperator": {**u8, "quant_format": QuantFormat.QOperator},
    }


def add_quantized(make: Factory, source: str, side: int) -> None:
    """The model `source` in int8 by every way of `list_quantizations`; 16 bits and another format
    (to be refused) among them."""
    prepared = make.folder / "prepared.onnx"
    quant_pre_process(make.path(source), prepared, skip_symbolic_shape=True)
    (image,) = onnx.load(prepared).graph.input
    calibration, _ = mnist("train", side)
    x, labels = mnist("test", side)
    for kind, options in list_quantizations().items():
        name = f"{source.partition('-')[0]}-qdq-{kind}"
        quantize_static(
            prepared,
            make.path(name),
            Calibration(image.name, calibration[:N_CALIBRATION].numpy()),
            **({"quant_format": QuantFormat.QDQ} | options),
        )
        right = run(make.path(name), x[:512].numpy()).argmax(axis=1) == labels[:512].numpy()
        said = f"onnxruntime quantize_static of {source}, {kind}; {right.mean():.1%} of 512 right"
        make.keep(name, x[:N_SAMPLES], said, labels[:N_SAMPLES])
    prepared.unlink()


def add_dynamic(make: Factory, source: str, x: Tensor) -> None:
    """The model with scales that are computed while it runs: to be refused."""
    name = f"{source.partition('-')[0]}-quantized-dynamic"
    quantize_dynamic(make.path(source), make.path(name), weight_type=QuantType.QInt8)
    make.keep(name, x, f"to be refused: onnxruntime quantize_dynamic of {source}")


def main(arguments: list[str]) -> None:
    """Makes everything; README.txt last."""
    if len(arguments) != 1:
        raise SystemExit(__doc__)
    warnings.simplefilter("ignore")
    torch.manual_seed(SEED)
    make = Factory(Path(arguments[0]))
    tiny, lenet = TinyNet(), LeNet5()
    for network, side in ((tiny, 12), (lenet, 28)):
        train_mnist(network, side=side)
    x, _ = mnist("test", 12)
    wide, _ = mnist("test", 28)
    x, wide = x[:N_SAMPLES], wide[:N_SAMPLES]
    add_floats(make, tiny, x)
    make.script("lenet5-script", lenet, wide, "LeNet-5, trained on MNIST, average pools")
    make.dynamo("lenet5-dynamo", lenet, wide, "LeNet-5, trained on MNIST, average pools")
    make.write_readme()
    for step in (
        partial(add_quantized, make, "tiny-script-17", 12),
        partial(add_quantized, make, "lenet5-script", 28),
        partial(add_dynamic, make, "tiny-script-17", x),
        partial(add_structures, make, tiny, x),
        partial(add_unsupported, make, x),
    ):
        step()
        make.write_readme()


if __name__ == "__main__":
    main(sys.argv[1:])
