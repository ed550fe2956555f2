"""What a few bytes of a key folder or a name may ask for: refused before anything is compiled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from api.console import machine, proving
from api.console.proving import ProverKit
from kernels.backend import get_backend
from prover import pipeline
from prover.circuit.accuracy import compile_accuracy
from prover.circuit.public_inputs import MAX_SAMPLES
from prover.errors import CircuitTooLarge, FormatError, KeyMismatch
from prover.groth16.setup import setup_accuracy
from prover.keys.card import KeyCard
from prover.keys.folder import CARD_NAME, VERIFYING_NAME, load_verifying_key, save_key
from prover.model.layers import Requant
from prover.model.network import Architecture, canonical_json
from prover.model.zkq import encode_model
from prover.pipeline import compile_for_key
from tests.support.commands import run
from tests.support.models import random_model
from tests.support.tiny_circuits import seeded

ARCHITECTURE = Architecture.mlp([6, 1, 3], requant=Requant(q_bits=9))
N_SAMPLES = 4
GIB = 1 << 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key, and a model of its architecture."""
    folder = tmp_path_factory.mktemp("bounds")
    accuracy = compile_accuracy(ARCHITECTURE, N_SAMPLES)
    key = setup_accuracy(accuracy, random_bytes=seeded(1), backend=get_backend("cpu"))
    save_key(key, folder / "key", KeyCard.of(accuracy))
    model = random_model(ARCHITECTURE, np.random.default_rng(2))
    (folder / "model.zkq").write_bytes(encode_model(model))
    return folder


def write_card(folder: Path, n_samples: int) -> KeyCard:
    """A card for so many samples, and a verifying half that vouches for it."""
    key = load_verifying_key(folder / "key")
    card = KeyCard(
        architecture=ARCHITECTURE, n_samples=n_samples, circuit_digest=key.circuit_digest
    )
    (folder / "key" / CARD_NAME).write_bytes(card.encode())
    vouching = replace(key, card_digest=card.digest)
    (folder / "key" / VERIFYING_NAME).write_bytes(vouching.encode())
    return card


def compile_nothing(*_: object, **__: object) -> NoReturn:
    raise AssertionError("a circuit is compiled")


def test_a_card_that_asks_for_more_samples_than_the_key_has_is_not_compiled(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key's own bytes bound what `commit` and `prove` compile."""
    write_card(folder, N_SAMPLES)
    kit = ProverKit.load(folder / "model.zkq", folder / "key", key_digest=None, memory_bytes=None)
    assert kit.accuracy.n_samples == N_SAMPLES
    monkeypatch.setattr(pipeline, "compile_accuracy", compile_nothing)
    monkeypatch.setattr(proving, "compile_for_key", compile_nothing)
    for n_samples in (N_SAMPLES + 1, MAX_SAMPLES):
        write_card(folder, n_samples)
        with pytest.raises(KeyMismatch):
            ProverKit.load(folder / "model.zkq", folder / "key", key_digest=None, memory_bytes=None)


def test_a_circuit_beyond_this_machine_is_not_compiled(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verify --check-circuit` has no proving half to go by: its memory is the bound."""
    key = load_verifying_key(folder / "key")
    card = write_card(folder, MAX_SAMPLES)
    monkeypatch.setattr(pipeline, "compile_accuracy", compile_nothing)
    monkeypatch.setattr(pipeline, "count_memory", lambda: 2 * GIB)
    with pytest.raises(CircuitTooLarge, match="and there are 2048 MiB"):
        compile_for_key(card, key)


def test_a_card_of_a_circuit_that_no_key_can_have_is_no_card() -> None:
    card = KeyCard(
        architecture=Architecture.mlp([2, 200, 2]),
        n_samples=1 << 18,
        circuit_digest=bytes(32),
    )
    with pytest.raises(FormatError, match="no card"):
        KeyCard.decode(card.encode())
    raw = canonical_json({"n_samples": 1}) + b"\n"
    with pytest.raises(FormatError, match="no card"):
        KeyCard.decode(raw)


@pytest.mark.parametrize("command", ["setup", "inspect"])
def test_names_that_ask_for_too_much_are_misuse(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ["--out", tmp_path / "key"] if command == "setup" else []
    found = run(command, "mlp-784-128-10", "--samples", MAX_SAMPLES, *out)
    assert (found.exit_code, "the limit is 134217728" in found.output) == (2, True)
    monkeypatch.setattr(machine, "find_memory", lambda _: GIB // 4)
    found = run(command, "mlp-784-128-10", "--samples", 1024, *out)
    words = " ".join(found.output.replace("│", " ").split())
    assert (found.exit_code, "and there are 256 MiB" in words) == (2, True)
    assert not list(tmp_path.iterdir())
