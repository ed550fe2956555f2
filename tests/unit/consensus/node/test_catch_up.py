"""Who comes when peers have let blocks go: a node, a light client, the service's history."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from api.http.chain.history import ChainHistory
from consensus.disk.ledger import N_RECENT, Ledger
from consensus.disk.snapshots import Snapshot
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState
from consensus.node import catch_up
from consensus.node.catch_up import MAX_AWAITED, CatchUp
from consensus.node.stream import FINAL, MAX_MESSAGE_BYTES, Incoming
from consensus.node.watch import Watch
from consensus.wire.gossip_messages import MAX_STATE_BYTES, HeldState
from consensus.wire.messages import BlockRequest, FinalBlock
from tests.support.certificates import certify
from tests.support.learning import Lab, ProvenLab
from tests.support.nodes import Net, list_contradictions, list_hashes
from tests.support.stored import list_steps

SPAN = 4
LAB = Lab(changes={"n_rounds": 1 << 10})
GENESIS = LAB.genesis


@pytest.fixture(autouse=True)
def _short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catch_up, "SPAN", SPAN)
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@cache
def make_steps() -> list[tuple[ChainState, FinalBlock]]:
    return list(list_steps(LAB, 40))


def take(height: int) -> Snapshot:
    """The state after so many blocks, and the next block."""
    return Snapshot(*make_steps()[height])


def hold(height: int) -> HeldState:
    return HeldState(state=make_steps()[height][0].encode())


# -- what is taken ---------------------------------------------------------------------------------


def test_a_state_is_taken_once_its_block_is_known() -> None:
    one = CatchUp(GENESIS)
    assert one.take(hold(20), 0) is None
    one.expect(take(20).final, 0)
    assert one.take(hold(19), 0) is None
    assert one.take(HeldState(state=b"anything"), 0) is None
    found = one.take(hold(20), 0)
    assert found == take(20)
    assert one.take(hold(20), 0) is None, "it was taken"


def test_near_blocks_are_no_reason_to_jump() -> None:
    """Peers keep a span at least: who lacks fewer gets them, whatever is sent to it."""
    for height in range(16, 25):
        one = CatchUp(GENESIS)
        one.expect(take(20).final, height)
        jumps = one.take(hold(20), height) is not None
        assert jumps == (height + SPAN < 21)
    one = CatchUp(GENESIS)
    one.expect(take(20).final, 0)
    assert one.take(hold(20), 18) is None, "it has caught up meanwhile"


def test_others_become_final_meanwhile_and_a_bounded_number_is_kept() -> None:
    one = CatchUp(GENESIS)
    for height in range(20, 20 + MAX_AWAITED):
        one.expect(take(height).final, 0)
    assert one.take(hold(20), 0) == take(20)
    for height in range(20, 21 + MAX_AWAITED):
        one.expect(take(height).final, 0)
    assert len(one._awaited) == MAX_AWAITED
    assert one.take(hold(20), 0) is None


def test_a_state_fits_into_the_transport() -> None:
    assert HeldState.MAX_BYTES <= MAX_MESSAGE_BYTES
    most = HeldState(state=bytes(MAX_STATE_BYTES))
    assert HeldState.decode(most.encode()) == most
    with pytest.raises(ValueError, match="wrong length"):
        HeldState(state=bytes(MAX_STATE_BYTES + 1))


# -- nodes -----------------------------------------------------------------------------------------


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    net = Net(tmp_path, ProvenLab())
    net.ledger_options = {"span": SPAN, "keep_blocks": 1}
    yield net
    net.close()


@pytest.mark.parametrize("has_blocks", [False, True])
def test_a_node_goes_on_from_the_state_of_peers(net: Net, has_blocks: bool) -> None:
    """Both one that begins, and one that was away for long, and votes again then."""
    for index in range(4):
        net.start(index)
    net.run_to(2, clients=False)
    if has_blocks:
        net.drop(3)
    else:
        net.start(7, observes=True)
        net.drop(7)
        for path in (*net.home(7).glob("blocks*"), *net.home(7).glob("snapshot*")):
            path.unlink()
    net.run_to(22, clients=False)
    assert net.nodes[0].ledger.first > 10
    net.server.streams.clear()
    late = net.start(3) if has_blocks else net.start(7, observes=True)
    assert late.chain.height == (2 if has_blocks else 0)
    net.run(lambda: late.chain.height >= 22, clients=False)
    assert late.ledger.first > 10
    spoken = len(net.list_spoken(3))
    net.drop(2)
    net.run_to(26, clients=False)
    assert len(net.list_spoken(3)) > spoken
    heights = range(late.ledger.first, 27)
    assert [late.ledger.get(h) for h in heights] == [net.nodes[0].ledger.get(h) for h in heights]
    assert list_contradictions(net.list_spoken(3)) == []


def test_an_archive_stays_where_it_is(net: Net) -> None:
    net.start_all()
    net.run_to(2, clients=False)
    net.drop(3)
    net.run_to(22, clients=False)
    net.server.streams.clear()
    net.ledger_options = {"span": SPAN, "keep_blocks": None}
    node = net.start(3)
    for _ in range(100):
        net.turn()
    assert node.chain.height == 2
    assert "stays where it is" in [entry["event"] for entry in net.logs[3].entries]
    blocks = list_hashes(node)
    net.drop(3)
    again = net.start(3)
    assert list_hashes(again) == blocks


def test_a_damaged_old_block_stops_nobody(net: Net) -> None:
    """It was read whole at start; others have it."""
    net.ledger_options = {"span": 64, "keep_blocks": None}
    net.start_all()
    net.run_to(N_RECENT + 6, clients=False)
    (sealed,) = net.home(0).glob("blocks-*")
    raw = sealed.read_bytes()
    sealed.write_bytes(raw[:40] + bytes((raw[40] ^ 1,)) + raw[41:])
    net.now += 5.0
    net.send(BlockRequest(height=1), stream="votes")
    net.nodes[0].turn()
    assert "cannot answer" in [entry["event"] for entry in net.logs[0].entries]
    net.run_to(N_RECENT + 8, clients=False)


def test_a_state_is_sent_now_and_then(net: Net) -> None:
    """However often anybody asks."""
    net.start_all()
    net.run_to(22, clients=False)
    before = len(net.tried)
    for _ in range(50):
        net.send(BlockRequest(height=1), stream="votes")
        net.nodes[0].turn()
    sent = [raw for i, _, raw in net.tried[before:] if i == 0 and HeldState.decode(raw)]
    assert len(sent) == 1
    net.now += 11.0
    net.send(BlockRequest(height=1), stream="votes")
    net.nodes[0].turn()
    sent = [raw for i, _, raw in net.tried[before:] if i == 0 and HeldState.decode(raw)]
    assert len(sent) == 2


# -- light clients ---------------------------------------------------------------------------------


class Said:
    """As much of a transport as a light client needs."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []

    def read(self, wait_ms: int) -> list[Incoming]:
        said, self.waiting = self.waiting, []
        return [Incoming(FINAL, raw) for raw in said]

    def send(self, stream: str, raw: bytes) -> None:
        pass

    def forget(self, raw: bytes) -> None:
        pass

    def mind_rewrites(self) -> bool:
        return False

    def listen(self, stream: str) -> None:
        pass

    def ignore(self, stream: str) -> None:
        pass


