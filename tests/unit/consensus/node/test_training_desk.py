"""A task that asks for training: what clients may register, commit to and prove, and what may not.

States are of one lab, in which everybody is honest; a lie is about what one client sends in it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from consensus.disk.blob_limits import make_limit
from consensus.disk.task_keys import check_task_keys, load_training_keys
from consensus.errors import BlobUnavailable
from consensus.learning.admission import describe_occasion
from consensus.learning.aggregate import GlobalModel
from consensus.learning.chain import start as begin
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.steps import list_blobs
from consensus.learning.training_mean import read_masters
from consensus.node.verifier import BlockVerifier
from consensus.wire.gossip_messages import MAX_BLOB_BYTES
from consensus.wire.transactions import Commit, Proof, Refusal, Register, Transaction
from kernels.encoding import encode_g1
from prover.errors import KeyMismatch
from prover.pedersen.commitment import Committer
from prover.training.commitments import BatchCommitments, TrajectoryCommitments
from prover.training.draws import draw_start
from prover.training.masters import start
from prover.wire.envelope import PROOF_BYTES
from prover.wire.training import MAX_PROOFS_BYTES, ExportEnvelope, StepEnvelope, TrainingProofs
from prover.wire.verdict import Verdict
from tests.support.learning import ProvenLab
from tests.support.memory_blobs import MemoryBlobs
from tests.support.tiny_circuits import seeded
from tests.support.training_lab import (
    N_STEPS,
    Story,
    TrainingLab,
    batches_of,
    recipe,
    step_key,
    tell,
)

OTHER = bytes([5]) * 32


def lab(n_drawn: int = N_STEPS) -> TrainingLab:
    return _walk(n_drawn)[0]


def at(phase: Phase, learning_round: int = 0, n_drawn: int = N_STEPS) -> ChainState:
    """The first state of this phase, everybody having been honest."""
    states = _walk(n_drawn)[1]
    state = [*states.values()][-1]
    while (phase, learning_round) not in states:
        state = lab(n_drawn).extend(state, sent(state.phase, state.learning_round, n_drawn))
        states.setdefault((state.phase, state.learning_round), state)
    return states[phase, learning_round]


@cache
def sent(phase: Phase, learning_round: int = 0, n_drawn: int = N_STEPS) -> list[Transaction]:
    """What everybody sends in this phase."""
    return lab(n_drawn).list_due(at(phase, learning_round, n_drawn))


@cache
def _walk(n_drawn: int) -> tuple[TrainingLab, dict[tuple[Phase, int], ChainState]]:
    """A lab, and the states that it was brought to."""
    made = TrainingLab(n_drawn=n_drawn)
    first = begin(made.genesis)
    return made, {(first.phase, first.learning_round): first}


def proof(i: int = 1) -> Proof:
    """Of client i in the first round, with each step of its training."""
    tx = sent(Phase.PROVE)[i]
    assert isinstance(tx, Proof)
    return tx


def trained(i: int = 1) -> TrainingProofs:
    return TrainingProofs.parse(lab().blobs.get(proof(i).training))


def story(i: int = 1) -> Story:
    return lab().stories[i, 0]


def find_fault(state: ChainState, *txs: Transaction) -> list[str | None]:
    return lab().verifier().judge(state, txs)


def find_block_fault(state: ChainState, *txs: Transaction) -> str | None:
    return lab().verifier().check(state, lab().block(state, txs))


# -- what passes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_drawn", [2, N_STEPS], ids=["sampled", "full"])
def test_what_was_trained_as_drawn_counts(n_drawn: int) -> None:
    """In the first round, from the drawn start, and in the next, from the model of the first."""
    places = [(Phase.REGISTER, 0), (Phase.COMMIT, 0), (Phase.PROVE, 0)]
    if n_drawn == N_STEPS:
        places += [(Phase.COMMIT, 1), (Phase.PROVE, 1)]
    for phase, learning_round in places:
        state, due = at(phase, learning_round, n_drawn), sent(phase, learning_round, n_drawn)
        assert len(due) == 3
        block = lab(n_drawn).block(state, due)
        assert lab(n_drawn).verifier().check(state, block) is None


def test_the_sum_of_masters_is_what_opens() -> None:
    """A round's model is the exact mean of masters, which the next round starts from."""
    model = GlobalModel.parse(lab().blobs.get(at(Phase.COMMIT, 1).global_model))
    assert read_masters(recipe(), model).tolist() == lab().average(range(3), 0)
    masters, name = lab().find_start(at(Phase.COMMIT, 1))
    assert masters.tolist() == lab().average(range(3), 0)
    assert name == at(Phase.COMMIT, 1).global_model


