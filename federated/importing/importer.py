"""Importing a network: opening it, and its integers, by its own scales or by calibration."""

from __future__ import annotations

from pathlib import Path

from federated.calibration import Progress, calibrate_model
from federated.importing.float_graph import take_floats
from federated.importing.graph import SUPPORTED, Pixels, build_network
from federated.importing.network import Network
from federated.importing.onnx_file import load_onnx, parse_onnx
from federated.rounding import round_model
from kernels.numpy_types import UInt8Array
from prover.model.network import QuantizedModel


def open_network(path: Path, pixels: Pixels) -> Network:
    """The network of an ONNX file. Raises OnnxFileInvalid, OperatorUnsupported, GraphUnsupported;
    OSError."""
    return build_network(load_onnx(path, SUPPORTED), pixels)


def decode_network(raw: bytes, pixels: Pixels) -> Network:
    """The network of an ONNX file's bytes, which hold all of it. Raises as `open_network`."""
    return build_network(parse_onnx(raw, SUPPORTED), pixels)


def calibrate_network(network: Network, images: UInt8Array, progress: Progress) -> QuantizedModel:
    """Integers of a float network, with scales that lose least on samples.

    images, progress : as `federated.calibration.calibrate_model`
    raises           : GraphUnsupported, ArchitectureInvalid; CalibrationFailed, RangeExceeded
                       (owner's eyes only)
    """
    model = take_floats(network)
    found = calibrate_model(model, images, progress)
    return round_model(model, found.architecture, found.scales)
