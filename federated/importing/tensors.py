"""Tensors of ONNX files: their size is settled by their bytes before an array is made.

A file of 1 KB may announce a tensor of 2^40 numbers, or name a file outside its folder. So dims
and bytes are compared first, and external data is read from plain files in the model's own folder
only.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from federated.errors import OnnxFileInvalid
from federated.importing.names import show, to_text

Array = npt.NDArray[Any]

MAX_NUMBERS = 1 << 27  # of one tensor
MAX_RANK = 8
_EXPORT = "export the model again"
_BESIDE = "put the file with the weights into the model's folder, under the name it was written as"

_T = onnx.TensorProto
# Bytes of a number in raw data, and the field that holds numbers where there is none.
_KINDS: dict[int, tuple[int, str]] = {
    _T.FLOAT: (4, "float_data"),
    _T.DOUBLE: (8, "double_data"),
    _T.FLOAT16: (2, "int32_data"),
    _T.BFLOAT16: (2, "int32_data"),
    _T.INT8: (1, "int32_data"),
    _T.UINT8: (1, "int32_data"),
    _T.INT16: (2, "int32_data"),
    _T.UINT16: (2, "int32_data"),
    _T.INT32: (4, "int32_data"),
    _T.INT64: (8, "int64_data"),
    _T.BOOL: (1, "int32_data"),
}


def read_tensor(tensor: Any, folder: Path | None) -> Array:
    """The numbers of a TensorProto, bfloat16 as float32. Raises OnnxFileInvalid.

    folder : of the model's file, for external data; None where there is no file
    """
    name = show(tensor.name)
    if tensor.data_type not in _KINDS:
        raise OnnxFileInvalid(
            f"tensor {name} holds numbers of type {_type_name(tensor.data_type)}",
            "export the model with float32, or quantize it to 8 bits",
        )
    width, field = _KINDS[tensor.data_type]
    dims = tuple(tensor.dims)
    if len(dims) > MAX_RANK or any(n < 0 for n in dims):
        raise OnnxFileInvalid(f"tensor {name} has no shape that is read here", _EXPORT)
    count = prod(dims)
    if count > MAX_NUMBERS:
        raise OnnxFileInvalid(
            f"tensor {name} announces more than {MAX_NUMBERS} numbers", "take a smaller network"
        )
    found = onnx.TensorProto()
    found.CopyFrom(tensor)
    if tensor.data_location == _T.EXTERNAL:
        raw = _read_external(tensor, folder, count * width, name)
        found.ClearField("external_data")
        found.data_location = _T.DEFAULT
        found.raw_data = raw
    if found.HasField("raw_data"):
        complete = len(found.raw_data) == count * width
    else:
        complete = len(getattr(found, field)) == count
    if not complete:
        raise OnnxFileInvalid(f"tensor {name} has not as many numbers as it announces", _EXPORT)
    try:
        array: Array = numpy_helper.to_array(found)
    except (ValueError, TypeError, OverflowError) as error:
        raise OnnxFileInvalid(f"tensor {name} cannot be read", _EXPORT) from error
    if tensor.data_type == _T.BFLOAT16:
        array = array.astype(np.float32)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise OnnxFileInvalid(
            f"tensor {name} holds infinities or NaN", "train the network again with a smaller step"
        )
    return array


def _read_external(tensor: Any, folder: Path | None, n_bytes: int, name: str) -> bytes:
    """Exactly the bytes of the tensor, from a plain file directly in the folder."""
    entries = {to_text(x.key): to_text(x.value) for x in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise OnnxFileInvalid(
            f"the numbers of tensor {name} lie in a file beside the model", "give the model's file"
        )
    if not location or Path(location).name != location or location in (".", ".."):
        raise OnnxFileInvalid(
            f"tensor {name} asks for a file that is not in the model's folder", _BESIDE
        )
    offset, length = (_parse_count(entries.get(key, ""), name) for key in ("offset", "length"))
    if length is not None and length != n_bytes:
        raise OnnxFileInvalid(f"tensor {name} has not as many numbers as it announces", _EXPORT)
    path = folder / location
    if path.is_symlink() or not path.is_file():
        raise OnnxFileInvalid(f"there is no plain file {show(location)} beside the model", _BESIDE)
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        if (offset or 0) + n_bytes > size:
            raise OnnxFileInvalid(f"{show(location)} ends before tensor {name} does", _BESIDE)
        stream.seek(offset or 0)
        raw: bytes = stream.read(n_bytes)
        return raw


def _parse_count(text: str, name: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise OnnxFileInvalid(f"tensor {name} says nonsense about its place", _EXPORT)
    return int(text)


def _type_name(data_type: int) -> str:
    try:
        return str(_T.DataType.Name(data_type)).lower()
    except ValueError:
        return str(data_type)
