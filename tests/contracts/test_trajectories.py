"""`ZkpotTraining`: steps lead a trajectory on in their order, on its batches, from where it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from prover.contracts.verifier import write_training_contract
from prover.keys.training_card import StepCard
from prover.wire.training import StepEnvelope
from tests.support.contracts import Artifact, Deployed, Reverted, World, keccak256
from tests.support.training_contracts import arrange, arrange_occasion, compile_sources
from tests.support.trajectories import OCCASION, Step, chain, step_circuit, step_key

Values = tuple[Any, ...]
END = 0


@pytest.fixture(scope="session")
def verifier(root: Path) -> Artifact:
    source = write_training_contract(step_key().verifying, StepCard.of(step_circuit()))
    return compile_sources(root, {"verifier": source})["verifier"]


@dataclass(frozen=True)
class Led:
    """A trajectory on a contract. lefts : left_0 to left_T"""

    world: World
    contract: Deployed
    steps: tuple[Values, ...]
    lefts: tuple[int, ...]
    name: bytes

    def lead(self, t: int, **change: Any) -> None:
        """By step t. change : other arguments"""
        statement, proof = self.steps[t]
        given = {"statement": statement, "proof": proof, "left": self.lefts[t + 1]} | change
        self.world.send(self.contract, "lead", self.name, *given.values())

    def has_ended(self, n: int, end: Any) -> bool:
        occasion = arrange_occasion(OCCASION)
        (word,) = self.world.send(self.contract, "hasEnded", self.name, occasion, n, end)
        return bool(word)


def arrange_step(step: Step) -> Values:
    envelope = StepEnvelope.decode(step.proven.envelope)
    assert envelope is not None
    return arrange(envelope)


def chain_batches(statements: list[Values]) -> tuple[int, ...]:
    """left_0 to left_T of the batches of these statements."""
    lefts = [END]
    for _, _, n_real, (_, _, data) in reversed(statements):
        words = [*data, n_real, lefts[-1]]
        hashed = keccak256(b"".join(word.to_bytes(32, "big") for word in words))
        lefts.append(int.from_bytes(hashed, "big"))
    return tuple(reversed(lefts))


@pytest.fixture
def led(artifacts: dict[str, Artifact], verifier: Artifact) -> Led:
    world = World(artifacts | {"verifier": verifier})
    contract = world.deploy("ZkpotTraining", world.deploy("verifier").address)
    steps = tuple(map(arrange_step, chain()))
    statements = [statement for statement, _ in steps]
    lefts = chain_batches(statements)
    start = statements[0][3][0]
    (name,) = world.send(contract, "begin", arrange_occasion(OCCASION), start, lefts[0])
    return Led(world, contract, steps, lefts, name.to_bytes(32, "big"))


def test_steps_lead_a_trajectory_to_its_end(led: Led) -> None:
    (_, _, _, (_, end, _)), _ = led.steps[-1]
    for t in range(len(led.steps)):
        assert not led.has_ended(len(led.steps), end)
        led.lead(t)
    assert led.has_ended(len(led.steps), end)
    assert not led.has_ended(len(led.steps) - 1, end)
    with pytest.raises(Reverted, match="NotNext"):
        led.lead(len(led.steps) - 1)


def test_a_trajectory_begins_once(led: Led) -> None:
    start = led.steps[0][0][3][0]
    arguments = arrange_occasion(OCCASION), start, led.lefts[0]
    led.lead(0)
    with pytest.raises(Reverted, match="AlreadyBegun"):
        led.world.send(led.contract, "begin", *arguments)
    led.lead(1)


def test_a_step_that_does_not_come_there_is_refused(led: Led) -> None:
    """Another step, another batch, another occasion, another number of samples, another rest."""
    with pytest.raises(Reverted, match="NotNext"):
        led.lead(1)
    led.lead(0)
    for t in (0, 2):
        with pytest.raises(Reverted, match="NotNext"):
            led.lead(t)
    occasion, t, n_real, (before, after, data) = led.steps[1][0]
    other = led.steps[0][0][3][2]
    thief = arrange_occasion(replace(OCCASION, client_key=b"thief"))
    for statement in (
        (thief, t, n_real, (before, after, data)),
        (occasion, t + 1, n_real, (before, after, data)),
        (occasion, t, n_real - 1, (before, after, data)),
        (occasion, t, n_real, (after, after, data)),
        (occasion, t, n_real, (before, after, other)),
    ):
        with pytest.raises(Reverted, match="NotNext"):
            led.lead(1, statement=statement)
    for left in (led.lefts[1], END):
        with pytest.raises(Reverted, match="NotNext"):
            led.lead(1, left=left)
    led.lead(1)


def test_a_step_that_is_not_proven_is_refused(led: Led) -> None:
    occasion, t, n_real, (before, _, data) = led.steps[0][0]
    with pytest.raises(Reverted, match="Forged"):
        led.lead(0, statement=(occasion, t, n_real, (before, before, data)))
    with pytest.raises(Reverted, match="Forged"):
        led.lead(0, proof=led.steps[1][1])
    led.lead(0)


def test_a_trajectory_that_nobody_began_leads_nowhere(led: Led) -> None:
    statement, proof = led.steps[0]
    with pytest.raises(Reverted, match="NotNext"):
        led.world.send(led.contract, "lead", bytes(32), statement, proof, led.lefts[1])
