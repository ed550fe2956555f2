"""Proofs of training as files: what a valid one says, and that all others are refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from federated.provable.judging import ProvenTraining
from federated.provable.proof_file import TrainingProof, choose_steps
from federated.provable.trajectory import digest_model
from kernels.encoding import encode_g1
from prover.errors import FieldInvalid, FormatError
from prover.judging import Refusal
from prover.model.zkq import encode_model
from prover.pedersen.commitment import draw_blinding
from prover.steps import commit_values
from prover.training.draws import draw_start
from tests.support.tiny_circuits import seeded
from tests.support.training import make_small_recipe
from tests.support.training_files import (
    BEACON,
    N_DRAWN,
    N_STEPS,
    SEED,
    drawn,
    full,
    halves,
    honest,
    judge,
    sampled,
    train,
)
from tests.support.trajectories import OCCASION, committer, public_model, recipe


def accept(proof: TrainingProof, **wanted: Any) -> ProvenTraining:
    found = judge(proof.encode(), **wanted)
    assert isinstance(found, ProvenTraining), found
    return found


def refuse(code: str, words: str, proof: TrainingProof, **wanted: Any) -> None:
    found = judge(proof.encode(), **wanted)
    assert isinstance(found, Refusal)
    assert found.code == code
    assert words in found.reason


def test_a_full_proof_leaves_nothing_to_chance() -> None:
    found = accept(full())
    assert found.chosen == tuple(range(N_STEPS))
    assert found.export.model == encode_g1(honest().model.public.d)
    assert found.export.occasion == OCCASION
    assert found.compute_escape(1) == 0
    assert full().is_full


def test_a_sampled_proof_tells_its_chance() -> None:
    found = accept(sampled())
    assert found.chosen == choose_steps(honest().committed.public, N_DRAWN, BEACON)
    assert 0 in found.chosen
    assert found.compute_escape(1) == pytest.approx(3 / 5)
    assert found.compute_escape(found.count_bad(0.4)) == pytest.approx(3 / 5 * 2 / 4)
    assert [found.count_bad(x) for x in (0, 0.2, 0.21, 1)] == [1, 1, 2, 5]


def test_a_drawn_start_is_drawn_again() -> None:
    found = accept(drawn(), start=digest_model(draw_start(recipe(), SEED)), seed=SEED)
    assert found.proof.start == b""


def test_a_file_comes_back_and_has_one_encoding() -> None:
    for proof in (full(), sampled(), drawn()):
        raw = proof.encode()
        assert TrainingProof.decode(raw).encode() == raw


def test_what_is_wanted_is_compared() -> None:
    d_w = encode_g1(honest().model.public.d)
    known = {
        "start": digest_model(public_model()),
        "seed": SEED,
        "batches": honest().batches.public.digest,
        "model": d_w,
        "occasion": {"client_key": OCCASION.client_key, "round_index": OCCASION.round_index},
    }
    accept(full(), **known, beacon=b"whichever, of all steps", n_proven=N_STEPS + 1)
    accept(sampled(), **known, beacon=BEACON, n_proven=N_DRAWN)
    for words, wanted in {
        "starts from the model": {"start": bytes(32)},
        "has the order of seed": {"seed": bytes(8)},
        "is on the committed batches": {"batches": bytes(32)},
        "ends at the model commitment": {"model": bytes(32)},
        "is drawn from by the beacon": {"beacon": b"another"},
        "2 steps are proven, not 3": {"n_proven": 3},
        "client key": {"occasion": {"client_key": b"another"}},
    }.items():
        refuse("wrong_statement", words, sampled(), **wanted)


def test_steps_in_another_order_are_refused() -> None:
    numbers = np.roll(honest().committed.public.numbers, 1)
    path = replace(honest().committed.public, numbers=numbers)
    refuse("wrong_statement", "another order than the seed", replace(full(), trajectory=path))
    unseeded = replace(full(), trajectory=path, seed=b"")
    refuse("wrong_statement", "is of something else", unseeded)
    swapped = replace(
        full(), steps=(*full().steps[:2], full().steps[3], full().steps[2], full().steps[4])
    )
    refuse("wrong_statement", "step 2 is of something else", swapped)


def test_another_start_is_refused() -> None:
    other = draw_start(recipe(), b"other")
    refuse("wrong_statement", "another model", replace(full(), start=encode_model(other)))
    path = replace(honest().committed.public, start=digest_model(other))
    lie = replace(full(), start=encode_model(other), trajectory=path)
    refuse("wrong_statement", "step 0 is of something else", lie)
    refuse("wrong_statement", "another model", replace(full(), start=b""))
    refuse("malformed", "no quantized model", replace(full(), start=b"none"))
    wider = draw_start(make_small_recipe([4, 4, 2]), SEED)
    refuse("wrong_statement", "such a start", replace(full(), start=encode_model(wider)))


def test_other_batches_are_refused() -> None:
    elsewhere = train(public_model(), data=7)
    path = replace(honest().committed.public, batches=elsewhere.batches.public.digest)
    lie = replace(full(), trajectory=path, batches=elsewhere.batches.public)
    refuse("wrong_statement", "step 0 is of something else", lie)
    narrow = replace(honest().batches.public, n_in=3)
    path = replace(honest().committed.public, batches=narrow.digest)
    refuse("wrong_statement", "another shape", replace(full(), trajectory=path, batches=narrow))


def test_an_export_of_something_else_is_refused() -> None:
    """Of another end, and of another D_W of the same end: that one is valid, and says so."""
    elsewhere = train(public_model(), salt=9)
    foreign = replace(full(), export=elsewhere.prove_end())
    refuse("wrong_statement", "something else than the last step's end", foreign)
    again = commit_values(
        honest().committed.trajectory.export().wires, draw_blinding(seeded(77)), committer()
    )
    d_w = encode_g1(again.public.d)
    other = replace(full(), export=honest().prove_end(again))
    assert accept(other).export.model == d_w
    refuse("wrong_statement", "ends at the model commitment", full(), model=d_w)
    # The statement of one with the proof of the other.
    spliced = replace(full(), export=other.export[:-224] + full().export[-224:])
    refuse("pairing_failed", "export: the proof does not hold", spliced)


def test_a_step_left_out_or_replayed_is_refused() -> None:
    raw = full().encode()
    for steps in (full().steps[:-1], (*full().steps, full().steps[0])):
        with pytest.raises(FieldInvalid, match="not one proof for each step"):
            replace(full(), steps=steps)
    cut = raw.replace(len(full().steps[0]).to_bytes(4, "little") + full().steps[0], b"", 1)
    found = judge(cut)
    assert isinstance(found, Refusal)
    assert found.code == "malformed"
    twice = replace(full(), steps=(full().steps[0], *full().steps[:-1]))
    refuse("wrong_statement", "step 1 is of something else", twice)
    before = replace(honest(), occasion=replace(OCCASION, round_index=9))
    replayed = replace(full(), steps=before.prove_steps(tuple(range(N_STEPS))))
    refuse("wrong_statement", "step 0 is of something else", replayed)
    refuse("wrong_statement", "round index", full(), occasion={"round_index": 9})


def test_another_beacon_draws_other_steps() -> None:
    for beacon in (b"", b"the next one"):
        assert choose_steps(honest().committed.public, N_DRAWN, beacon) != sampled().chosen
        refuse("wrong_statement", "of something else", replace(sampled(), beacon=beacon))
    # Who trains again draws again: the commitments are part of the draw.
    elsewhere = train(public_model(), salt=1).committed.public
    assert choose_steps(elsewhere, N_DRAWN, BEACON) != sampled().chosen


def test_who_knows_the_draw_gains_nothing_by_the_number_of_proven_steps() -> None:
    """Fewer drawn steps are among more, so one false step is seen by all numbers from some on."""
    path = honest().committed.public
    for beacon in (b"", BEACON, *(bytes([i]) for i in range(30))):
        draws = [set(choose_steps(path, n, beacon)) for n in range(1, N_STEPS + 1)]
        assert [len(draw) for draw in draws] == [1, 2, 3, 4, 5]
        assert all(few < more for few, more in pairwise(draws))


def test_a_proof_that_does_not_hold_is_refused_by_its_step() -> None:
    bad = sampled().steps[1][:-1] + bytes([sampled().steps[1][-1] ^ 1])
    found = judge(replace(sampled(), steps=(sampled().steps[0], bad)).encode())
    assert isinstance(found, Refusal)
    assert found.reason.startswith(f"step {sampled().chosen[1]}: ")
    other = make_small_recipe([4, 3, 2], rate=2)
    path = replace(honest().committed.public, recipe=other.encode())
    refuse("wrong_key", "another recipe", replace(full(), trajectory=path))
    steps = train(public_model()).prove_steps(tuple(range(N_STEPS)))
    key = halves().step.digest
    renamed = tuple(raw.replace(key, bytes(32)) for raw in steps)
    refuse("wrong_key", "step 0", replace(full(), steps=renamed))


def test_files_that_contradict_themselves_are_none() -> None:
    for words, change in {
        "other committed batches": {"batches": replace(honest().batches.public, n_in=5)},
        "says nothing of its start": {"start": b"", "seed": b""},
        "more steps than there are": {"n_drawn": N_STEPS + 1},
        "nothing to draw": {"beacon": b"beacon"},
        "wrong length": {"seed": b"seed"},
    }.items():
        with pytest.raises(FieldInvalid, match=words):
            replace(full(), **change)
    few = replace(honest().batches.public, d=honest().batches.public.d[:2])
    path = replace(honest().committed.public, batches=few.digest)
    with pytest.raises(FieldInvalid, match="was not committed to"):
        replace(full(), batches=few, trajectory=path)
    for raw in (b"", b"zkpottrf", full().encode()[:-1], full().encode() + b"x"):
        with pytest.raises(FormatError, match="prove training"):
            TrainingProof.decode(raw)
        found = judge(raw)
        assert isinstance(found, Refusal)
        assert found.code == "malformed"
