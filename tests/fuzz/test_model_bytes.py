"""Any bytes give a model or a ModelFormatError, and a model has one encoding."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from prover.errors import ModelFormatError
from prover.model.layers import Requant
from prover.model.network import Architecture, QuantizedModel
from prover.model.zkq import MAGIC, decode_model, encode_model
from tests.support.models import random_model

MODEL = random_model(
    Architecture.mlp([4, 3, 2], requant=Requant(shift=4, q_bits=12)), np.random.default_rng(5)
)
RAW = encode_model(MODEL)
HEADER = struct.Struct("<8sIIQ")
N_MANIFEST = HEADER.unpack_from(RAW)[2]
MANIFEST = RAW[HEADER.size : HEADER.size + N_MANIFEST]
PAYLOAD = RAW[HEADER.size + N_MANIFEST :]


def pack(manifest: bytes, payload: bytes = PAYLOAD, version: int = 2) -> bytes:
    return HEADER.pack(MAGIC, version, len(manifest), len(payload)) + manifest + payload


def require_total(raw: bytes) -> None:
    """Decodes to something that encodes to the same bytes, or refuses with a full message."""
    try:
        model = decode_model(raw)
    except ModelFormatError as error:
        refusal = error
    else:
        assert encode_model(model) == raw
        return
    assert refusal.what
    assert refusal.where.startswith("model ")
    assert refusal.next_step


def test_round_trip() -> None:
    model = decode_model(RAW)
    assert model.architecture == MODEL.architecture
    for w, expected_w in zip(model.weights, MODEL.weights, strict=True):
        assert w.dtype == np.int8
        assert (w == expected_w).all()
    for b, expected_b in zip(model.biases, MODEL.biases, strict=True):
        assert b.dtype == np.int32
        assert (b == expected_b).all()
    assert encode_model(model) == RAW == pack(MANIFEST)


def test_payload_is_the_file_safetensors_writes() -> None:
    tensors = safetensors.numpy.load(PAYLOAD)
    assert sorted(tensors) == ["0.bias", "0.weight", "1.bias", "1.weight"]
    assert (tensors["0.weight"] == MODEL.weights[0]).all()
    assert (tensors["1.bias"] == MODEL.biases[1]).all()
    assert safetensors.numpy.save(tensors) == PAYLOAD


@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    require_total(raw)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_manifest_and_payload(manifest: bytes, payload: bytes) -> None:
    require_total(pack(manifest, payload))


@given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
def test_one_altered_byte(position: int, mask: int) -> None:
    altered = bytearray(RAW)
    altered[position] ^= mask
    require_total(bytes(altered))


def test_every_truncation_is_refused() -> None:
    for n in range(len(RAW)):
        with pytest.raises(ModelFormatError):
            decode_model(RAW[:n])


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(st.data())
def test_any_value_in_place_of_any_field(data: st.DataObject) -> None:
    value = json.loads(MANIFEST)
    places = [(value, key) for key in value]
    places += [(value["layers"][0], key) for key in value["layers"][0]]
    places += [(value["layers"][0]["requant"], key) for key in value["layers"][0]["requant"]]
    container, key = data.draw(st.sampled_from(places))
    container[key] = data.draw(JSON_VALUES)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    require_total(pack(text.encode()))


@pytest.mark.parametrize(
    ("name", "manifest"),
    [
        ("space", MANIFEST.replace(b":", b": ", 1)),
        ("duplicate key", MANIFEST.replace(b'"margin_bits"', b'"margin_bits":7,"margin_bits"')),
        ("float", MANIFEST.replace(b'"shift":4', b'"shift":4.0')),
        ("NaN", MANIFEST.replace(b'"shift":4', b'"shift":NaN')),
        ("exponent", MANIFEST.replace(b'"shift":4', b'"shift":4e0')),
        ("minus zero", MANIFEST.replace(b'"shift":4', b'"shift":-0')),
        ("true for one", MANIFEST.replace(b'"multiplier":1', b'"multiplier":true')),
        ("false for zero", MANIFEST.replace(b'"least":0', b'"least":false')),
        (
            "other order",
            MANIFEST.replace(b'"kind":"linear","n_out":2', b'"n_out":2,"kind":"linear"'),
        ),
        ("escaped letter", MANIFEST.replace(b"linear", b"line\\u0061r", 1)),
        ("unknown layer", MANIFEST.replace(b"linear", b"dense", 1)),
        ("unknown field", MANIFEST.replace(b'{"input_shape"', b'{"a":1,"input_shape"')),
        ("other width", MANIFEST.replace(b'"n_out":3', b'"n_out":4')),
        ("byte order mark", b"\xef\xbb\xbf" + MANIFEST),
        ("nesting", b"[" * 60_000),
        ("long number", MANIFEST.replace(b'"shift":4', b'"shift":' + b"9" * 50_000)),
        ("huge layer", MANIFEST.replace(b'"n_out":3', b'"n_out":1048576')),
        ("no JSON", b"\x80\x04}."),
    ],
)
def test_manifest_refused(name: str, manifest: bytes) -> None:
    assert manifest != MANIFEST, name
    with pytest.raises(ModelFormatError):
        decode_model(pack(manifest))


def test_limits_and_lengths() -> None:
    for raw in (
        pack(b" " * (1 << 16) + MANIFEST),
        pack(MANIFEST, version=1),
        RAW + b"\x00",
        pack(MANIFEST, PAYLOAD + b"\x00"),
        pack(MANIFEST, PAYLOAD[:-1]),
        HEADER.pack(MAGIC, 2, N_MANIFEST, (1 << 64) - 1) + MANIFEST + PAYLOAD,
        b"other\x00\x00\x00" + RAW[8:],
    ):
        with pytest.raises(ModelFormatError):
            decode_model(raw)


def test_payload_header_is_fixed() -> None:
    swapped = PAYLOAD.replace(b"I32", b"F32", 1)
    assert swapped != PAYLOAD
    with pytest.raises(ModelFormatError, match="tensor table"):
        decode_model(pack(MANIFEST, swapped))


def test_private_values_stay_out_of_the_message() -> None:
    weight = bytearray(RAW)
    weight[-1] = 0x80
    bias = bytearray(RAW)
    start = len(RAW) - sum(w.size for w in MODEL.weights) - sum(4 * b.size for b in MODEL.biases)
    bias[start : start + 4] = struct.pack("<i", 77_777_777)
    for raw, private in ((weight, "-128"), (bias, "77777777")):
        with pytest.raises(ModelFormatError) as caught:
            decode_model(bytes(raw))
        assert private not in str(caught.value)
        assert caught.value.__context__ is None


def test_a_layer_takes_its_own_shape() -> None:
    """Two models whose payloads hold the same numbers differ in bytes by their shapes."""
    values = np.arange(12, dtype=np.int8)
    encodings = set()
    for sizes in ([6, 2], [2, 6], [4, 3]):
        architecture = Architecture.mlp(sizes, margin_bits=30)
        model = QuantizedModel(
            architecture=architecture,
            weights=(values.reshape(architecture.weight_shapes[0]),),
            biases=(np.zeros(sizes[1], dtype=np.int32),),
        )
        encodings.add(encode_model(model))
    assert len(encodings) == 3
