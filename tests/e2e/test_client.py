"""`zkpot client join` as processes: killed at each step and started again, over a chain of nodes of
which one is killed too. The round ends, with the models of all clients in its mean."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

from api.process.program import PROGRAM
from consensus.disk.development import BLOBS, GENESIS, sign_permit
from consensus.disk.identity import create_key, get_public_key
from consensus.learning.chain_state import Phase
from consensus.node.stream import TRANSACTIONS
from consensus.wire.genesis import set_phases
from consensus.wire.transactions import SentTransaction, decode_transaction
from federated.data import LabeledImages
from federated.joining.folder import KEY
from federated.local import warm_up
from federated.rounds.duties import Duty
from federated.task_scales import NamedLists
from prover.keys.card import KeyCard
from prover.keys.folder import save_key
from tests.support.learning import ARCHITECTURE, accuracy, ed25519, model_of, proving_key
from tests.support.node_processes import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
N_CLIENTS = 3
STEPS = (Duty.REGISTER, Duty.COMMIT, Duty.PROVE, Duty.MASK, Duty.UNMASK)
WAIT_S = 120.0


def make_samples(seed: int) -> LabeledImages:
    """As the task's own test samples are labeled: by a model."""
    images = np.random.default_rng(seed).integers(0, 256, (400, 6), dtype=np.uint8)
    labels = model_of(0).logits(images).argmax(axis=1).astype(np.uint8)
    return LabeledImages(images=images, labels=labels)


def find_scales() -> NamedLists:
    """As `zkpot chain init --warm-up` does."""
    _, scales = warm_up(make_samples(77), ARCHITECTURE, lambda what, done, total: None)
    return scales.to_lists()


class Clients:
    """Client processes of a cluster, each with a folder, samples and a permit of its own."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self.folder = cluster, cluster.folder
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        save_key(proving_key(), self.folder / "key", KeyCard.of(accuracy()))
        for i in range(N_CLIENTS):
            create_key(self.home(i), ed25519(500 + i).private_bytes_raw(), KEY)
            samples = make_samples(i)
            path = self.folder / f"own-{i}.npz"
            np.savez(path, images=samples.images, labels=samples.labels)

    def home(self, i: int) -> Path:
        return self.folder / f"client-{i}"

    def start(self, i: int, *options: object) -> None:
        lab = self._cluster.lab
        public = get_public_key(ed25519(500 + i))
        permit = sign_permit(lab.admission, lab.genesis.digest, public).hex()
        genesis = self.folder / "chain" / GENESIS
        arguments = (
            *("--state", self.home(i), "--genesis", genesis, "--permit", permit),
            *("--data", self.folder / f"own-{i}.npz", "--key", self.folder / "key"),
        )
        with (self.folder / f"client-{i}.log").open("ab") as log:
            self._processes[i] = subprocess.Popen(
                [*PROGRAM, "client", "join", *map(str, (*arguments, *options))],
                env={**os.environ, **self._cluster.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def await_sent(self, i: int, duty: Duty) -> None:
        """Until what it will send for a duty is on its disk, and perhaps on its way."""
        where = f"chain-*/round-0/{duty}.sent"
        self._cluster.await_that(lambda: any(self.home(i).glob(where)))
        assert self._processes[i].poll() is None, self.read_log(i)

    def kill(self, i: int) -> None:
        process = self._processes.pop(i)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def wait(self, i: int) -> int:
        """Its exit code."""
        return self._processes.pop(i).wait(WAIT_S)

    def read_log(self, i: int) -> str:
        return (self.folder / f"client-{i}.log").read_text()

    def close(self) -> None:
        for i in list(self._processes):
            with suppress(OSError):
                self.kill(i)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A round waits for its clients, for as long as it takes."""
    changes = {"n_rounds": 1, "scales": find_scales()} | set_phases(10**8)
    cluster = Cluster(tmp_path, **changes)
    try:
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def clients(cluster: Cluster) -> Iterator[Clients]:
    clients = Clients(cluster)
    try:
        yield clients
    finally:
        clients.close()


def find_address(cluster: Cluster, index: int) -> str | None:
    """Where a node serves blobs, once it says so."""
    log = cluster.folder / f"node-{index}.log"
    lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    return next((line["address"] for line in lines if "blobs are served" in line["event"]), None)


def list_sent(cluster: Cluster, client: bytes) -> set[SentTransaction]:
    """All different transactions of a client that ever came to the streams."""
    key = f"zkpot:chain:{cluster.lab.genesis.digest.hex()[:32]}:{TRANSACTIONS}"
    raw = (fields[b"m"] for _, fields in cluster.redis.xrange(key) if b"m" in fields)
    found = (decode_transaction(one) for one in raw)
    return {tx for tx in found if tx is not None and tx.client_key == client}


def test_killed_at_each_step_and_started_again(cluster: Cluster, clients: Clients) -> None:
    """The client that is killed shares no folder with nodes: it brings its blobs over HTTP."""
    archive = ("--archive",)  # what the round's sum came from, to add it up once more
    cluster.start(0, options=(*archive, "--content-port", "0"))
    cluster.start(1, 2, 3, options=archive)
    shared = ("--blobs", cluster.folder / "chain" / BLOBS)
    for i in (1, 2):
        clients.start(i, *shared)
    cluster.await_that(lambda: find_address(cluster, 0) is not None)
    peer = ("--peer", find_address(cluster, 0))
    clients.start(0, *peer)
    for duty in STEPS:
        clients.await_sent(0, duty)
        clients.kill(0)
        if duty is Duty.MASK:
            cluster.kill(2)
        clients.start(0, *peer)
        if duty is Duty.MASK:
            cluster.start(2, options=archive)
    codes = [clients.wait(i) for i in range(N_CLIENTS)]
    assert codes == [0, 0, 0], "\n".join(map(clients.read_log, range(N_CLIENTS)))
    cluster.await_phase(Phase.DONE)
    state = cluster.follow()
    cluster.await_height(cluster.get_height())
    cluster.assert_one_chain()
    (aggregate,) = cluster.finals(0)[-1].block.aggregate
    everyone = {get_public_key(ed25519(500 + i)) for i in range(N_CLIENTS)}
    assert {entry.client_key for entry in aggregate.entries} == everyone
    assert state.global_model == aggregate.model_digest
    sent = list_sent(cluster, get_public_key(ed25519(500)))
    assert len(sent) == len(STEPS)  # however often it was started, one of each