# -- batches ---------------------------------------------------------------------------------------


def register(raw: bytes, i: int = 1) -> Register:
    tx = replace(lab().register(i), batches=lab().blobs.put(raw))
    return lab().sign(tx, lab().clients[i])


def test_batches_of_no_kind_or_another_shape_are_refused() -> None:
    public = batches_of(1).public
    raw = public.encode()
    shapes = [{"n_in": 7}, {"n_classes": 4}, {"batch_size": 5}]
    for wrong in (b"?", raw[:-1], raw + b"\0", story().trajectory.encode()):
        assert find_fault(at(Phase.REGISTER), register(wrong)) == [
            "its training: the committed batches are none"
        ]
    for change in shapes:
        assert find_fault(at(Phase.REGISTER), register(replace(public, **change).encode())) == [
            "its training: the committed batches are of another shape than the recipe's"
        ]
    assert find_fault(at(Phase.REGISTER), register(raw), register(b"?", 2)) == [
        None,
        "its training: the committed batches are none",
    ]


# -- trajectories ----------------------------------------------------------------------------------


def commit(told: Story, i: int = 1, **lies: Any) -> Commit:
    return lab().commit_to(i, 0, told, **lies)


def find_commit_fault(told: Story, state: ChainState | None = None, **lies: Any) -> str | None:
    (found,) = find_fault(state or at(Phase.COMMIT), commit(told, **lies))
    return found


def name_trajectory(told: Story, **change: Any) -> bytes:
    """The digest of a trajectory that says something else."""
    return lab().blobs.put(replace(told.trajectory, **change).encode())


def test_training_from_another_start_is_refused() -> None:
    masters = start(recipe(), draw_start(recipe(), b"a better seed"))
    order = lab().find_order(1, at(Phase.COMMIT))
    elsewhere = tell(batches_of(1), (masters, OTHER), order, seed=1)
    assert find_commit_fault(elsewhere) == (
        "its training: the trajectory starts from another model"
    )
    renamed = replace(elsewhere, start=lab().genesis.digest)
    assert find_commit_fault(renamed) is None, "where it started, its first step will tell"


def test_the_first_step_tells_where_training_started() -> None:
    """Also in a sampled round, when it is drawn; every later step hangs on the one before."""
    masters = start(recipe(), draw_start(recipe(), b"a better seed"))

    def tell_elsewhere(made: TrainingLab, i: int, state: ChainState) -> Story:
        order = made.find_order(i, state)
        return tell(batches_of(i), (masters, made.genesis.digest), order, seed=1)

    liars = TrainingLab(tell=tell_elsewhere)
    state = liars.reach(Phase.PROVE)
    assert liars.verifier().judge(state, [liars.prove(0, state)]) == [
        "its training: step 0: before is another"
    ]


def test_training_on_other_batches_is_refused() -> None:
    named = name_trajectory(story(), batches=batches_of(2).public.digest)
    assert find_commit_fault(story(), trajectory=named) == (
        "its training: the trajectory is on other batches"
    )


def test_training_in_another_order_is_refused() -> None:
    """Chosen, another client's, and that of another round."""
    first = lab().find_start(at(Phase.COMMIT))
    order = lab().find_order(1, at(Phase.COMMIT))
    for wrong in (order[::-1], [*order[1:], order[0]], [order[0]] * N_STEPS):
        assert wrong != order
        told = tell(batches_of(1), first, wrong, seed=1)
        assert find_commit_fault(told) == "its training: the batches are in another order"
    later = replace(at(Phase.COMMIT), order_beacon=OTHER)
    assert find_commit_fault(story(), later) == "its training: the batches are in another order"


def test_training_by_another_recipe_is_refused() -> None:
    quicker = replace(recipe(), rate=2)
    named = name_trajectory(story(), recipe=quicker.encode())
    assert find_commit_fault(story(), trajectory=named) == (
        "its training: the trajectory is of another recipe"
    )


