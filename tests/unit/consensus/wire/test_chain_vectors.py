"""The committed bytes of the chain's formats: read, written again, and refused when altered."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from consensus.errors import GenesisInvalid
from consensus.learning.aggregate import GlobalModel
from consensus.learning.beacon import compute_order_message, verify, verify_share
from consensus.learning.chain_state import ChainState
from consensus.learning.samples import SamplePool
from consensus.wire import finality, gossip_messages, messages, outcomes, transactions
from consensus.wire.codec import Message, Signed
from consensus.wire.genesis import Genesis
from consensus.wire.signatures import is_signed
from prover.wire.records import Record
from tests.support import chain_vectors

FILES: dict[str, type[Record]] = {
    "pool": SamplePool,
    "global_model": GlobalModel,
}


@cache
def load() -> Any:
    return json.loads(chain_vectors.PATH.read_text("ascii"))


def test_the_file_is_what_the_seeds_make() -> None:
    assert load() == chain_vectors.make()


def list_all() -> dict[str, tuple[str, Any]]:
    """Class and vector of each message, by a name for the test."""
    found = {name: (name, vector) for name, vector in load()["messages"].items()}
    trains = load()["training"]["messages"]
    return found | {f"{name} of training": (name, vector) for name, vector in trains.items()}


@pytest.mark.parametrize("case", sorted(list_all()))
def test_a_message_has_these_bytes(case: str) -> None:
    name, vector = list_all()[case]
    raw = bytes.fromhex(vector["bytes"])
    found = decode(name, raw)
    assert found is not None
    assert found.encode() == raw
    assert found.digest.hex() == vector["digest"]


@pytest.mark.parametrize("case", sorted(list_all()))
def test_other_bytes_are_no_such_message(case: str) -> None:
    """Every truncation, a longer one, another kind or version, and each altered length."""
    name, vector = list_all()[case]
    raw = bytes.fromhex(vector["bytes"])
    others = [raw[:n] for n in range(0, len(raw), max(1, len(raw) // 97))] + [raw + b"\x00"]
    others += [bytes([raw[0] ^ 64]) + raw[1:], raw[:1] + b"\x01" + raw[2:]]
    others += [raw[:2] + bytes([raw[2] ^ 1]) + raw[3:]]
    assert [other for other in others if decode(name, other) is not None] == []


def test_every_class_has_a_kind_of_its_own() -> None:
    """A message names its class by one byte, so that none decodes as another."""
    found = [*Message.__subclasses__()]
    for kind in found:
        found.extend(kind.__subclasses__())
    found.remove(Signed)
    kinds = {k.__name__: k.KIND for k in found if k.__module__.startswith("consensus")}
    assert len(kinds) > 20
    assert len(set(kinds.values())) == len(kinds)


def test_signatures_hold_on_this_chain_only() -> None:
    genesis = Genesis.decode(load()["genesis"].encode("ascii"))
    for name, key in load()["signed_by"].items():
        message = decode(name, bytes.fromhex(load()["messages"][name]["bytes"]))
        assert isinstance(message, messages.Signed)
        assert is_signed(message, bytes.fromhex(key), genesis.digest)
        assert not is_signed(message, bytes.fromhex(key), genesis.chain_id)


def test_the_hash_of_a_block() -> None:
    block = decode("Block", bytes.fromhex(load()["messages"]["Block"]["bytes"]))
    assert isinstance(block, messages.Block)
    assert block.hash.hex() == load()["block_hash"]


def test_genesis_is_one_text() -> None:
    text = load()["genesis"]
    genesis = Genesis.decode(text.encode("ascii"))
    assert genesis.encode().decode("ascii") == text
    assert genesis.digest.hex() == load()["genesis_digest"]
    for other in (text[:-1], text + " ", text.replace('"version":3', '"version":2')):
        with pytest.raises(GenesisInvalid):
            Genesis.decode(other.encode("ascii"))


def test_a_task_that_asks_for_training() -> None:
    """Its genesis, what its order is drawn from, and the state in which all have shown theirs."""
    known = load()["training"]
    genesis = Genesis.decode(known["genesis"].encode("ascii"))
    assert genesis.digest.hex() == known["genesis_digest"]
    share, block = (
        decode(name, bytes.fromhex(known["messages"][name]["bytes"]))
        for name in ("BeaconShare", "Block")
    )
    assert isinstance(share, messages.BeaconShare)
    assert isinstance(block, messages.Block)
    order = bytes.fromhex(known["order_message"])
    assert order == compute_order_message(genesis.digest, register_height=share.commit_height)
    assert verify_share(genesis.share_points[2:3], order, share.share)
    assert verify(genesis.beacon_point, order, block.beacon)
    raw = bytes.fromhex(known["state"])
    state = ChainState.decode(raw, genesis)
    assert state is not None
    assert state.encode() == raw
    assert state.order_beacon == block.beacon


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_has_these_bytes(name: str) -> None:
    raw = bytes.fromhex(load()["files"][name])
    assert FILES[name].parse(raw).encode() == raw


def decode(name: str, raw: bytes) -> Message | None:
    found = [
        getattr(m, name)
        for m in (messages, transactions, outcomes, gossip_messages, finality)
        if hasattr(m, name)
    ]
    kind: type[Message] = found[0]
    return kind.decode(raw)
