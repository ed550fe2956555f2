"""Contracts of keys of training in an EVM: they hold what `verify_steps` and `verify_exports` hold,
and refuse all else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kernels.bn254 import P
from prover.contracts.calldata import EXPORT_SELECTOR, STEP_SELECTOR, encode_call
from prover.contracts.verifier import count_gas, write_training_contract
from prover.keys.training_card import ExportCard, StepCard
from prover.steps import prove_export
from prover.training.masters import export
from prover.wire.records import encode_fields
from prover.wire.statement import Occasion
from prover.wire.training import ExportEnvelope, StepEnvelope, StepStatement
from prover.wire.verdict import Verdict
from tests.support import contracts
from tests.support.contracts import WORD, Deployed, World
from tests.support.known_training_keys import KnownKey, make_card, split_points
from tests.support.step_contracts import (
    COMMITMENTS,
    KNOWN,
    OCCASION,
    ask,
    call_values,
    holds,
    judge,
    simulate,
    write,
)
from tests.support.tiny_circuits import seeded
from tests.support.training_contracts import arrange, arrange_proof, compile_sources
from tests.support.trajectories import (
    BACKEND,
    chain,
    commit,
    export_circuit,
    export_key,
    recipe,
    step_circuit,
    step_key,
)

MOST_GAS = 450_000  # of a transaction
OVERHEAD = 12_000  # gas of the code around the precompiles


@pytest.fixture(scope="module")
def world(root: Path) -> World:
    """Contracts of real keys and of a known one."""
    sources = {
        "step": write_training_contract(step_key().verifying, StepCard.of(step_circuit())),
        "export": write_training_contract(export_key().verifying, ExportCard.of(export_circuit())),
        "known": write(KNOWN),
    }
    return World(compile_sources(root, sources))


@pytest.fixture(scope="module")
def step(world: World) -> Deployed:
    return world.deploy("step")


@pytest.fixture(scope="module")
def known(world: World) -> Deployed:
    return world.deploy("known")


@pytest.fixture(scope="module")
def proven() -> StepEnvelope:
    """A real one, on the occasion whose every byte counts."""
    envelope = StepEnvelope.decode(replace(chain()[1], occasion=OCCASION).proven.envelope)
    assert envelope is not None
    return envelope


@pytest.fixture(scope="module")
def exported() -> ExportEnvelope:
    last = chain()[-1]
    model = export(recipe(), last.trace.after)
    made = prove_export(
        export_circuit(),
        export_key(),
        last.trace.after,
        occasion=OCCASION,
        of_masters=last.after,
        of_model=commit(model.wires, 31),
        random_bytes=seeded(7),
        backend=BACKEND,
        clock=lambda: 0.0,
    )
    envelope = ExportEnvelope.decode(made.envelope)
    assert envelope is not None
    return envelope


# -- what passes -----------------------------------------------------------------------------------


def test_real_proofs_hold_within_their_gas(
    world: World, step: Deployed, proven: StepEnvelope, exported: ExportEnvelope
) -> None:
    of_export = world.deploy("export")
    for contract, envelope, key in (
        (step, proven, step_key().verifying),
        (of_export, exported, export_key().verifying),
    ):
        assert holds(world, contract, encode_call(envelope))
        gas = world.price(contract, "verify", *arrange(envelope))
        bytes_gas = sum(16 if byte else 4 for byte in encode_call(envelope))
        assert count_gas(key) < gas - 21_000 - bytes_gas < count_gas(key) + OVERHEAD
        assert gas <= MOST_GAS
    for other in chain():
        envelope = StepEnvelope.decode(other.proven.envelope)
        assert envelope is not None
        assert holds(world, step, encode_call(envelope))


def test_the_calldata_is_that_of_solidity(
    world: World, step: Deployed, proven: StepEnvelope, exported: ExportEnvelope
) -> None:
    for name, envelope, selector in (
        ("step", proven, STEP_SELECTOR),
        ("export", exported, EXPORT_SELECTOR),
    ):
        artifact = world.artifacts[name]
        expected = contracts.encode_call(artifact, "verify", arrange(envelope))
        assert encode_call(envelope) == expected
        assert expected.startswith(selector)


@pytest.mark.parametrize("n", [1, 31, 32, 33, 63, 64])
def test_names_of_any_length_hold(n: int, world: World, known: Deployed) -> None:
    occasion = Occasion(
        chain_id=b"a" * n,
        task_id=b"b" * (65 - n),
        round_index=2**63 - 1,
        commit_height=0,
        client_key=bytes(n),
    )
    envelope = simulate(occasion=occasion, step=2**63 - 1, n_real=1 + n % 4, seed=n)
    assert judge(envelope) is Verdict.VALID
    assert holds(world, known, encode_call(envelope))


def test_infinity_holds_where_it_does_in_python(world: World, known: Deployed) -> None:
    for commitments in ((0, 5, 7), (5, 7, 0), (0, 0, 0)):
        envelope = simulate(commitments=commitments)
        assert judge(envelope) is Verdict.VALID
        assert holds(world, known, encode_call(envelope))


@pytest.mark.parametrize("zeros", [{"a"}, {"own"}, {"d_a"}, {"a", "own", "d_a"}])
def test_infinity_in_a_proof_holds_where_it_does_in_python(
    zeros: set[str], world: World, known: Deployed
) -> None:
    envelope = simulate()
    proof = KNOWN.simulate(envelope.statement, COMMITMENTS, [3], zeros=zeros)
    at_infinity = replace(envelope, proof=proof.encode())
    assert judge(at_infinity) is Verdict.VALID
    assert holds(world, known, encode_call(at_infinity))


def test_the_other_signs_of_a_and_b_are_the_same_proof(
    world: World, step: Deployed, proven: StepEnvelope
) -> None:
    """Groth16's are malleable: of these points, nothing is in the transcript."""
    (statement, (a, (x, (y1, y0)), *rest)) = arrange(proven)
    negative = ((a[0], P - a[1]), (x, (P - y1, P - y0)), *rest)
    values = statement, negative
    assert holds(world, step, contracts.encode_call(step.artifact, "verify", values))