def test_training_of_fewer_steps_is_refused() -> None:
    told = story().trajectory
    named = name_trajectory(story(), numbers=told.numbers[:-1], d=told.d[:-1])
    assert find_commit_fault(story(), trajectory=named) == (
        f"its training: the trajectory has {N_STEPS - 1} steps, the task asks for {N_STEPS}"
    )


def test_other_masters_than_the_last_are_not_summed() -> None:
    said = "its training: the trajectory ends at other masters than are committed to"
    early = encode_g1(story().masters[-2].public.d)
    for wrong in (early, story(2).d_m, encode_g1(story().of_model.public.d)):
        assert find_commit_fault(story(), d_m=wrong) == said


def test_anothers_trajectory_is_refused() -> None:
    """With its batches or with one's own: the order is of the client, and of the round."""
    assert find_commit_fault(story(2)) == "its training: the trajectory is on other batches"
    copied = replace(at(Phase.COMMIT), batches=dict.fromkeys(at(Phase.COMMIT).batches, OTHER))
    copied = replace(copied, batches={c: batches_of(2).public.digest for c in copied.batches})
    assert find_commit_fault(story(2), copied) == "its training: the batches are in another order"


def test_the_training_of_the_round_before_is_refused() -> None:
    tx = lab().commit_to(1, 1, story())
    assert find_fault(at(Phase.COMMIT, 1), tx) == [
        "its training: the trajectory starts from another model"
    ]


def test_a_trajectory_that_is_none_is_refused() -> None:
    raw = story().trajectory.encode()
    for wrong in (b"?", raw[:-1], raw + b"\0", batches_of(1).public.encode()):
        found = find_commit_fault(story(), trajectory=lab().blobs.put(wrong))
        assert found == (
            "its training: the trajectory is none, or not the one that was committed to"
        )


# -- proofs ----------------------------------------------------------------------------------------


def prove(shown: TrainingProofs | bytes, i: int = 1, learning_round: int = 0) -> Proof:
    """Its true proof of accuracy, with these proofs of training."""
    true = sent(Phase.PROVE, learning_round)[i]
    assert isinstance(true, Proof)
    raw = shown if isinstance(shown, bytes) else shown.encode()
    return lab().sign(replace(true, training=lab().blobs.put(raw)), lab().clients[i])


def find_proof_fault(shown: TrainingProofs | bytes, i: int = 1) -> str | None:
    (found,) = find_fault(at(Phase.PROVE), prove(shown, i))
    return found


def test_a_forged_step_is_refused_and_nobody_else() -> None:
    """The points of another step's proof under the statement that is asked for."""
    steps = list(trained().steps)
    steps[2] = steps[2][:-PROOF_BYTES] + steps[1][-PROOF_BYTES:]
    forged = prove(replace(trained(), steps=tuple(steps)))
    found = find_fault(at(Phase.PROVE), proof(0), forged, proof(2))
    assert found == [None, f"its proof is {Verdict.PAIRING_FAILED}", None]
    said = find_block_fault(at(Phase.PROVE), proof(0), forged)
    assert said is not None
    assert said.endswith(f"client {lab().client(1).hex()}: its proof is pairing_failed")


def test_a_missing_step_or_one_of_another_place_is_refused() -> None:
    shown = trained()
    first, *rest = shown.steps
    assert find_proof_fault(replace(shown, steps=tuple(rest))) == (
        f"its training: {N_STEPS - 1} steps are proven, {N_STEPS} were drawn"
    )
    assert find_proof_fault(replace(shown, steps=(*rest, first))) == (
        "its training: step 0: step is another"
    )


def test_other_steps_than_were_drawn_are_refused() -> None:
    """Of a sampled round: proofs of steps that nobody asked for, however true."""
    sampled = lab(2)
    state = at(Phase.PROVE, 0, 2)
    told, drawn = sampled.stories[1, 0], sampled.find_drawn(1, state)
    other = next(t for t in range(N_STEPS) if t not in drawn)
    occasion = describe_occasion(state, sampled.client(1))
    shown = sampled.show(1, state, told.prove([other, drawn[1]], occasion))
    assert sampled.verifier().judge(state, [shown]) == [
        f"its training: step {drawn[0]}: step is another"
    ]


