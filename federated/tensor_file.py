"""Reading safetensors files of strangers: the header is bounded before anything parses it.

A file begins with the length of its JSON header, 8 bytes little-endian. Parsing JSON takes many
times its bytes, of memory and of time, and a header says little: names, types, shapes and offsets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from federated.errors import TensorFileInvalid

LENGTH_BYTES = 8


def read_header(raw: bytes, *, max_bytes: int) -> bytes:
    """The JSON header, not parsed. Raises TensorFileInvalid for one that is longer or cut off."""
    n = int.from_bytes(raw[:LENGTH_BYTES], "little")
    if len(raw) < LENGTH_BYTES or n > len(raw) - LENGTH_BYTES:
        raise TensorFileInvalid("it is no safetensors file, or it is cut off")
    if n > max_bytes:
        raise TensorFileInvalid(
            f"its header has {n} bytes, and {max_bytes} are read: write the tensors asked for, "
            "without metadata"
        )
    return raw[LENGTH_BYTES : LENGTH_BYTES + n]


def read_tensors(raw: bytes, *, max_header_bytes: int) -> dict[str, npt.NDArray[Any]]:
    """The tensors by name. Raises TensorFileInvalid, whatever the bytes.

    cost : one copy of the tensors; a small multiple of max_header_bytes
    """
    read_header(raw, max_bytes=max_header_bytes)
    try:
        found: dict[str, npt.NDArray[np.generic]] = load(raw)
    except KeyError:
        raise TensorFileInvalid("a tensor has a type that NumPy lacks, such as bfloat16") from None
    except (SafetensorError, ValueError):
        raise TensorFileInvalid("it is no safetensors file") from None
    return found