# -- what is refused -------------------------------------------------------------------------------


def test_every_word_counts(world: World, step: Deployed, proven: StepEnvelope) -> None:
    """Places of names and their lengths among them."""
    calldata = encode_call(proven)
    for at in range(4, len(calldata), WORD):
        word = int.from_bytes(calldata[at : at + WORD], "big")
        for other in {word ^ 1, 0, 2**256 - 1} - {word}:
            changed = calldata[:at] + other.to_bytes(WORD, "big") + calldata[at + WORD :]
            assert not holds(world, step, changed), (at, other)


def test_no_coordinate_has_a_second_name(
    world: World, step: Deployed, proven: StepEnvelope
) -> None:
    """x + p; what p - y wraps to where y is not below p; and the other sign of y: another point,
    which the transcript tells from it."""
    calldata = encode_call(proven)
    points = [*range(1, 15), *range(18, 24)]  # words of the proof, of the commitments
    for place in points:
        at = 4 + WORD * place
        word = int.from_bytes(calldata[at : at + WORD], "big")
        for other in (word + P, P + (word + 2**256) % P, P - word):
            changed = calldata[:at] + other.to_bytes(WORD, "big") + calldata[at + WORD :]
            assert not holds(world, step, changed), (place, other)


def test_points_in_other_places_are_refused(
    world: World, step: Deployed, proven: StepEnvelope
) -> None:
    statement, proof = arrange(proven)
    occasion, t, n, (before, after, data) = statement
    a, b, c, own, link, advice = proof
    zero = (0, 0)
    assert call_values(world, step, statement, proof)
    for commitments in (
        (after, before, data),
        (before, data, after),
        (data, after, before),
        (before, before, data),
        (before, after, zero),
        (own, after, data),
    ):
        assert not call_values(world, step, (occasion, t, n, commitments), proof)
    for other in (
        (c, b, a, own, link, advice),
        (a, b, c, link, own, advice),
        (a, b, c, advice, link, own),
        (a, b, advice, own, link, c),
        (a, tuple(map(tuple, map(reversed, b))), c, own, link, advice),
        (zero, b, c, own, link, advice),
        (a, (zero, zero), c, own, link, advice),
        (a, b, zero, own, link, advice),
        (a, b, c, zero, link, advice),
        (a, b, c, own, zero, advice),
        (a, b, c, own, link, zero),
        (zero, (zero, zero), zero, zero, zero, zero),
    ):
        assert not call_values(world, step, statement, other)


