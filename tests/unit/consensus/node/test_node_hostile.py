"""Cheap messages that would cost a node much: each has a bound, and the chain goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import structlog

from consensus.agreement.events import BlockChecked, Check
from consensus.content.blobs import FileBlobs, KeptBlobs
from consensus.disk.blob_limits import make_limit
from consensus.learning.chain_state import ChainState, Phase
from consensus.node import answers
from consensus.node.desk import Desk
from consensus.node.metrics import NodeMetrics
from consensus.node.pool import PER_CLIENT, Pool
from consensus.node.stream import FINAL, VOTES
from consensus.node.verifier import BlockVerifier
from consensus.wire.messages import BlockRequest, FinalBlock
from consensus.wire.transactions import Contribution, Proof, RoundStep, Transaction
from prover.wire.envelope import Envelope
from tests.support.learning import ProvenLab, point, proven_lab, proven_state
from tests.support.memory_blobs import MemoryBlobs
from tests.support.nodes import Net
from tests.support.tiny_circuits import seeded


class WatchedBlobs(MemoryBlobs):
    """Notes what is looked for."""

    def __init__(self, lab: ProvenLab) -> None:
        super().__init__()
        self._blobs = dict(lab.blobs._blobs)
        self.read: list[bytes] = []

    def get(self, digest: bytes) -> bytes:
        self.read.append(digest)
        return super().get(digest)

    def lose(self, digest: bytes) -> None:
        del self._blobs[digest]


def make_desk(blobs: MemoryBlobs) -> Desk:
    genesis = proven_lab().genesis
    verifier = BlockVerifier(genesis, blobs, seeded(1))
    log = structlog.wrap_logger(None, processors=[structlog.testing.LogCapture()])
    return Desk(genesis, verifier, blobs, metrics=NodeMetrics(), log=log)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    made = Net(tmp_path)
    yield made
    made.close()


def is_done(net: Net) -> Callable[[], bool]:
    return lambda: all(node.chain.phase is Phase.DONE for node in net)


# -- whoever can write to the streams --------------------------------------------------------------


def test_questions_for_many_heights_get_few_answers(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question has 14 bytes; the answers were the whole chain, once in a moment."""
    monkeypatch.setattr(answers, "MAX_ANSWERED", 2)
    net.start_all()
    net.run_to(4)
    asked = net.nodes[0]
    for _ in range(2):
        net.now += 5.0
        before = len(net.tried)
        for height in (*range(1, 5), 1 << 62):
            net.send(BlockRequest(height=height), stream=VOTES)
        asked.turn()
        said = [raw for _, name, raw in net.tried[before:] if name == FINAL]
        found = [FinalBlock.decode(raw) for raw in said]
        assert [final.block.height for final in found if final] == [1, 2]
    assert len(asked._voice._answers._sent) <= 2


# -- clients ---------------------------------------------------------------------------------------


class Flood(Net):
    """Client 2 sends forged proofs of the right statement without end."""

    n_forged = 3 * PER_CLIENT

    def list_due(self, chain: ChainState) -> list[Transaction]:
        due = super().list_due(chain)
        if chain.phase is not Phase.PROVE:
            return due
        own = due[2]
        assert isinstance(own, Proof)
        envelope = Envelope.decode(own.envelope)
        assert envelope is not None
        forged = []
        for i in range(self.n_forged):
            proof = envelope.proof[:96] + point(3 + i) + envelope.proof[128:]  # another C
            other = replace(envelope, proof=proof)
            forged.append(self.lab.wrap(2, other, chain.learning_round, own.deal))
        return [*forged, *due[:2]]


def test_a_client_with_many_forged_proofs_is_soon_not_heard(tmp_path: Path) -> None:
    net = Flood(tmp_path, ProvenLab(changes={"n_rounds": 1}))
    try:
        net.start_all()
        net.run(is_done(net))
        for log in net.logs.values():
            refused = [e["fault"] for e in log.entries if e.get("kind") == "proof"]
            assert len(refused) == PER_CLIENT
            assert set(refused) == {"its proof is pairing_failed"}
        assert set(net.chain.proofs) == {net.lab.client(0), net.lab.client(1)}
    finally:
        net.close()


def test_faulty_ones_count_until_the_next_phase() -> None:
    lab, state, pool = proven_lab(), proven_state(Phase.COMMIT), Pool()
    for t in range(PER_CLIENT):
        tx = lab.commit(0, d_w=bytes(31) + bytes((t,)))
        assert pool.add(state, tx) is None
        pool.discard(tx)
        pool.discard(lab.commit(1))
    assert pool.add(state, lab.commit(0)) == "its client has sent too many faulty ones"
    assert pool.add(state, lab.commit(1)) is None, "one that never waited is nobody's fault"
    pool.forgive()
    assert pool.add(state, lab.commit(0)) is None


