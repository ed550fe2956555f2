"""Nodes of one chain together: rounds, those that were away, clients that lie, disks that fail."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from api.settings import Settings
from api.valkey.embedded import connect
from consensus.disk.block_files import read_finals
from consensus.disk.identity import sign
from consensus.disk.ledger import VOTES as VOTES_LOG
from consensus.disk.ledger import Ledger
from consensus.disk.place import PLACE_FILE, give_up
from consensus.errors import IdentityError, LedgerError
from consensus.learning.chain_state import ChainState, Phase
from consensus.node.follower import Follower
from consensus.node.stream import FINAL, VOTES
from consensus.wire.messages import (
    NIL,
    BeaconShare,
    BlockRequest,
    FinalBlock,
    QuorumCertificate,
    Step,
    Vote,
)
from consensus.wire.transactions import Proof, Transaction
from prover.wire.envelope import Envelope
from prover.wire.statement import Statement
from tests.support.learning import ProvenLab
from tests.support.nodes import Net, list_contradictions, list_hashes
from tests.support.queue_server import running_server

NetMaker = Callable[..., Net]


@cache
def lab_of(n_rounds: int, n_clients: int = 3) -> ProvenLab:
    return ProvenLab(n_clients=n_clients, changes={"n_rounds": n_rounds})


@pytest.fixture
def make_net(tmp_path: Path) -> Iterator[NetMaker]:
    nets: list[Net] = []

    def make(
        kind: type[Net] = Net, *, n_rounds: int = 1, n_clients: int = 3, **arguments: object
    ) -> Net:
        folder = tmp_path / f"net-{len(nets)}"
        lab = lab_of(n_rounds, n_clients)
        nets.append(kind(folder, lab, **arguments))  # type: ignore[arg-type]
        nets[-1].ledger_options = {"keep_blocks": None}  # payloads, for `assert_one_chain`
        return nets[-1]

    yield make
    for net in nets:
        net.close()


def assert_one_chain(net: Net) -> None:
    """All that run have the same blocks, which a light client that trusts nobody takes."""
    chains = {tuple(list_hashes(node)) for node in net}
    assert len(chains) == 1
    follower = Follower(
        net.lab.genesis, lab_of(net.lab.task.n_rounds, net.lab.n_clients).verifier()
    )
    for final in next(iter(net)).ledger.list_finals():
        assert follower.take(final) is None
    for index in net.nodes:
        assert list_contradictions(net.list_spoken(index)) == []


def is_done(net: Net) -> Callable[[], bool]:
    return lambda: all(node.chain.phase is Phase.DONE for node in net)


# -- learning rounds -------------------------------------------------------------------------------


def test_two_rounds_over_a_real_server(make_net: NetMaker, tmp_path: Path) -> None:
    with running_server(tmp_path), connect(Settings(data_dir=tmp_path)) as redis:
        net = make_net(n_rounds=2, connect=lambda: redis).start_all()
        net.run(is_done(net))
    assert_one_chain(net)
    chain = net.chain
    assert chain.height == 13
    assert chain.leader == net.lab.client(0), "its model is the labels' own"
    assert set(chain.unmasked) == {net.lab.client(i) for i in range(3)}
    metrics = net.nodes[2]._metrics
    values = {
        sample.name: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.labels in ({}, {"kind": "proof", "verdict": "valid"}, {"peer": "0"})
    }
    assert values["zkpot_node_height"] == 13
    assert values["zkpot_node_verdicts_total"] == 6
    assert values["zkpot_node_peer_height"] == 13
    assert values["zkpot_node_leader_changes_total"] == 1
    assert values["zkpot_node_pending"] == 0


def test_the_chain_goes_on_without_f_nodes(make_net: NetMaker) -> None:
    net = make_net()
    for index in (0, 1, 3):
        net.start(index)
    net.run(is_done(net))
    assert_one_chain(net)
    assert net.chain.proofs or net.chain.global_model != bytes(32)


def test_without_a_quorum_nothing_is_final(make_net: NetMaker) -> None:
    net = make_net()
    for index in (0, 1):
        net.start(index)
    with pytest.raises(AssertionError):
        net.run_to(1, limit_s=20.0)
    assert net.chain.height == 0
    net.start(2)
    net.run(is_done(net))
    assert_one_chain(net)


@pytest.mark.parametrize("keeps_folder", [True, False])
def test_a_node_that_was_away_catches_up(make_net: NetMaker, keeps_folder: bool) -> None:
    """Also when the streams forgot: peers send it the final blocks that it asks for."""
    net = make_net().start_all()
    net.run_to(2)
    net.drop(3)
    net.run_to(4)
    net.server.streams.clear()
    if not keeps_folder:
        net.home(3).rename(net.folder / "gone")
        net.home(3).mkdir()
        with pytest.raises(IdentityError, match="cannot be read"):
            net.start(3)
        genesis = net.lab.genesis
        give_up(net.home(3), genesis.digest, genesis.validators[3].key, 5)
    node = net.start(3)
    assert node.chain.height == (2 if keeps_folder else 0)
    net.run(is_done(net))
    assert_one_chain(net)


def test_a_node_that_missed_the_last_block_gets_it(make_net: NetMaker) -> None:
    """The chain is done: nobody votes any more, and still they answer."""
    net = make_net().start_all()
    net.run_to(4)
    net.drop(1)
    net.run(is_done(net))
    net.server.streams.clear()
    net.start(1)
    net.run(is_done(net))
    assert_one_chain(net)


def test_an_observer_follows_and_says_nothing_of_its_own(make_net: NetMaker) -> None:
    net = make_net().start_all()
    observer = net.start(7, observes=True)
    net.run(is_done(net))
    assert_one_chain(net)
    spoken = {raw[0] for index, stream, raw in net.tried if (index, stream) == (7, VOTES)}
    assert spoken == {BlockRequest.KIND}
    assert observer.ledger.own_votes == ()


def test_an_unreachable_server_is_waited_for(
    make_net: NetMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = make_net().start_all()
    net.run_to(2)
    net.server.is_down = True
    for _ in range(100):
        net.turn()
    stops = iter([False, False, True])
    monkeypatch.setattr(time, "sleep", lambda _: None)
    net.nodes[0].run(lambda: next(stops))
    assert "transport unreachable" in [entry["event"] for entry in net.logs[0].entries]
    net.server.is_down = False
    net.server.streams.clear()
    net.run(is_done(net))
    assert_one_chain(net)


@pytest.mark.parametrize("after", range(1, 6))
def test_streams_that_are_emptied_are_filled_again(make_net: NetMaker, after: int) -> None:
    """What clients and validators sent before is said again by the nodes that have it."""
    net = make_net().start_all()
    net.run_to(after)
    net.send_due()
    for node in net:
        for incoming in node._transport.read(1):
            node._receive(incoming)
    net.server.streams.clear()
    net.run(is_done(net))
    assert_one_chain(net)
    assert len(net.chain.unmasked) == 3


# -- clients that lie ------------------------------------------------------------------------------


class FalseClients(Net):
    """Client 2 claims a sample more than it proved; client 1 sends a proof of nothing."""

    def list_due(self, chain: ChainState) -> list[Transaction]:
        due = super().list_due(chain)
        if chain.phase is not Phase.PROVE:
            return due
        forgery, lie = (tx for tx in due[1:3] if isinstance(tx, Proof))
        envelope = Envelope.decode(lie.envelope)
        assert envelope is not None
        more = envelope.statement.claimed_correct + 1
        lied = replace(envelope, statement=replace(envelope.statement, claimed_correct=more))
        empty = replace(envelope, statement=self._statement_of(forgery), proof=bytes(224))
        t = chain.learning_round
        return [
            self.lab.wrap(2, lied, t, lie.deal),
            self.lab.wrap(1, empty, t, forgery.deal),
            due[0],
            *due[3:],
        ]

    def _statement_of(self, tx: Proof) -> Statement:
        envelope = Envelope.decode(tx.envelope)
        assert envelope is not None
        return envelope.statement


def test_a_liar_and_a_forger_never_count(make_net: NetMaker) -> None:
    net = make_net(FalseClients, n_rounds=2, n_clients=5).start_all()
    net.run(is_done(net))
    assert_one_chain(net)
    honest, false = ([net.lab.client(i) for i in chosen] for chosen in ((0, 3, 4), (1, 2)))
    finals = net.nodes[0].ledger.list_finals()
    proofs = [tx for f in finals for tx in f.block.transactions if isinstance(tx, Proof)]
    assert sorted(tx.client_key for tx in proofs) == sorted(honest * 2)
    assert set(net.chain.ranking) == set(net.chain.unmasked) == set(honest)
    entered = [e.client_key for f in finals for a in f.block.aggregate for e in a.entries]
    assert entered == sorted(honest) * 2
    for log in net.logs.values():
        refused = [entry for entry in log.entries if entry["event"] == "transaction refused"]
        faults = {e["client"]: e["fault"] for e in refused if e["kind"] == "proof"}
        assert set(faults) == {client.hex()[:16] for client in false}
        assert all("its proof is" in fault for fault in faults.values())


# -- the beacon ------------------------------------------------------------------------------------


def test_no_share_of_the_beacon_before_the_commits_are_final(make_net: NetMaker) -> None:
    """On the signer's own disk, at the moment that the share leaves it."""
    shared: list[tuple[int, int]] = []

    def watch(sender: int, stream: str, raw: bytes) -> bool:
        share = BeaconShare.decode(raw) if stream == VOTES else None
        if share is not None:
            finals = read_finals(net.folder / f"node-{sender}", net.lab.genesis)
            assert len(finals) >= share.commit_height
            assert share.validator == sender
            shared.append((share.learning_round, sender))
        return True

    net = make_net(n_rounds=2, may_send=watch).start_all()
    net.run(is_done(net))
    assert set(shared) == {(t, i) for t in range(2) for i in range(4)}


