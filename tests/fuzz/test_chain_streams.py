"""Any bytes on any stream: counted and dropped, never a crash, and the height goes on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consensus.learning.chain_state import Phase
from consensus.node.stream import FINAL, STREAMS, TRANSACTIONS, VOTES
from consensus.wire.codec import Signed
from consensus.wire.messages import BeaconShare, BlockRequest, FinalBlock, Proposal, Receipt, Vote
from consensus.wire.transactions import decode_transaction
from tests.support.learning import ProvenLab
from tests.support.nodes import Net, list_hashes

LAB = ProvenLab(changes={"n_rounds": 1})
FEW = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
streams = st.sampled_from(STREAMS)
Sent = tuple[str, bytes]


@contextmanager
def opened(n_nodes: int = 4) -> Iterator[Net]:
    with tempfile.TemporaryDirectory() as folder:
        net = Net(Path(folder), LAB)
        for index in range(n_nodes):
            net.start(index)
        try:
            yield net
        finally:
            net.close()


@cache
def list_real() -> tuple[Sent, ...]:
    """What nodes and clients say in a whole learning round, each once."""
    with opened() as net:
        net.run(lambda: all(n.chain.phase is Phase.DONE for n in net))
        return tuple(
            dict.fromkeys(
                (name, raw) for name in STREAMS for raw in net.server.list_raw(LAB.genesis, name)
            )
        )


@st.composite
def mutated(draw: st.DrawFn) -> Sent:
    """A real message with bytes changed, cut, doubled or of another message."""
    stream, raw = draw(st.sampled_from(list_real()))
    changed = bytearray(raw)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(changed)))
        match draw(st.sampled_from(["set", "cut", "insert", "splice", "number"])):
            case "set" if at < len(changed):
                changed[at] = draw(st.integers(0, 255))
            case "cut":
                del changed[at : at + draw(st.integers(1, 64))]
            case "insert":
                changed[at:at] = draw(st.binary(min_size=1, max_size=16))
            case "splice":
                other = draw(st.sampled_from(list_real()))[1]
                changed[at:] = other[at:]
            case "number":
                length = draw(st.sampled_from([0, 1, 0x7FFFFFFF, 0xFFFFFFFF]))
                changed[at : at + 4] = length.to_bytes(4, "little")
    return draw(st.sampled_from([stream, *STREAMS])), bytes(changed)


@st.composite
def signed_nonsense(draw: st.DrawFn) -> Sent:
    """Fields that no honest party would send, under a signature that holds."""
    stream, raw = draw(st.sampled_from(list_real()))
    message = _decode(raw)
    if not isinstance(message, Signed):
        return stream, raw
    values = {name: getattr(message, name) for name in _list_names(message)}
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if type(value) is int and name not in ("validator", "step"):
            changes[name] = draw(st.sampled_from([0, 1, 2, 3, value + 1, 2**40, 2**63 - 1]))
        elif isinstance(value, bytes) and name not in ("client_key", "signature", "permit"):
            changes[name] = draw(st.sampled_from([value, bytes(len(value)), b"\xff" * len(value)]))
    chosen = draw(st.sampled_from([*changes, ""]))
    try:
        changed = type(message)(**values | ({chosen: changes[chosen]} if chosen else changes))
    except ValueError:
        return stream, raw
    key = _find_key(changed)
    return stream, (LAB.sign(changed, key) if key else changed).encode()


def _list_names(message: Any) -> list[str]:
    return [field.name for field in fields(message)]


def _decode(raw: bytes) -> object:
    kinds = (Vote, Proposal, Receipt, BeaconShare, BlockRequest, FinalBlock)
    return next((m for m in (k.decode(raw) for k in kinds) if m), None) or decode_transaction(raw)


def _find_key(message: object) -> Ed25519PrivateKey | None:
    """Of whoever the message says that it is from."""
    if isinstance(message, Vote | Proposal | Receipt):
        return LAB.validators[message.validator]
    if isinstance(message, BeaconShare) and message.validator == 0:  # f false ones hold nobody up
        return LAB.validators[0]
    names = [LAB.client(i) for i in range(3)]
    client = getattr(message, "client_key", None)
    return LAB.clients[names.index(client)] if client in names else None


def assert_goes_on(net: Net, attacks: list[Sent]) -> None:
    """The attacks are spread over the phases; all nodes come to the same end."""
    for i, (stream, raw) in enumerate(attacks):
        net.client.send(stream, raw)
        if i % 4 == 3:
            net.send_due()
            net.turn()
    net.run(lambda: all(n.chain.phase is Phase.DONE for n in net), limit_s=600.0)
    assert len({tuple(list_hashes(node)) for node in net}) == 1


@given(attacks=st.lists(st.tuples(streams, st.binary(max_size=300)), min_size=20, max_size=60))
@settings(FEW, max_examples=4)
def test_any_bytes(attacks: list[Sent]) -> None:
    with opened() as net:
        assert_goes_on(net, attacks)


@given(attacks=st.lists(mutated(), min_size=20, max_size=60))
@FEW
def test_mutations_of_real_messages(attacks: list[Sent]) -> None:
    with opened() as net:
        assert_goes_on(net, attacks)


@given(attacks=st.lists(signed_nonsense(), min_size=10, max_size=40))
@FEW
def test_signed_nonsense_of_one_validator_and_all_clients(attacks: list[Sent]) -> None:
    """At most f = 1 validators lie; clients may all."""
    with opened() as net:
        assert_goes_on(net, [a for a in attacks if not _is_of_honest(a[1])])


def _is_of_honest(raw: bytes) -> bool:
    message = _decode(raw)
    return isinstance(message, Vote | Proposal | Receipt) and message.validator != 3


@pytest.fixture(autouse=True, scope="module")
def _quick_disk() -> Iterator[None]:
    """Nothing here loses its power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.mark.parametrize("stream", STREAMS)
def test_bytes_of_every_kind_and_length(stream: str) -> None:
    """Each kind's first bytes with noise of each length behind; the largest that is read too."""
    noise = Random(5).randbytes(64)
    with opened(1) as net:
        for kind in range(32):
            for length in range(0, 64, 3):
                net.client.send(stream, bytes((kind, 1)) + noise[:length])
        net.client.send(stream, b"")
        net.client.send(stream, bytes(FinalBlock.MAX_BYTES))
        net.client.send(stream, bytes((Proposal.KIND, 1)) + b"\xff" * (FinalBlock.MAX_BYTES - 2))
        net.client.send(stream, bytes(FinalBlock.MAX_BYTES + 1))
        for _ in range(40):
            net.turn()
        node = net.nodes[0]
        assert node._transport.n_dropped == 1
        assert node._metrics.refused.labels(stream)._value.get() > 600
        assert node.chain.height == 0


def test_real_messages_on_the_wrong_stream() -> None:
    with opened() as net:
        for stream, raw in list_real():
            for other in {TRANSACTIONS, VOTES, FINAL} - {stream}:
                net.client.send(other, raw)
        net.turn()
        assert all(node.chain.height == 0 for node in net)
        net.run(lambda: all(n.chain.phase is Phase.DONE for n in net))
