"""`zkpot demo` from an empty folder: the whole story, and what it leaves behind."""

from __future__ import annotations

import json
import re
import stat
from typing import Any

import pytest

from tests.support.demo import Demo, zkpot

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def told(demo: Demo) -> dict[str, Any]:
    return demo.told


def test_everything_told_is_true(told: dict[str, Any]) -> None:
    assert told["true"] is True
    assert [claim["text"] for claim in told["claims"] if not claim["holds"]] == []
    assert len(told["claims"]) == 13
    *_, mean, _, _, wire = (claim["text"] for claim in told["claims"])
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


def test_the_chain_is_verified_by_who_has_only_its_genesis(demo: Demo) -> None:
    assert len(demo.homes) == 4
    for home in demo.homes:
        done = zkpot(demo.data_dir, "chain", "verify", str(home), "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["height"] == demo.told["height"]


def test_it_leaves_a_picture_logs_and_closed_doors(demo: Demo) -> None:
    folder = demo.folder
    assert (folder / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    logs = {path.stem for path in (folder / "logs").iterdir()}
    assert logs == {"api", *(f"node-{i}" for i in range(4))}
    clients = folder / "clients"
    for private in [*clients.glob("*/*.key"), *clients.glob("*/chain-*/round-*/*")]:
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
    for name in ("commitment.secret", "masks.secret"):
        assert len(list(clients.glob(f"*/chain-*/round-*/{name}"))) == 15