def test_a_faulty_one_does_not_wait_again() -> None:
    lab, state = proven_lab(), proven_state(Phase.MASK)
    desk = make_desk(lab.blobs)
    faulty = lab.sign_payload(0, Phase.MASK, 0, lab.blobs.put(b"no masked model"))
    assert desk.add_transaction(state, faulty) is None
    assert desk.judge_pending(state) == []
    assert desk.add_transaction(state, faulty) is not None
    assert list(desk.list_pending()) == []


# -- blobs -----------------------------------------------------------------------------------------


def test_a_block_that_the_rules_forbid_has_no_blob_looked_for() -> None:
    """Or one validator names a large blob a thousand times, and one that is missing at the end."""
    lab, state = proven_lab(), proven_state(Phase.MASK)
    blobs = WatchedBlobs(lab)
    desk = make_desk(blobs)
    large, missing = lab.task.pools[0], bytes(32)
    unsigned = [
        Contribution(client_key=lab.client(0), learning_round=0, step=RoundStep.MASK, payload=named)
        for named in (*[large] * 20, missing)
    ]
    block = lab.block(state, unsigned)
    checked = desk.check(state, Check(block, block.hash))
    assert checked is not None
    assert checked.fault is not None
    assert blobs.read == []


def test_a_model_that_is_gone_again_is_not_proposed() -> None:
    """Nobody could check the block; all other masked models enter it."""
    lab, state = proven_lab(), proven_state(Phase.MASK)
    blobs = WatchedBlobs(lab)
    desk = make_desk(blobs)
    sent: list[Any] = lab.list_due(state)
    blobs._blobs = dict(lab.blobs._blobs)
    for tx in sent:
        assert desk.add_transaction(state, tx) is None
    desk.judge_pending(state)
    blobs.lose(sent[1].payload)
    block = desk.draft(state, proposer=0, certificate=lab.certify_head(state))
    assert block is not None
    assert block.transactions == (sent[0], sent[2])
    assert desk.check(state, Check(block, block.hash)) == BlockChecked(
        block.height, block.hash, None
    )


# -- blobs -----------------------------------------------------------------------------------------

LONG_BYTES = 1 << 22


class SharedFolder(Net):
    """Each node keeps what it reads from a folder in which clients write what they like.

    Client 2 masks its model by names under which a pipe lies, a long file that has another
    digest, and a long one that has it.
    """

    def __init__(self, folder: Path) -> None:
        lab = ProvenLab(changes={"n_rounds": 1}, blobs=FileBlobs(folder / "shared"))  # type: ignore[arg-type]
        super().__init__(folder, lab)

    def make_blobs(self, index: int) -> KeptBlobs:
        get_limit = make_limit(self.lab.task)
        own, shared = self.home(index) / "blobs", self.folder / "shared"
        return KeptBlobs(
            FileBlobs(own, get_limit=get_limit), FileBlobs(shared, get_limit=get_limit)
        )

    def list_due(self, chain: ChainState) -> list[Transaction]:
        due = super().list_due(chain)
        if chain.phase is not Phase.MASK:
            return due
        long = bytes(LONG_BYTES)
        pipe, sparse, right = sha256(b"pipe").digest(), sha256(b"sparse").digest(), sha256(long)
        os.mkfifo(self._make_place(pipe))
        with self._make_place(sparse).open("wb") as file:
            file.truncate(LONG_BYTES)
        self._make_place(right.digest()).write_bytes(long)
        names = (pipe, sparse, right.digest())
        (own,) = (tx for tx in due if tx.client_key == self.lab.client(2))
        assert isinstance(own, Contribution)
        false = [replace(own, payload=name) for name in names]
        return [*(self.lab.sign(tx, self.lab.clients[2]) for tx in false), *due[:2]]

    def _make_place(self, digest: bytes) -> Path:
        path = self.folder / "shared" / digest.hex()[:2] / digest.hex()
        path.parent.mkdir(exist_ok=True)
        return path

    def count_kept(self, index: int) -> int:
        """Bytes in the node's own store."""
        files = (self.home(index) / "blobs").rglob("*")
        return sum(path.stat().st_size for path in files if path.is_file())


def test_what_a_client_puts_under_the_name_of_its_model_stops_and_fills_nothing(
    tmp_path: Path,
) -> None:
    net = SharedFolder(tmp_path)
    try:
        net.start_all()
        net.run(is_done(net))
        assert set(net.chain.masked) == {net.lab.client(0), net.lab.client(1)}
        assert all(net.count_kept(index) < LONG_BYTES for index in range(4))
    finally:
        net.close()
