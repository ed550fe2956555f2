"""`zkpot demo --dataset cifar10 --model lenet-small`: the same story of a network of convolutions.

A soak: its key, of 2^21 rows, and thirteen proofs under it take ten minutes on two processors.
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
N_SAMPLES = 64
CHANCE = 0.1


def test_photographs_are_learned_and_proven(tmp_path: Path) -> None:
    asked = ("--dataset", "cifar10", "--model", "lenet-small", "--samples", str(N_SAMPLES))
    done = zkpot(tmp_path, "demo", *asked, "--json", limit_s=3500)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "counts of so few tell on single samples" in done.stderr
    told = json.loads(done.stdout)
    assert told["true"] is True
    assert len(told["claims"]) == 13
    assert (told["subject"], told["n_samples"]) == ("lenet-small on cifar10", N_SAMPLES)
    assert told["allow_few_samples"] is True
    assert len(told["rounds"]) == 3
    for number, r in enumerate(told["rounds"]):
        honest, cheats = list(r["clients"].values())[:3], list(r["clients"].values())[3:]
        assert all(c["proven"] == c["measured"] >= told["threshold"] for c in honest)
        assert all(c["proven"] is None and c["refused"] for c in cheats)
        forged = cheats[1]["claimed"]  # another client's proof in the second round
        assert forged in ([c["proven"] for c in honest] if number % 2 else [N_SAMPLES])
    assert told["rounds"][2]["global_count"] / told["n_pool"] > 2 * CHANCE
    task = Genesis.decode((tmp_path / "demo" / "chain" / GENESIS).read_bytes()).task
    assert (task.task_id, task.allow_few_samples) == (b"cifar10", True)
    assert (tmp_path / "demo" / "accuracy.png").read_bytes().startswith(b"\x89PNG")
