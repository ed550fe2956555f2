"""A chain of `zkpot node` processes over a server that tests kill, empty and rewrite."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from api.process.program import PROGRAM
from api.settings import Settings
from api.valkey.embedded import EmbeddedServer, connect
from consensus.content.blobs import FileBlobs, KeptBlobs
from consensus.disk.block_files import read_finals
from consensus.disk.development import BEACON, BLOBS, GENESIS, node_home
from consensus.disk.identity import create_key
from consensus.disk.place import SignedPlace
from consensus.learning.chain_state import ChainState, Phase
from consensus.node.follower import Follower
from consensus.node.stream import TRANSACTIONS, Transport
from consensus.wire.messages import FinalBlock
from tests.support.learning import ProvenLab, deal_beacon
from tests.support.memory_blobs import MemoryBlobs

N_NODES = 4
WAIT_S = 40.0
POLL_S = 0.02


class Cluster:
    """Four nodes with real proofs of a small circuit. Every wait is for an event, or fails.

    is_shared : nothing is configured: the nodes keep a server among themselves
    """

    def __init__(self, folder: Path, *, is_shared: bool = False, **changes: Any) -> None:
        self.folder, self.is_shared = folder, is_shared
        self.lab = ProvenLab(
            changes=changes,
            # Nodes let a round's payloads go when it is over; who looks on may be later.
            blobs=KeptBlobs(MemoryBlobs(), FileBlobs(folder / "chain" / BLOBS)),  # type: ignore[arg-type]
        )
        self.server = EmbeddedServer(folder / "data")
        if not is_shared:
            self.server.start()
        self.redis: Any = connect(Settings(data_dir=folder / "data"))
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self._write_chain()
        self._follower = Follower(self.lab.genesis, self.lab.verifier())
        self.transport = Transport(self.redis, self.lab.genesis.digest, ())

    def _write_chain(self) -> None:
        chain = self.folder / "chain"
        chain.mkdir(mode=0o700)
        (chain / GENESIS).write_bytes(self.lab.genesis.encode())
        for i in range(N_NODES):
            home = node_home(chain, i)
            create_key(home, self.lab.validators[i].private_bytes_raw())
            create_key(home, deal_beacon(N_NODES).secrets[i], BEACON)
            SignedPlace.create(home, self.lab.genesis.digest, self.lab.genesis.validators[i].key)

    # -- processes

    def home(self, index: int) -> Path:
        return node_home(self.folder / "chain", index)

    def start(self, *indices: int, options: Sequence[str] = ()) -> None:
        for index in indices:
            with (self.folder / f"node-{index}.log").open("ab") as log:
                self.processes[index] = subprocess.Popen(
                    [*PROGRAM, "node", str(self.home(index)), *options],
                    env={**os.environ, **self.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )

    @property
    def environment(self) -> dict[str, str]:
        """By which a process reaches the others."""
        found = {"ZKPOT_DATA_DIR": str(self.folder / "data"), "ZKPOT_THREADS": "1"}
        return found if self.is_shared else found | {"ZKPOT_REDIS_URL": self.server.url}

    def stop(self, index: int) -> None:
        """In order."""
        process = self.processes.pop(index)
        process.terminate()
        assert process.wait(WAIT_S) == 0

    def find_server(self) -> int:
        """Process of the server that the nodes keep."""
        return int(self.redis.info("server")["process_id"])

    def kill(self, index: int) -> None:
        process = self.processes.pop(index)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def kill_server(self) -> None:
        assert self.server.pid is not None
        os.kill(self.server.pid, signal.SIGKILL)
        self.server.stop()  # only to wait for it

    def close(self) -> None:
        for index in list(self.processes):
            self.kill(index)
        self.redis.close()
        self.server.stop()

    # -- what is on their disks

    def finals(self, index: int) -> list[FinalBlock]:
        return read_finals(self.home(index), self.lab.genesis)

    def get_height(self) -> int:
        """Of the node that is farthest on."""
        return max(len(self.finals(i)) for i in range(N_NODES))

    def await_height(self, height: int, *indices: int) -> None:
        """All of these, or all that run, have so many blocks on disk."""
        chosen = indices or tuple(self.processes)
        self.await_that(lambda: all(len(self.finals(i)) >= height for i in chosen))

    def await_that(self, holds: Callable[[], bool]) -> None:
        ends_at = time.monotonic() + WAIT_S
        while not holds():
            assert time.monotonic() < ends_at, self.describe()
            for index, process in self.processes.items():
                assert process.poll() is None, f"node {index} ended\n{self.describe()}"
            time.sleep(POLL_S)

    def describe(self) -> str:
        heights = [len(self.finals(i)) for i in range(N_NODES)]
        tails = [path.read_text()[-2000:] for path in sorted(self.folder.glob("node-*.log"))]
        return "\n".join([str(heights), *tails])

    def follow(self) -> ChainState:
        """The chain of the node that is farthest on, everything in it verified."""
        finals = max((self.finals(i) for i in range(N_NODES)), key=len)
        for final in finals[self._follower.state.height :]:
            fault = self._follower.take(final)
            assert fault is None, fault
        return self._follower.state

    def assert_one_chain(self) -> None:
        """No two nodes have different blocks at any height."""
        for finals in zip_longest(*(self.finals(i) for i in range(N_NODES))):
            assert len({final.block.hash for final in finals if final is not None}) == 1

    # -- clients

    def send_due(self) -> None:
        """What all clients send in the phase under way."""
        for tx in self.lab.list_due(self.follow()):
            self.transport.send(TRANSACTIONS, tx.encode())

    def await_phase(self, phase: Phase) -> None:
        self.await_that(lambda: self.follow().phase is phase)
