"""snarkjs itself: it accepts our proofs, keys, circuits and witnesses, and we accept its."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kernels.array import FrArray
from kernels.backend import Backend, get_backend
from prover.foreign import prove_foreign
from prover.formats.json_io import (
    encode_proof,
    encode_public,
    read_proof,
    read_public,
    read_vkey,
)
from prover.formats.r1cs import read_r1cs
from prover.formats.wtns import read_wtns, write_wtns
from prover.formats.zkey import read_zkey
from prover.groth16.plain import verify_plain
from prover.wire.envelope import Groth16Points
from prover.wire.verdict import Verdict
from tests.support.commands import run
from tests.support.foreign import CIRCUITS, encode_rows, replaced, vector
from tests.support.snarkjs import SnarkJs
from tests.support.tiny_circuits import seeded

ALONE = ("--insecure-development",)


@pytest.fixture(scope="module")
def backend() -> Backend:
    return get_backend("reference")


def our_proof(circuit: str, backend: Backend, folder: Path) -> tuple[Path, Path]:
    """Files of a proof under snarkjs's key for the circuit, and of its public inputs."""
    key = read_zkey(vector(circuit, ".zkey"), backend)
    witness = read_wtns(vector(circuit, ".wtns"))
    proof = prove_foreign(key, witness, random_bytes=seeded(1), backend=backend)
    (folder / "proof.json").write_bytes(encode_proof(proof))
    (folder / "public.json").write_bytes(encode_public(witness[1 : 1 + key.key.n_public]))
    return folder / "proof.json", folder / "public.json"


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_snarkjs_accepts_our_proof(
    circuit: str, snarkjs: SnarkJs, backend: Backend, tmp_path: Path
) -> None:
    proof, public = our_proof(circuit, backend, tmp_path)
    assert snarkjs("groth16", "verify", vector(circuit, "_vkey.json"), public, proof)


def test_snarkjs_refuses_what_we_refuse(snarkjs: SnarkJs, backend: Backend, tmp_path: Path) -> None:
    proof_file, public_file = our_proof("mixed", backend, tmp_path)
    vkey = vector("mixed", "_vkey.json")
    key, proof, public = read_vkey(vkey), read_proof(proof_file), read_public(public_file)
    assert verify_plain(key, public, proof) is Verdict.VALID

    other = FrArray.from_ints([v + (i == 3) for i, v in enumerate(public.to_ints())])
    (tmp_path / "other.json").write_bytes(encode_public(other))
    assert verify_plain(key, other, proof) is Verdict.PAIRING_FAILED
    assert not snarkjs("groth16", "verify", vkey, tmp_path / "other.json", proof_file)

    swapped = Groth16Points(a=proof.c, b=proof.b, c=proof.a)
    (tmp_path / "swapped.json").write_bytes(encode_proof(swapped))
    assert verify_plain(key, public, swapped) is Verdict.PAIRING_FAILED
    assert not snarkjs("groth16", "verify", vkey, public_file, tmp_path / "swapped.json")


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_we_accept_a_fresh_proof(circuit: str, snarkjs: SnarkJs, tmp_path: Path) -> None:
    proof, public = tmp_path / "proof.json", tmp_path / "public.json"
    files = (vector(circuit, ".zkey"), vector(circuit, ".wtns"), proof, public)
    assert snarkjs("groth16", "prove", *files)
    assert proof.read_bytes() != vector(circuit, "_proof.json").read_bytes()
    key = read_vkey(vector(circuit, "_vkey.json"))
    verdict = verify_plain(key, read_public(public), read_proof(proof))
    assert verdict is Verdict.VALID


def test_snarkjs_proves_and_verifies_under_our_key(
    snarkjs: SnarkJs, backend: Backend, tmp_path: Path
) -> None:
    zkey, vkey, exported = (tmp_path / name for name in ("c.zkey", "v.json", "e.json"))
    r1cs = vector("mixed", ".r1cs")
    done = run("groth16", "setup", r1cs, zkey, vkey, *ALONE, "--backend", "reference")
    assert done.exit_code == 0, done.output

    assert snarkjs("zkey", "export", "verificationkey", zkey, exported)
    assert json.loads(exported.read_text()) == json.loads(vkey.read_text())

    proof, public = tmp_path / "proof.json", tmp_path / "public.json"
    assert snarkjs("groth16", "prove", zkey, vector("mixed", ".wtns"), proof, public)
    assert snarkjs("groth16", "verify", vkey, public, proof)
    made = read_proof(proof)
    assert verify_plain(read_vkey(vkey), read_public(public), made) is Verdict.VALID

    witness = read_wtns(vector("mixed", ".wtns"))
    ours = prove_foreign(read_zkey(zkey, backend), witness, random_bytes=seeded(3), backend=backend)
    proof.write_bytes(encode_proof(ours))
    assert snarkjs("groth16", "verify", vkey, public, proof)
    assert not snarkjs("groth16", "verify", vector("mixed", "_vkey.json"), public, proof)


def test_snarkjs_reads_our_circuits_and_witnesses(
    snarkjs: SnarkJs, backend: Backend, tmp_path: Path
) -> None:
    circuit, witness = tmp_path / "c.r1cs", tmp_path / "w.wtns"
    rows = encode_rows(read_r1cs(vector("mixed", ".r1cs"), backend), backend)
    circuit.write_bytes(replaced(vector("mixed", ".r1cs").read_bytes(), 2, rows))
    values = read_wtns(vector("mixed", ".wtns"))
    write_wtns(witness, values)
    assert snarkjs("wtns", "check", circuit, witness)
    wrong = [v + (i == 1) for i, v in enumerate(values.to_ints())]
    write_wtns(witness, FrArray.from_ints(wrong))
    assert not snarkjs("wtns", "check", circuit, witness)