def test_a_missing_export_or_that_of_another_model_is_refused() -> None:
    shown = trained()
    for wrong in (b"?", shown.steps[0], shown.export[:-1]):
        assert find_proof_fault(replace(shown, export=wrong)) == (
            "its training: export: the envelope is malformed"
        )
    assert find_proof_fault(replace(shown, export=trained(2).export)) == (
        "its training: export: client_key is another"
    )
    occasion = describe_occasion(at(Phase.PROVE), lab().client(1))
    for other, name in ((story(2), "masters"), (_tell_shorter(), "masters")):
        found = find_proof_fault(replace(shown, export=other.prove_export(occasion)))
        assert found == f"its training: export: {name} is another"


def _tell_shorter() -> Story:
    """The same training, a step less."""
    told = story()
    return replace(
        told, numbers=told.numbers[:-1], traces=told.traces[:-1], masters=told.masters[:-1]
    )


def test_a_model_that_was_trained_elsewhere_has_no_export() -> None:
    """Its owner commits to its D_W, proves its accuracy, and shows another's training."""

    def tell_of_two(made: TrainingLab, i: int, state: ChainState) -> Story:
        order = made.find_order(i, state)
        told = tell(batches_of(i), made.find_start(state), order, seed=1)
        better = tell(batches_of(i), made.find_start(state), [0] * N_STEPS, seed=2)
        told.__dict__.update(model=better.model, of_model=better.of_model)
        return told

    liars = TrainingLab(tell=tell_of_two)
    state = liars.reach(Phase.PROVE)
    told = liars.stories[0, 0]
    honest = replace(told)
    occasion = describe_occasion(state, liars.client(0))
    shown = honest.prove(range(N_STEPS), occasion)
    found = liars.verifier().judge(state, [liars.show(0, state, shown)])
    assert found == ["its training: export: model is another"]


def test_training_of_another_round_client_or_chain_is_refused() -> None:
    here = describe_occasion(at(Phase.PROVE), lab().client(1))
    step, export = (
        kind.parse(raw)
        for kind, raw in (
            (StepEnvelope, trained().steps[0]),
            (ExportEnvelope, trained().export),
        )
    )
    for name, value in (
        ("round_index", 1),
        ("client_key", lab().client(2)),
        ("commit_height", here.commit_height + 1),
        ("chain_id", b"another"),
        ("task_id", b"another"),
    ):
        place = replace(here, **{name: value})
        moved = replace(step, statement=replace(step.statement, occasion=place)).encode()
        shown = replace(trained(), steps=(moved, *trained().steps[1:]))
        assert find_proof_fault(shown) == f"its training: step 0: {name} is another"
        moved = replace(export, statement=replace(export.statement, occasion=place)).encode()
        assert find_proof_fault(replace(trained(), export=moved)) == (
            f"its training: export: {name} is another"
        )


def test_anothers_proofs_and_those_of_the_round_before_are_refused() -> None:
    assert find_proof_fault(trained(2)) == "its training: step 0: client_key is another"
    state = at(Phase.PROVE, 1)
    found = find_fault(state, prove(trained(), learning_round=1))
    assert found == ["its training: step 0: round_index is another"]


def test_true_training_saves_no_false_proof_of_accuracy() -> None:
    good = proof()
    cut = replace(good, envelope=good.envelope[:-32] + bytes(32))
    (found,) = find_fault(at(Phase.PROVE), lab().sign(cut, lab().clients[1]))
    assert found is not None
    assert found.startswith("its proof is ")


# -- refusals --------------------------------------------------------------------------------------


def test_a_refusal_of_false_training_is_on_record() -> None:
    """And its client is waited for no more."""
    swapped = (trained().steps[0][:-PROOF_BYTES] + trained().steps[1][-PROOF_BYTES:],)
    forged = replace(trained(), steps=(*swapped, *trained().steps[1:]))
    state = at(Phase.PROVE)
    for shown in (forged, b"?", replace(trained(), export=b"?")):
        refusal = Refusal(proof=prove(shown))
        assert find_block_fault(state, proof(0), refusal) is None
        after = lab().extend(state, [proof(0), refusal])
        assert after.refusals.keys() == {lab().client(1)}


