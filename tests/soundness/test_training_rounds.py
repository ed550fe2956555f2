"""A client's training in a round through whole proofs: what is asked for is shown and holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import count
from typing import Any

import pytest

from consensus.wire.task_training import TrainingTerms
from prover.circuit.training.inputs import ExportInputs, StepInputs
from prover.groth16 import verify, verify_training
from prover.groth16.verify import Claim
from prover.groth16.verify_training import TrainingKeys, verify_trainings
from prover.pedersen.commitment import Blinding, SecretCommitment
from prover.steps import commit_values, prove_export, prove_step
from prover.training.step import train_step
from prover.wire.training import TrainingProofs
from prover.wire.verdict import Verdict
from tests.support.tiny_circuits import seeded
from tests.support.training_rounds import TERMS, trained
from tests.support.trajectories import (
    BACKEND,
    FAILED,
    OCCASION,
    VALID,
    committer,
    export_circuit,
    export_key,
    recipe,
    step_circuit,
    step_key,
)


@cache
def keys() -> TrainingKeys:
    return TrainingKeys(
        step=step_key().verifying,
        step_inputs=StepInputs(plan=step_circuit().plan),
        export=export_key().verifying,
        export_inputs=ExportInputs(plan=export_circuit().plan),
    )


def judge(*found: TrainingProofs) -> list[Verdict]:
    return verify_trainings(found, keys=keys(), random_bytes=seeded(3))


@cache
def show() -> TrainingProofs:
    """The proofs of the two steps that were drawn, and of the export."""
    client = trained()
    path = client.trajectory.trajectory
    ticks = count()
    masters = [
        commit_values(
            path.get_masters(t), Blinding(rho=client.trajectory.get_blinding(t)), committer()
        )
        for t in range(path.n_steps + 1)
    ]
    return TrainingProofs(
        steps=tuple(_prove(t, masters) for t in client.list_drawn(terms())),
        export=prove_export(
            export_circuit(),
            export_key(),
            path.get_masters(path.n_steps),
            occasion=OCCASION,
            of_masters=masters[-1],
            of_model=client.model,
            random_bytes=seeded(7),
            backend=BACKEND,
            clock=lambda: float(next(ticks)),
        ).envelope,
    )


def _prove(t: int, masters: list[SecretCommitment]) -> bytes:
    client, ticks = trained(), count()
    number = int(client.trajectory.public.numbers[t])
    before = client.trajectory.trajectory.get_masters(t)
    trace = train_step(recipe(), before, *client.batches.get_samples(number))
    blinding = Blinding(rho=client.batches.get_blinding(number))
    return prove_step(
        step_circuit(),
        step_key(),
        trace,
        t=t,
        occasion=OCCASION,
        before=masters[t],
        after=masters[t + 1],
        data=commit_values(trace.batch.wires, blinding, committer()),
        random_bytes=seeded(t),
        backend=BACKEND,
        clock=lambda: float(next(ticks)),
    ).envelope


def terms() -> TrainingTerms:
    """Two steps of five, under real keys."""
    return replace(
        TERMS,
        n_drawn=2,
        step_key=step_key().verifying.digest,
        export_key=export_key().verifying.digest,
    )


def test_the_drawn_steps_and_the_export_of_a_training_pass() -> None:
    """From the files that `zkpot data commit` and `zkpot train --provable` write."""
    assert trained().find_fault(terms=terms(), proofs=show()) is None
    assert judge(show()) == [VALID]
    assert judge() == []


def test_statements_alone_do_not_verify() -> None:
    """What is asked for, under proofs that are none: no fault of the rules, and refused."""
    empty = trained().show(terms())
    assert trained().find_fault(terms=terms(), proofs=empty) is None
    assert judge(empty) == [Verdict.NOT_ON_CURVE]


def test_one_false_proof_refuses_its_client_alone() -> None:
    """A step's points under another step's statement; likewise an export's."""
    good = show()
    first, second = good.steps
    crossed = replace(good, steps=(first[:-224] + second[-224:], second))
    late = replace(good, steps=(first, second[:-224] + first[-224:]))
    bent = replace(good, export=good.export[:-224] + trained().show(terms()).export[-224:])
    alone = replace(good, steps=(second,))
    assert judge(good, crossed, alone, late, good) == [VALID, FAILED, VALID, FAILED, VALID]
    assert judge(bent, good) == [Verdict.NOT_ON_CURVE, VALID]


def test_many_false_steps_cost_no_more_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose training is false is all that is asked, so a liar chooses nobody's work."""
    products: list[int] = []
    hold = verify_training.equations_hold

    def count_products(claims: Sequence[Claim], **given: Any) -> bool:
        products.append(len(claims))
        return hold(claims, **given)

    monkeypatch.setattr(verify, "equations_hold", count_products)
    monkeypatch.setattr(verify_training, "equations_hold", count_products)
    good = show()
    first, second = good.steps
    swapped = (first[:-224] + second[-224:], second[:-224] + first[-224:])
    counts = []
    for n_false in (1, 6):
        false = (*swapped[:1] * n_false, *[second] * (6 - n_false))
        assert judge(good, replace(good, steps=false), good) == [VALID, FAILED, VALID]
        counts.append(len(products))
        products.clear()
    assert counts[1] <= counts[0] <= 8
