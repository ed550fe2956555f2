"""Flower's own classes around honest and dishonest clients, in an environment that has Flower.

flwr pins other versions than zkpot does, so it has an environment of its own: `make test` sets it
up beside the others (`$(STAMPS)/flower`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PYTHON = Path(sys.prefix) / "flower" / "bin" / "python"


@pytest.fixture(scope="module")
def told(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `tests/support/flower_story.py` tells of its rounds."""
    if not PYTHON.is_file():
        pytest.skip("there is no environment with Flower: `make test` sets one up")
    folder = tmp_path_factory.mktemp("flower") / "task"
    done = subprocess.run(
        [PYTHON, "-m", "tests.support.flower_story", folder],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_strategy_averages_who_is_honest_and_drops_the_others(told: dict[str, Any]) -> None:
    """3 copies from 1, 4 sends its proof of round 1 again, 5 claims more than it has, 6 sends
    another model than it has proven, 7 and 8 send no proof. 2 has other names and metrics."""
    dropped = {
        "3": "other_client",
        "5": "forged",
        "6": "other_model",
        "7": "missing",
        "8": "missing",
    }
    assert told["open"]["refusals"] == {"1": dropped, "2": dropped | {"4": "stale"}}
    first, second = (told["open"]["metrics"][n] for n in "12")
    assert (first["zkpot-proven"], first["zkpot-refused"]) == (3, 5)
    assert (second["zkpot-proven"], second["zkpot-refused"]) == (2, 6)
    assert second["zkpot-refused-stale"] == 1
    assert 20 <= first["zkpot-least-correct"] <= 32
    assert told["open"]["names"] == ["fc.weight", "fc.bias"]
    assert second["part"] == 0.5
    assert "loss" not in second  # node 2 has a list
    assert told["open"]["error_in_steps"] <= 0.51  # of rounding: the mean is that of 1 and 2
    assert told["open"]["accuracy"] > 0.75


def test_under_secagg_a_forger_is_dropped_and_the_sum_of_the_others_is_opened(
    told: dict[str, Any],
) -> None:
    assert told["secure"]["accepted"] == [1, 2, 3]
    assert told["secure"]["refusals"] == {"4": "forged"}
    assert told["secure"]["is_opened"] is True
    assert told["secure"]["error_in_steps"] <= 0.51
    assert told["secure"]["accuracy"] > 0.75


def test_under_secagg_a_sum_of_other_models_than_the_proven_ones_is_dropped(
    told: dict[str, Any],
) -> None:
    assert told["spoilt"]["accepted"] == [1, 2, 3, 4]
    assert told["spoilt"]["is_opened"] is False
    assert told["spoilt"]["moved"] is False


def test_under_secagg_nothing_is_proven_that_is_not_masked(told: dict[str, Any]) -> None:
    """The proof's mod would else put the model and its blinding into the answer as they are."""
    assert "TicketInvalid" in told["around"]
    assert "SecAgg+ masks" in told["around"]