def test_a_false_share_of_one_validator_holds_up_no_beacon(make_net: NetMaker) -> None:
    """Nor does one of anybody in the name of all others, which came first."""

    def lie(sender: int, stream: str, raw: bytes) -> bool:
        share = BeaconShare.decode(raw) if stream == VOTES else None
        if share is None:
            return True
        false = replace(share, share=bytes(32))
        if sender == 0:
            net.send(net.lab.sign(false, net.lab.validators[0]), stream=VOTES)
            return False
        net.send(false, stream=VOTES)
        return True

    net = make_net(may_send=lie).start_all()
    net.run(is_done(net))
    assert_one_chain(net)
    told = [entry for log in net.logs.values() for entry in log.entries]
    liars = {e["validator"] for e in told if e["event"] == "share of the beacon is false"}
    assert liars <= {0}


def test_a_block_that_all_but_final_opens_no_beacon(make_net: NetMaker) -> None:
    """Everyone prevoted for the commits' block and precommits are signed, but none arrives."""
    withheld = True

    def may_pass(sender: int, stream: str, raw: bytes) -> bool:
        vote = Vote.decode(raw)
        is_precommit = vote is not None and vote.step == Step.PRECOMMIT and vote.height == 2
        return not (withheld and is_precommit)

    net = make_net(may_read=may_pass).start_all()
    net.run_to(1)
    with pytest.raises(AssertionError):
        net.run_to(2, limit_s=20.0)
    spoken = [v for i in range(4) for v in net.list_spoken(i) if isinstance(v, Vote)]
    assert any(v.height == 2 and v.step == Step.PRECOMMIT and v.block_hash != NIL for v in spoken)
    assert not any(raw[0] == BeaconShare.KIND for _, stream, raw in net.tried if stream == VOTES)
    withheld = False
    net.run(is_done(net))
    assert_one_chain(net)


