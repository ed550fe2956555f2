"""setup, commit, prove, verify and inspect, on a small network and packaged digits."""

from __future__ import annotations

import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernels.array import FrArray
from kernels.backend import get_backend
from kernels.encoding import encode_fr
from prover.model.layers import Requant
from prover.model.network import Architecture, QuantizedModel
from prover.model.zkq import decode_model, encode_model
from prover.pedersen.commitment import Blinding, Committer, ModelCommitment
from prover.pedersen.opening import opens
from prover.shards import Container
from prover.wire.envelope import Envelope
from tests.support.commands import run, succeed
from tests.support.models import random_model

ARCHITECTURE = Architecture.mlp([784, 4, 10], requant=Requant(shift=14, q_bits=10))
N_SAMPLES = 8
ONE = "mnist:test[0:8]"
MANY = "mnist:test[0:19]"  # three shards: 6, 6 and 7 samples
OCCASION = {"--chain": "lab", "--task": "digits", "--round": 3, "--height": 7, "--client": "a1b2"}


@pytest.fixture(autouse=True)
def _packaged_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No fetched data, whatever this machine has."""
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path / "no-data"))


def refuse(code: str, *arguments: object) -> str:
    """The reason of a command that ends with exit code 1, in words and as JSON alike."""
    result = run(*arguments, "--json")
    assert result.exit_code == 1, result.output
    found = json.loads(result.stdout)
    assert found["refused"] == code, found
    plain = run(*arguments)
    assert plain.exit_code == 1
    assert f"refused ({code})" in plain.stderr
    assert "Traceback" not in plain.output
    return str(found["reason"])


def misuse(words: str, *arguments: object) -> None:
    """Exit code 2 and what is wrong with the arguments."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert words in " ".join(result.output.replace("│", " ").split()), result.output
    assert "Traceback" not in result.output


def prove_arguments(desk: Path, dataset: str = ONE, name: str = "model") -> list[object]:
    files = [desk / f"{name}.zkq", "--key", desk / "key", "--commitment", desk / f"{name}.commit"]
    return ["prove", *files, "--dataset", dataset]


def verify_arguments(desk: Path, proof: Path, dataset: str = ONE) -> list[object]:
    return ["verify", proof, "--key", desk / "key", "--dataset", dataset]


def occasion_arguments() -> list[object]:
    return [x for pair in OCCASION.items() for x in pair]


@pytest.fixture(scope="module")
def models() -> dict[str, QuantizedModel]:
    return {
        name: random_model(ARCHITECTURE, np.random.default_rng(seed))
        for name, seed in (("model", 4), ("other", 5))
    }


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, models: dict[str, QuantizedModel]) -> Path:
    """A folder with a key, two models with their commitments, one proof and the shards of both."""
    desk = tmp_path_factory.mktemp("desk")
    for name, model in models.items():
        (desk / f"{name}.zkq").write_bytes(encode_model(model))
    succeed("setup", desk / "model.zkq", "--samples", N_SAMPLES, "--out", desk / "key")
    for name in models:
        succeed("commit", desk / f"{name}.zkq", "--out", desk / f"{name}.commit")
        shards = [*prove_arguments(desk, MANY, name), "--out", desk / f"{name}.shards"]
        succeed(*shards)
    succeed(*prove_arguments(desk), "--out", desk / "proof.zkp", *occasion_arguments())
    return desk


# -- setup -----------------------------------------------------------------------------------------


def test_setup_warns_of_its_only_party(desk: Path, tmp_path: Path) -> None:
    result = run("setup", "mlp-784-10", "--samples", 4, "--out", tmp_path / "key")
    assert result.exit_code == 0, result.output
    assert "WARNING: a setup by one party" in result.stdout
    assert "has to know its digest from you" in " ".join(result.stdout.split())
    card = json.loads((tmp_path / "key" / "circuit.json").read_text())
    assert set(card) == {"architecture", "circuit_digest", "n_samples", "version"}
    assert (card["n_samples"], card["architecture"]["input_shape"]) == (4, [784])
    reason = refuse("file_exists", "setup", "mlp-784-10", "--samples", 4, "--out", desk / "key")
    assert "proofs under it" in reason


