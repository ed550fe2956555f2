"""Progress of a task: the bar moves through a key's making, and through the proof."""

from __future__ import annotations

import secrets

import pytest

from api.queue.jobs import Progress
from api.worker.reporting import KEY_SHARE, KEY_STAGES, STAGES, TaskReport
from prover.circuit.accuracy import compile_accuracy
from prover.groth16.setup import setup_accuracy
from tests.support.learning import BACKEND, accuracy


def collect() -> tuple[TaskReport, list[Progress]]:
    sent: list[Progress] = []
    ticks = iter(range(1_000_000))
    return TaskReport(sent.append, lambda: None, clock=lambda: float(next(ticks))), sent


def test_the_bar_moves_while_a_key_is_made() -> None:
    report, sent = collect()
    report("circuit", 1, 1)
    assert sent[-1].fraction == 0
    for stage in KEY_STAGES:
        for done in (0, 1, 2):
            report(stage, done, 2)
    fractions = [progress.fraction for progress in sent]
    assert fractions == sorted(fractions)
    assert len(set(fractions)) == 2 * len(KEY_STAGES) + 1
    assert fractions[-1] == pytest.approx(KEY_SHARE)
    report("load key", 1, 1)
    for stage in STAGES:
        report(stage, 1, 1)
    assert sent[-1].fraction == 1


def test_without_a_key_to_make_the_proof_is_all() -> None:
    report, sent = collect()
    for stage in ("circuit", "load key", *STAGES[:3]):
        report(stage, 1, 1)
    assert sent[-1].fraction == pytest.approx(3 / len(STAGES))


def test_every_stage_of_a_setup_is_known() -> None:
    """Those of a setup itself, in its own order; bases come from a cache or a derivation."""
    stages: dict[str, None] = {}
    setup_accuracy(
        compile_accuracy(accuracy().architecture, 2),
        random_bytes=secrets.token_bytes,
        backend=BACKEND,
        progress=lambda stage, *_: stages.setdefault(stage),
    )
    assert [stage for stage in KEY_STAGES if stage in stages] == [
        stage for stage in stages if stage != KEY_STAGES[-1]
    ]
    assert set(stages) | {KEY_STAGES[-1]} == set(KEY_STAGES)
