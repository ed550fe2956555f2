"""Proofs of several shards are the same whether or not one is verified beside the next."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from prover import pipeline, series
from prover.circuit.public_inputs import ShardInputs
from prover.errors import ProverError, SelfCheckFailed, ShardFailed, UnsatisfiedConstraint
from prover.groth16.verify import verify, verify_all
from prover.pedersen.commitment import draw_blinding
from prover.pipeline import MadeProof, ProvedJob, commit_job, make_proof, prove_job
from prover.progress import StageProgress, silent
from prover.series import prove_shards
from prover.wire.verdict import Verdict
from tests.support.accuracy_protocol import OCCASION, accuracy_key, backend, committer, scene
from tests.support.models import random_images
from tests.support.tiny_circuits import seeded

PATIENCE_S = 60.0
"""Of waits that end with an event; only a test that fails waits so long."""
N_SHARDS = 4


@cache
def shards() -> list[ShardInputs]:
    s, rng = scene(), np.random.default_rng(3)
    found = []
    for _ in range(N_SHARDS):
        images = random_images(s.accuracy.architecture, 3, rng)
        labels = s.model.logits(images).argmax(axis=1).astype(np.uint8)
        found.append(ShardInputs.of(s.accuracy.public_layout, images, labels))
    return found


def prove(
    n_shards: int = N_SHARDS, *, beside: bool = True, progress: StageProgress = silent
) -> list[ProvedJob]:
    s, source = scene(), seeded(4)
    blinding = draw_blinding(source)
    return prove_shards(
        s.accuracy,
        accuracy_key(),
        s.model,
        shards()[:n_shards],
        occasion=OCCASION,
        commitment=commit_job(s.model, blinding, committer()),
        blinding=blinding,
        random_bytes=source,
        backend=backend(),
        clock=lambda: 0.0,
        progress=progress,
        beside=beside,
    )


def prove_one_by_one() -> list[bytes]:
    s, source = scene(), seeded(4)
    blinding = draw_blinding(source)
    commitment = commit_job(s.model, blinding, committer())
    return [
        prove_job(
            s.accuracy,
            accuracy_key(),
            s.model,
            images=shard.images,
            labels=shard.labels,
            occasion=OCCASION,
            shard_index=index,
            commitment=commitment,
            blinding=blinding,
            random_bytes=source,
            backend=backend(),
            clock=lambda: 0.0,
        ).envelope
        for index, shard in enumerate(shards())
    ]


def count_verifiers() -> int:
    return sum("zkpot verify" in thread.name for thread in threading.enumerate())


def test_proofs_and_their_order_do_not_depend_on_what_goes_on_beside() -> None:
    raws = [job.envelope for job in prove()]
    assert raws == [job.envelope for job in prove(beside=False)] == prove_one_by_one()
    assert [job.statement.shard_index for job in prove()] == list(range(N_SHARDS))
    verdict = verify_all(
        raws,
        key=accuracy_key().verifying,
        public_inputs=lambda statement, challenges: shards()[statement.shard_index](
            statement, challenges
        ),
        random_bytes=seeded(5),
    )
    assert verdict == (Verdict.VALID, None)
    assert count_verifiers() == 0


def test_a_shard_is_verified_beside_the_making_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = [threading.Event() for _ in range(N_SHARDS)]
    verified: list[str] = []

    def wait_for_next(raw: bytes, **rest: Any) -> Verdict:
        if len(verified) < N_SHARDS - 1:
            assert begun[len(verified) + 1].wait(PATIENCE_S), "the next shard waits for this one"
        verified.append(threading.current_thread().name)
        return verify(raw, **rest)

    def note(stage: str, done: int, total: int) -> None:
        if stage == "shards" and done < total:
            begun[done].set()

    monkeypatch.setattr(pipeline, "verify", wait_for_next)
    assert len(prove(progress=note)) == N_SHARDS
    assert len(set(verified)) == 1
    assert threading.current_thread().name not in verified


def test_progress_is_of_one_thing_at_a_time() -> None:
    caller, seen = threading.get_ident(), list[tuple[str, int]]()

    def note(stage: str, done: int, total: int) -> None:
        assert threading.get_ident() == caller
        if stage in ("shards", "commit"):
            seen.append((stage, done))

    prove(2, progress=note)
    assert seen == [
        *[("shards", 0), ("commit", 0), ("commit", 1)],
        *[("shards", 1), ("commit", 0), ("commit", 1)],
        ("shards", 2),
    ]


def spoil(
    monkeypatch: pytest.MonkeyPatch, *, proofs: set[int], witnesses: frozenset[int] = frozenset()
) -> list[int]:
    """Proofs of these shards do not verify, and these have no witness; which ones were begun."""
    begun = []

    def make(*arguments: Any, shard_index: int, **rest: Any) -> MadeProof:
        begun.append(shard_index)
        if shard_index in witnesses:
            raise UnsatisfiedConstraint(label="block", index=(0,), n_failing=1)
        made = make_proof(*arguments, shard_index=shard_index, **rest)
        if shard_index not in proofs:
            return made
        raw = made.envelope
        return replace(made, envelope=raw[:-1] + bytes([raw[-1] ^ 0x80]))

    monkeypatch.setattr(series, "make_proof", make)
    return begun


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("failing", [0, 1, N_SHARDS - 1])
def test_a_shard_that_fails_names_itself_and_leaves_no_thread(
    monkeypatch: pytest.MonkeyPatch, failing: int, beside: bool
) -> None:
    begun = spoil(monkeypatch, proofs={failing})
    with pytest.raises(ShardFailed, match=f"^shard {failing} of {N_SHARDS}: the new") as caught:
        prove(beside=beside)
    assert (caught.value.shard, caught.value.code) == (failing, SelfCheckFailed.code)
    assert isinstance(caught.value.__cause__, SelfCheckFailed)
    assert begun == list(range(min(failing + (2 if beside else 1), N_SHARDS)))
    assert count_verifiers() == 0


def test_of_two_faults_the_earlier_shards_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, proofs={1}, witnesses=frozenset({2}))
    with pytest.raises(ShardFailed, match=r"^shard 1 of") as caught:
        prove()
    assert caught.value.code == SelfCheckFailed.code
    spoil(monkeypatch, proofs={3}, witnesses=frozenset({2}))
    with pytest.raises(ShardFailed, match=r"^shard 2 of .* 'block' \[0\] fails") as caught:
        prove()
    assert caught.value.code == UnsatisfiedConstraint.code
    assert count_verifiers() == 0


def test_a_single_shard_fails_as_a_proof_does(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, proofs={0})
    with pytest.raises(ProverError) as caught:
        prove(1)
    assert type(caught.value) is SelfCheckFailed
