"""What nodes say again: to whom lacks it, ever more rarely, and nothing when the chain is done."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.steps import STEPS
from consensus.node.gossip import Gossip, Held
from consensus.node.pool import PER_CLIENT
from consensus.node.repetition import FIRST_PAUSE_S, LONGEST_PAUSE_S, Repetition
from consensus.node.stream import STREAMS, TRANSACTIONS, VOTES
from consensus.wire.gossip_messages import MASK_BYTES, SHORT_BYTES, Holdings
from consensus.wire.messages import BlockRequest, Proposal, Receipt, Vote
from consensus.wire.transactions import (
    Commit,
    Contribution,
    Proof,
    Register,
    RoundStep,
    SentTransaction,
    Transaction,
)
from tests.support.learning import Lab, ProvenLab
from tests.support.nodes import Net

LAB = Lab()


# -- pauses ----------------------------------------------------------------------------------------


def test_pauses_double_up_to_a_bound_and_begin_again() -> None:
    again, now, times = Repetition(5.0), 0.0, []
    while now < 120.0:
        if again.take_turn(now):
            times.append(now)
        now += 0.5
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert times[0] == 5.0
    assert pauses[:5] == [FIRST_PAUSE_S, 2.0, 4.0, 8.0, 16.0]
    assert set(pauses[4:]) == {LONGEST_PAUSE_S}
    again.begin_again(200.0)
    assert [t for t in range(190, 208) if again.take_turn(float(t))] == [200, 201, 203, 207]


# -- differences -----------------------------------------------------------------------------------


def held(*txs: SentTransaction, receipts: dict[bytes, set[int]] | None = None) -> Held:
    """Receipts of these validators, by digest."""
    made = {
        digest: {
            v: Receipt(learning_round=0, transaction_digest=digest, validator=v) for v in signers
        }
        for digest, signers in (receipts or {}).items()
    }
    return Held({tx.digest: tx for tx in txs}, made)


def ask(theirs: Held, mine: Held, *, me: int = 1, now: float = 0.0) -> tuple[set[bytes], set[int]]:
    """What node `me` sends when node 0 announces, all who are asked in turn."""
    asker, answerer = Gossip(0, 4), Gossip(me, 4)
    for _ in range(3):
        txs, receipts = answerer.list_lacking(asker.announce(theirs), mine, now)
        if txs or receipts:
            return {tx.digest for tx in txs}, {receipt.validator for receipt in receipts}
    return set(), set()


def test_what_a_peer_lacks_is_sent_and_nothing_else() -> None:
    a, b, c = (LAB.register(i) for i in range(3))
    assert ask(held(a), held(a, b, c)) == ({b.digest, c.digest}, set())
    assert ask(held(a, b, c), held(a)) == (set(), set())
    assert ask(held(), held()) == (set(), set())
    proof = b"\x01" * 32
    mine = held(receipts={proof: {0, 1, 3}})
    assert ask(held(receipts={proof: {1, 2}}), mine) == (set(), {0, 3})
    assert ask(held(), mine) == (set(), {0, 1, 3}), "it has never heard of the proof"
    assert ask(mine, mine) == (set(), set())


def test_each_announcement_is_answered_by_one_peer_and_by_all_in_turn() -> None:
    asker, peers = Gossip(2, 4), {i: Gossip(i, 4) for i in range(4)}
    mine = held(LAB.register(0))
    asked = []
    for turn in range(6):
        holdings = asker.announce(held())
        now = turn * 100.0
        asked.append([i for i, p in peers.items() if p.list_lacking(holdings, mine, now)[0]])
    assert all(len(answered) == 1 for answered in asked)
    assert Counter(i for (i,) in asked) == {0: 2, 1: 2, 3: 2}
    assert Gossip(0, 1).list_lacking(asker.announce(held()), mine, 0.0) == ([], [])


def test_who_says_to_lack_everything_makes_nobody_talk_for_long() -> None:
    """A validator that lies, or an old announcement that was recorded, all day."""
    asker, answerer = Gossip(0, 4), Gossip(1, 4)
    mine = held(LAB.register(0), receipts={b"\x01" * 32: {1}})
    n_txs = n_receipts = 0
    for tick in range(10 * 160):
        txs, receipts = answerer.list_lacking(asker.announce(held()), mine, tick / 10)
        n_txs, n_receipts = n_txs + len(txs), n_receipts + len(receipts)
    assert (n_txs, n_receipts) == (13, 13), "after 0, 1, 3, 7, 15 s, then about each 16 s"
    answerer.list_lacking(asker.announce(held()), held(), 200.0)
    answerer.list_lacking(asker.announce(held()), held(), 200.0)
    answerer.list_lacking(asker.announce(held()), held(), 200.0)
    assert answerer._again == {}, "what waits no more is forgotten"


def test_what_has_just_come_is_not_sent_again() -> None:
    """Announcements and transactions cross on their way."""
    asker, answerer = Gossip(0, 4), Gossip(1, 4)
    tx, mine = LAB.register(0), held(LAB.register(0), receipts={LAB.register(0).digest: {1}})
    answerer.note_transaction(tx.digest, 5.0)
    (receipt,) = mine.receipts[tx.digest].values()
    answerer.note_receipt(receipt, 5.0)
    answerer.note_receipt(replace(receipt, transaction_digest=bytes(32)), 5.0)
    assert len(answerer._again) == 2, "nothing is noted of what does not wait here"
    at = [5.0, 5.5, 6.0, 6.5]
    asked = [asker.announce(held()) for _ in range(4)]
    answers = [[answerer.list_lacking(h, mine, now) for h in asked[:3]] for now in at]
    assert [any(txs for txs, _ in found) for found in answers] == [False, False, True, False]
    assert [any(r for _, r in found) for found in answers] == [False, False, True, False]


def test_announcements_have_one_encoding_and_bounds() -> None:
    holdings = LAB.sign(
        Gossip(3, 4).announce(held(LAB.register(0), receipts={b"\x02" * 32: {0, 3}})),
        LAB.validators[3],
    )
    assert Holdings.decode(holdings.encode()) == holdings
    assert len(holdings.receipts) == SHORT_BYTES + MASK_BYTES
    for change in ({"transactions": b"1234567"}, {"receipts": bytes(SHORT_BYTES)}):
        with pytest.raises(ValueError, match="whole number"):
            replace(holdings, **change)
    with pytest.raises(ValueError, match=r"transactions has a wrong length: not 0 to \d+ bytes"):
        replace(holdings, transactions=bytes(SHORT_BYTES << 14))


# -- growth ----------------------------------------------------------------------------------------


class Trickle(Net):
    """The clients come one after the other, each in a block of its own, and send early what they
    can: it waits in the pools for many blocks."""

    def send_due(self) -> None:
        chain = self.chain
        place = (chain.phase, chain.height)
        is_in_turn = chain.learning_round == 0 and chain.phase in (Phase.REGISTER, Phase.COMMIT)
        if place in self._told or not is_in_turn:
            super().send_due()
            return
        self._told.add(place)
        n_in = len(chain.clients if chain.phase is Phase.REGISTER else chain.commits)
        if n_in < self.lab.n_clients:
            self.send(*self.list_one(n_in, chain.phase))

    def list_one(self, i: int, phase: Phase) -> list[Transaction]:
        if phase is Phase.REGISTER:
            return [self.lab.register(i)]
        return [self.lab.commit(i), self.lab.commit(i, 1)]

    def list_due(self, chain: ChainState) -> list[Transaction]:
        is_due = chain.learning_round == 0 and chain.phase in (Phase.PROVE, *STEPS)
        return super().list_due(chain) if is_due else []


def lab_of(n_clients: int) -> ProvenLab:
    """Phases last until all clients are in."""
    blocks = dict.fromkeys(("register_ms", "commit_ms"), 10**6)
    return ProvenLab(n_clients=n_clients, changes={"n_rounds": 2, **blocks})


def count_entries(net: Net, stream: str) -> Counter[int]:
    """By kind."""
    return Counter(raw[0] for raw in net.server.list_raw(net.lab.genesis, stream))


def run_trickle(folder: Path, n_clients: int) -> tuple[Counter[int], Counter[int], int]:
    net = Trickle(folder, lab_of(n_clients))
    try:
        net.start_all()
        over = (Phase.BEACON, Phase.PROVE)
        net.run(
            lambda: all(n.chain.learning_round == 1 and n.chain.phase in over for n in net),
            limit_s=600.0,
        )
        assert len(net.chain.commits) == n_clients
        return count_entries(net, TRANSACTIONS), count_entries(net, VOTES), net.chain.height
    finally:
        net.close()


def test_entries_grow_with_the_transactions(tmp_path: Path) -> None:
    """Each transaction once and each receipt once, however many blocks they wait; per block what
    its votes are. It was every transaction by every node at every block."""
    for n in (3, 5):
        transactions, said, height = run_trickle(tmp_path / str(n), n)
        sent = {Register: n, Commit: 2 * n, Proof: n, Contribution: 2 * n}
        assert transactions == {kind.KIND: count for kind, count in sent.items()}
        assert said[Receipt.KIND] == 4 * 6 * n, "of each by every validator"
        assert said[Vote.KIND] <= 8 * height * 2
        assert said[Proposal.KIND] <= height * 2
        assert said[Holdings.KIND] <= 4 * height
        assert said.total() <= 30 * height + 24 * n


# -- what waits for a time that does not come ------------------------------------------------------


def pin(lab: Lab) -> list[SentTransaction]:
    """As many of one client as may wait, of different bytes, for a phase to come."""
    return [
        lab.sign(
            Contribution(
                client_key=lab.client(0),
                learning_round=0,
                step=RoundStep.MASK,
                payload=bytes((t,)) * 32,
            ),
            lab.clients[0],
        )
        for t in range(PER_CLIENT)
    ]


def register_all(net: Net) -> None:
    """Up to the phase of commits, with none sent."""
    net.send(*net.list_due(net.chain))
    net.run(lambda: all(node.chain.phase is Phase.COMMIT for node in net), clients=False)


def test_what_one_client_pins_is_not_said_again(tmp_path: Path) -> None:
    """66 KB became 10.8 MB in 43 blocks."""
    net = Net(tmp_path, ProvenLab(changes={"n_rounds": 1, "commit_ms": 10**6}))
    try:
        net.start_all()
        register_all(net)
        net.send(*pin(net.lab))
        net.run_to(net.chain.height + 43, clients=False, limit_s=200.0)
        assert all(len(node._desk.list_pending()) == PER_CLIENT for node in net)
        assert count_entries(net, TRANSACTIONS)[Contribution.KIND] == PER_CLIENT
        announced = [
            raw for raw in net.server.list_raw(net.lab.genesis, VOTES) if raw[0] == Holdings.KIND
        ]
        assert sum(map(len, announced)) < 4 * 43 * 300
    finally:
        net.close()


def test_a_single_validator_tells_nobody_what_it_holds(tmp_path: Path) -> None:
    """It kept what it had heard for whoever might lack it, for ever."""
    net = Net(tmp_path, ProvenLab(n_validators=1))
    try:
        node = net.start(0)
        net.run_to(3)
        assert set(net.chain.clients) == {net.lab.client(i) for i in range(3)}
        assert node._voice._gossip is None
        kinds = {raw[0] for _, name, raw in net.tried if name == VOTES}
        assert Vote.KIND in kinds
        assert Holdings.KIND not in kinds
    finally:
        net.close()


def test_nobody_speaks_when_the_chain_is_done(tmp_path: Path) -> None:
    net = Net(tmp_path, ProvenLab(changes={"n_rounds": 1}))
    try:
        net.start_all()
        net.run(lambda: all(node.chain.phase is Phase.DONE for node in net))
        net.send(*pin(net.lab), net.lab.commit(0, 1))
        net.turn()
        before = len(net.tried)
        for _ in range(200):
            net.now += 1.0
            net.turn()
        assert net.tried[before:] == []
        net.send(BlockRequest(height=1), stream=VOTES)
        net.turn()
        assert len(net.tried) - before == 4 * net.chain.height, "who asks is answered"
    finally:
        net.close()


def test_nodes_that_do_not_get_on_repeat_ever_more_rarely(tmp_path: Path) -> None:
    """Two of four: no quorum. A third one finds what it needs soon after it comes."""
    net = Net(tmp_path, ProvenLab(changes={"n_rounds": 1}))
    try:
        net.start(0)
        net.start(1)
        while net.now < 400.0:
            net.now += 0.5
            net.turn()
        said = sum(len(net.server.list_raw(net.lab.genesis, name)) for name in STREAMS)
        assert said < 2 * (400 / LONGEST_PAUSE_S + 5) * 6
        net.server.streams.clear()
        net.start(2)
        net.run_to(1, clients=False, limit_s=2 * LONGEST_PAUSE_S)
    finally:
        net.close()


# -- who lacks something ---------------------------------------------------------------------------


def test_a_node_that_lost_its_pool_is_sent_what_waits(tmp_path: Path) -> None:
    """It stopped, and the streams forgot. One peer answers, not all of them."""
    net = Net(tmp_path, ProvenLab(changes={"n_rounds": 1, "commit_ms": 10**6}))
    try:
        net.start_all()
        register_all(net)
        pinned = pin(net.lab)
        net.send(*pinned, net.lab.contribute(1, Phase.MASK))
        net.run_to(net.chain.height + 1, clients=False)
        net.drop(3)
        net.server.streams.clear()
        fresh = net.start(3)
        net.run(
            lambda: len(fresh._desk.list_pending()) == PER_CLIENT + 1, clients=False, limit_s=30.0
        )
        assert count_entries(net, TRANSACTIONS)[Contribution.KIND] == PER_CLIENT + 1
    finally:
        net.close()


def test_a_lost_receipt_is_sent_to_who_lacks_it(tmp_path: Path) -> None:
    """Its signer says it once; peers who have it pass it on."""
    is_lossy = True

    def may_read(reader: int, stream: str, raw: bytes) -> bool:
        return not (is_lossy and reader == 3 and raw[:1] == bytes((Receipt.KIND,)))

    net = Net(tmp_path, ProvenLab(changes={"n_rounds": 1, "prove_ms": 10**6}), may_read=may_read)
    try:
        net.start_all()
        net.run(lambda: net.chain.phase is Phase.PROVE)
        # No block takes the proof meanwhile: the nodes hold it, and nobody may propose.
        for node in net:
            node._desk.draft = lambda *_, **__: None  # type: ignore[method-assign]
        (proof, *_) = net.list_due(net.chain)
        net.send(proof)
        net.run(
            lambda: all(
                len(n._state.book.receipts.get(proof.digest, {})) == 4
                for i, n in net.nodes.items()
                if i != 3
            ),
            clients=False,
        )
        lacking = net.nodes[3]
        assert len(lacking._state.book.receipts.get(proof.digest, {})) < 4
        is_lossy = False
        net.run(
            lambda: len(lacking._state.book.receipts[proof.digest]) == 4,
            clients=False,
            limit_s=4 * LONGEST_PAUSE_S,
        )
    finally:
        net.close()
