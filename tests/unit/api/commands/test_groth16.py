"""`zkpot groth16`: a key for a circuit of circom, and a proof under it."""

from __future__ import annotations

import json
from pathlib import Path

from api.commands.setup import WARNING
from tests.support.commands import run
from tests.support.foreign import vector

BACKEND = ("--backend", "reference")


def test_a_key_of_an_r1cs_file_proves_and_verifies(tmp_path: Path) -> None:
    zkey, vkey, proof, public = (tmp_path / name for name in ("k.zkey", "v", "proof", "public"))
    r1cs, witness = vector("multiplier", ".r1cs"), vector("multiplier", ".wtns")
    made = run("groth16", "setup", r1cs, zkey, vkey, *BACKEND, "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["warning"] == WARNING
    proven = run("groth16", "prove", zkey, witness, proof, public, *BACKEND)
    assert proven.exit_code == 0, proven.output
    assert run("groth16", "verify", vkey, public, proof).stdout == "valid\n"
    other = run("groth16", "verify", vector("multiplier", "_vkey.json"), public, proof)
    assert other.exit_code == 1
    assert "refused (pairing_failed)" in other.stderr


def test_each_key_has_a_trapdoor_of_its_own(tmp_path: Path) -> None:
    keys = []
    for name in ("a", "b"):
        vkey = tmp_path / name
        r1cs = vector("multiplier", ".r1cs")
        done = run("groth16", "setup", r1cs, tmp_path / "k.zkey", vkey, *BACKEND)
        assert done.exit_code == 0, done.output
        assert "WARNING: a setup by one party" in done.stdout
        keys.append(vkey.read_bytes())
    assert keys[0] != keys[1]
