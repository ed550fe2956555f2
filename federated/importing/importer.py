"""Importing a file: what kind of network it is, and its integers."""

from __future__ import annotations

from pathlib import Path

from federated.importing.graph import SUPPORTED, Pixels, build_network
from federated.importing.network import Network
from federated.importing.onnx_file import load_onnx, parse_onnx


def open_network(path: Path, pixels: Pixels) -> Network:
    """The network of an ONNX file. Raises OnnxFileInvalid, OperatorUnsupported, GraphUnsupported;
    OSError."""
    return build_network(load_onnx(path, SUPPORTED), pixels)


def decode_network(raw: bytes, pixels: Pixels) -> Network:
    """The network of an ONNX file's bytes, which hold all of it. Raises as `open_network`."""
    return build_network(parse_onnx(raw, SUPPORTED), pixels)