def test_setup_reads_no_weight(desk: Path, tmp_path: Path) -> None:
    """The architecture is all there is of this model, and the circuit is the same."""
    raw = (desk / "model.zkq").read_bytes()
    head = 24 + len(ARCHITECTURE.encode())
    (tmp_path / "head.zkq").write_bytes(raw[:head])
    found = succeed("setup", tmp_path / "head.zkq", "--samples", 8, "--out", tmp_path / "key")
    card = json.loads((desk / "key" / "circuit.json").read_text())
    assert found["circuit_digest"] == card["circuit_digest"]
    (tmp_path / "cut.zkq").write_bytes(raw[: head - 1])
    arguments = ["setup", tmp_path / "cut.zkq", "--samples", 8, "--out", tmp_path / "none"]
    assert "zkpot quantize" in refuse("bad_model", *arguments)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("model", "samples", "words"),
    [
        ("absent.zkq", 8, "no file absent.zkq"),
        ("mlp-784", 8, "such as mlp-784-128-10"),
        ("mlp-784-10", 0, "--samples"),
        ("mlp-784-9000-10", 1 << 20, "take fewer samples"),
    ],
)
def test_setup_usage(tmp_path: Path, model: str, samples: int, words: str) -> None:
    misuse(words, "setup", model, "--samples", samples, "--out", tmp_path / "key")
    misuse(words, "inspect", model, "--samples", samples)


# -- commit ----------------------------------------------------------------------------------------


def test_commit_keeps_the_blinding_to_its_owner(desk: Path) -> None:
    secret = desk / "model.commit.blinding"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    before = secret.read_bytes(), (desk / "model.commit").read_bytes()
    arguments = ["commit", desk / "model.zkq", "--out"]
    assert "choose another --out" in refuse("file_exists", *arguments, desk / "model.commit")
    assert (secret.read_bytes(), (desk / "model.commit").read_bytes()) == before


def test_commit_does_not_overwrite_a_blinding_left_alone(desk: Path, tmp_path: Path) -> None:
    (tmp_path / "m.commit.blinding").write_bytes(b"kept")
    arguments = ["commit", desk / "model.zkq", "--out"]
    refuse("file_exists", *arguments, tmp_path / "m.commit")
    assert (tmp_path / "m.commit.blinding").read_bytes() == b"kept"
    assert not (tmp_path / "m.commit").exists()


def test_commit_hides_the_value_that_leaves_a_range(
    desk: Path, tmp_path: Path, models: dict[str, QuantizedModel]
) -> None:
    model = models["model"]
    biases = (np.full_like(model.biases[0], 8_388_607), model.biases[1])
    weights = (np.full_like(model.weights[0], 127), model.weights[1])
    wild = replace(model, biases=biases, weights=weights)
    (tmp_path / "wild.zkq").write_bytes(encode_model(wild))
    arguments = ["commit", tmp_path / "wild.zkq", "--out"]
    reason = refuse("range_exceeded", *arguments, tmp_path / "wild.commit")
    assert "layer 0: quotient out of range" in reason
    assert not any(character.isdigit() for character in reason.replace("layer 0", ""))
    assert not (tmp_path / "wild.commit.blinding").exists()


def test_commit_asks_for_no_key(desk: Path, tmp_path: Path) -> None:
    """The same D_W whatever keys there are, and proofs under each of them; see below."""
    result = run("commit", desk / "model.zkq", "--key", desk / "key", "--out", tmp_path / "c")
    assert result.exit_code == 2, result.output
    assert "--key" in result.output
    raw = (desk / "model.commit").read_bytes()
    found = ModelCommitment.decode(raw)
    blinding = Blinding.decode((desk / "model.commit.blinding").read_bytes())
    model = decode_model((desk / "model.zkq").read_bytes())
    committer = Committer(model.architecture.n_parameters, get_backend("cpu"))
    assert opens(found.d, model.wires, blinding.rho, committer)


def test_one_commitment_is_proven_under_two_keys(desk: Path, tmp_path: Path) -> None:
    succeed("setup", desk / "model.zkq", "--samples", 16, "--out", tmp_path / "key")
    files = [desk / "model.zkq", "--commitment", desk / "model.commit", "--dataset", ONE]
    proof = tmp_path / "p.zkp"
    made = succeed("prove", *files, "--key", tmp_path / "key", "--out", proof)
    first = Envelope.decode((desk / "proof.zkp").read_bytes())
    assert first is not None
    assert made["model_commitment"] == first.statement.commitments[0].hex()
    found = succeed(
        *["verify", proof, "--key", tmp_path / "key", "--dataset", ONE],
        *["--commitment", desk / "model.commit"],
    )
    assert found["model_commitment"] == made["model_commitment"]


