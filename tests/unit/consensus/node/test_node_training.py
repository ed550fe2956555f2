"""Nodes of a task that asks for training: whole rounds, liars, blobs that are late, restarts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.content.blobs import KeptBlobs
from consensus.content.interface import Blobs
from consensus.learning.aggregate import GlobalModel
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.steps import get_done, list_training_blobs
from consensus.learning.training_mean import read_masters
from consensus.node.stream import VOTES
from consensus.wire.messages import BeaconShare
from consensus.wire.transactions import Commit, Proof, Register, Transaction
from prover.wire.training import TrainingProofs
from tests.support.memory_blobs import MemoryBlobs
from tests.support.nodes import Net, list_contradictions
from tests.support.training_lab import TrainingLab, recipe

STEP_BYTES = 224


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class TrainingNet(Net):
    """Validators with stores of their own; the folder that clients write to is seen by some.

    sees      : who sees it, by index
    withholds : a client that does not put there what it shows of its training: see `withheld`
    """

    lab: TrainingLab
    sees: frozenset[int] = frozenset(range(4))
    withholds: bytes = b""

    def __init__(self, folder: Path, lab: TrainingLab) -> None:
        super().__init__(folder, lab)
        self.own: dict[int, MemoryBlobs] = {}
        self.withheld: dict[Phase, tuple[bytes, bytes]] = {}

    def make_blobs(self, index: int) -> Blobs:
        own = self.own.setdefault(index, MemoryBlobs())
        if index in self.sees:
            return KeptBlobs(own, self.lab.blobs)
        task = self.lab.task
        for digest in (*task.key_digests, *task.pools):
            own.put(self.lab.blobs.get(digest))
        return own

    def run_to_phase(self, phase: Phase, learning_round: int = 0) -> None:
        place = (phase, learning_round)
        self.run(
            lambda: all((n.chain.phase, n.chain.learning_round) == place for n in self),
            limit_s=200.0,
        )

    def run_to_end(self) -> None:
        self.run(lambda: all(n.chain.phase is Phase.DONE for n in self), limit_s=300.0)
        assert len({node.chain.head for node in self}) == 1

    def list_due(self, chain: ChainState) -> list[Transaction]:
        due = super().list_due(chain)
        for tx in due:
            if tx.client_key == self.withholds and isinstance(tx, Register | Commit | Proof):
                digest = name_shown(tx)
                self.withheld[chain.phase] = digest, self.lab.blobs._blobs.pop(digest)
        return due

    def list_faults(self) -> set[str]:
        """What nodes have told of transactions that they refused."""
        return {e["fault"] for log in self.logs.values() for e in log.entries if "fault" in e}

    def list_entered(self) -> list[set[bytes]]:
        """Who entered the model of each round."""
        finals = self.nodes[1].ledger.list_finals()
        return [{e.client_key for e in a.entries} for f in finals for a in f.block.aggregate]


@pytest.fixture
def make_net(tmp_path: Path) -> Iterator[Callable[[TrainingLab], TrainingNet]]:
    made: list[TrainingNet] = []

    def make(lab: TrainingLab) -> TrainingNet:
        made.append(TrainingNet(tmp_path, lab))
        return made[-1]

    yield make
    for net in made:
        net.close()


MakeNet = Callable[[TrainingLab], TrainingNet]


def new_lab() -> TrainingLab:
    """Two steps of three are drawn in each of two rounds; nets of such labs share proofs."""
    return TrainingLab(n_drawn=2, blobs=MemoryBlobs())


def name_shown(tx: Register | Commit | Proof) -> bytes:
    match tx:
        case Register():
            return tx.batches
        case Commit():
            return tx.trajectory
        case Proof():
            return tx.training


def read_model(net: TrainingNet, chain: ChainState) -> list[int]:
    """The masters of a global model, as any validator keeps it."""
    raw = net.own[1].get(chain.global_model)
    return read_masters(recipe(), GlobalModel.parse(raw)).tolist()


# -- whole rounds ----------------------------------------------------------------------------------


def test_rounds_end_in_the_exact_mean_of_masters(make_net: MakeNet) -> None:
    """Each begins where the one before ended. Batches outlast rounds; what was shown of them does
    not."""
    net = make_net(new_lab())
    net.start_all()
    net.run_to_phase(Phase.ELECT)
    batches = set(net.chain.batches.values())
    named = set(list_training_blobs(net.chain))
    assert (len(batches), len(named)) == (3, 9)
    stores = [*net.own.values(), net.lab.blobs]
    assert all(digest in store._blobs for digest in named for store in stores)
    assert_beacon_of_orders(net)
    net.run_to_phase(Phase.COMMIT, 1)
    for store in stores:
        assert {digest for digest in named if digest in store._blobs} == batches
    first = net.chain.global_model
    assert read_model(net, net.chain) == net.lab.average(range(3), 0)
    net.run_to_end()
    assert read_model(net, net.chain) == net.lab.average(range(3), 1)
    assert net.chain.global_model != first
    assert net.list_entered() == [set(net.chain.clients)] * 2
    assert not any(digest in store._blobs for digest in batches for store in stores)


def assert_beacon_of_orders(net: TrainingNet) -> None:
    """It is shared once batches are final, and not before; the round has another."""
    spoken = [BeaconShare.decode(raw) for _, stream, raw in net.tried if stream == VOTES]
    places = {(s.learning_round, s.commit_height) for s in spoken if s is not None}
    chain = net.chain
    assert places == {(0, chain.order_height), (0, chain.commit_height)}
    blocks = [f.block for f in net.nodes[0].ledger.list_finals() if f.block.beacon]
    assert [(b.height, b.beacon) for b in blocks] == [
        (chain.order_height + 1, chain.order_beacon),
        (chain.commit_height + 1, chain.beacon),
    ]
    assert chain.beacon != chain.order_beacon


# -- liars -----------------------------------------------------------------------------------------


class LyingLab(TrainingLab):
    """The last client shows something else than it has trained."""

    def train(self, i: int, state: ChainState) -> TrainingProofs:
        shown = super().train(i, state)
        if i < self.n_clients - 1:
            return shown
        first, second, *rest = shown.steps
        return replace(shown, steps=(first[:-STEP_BYTES] + second[-STEP_BYTES:], second, *rest))


def test_a_client_with_a_forged_step_is_left_out(make_net: MakeNet) -> None:
    """Of a round in which each step is proven. Its refusal is on record, nobody waits for it."""
    lab = LyingLab(n_clients=4, changes={"n_rounds": 1})
    net = make_net(lab)
    net.start_all()
    net.run_to_phase(Phase.MASK)
    assert net.chain.refusals.keys() == {lab.client(3)}
    assert net.list_faults() == {"its proof is pairing_failed"}
    net.run_to_end()
    assert net.list_entered() == [{lab.client(i) for i in range(3)}]
    assert read_model(net, net.chain) == lab.average(range(3), 0)


# -- blobs that are late ---------------------------------------------------------------------------


def test_what_one_node_was_shown_reaches_all(make_net: MakeNet) -> None:
    """Batches, before anybody is registered; then trajectories, and proofs."""
    net = make_net(new_lab())
    net.sees = frozenset({2})
    net.start_all()
    net.run_to_phase(Phase.COMMIT, 1)
    assert net.list_entered() == [set(net.chain.clients)]


def test_a_missing_blob_is_waited_for(make_net: MakeNet) -> None:
    """A client says what it says, and puts the blob later: nothing is refused meanwhile, and the
    others are in."""
    net = make_net(new_lab())
    net.withholds = net.lab.client(1)
    net.start_all()
    for phase in (Phase.REGISTER, Phase.COMMIT, Phase.PROVE):
        net.run(lambda phase=phase: phase in net.withheld)  # type: ignore[misc]
        digest, raw = net.withheld[phase]
        heard_at = net.now
        net.run(lambda heard_at=heard_at: net.now > heard_at + 1.0)  # type: ignore[misc]
        assert all(node.chain.phase is phase for node in net)
        assert set(get_done(net.chain, phase)) == {net.lab.client(0), net.lab.client(2)}
        wanted = {d for node in net for d in node._desk.list_wanted(node.chain)}
        assert wanted == {digest}
        assert net.lab.blobs.put(raw) == digest
    net.run_to_phase(Phase.COMMIT, 1)
    assert net.list_entered() == [set(net.chain.clients)]
    assert net.list_faults() == set()


# -- restarts --------------------------------------------------------------------------------------


def test_a_chain_that_is_killed_between_phases_goes_on(make_net: MakeNet) -> None:
    """Nothing in memory is left: beacons are shared again, starts and keys are read again."""
    net = make_net(new_lab())
    net.start_all()
    for phase, learning_round in (
        (Phase.ORDER, 0),
        (Phase.COMMIT, 0),
        (Phase.PROVE, 0),
        (Phase.ELECT, 0),
        (Phase.COMMIT, 1),
        (Phase.PROVE, 1),
    ):
        net.run_to_phase(phase, learning_round)
        before = net.chain
        for index in list(net.nodes):
            net.drop(index)
        net.start_all()
        assert net.chain == before
    net.run_to_end()
    assert net.list_entered() == [set(net.chain.clients)] * 2
    assert read_model(net, net.chain) == net.lab.average(range(3), 1)
    assert not any(list_contradictions(net.list_spoken(index)) for index in range(4))


def test_a_node_that_slept_through_a_round_takes_its_part_again(make_net: MakeNet) -> None:
    """It has batches from its peers, and judges what starts from a model that it did not sum."""
    net = make_net(new_lab())
    net.sees = frozenset({0, 1, 2})
    net.start_all()
    net.run_to_phase(Phase.ORDER)
    net.drop(3)
    net.run_to_phase(Phase.COMMIT, 1)
    net.start(3)
    net.drop(0)  # nothing is final any more without the one that slept
    net.run_to_end()
    assert set(net.chain.batches.values()).isdisjoint(net.own[3]._blobs), "let go in the end"
    assert read_model(net, net.chain) == net.lab.average(range(3), 1)