# -- what others say -------------------------------------------------------------------------------


def test_contradicting_votes_enter_a_block(make_net: NetMaker) -> None:
    net = make_net().start_all()
    votes = [
        net.lab.sign(
            Vote(step=int(Step.PREVOTE), height=1, round=0, block_hash=named, validator=3),
            net.lab.validators[3],
        )
        for named in (NIL, b"\x07" * 32)
    ]
    net.send(*votes, stream=VOTES)
    net.run(is_done(net))
    assert_one_chain(net)
    assert net.chain.offenders == (3,)
    evidence = [e for f in net.nodes[0].ledger.list_finals() for e in f.block.evidence]
    assert len(evidence) == 1


def test_votes_that_their_validator_did_not_sign_are_dropped(make_net: NetMaker) -> None:
    net = make_net()
    net.start(0)
    for validator in range(4):
        for step in (Step.PREVOTE, Step.PRECOMMIT):
            vote = Vote(step=int(step), height=1, round=0, block_hash=NIL, validator=validator)
            net.send(vote, net.lab.sign(vote, net.lab.clients[0]), stream=VOTES)
    refused = net.nodes[0]._metrics.refused.labels(VOTES)
    net.turn()
    assert refused._value.get() == 16
    assert net.nodes[0]._state.rounds == {}


def test_final_blocks_without_a_quorum_are_dropped(make_net: NetMaker) -> None:
    net = make_net().start_all()
    net.run_to(1, clients=False)
    final = net.nodes[0].ledger.get(1)
    assert final is not None
    fresh = make_net()
    node = fresh.start(0)
    few = QuorumCertificate.of(final.certificate.votes[:2])
    blank = QuorumCertificate.of(replace(v, signature=bytes(64)) for v in final.certificate.votes)
    for certificate in (few, blank):
        fresh.send(FinalBlock(block=final.block, certificate=certificate), stream=FINAL)
    fresh.turn()
    assert node.chain.height == 0
    fresh.send(final, stream=FINAL)
    fresh.turn()
    assert node.chain.height == 1


