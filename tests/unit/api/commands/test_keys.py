"""What commands make of key folders: forged cards, parts of other keys, and --key-digest."""

from __future__ import annotations

import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from prover.keys.card import KeyCard
from prover.keys.folder import TRANSCRIPT_NAME, VERIFYING_NAME, load_verifying_key
from prover.model.layers import Requant
from prover.model.network import Architecture
from prover.model.zkq import encode_model
from tests.support.commands import run, succeed
from tests.support.models import random_model

ARCHITECTURE = Architecture.mlp([784, 4, 10], requant=Requant(shift=14, q_bits=10))
N_SAMPLES = 256  # the least of a genesis
DATASET = "mnist:test[0:256]"
WRONG = "ab" * 32


@pytest.fixture(autouse=True)
def _packaged_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No fetched data, whatever this machine has."""
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path / "no-data"))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a key, a commitment and a proof."""
    desk = tmp_path_factory.mktemp("desk")
    model = random_model(ARCHITECTURE, np.random.default_rng(4))
    (desk / "model.zkq").write_bytes(encode_model(model))
    succeed("setup", desk / "model.zkq", "--samples", N_SAMPLES, "--out", desk / "key")
    succeed("commit", desk / "model.zkq", "--out", desk / "model.commit")
    succeed(*commands(desk)["prove"], "--out", desk / "proof.zkp")
    return desk


def commands(desk: Path, key: Path | None = None) -> dict[str, list[object]]:
    """Every command that reads a key, without its --out."""
    folder = ["--key", key or desk / "key"]
    data = [*folder, "--dataset", DATASET]
    commitment = ["--commitment", desk / "model.commit"]
    return {
        "prove": ["prove", desk / "model.zkq", *data, *commitment],
        "verify": ["verify", desk / "proof.zkp", *data],
        "chain": ["chain", "init", desk / "chain", *data],
    }


def complete(name: str, arguments: list[object], tmp_path: Path) -> list[object]:
    if name == "chain":
        return [*arguments[:2], tmp_path / "chain", *arguments[3:]]
    return arguments if name == "verify" else [*arguments, "--out", tmp_path / "out"]


