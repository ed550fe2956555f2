"""The committed bytes of secure aggregation, by this code and by the formulas of docs/WIRE.md."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from consensus.aggregation.client_side import RoundSecrets
from consensus.aggregation.deal import Deal
from consensus.aggregation.dispute import Attestation, Revelation
from consensus.aggregation.masked import Masked
from consensus.aggregation.unmasking import Unmasking
from kernels.bn254 import R
from prover.wire.records import Record
from tests.support import aggregation_vectors as vectors

KINDS: dict[str, type[Record]] = {
    "deal": Deal,
    "masked": Masked,
    "unmasking": Unmasking,
    "attestation": Attestation,
    "revelation": Revelation,
    "secrets": RoundSecrets,
}


@pytest.fixture(scope="module")
def found() -> Any:
    return json.loads(vectors.PATH.read_text("ascii"))


def test_the_file_is_what_the_roots_make(found: Any) -> None:
    assert found == vectors.make()


@pytest.mark.parametrize("name", KINDS)
def test_payloads_are_read_and_written_again(name: str, found: Any) -> None:
    raw = bytes.fromhex(found["payloads"][name])
    assert KINDS[name].parse(raw).encode() == raw


def list_fields(*fields: bytes) -> bytes:
    return b"".join(len(f).to_bytes(4, "little") + f for f in fields)


def derive(secret: bytes, n: int, *names: bytes) -> bytes:
    """HKDF (RFC 5869) without salt, by its definition."""
    place = list_fields(vectors.GENESIS, (2).to_bytes(8, "little"))
    info = list_fields(b"zkpot aggregation v1", names[0], place, *names[1:])
    key = hmac.digest(bytes(32), secret, "sha256")
    out, block = b"", b""
    while len(out) < n:
        block = hmac.digest(key, block + info + bytes((len(out) // 32 + 1,)), "sha256")
        out += block
    return out[:n]


def test_secrets_are_as_documented(found: Any) -> None:
    for client in found["clients"]:
        root = bytes.fromhex(client["root"])
        for name, label in (("sigma", b"sigma"), ("self_secret", b"self secret")):
            value = int.from_bytes(derive(root, 48, label), "little") % R
            assert client[name] == str(value)
    own = int(found["clients"][0]["self_secret"]).to_bytes(32, "little")
    assert found["self_seed"] == derive(own, 32, b"self seed").hex()


def test_the_order_is_as_documented(found: Any) -> None:
    def rank(client: str) -> bytes:
        domain = b"zkpot aggregation graph v1\x00"
        return hashlib.sha256(domain + vectors.BEACON + bytes.fromhex(client)).digest()

    assert found["order"] == sorted(found["order"], key=rank)
