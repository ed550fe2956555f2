"""A torch module as a network, by way of ONNX bytes in memory."""

from __future__ import annotations

import io
import warnings

import torch

from federated.errors import OnnxFileInvalid
from federated.importing.graph import Pixels
from federated.importing.importer import decode_network
from federated.importing.network import Network

_OPSET = 17


def open_module(module: torch.nn.Module, sample_shape: tuple[int, ...], pixels: Pixels) -> Network:
    """The network that a module computes of samples of this shape, in evaluation mode.

    pixels : what the module is given for a pixel
    raises : OnnxFileInvalid where torch cannot export it; OperatorUnsupported, GraphUnsupported
    """
    buffer = io.BytesIO()
    was_training = module.training
    module.eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter by TorchScript needs no further package
            sample = torch.zeros(1, *sample_shape)
            torch.onnx.export(module, (sample,), buffer, opset_version=_OPSET, dynamo=False)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError) as error:
        raise OnnxFileInvalid(
            "torch does not export the module", "see torch.onnx.export, or simplify its forward"
        ) from error
    finally:
        module.train(was_training)
    return decode_network(buffer.getvalue(), pixels)
