"""What torch's two exporters and onnxruntime's quantizer write is read, and answers alike."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from onnxruntime.quantization import quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from federated.errors import FederatedError
from federated.importing.agreement import compare, run_file
from federated.importing.float_graph import take_floats
from federated.importing.graph import Pixels
from federated.importing.importer import calibrate_network, decode_network, open_network
from federated.importing.network import Network
from federated.importing.qdq import take_integers
from federated.importing.torch_module import open_module
from kernels.numpy_types import UInt8Array
from tests.support.imported import evaluate
from tests.support.onnx_models import (
    SEED,
    Calibration,
    Factory,
    add_floats,
    add_structures,
    add_unsupported,
    list_quantizations,
)
from tests.support.onnx_networks import TinyNet, TinyResNet, mnist, train_mnist

pytestmark = pytest.mark.slow
REFUSED_FLOATS = {"shapes-script", "shapes-dynamo"}  # ReLU6: rounded by files only
N_COMPARED = 1000


def export(folder: Path, *steps: Callable[[Factory, TinyNet, torch.Tensor], None]) -> Path:
    """The folder with files of exporters, samples and what onnxruntime answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(SEED)
        x, _ = mnist("test", 12)
        factory, tiny = Factory(folder), TinyNet().eval()
        for step in steps:
            step(factory, tiny, x[:32])
    return folder


def to_bytes(x: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> UInt8Array:
    return np.rint(x * 255).astype(np.uint8)


def normalize(name: str, y: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> object:
    """Logits up to a constant, as the softmax of them tells."""
    if "softmax" not in name:
        return y
    return y - y.max(axis=1, keepdims=True)


@pytest.mark.parametrize("step", [add_floats, add_structures])
def test_files_of_exporters(
    step: Callable[[Factory, TinyNet, torch.Tensor], None], tmp_path: Path
) -> None:
    folder = export(tmp_path, step)
    names = sorted(path.stem for path in folder.glob("*.onnx"))
    assert len(names) > 10
    for name in names:
        network = open_network(folder / f"{name}.onnx", Pixels())
        kept = np.load(folder / f"{name}.npz")
        found, expected = evaluate(network, to_bytes(kept["x"])), kept["y"]
        if name.startswith("softmax"):
            expected = np.log(expected)
        np.testing.assert_allclose(
            normalize(name, found), normalize(name, expected), atol=1e-4, err_msg=name
        )
        require_floats(name, network, kept["x"], found)


def require_floats(name: str, network: Network, x: object, expected: object) -> None:
    """The float model to be calibrated computes the same, but for pixels of the border."""
    if name in REFUSED_FLOATS:
        with pytest.raises(FederatedError, match=r"is clamped to \[0, 6\]"):
            take_floats(network)
        return
    found = take_floats(network).logits(to_bytes(np.asarray(x)))
    np.testing.assert_allclose(found, expected, atol=0.05 if "normalized" in name else 1e-4)


def test_what_no_circuit_states_is_refused(tmp_path: Path) -> None:
    folder = export(tmp_path, lambda factory, _, x: add_unsupported(factory, x))
    paths = sorted(folder.glob("unsupported-*.onnx"))
    assert len(paths) > 5
    for path in paths:
        with pytest.raises(FederatedError) as caught:
            open_network(path, Pixels())
        assert "node" in str(caught.value)


@pytest.mark.parametrize("network", [TinyNet(), TinyResNet()], ids=["tiny", "resnet"])
def test_modules(network: torch.nn.Module) -> None:
    shape = (1, 12, 12) if isinstance(network, TinyNet) else (3, 8, 8)
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (16, *shape)).astype(np.uint8)
    network.train()
    with torch.no_grad():
        network(torch.rand(8, *shape))
    read = open_module(network, shape, Pixels(mean=(0.1,), std=(0.5,)))
    assert network.training
    with torch.no_grad():
        expected = network.eval()((torch.from_numpy(images) / 255 - 0.1) / 0.5).numpy()
    np.testing.assert_allclose(evaluate(read, images), expected, atol=1e-4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network trained on the packaged part of MNIST for seconds, on one core."""
    made = tmp_path_factory.mktemp("trained") / "float.onnx"
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(SEED)
        network = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(784, 10),
        )
        train_mnist(network, side=28)
        torch.set_num_threads(n_threads)
        x, _ = mnist("test", 28)
        torch.onnx.export(network, (x[:1],), made, opset_version=17, dynamo=False)
        quant_pre_process(made, made, skip_symbolic_shape=True)
    return made


def require_agreement(path: Path, integers: object, network: Network) -> None:
    x, labels = mnist("test", 28)
    images = to_bytes(x.numpy()[:N_COMPARED])
    logits = integers.logits(images)  # type: ignore[attr-defined]
    found = compare(logits, run_file(path, network.samples, images), labels.numpy()[:N_COMPARED])
    assert found.n_same >= 0.995 * N_COMPARED, found
    assert abs(found.n_right - found.n_right_file) <= 0.005 * N_COMPARED
    assert found.n_right > 0.95 * N_COMPARED


@pytest.mark.parametrize("kind", list_quantizations())
def test_files_of_the_quantizer(trained: Path, kind: str) -> None:
    path = trained.with_name(f"{kind}.onnx")
    x, _ = mnist("train", 28)
    name = open_input(trained)
    quantize_static(trained, path, Calibration(name, x[:256].numpy()), **list_quantizations()[kind])
    if kind in ("s16", "qoperator"):
        with pytest.raises(FederatedError, match=r"rounds values to int16|QLinearConv"):
            open_network(path, Pixels())
        return
    network = open_network(path, Pixels())
    require_agreement(path, take_integers(network).model, network)


def test_calibration_of_a_float_file(trained: Path) -> None:
    network = decode_network(trained.read_bytes(), Pixels())
    x, _ = mnist("train", 28)
    model = calibrate_network(network, to_bytes(x.numpy()[:256]), lambda *_: None)
    assert set(model.architecture.multipliers) == {1}
    require_agreement(trained, model, network)


def open_input(path: Path) -> str:
    import onnx

    return str(onnx.load(path).graph.input[0].name)
