"""`zkpot demo --training full`: the story of clients that prove every step of their training.

A soak: 72 proofs of steps, of 2^20 rows each, take minutes on two processors.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

from consensus.disk.development import GENESIS
from consensus.wire.genesis import Genesis
from tests.support.demo import zkpot

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
N_STEPS, CHANCE = 4, 0.1


def test_every_step_is_proven_and_who_trained_elsewhere_is_refused(tmp_path: Path) -> None:
    done = zkpot(tmp_path, "demo", "--training", "full", "--json", limit_s=3500)
    assert done.returncode == 0, done.stderr + done.stdout
    told = json.loads(done.stdout)
    assert told["true"] is True
    assert len(told["claims"]) == 15
    assert told["training"] == "4 of 4 steps a round"
    (impostor,) = [c["text"] for c in told["claims"] if "trained elsewhere" in c["text"]]
    assert impostor.startswith("client 6 sent a model")
    for r in told["rounds"]:
        *others, last = r["clients"].values()
        assert all(c["steps"]["proven"] == c["steps"]["taken"] == N_STEPS for c in others)
        honest = others[:3]
        assert all(c["proven"] == c["measured"] == c["claimed"] and c["entered"] for c in honest)
        assert last["claimed"] == last["measured"] > max(c["measured"] for c in honest)
        assert last["steps"]["false"] == [N_STEPS - 1]
        assert last["refused"]
        assert not last["entered"]
    shares = [r["global_count"] / told["n_pool"] for r in told["rounds"]]
    assert 2 * CHANCE < shares[0] < shares[2]
    chain = tmp_path / "demo" / "chain"
    task = Genesis.decode((chain / GENESIS).read_bytes()).task
    assert task.training is not None
    assert task.training.n_drawn == task.training.n_steps == N_STEPS
    verified = zkpot(tmp_path, "chain", "verify", str(chain / "node-0"), "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
