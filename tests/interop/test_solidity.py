"""Contracts of keys in an EVM: they hold what `verify_plain` holds, and refuse all else."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernels.bn254 import P, R
from prover.formats.json_io import read_proof, read_public, read_vkey
from prover.formats.solidity import GAS, write_contract
from prover.wire.envelope import Groth16Points
from tests.support.foreign import vector
from tests.support.npm import install
from tests.support.solidity import SOLC, Contract, compile_contract

CIRCUITS = ("multiplier", "mixed")
N_PROOF = 8  # words
TRUE = (1).to_bytes(32, "big")
FALSE = bytes(32)
OVERHEAD = 2_500  # gas of the code around the precompiles


def call(contract: Contract, words: list[int]) -> bytes:
    return contract.call("verifyProof", words)


def arrange(proof: Groth16Points, public: list[int]) -> list[int]:
    """The arguments in the order of calldata."""
    (a,), (b,), (c,) = proof.a.to_ints(), proof.b.to_ints(), proof.c.to_ints()
    assert a is not None
    assert b is not None
    assert c is not None
    (x0, x1), (y0, y1) = b
    return [*a, x1, x0, y1, y0, *c, *public]


@pytest.fixture(scope="module", params=CIRCUITS)
def circuit(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def contract(circuit: str, root: Path) -> Contract:
    program = install(root, SOLC, "solc.js")
    key = read_vkey(vector(circuit, "_vkey.json"))
    return Contract.deploy(compile_contract(program, write_contract(key, name="Verifier")))


@pytest.fixture
def words(circuit: str) -> list[int]:
    public = read_public(vector(circuit, "_public.json")).to_ints()
    return arrange(read_proof(vector(circuit, "_proof.json")), public)


def test_a_proof_of_snarkjs_holds_at_the_price_of_its_precompiles(
    contract: Contract, words: list[int]
) -> None:
    assert call(contract, words) == TRUE
    proof, each = GAS
    n = len(words) - N_PROOF
    least = proof + each * n
    assert least < contract.price("verifyProof", words) < least + OVERHEAD + 400 * n


def test_who_gives_too_little_gas_chooses_no_answer(contract: Contract, words: list[int]) -> None:
    """A precompile that gets too little fails as for a point that is none; that is no answer."""
    assert call(contract, words) == TRUE
    price = int(contract.evm.result.gas_used)
    answers = set()
    for gas in (*range(price + 10_000, price - 10_000, -1_000), *range(price, 40_000, -20_000)):
        try:
            answers.add(contract.call("verifyProof", words, gas=gas))
        except RuntimeError:
            answers.add(b"")
    assert answers == {TRUE, b""}


def test_without_the_pairing_nothing_holds(circuit: str, root: Path, words: list[int]) -> None:
    """A call of an address without code succeeds and answers nothing, and A begins with a one."""
    source = write_contract(read_vkey(vector(circuit, "_vkey.json")))
    absent = source.replace("staticcall(gas(), 8, ", "staticcall(gas(), 0x8888, ")
    assert absent != source
    contract = Contract.deploy(compile_contract(install(root, SOLC, "solc.js"), absent))
    assert call(contract, [1, 2, *words[2:]]) == FALSE


def test_every_word_counts(contract: Contract, words: list[int]) -> None:
    for i, word in enumerate(words):
        for other in (word ^ 1, 0, P, R, 2**256 - 1):
            if other != word:
                assert call(contract, [*words[:i], other, *words[i + 1 :]]) == FALSE, (i, other)


def test_no_word_has_a_second_name(contract: Contract, words: list[int]) -> None:
    for i, word in enumerate(words):
        modulus = P if i < N_PROOF else R
        assert call(contract, [*words[:i], word + modulus, *words[i + 1 :]]) == FALSE, i


def test_points_in_other_places_do_not_hold(contract: Contract, words: list[int]) -> None:
    a, b, c, public = words[:2], words[2:6], words[6:8], words[8:]
    negative_a = [a[0], P - a[1]]
    negative_b = [*b[:2], P - b[2], P - b[3]]
    plain_b = [b[1], b[0], b[3], b[2]]
    for other in (
        [*c, *b, *a],
        [*negative_a, *b, *c],
        [*a, *negative_b, *c],
        [*a, *plain_b, *c],
        [*a, *b, c[0], P - c[1]],
        [0, 0, *b, *c],
        [0] * 8,
    ):
        assert call(contract, [*other, *public]) == FALSE
    # The other signs of both, by contrast, are the same proof: Groth16's are malleable.
    assert call(contract, [*negative_a, *negative_b, *c, *public]) == TRUE


def test_a_proof_of_another_key_does_not_hold(root: Path) -> None:
    program = install(root, SOLC, "solc.js")
    source = write_contract(read_vkey(vector("multiplier", "_vkey.json")))
    contract = Contract.deploy(compile_contract(program, source))
    public = read_public(vector("multiplier", "_public.json")).to_ints()
    other = read_proof(vector("mixed", "_proof.json"))
    assert call(contract, arrange(other, public)) == FALSE
