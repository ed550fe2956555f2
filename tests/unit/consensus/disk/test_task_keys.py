"""Keys of a chain are its genesis's: same network, samples, circuit; or no node goes on.

What a genesis says in clear and what the key that it names was made for can only differ if whoever
wrote the genesis meant ill, or was shown a forged folder. Both are refused by all who read them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consensus.content.blobs import FileBlobs
from consensus.disk.development import BLOBS, GENESIS, create_chain, node_home
from consensus.disk.task_keys import check_task_keys, load_task_key
from consensus.learning.chain_state import Phase
from consensus.wire.genesis import Task
from prover.errors import KeyMismatch
from prover.model.layers import Requant
from prover.model.network import Architecture
from tests.support.commands import run
from tests.support.learning import (
    ARCHITECTURE,
    N_SAMPLES,
    Lab,
    ProvenLab,
    proven_lab,
    proving_key,
)
from tests.support.memory_blobs import MemoryBlobs
from tests.support.tiny_circuits import seeded

NARROW = Architecture.mlp([6, 1, 3], requant=Requant(shift=10, q_bits=9))
OTHER_MULTIPLIER = replace(
    ARCHITECTURE,
    layers=tuple(
        replace(layer, requant=layer.requant and replace(layer.requant, multiplier=2))
        for layer in ARCHITECTURE.layers
    ),
)


LIES: dict[str, dict[str, Any]] = {
    "another width": {"architecture": NARROW},
    "another multiplier": {"architecture": OTHER_MULTIPLIER},
    "more samples": {"n_samples": N_SAMPLES + 1},
    "another circuit": {"circuit_digest": bytes(32)},
}


def test_the_keys_of_an_honest_genesis_are_its_own() -> None:
    lab = proven_lab()
    assert load_task_key(lab.task, lab.blobs).digest == lab.task.verifying_key_digest
    check_task_keys(lab.task, lab.blobs)
    check_task_keys(lab.task, MemoryBlobs())  # it may come later


@pytest.mark.parametrize("name", LIES)
def test_a_genesis_that_contradicts_its_key_is_refused(name: str) -> None:
    lab = ProvenLab()
    task = replace(lab.task, **LIES[name])
    for load in (load_task_key, check_task_keys):
        with pytest.raises(KeyMismatch, match="the genesis contradicts the key that it names"):
            load(task, lab.blobs)


@pytest.mark.parametrize("name", LIES)
def test_no_proof_counts_under_such_a_genesis(name: str) -> None:
    """Valid proofs about 6-4-3 were taken where the genesis said 6-1-3: their wires are as many."""
    lab = ProvenLab(changes=LIES[name])
    state = lab.reach(Phase.PROVE)
    proof = lab.wrap(0, Lab.envelope(lab, 0, state, None))  # as the genesis has it
    with pytest.raises(KeyMismatch, match="the genesis contradicts the key that it names"):
        lab.verifier().check(state, lab.block(state, [proof]))


def test_a_key_that_lies_in_itself_is_refused() -> None:
    """Its card says another circuit than its points: sizes alone would not show it."""
    lab = ProvenLab()
    other = replace(proving_key().verifying, circuit_digest=bytes(32))
    task = replace(lab.task, verifying_key_digest=lab.blobs.put(other.encode()))
    with pytest.raises(KeyMismatch, match="the key contradicts itself"):
        load_task_key(task, lab.blobs)


# -- commands --------------------------------------------------------------------------------------


def deal(folder: Path, task: Task, blobs: MemoryBlobs) -> Path:
    """A chain on disk whose genesis says this."""
    create_chain(
        folder,
        chain_id=b"test-chain",
        task=task,
        timeouts=proven_lab().genesis.timeouts,
        n_validators=1,
        random_bytes=seeded(5),
    )
    store = FileBlobs(folder / BLOBS)
    for raw in blobs._blobs.values():
        store.put(raw)
    return folder


@pytest.mark.parametrize("name", LIES)
def test_no_node_starts_on_such_a_genesis(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path / "data"))
    lab = ProvenLab()
    folder = deal(tmp_path, replace(lab.task, **LIES[name]), lab.blobs)
    result = run("node", node_home(folder, 0))
    assert result.exit_code == 1, result.output
    assert "the genesis contradicts the key that it names" in result.stderr
    assert "take the genesis that the chain was started with" in result.stderr
    verified = run("chain", "verify", node_home(folder, 0), "--genesis", folder / GENESIS)
    assert verified.exit_code == 1, verified.output
    assert "the genesis contradicts the key that it names" in verified.stderr
    assert "Traceback" not in result.output + verified.output
