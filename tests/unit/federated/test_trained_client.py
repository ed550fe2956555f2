"""Clients of a task that asks for proofs of training, on a small chain with real proofs."""

from __future__ import annotations

import stat
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

from consensus.learning.aggregate import GlobalModel
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import Phase
from consensus.learning.training import MAX_CLIENT_BATCHES, draw_steps
from consensus.learning.training_mean import read_masters
from consensus.wire.genesis import Task
from consensus.wire.task_norm import TaskNorm
from consensus.wire.transactions import Commit, Proof, Register
from federated.bounds import UpdateProver
from federated.client import Client
from federated.errors import ProvingFailed
from federated.provable.batches import PUBLIC_NAME, SECRET_NAME, commit_batches
from federated.provable.trajectory import BLINDINGS_NAME, COMMITMENTS_NAME, TRAJECTORY_NAME
from federated.rounds.duties import Duty
from federated.rounds.store import COMMITMENT_NAME, MASKS_NAME, MODEL_NAME
from federated.rounds.training import Trainee, take_batches
from kernels.numpy_types import Int64Array
from prover.circuit.norm.circuit import compile_norm
from prover.errors import FormatError, ShapeMismatch, UpdateExceeds
from prover.groth16.setup_norm import setup_norm
from prover.model.update import UpdateBounds
from prover.pedersen.commitment import Committer
from prover.training.masters import export
from tests.support.learning import ARCHITECTURE, BACKEND, ProvenLab, model_of
from tests.support.tiny_circuits import seeded
from tests.support.trained_clients import (
    act,
    draw_samples,
    make_client,
    make_trainee,
    make_training_prover,
    open_store,
    run_until,
    start_client,
    start_impostor,
)
from tests.support.training_lab import (
    N_STEPS,
    TrainingLab,
    committer,
    recipe,
)


def load_masters(client: Client, learning_round: int) -> Int64Array:
    secrets = client.load_secrets(learning_round)
    assert secrets is not None
    return secrets.summed[0]


def test_two_rounds_of_training_end_in_the_mean_of_masters(tmp_path: Path) -> None:
    """The second starts from the first one's mean, to the last bit."""
    lab = TrainingLab()
    clients = [start_client(lab, i, tmp_path) for i in range(3)]
    state = run_until(lab, clients, Phase.COMMIT, 1)
    mean = lab.blobs.get(state.global_model)
    sums = sum(load_masters(client, 0) for client in clients)
    expected = (2 * sums + 3) // 6
    assert (read_masters(recipe(), GlobalModel.parse(mean)) == expected).all()
    state = run_until(lab, clients, Phase.ELECT, 1)
    everyone = {client.public_key for client in clients}
    assert set(state.proofs) == set(state.unmasked) == everyone
    second = clients[0].load_secrets(1)
    assert second is not None
    assert second.training is not None
    assert (second.training.trajectory.get_masters(0) == expected).all()
    assert second.training.trajectory.start == state.global_model
    exported = export(recipe(), second.training.trajectory.get_masters(N_STEPS))
    assert (second.model.wires == exported.wires).all()


def test_drawn_steps_alone_are_proven(tmp_path: Path) -> None:
    lab = TrainingLab(n_drawn=2)
    clients = [start_client(lab, i, tmp_path) for i in range(3)]
    state = run_until(lab, clients, Phase.MASK)
    assert set(state.proofs) == {client.public_key for client in clients}


def test_a_client_that_is_killed_in_any_phase_goes_on_with_what_it_has_answered(
    tmp_path: Path,
) -> None:
    """Started anew for every block, with other samples and other chances: one of everything."""
    lab, others = TrainingLab(), draw_samples(77)
    state, verifier = start(lab.genesis), lab.verifier()
    seen = set()
    while state.learning_round == 0:
        sent = act([start_client(lab, i, tmp_path) for i in range(3)], state)
        stores = [open_store(lab, i, tmp_path) for i in range(3)]
        again = [
            make_client(lab, i, store, make_trainee(lab, i, store, samples=others))
            for i, store in enumerate(stores)
        ]
        assert act(again, state) == sent
        seen |= {type(tx) for tx in sent}
        block = lab.block(state, sent)
        assert verifier.check(state, block) is None
        state = apply(state, block)
    assert {Register, Commit, Proof} < seen
    assert GlobalModel.parse(lab.blobs.get(state.global_model))


