"""Which keys have a contract, and what stands in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kernels.array import G1Array
from kernels.bn254 import G1
from prover.errors import FormatError
from prover.formats.json_io import read_vkey
from prover.formats.solidity import MAX_INPUTS, write_contract
from prover.keys.plain import PlainKey
from tests.support.commands import run
from tests.support.foreign import vector


@pytest.fixture(scope="module")
def key() -> PlainKey:
    return read_vkey(vector("mixed", "_vkey.json"))


def test_every_number_of_the_key_is_in_the_contract(key: PlainKey) -> None:
    source = write_contract(key)
    points = [*key.alpha.to_ints(), *key.public.to_ints()]
    numbers = [number for point in points if point for number in point]
    for point in (*key.beta.to_ints(), *key.gamma.to_ints(), *key.delta.to_ints()):
        assert point is not None
        numbers += [number for coordinate in point for number in coordinate]
    assert all(f"{number:#066x}" in source for number in numbers)
    assert f"uint256[{key.n_public}] calldata inputs" in source


@pytest.mark.parametrize("name", ["", "1st", "A b", "A}", "A" * 65, "é"])
def test_a_name_is_an_identifier(key: PlainKey, name: str) -> None:
    with pytest.raises(FormatError, match="name of a contract"):
        write_contract(key, name=name)


def test_a_key_that_no_contract_can_hold_is_refused(key: PlainKey) -> None:
    for n in (0, MAX_INPUTS + 1):
        with pytest.raises(FormatError, match="public inputs"):
            write_contract(replace(key, public=G1Array.from_ints([G1] * (n + 1))))


def test_the_command_writes_it(key: PlainKey, tmp_path: Path) -> None:
    out = tmp_path / "it.sol"
    vkey = vector("mixed", "_vkey.json")
    done = run("groth16", "solidity", vkey, out, "--name", "Mixed", "--json")
    assert done.exit_code == 0, done.output
    assert out.read_text() == write_contract(key, name="Mixed")
    assert json.loads(done.stdout)["n_public"] == key.n_public
    refused = run("groth16", "solidity", vkey, tmp_path / "no.sol", "--name", "no name")
    assert refused.exit_code == 1
    assert not (tmp_path / "no.sol").exists()
