"""Which keys of ours have a contract, what stands in it, and what it is called with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kernels.encoding import encode_g1
from prover.contracts.calldata import EXPORT_SELECTOR, STEP_SELECTOR, encode_call
from prover.contracts.verifier import count_gas, write_training_contract
from prover.errors import FormatError, KeyMismatch
from prover.keys.card import KeyCard, UpdateCard
from prover.keys.folder import CARD_NAME, VERIFYING_NAME
from prover.keys.training_card import ExportCard
from prover.model.presets import parse_architecture
from prover.model.update import UpdateBounds
from prover.wire.training import ExportEnvelope, StepEnvelope, TrainingProofs
from tests.support.commands import run
from tests.support.known_training_keys import KnownKey, make_card
from tests.support.training import make_small_recipe
from tests.support.trajectories import OCCASION

RECIPE = make_small_recipe([4, 3, 2])
STEP = KnownKey.draw(make_card(RECIPE), seed=1)
EXPORT = KnownKey.draw(make_card(RECIPE, of=ExportCard), seed=2)


@pytest.fixture(scope="module")
def step() -> StepEnvelope:
    return STEP.prove_step(OCCASION, 7, 3, (5, 7, 11), seed=3)


@pytest.fixture(scope="module")
def exported() -> ExportEnvelope:
    return EXPORT.prove_export(OCCASION, (5, 7), seed=4)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Folders of both keys, as far as a verifier reads them."""
    for name, known in (("step", STEP), ("export", EXPORT)):
        save(known, tmp_path / "keys" / name)
    return tmp_path / "keys"


def save(known: KnownKey, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / VERIFYING_NAME).write_bytes(known.verifying.encode())
    (folder / CARD_NAME).write_bytes(known.card.encode())


@pytest.mark.parametrize("known", [STEP, EXPORT])
def test_every_number_of_the_key_is_in_the_contract(known: KnownKey) -> None:
    key = known.verifying
    source = write_training_contract(key, known.card)
    points = [*key.alpha.to_ints(), *key.public.to_ints()]
    numbers = [number for point in points if point for number in point]
    for array in (key.beta, key.delta, key.delta_a, key.links):
        for point in array.to_ints():
            assert point is not None
            numbers += [number for coordinate in point for number in coordinate]
    assert all(f"{number:#066x}" in source for number in numbers)
    assert key.digest.hex() in source
    assert "$" not in source


def test_a_card_of_another_key_is_refused() -> None:
    with pytest.raises(KeyMismatch):
        write_training_contract(STEP.verifying, EXPORT.card)


@pytest.mark.parametrize("name", ["", "1st", "A b", "A}", "é"])
def test_a_name_is_an_identifier(name: str) -> None:
    with pytest.raises(FormatError, match="name of a contract"):
        write_training_contract(STEP.verifying, STEP.card, name=name)


def test_keys_of_other_statements_are_refused_with_what_it_would_take() -> None:
    architecture = parse_architecture("mlp-784-128-10")
    accuracy = KeyCard(architecture=architecture, circuit_digest=bytes(32), n_samples=1024)
    known = KnownKey.draw(accuracy, seed=5)
    gas = f"{6_150 * known.verifying.n_public:,} gas"
    with pytest.raises(FormatError, match=rf"{gas}.*802,816 values.*12,845,056 gas.*16,777,216"):
        write_training_contract(known.verifying, accuracy)
    bounds = UpdateCard(
        architecture=architecture,
        circuit_digest=bytes(32),
        bounds=UpdateBounds(weight=4, bias=4, squares=100),
    )
    with pytest.raises(FormatError, match="commitment no contract computes"):
        write_training_contract(KnownKey.draw(bounds, seed=6).verifying, bounds)


def test_gas_of_the_precompiles() -> None:
    """9 and 8 pairs; 3 and 1 public inputs; groups, D' and pi by t; two sums."""
    assert count_gas(STEP.verifying) == 9 * 34_000 + 45_000 + 3 * 6_150 + 5 * 6_000 + 2 * 150
    assert count_gas(EXPORT.verifying) == 8 * 34_000 + 45_000 + 6_150 + 4 * 6_000 + 2 * 150