def test_no_real_samples_and_more_than_a_batch_are_refused(world: World, known: Deployed) -> None:
    """Under proofs whose equations hold."""
    for n_real, expected in ((0, False), (4, True), (5, False)):
        envelope = simulate(n_real=n_real)
        assert (judge(envelope) is Verdict.VALID) is expected
        assert judge(envelope) in (Verdict.VALID, Verdict.WRONG_STATEMENT)
        assert holds(world, known, encode_call(envelope)) is expected


class Bare:
    """A statement of any fields, some of which Python has no statement of."""

    def __init__(self, names: tuple[bytes, ...], numbers: tuple[int, ...]) -> None:
        chain_id, task_id, client_key = names
        self.values = (chain_id, task_id, *numbers[:2], client_key)
        fields = [
            chain_id,
            task_id,
            *(x.to_bytes(8, "little") for x in numbers[:2]),
            client_key,
            KNOWN.verifying.digest,
            *(x.to_bytes(8, "little") for x in numbers[2:]),
            *split_points(COMMITMENTS),
        ]
        self.raw = StepStatement.HEADER + encode_fields(fields)

    def encode(self) -> bytes:
        return self.raw


def test_fields_of_no_statement_are_refused(world: World, known: Deployed) -> None:
    """Under proofs whose equations hold."""
    points = simulate_points()

    def ask(names: tuple[bytes, ...], numbers: tuple[int, ...]) -> bool:
        statement = Bare(names, numbers)
        proof = KNOWN.simulate(statement, COMMITMENTS, numbers[3:])
        return call_values(
            world, known, (statement.values, *numbers[2:], points), arrange_proof(proof)
        )

    names, numbers = (b"chain", b"task", b"client"), (3, 77, 4, 3)
    assert ask(names, numbers)
    for i in range(3):
        for name in (b"", b"x" * 65, b"x" * 256, b"x" * 257):
            assert not ask((*names[:i], name, *names[i + 1 :]), numbers)
        assert not ask(names, (*numbers[:i], 1 << 63, *numbers[i + 1 :]))


def simulate_points() -> list[tuple[int, int]]:
    *_, points = arrange(simulate())[0]
    found: list[tuple[int, int]] = points
    return found


def test_a_proof_of_another_key_is_refused(
    world: World, step: Deployed, known: Deployed, proven: StepEnvelope
) -> None:
    assert not holds(world, known, encode_call(proven))
    assert not holds(world, step, encode_call(simulate()))
    # Said to be of this key: the digest is the contract's own.
    other = KnownKey.draw(make_card(recipe()), seed=4)
    forged = other.simulate(simulate().statement, COMMITMENTS, [3])
    statement, _ = arrange(simulate())
    assert not call_values(world, known, statement, arrange_proof(forged))


def test_calldata_that_is_cut_is_refused(
    world: World, step: Deployed, proven: StepEnvelope
) -> None:
    calldata = encode_call(proven)
    for n in (0, 3, 4, 36, len(calldata) // 2, len(calldata) - WORD, len(calldata) - 1):
        assert not holds(world, step, calldata[:n])


def test_who_gives_too_little_gas_chooses_no_answer(world: World, known: Deployed) -> None:
    """A precompile that gets too little fails as for a point that is none; that is no answer."""
    calldata = encode_call(simulate())
    price = world.price(known, "verify", *arrange(simulate()))
    answers = []
    for gas in (*range(price + 20_000, price - 20_000, -1_000), *range(price, 40_000, -20_000)):
        try:
            found = ask(world, known, calldata, gas=gas)
        except RuntimeError:
            found = b""
        answers.append(found)
    assert {*answers} == {(1).to_bytes(32, "big"), b""}