def test_what_was_written_in_part_is_made_anew_before_anything_is_sent(tmp_path: Path) -> None:
    """The last of a round's files makes the rest count; so it is with batches."""
    lab = TrainingLab()
    client, home = start_client(lab, 0, tmp_path), tmp_path / "client-0"
    (folder,) = home.glob("chain-*")
    first = (folder / SECRET_NAME).read_bytes()
    (folder / PUBLIC_NAME).unlink()
    store = open_store(lab, 0, tmp_path)
    assert store.load_batches() is None
    take_batches(lab.task, draw_samples(0), store, random_bytes=seeded(9), backend=BACKEND)
    assert (folder / SECRET_NAME).read_bytes() != first
    client = start_client(lab, 0, tmp_path)
    clients = [client, *(start_client(lab, i, tmp_path) for i in (1, 2))]
    state = run_until(lab, clients, Phase.BEACON)
    assert state.commits[client.public_key].d_m
    round_folder = folder / "round-0"
    (round_folder / COMMITMENT_NAME).unlink()
    assert store.load(0) is None
    with pytest.raises(ProvingFailed, match="next round"):
        start_client(lab, 0, tmp_path).act(lab.extend(state))


def test_a_trajectory_that_is_lost_is_said_to_be(tmp_path: Path) -> None:
    lab = TrainingLab()
    clients = [start_client(lab, i, tmp_path) for i in range(3)]
    state = run_until(lab, clients, Phase.PROVE)
    (public,) = tmp_path.glob(f"client-0/chain-*/round-0/{COMMITMENTS_NAME}")
    public.unlink()
    with pytest.raises(ProvingFailed, match="next round"):
        start_client(lab, 0, tmp_path).act(state)


