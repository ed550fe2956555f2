"""`zkpot node` as it runs: memory while the chain idles, what it loads, its metrics, its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from consensus.content.blobs import FileBlobs
from consensus.content.peers import PeerBlobs
from consensus.disk.block_files import read_finals
from consensus.disk.development import BLOBS, create_chain, node_home
from consensus.wire.genesis import Genesis, Timeouts
from prover.keys.halves import VerifyingKey
from tests.support.learning import proven_lab
from tests.support.tiny_circuits import seeded

MEMORY_BYTES = 200 << 20
N_BLOCKS = 20
HEAVY = {
    "bench",
    "cupy",
    "fastapi",
    "kernels.cuda",
    "matplotlib",
    "prover.groth16.prove",
    "prover.groth16.setup",
    "prover.circuit.witness",
    "torch",
    "uvicorn",
}
"""What the process must not load; `api` and `federated` hold its command line and settings."""

PROGRAM = """
import json, sys
modules = sys.argv.pop(1)
from api.cli import main
try:
    main()
finally:
    with open(modules, "w") as file:
        json.dump(sorted(sys.modules), file)
"""


@dataclass
class Running:
    """A node's process, and the events that it reports."""

    process: subprocess.Popen[str]
    modules: Path
    home: Path
    genesis: Genesis

    def wait_for(self, event: str, **fields: Any) -> dict[str, Any]:
        """The next report of this event. It ends with the process, which a timer ends."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            found: dict[str, Any] = json.loads(line)
            if found["event"] == event and fields.items() <= found.items():
                return found
        raise AssertionError(f"the node ended before {event!r}")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """The only validator of a chain on which nothing happens."""
    folder, lab = tmp_path, proven_lab()
    genesis = create_chain(
        folder / "chain",
        chain_id=b"idle",
        task=lab.task,
        timeouts=Timeouts(
            propose_ms=300,
            prevote_ms=300,
            precommit_ms=300,
            increase_ms=100,
            empty_block_ms=20,
            longest_empty_ms=20,
        ),
        n_validators=1,
        random_bytes=seeded(5),
    )
    blobs = FileBlobs(folder / "chain" / BLOBS)
    for raw in lab.blobs._blobs.values():
        blobs.put(raw)
    home, modules = node_home(folder / "chain", 0), folder / "modules.json"
    command = [sys.executable, "-c", PROGRAM, str(modules), "node", str(home), "--metrics-port=0"]
    command.append("--content-port=0")
    process = subprocess.Popen(
        command,
        env={**os.environ, "ZKPOT_DATA_DIR": str(folder / "data")},
        stderr=subprocess.PIPE,
        text=True,
    )
    too_late = threading.Timer(120, process.kill)
    too_late.start()
    try:
        yield Running(process, modules, home, genesis)
    finally:
        too_late.cancel()
        process.kill()
        process.communicate()


def test_an_idle_node_is_small_and_light(running: Running) -> None:
    address = running.wait_for("metrics are served")["address"]
    peer = PeerBlobs([running.wait_for("blobs are served")["address"]])
    running.wait_for("block is final", height=N_BLOCKS)
    status = Path(f"/proc/{running.process.pid}/status").read_text().splitlines()
    (peak,) = (int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:"))
    assert peak < MEMORY_BYTES

    with urlopen(address, timeout=10) as answer:
        shown = dict(
            line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#"
        )
    assert float(shown["zkpot_node_height"]) >= N_BLOCKS
    assert float(shown['zkpot_node_votes_total{choice="block",step="precommit"}']) >= N_BLOCKS
    assert float(shown['zkpot_node_peer_height{peer="0"}']) >= N_BLOCKS

    task_key = running.genesis.task.verifying_key_digest
    assert VerifyingKey.decode(peer.get(task_key)).digest == task_key

    running.process.send_signal(signal.SIGTERM)
    height = running.wait_for("node has stopped")["height"]
    assert running.process.wait(timeout=30) == 0
    assert len(read_finals(running.home, running.genesis)) == height
    loaded = set(json.loads(running.modules.read_text()))
    assert "consensus.node.node" in loaded
    assert [m for m in loaded if any(m == h or m.startswith(f"{h}.") for h in HEAVY)] == []
