"""`zkpot groth16`: files in, files out, and an exit code that tells."""

import json
from pathlib import Path

import pytest
from click.testing import Result

from kernels.bn254 import R
from tests.support import commands
from tests.support.foreign import vector


def run(*arguments: object) -> Result:
    return commands.run("groth16", *arguments)


def run_prove(*arguments: object) -> Result:
    return run("prove", *arguments, "--backend", "reference")


def run_verify(*, public: Path | None = None, proof: Path | None = None) -> Result:
    return run(
        "verify",
        vector("multiplier", "_vkey.json"),
        public or vector("multiplier", "_public.json"),
        proof or vector("multiplier", "_proof.json"),
        "--json",
    )


def test_prove_then_verify(tmp_path: Path) -> None:
    files = (vector("multiplier", ".zkey"), vector("multiplier", ".wtns"))
    proof, public = tmp_path / "proof.json", tmp_path / "public.json"
    made = run_prove(*files, proof, public, "--json")
    assert made.exit_code == 0, made.output
    facts = json.loads(made.stdout)
    assert (facts["wires"], facts["n_public"], facts["domain"]) == (4, 1, 4)
    assert public.read_bytes() == vector("multiplier", "_public.json").read_bytes()
    checked = run_verify(public=public, proof=proof)
    assert checked.exit_code == 0
    assert json.loads(checked.stdout) == {"verdict": "valid"}
    plain = run_prove(*files, proof, public, "--trust-key")
    assert plain.exit_code == 0
    assert "4 rows, 4 wires" in plain.stdout
    plain = run("verify", vector("multiplier", "_vkey.json"), public, proof)
    assert plain.stdout == "valid\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('["34"]', "pairing_failed"),
        ("[]", "wrong_statement"),
        (f'["{R + 33}"]', "bad_format"),
        ("", "bad_format"),
    ],
)
def test_refused_public_inputs(text: str, code: str, tmp_path: Path) -> None:
    (tmp_path / "public.json").write_text(text)
    result = run_verify(public=tmp_path / "public.json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["refused"] == code


def test_refused_witness(tmp_path: Path) -> None:
    arguments = (vector("multiplier", ".zkey"), vector("mixed", ".wtns"))
    proof, public = tmp_path / "proof.json", tmp_path / "public.json"
    result = run_prove(*arguments, proof, public)
    assert result.exit_code == 1
    assert "refused (key_mismatch)" in result.stderr
    assert not proof.exists()
    assert not public.exists()


def test_unwritable_proof(tmp_path: Path) -> None:
    arguments = (vector("multiplier", ".zkey"), vector("multiplier", ".wtns"))
    result = run_prove(*arguments, tmp_path / "no" / "p", tmp_path / "s", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["refused"] == "io_error"


def test_wrong_usage(tmp_path: Path) -> None:
    assert run_verify(proof=tmp_path / "missing.json").exit_code == 2
    assert run("verify").exit_code == 2
    files = (vector("multiplier", ".zkey"), vector("multiplier", ".wtns"), tmp_path, tmp_path)
    assert run_prove(*files).exit_code == 2
    files = (*files[:2], tmp_path / "p", tmp_path / "s")
    assert run("prove", *files, "--backend", "none").exit_code == 2
