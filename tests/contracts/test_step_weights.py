"""Contracts of training steps that are not what we write: what the weight of the link is for, and
the place that the answer of the pairing has."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernels.array import FrArray, G1Array
from kernels.bn254 import P, R
from prover.contracts.calldata import encode_call
from prover.wire.envelope import Proof
from prover.wire.training import StepEnvelope
from tests.support.contracts import WORD, World
from tests.support.step_contracts import (
    COMMITMENTS,
    KNOWN,
    OCCASION,
    ask,
    call_values,
    holds,
    simulate,
    write,
)
from tests.support.training_contracts import arrange, arrange_proof, compile_sources

UNBOUND = KNOWN.without_challenges()
ANSWER = "return t != 0 && _hold(statement.commitments, proof, inputs, t);"
HASHED = "t := mod(keccak256(start, add(0x1e0, 0xc0)), R)"
PAIRING = "staticcall(gas(), 8, "


@pytest.fixture(scope="module")
def world(root: Path) -> World:
    """`predictable` weighs its equations alike, `weight` answers the weight, `absent` is on a chain
    where nothing is at the pairing's address."""
    known, unbound = write(KNOWN), write(UNBOUND)
    assert unbound.count(HASHED) == known.count(ANSWER) == known.count(PAIRING) == 1
    sources = {
        "weight": known.replace(ANSWER, "assembly { mstore(0, t) return(0, 0x20) }"),
        "absent": known.replace(PAIRING, "staticcall(gas(), 0x8888, "),
        "unbound": unbound,
        "predictable": unbound.replace(HASHED, "t := 1"),
    }
    return World(compile_sources(root, sources))


def test_without_the_pairing_nothing_holds(world: World) -> None:
    """A call of an address without code succeeds and answers nothing, and A begins with a one."""
    statement, (_, *rest) = arrange(simulate())
    for a in ((1, 2), (1, P - 2)):
        assert not call_values(world, world.deploy("absent"), statement, (a, *rest))


def test_the_weight_is_of_every_word(world: World) -> None:
    """Two that were alike could be of two proofs, one of which was made for the other's weight."""
    contract = world.deploy("weight")
    calldata = encode_call(simulate())
    asked = [calldata]
    for at in range(4 + WORD, len(calldata), WORD):  # behind the place of the statement
        word = int.from_bytes(calldata[at : at + WORD], "big")
        asked.append(calldata[:at] + (word ^ 1).to_bytes(WORD, "big") + calldata[at + WORD :])
    places = {WORD * i + 4 for i in (15, 24, 25, 28)}  # of the occasion and its names
    lengths = {len(calldata) - WORD * i for i in (7, 4, 2)}
    weights = set()
    for i, changed in enumerate(asked):
        if 4 + WORD * i in places | lengths:
            continue
        weights.add(ask(world, contract, changed))
    assert len(weights) == len(asked) - len(places | lengths)
    assert all(1 < int.from_bytes(weight, "big") < R for weight in weights)


def test_equal_weights_would_let_errors_cancel(world: World) -> None:
    """Both equations are off by the same. A verifier that weighs them alike takes it."""
    contracts_of = {name: world.deploy(name) for name in ("predictable", "unbound")}
    envelope = UNBOUND.prove_step(OCCASION, 4, 3, COMMITMENTS, seed=8)
    statement, _ = arrange(envelope)
    off = arrange_proof(UNBOUND.simulate(envelope.statement, COMMITMENTS, [3], error=5))
    for name, taken in (("predictable", True), ("unbound", False)):
        contract = contracts_of[name]
        assert holds(world, contract, encode_call(envelope))
        assert call_values(world, contract, statement, off) is taken


def test_a_crafted_pi_passes_under_equal_weights_alone(world: World) -> None:
    """Of public points: A = alpha, B = beta, C = D' = D_A = 0, D_g = 0, and pi = X.

    X depends on challenges, and they on pi; so the key is one whose points of challenges are zero.
    """
    key = UNBOUND.verifying
    scalars = FrArray.from_ints([1, 3, *[0] * key.n_challenges])
    zero = G1Array.zeros(1)
    pi = key.public_bases.sum(scalars)
    forged = Proof(a=key.alpha, b=key.beta, c=zero, own=zero, link=pi, d_a=zero)
    statement = simulate(commitments=(0, 0, 0)).statement
    values = arrange(StepEnvelope(statement=statement, proof=forged.encode()))
    for name, taken in (("predictable", True), ("unbound", False)):
        assert call_values(world, world.deploy(name), *values) is taken