def refuse(words: str, *arguments: object) -> None:
    """Exit code 1, the reason, and nothing said to be proven."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert "refused (key_mismatch)" in result.stderr
    assert words in result.stderr
    assert "proven" not in result.stdout
    assert "Traceback" not in result.output


READERS = ("prove", "verify", "chain")


@pytest.mark.parametrize("name", READERS)
def test_a_key_is_demanded_by_its_digest(name: str, desk: Path, tmp_path: Path) -> None:
    arguments = complete(name, commands(desk)[name], tmp_path)
    digest = load_verifying_key(desk / "key").digest.hex()
    refuse(f"take the key whose digest is {WRONG}", *arguments, "--key-digest", WRONG)
    assert list(tmp_path.iterdir()) == []
    for bad in ("xyz", WRONG[:-1], WRONG + "00"):
        result = run(*arguments, "--key-digest", bad)
        assert result.exit_code == 2, result.output
        assert "64 hexadecimal digits" in result.output
    assert run(*arguments, "--key-digest", digest).exit_code == 0


def test_verify_says_key_and_multipliers(desk: Path) -> None:
    """They are what a reader must know from elsewhere, or take on trust."""
    digest = load_verifying_key(desk / "key").digest.hex()
    found = succeed(*commands(desk)["verify"])
    assert (found["key_digest"], found["multipliers"]) == (digest, [1])
    assert found["architecture_digest"] == ARCHITECTURE.digest.hex()
    assert found["compared"] == []
    plain = run(*commands(desk)["verify"]).stdout
    assert f"  key digest {digest} (not compared)" in plain
    assert "  multipliers 1\n" in plain
    demanded = [*commands(desk)["verify"], "--key-digest", digest]
    assert succeed(*demanded)["compared"] == ["key_digest"]
    assert f"  key digest {digest} (as expected)" in run(*demanded).stdout


@pytest.mark.parametrize(
    ("was", "lie"),
    [
        ('"n_out":4', '"n_out":1'),
        ('"n_out":4', '"n_out":5'),
        ('"multiplier":1', '"multiplier":2'),
        ('"n_samples":256', '"n_samples":1024'),
        ('"shift":14', '"shift":13'),
    ],
)
@pytest.mark.parametrize("name", READERS)
def test_an_edited_card_is_refused(
    name: str, was: str, lie: str, desk: Path, tmp_path: Path
) -> None:
    """`verify` said "proven: the mlp-784-1-10" of such a folder, `chain init` made a genesis."""
    forged = tmp_path / "key"
    shutil.copytree(desk / "key", forged)
    text = (forged / "circuit.json").read_text()
    assert was in text
    (forged / "circuit.json").write_text(text.replace(was, lie))
    arguments = complete(name, commands(desk, forged)[name], tmp_path)
    refuse("circuit.json is not the one that verifying.key beside it names", *arguments)


def write_anew(key: Path, card: KeyCard) -> str:
    """A folder whose verifying half vouches for another card, as who forges keys makes it."""
    forged = replace(load_verifying_key(key), card_digest=card.digest)
    (key / "circuit.json").write_bytes(card.encode())
    (key / "verifying.key").write_bytes(forged.encode())
    return forged.digest.hex()


def test_a_key_written_anew_shows_by_its_digest_or_circuit(desk: Path, tmp_path: Path) -> None:
    """A stranger's word for a stranger's key: `verify` says whose, and --check-circuit compiles."""
    forged = tmp_path / "key"
    shutil.copytree(desk / "key", forged)
    card = KeyCard.decode((forged / "circuit.json").read_bytes())
    layers = (replace(card.architecture.layers[0], n_out=1), card.architecture.layers[1])
    narrow = replace(card.architecture, layers=layers)
    digest = write_anew(forged, replace(card, architecture=narrow))
    honest = load_verifying_key(desk / "key").digest.hex()
    verify = commands(desk, forged)["verify"]
    refuse(f"the digest of the key is {digest}", *verify, "--key-digest", honest)
    refuse("another circuit than mlp-784-1-10", *verify, "--check-circuit")
    assert "refused (wrong_key)" in run(*verify).stderr  # the statement names the honest one
    for name in ("prove", "chain"):
        arguments = complete(name, commands(desk, forged)[name], tmp_path)
        result = run(*arguments)
        assert result.exit_code == 1, result.output
        assert "refused (key_mismatch)" in result.stderr


def test_parts_of_another_key_of_the_same_circuit_are_refused(desk: Path, tmp_path: Path) -> None:
    succeed("setup", desk / "model.zkq", "--samples", N_SAMPLES, "--out", tmp_path / "other")
    for part, names in (
        ("proving.key", ("prove",)),
        ("circuit.json", ()),  # the same in both
        ("verifying.key", ("prove",)),
    ):
        mixed = tmp_path / f"mixed-{part}"
        shutil.copytree(desk / "key", mixed)
        shutil.copy(tmp_path / "other" / part, mixed / part)
        for name in names:
            refuse(part.split(".")[0], *complete(name, commands(desk, mixed)[name], tmp_path))
    assert not (tmp_path / "out").exists()


def test_no_command_takes_a_key_of_one_party_for_a_ceremony(desk: Path, tmp_path: Path) -> None:
    """Nor one that calls itself a ceremony's: a transcript has to be there that leads to it."""
    story = b"a transcript, it says of itself"
    liar = tmp_path / "liar"
    shutil.copytree(desk / "key", liar)
    key = replace(load_verifying_key(liar), ceremony_digest=sha256(story).digest())
    (liar / VERIFYING_NAME).write_bytes(key.encode())
    for name in READERS:
        for folder, code in ((desk / "key", "ceremony_invalid"), (liar, "bad_format")):
            asked = [*commands(desk, folder)[name], "--require-ceremony"]
            found = run(*complete(name, asked, tmp_path))
            assert f"refused ({code})" in found.stderr, found.output
    (liar / TRANSCRIPT_NAME).write_bytes(story)
    for name in READERS:
        asked = [*commands(desk, liar)[name], "--require-ceremony"]
        found = run(*complete(name, asked, tmp_path))
        assert "it is no transcript of a ceremony" in found.stderr, found.output
    assert not (tmp_path / "out").exists()