def test_prove_wants_the_key_of_the_model(desk: Path, tmp_path: Path) -> None:
    stranger = random_model(Architecture.mlp([784, 10]), np.random.default_rng(1))
    (tmp_path / "other.zkq").write_bytes(encode_model(stranger))
    arguments = [tmp_path / "other.zkq", "--key", desk / "key", "--dataset", ONE]
    arguments += ["--commitment", desk / "model.commit", "--out", tmp_path / "p.zkp"]
    reason = refuse("key_mismatch", "prove", *arguments)
    assert "the key is for mlp-784-4-10" in reason
    assert "the model is mlp-784-10" in reason


@pytest.mark.parametrize("name", ["proving.key", "verifying.key", "circuit.json"])
@pytest.mark.parametrize("damage", ["absent", "empty", "cut", "altered"])
def test_a_damaged_key_is_refused(desk: Path, tmp_path: Path, name: str, damage: str) -> None:
    shutil.copytree(desk / "key", tmp_path / "key")
    path = tmp_path / "key" / name
    raw = path.read_bytes()
    middle = len(raw) // 2
    altered = raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :]
    if damage == "absent":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": raw[:-1], "altered": altered}[damage])
    arguments = ["--key", tmp_path / "key", "--commitment", desk / "model.commit"]
    arguments += ["--dataset", ONE, "--out", tmp_path / "p"]
    prove = run("prove", desk / "model.zkq", *arguments)
    assert prove.exit_code == 1, prove.output
    assert name in prove.stderr or "key_mismatch" in prove.stderr
    assert not (tmp_path / "p").exists()
    verify = run(*verify_arguments(tmp_path, desk / "proof.zkp"))
    # Verifiers read their own half only: whatever became of the other one, the proof is valid.
    assert verify.exit_code == (0 if name == "proving.key" else 1), verify.output


# -- prove -----------------------------------------------------------------------------------------


def test_prove_claims_at_most_what_holds(desk: Path, tmp_path: Path) -> None:
    arguments = [*prove_arguments(desk, "mnist:test[0:5]"), "--out", tmp_path / "p.zkp"]
    assert "correctness/count" in refuse("unsatisfied_constraint", *arguments, "--claim", 6)
    assert not (tmp_path / "p.zkp").exists()
    assert succeed(*arguments, "--claim", 0)["correct"] == 0
    verify = verify_arguments(desk, tmp_path / "p.zkp", "mnist:test[0:5]")
    assert succeed(*verify)["correct"] == 0


def test_prove_refuses_what_does_not_belong_together(desk: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "p.zkp"]
    swapped = prove_arguments(desk)
    swapped[1] = desk / "other.zkq"
    assert "of another model" in refuse("key_mismatch", *swapped, *out)
    shutil.copy(desk / "model.commit", tmp_path / "m.commit")
    lonely = prove_arguments(desk)
    lonely[5] = tmp_path / "m.commit"
    assert "commit the model again" in refuse("bad_format", *lonely, *out)
    (tmp_path / "m.commit.blinding").write_bytes(b"noise")
    assert "m.commit.blinding" in refuse("bad_format", *lonely, *out)
    shutil.copy(desk / "other.commit.blinding", tmp_path / "m.commit.blinding")
    assert "the blinding" in refuse("key_mismatch", *lonely, *out)
    (tmp_path / "noise.zkq").write_bytes(b"noise")
    noise = prove_arguments(desk)
    noise[1] = tmp_path / "noise.zkq"
    refuse("bad_model", *noise, *out)
    assert not (tmp_path / "p.zkp").exists()


@pytest.mark.parametrize(
    ("dataset", "more", "words"),
    [
        ("mnist", (), "such as mnist:test[0:1024]"),
        ("svhn:test[0:8]", (), "there are: mnist"),
        ("mnist:test[0:10001]", (), "has 10000 samples"),
        ("mnist:test[0:9]", ("--claim", "3"), "shards claim all"),
        (ONE, ("--claim", "3", "--shards"), "shards claim all"),
        (ONE, ("--client", "xyz"), "hexadecimal"),
        (ONE, ("--chain", ""), "1 to 64 bytes"),
        (ONE, ("--round", "-1"), "not in [0, 2^63)"),
        (ONE, ("--backend", "abacus"), "unknown backend"),
    ],
)
def test_prove_usage(
    desk: Path, tmp_path: Path, dataset: str, more: tuple[str, ...], words: str
) -> None:
    misuse(words, *prove_arguments(desk, dataset), *more, "--out", tmp_path / "p.zkp")
    misuse("no folder", *prove_arguments(desk), "--out", tmp_path / "none" / "p.zkp")


