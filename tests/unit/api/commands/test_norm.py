"""`zkpot setup --norm` and `zkpot inspect --norm`: keys and counts of bounds on updates."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels.backend import get_backend
from prover.errors import FormatError, KeyMismatch
from prover.keys.card import UpdateCard
from prover.keys.folder import (
    CARD_NAME,
    load_proving_key,
    load_update_half,
    load_verifying_half,
)
from prover.model.presets import parse_architecture
from prover.model.update import UpdateBounds
from prover.pedersen.commitment import Committer, draw_blinding
from prover.pipeline import commit_job
from prover.updates import compile_norm_for_key, prove_update
from prover.wire.statement import Occasion
from tests.support.commands import run, succeed
from tests.support.models import random_model
from tests.support.tiny_circuits import seeded

BOUNDS = UpdateBounds(weight=4, bias=100, squares=50)
TEXT = "4,100,50"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("norm") / "key"
    return folder, succeed("setup", "mlp-6-3", "--norm", TEXT, "--out", folder)


def test_setup_writes_a_key_that_proves(made: tuple[Path, dict[str, Any]]) -> None:
    folder, facts = made
    assert facts["bounds"] == BOUNDS.to_manifest()
    assert "samples" not in facts
    verifying, card = load_update_half(folder, expected_digest=bytes.fromhex(facts["key_digest"]))
    assert card.bounds == BOUNDS
    norm = compile_norm_for_key(card, verifying)
    assert norm.digest.hex() == facts["circuit_digest"]
    backend, ticks = get_backend("cpu"), count()
    model = random_model(parse_architecture("mlp-6-3"), np.random.default_rng(2))
    committer = Committer(model.architecture.n_parameters, backend)
    blinding = draw_blinding(seeded(3))
    proven = prove_update(
        norm,
        load_proving_key(folder, verifying),
        model,
        model,
        occasion=Occasion(
            chain_id=b"c", task_id=b"t", round_index=0, commit_height=0, client_key=b"k"
        ),
        commitment=commit_job(model, blinding, committer),
        blinding=blinding,
        committer=committer,
        random_bytes=seeded(4),
        backend=backend,
        clock=lambda: float(next(ticks)),
    )
    assert proven.statement.verifying_key_digest == verifying.digest


def test_a_card_is_of_one_kind(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, facts = made
    with pytest.raises(FormatError, match="no card of version 3 with n_samples"):
        load_verifying_half(folder)
    samples = succeed("setup", "mlp-6-3", "--samples", 4, "--out", tmp_path / "key")
    with pytest.raises(FormatError, match="no card of version 3 with bounds"):
        load_update_half(tmp_path / "key")
    assert samples["samples"] == 4
    assert samples["key_digest"] != facts["key_digest"]


def test_a_card_of_other_bounds_is_refused(made: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = made
    verifying, card = load_update_half(folder)
    raw = (folder / CARD_NAME).read_bytes()
    assert UpdateCard.decode(raw) == card
    other = UpdateCard.decode(raw.replace(b'"weight":4', b'"weight":5'))
    with pytest.raises(KeyMismatch, match="other bounds on updates"):
        other.require_key(verifying)
    for forged in (b'"weight":0', b'"weight":4.0', b'"weight":"4"', b'"weight":255', b'"w":4'):
        with pytest.raises(FormatError, match="no card"):
            UpdateCard.decode(raw.replace(b'"weight":4', forged))


def test_inspect_counts_the_circuit() -> None:
    found = succeed("inspect", "mlp-784-128-10", "--norm", "20,20000,500000")
    assert found["rows"] == 204_259
    assert found["wires"]["model"] == 101_770
    assert found["seconds"]["total"] > 0
    shown = run("inspect", "mlp-784-128-10", "--norm", "20,20000,500000").output
    assert "bounds on updates of mlp-784-128-10 (weight 20, bias 20000, squares 500000)" in shown


@pytest.mark.parametrize(
    ("norm", "words"),
    [
        ("4,100", "bounds are three numbers"),
        ("4,100,-5", "bounds are three numbers"),
        ("4,100,x", "bounds are three numbers"),
        ("0,100,50", "the bound on weight must be an integer from 1 to 254"),
        ("4,100,5000000000", "the bound on squares must be"),
    ],
)
def test_bounds_that_are_none_are_a_usage_error(norm: str, words: str, tmp_path: Path) -> None:
    for command in (("setup", "--out", tmp_path / "key"), ("inspect",)):
        result = run(command[0], "mlp-6-3", "--norm", norm, *command[1:])
        assert result.exit_code == 2
        assert words in result.output
        assert "--norm" in result.output
    assert not (tmp_path / "key").exists()


def test_a_circuit_is_of_samples_or_of_bounds(tmp_path: Path) -> None:
    both = ("--samples", 4, "--norm", TEXT)
    for arguments in (
        ("setup", "mlp-6-3", *both, "--out", tmp_path / "key"),
        ("inspect", "mlp-6-3", *both),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "give --samples or --norm, not both" in result.output
