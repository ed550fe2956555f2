"""Nodes make certificates of their final blocks: never earlier, whatever is lost or false."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from consensus.disk.certificates import CERTIFICATE, load_certificate, save_certificate
from consensus.disk.identity import Identity
from consensus.disk.ledger import Ledger
from consensus.finality.certificate import Statement, find_fault
from consensus.learning.chain_state import Phase
from consensus.node.finality import Finality
from consensus.node.metrics import NodeMetrics
from consensus.node.repetition import FIRST_PAUSE_S
from consensus.node.stream import VOTES
from consensus.wire.finality import FinalityCertificate, FinalityShare
from tests.support.finality import make_certificate, make_share
from tests.support.learning import Lab, SumLab, deal_beacon
from tests.support.nodes import Net

LAB = SumLab(n_bound=2)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    net = Net(tmp_path, LAB)
    yield net
    net.close()


def load(net: Net, index: int) -> FinalityCertificate | None:
    return load_certificate(net.home(index), net.lab.genesis)


def is_certified(net: Net, height: int) -> bool:
    found = [load(net, index) for index in net.nodes]
    return all(c is not None and c.height >= height for c in found)


def list_shares(net: Net, index: int) -> list[FinalityShare]:
    """Those that a node tried to send of its own."""
    raws = [raw for sender, stream, raw in net.tried if (sender, stream) == (index, VOTES)]
    return [share for raw in raws if (share := FinalityShare.decode(raw)) is not None]


def test_every_node_certifies_and_none_before_its_block_is_final(net: Net) -> None:
    early = []

    def may_send(index: int, stream: str, raw: bytes) -> bool:
        share = FinalityShare.decode(raw)
        if share is not None and share.height > net.nodes[index].ledger.height:
            early.append((index, share.height))
        return True

    net.may_send = may_send
    net.start_all().run(lambda: is_certified(net, 2), clients=False)
    assert early == []
    for index, node in net.nodes.items():
        assert {share.validator for share in list_shares(net, index)} == {index}
        found = load(net, index)
        assert found is not None
        final = node.ledger.get(found.height)
        assert final is not None
        assert found.block_hash == final.block.hash


def test_lost_shares_are_said_again_to_who_asks(tmp_path: Path) -> None:
    """In a chain that waits; in a busy one the next block is certified."""
    net, lost = Net(tmp_path, SumLab(n_bound=2, longest_empty_ms=20_000)), set()

    def may_send(index: int, stream: str, raw: bytes) -> bool:
        share = FinalityShare.decode(raw)
        is_first = share is not None and (index, share.height) not in lost
        if share is not None:
            lost.add((index, share.height))
        return not is_first

    net.may_send = may_send
    try:
        net.start_all().run(lambda: is_certified(net, 1), clients=False)
    finally:
        net.close()


def test_a_false_validator_prevents_nothing(net: Net) -> None:
    def lie(index: int, stream: str, raw: bytes) -> bool:
        share = FinalityShare.decode(raw)
        if share is None or index != 0:
            return True
        false = LAB.sign(replace(share, share=bytes(31) + b"\x40"), LAB.validators[0])
        net.send(false, stream=VOTES)
        return False

    net.may_send = lie
    net.start_all().run(lambda: all(load(net, i) is not None for i in (1, 2, 3)), clients=False)
    told = [entry for i in (1, 2, 3) for entry in net.logs[i].entries]
    liars = {e["validator"] for e in told if e["event"] == "share of finality is false"}
    assert liars <= {0}


def test_observers_certify_and_say_nothing(net: Net) -> None:
    net.start_all()
    net.start(9, observes=True)
    net.run(lambda: is_certified(net, 1), clients=False)
    assert list_shares(net, 9) == []


def test_after_a_restart_the_same_share_is_said(net: Net) -> None:
    net.start_all().run(lambda: is_certified(net, 1), clients=False)
    for index in (1, 2, 3):
        net.drop(index)
    before = {share.height: share for share in list_shares(net, 0)}
    net.drop(0)
    net.tried.clear()
    node = net.start(0)
    net.run(lambda: bool(list_shares(net, 0)), clients=False)
    (again,) = list_shares(net, 0)
    assert again.height == node.ledger.height
    assert before.get(again.height, again) == again


def test_f_shares_certify_nothing(net: Net) -> None:
    net.may_send = lambda index, _, raw: index == 0 or FinalityShare.decode(raw) is None
    net.start_all().run_to(2, clients=False)
    assert load(net, 0) is None
    assert all(find_fault(c, LAB.genesis) is None for i in (1, 2, 3) if (c := load(net, i)))


# -- one node by itself ----------------------------------------------------------------------------


def make_finality(
    home: Path, said: list[FinalityShare], lab: Lab = LAB, metrics: NodeMetrics | None = None
) -> Finality:
    ledger = Ledger(home, lab.genesis)
    ledger.close()
    key, secret = lab.validators[1], deal_beacon(4).secrets[1]
    return Finality(
        lab.genesis,
        Identity(index=1, key=key, beacon_secret=secret),
        ledger=ledger,
        say=said.append,
        metrics=metrics or NodeMetrics(),
        log=structlog.wrap_logger(None, processors=[]),
    )


def test_a_share_is_said_again_rarely(tmp_path: Path) -> None:
    said: list[FinalityShare] = []
    finality, state = make_finality(tmp_path, said), LAB.reach(Phase.COMMIT)
    finality.turn(state, 0.0)
    share = make_share(LAB, 1, state)
    assert said == [share]
    for height in (state.height, state.height + 2):
        finality.answer(height, 100.0)  # who lacks blocks lacks more than shares
    finality.answer(state.height + 1, FIRST_PAUSE_S / 2)
    assert said == [share]
    for _ in range(5):
        finality.answer(state.height + 1, FIRST_PAUSE_S)
    assert said == [share, share]


def test_the_last_block_of_all_is_certified(tmp_path: Path) -> None:
    """The chain is done: the node knows that it lacks something, until it does not."""
    lab = Lab(n_bound=2)
    finality, done = make_finality(tmp_path, [], lab), lab.reach(Phase.DONE, learning_round=1)
    finality.turn(done, 0.0)
    assert finality.lacks(done)
    assert finality.add(make_share(lab, 3, done)) is None
    finality.turn(done, 0.0)
    assert not finality.lacks(done)
    assert load_certificate(tmp_path, lab.genesis) == make_certificate(lab, done)


def test_the_certified_height_is_a_metric(tmp_path: Path) -> None:
    """From what lies in the folder on, also after a restart."""
    metrics, state = NodeMetrics(), LAB.reach(Phase.COMMIT)

    def read(metrics: NodeMetrics) -> float | None:
        return metrics.registry.get_sample_value("zkpot_node_certified_height")

    finality = make_finality(tmp_path, [], metrics=metrics)
    finality.turn(state, 0.0)
    assert read(metrics) == 0
    finality.add(make_share(LAB, 3, state))
    finality.turn(state, 0.0)
    assert read(metrics) == state.height
    make_finality(tmp_path, [], metrics=(again := NodeMetrics()))
    assert read(again) == state.height


def test_what_lies_in_a_folder_is_checked(tmp_path: Path) -> None:
    state = LAB.reach(Phase.COMMIT)
    assert load_certificate(tmp_path, LAB.genesis) is None
    save_certificate(tmp_path, make_certificate(LAB, state))
    assert load_certificate(tmp_path, LAB.genesis) == make_certificate(LAB, state)
    assert load_certificate(tmp_path, Lab(n_clients=4).genesis) is None
    for other in (Statement.of(state).certify(bytes(32)).encode(), b"", bytes(10_000)):
        (tmp_path / CERTIFICATE).write_bytes(other)
        assert load_certificate(tmp_path, LAB.genesis) is None