def test_nobody_refuses_true_training() -> None:
    found = find_block_fault(at(Phase.PROVE), Refusal(proof=proof()))
    assert found is not None
    assert found.endswith("it refuses a valid proof")


# -- what a node needs for it ----------------------------------------------------------------------


def only(*digests: bytes) -> BlockVerifier:
    """A verifier that has these blobs alone."""
    blobs = MemoryBlobs()
    for digest in digests:
        blobs.put(lab().blobs.get(digest))
    return BlockVerifier(lab().genesis, blobs, seeded(1))


@pytest.mark.parametrize(
    ("phase", "learning_round"), [(Phase.REGISTER, 0), (Phase.COMMIT, 0), (Phase.PROVE, 1)]
)
def test_each_blob_that_is_read_is_asked_for_and_a_missing_one_is_no_fault(
    phase: Phase, learning_round: int
) -> None:
    state, txs = at(phase, learning_round), sent(phase, learning_round)
    block = lab().block(state, txs)
    needed = lab().verifier().list_needed_blobs(state, block)
    assert only(*needed).check(state, block) is None
    named = list_blobs(state, txs[0])
    assert set(named) <= set(needed)
    assert len(named) == {Phase.REGISTER: 1, Phase.COMMIT: 2, Phase.PROVE: 4}[phase]
    for lacked in (*named, *_list_grounds(state)):
        without = only(*(digest for digest in needed if digest != lacked))
        assert without.find_missing_blobs(needed) == (lacked,)
        with pytest.raises(BlobUnavailable):
            without.judge(state, txs)


def _list_grounds(state: ChainState) -> tuple[bytes, ...]:
    if state.phase is not Phase.PROVE:
        return ()
    assert lab().task.training is not None
    return (*lab().task.training.key_digests, state.global_model)


def test_a_refusal_asks_for_what_it_is_judged_by() -> None:
    state, refusal = at(Phase.PROVE), Refusal(proof=prove(replace(trained(), export=b"?")))
    needed = lab().verifier().list_needed_blobs(state, lab().block(state, [refusal]))
    assert refusal.proof.training in needed
    assert refusal.proof.deal not in needed
    assert only(*needed).check(state, lab().block(state, [refusal])) is None


def test_who_follows_old_rounds_may_lack_what_was_shown_of_training() -> None:
    """Nodes let it go, and have checked it; what can still be checked is."""
    state = at(Phase.PROVE, 1)
    txs = sent(Phase.PROVE, 1)
    training = lab().task.training
    assert training is not None
    keys = (lab().task.verifying_key_digest, *training.key_digests, *lab().task.pools)
    blobs = MemoryBlobs()
    for digest in keys:
        blobs.put(lab().blobs.get(digest))
    lenient = BlockVerifier(lab().genesis, blobs, seeded(1), may_lack_payloads=True)
    for phase in (Phase.REGISTER, Phase.COMMIT):
        block = lab().block(at(phase), sent(phase))
        assert lenient.check(at(phase), block) is None
    assert lenient.check(state, lab().block(state, txs)) is None
    assert lenient.n_trainings_unchecked == 3
    refusal = Refusal(proof=prove(b"?", learning_round=1))
    assert lenient.check(state, lab().block(state, [refusal])) is None
    for digest in (*list_blobs(state, refusal), *list_blobs(state, txs[0]), state.global_model):
        blobs.put(lab().blobs.get(digest))
    held = BlockVerifier(lab().genesis, blobs, seeded(1), may_lack_payloads=True)
    assert held.check(state, lab().block(state, [txs[0], refusal])) is None
    assert held.n_trainings_unchecked == 0
    wrong = lab().block(state, [refusal.proof])
    assert "the proofs are none" in str(held.check(state, wrong))


def test_the_start_of_a_round_is_committed_to_once(monkeypatch: pytest.MonkeyPatch) -> None:
    state, committed = at(Phase.PROVE, 1), []
    do_commit = Committer.commit

    def count_commits(self: Committer, values: Any, rho: int) -> Any:
        committed.append(rho)
        return do_commit(self, values, rho)

    txs = sent(Phase.PROVE, 1)
    monkeypatch.setattr(Committer, "commit", count_commits)
    verifier = lab().verifier()
    assert verifier.check(state, lab().block(state, txs)) is None
    assert verifier.judge(state, txs) == [None] * 3
    assert committed == [0]


