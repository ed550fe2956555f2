"""What a round holds against a client's training: each refusal, and what passes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from consensus.errors import GenesisInvalid
from consensus.learning import training
from consensus.learning.training import (
    TrainingClaim,
    TrainingStart,
    draw_order,
    draw_steps,
    find_batches_fault,
)
from prover.wire.training import MAX_ROUND_STEPS, TrainingProofs
from tests.support.training_rounds import N_STEPS, PLACE, TERMS, of_round, seal, trained
from tests.support.trajectories import OCCASION

SAMPLED = replace(TERMS, n_drawn=2)
OTHER = b"o" * 32


# -- draws -----------------------------------------------------------------------------------------


def test_orders_take_every_batch_once_a_pass() -> None:
    order = draw_order(b"beacon", *PLACE, n_batches=7, n_steps=20)
    assert sorted(order[:7]) == sorted(order[7:14]) == list(range(7))
    assert len(order) == 20


def test_drawn_steps_ascend_and_every_step_is_drawn_alike() -> None:
    found = [draw_steps(bytes([i]), *PLACE, n_steps=8, n_drawn=3) for i in range(256)]
    assert all(len(steps) == 3 and steps == sorted(set(steps)) for steps in found)
    counts = Counter(t for steps in found for t in steps)
    assert sorted(counts) == list(range(8))
    assert min(counts.values()) > 64  # 96 expected
    assert draw_steps(b"", *PLACE, n_steps=4, n_drawn=4) == [0, 1, 2, 3]


@pytest.mark.parametrize("other", [(PLACE[0] + 1, PLACE[1]), (PLACE[0], b"another")])
def test_draws_are_of_one_beacon_round_and_client(other: tuple[int, bytes]) -> None:
    mine = draw_order(b"beacon", *PLACE, n_batches=50, n_steps=50)
    assert mine == draw_order(b"beacon", *PLACE, n_batches=50, n_steps=50)
    assert mine != draw_order(b"beacon", *other, n_batches=50, n_steps=50)
    assert mine != draw_order(b"Beacon", *PLACE, n_batches=50, n_steps=50)
    drawn = draw_steps(b"beacon", *PLACE, n_steps=1000, n_drawn=20)
    assert drawn != draw_steps(b"beacon", *other, n_steps=1000, n_drawn=20)
    assert drawn != draw_steps(b"Beacon", *PLACE, n_steps=1000, n_drawn=20)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"n_steps": 0}, "n_steps"),
        ({"n_steps": MAX_ROUND_STEPS + 1}, "n_steps"),
        ({"n_steps": True}, "n_steps"),
        ({"n_drawn": 0}, "n_drawn"),
        ({"n_drawn": N_STEPS + 1}, "n_drawn"),
    ],
)
def test_terms_out_of_range_are_refused(change: dict[str, Any], where: str) -> None:
    with pytest.raises(GenesisInvalid, match=where):
        replace(TERMS, **change)


# -- what passes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("terms", [TERMS, SAMPLED], ids=["full", "sampled"])
def test_training_as_it_was_drawn_has_no_fault(terms: Any) -> None:
    assert trained().find_fault(terms=terms) is None


# -- files -----------------------------------------------------------------------------------------


def test_files_that_are_not_on_record_are_refused() -> None:
    mine, other = trained(), trained(2)
    for raw in (other.batches.public.encode(), b"", mine.trajectory.public.encode()):
        assert mine.find_fault(batches=raw) == (
            "the committed batches are none, or not those that were registered"
        )
    for raw in (other.trajectory.public.encode(), b"", mine.batches.public.encode()):
        assert mine.find_fault(trajectory=raw) == (
            "the trajectory is none, or not the one that was committed to"
        )


@pytest.mark.parametrize("name", ["batches", "trajectory"])
def test_files_that_are_too_long_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    mine = trained()
    n_bytes = len(getattr(mine, name).public.encode())
    monkeypatch.setattr(training, f"MAX_{name.upper()}_BYTES", n_bytes)
    assert mine.find_fault() is None
    monkeypatch.setattr(training, f"MAX_{name.upper()}_BYTES", n_bytes - 1)
    found = mine.find_fault()
    assert found is not None
    assert name in found


def test_another_recipe_is_refused() -> None:
    mine = trained()
    quicker = replace(TERMS.recipe, rate=2)
    assert mine.find_path_fault(recipe=quicker.encode()) == "the trajectory is of another recipe"
    larger = replace(TERMS, recipe=replace(TERMS.recipe, batch_size=5))
    assert mine.find_fault(terms=larger) == (
        "the committed batches are of another shape than the recipe's"
    )


def test_another_start_is_refused() -> None:
    """Said so, or found by the first step, whose D_M(0) everybody computes."""
    mine = trained()
    assert mine.find_path_fault(start=OTHER) == "the trajectory starts from another model"
    moved = replace(of_round(), masters=mine.masters[1])
    assert mine.find_fault(of_round=moved) == "step 0: before is another"


def test_other_batches_are_refused() -> None:
    assert trained().find_path_fault(batches=OTHER) == "the trajectory is on other batches"


def test_another_order_is_refused() -> None:
    mine = trained()
    numbers = mine.trajectory.public.numbers
    for wrong in (np.roll(numbers, 1), np.full_like(numbers, 7), np.zeros_like(numbers)):
        assert mine.find_path_fault(numbers=wrong) == "the batches are in another order"
    later = replace(of_round(), order_beacon=b"another beacon of orders")
    assert mine.find_fault(of_round=later) == "the batches are in another order"


def test_fewer_steps_are_refused() -> None:
    public = trained().trajectory.public
    found = trained().find_path_fault(numbers=public.numbers[:4], d=public.d[:4])
    assert found == "the trajectory has 4 steps, the task asks for 5"


# -- proofs ----------------------------------------------------------------------------------------


def test_a_missing_or_further_step_is_refused() -> None:
    mine = trained()
    shown = mine.show()
    for steps in (shown.steps[1:], shown.steps[:-1], (*shown.steps, shown.steps[0])):
        found = mine.find_fault(proofs=replace(shown, steps=steps))
        assert found == f"{len(steps)} steps are proven, 5 were drawn"


def test_other_steps_than_drawn_are_refused() -> None:
    """Others, the drawn ones in another order, one of them twice."""
    mine = trained()
    a, b = mine.list_drawn(SAMPLED)
    other = next(t for t in range(N_STEPS) if t not in (a, b))
    for steps, at in (((other, b), a), ((b, a), a), ((a, a), b), ((a, other), b)):
        shown = seal([mine.state_step(t) for t in steps], mine.state_export())
        found = mine.find_fault(terms=SAMPLED, proofs=shown)
        assert found == f"step {at}: step is another"
    replayed = seal(
        [replace(mine.state_step(other), step=a), mine.state_step(b)], mine.state_export()
    )
    assert mine.find_fault(terms=SAMPLED, proofs=replayed) in {
        f"step {a}: {name} is another" for name in ("n_real", "before")
    }


def test_a_draw_is_of_the_rounds_own_beacon() -> None:
    mine = trained()
    drawn = mine.list_drawn(SAMPLED)
    beacon = next(
        bytes([i])
        for i in range(256)
        if draw_steps(bytes([i]), *PLACE, n_steps=N_STEPS, n_drawn=2)[0] != drawn[0]
    )
    found = mine.find_fault(terms=SAMPLED, of_round=replace(of_round(), draw_beacon=beacon))
    assert found is not None
    assert found.endswith(": step is another")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"occasion": replace(OCCASION, chain_id=b"other")}, "chain_id"),
        ({"occasion": replace(OCCASION, task_id=b"other")}, "task_id"),
        ({"occasion": replace(OCCASION, round_index=0)}, "round_index"),
        ({"occasion": replace(OCCASION, commit_height=1)}, "commit_height"),
        ({"occasion": replace(OCCASION, client_key=b"thief")}, "client_key"),
        ({"verifying_key_digest": OTHER}, "verifying_key_digest"),
        ({"step": 4}, "step"),
        ({"n_real": 0}, "n_real"),
        ({"n_real": 5}, "n_real"),
        ({"before": OTHER}, "before"),
        ({"after": OTHER}, "after"),
        ({"data": OTHER}, "data"),
    ],
)
def test_a_step_of_something_else_is_refused(change: dict[str, Any], name: str) -> None:
    mine = trained()
    steps = [mine.state_step(t) for t in range(N_STEPS)]
    for t in (0, 2):
        wrong = [replace(s, **change) if s.step == t else s for s in steps]
        found = mine.find_fault(proofs=seal(wrong, mine.state_export()))
        assert found == f"step {t}: {name} is another"


def test_a_batch_but_the_last_is_full() -> None:
    """Nobody trains on a sample at a time; how many samples the last batch has is its proof's."""
    mine = trained()
    numbers = mine.trajectory.public.numbers.tolist()
    for t, number in enumerate(numbers):
        steps = [mine.state_step(i) for i in range(N_STEPS)]
        steps[t] = replace(steps[t], n_real=1)
        found = mine.find_fault(proofs=seal(steps, mine.state_export()))
        assert found == (None if number == 2 else f"step {t}: n_real is another")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"occasion": replace(OCCASION, round_index=0)}, "round_index"),
        ({"occasion": replace(OCCASION, client_key=b"thief")}, "client_key"),
        ({"verifying_key_digest": OTHER}, "verifying_key_digest"),
        ({"masters": OTHER}, "masters"),
        ({"model": OTHER}, "model"),
    ],
)
def test_the_export_of_something_else_is_refused(change: dict[str, Any], name: str) -> None:
    mine = trained()
    steps = [mine.state_step(t) for t in range(N_STEPS)]
    found = mine.find_fault(proofs=seal(steps, replace(mine.state_export(), **change)))
    assert found == f"export: {name} is another"


