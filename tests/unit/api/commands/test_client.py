"""`zkpot client` and `zkpot chain permit`: who is let in, and which exit code tells what."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from api.client.joining import Bringer
from api.commands.client import find_peers
from consensus.content.blobs import FileBlobs
from consensus.content.peers import PeerBlobs
from consensus.disk.development import ADMISSION, BLOBS, GENESIS
from consensus.disk.identity import create_key
from consensus.wire.signatures import is_valid
from consensus.wire.transactions import Proof, permit_bytes
from federated.task_scales import TaskScales
from prover.keys.card import KeyCard
from prover.keys.folder import save_key
from tests.support.commands import run
from tests.support.learning import ProvenLab, accuracy, ed25519, proving_key
from tests.support.memory_blobs import MemoryBlobs

SCALES = TaskScales(weights=(0.01, 0.01), mean=0.5, std=0.25).to_lists()


@pytest.fixture(autouse=True)
def _own_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def lab(tmp_path: Path) -> ProvenLab:
    """A chain's folder as `zkpot chain init` leaves it, without nodes."""
    chain = tmp_path / "chain"
    chain.mkdir(mode=0o700)
    lab = ProvenLab(changes={"scales": SCALES}, blobs=FileBlobs(chain / BLOBS))  # type: ignore[arg-type]
    (chain / GENESIS).write_bytes(lab.genesis.encode())
    create_key(chain, lab.admission.private_bytes_raw(), ADMISSION)
    save_key(proving_key(), tmp_path / "key", KeyCard.of(accuracy()))
    np.savez(
        tmp_path / "own.npz",
        images=np.arange(60, dtype=np.uint8).reshape(10, 6),
        labels=np.arange(10) % 3,
    )
    return lab


def join(tmp_path: Path, *options: object, data: object = "own.npz") -> tuple[int, str]:
    """Exit code, and all that was printed."""
    result = run(
        *("client", "join", "--genesis", tmp_path / "chain" / GENESIS),
        *("--data", tmp_path / str(data), "--key", tmp_path / "key"),
        *("--blobs", tmp_path / "chain" / BLOBS, "--patience", 1, *options),
    )
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def test_a_permit_is_for_the_key_that_was_made(lab: ProvenLab, tmp_path: Path) -> None:
    key = run("client", "key").stdout.strip()
    assert run("client", "key", "--json").exit_code == 0
    assert json.loads(run("client", "key", "--json").stdout)["client_key"] == key
    assert run("client", "key", "--state", tmp_path / "other").stdout.strip() != key
    permit = run("chain", "permit", tmp_path / "chain", key).stdout.strip()
    signed = permit_bytes(lab.genesis.digest, bytes.fromhex(key))
    assert is_valid(lab.genesis.admission_key, bytes.fromhex(permit), signed)


def test_permits_by_another_key_are_not_made(lab: ProvenLab, tmp_path: Path) -> None:
    chain = tmp_path / "chain"
    assert run("chain", "permit", chain, "abc").exit_code == 2
    (chain / ADMISSION).unlink()
    create_key(chain, ed25519(1).private_bytes_raw(), ADMISSION)
    result = run("chain", "permit", chain, "00" * 32)
    assert result.exit_code == 1
    assert "is the key of another task" in result.stderr


@pytest.mark.usefixtures("lab")
def test_exit_codes_tell_what_is_wrong(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")
    code, said = join(tmp_path, data="nothing")
    assert (code, "is neither a folder" in said) == (8, True)
    code, said = join(tmp_path, "--permit", "00" * 64)
    assert (code, "zkpot chain permit CHAIN" in said) == (5, True)
    code, said = join(tmp_path)  # without a permit, and nobody is asked
    assert (code, "no permit" in said) == (5, True)
    code, said = join(tmp_path, "--genesis-digest", "11" * 32)
    assert (code, "genesis_unavailable" in said) == (1, True)
    assert join(tmp_path, "--validator", 4)[0] == 2
    assert run("client", "join", "--data", "mnist", "--state", tmp_path / "new").exit_code == 2
    (tmp_path / "empty").mkdir()
    result = run(
        *("client", "join", "--genesis", tmp_path / "chain" / GENESIS, "--json"),
        *("--data", tmp_path / "own.npz", "--patience", 1),
    )
    assert result.exit_code == 9
    assert json.loads(result.stdout)["refused"] == "proving_failed"


def test_nodes_that_are_not_there_end_it(lab: ProvenLab, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")
    key = run("client", "key").stdout.strip()
    permit = run("chain", "permit", tmp_path / "chain", key).stdout.strip()
    code, said = join(tmp_path, "--permit", permit)
    assert (code, "no block after height 0" in said) == (7, True)
    assert f"genesis {lab.genesis.digest.hex()} (trusted from now on" in said
    assert "10 own samples" in said
    assert f"registering as {key}" in said
    code, said = join(tmp_path, "--genesis-digest", lab.genesis.digest.hex())
    assert (code, "(as given)" in said) == (7, True)
    code, said = join(tmp_path)
    assert (code, "(as this folder knows it)" in said) == (7, True)


@pytest.mark.usefixtures("lab")
def test_a_task_without_scales_is_not_learned(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")
    other = ProvenLab()
    (tmp_path / "chain" / GENESIS).write_bytes(other.genesis.encode())
    code, said = join(tmp_path)
    assert (code, "scales_invalid" in said) == (1, True)


@pytest.mark.parametrize(
    ("source", "peers"),
    [
        ("http://10.0.0.1:8700", ["http://10.0.0.1:8700"]),
        ("https://node.example/", ["https://node.example"]),
        ("https://example.org/tasks/genesis.json", []),
        ("chain/genesis.json", []),
        (None, []),
    ],
)
def test_the_node_that_a_genesis_comes_from_is_a_peer(source: str | None, peers: list[str]) -> None:
    assert find_peers(source) == peers


def test_blobs_are_brought_until_one_peer_has_taken_them(lab: ProvenLab) -> None:
    own = MemoryBlobs()
    proof = lab.sign(
        Proof(client_key=bytes(32), learning_round=0, envelope=b"x", deal=own.put(b"a deal")),
        lab.clients[0],
    )
    answers = iter([0, 0, 1])
    offered: list[bytes] = []

    class Peers(PeerBlobs):
        def offer(self, raw: bytes) -> int:
            offered.append(raw)
            return next(answers)

    bringer = Bringer(own, Peers([]))
    for _ in range(5):
        bringer.bring(proof)
    assert offered == [b"a deal"] * 3
    bringer.bring(lab.register(0))
    assert len(offered) == 3
