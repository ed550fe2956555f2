"""Safetensors of strangers: what a header may cost is bounded before it is parsed."""

from __future__ import annotations

import json
import struct
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from api.errors import UploadInvalid
from api.store.uploads import MAX_SAMPLES_HEADER_BYTES, parse_samples
from federated.errors import FloatModelInvalid, TensorFileInvalid
from federated.float_model import MAX_HEADER_BYTES, decode_float_model
from federated.tensor_file import read_header, read_tensors

SAMPLES = {"images": np.ones((3, 2), dtype=np.uint8), "labels": np.zeros(3, dtype=np.uint8)}


def write(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


def write_many_tensors(n_bytes: int) -> bytes:
    """A valid file without data whose header, of n_bytes, names as many tensors as fit."""
    entry = '"{:08d}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'
    names = range(n_bytes // (len(entry.format(0)) + 1) - 1)
    text = "{" + ",".join(map(entry.format, names)) + "}"
    return write(text.encode().ljust(n_bytes))


def test_tensors_come_back() -> None:
    found = read_tensors(save(SAMPLES), max_header_bytes=1 << 10)
    assert {name: t.tolist() for name, t in found.items()} == {
        name: t.tolist() for name, t in SAMPLES.items()
    }


def test_a_long_header_is_refused_before_it_is_parsed() -> None:
    raw = write_many_tensors(8 << 20)
    tracemalloc.start()
    with pytest.raises(UploadInvalid, match="header has 8388608 bytes, and 16384 are read"):
        parse_samples(raw)
    with pytest.raises(FloatModelInvalid, match="header has 8388608 bytes, and 262144 are read"):
        decode_float_model(raw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("most", [MAX_SAMPLES_HEADER_BYTES, MAX_HEADER_BYTES])
def test_the_bound_itself_is_read(most: int) -> None:
    assert len(read_header(write_many_tensors(most), max_bytes=most)) == most
    assert len(read_tensors(write_many_tensors(most), max_header_bytes=most)) > most // 100
    with pytest.raises(TensorFileInvalid, match=r"and \d+ are read"):
        read_header(write_many_tensors(most + 8), max_bytes=most)


@pytest.mark.parametrize(
    "raw", [b"", b"\0" * 7, write(b"{}")[:-1], struct.pack("<Q", (1 << 64) - 1), b"\xff" * 64]
)
def test_files_that_are_cut_off_are_named(raw: bytes) -> None:
    with pytest.raises(TensorFileInvalid, match="cut off"):
        read_tensors(raw, max_header_bytes=1 << 10)


def test_a_type_that_numpy_lacks_is_named() -> None:
    header = {"images": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}
    with pytest.raises(UploadInvalid, match="such as bfloat16"):
        parse_samples(write(json.dumps(header).encode(), b"\0\0"))


@given(st.binary(max_size=60).map(write) | st.binary(max_size=40))
def test_any_bytes_are_tensors_or_refused(raw: bytes) -> None:
    with suppress(TensorFileInvalid):
        read_tensors(raw, max_header_bytes=50)