def test_samples_that_were_not_fetched(desk: Path, tmp_path: Path) -> None:
    dataset = "mnist:test[9000:9008]"
    prove = [*prove_arguments(desk, dataset), "--out", tmp_path / "p.zkp"]
    assert "zkpot data fetch mnist" in refuse("dataset_missing", *prove)
    refuse("dataset_missing", *verify_arguments(desk, desk / "proof.zkp", dataset))


# -- verify ----------------------------------------------------------------------------------------


def test_verify_says_what_is_proven_and_what_is_not(
    desk: Path, models: dict[str, QuantizedModel]
) -> None:
    arguments = [*verify_arguments(desk, desk / "proof.zkp"), "--commitment", desk / "model.commit"]
    found = succeed(*arguments, *occasion_arguments(), "--check-circuit")
    assert (found["verdict"], found["samples"], found["shards"]) == ("valid", 8, 1)
    names = ["chain_id", "client_key", "commit_height", "commitments", "round_index", "task_id"]
    assert found["compared"] == names
    assert found["occasion"]["client_key"] == "a1b2"
    plain = run(*verify_arguments(desk, desk / "proof.zkp"))
    assert f"at least {found['correct']} of 8 samples of {ONE}" in plain.stdout
    assert "not proven:\n  how the weights were trained" in plain.stdout
    assert "could keep its trapdoor and forge proofs" in " ".join(plain.stdout.split())
    assert "round index 3 (not compared)" in plain.stdout


@pytest.mark.parametrize("option", list(OCCASION))
def test_a_replay_is_refused(desk: Path, option: str) -> None:
    other = {"--chain": "x", "--task": "x", "--round": 4, "--height": 8, "--client": "a1b3"}
    arguments = verify_arguments(desk, desk / "proof.zkp")
    assert "the proof is for" in refuse("wrong_statement", *arguments, option, other[option])


def test_verify_refuses_another_statement(desk: Path, tmp_path: Path) -> None:
    proof = desk / "proof.zkp"
    for dataset, words in (
        ("mnist:test[0:7]", "8 samples, 7 are given"),
        ("mnist:test[1:9]", "other samples"),
        (MANY, "8 samples, 19 are given"),
    ):
        assert words in refuse("wrong_statement", *verify_arguments(desk, proof, dataset))
    commitment = ["--commitment", desk / "other.commit"]
    assert "for model commitment" in refuse(
        "wrong_statement", *verify_arguments(desk, proof), *commitment
    )
    succeed("setup", desk / "model.zkq", "--samples", N_SAMPLES, "--out", tmp_path / "key")
    refuse("wrong_key", *verify_arguments(tmp_path, proof))


def test_verify_refuses_altered_bytes(desk: Path, tmp_path: Path) -> None:
    raw = (desk / "proof.zkp").read_bytes()
    envelope = Envelope.decode(raw)
    assert envelope is not None
    more = replace(envelope.statement, claimed_correct=envelope.statement.claimed_correct + 1)
    other = Envelope.decode(Container.decode((desk / "model.shards").read_bytes()).envelopes[0])  # type: ignore[union-attr]
    assert other is not None
    forged = tmp_path / "forged.zkp"
    for altered, code in (
        (b"", "malformed"),
        (raw[:-1], "malformed"),
        (raw + b"\0", "malformed"),
        (raw[:-1] + bytes([raw[-1] ^ 0x80]), "pairing_failed"),
        (replace(envelope, statement=more).encode(), "pairing_failed"),
        (replace(envelope, proof=other.proof).encode(), "pairing_failed"),
    ):
        forged.write_bytes(altered)
        refuse(code, *verify_arguments(desk, forged))


def test_samples_that_do_not_fit_the_key(desk: Path, tmp_path: Path) -> None:
    envelope = Envelope.decode((desk / "proof.zkp").read_bytes())
    assert envelope is not None
    key = succeed("setup", "mlp-6-3", "--samples", 8, "--out", tmp_path / "k8")["key_digest"]
    moved = replace(envelope.statement, verifying_key_digest=bytes.fromhex(key))
    (tmp_path / "moved.zkp").write_bytes(replace(envelope, statement=moved).encode())
    arguments = ["verify", tmp_path / "moved.zkp", "--key", tmp_path / "k8", "--dataset", ONE]
    assert "samples must be uint8[n, 6]" in refuse("shape_mismatch", *arguments)


# -- shards ----------------------------------------------------------------------------------------