def test_the_export_of_masters_on_the_way_is_refused() -> None:
    mine = trained()
    steps = [mine.state_step(t) for t in range(N_STEPS)]
    early = replace(mine.state_export(), masters=mine.masters[-2])
    assert mine.find_fault(proofs=seal(steps, early)) == "export: masters is another"


def test_envelopes_of_no_kind_or_another_are_refused() -> None:
    mine = trained()
    shown = mine.show()
    for raw in (b"?", shown.export, shown.steps[0][:-1]):
        proofs = replace(shown, steps=(raw, *shown.steps[1:]))
        assert mine.find_fault(proofs=proofs) == "step 0: the envelope is malformed"
    proofs = replace(shown, export=shown.steps[0])
    assert mine.find_fault(proofs=proofs) == "export: the envelope is malformed"


def test_anothers_training_is_refused() -> None:
    """All of it: files that are on record for another client, and proofs that hold."""
    mine, other = trained(), trained(2)
    found = mine.find_fault(
        claim=TrainingClaim(
            occasion=replace(OCCASION, client_key=b"thief"),
            commit=replace(other.commit, client_key=b"thief"),
            d_w=other.claim.d_w,
        ),
        batches=other.batches.public.encode(),
        trajectory=other.trajectory.public.encode(),
        proofs=other.show(),
    )
    assert found == "the batches are in another order"