def test_a_light_client_goes_on_from_a_state() -> None:
    said: Any = Said()
    watch = Watch(GENESIS, said, clock=lambda: 0.0)
    said.waiting = [hold(20).encode(), take(20).final.encode(), hold(20).encode()]
    (found,) = watch.poll(1)
    assert found == (take(20).final, make_steps()[21][0])
    assert watch.start == make_steps()[20][0]
    said.waiting = [make_steps()[21][1].encode()]
    assert [final for final, _ in watch.poll(1)] == [make_steps()[21][1]]
    assert watch.start.height == 20


def test_a_light_client_does_not_go_on_from_what_no_quorum_signed() -> None:
    said: Any = Said()
    watch = Watch(GENESIS, said, clock=lambda: 0.0)
    state = replace(make_steps()[20][0], ranking=(LAB.client(2),))
    block = LAB.block(state)
    few = certify(LAB, block, signers=(0, 1))
    said.waiting = [few.encode(), HeldState(state=state.encode()).encode()]
    assert watch.poll(1) == []
    assert watch.state == start(GENESIS)


def test_the_history_goes_on_from_a_state() -> None:
    """It knows who is in, and shows what comes from then on."""
    history = ChainHistory(GENESIS)
    for before, final in make_steps()[:3]:
        history.append(final, apply(before, final.block))
    history.restart(make_steps()[20][0])
    assert (history.height, history.first, history.get_block(3)) == (20, 21, None)
    for before, final in make_steps()[20:31]:
        history.append(final, apply(before, final.block))
    assert (history.height, history.first) == (31, 21)
    assert history.list_blocks(limit=99, before=None).blocks[-1].height == 21
    assert history.list_blocks(limit=99, before=None).next is None
    clients = history.list_clients().clients
    assert {c.client_key for c in clients} == {LAB.client(i).hex() for i in range(3)}
    assert [c.registered_at for c in clients] == [1, 1, 1]
    later = ChainHistory(GENESIS)
    later.restart(make_steps()[20][0])
    assert [c.registered_at for c in later.list_clients().clients] == [None] * 3


@pytest.mark.parametrize("keep_blocks", [1, 7, 100])
def test_the_history_is_bounded(keep_blocks: int) -> None:
    history = ChainHistory(GENESIS, keep_blocks=keep_blocks, keep_rounds=2)
    for before, final in make_steps():
        history.append(final, apply(before, final.block))
        height = final.block.height
        assert history.height == height
        assert history.first == max(1, height + 1 - keep_blocks)
        assert history.get_block(history.first - 1) is None
        assert history.get_block(height + 1) is None
        shown = [history.get_block(h) for h in range(history.first, height + 1)]
        assert [b.height for b in shown if b] == list(range(history.first, height + 1))
    rounds = history.list_clients().clients[0].rounds
    assert [r.learning_round for r in rounds] == [
        make_steps()[-1][0].learning_round - 1, make_steps()[-1][0].learning_round
    ]  # fmt: skip
    page = history.list_blocks(limit=3, before=None)
    seen = [b.height for b in page.blocks]
    while page.next is not None:
        page = history.list_blocks(limit=3, before=page.next)
        seen += [b.height for b in page.blocks]
    assert seen == list(range(40, history.first - 1, -1))


def test_a_jump_empties_the_votes(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, GENESIS, span=SPAN)
    for _, final in make_steps()[:3]:
        ledger.append(final)
    ledger.jump(take(20))
    assert (ledger.first, ledger.height, ledger.state) == (21, 21, make_steps()[21][0])
    assert ledger.list_recent() == [take(20).final]
    ledger.close()
