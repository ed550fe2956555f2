"""What commands say of a plan before they start, and what they do where memory is short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.console import proving
from prover import plan
from prover.circuit.sizes import compute_sizes
from prover.model.layers import Requant
from prover.model.network import Architecture
from prover.model.presets import parse_architecture
from prover.model.zkq import encode_model
from tests.support.commands import run
from tests.support.models import random_model

ARCHITECTURE = Architecture.mlp([784, 3, 10], requant=Requant(shift=14, q_bits=9))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path / "no-data"))
    path = tmp_path / "model.zkq"
    path.write_bytes(encode_model(random_model(ARCHITECTURE, np.random.default_rng(4))))
    return path


def inspect(*arguments: object) -> dict[str, Any]:
    result = run("inspect", *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_key_and_a_proof_are_planned_before_they_are_made(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here with all bases in files, and more samples than the key's circuit has."""
    used: list[bool] = []

    def must_stream(*_: object) -> bool:
        used.append(True)
        return True

    monkeypatch.setattr(plan, "must_stream", must_stream)
    monkeypatch.setattr(proving, "must_stream", must_stream)
    key, folder = model.with_name("key"), model.parent
    made = run("setup", model, "--samples", 4, "--out", key)
    rows = compute_sizes(ARCHITECTURE, 4).n_rows
    assert f"{rows} rows on " in made.stderr
    assert "read from its file as it is used" in made.stderr
    assert "for the key," in made.stderr
    assert sorted(path.name for path in key.iterdir()) == [
        "circuit.json",
        "proving.key",
        "verifying.key",
    ]
    run("commit", model, "--out", folder / "c")
    proof, dataset = folder / "proof.zkp", ("--dataset", "mnist:test[0:10]")
    given = ("--key", key, "--commitment", folder / "c", *dataset)
    proven = run("prove", model, *given, "--out", proof)
    assert proven.exit_code == 0, proven.output
    assert "3 proofs of up to 4 samples" in proven.stderr
    assert "for the key" not in proven.stderr
    assert "3 shards under one D_W" in proven.stdout
    assert run("verify", proof, "--key", key, *dataset).exit_code == 0
    assert len(used) > 2


def test_a_key_without_a_number_of_samples_is_for_what_fits(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit is refused where it was asked for, with the number that does."""
    most = plan.measure_proving(compute_sizes(ARCHITECTURE, 64), streams=True)
    monkeypatch.setenv("ZKPOT_MEMORY_BYTES", str(most))
    found = inspect(model)["plan"]
    assert found["samples"] == 1024
    assert found["proofs"] > 1
    assert found["samples_per_proof"] < 1024
    assert max(found["prove_memory_bytes"], found["setup_memory_bytes"]) <= most
    refused = run("inspect", model, "--samples", 1024)
    assert refused.exit_code == 2
    assert "take fewer samples, up to" in " ".join(refused.output.replace("│", " ").split())


@pytest.mark.parametrize("name", ["mlp-20-6-3", "lenet5"])
def test_inspect_says_what_each_part_costs(name: str) -> None:
    found = inspect(name, "--samples", 1)
    sizes = compute_sizes(parse_architecture(name), 1)
    assert found["plan"]["rows"] == found["rows"] == sizes.n_rows
    assert sum(line["rows"] for line in found["lines"]) == sizes.n_rows
    assert all(line["why"] for line in found["lines"] if line["rows"] > sizes.n_rows // 8)
    seconds = found["seconds"]
    parts = sum(seconds["lines"]) + seconds["padding"] + seconds["committed"]
    assert parts == pytest.approx(seconds["total"])
    assert seconds["total"] == pytest.approx(found["plan"]["seconds"]["prove"], rel=0.01)


def test_inspect_shows_the_plan_to_people() -> None:
    shown = run("inspect", "mlp-20-6-3", "--samples", 4).stdout
    for word in ("proofs: 1", "key: ", "memory: ", "time: ", "to make the key, once"):
        assert word in shown
