"""Keys, proofs and public inputs in JSON: snarkjs's own bytes come back, anything else is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import P, R
from prover.errors import FormatError
from prover.formats.json_io import (
    MAX_PROOF_BYTES,
    encode_proof,
    encode_public,
    read_proof,
    read_public,
    read_vkey,
    write_vkey,
)
from prover.groth16.plain import verify_plain
from prover.wire.envelope import Groth16Points
from prover.wire.verdict import Verdict
from tests.support.foreign import CIRCUITS, VECTORS, outside_g2, vector

READERS: dict[str, Callable[[Path], object]] = {
    "_vkey.json": read_vkey,
    "_proof.json": read_proof,
    "_public.json": read_public,
}


NUMBERS = (
    *('"01"', '"+1"', '"-1"', '" 1"', '"1 "', '"1\\n"', '""'),
    *('"0x1"', '"1_0"', '"\\u0661"', '"１"'),
    *("1", "1.0", "null", "true", "[]", "{}", '"1e3"', '"9" "9"', f'"{R}"', f'"{1 << 400}"'),
)
TEXTS = (
    *(b"", b"\xff", b"\xef\xbb\xbf[]", b"{", b"nul", b'"text"', b"7", b"NaN", b"{}{}"),
    *(b"[" * 60_000, b'{"a":' * 10_000, b'"' + b"\\ud800" * 3 + b'"', b"9" * 60_000),
    '["1"]'.encode("utf-16"),
)


def read_text(tmp_path: Path, ending: str, text: str | bytes) -> object:
    path = tmp_path / f"x{ending}"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return READERS[ending](path)


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_what_snarkjs_wrote_comes_back(circuit: str, tmp_path: Path) -> None:
    write_vkey(tmp_path / "v", read_vkey(vector(circuit, "_vkey.json")))
    (tmp_path / "p").write_bytes(encode_proof(read_proof(vector(circuit, "_proof.json"))))
    (tmp_path / "s").write_bytes(encode_public(read_public(vector(circuit, "_public.json"))))
    for name, ending in (("v", "_vkey.json"), ("p", "_proof.json"), ("s", "_public.json")):
        assert (tmp_path / name).read_bytes() == vector(circuit, ending).read_bytes()


def test_infinity_has_one_form(tmp_path: Path) -> None:
    proof = Groth16Points(a=G1Array.zeros(1), b=G2Array.zeros(1), c=G1Array.zeros(1))
    (tmp_path / "p").write_bytes(encode_proof(proof))
    read = read_proof(tmp_path / "p")
    assert read.a.equals(proof.a)
    assert read.b.equals(proof.b)
    text = (tmp_path / "p").read_text()
    with pytest.raises(FormatError, match="pi_a: a point is not affine"):
        read_text(tmp_path, "_proof.json", text.replace('"1"', '"2"', 1))


def test_public_inputs(tmp_path: Path) -> None:
    assert read_public(vector("multiplier", "_public.json")).to_ints() == [33]
    mixed = read_public(vector("mixed", "_public.json")).to_ints()
    assert mixed[1:] == [5, 5, 77, 123456789012345678901234567890]
    (tmp_path / "s").write_bytes(encode_public(FrArray.from_ints([0, 1, R - 1])))
    assert json.loads((tmp_path / "s").read_text()) == ["0", "1", str(R - 1)]
    assert len(read_text(tmp_path, "_public.json", "[]").data) == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", NUMBERS)
def test_refuses_other_numbers(number: str, tmp_path: Path) -> None:
    assert read_text(tmp_path, "_public.json", '["1"]')
    with pytest.raises(FormatError, match=r"x_public\.json"):
        read_text(tmp_path, "_public.json", f"[{number}]")


@pytest.mark.parametrize("ending", READERS)
@pytest.mark.parametrize("raw", TEXTS, ids=lambda raw: repr(raw[:12]))
def test_refuses_other_text(ending: str, raw: bytes, tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        read_text(tmp_path, ending, raw)


def test_refuses_what_is_too_long(tmp_path: Path) -> None:
    text = vector("mixed", "_proof.json").read_text()
    padded = text + " " * (MAX_PROOF_BYTES - len(text))
    assert read_text(tmp_path, "_proof.json", padded)
    with pytest.raises(FormatError, match="longer than"):
        read_text(tmp_path, "_proof.json", padded + " ")


def test_refuses_a_name_that_occurs_twice(tmp_path: Path) -> None:
    text = vector("mixed", "_proof.json").read_text()
    twice = text.rstrip()[:-1] + ', "curve": "bn128"}'
    with pytest.raises(FormatError, match="occurs twice"):
        read_text(tmp_path, "_proof.json", twice)


def point_outside_g2() -> list[list[str]]:
    return [*([str(c) for c in pair] for pair in outside_g2()), ["1", "0"]]


def change(path: list[str | int], new: object) -> Callable[[Any], None]:
    def apply(value: Any) -> None:
        for step in path[:-1]:
            value = value[step]
        value[path[-1]] = new

    return apply


ONE_G2 = [["1", "0"], ["2", "0"], ["1", "0"]]


@pytest.mark.parametrize(
    ("ending", "path", "new", "what"),
    [
        ("_proof.json", ["protocol"], "plonk", "not groth16"),
        ("_proof.json", ["curve"], "bls12381", "curve is none"),
        ("_proof.json", ["curve"], None, "curve is none"),
        ("_proof.json", ["curve"], ["bn128"], "curve is none"),
        ("_proof.json", ["pi_a"], None, "a list of 3"),
        ("_proof.json", ["pi_a"], ["1", "2"], "a list of 3"),
        ("_proof.json", ["pi_a"], "123", "a list of 3"),
        ("_proof.json", ["pi_a", 0], str(P), "not below"),
        ("_proof.json", ["pi_a"], [str(P + 1), "2", "1"], "not below"),
        ("_proof.json", ["pi_a"], ["1", "3", "1"], "not on the curve"),
        ("_proof.json", ["pi_a"], ["4", "16", "2"], "not affine"),
        ("_proof.json", ["pi_a"], ["0", "0", "0"], "not affine"),
        ("_proof.json", ["pi_a"], ["0", "0", "1"], "not on the curve"),
        ("_proof.json", ["pi_c", 2], "0", "not affine"),
        ("_proof.json", ["pi_b", 0], ["1"], "a list of 2"),
        ("_proof.json", ["pi_b", 2], ["1", "1"], "not affine"),
        ("_proof.json", ["pi_b"], ONE_G2, "not in the group G2"),
        ("_proof.json", ["pi_b"], point_outside_g2(), "not in the group G2"),
        ("_vkey.json", ["nPublic"], "5", "nPublic is no integer"),
        ("_vkey.json", ["nPublic"], True, "nPublic is no integer"),
        ("_vkey.json", ["nPublic"], 4, "nPublic is 4"),
        ("_vkey.json", ["nPublic"], -1, "nPublic is -1"),
        ("_vkey.json", ["nPublic"], 10**10, "more than ten digits"),
        ("_vkey.json", ["IC"], None, "IC is missing"),
        ("_vkey.json", ["IC", 3], ["1", "3", "1"], "point 3 is not on the curve"),
        ("_vkey.json", ["vk_alpha_1"], ["0", "1", "0"], "infinity"),
        ("_vkey.json", ["vk_beta_2"], [["0", "0"], ["1", "0"], ["0", "0"]], "infinity"),
        ("_vkey.json", ["vk_gamma_2"], [["0", "0"], ["1", "0"], ["0", "0"]], "infinity"),
        ("_vkey.json", ["vk_delta_2"], [["0", "0"], ["1", "0"], ["0", "0"]], "infinity"),
        ("_vkey.json", ["vk_delta_2"], point_outside_g2(), "not in the group G2"),
    ],
)
def test_refuses_changed_members(
    ending: str, path: list[str | int], new: object, what: str, tmp_path: Path
) -> None:
    value = json.loads(vector("mixed", ending).read_text())
    change(path, new)(value)
    with pytest.raises(FormatError, match=what):
        read_text(tmp_path, ending, json.dumps(value))


def test_refuses_a_key_without_any_point_for_public_inputs(tmp_path: Path) -> None:
    value = json.loads(vector("mixed", "_vkey.json").read_text()) | {"nPublic": -1, "IC": []}
    with pytest.raises(FormatError, match="IC has 0 points"):
        read_text(tmp_path, "_vkey.json", json.dumps(value))


@pytest.mark.parametrize("ending", ["_vkey.json", "_proof.json"])
def test_refuses_missing_members(ending: str, tmp_path: Path) -> None:
    value = json.loads(vector("mixed", ending).read_text())
    needless = {"vk_alphabeta_12"} if ending == "_vkey.json" else {"curve"}
    for name in value:
        rest = json.dumps({k: v for k, v in value.items() if k != name})
        if name in needless:
            assert read_text(tmp_path, ending, rest)
        else:
            with pytest.raises(FormatError):
                read_text(tmp_path, ending, rest)


def test_a_proof_that_names_no_curve_is_over_its_keys() -> None:
    """As rapidsnark writes it."""
    folder = VECTORS.parent / "rapidsnark"
    assert "curve" not in json.loads((folder / "proof.json").read_text())
    key, public = read_vkey(folder / "vkey.json"), read_public(folder / "public.json")
    proof = read_proof(folder / "proof.json")
    assert verify_plain(key, public, proof) is Verdict.VALID
    other = FrArray.from_ints([*public.to_ints()[:-1], 12346])
    assert verify_plain(key, other, proof) is Verdict.PAIRING_FAILED


@pytest.mark.parametrize("ending", ["_vkey.json", "_proof.json"])
@pytest.mark.parametrize(
    "name", ["bn128", "BN128", "bn-128", "bn254", "BN254", "BN-254", "alt_bn128", "altbn128"]
)
def test_a_curve_has_many_names(name: str, ending: str, tmp_path: Path) -> None:
    value = json.loads(vector("multiplier", ending).read_text())
    assert read_text(tmp_path, ending, json.dumps(value | {"curve": name}))


@pytest.mark.parametrize("ending", ["_vkey.json", "_proof.json"])
@pytest.mark.parametrize(
    "name", ["bls12381", "BLS12-381", "bn256", "bn", "", "-", "bn1282", "bn²54", 254, True, {}]
)
def test_another_curve_is_refused(name: object, ending: str, tmp_path: Path) -> None:
    value = json.loads(vector("multiplier", ending).read_text())
    with pytest.raises(FormatError, match=r"curve is none of .*; use a key and a proof over BN254"):
        read_text(tmp_path, ending, json.dumps(value | {"curve": name}))