def test_secrets_are_for_their_owner_and_in_nothing_that_is_sent(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lab = TrainingLab()
    clients = [start_client(lab, i, tmp_path) for i in range(3)]
    state = run_until(lab, clients, Phase.MASK)
    (folder,) = tmp_path.glob("client-0/chain-*/round-0")
    names = {path.name for path in folder.iterdir()}
    files = (TRAJECTORY_NAME, BLINDINGS_NAME, COMMITMENTS_NAME)
    sent = {f"{duty}.sent" for duty in ("register", "commit", "prove")}
    assert names == {*files, *sent, MODEL_NAME, COMMITMENT_NAME, MASKS_NAME}
    private = [*folder.iterdir(), folder.parent / SECRET_NAME, folder.parent / PUBLIC_NAME]
    for path in private:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secrets = clients[0].load_secrets(0)
    assert secrets is not None
    assert secrets.training is not None
    masters, rho = secrets.summed
    needles = [masters.astype(kind).tobytes()[8:72] for kind in ("<i4", "<i8")]
    needles += [rho.to_bytes(32, "little"), secrets.commitment.blinding.rho.to_bytes(32, "little")]
    trajectory = (folder / TRAJECTORY_NAME).read_bytes()
    assert needles[0] in trajectory
    given = [*lab.blobs.list_raws(), *(tx.encode() for tx in act(clients, state))]
    assert not any(needle in raw for needle in needles for raw in given)
    said = "".join(capfd.readouterr())
    shown = said + "".join(map(repr, (secrets, secrets.training, clients[0])))
    assert str(rho) not in shown
    assert str(int(masters[0])) not in shown


def test_a_model_from_elsewhere_is_refused_however_good_it_is(tmp_path: Path) -> None:
    lab = TrainingLab(n_clients=4)
    clients = [start_client(lab, i, tmp_path) for i in range(3)]
    impostor = start_impostor(lab, 3, tmp_path)
    state = run_until(lab, [*clients, impostor], Phase.ELECT)
    assert impostor.public_key in state.commits
    assert set(state.refusals) == {impostor.public_key}
    assert set(state.proofs) == {client.public_key for client in clients}


@pytest.mark.parametrize("is_drawn", [False, True])
def test_a_false_step_that_nobody_draws_is_not_seen(tmp_path: Path, is_drawn: bool) -> None:
    """Which is why `full` is another promise than `sampled`: one step of four is drawn here."""
    for seed in range(40):
        lab = TrainingLab(n_clients=4, n_drawn=1, changes={"task_id": b"task-%d" % seed})
        folder = tmp_path / str(seed)
        clients = [start_client(lab, i, folder) for i in range(3)]
        impostor = start_impostor(lab, 3, folder)
        state = run_until(lab, [*clients, impostor], Phase.PROVE)
        place = (0, impostor.public_key)
        (drawn,) = draw_steps(state.beacon, *place, n_steps=N_STEPS, n_drawn=1)
        if (drawn == N_STEPS - 1) == is_drawn:
            break
    after = run_until(lab, [*clients, impostor], Phase.MASK)
    assert (impostor.public_key in after.proofs) is not is_drawn
    assert (impostor.public_key in after.refusals) is is_drawn


NARROW = UpdateBounds(weight=1, bias=1, squares=1)


@dataclass
class NarrowLab(TrainingLab):
    """Bounds that no training stays in."""

    @cached_property
    def task(self) -> Task:
        norm = TaskNorm(
            bounds=NARROW, circuit_digest=bytes(32), verifying_key_digest=self.blobs.put(b"none")
        )
        return replace(super().task, norm=norm)


def test_training_that_went_too_far_is_not_clipped_but_kept(tmp_path: Path) -> None:
    """No steps lead to a clipped model. So its owner learns of it before it commits."""
    lab = NarrowLab(changes={"task_id": b"narrow-0"})
    clients = [start_client(lab, i, tmp_path) for i in range(3)]
    state = run_until(lab, clients, Phase.COMMIT, 1)
    norm = compile_norm(ARCHITECTURE, NARROW)
    key = setup_norm(norm, random_bytes=seeded(4), backend=BACKEND)
    updates = UpdateProver(norm=norm, key=key, committer=committer(), backend=BACKEND)
    store = open_store(lab, 0, tmp_path)
    client = make_client(lab, 0, store, make_trainee(lab, 0, store), updates)
    with pytest.raises(UpdateExceeds):
        client.act(state)
    assert store.load(1) is None
    assert store.load_sent(1, Duty.COMMIT) is None


def test_each_task_has_its_way_to_learn(tmp_path: Path) -> None:
    lab, plain = TrainingLab(), ProvenLab()
    store = open_store(lab, 0, tmp_path)
    by_code = make_client(lab, 0, store, lambda _, t: model_of(0))
    with pytest.raises(ProvingFailed, match="zkpot client join --data"):
        by_code.act(start(lab.genesis))
    trainee = make_trainee(lab, 0, store)
    with pytest.raises(ProvingFailed, match="no proofs of training"):
        make_client(plain, 0, open_store(plain, 0, tmp_path), trainee).act(start(plain.genesis))


def test_batches_are_of_the_tasks_shape_and_of_one_chain(tmp_path: Path) -> None:
    lab, other = TrainingLab(), TrainingLab(changes={"threshold": 2})
    trainee = make_trainee(lab, 0, open_store(lab, 0, tmp_path))
    again = make_trainee(other, 0, open_store(other, 0, tmp_path))
    folders = {path.parent for path in tmp_path.glob(f"client-0/chain-*/{PUBLIC_NAME}")}
    assert len(folders) == 2  # the same digest on two chains would tell that one client is behind
    assert again.batches.n_samples == trainee.batches.n_samples
    batches = commit_batches(
        draw_samples(1),
        n_classes=3,
        batch_size=5,
        random_bytes=seeded(1),
        committer=Committer(50, BACKEND),
    )
    with pytest.raises(FormatError, match="batches of 5 samples"):
        Trainee(
            lab.task,
            batches,
            prover=make_training_prover(1),
            committer=committer(),
            random_bytes=seeded(2),
        )


def test_more_batches_than_nodes_read_are_not_committed_to(tmp_path: Path) -> None:
    """Else every node would refuse to register the client, which could not know why."""
    lab = TrainingLab()
    store, size = open_store(lab, 0, tmp_path), recipe().batch_size
    few = draw_samples(0)
    many = few.take(np.arange(MAX_CLIENT_BATCHES * size + 1) % len(few))
    with pytest.raises(ShapeMismatch, match=f"are more than {MAX_CLIENT_BATCHES} batches of 4"):
        make_trainee(lab, 0, store, samples=many)
    assert store.load_batches() is None