def test_calldata_has_the_fields_in_their_places(
    step: StepEnvelope, exported: ExportEnvelope
) -> None:
    """Read by hand; `tests/contracts` compares it with what solc says of the types."""
    raw = encode_call(step)
    words = [int.from_bytes(raw[i : i + 32], "big") for i in range(4, len(raw), 32)]
    assert raw.startswith(STEP_SELECTOR)
    at = words[0] // 32
    assert words[at + 1 : at + 3] == [7, 3]
    x, _ = words[at + 3 : at + 5]
    assert x == int.from_bytes(step.statement.before, "little") & ~(1 << 255)
    occasion = at + words[at] // 32
    assert words[occasion + 2 : occasion + 4] == [1, 2]
    for place, name in ((0, b"chain"), (1, b"task"), (4, b"client")):
        start = occasion + words[occasion + place] // 32
        assert words[start] == len(name)
        assert words[start + 1].to_bytes(32, "big").rstrip(b"\0") == name
    assert encode_call(exported).startswith(EXPORT_SELECTOR)


def test_points_that_are_none_have_no_calldata(step: StepEnvelope) -> None:
    zero = bytes(31) + b"\x40"
    at_infinity = replace(step, statement=replace(step.statement, data=zero))
    assert encode_call(at_infinity).count(bytes(64)) >= 1
    for data in (b"\xff" * 32, zero[:-1] + b"\xc0"):
        with pytest.raises(FormatError, match="point"):
            encode_call(replace(step, statement=replace(step.statement, data=data)))
    with pytest.raises(FormatError, match="point"):
        encode_call(replace(step, proof=b"\xff" * len(step.proof)))


# -- commands --------------------------------------------------------------------------------------


def test_the_command_writes_a_contract_of_a_folder(keys: Path, tmp_path: Path) -> None:
    for name, known in (("step", STEP), ("export", EXPORT)):
        out = tmp_path / f"{name}.sol"
        done = run("groth16", "solidity", keys / name, out, "--json")
        assert done.exit_code == 0, done.output
        assert out.read_text() == write_training_contract(known.verifying, known.card)
        told = json.loads(done.stdout)
        assert told["n_public"] == known.verifying.n_public
        assert told["precompiles_gas"] == count_gas(known.verifying)
    named = tmp_path / "named.sol"
    assert run("groth16", "solidity", keys / "step", named, "--name", "Mine").exit_code == 0
    assert "contract Mine {" in named.read_text()


def test_the_command_refuses_folders_of_no_one_key(keys: Path, tmp_path: Path) -> None:
    out = tmp_path / "it.sol"
    both = run("groth16", "solidity", keys, out)
    assert both.exit_code == 1
    assert "keys/step" in both.output.replace("\n", "")
    (tmp_path / "empty").mkdir()
    assert run("groth16", "solidity", tmp_path / "empty", out).exit_code == 1
    (keys / "step" / CARD_NAME).write_bytes(EXPORT.card.encode())
    assert run("groth16", "solidity", keys / "step", out).exit_code == 1
    assert not out.exists()


def test_the_command_prints_calldata(
    step: StepEnvelope, exported: ExportEnvelope, tmp_path: Path
) -> None:
    path = tmp_path / "round.zkp"
    proofs = TrainingProofs(steps=(step.encode(),), export=exported.encode())
    path.write_bytes(proofs.encode())
    of_step = run("groth16", "calldata", path, "--step", "7")
    assert of_step.stdout == f"0x{encode_call(step).hex()}\n"
    of_export = run("groth16", "calldata", path, "--json")
    assert json.loads(of_export.stdout) == {"calldata": f"0x{encode_call(exported).hex()}"}
    missing = run("groth16", "calldata", path, "--step", "0")
    assert missing.exit_code == 1
    assert "step 0" in missing.output
    path.write_bytes(encode_g1(STEP.verifying.alpha))
    assert run("groth16", "calldata", path).exit_code == 1
