"""Canonical bytes of a quantized model (`.zkq`, version 2): one model, one encoding, no pickle.

    magic      8 bytes   b"zkpotQM\\0"
    version    u32       2
    n          u32       length of the manifest, at most 64 KiB
    m          u64       length of the payload
    manifest   n bytes   canonical JSON of the architecture (sorted keys, no spaces, ASCII)
    payload    m bytes   a safetensors file: int32 `LAYER.bias`, then int8 `LAYER.weight`, in layer
                         order, contiguous; its header is a function of the architecture

Integers are little-endian; nothing follows the payload. Decoding is total: a model, or a
ModelFormatError that names what, where and what to do, and never a private value.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NoReturn

import numpy as np

from prover.errors import ArchitectureInvalid, ModelFormatError, RangeExceeded
from prover.model.layers import Shape
from prover.model.network import Architecture, QuantizedModel, canonical_json

MAGIC = b"zkpotQM\x00"
VERSION = 2
MAX_MANIFEST_BYTES = 1 << 16
_FIXED = struct.Struct("<8sIIQ")
_REMAKE = "write the model again with `zkpot quantize`"


def encode_model(model: QuantizedModel) -> bytes:
    """The one encoding of the model; holds its private weights."""
    manifest = model.architecture.encode()
    header, _ = _payload_layout(model.architecture)
    parts = [header]
    parts += [_tensor_bytes(b, "<i4") for b in model.biases]
    parts += [_tensor_bytes(w, "<i1") for w in model.weights]
    payload = b"".join(parts)
    return _FIXED.pack(MAGIC, VERSION, len(manifest), len(payload)) + manifest + payload


def count_model_bytes(architecture: Architecture) -> int:
    """How long the encoding of every model of this architecture is."""
    header, tensors = _payload_layout(architecture)
    n_payload = len(header) + sum(_n_bytes(*t) for t in tensors)
    return _FIXED.size + len(architecture.encode()) + n_payload


def decode_model(raw: bytes) -> QuantizedModel:
    """Inverse of `encode_model`; ModelFormatError for every other byte string."""
    manifest, payload = _split(raw)
    architecture = _decode_manifest(manifest)
    header, tensors = _payload_layout(architecture)
    if len(payload) != len(header) + sum(_n_bytes(*t) for t in tensors):
        _fail("the payload is not as long as the architecture asks for", "payload")
    if payload[: len(header)] != header:
        _fail("the tensor table is not the one the architecture asks for", "payload header")
    arrays = []
    offset = len(header)
    for dtype, shape in tensors:
        n = _n_bytes(dtype, shape)
        flat = np.frombuffer(
            payload, dtype=dtype, count=n // np.dtype(dtype).itemsize, offset=offset
        )
        native = np.dtype(dtype).newbyteorder("=")
        arrays.append(flat.reshape(shape).astype(native))
        offset += n
    n_layers = len(architecture.layers)
    try:
        return QuantizedModel(
            architecture=architecture,
            biases=tuple(arrays[:n_layers]),
            weights=tuple(arrays[n_layers:]),
        )
    except RangeExceeded as error:
        what = f"a {error.quantity} of layer {error.layer} is outside {list(error.bound)}"
    # Raised out here, since an error raised inside would carry the private value as its context.
    raise ModelFormatError(what, where="model payload", next_step=_REMAKE)


def _split(raw: bytes) -> tuple[bytes, bytes]:
    """Manifest and payload; refuses another magic, version, length or trailing bytes."""
    if len(raw) < _FIXED.size:
        _fail(f"{len(raw)} bytes are shorter than the fixed header", "header")
    magic, version, n_manifest, n_payload = _FIXED.unpack_from(raw)
    if magic != MAGIC:
        _fail("this is no quantized model: other magic bytes", "header", "give a .zkq file")
    if version != VERSION:
        _fail(
            f"version {version}, this program reads {VERSION}",
            "header",
            "use the version of zkpot that wrote the file, or quantize again",
        )
    if n_manifest > MAX_MANIFEST_BYTES:
        _fail(f"manifest of {n_manifest} bytes, limit {MAX_MANIFEST_BYTES}", "header")
    if len(raw) != _FIXED.size + n_manifest + n_payload:
        _fail(
            f"{len(raw)} bytes, the header announces {_FIXED.size + n_manifest + n_payload}",
            "header",
            "the file is truncated or has been appended to; copy it again",
        )
    end = _FIXED.size + n_manifest
    return raw[_FIXED.size : end], raw[end:]


def _decode_manifest(manifest: bytes) -> Architecture:
    """Parses, then demands that encoding gives the same bytes: this refuses duplicate keys, spaces,
    floats, NaN and every other second spelling."""
    try:
        value = json.loads(manifest.decode("ascii"), parse_constant=_refuse_constant)
        architecture = Architecture.from_manifest(value)
        canonical = canonical_json(value) == manifest and architecture.encode() == manifest
    except ArchitectureInvalid as error:
        _fail(str(error), "manifest")
    except (ValueError, RecursionError):
        _fail("not JSON as this format writes it", "manifest")
    if not canonical:
        _fail("not in canonical form", "manifest")
    return architecture


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _payload_layout(architecture: Architecture) -> tuple[bytes, list[tuple[str, Shape]]]:
    """Safetensors header bytes, and (dtype, shape) of the tensors in file order.

    Empty tensors of layers without parameters take part in the order but not in the header.
    """
    named = [(f"{i}.bias", "I32", "<i4", s) for i, s in enumerate(architecture.bias_shapes)]
    named += [(f"{i}.weight", "I8", "<i1", s) for i, s in enumerate(architecture.weight_shapes)]
    table: dict[str, Any] = {}
    offset = 0
    for name, tag, dtype, shape in named:
        end = offset + _n_bytes(dtype, shape)
        if end > offset:
            table[name] = {"dtype": tag, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(table, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, [(dtype, shape) for _, _, dtype, shape in named]


def _n_bytes(dtype: str, shape: Shape) -> int:
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize


def _tensor_bytes(tensor: np.ndarray[Any, Any], dtype: str) -> bytes:
    return np.ascontiguousarray(tensor, dtype=dtype).tobytes()


def _fail(what: str, where: str, next_step: str = _REMAKE) -> NoReturn:
    raise ModelFormatError(what, where=f"model {where}", next_step=next_step) from None
