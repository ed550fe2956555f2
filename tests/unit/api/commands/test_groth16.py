"""`zkpot groth16`: a key for a circuit of circom, and a proof under it."""

from __future__ import annotations

import json
from pathlib import Path

from api.commands.setup import WARNING
from tests.support.ceremonies import BEACON, EXPONENT, POWERS
from tests.support.commands import refuse, run, succeed
from tests.support.foreign import patched, vector

BACKEND = ("--backend", "reference")
ALONE = ("--insecure-development",)


def test_a_key_of_an_r1cs_file_proves_and_verifies(tmp_path: Path) -> None:
    zkey, vkey, proof, public = (tmp_path / name for name in ("k.zkey", "v", "proof", "public"))
    r1cs, witness = vector("multiplier", ".r1cs"), vector("multiplier", ".wtns")
    made = run("groth16", "setup", r1cs, zkey, vkey, *ALONE, *BACKEND, "--json")
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
        done = run("groth16", "setup", r1cs, tmp_path / "k.zkey", vkey, *ALONE, *BACKEND)
        assert done.exit_code == 0, done.output
        assert "WARNING: a setup by one party" in done.stdout
        keys.append(vkey.read_bytes())
    assert keys[0] != keys[1]


def test_a_ceremony_from_powers_to_a_proof(tmp_path: Path) -> None:
    first, second, last, vkey = (tmp_path / name for name in ("0", "1", "2", "v"))
    r1cs, ptau = vector("multiplier", ".r1cs"), POWERS["multiplier"]
    made = succeed("groth16", "setup", r1cs, first, "--ptau", ptau)
    assert first.read_bytes() == vector("multiplier", "_0.zkey").read_bytes()
    assert refuse("ceremony_invalid", "groth16", "verify-key", r1cs, ptau, first).startswith(
        "nobody contributed"
    )
    shared = succeed("groth16", "contribute", first, second, "--name", "one")
    assert shared["circuit_hash"] == made["circuit_hash"]
    ended = succeed("groth16", "beacon", second, last, BEACON.hex(), EXPONENT, "--name", "end")
    found = succeed("groth16", "verify-key", r1cs, ptau, last, "--vkey", vkey)
    assert found["contributions"] == [
        {"name": "one", "beacon": False, "hash": shared["contribution_hash"]},
        {"name": "end", "beacon": True, "hash": ended["contribution_hash"]},
    ]
    witness, proof, public = vector("multiplier", ".wtns"), tmp_path / "p", tmp_path / "public"
    succeed("groth16", "prove", last, witness, proof, public)
    succeed("groth16", "verify", vkey, public, proof)


def test_shares_are_drawn_anew(tmp_path: Path) -> None:
    first = vector("multiplier", "_0.zkey")
    hashes = {
        succeed("groth16", "contribute", first, tmp_path / "k")["contribution_hash"]
        for _ in range(2)
    }
    assert len(hashes) == 2


def test_what_people_read_of_a_ceremony(tmp_path: Path) -> None:
    r1cs, ptau = vector("multiplier", ".r1cs"), POWERS["multiplier"]
    out = run("groth16", "setup", r1cs, tmp_path / "0", "--ptau", ptau).stdout
    assert "first key of 4 rows, 4 wires" in out
    assert "proves nothing until somebody contributes" in out
    out = run("groth16", "contribute", tmp_path / "0", tmp_path / "1").stdout
    assert out.startswith("contribution 1, hash (publish it)\n")
    key = vector("multiplier", "_2.zkey")
    out = run("groth16", "verify-key", r1cs, ptau, key, "--vkey", tmp_path / "v").stdout
    assert out.startswith("valid\ncontribution 1 'one', hash\n")
    assert "\nbeacon 2 'end', hash\n" in out
    assert "\nnames are words of whoever had the file: compare hashes" in out
    assert f"wrote {tmp_path / 'v'}" in out


def test_ceremonies_that_are_refused(tmp_path: Path) -> None:
    r1cs, ptau = vector("multiplier", ".r1cs"), POWERS["multiplier"]
    key, out = vector("multiplier", "_2.zkey"), tmp_path / "out"
    other = vector("multiplier", ".zkey")  # of other powers
    reason = refuse("ceremony_invalid", "groth16", "verify-key", r1cs, ptau, other)
    assert reason.startswith("alpha_1 in the header is not that of the powers of tau")
    few = refuse("bad_format", "groth16", "setup", vector("mixed", ".r1cs"), out, "--ptau", ptau)
    assert "the circuit has 2^6" in few
    cut = tmp_path / "cut.ptau"
    cut.write_bytes(ptau.read_bytes()[:-1])
    assert "section 15" in refuse("bad_format", "groth16", "setup", r1cs, out, "--ptau", cut)
    assert "name" in refuse("field_invalid", "groth16", "contribute", key, out, "--name", "x" * 65)
    assert "exponent" in refuse("field_invalid", "groth16", "beacon", key, out, "00", 64)
    assert not out.exists()


def test_who_contributed_to_the_powers_is_verified(tmp_path: Path) -> None:
    """The name of a challenge between two contributions: no point of the powers is another."""
    r1cs, key = vector("multiplier", ".r1cs"), vector("multiplier", "_2.zkey")
    raw = POWERS["multiplier"].read_bytes()
    ptau = tmp_path / "p.ptau"
    ptau.write_bytes(patched(raw, 7, 4 + 8 * 152 + 216, bytes(64)))
    reason = refuse("ceremony_invalid", "groth16", "verify-key", r1cs, ptau, key)
    assert reason.startswith("contribution 2 ('beacon') to the powers of tau does not prove")
    succeed("groth16", "verify-key", r1cs, ptau, key, "--no-powers")


def test_commands_that_cannot_be_meant(tmp_path: Path) -> None:
    r1cs, out = vector("multiplier", ".r1cs"), tmp_path / "out"
    ptau = ("--ptau", POWERS["multiplier"])
    for words in (
        ("setup", r1cs, out),
        ("setup", r1cs, out, *ptau, *ALONE),
        ("setup", r1cs, out, tmp_path / "vkey", *ptau),
        ("beacon", vector("multiplier", "_0.zkey"), out, "xyz", 10),
    ):
        assert run("groth16", *words).exit_code == 2
    assert list(tmp_path.iterdir()) == []
