"""`zkpot demo` from an empty folder: the whole story, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
PROGRAM = Path(sys.executable).parent / "zkpot"
LIMIT_S = 1100


def zkpot(
    data_dir: Path, *arguments: str, limit_s: float = LIMIT_S
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments],
        env={**os.environ, "ZKPOT_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def told(data_dir: Path) -> dict[str, Any]:
    done = zkpot(data_dir, "demo", "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "page: http://127.0.0.1:" in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_everything_told_is_true(told: dict[str, Any]) -> None:
    assert told["true"] is True
    assert [claim["text"] for claim in told["claims"] if not claim["holds"]] == []
    assert len(told["claims"]) == 11
    *_, mean, wire = (claim["text"] for claim in told["claims"])
    assert mean.endswith("opened and recomputed by 4 validators")
    searched = re.fullmatch(r"no model was ever on the wire: searched ([0-9,]+) bytes", wire)
    assert searched
    assert int(searched[1].replace(",", "")) > 10**7  # masked updates on every validator's disk


def test_clients_learn_and_prove_and_cheats_are_refused(told: dict[str, Any]) -> None:
    assert len(told["rounds"]) == 3
    shares = [r["global_count"] / told["n_pool"] for r in told["rounds"]]
    assert shares[0] < shares[2]
    assert shares[2] > 0.88
    for number, r in enumerate(told["rounds"]):
        clients = r["clients"]
        honest, cheats = list(clients.values())[:3], list(clients.values())[3:]
        assert all(c["proven"] == c["measured"] == c["claimed"] for c in honest)
        assert all(c["proven"] is None and c["verdict"] == "pairing_failed" for c in cheats)
        assert clients[r["leader"]]["proven"] == max(c["proven"] for c in honest)
        forged = cheats[1]["claimed"]  # made up, or taken from another client in turn
        assert forged in ([c["proven"] for c in honest] if number % 2 else [told["n_samples"]])


def test_the_chain_is_verified_by_who_has_only_its_genesis(
    data_dir: Path, told: dict[str, Any]
) -> None:
    for index in range(4):
        home = data_dir / "demo" / "chain" / f"node-{index}"
        done = zkpot(data_dir, "chain", "verify", str(home), "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["height"] == told["height"]


def test_it_leaves_a_picture_logs_and_closed_doors(data_dir: Path, told: dict[str, Any]) -> None:
    folder = data_dir / "demo"
    assert (folder / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    logs = {path.stem for path in (folder / "logs").iterdir()}
    assert logs == {"api", *(f"node-{i}" for i in range(4))}
    clients = folder / "clients"
    for private in [*clients.glob("*/client.key"), *clients.glob("*/chain-*/round-*/*")]:
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
    for name in ("commitment.secret", "masks.secret"):
        assert len(list(clients.glob(f"*/chain-*/round-*/{name}"))) == 15
