"""IDX files of uint8, the form in which all data sets lie here: 0, 0, 8, rank, dims, data."""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path

import numpy as np

from federated.errors import DatasetCorrupt
from kernels.numpy_types import UInt8Array


def write_header(shape: tuple[int, ...]) -> bytes:
    """What stands before the data of a uint8 tensor; dims are u32 big-endian."""
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)


def parse_idx(raw: bytes, shape: tuple[int, ...], name: str) -> UInt8Array:
    """The uint8 tensor of a file, nothing after it. Raises DatasetCorrupt for another shape."""
    header = write_header(shape)
    if raw[: len(header)] != header or len(raw) != len(header) + prod(shape):
        raise DatasetCorrupt(Path(name), f"no IDX file of uint8{list(shape)}", "fetch it again")
    return np.frombuffer(raw, dtype=np.uint8, offset=len(header)).reshape(shape)
