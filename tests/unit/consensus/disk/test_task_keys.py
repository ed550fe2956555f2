"""Keys of a chain are its genesis's: same network, samples, circuit, bases; or no node goes on.

What a genesis says in clear and what the key that it names was made for can only differ if whoever
wrote the genesis meant ill, or was shown a forged folder. Both are refused by all who read them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.content.blobs import FileBlobs
from consensus.disk.development import BLOBS, GENESIS, create_chain, node_home
from consensus.disk.task_keys import check_task_keys, load_task_commitment_key, load_task_key
from consensus.learning.chain_state import Phase
from consensus.wire.genesis import Task
from federated.client import make_committer
from kernels.array import G1Array
from prover.errors import KeyMismatch
from prover.keys.opening import CommitmentKey
from prover.model.layers import Requant
from prover.model.network import Architecture
from tests.support.commands import run
from tests.support.learning import (
    ARCHITECTURE,
    BACKEND,
    N_SAMPLES,
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


def exchange_bases(raw: bytes) -> bytes:
    """Two bases in each other's place: every point is on the curve, two weights change places."""
    bases = CommitmentKey.decode(raw).bases.data.copy()
    bases[[0, 1]] = bases[[1, 0]]
    return CommitmentKey(bases=G1Array(bases)).encode()


def with_exchanged_bases(task: Task, blobs: MemoryBlobs) -> Task:
    raw = exchange_bases(blobs.get(task.commitment_key_digest))
    return replace(task, commitment_key_digest=blobs.put(raw))


LIES: dict[str, Callable[[Task, MemoryBlobs], Task]] = {
    "another width": lambda task, _: replace(task, architecture=NARROW),
    "another multiplier": lambda task, _: replace(task, architecture=OTHER_MULTIPLIER),
    "more samples": lambda task, _: replace(task, n_samples=N_SAMPLES + 1),
    "another circuit": lambda task, _: replace(task, circuit_digest=bytes(32)),
    "other bases": with_exchanged_bases,
}


def test_the_keys_of_an_honest_genesis_are_its_own() -> None:
    lab = proven_lab()
    assert load_task_key(lab.task, lab.blobs).digest == lab.task.verifying_key_digest
    assert load_task_commitment_key(lab.task, lab.blobs).digest == lab.task.commitment_key_digest
    check_task_keys(lab.task, lab.blobs)
    check_task_keys(lab.task, MemoryBlobs())  # they may come later


@pytest.mark.parametrize("name", LIES)
def test_a_genesis_that_contradicts_its_key_is_refused(name: str) -> None:
    lab = ProvenLab()
    task = LIES[name](lab.task, lab.blobs)
    for load in (load_task_key, check_task_keys):
        with pytest.raises(KeyMismatch, match="the genesis contradicts the key that it names"):
            load(task, lab.blobs)


@pytest.mark.parametrize("name", LIES)
def test_no_proof_counts_under_such_a_genesis(name: str) -> None:
    """Valid proofs about 6-4-3 were taken where the genesis said 6-1-3: their wires are as many."""
    honest = ProvenLab()
    task = LIES[name](honest.task, honest.blobs)
    fields = ("architecture", "n_samples", "circuit_digest", "commitment_key_digest")
    lab = ProvenLab(changes={f: getattr(task, f) for f in fields}, blobs=honest.blobs)
    state = lab.reach(Phase.COMMIT)
    with pytest.raises(KeyMismatch, match="the genesis contradicts the key that it names"):
        lab.verifier().check(state, lab.block(state, [lab.commit(0)]))


@pytest.mark.parametrize("name", LIES)
def test_no_client_commits_under_such_a_genesis(name: str) -> None:
    lab = ProvenLab()
    task = LIES[name](lab.task, lab.blobs)
    with pytest.raises(KeyMismatch, match="the genesis contradicts the key that it names"):
        make_committer(task, proving_key(), random_bytes=seeded(1), backend=BACKEND)


def test_a_key_that_lies_in_itself_is_refused() -> None:
    """Its card says another circuit than its points: sizes alone would not show it."""
    lab = ProvenLab()
    other = replace(proving_key().verifying, circuit_digest=bytes(32))
    task = replace(lab.task, verifying_key_digest=lab.blobs.put(other.encode()))
    with pytest.raises(KeyMismatch, match="the key contradicts itself"):
        load_task_key(task, lab.blobs)


def test_a_commitment_key_of_another_size_is_refused() -> None:
    lab = ProvenLab()
    raw = lab.blobs.get(lab.task.commitment_key_digest)[:-64]
    task = replace(lab.task, commitment_key_digest=lab.blobs.put(raw))
    with pytest.raises(KeyMismatch, match="another number of parameters"):
        load_task_commitment_key(task, lab.blobs)


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
    folder = deal(tmp_path, LIES[name](lab.task, lab.blobs), lab.blobs)
    result = run("node", node_home(folder, 0))
    assert result.exit_code == 1, result.output
    assert "the genesis contradicts the key that it names" in result.stderr
    assert "take the genesis that the chain was started with" in result.stderr
    verified = run("chain", "verify", node_home(folder, 0), "--genesis", folder / GENESIS)
    assert verified.exit_code == 1, verified.output
    assert "the genesis contradicts the key that it names" in verified.stderr
    assert "Traceback" not in result.output + verified.output