def test_shards_verify_as_one(desk: Path, models: dict[str, QuantizedModel]) -> None:
    shards = [*verify_arguments(desk, desk / "model.shards", MANY)]
    found = succeed(*shards, "--commitment", desk / "model.commit")
    assert (found["shards"], found["samples"]) == (3, 19)
    assert "in 3 shards" in run(*shards).stdout
    container = Container.decode((desk / "model.shards").read_bytes())
    assert container is not None
    statements = [Envelope.decode(e).statement for e in container.envelopes]  # type: ignore[union-attr]
    assert [s.n_real for s in statements] == [6, 6, 7]
    assert len({s.commitments for s in statements}) == 1
    assert found["correct"] == sum(s.claimed_correct for s in statements)


def test_one_shard_verifies_by_itself(desk: Path, tmp_path: Path) -> None:
    container = Container.decode((desk / "model.shards").read_bytes())
    assert container is not None
    (tmp_path / "shard.zkp").write_bytes(container.envelopes[2])
    shard = verify_arguments(desk, tmp_path / "shard.zkp", "mnist:test[12:19]")
    assert succeed(*shard)["samples"] == 7
    refuse("wrong_statement", *verify_arguments(desk, tmp_path / "shard.zkp", "mnist:test[0:7]"))


def test_incomplete_shards_are_refused(desk: Path, tmp_path: Path) -> None:
    ours = Container.decode((desk / "model.shards").read_bytes())
    theirs = Container.decode((desk / "other.shards").read_bytes())
    assert ours is not None
    assert theirs is not None
    a, b, c = ours.envelopes
    mixed = tmp_path / "mixed.zkp"
    for envelopes, words in (
        ((a, b), "shard 2 of 3 is missing"),
        ((a, b, b), "shard 1 occurs more than once"),
        ((a, b, c, c), "shard 2 occurs more than once"),
        ((b, a, c), "not in the order"),
        ((a, theirs.envelopes[1], c), "differ in commitments"),
    ):
        mixed.write_bytes(Container(envelopes).encode())
        assert words in refuse("shards_incomplete", *verify_arguments(desk, mixed, MANY))
    flipped = c[:-1] + bytes([c[-1] ^ 0x80])
    mixed.write_bytes(Container((a, b, flipped)).encode())
    assert "shard 2: " in refuse("pairing_failed", *verify_arguments(desk, mixed, MANY))
    mixed.write_bytes(Container((a, b, c)).encode()[:-1])
    refuse("malformed", *verify_arguments(desk, mixed, MANY))
    refuse("wrong_statement", *verify_arguments(desk, desk / "model.shards", "mnist:test[1:20]"))


# -- inspect, secrets ------------------------------------------------------------------------------


def test_inspect_explains_the_circuit(desk: Path) -> None:
    found = succeed("inspect", desk / "model.zkq", "--samples", N_SAMPLES)
    card = json.loads((desk / "key" / "circuit.json").read_text())
    assert found["circuit_digest"] == card["circuit_digest"]
    assert sum(line["rows"] for line in found["lines"]) == found["rows"]
    seconds = found["seconds"]
    parts = sum(seconds["lines"]) + seconds["padding"] + seconds["committed"]
    assert seconds["total"] == pytest.approx(parts)
    assert all(s > 0 for s in seconds["lines"])
    plain = run("inspect", desk / "model.zkq", "--samples", N_SAMPLES)
    assert plain.exit_code == 0
    assert found["width_reason"] in " ".join(plain.stdout.split())
    assert "activation" in plain.stdout


def test_no_command_prints_a_secret(
    desk: Path, tmp_path: Path, models: dict[str, QuantizedModel]
) -> None:
    shutil.copy(desk / "model.zkq", tmp_path / "model.zkq")
    shutil.copytree(desk / "key", tmp_path / "key")
    commit = ["commit", tmp_path / "model.zkq"]
    shown = [run(*commit, "--out", tmp_path / "model.commit")]
    shown.append(run(*prove_arguments(tmp_path), "--out", tmp_path / "p.zkp"))
    shown.append(run(*prove_arguments(tmp_path), "--out", tmp_path / "p.zkp", "--json"))
    shown.append(run("inspect", tmp_path / "model.zkq", "--samples", N_SAMPLES, "--json"))
    assert [r.exit_code for r in shown] == [0, 0, 0, 0]
    text = "".join(r.output for r in shown)
    rho = Blinding.decode((tmp_path / "model.commit.blinding").read_bytes()).rho
    encoded = encode_fr(FrArray.from_ints([rho]))
    published = (tmp_path / "p.zkp").read_bytes() + (tmp_path / "model.commit").read_bytes()
    for secret in (str(rho), f"{rho:x}", encoded.hex()):
        assert secret not in text
    assert encoded not in published
    weights = models["model"].weights[0].tobytes()
    assert weights[:8] not in published