def test_later_blocks_are_asked_for_and_taken_in_turn(make_net: NetMaker) -> None:
    net = make_net().start_all()
    net.run_to(3)
    finals = net.nodes[0].ledger.list_finals()[:3]
    fresh = make_net()
    node = fresh.start(0)
    fresh.turn()
    before = len(fresh.tried)
    fresh.now += 1.0
    for final in reversed(finals):
        fresh.send(final, stream=FINAL)
    fresh.turn()
    assert node.chain.height == 1
    asked = [BlockRequest.decode(raw) for _, _, raw in fresh.tried[before:]]
    assert BlockRequest(height=1) in asked
    for final in finals:
        fresh.send(final, stream=FINAL)
    fresh.turn()
    assert node.chain.height == 3


def test_requests_are_answered_now_and_then(make_net: NetMaker) -> None:
    """However often anybody asks: nobody makes the nodes flood the stream."""
    net = make_net().start_all()
    net.run_to(3)
    net.now += 5.0
    before = len(net.tried)
    for _ in range(50):
        net.send(BlockRequest(height=1), stream=VOTES)
    net.nodes[0].turn()
    answers = [raw for _, stream, raw in net.tried[before:] if stream == FINAL]
    assert len(answers) == net.nodes[0].chain.height


# -- own disk --------------------------------------------------------------------------------------


def test_a_copy_of_a_folder_that_is_started_finds_out_and_is_silent(make_net: NetMaker) -> None:
    """The worst an operator can do. It hears its own votes of heights that it knows nothing of."""
    net = make_net().start_all()
    net.run_to(1)
    net.drop(3)
    shutil.copytree(net.home(3), net.folder / "copy")
    net.start(3)
    net.run_to(3)
    net.drop(3)
    shutil.rmtree(net.home(3))
    (net.folder / "copy").rename(net.home(3))
    before = len(net.list_spoken(3))
    node = net.start(3)
    net.run_to(4)
    assert "own vote was forgotten: sits this height out" in [
        e["event"] for e in net.logs[3].entries
    ]
    said = [m for m in net.list_spoken(3)[before:] if m.height in (2, 3)]
    assert said == [], "it may have said something else there"
    net.run(is_done(net))
    assert list_contradictions(net.list_spoken(3)) == []
    assert node.chain.phase is Phase.DONE


def test_a_copy_that_is_older_than_its_blocks_does_not_start(make_net: NetMaker) -> None:
    net = make_net().start_all()
    net.run_to(1)
    place = net.home(2) / PLACE_FILE
    old = place.read_bytes()
    net.run_to(3)
    net.drop(2)
    (net.home(2) / VOTES_LOG).unlink()
    place.write_bytes(old)
    with pytest.raises(IdentityError, match="older than a vote at height"):
        net.start(2)


def test_votes_of_another_chain_are_not_gone_on_from(make_net: NetMaker) -> None:
    net = make_net()
    net.start(1)
    net.drop(1)
    other = replace(net.lab.genesis, chain_id=b"other")
    vote = Vote(step=1, height=1, round=0, block_hash=NIL, validator=1)
    ledger = Ledger(net.home(1), net.lab.genesis)
    ledger.record_vote(sign(net.lab.validators[1], vote, other.digest))
    ledger.close()
    with pytest.raises(LedgerError, match="a vote is none: the signature"):
        net.start(1)


@pytest.mark.parametrize("method", ["record_vote", "append"])
def test_a_disk_that_fails_stops_the_node_before_it_speaks(
    make_net: NetMaker, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    net = make_net().start_all()
    net.run_to(1, clients=False)
    heights = {index: node.chain.height for index, node in net.nodes.items()}

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = len(net.tried)
    monkeypatch.setattr(Ledger, method, fail)
    with pytest.raises(OSError, match="No space left"):
        net.run_to(2, clients=False)
    said = [v for i in range(4) for v in net.list_spoken(i) if v.height > heights[i]]
    finals = [raw for _, stream, raw in net.tried[before:] if stream == FINAL]
    if method == "record_vote":
        assert said == []
    assert not any(FinalBlock.decode(raw).block.height == 2 for raw in finals)  # type: ignore[union-attr]