def test_proofs_have_one_encoding() -> None:
    shown = trained().show()
    assert TrainingProofs.decode(shown.encode()) == shown
    assert TrainingProofs.decode(shown.encode() + b"\0") is None
    assert TrainingProofs.decode(shown.encode()[:-1]) is None
    for raw in (b"", shown.encode()[:-1], shown.encode() + b"\0", bytes(1 << 20)):
        assert trained().find_fault(proofs=raw) == "the proofs are none"


# -- before there are proofs -----------------------------------------------------------------------


def test_batches_of_the_recipe_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = trained().batches.public.encode()
    assert find_batches_fault(TERMS, raw) is None
    for garbage in (b"", raw[:-1], raw + b"\0", trained().trajectory.public.encode()):
        assert find_batches_fault(TERMS, garbage) == "the committed batches are none"
    larger = replace(TERMS, recipe=replace(TERMS.recipe, batch_size=5))
    assert find_batches_fault(larger, raw) == (
        "the committed batches are of another shape than the recipe's"
    )
    monkeypatch.setattr(training, "MAX_BATCHES_BYTES", len(raw) - 1)
    assert find_batches_fault(TERMS, raw) == "the committed batches are none"


def test_a_trajectory_as_it_was_drawn_can_be_committed_to() -> None:
    """Without what only the next beacon draws."""
    start = TrainingStart(start=of_round().start, order_beacon=of_round().order_beacon)
    assert trained().find_commit_fault(start=start) is None


def test_another_end_is_refused() -> None:
    """What is summed is what training ended at."""
    mine = trained()
    for wrong in (mine.masters[-2], OTHER, mine.claim.d_w, trained(2).masters[-1]):
        commit = replace(mine.commit, d_m=wrong)
        said = "the trajectory ends at other masters than are committed to"
        assert mine.find_commit_fault(commit=commit) == said
        assert mine.find_fault(claim=replace(mine.claim, commit=commit)) == said