def test_all_that_waits_is_one_batch_and_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from consensus.node import training_desk

    batches: list[int] = []
    verify = training_desk.verify_trainings

    def count_batches(found: Any, **given: Any) -> Any:
        batches.append(len(found))
        return verify(found, **given)

    monkeypatch.setattr(training_desk, "verify_trainings", count_batches)
    verifier, state = lab().verifier(), at(Phase.PROVE)
    txs = [proof(i) for i in range(3)]
    assert verifier.judge(state, txs) == [None] * 3
    assert verifier.check(state, lab().block(state, txs)) is None
    assert sum(batches) == 3
    assert batches[0] == 3


# -- bounded work ----------------------------------------------------------------------------------

LONG = bytes(1 << 20) + b"\1"


def test_long_blobs_are_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fills a megabyte is no file of any kind; none of it is decoded."""

    def decode(raw: bytes, **where: Any) -> Any:
        raise AssertionError("it is read")

    long = lab().blobs.put(LONG)
    told, registering, proving = story(), register(LONG), prove(LONG)
    monkeypatch.setattr(BatchCommitments, "decode", decode)
    assert find_fault(at(Phase.REGISTER), registering) == [
        "its training: the committed batches are none"
    ]
    monkeypatch.undo()
    monkeypatch.setattr(TrajectoryCommitments, "decode", decode)
    found = find_commit_fault(told, trajectory=long)
    assert found == "its training: the trajectory is none, or not the one that was committed to"
    monkeypatch.undo()
    monkeypatch.setattr(StepEnvelope, "decode", decode)
    assert find_fault(at(Phase.PROVE), proving) == ["its training: the proofs are none"]


def test_more_proofs_than_are_asked_for_are_counted_and_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decode(raw: bytes) -> Any:
        raise AssertionError("it is read")

    monkeypatch.setattr(StepEnvelope, "decode", decode)
    many = replace(trained(), steps=trained().steps[:1] * 1000)
    assert len(many.encode()) > MAX_PROOFS_BYTES // 2
    assert find_proof_fault(many) == f"its training: 1000 steps are proven, {N_STEPS} were drawn"


def test_stores_take_what_training_shows_and_no_more() -> None:
    training = lab().task.training
    assert training is not None
    limit = make_limit(lab().task)
    assert limit(OTHER) == MAX_PROOFS_BYTES
    assert make_limit(ProvenLab().task)(OTHER) < MAX_PROOFS_BYTES
    assert all(limit(digest) == MAX_BLOB_BYTES for digest in training.key_digests)


# -- keys ------------------------------------------------------------------------------------------


def test_the_keys_of_training_are_the_genesis_own() -> None:
    task = lab().task
    assert task.training is not None
    keys = load_training_keys(task, lab().blobs)
    assert keys.step.digest == step_key().verifying.digest
    check_task_keys(task, lab().blobs)
    check_task_keys(task, MemoryBlobs())
    quicker = tuple((n, 2 if n == "rate" else x) for n, x in task.training.numbers)
    lies = [
        {"numbers": quicker},
        {"step_circuit": OTHER},
        {"export_circuit": OTHER},
        {"step_key": task.training.export_key},
        {"export_key": task.training.step_key},
        {"export_key": task.verifying_key_digest},
    ]
    for lie in lies:
        with pytest.raises(KeyMismatch, match="the genesis contradicts the key"):
            check_task_keys(replace(task, training=replace(task.training, **lie)), lab().blobs)
    with pytest.raises(ValueError, match="asks for no training"):
        load_training_keys(ProvenLab().task, lab().blobs)


def test_one_key_is_checked_while_the_other_is_lacked() -> None:
    task = lab().task
    assert task.training is not None
    blobs = MemoryBlobs()
    blobs.put(lab().blobs.get(task.training.export_key))
    check_task_keys(task, blobs)
    lie = replace(task.training, export_circuit=OTHER)
    with pytest.raises(KeyMismatch):
        check_task_keys(replace(task, training=lie), blobs)
