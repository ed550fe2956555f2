"""Lies about training, where the task asks for proofs of every step.

    deviants  all of their training is honest but the last step, whose end they choose
    others    honest; what they show is cut, swapped and taken over

Before proofs, where clients commit, trajectories that are none are tried as well.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from consensus.learning.aggregate import GlobalModel
from consensus.learning.chain_state import ChainState
from consensus.wire.transactions import Commit, Proof
from federated.attacks import ImpostorProver
from federated.client import make_committer
from federated.data import LabeledImages
from federated.experiments.chains.dealt import DealtChain
from federated.experiments.chains.play import Play, Player, make_player
from federated.experiments.claims.bending import bend_points, flip_bits
from federated.experiments.claims.kits import AccuracyKit, TrainingKit
from federated.experiments.claims.people import make_prover
from federated.experiments.claims.tally import Attempt
from federated.provable.batches import CommittedBatches
from federated.provable.training_prover import OwnTrainingProver, TrainingProver
from federated.provable.trajectory import Trajectory
from federated.rounds.store import SecretStore
from federated.rounds.training import Trainee, take_batches
from kernels.numpy_types import Int64Array
from prover.training.commitments import TrajectoryCommitments
from prover.training.step import train_step
from prover.wire.training import ExportEnvelope, StepEnvelope, TrainingProofs

HONEST, VICTIM = 0, 1
N_HONEST = 2
Swerve = Callable[[Trajectory, CommittedBatches], Int64Array]
"""From an honest training to the masters at its end that are shown in place of its own."""


def skip(path: Trajectory, batches: CommittedBatches) -> Int64Array:
    """The last step is not taken."""
    return path.get_masters(path.n_steps - 1)


def swap_batch(path: Trajectory, batches: CommittedBatches) -> Int64Array:
    """The last step is on a batch that was not drawn for it."""
    last = path.n_steps - 1
    number = (int(path.numbers[last]) + 1) % batches.n_batches
    images, labels = batches.get_samples(number)
    return train_step(path.get_recipe(), path.get_masters(last), images, labels).after


def nudge(path: Trajectory, batches: CommittedBatches) -> Int64Array:
    """One master weight of the end is one unit off."""
    masters = path.get_masters(path.n_steps)
    masters[0] += 1
    return masters


def come_from(masters: Int64Array) -> Swerve:
    """The end is of another training altogether."""
    return lambda path, batches: masters


class Deviant(Trainee):
    """Commits to other masters than those at the end of its honest steps."""

    swerve: Swerve

    def record(
        self, state: ChainState, client_key: bytes, origin: GlobalModel | None
    ) -> Trajectory:
        """All masters but the last as a `Trainee` has them."""
        honest = super().record(state, client_key, origin)
        masters = honest.masters.copy()
        end = self.swerve(honest, self.batches)
        masters[-len(end) :] = end
        return replace(honest, masters=masters)


def make_trainees(
    chain: DealtChain,
    kit: AccuracyKit,
    training: TrainingKit,
    samples: Sequence[LabeledImages],
    swerves: Sequence[Swerve],
) -> list[Player]:
    """Honest clients for the first samples, then a deviant for each swerve."""
    task = chain.genesis.task
    commit = make_committer(task, random_bytes=secrets.token_bytes, backend=kit.backend)
    own = OwnTrainingProver(
        step=training.step,
        step_key=training.step_key,
        export=training.export,
        export_key=training.export_key,
        committer=kit.committer,
        random_bytes=secrets.token_bytes,
        backend=kit.backend,
    )
    false = ImpostorProver(own, kit.committer, random_bytes=secrets.token_bytes)
    players = []
    for index, part in enumerate(samples):
        batches = take_batches(
            task,
            part,
            SecretStore(chain.folder / f"batches-{index}", chain.genesis),
            random_bytes=secrets.token_bytes,
            backend=kit.backend,
        )
        swerve = None if index < len(samples) - len(swerves) else swerves[index - len(samples)]
        prover: TrainingProver = own if swerve is None else false
        kind = Trainee if swerve is None else Deviant
        learn = kind(
            task,
            batches,
            prover=prover,
            committer=kit.committer,
            random_bytes=secrets.token_bytes,
        )
        if isinstance(learn, Deviant) and swerve is not None:
            learn.swerve = swerve
        players.append(
            make_player(
                chain,
                index,
                learn=learn,
                commit=commit,
                prover=make_prover(kit),
                backend=kit.backend,
            )
        )
    return players


def attempt_commits(play: Play) -> Iterator[Attempt]:
    """Trajectories that are none, where commits are due; the honest one first."""
    player = play.players[HONEST]
    sent = player.client.act(play.state)
    assert isinstance(sent, Commit), "commits are due"
    yield Attempt(kind="honest trajectory", is_honest=True, transaction=sent)
    path = TrajectoryCommitments.parse(play.chain.blobs.get(sent.trajectory))
    other = hashlib.sha256(b"another model").digest()
    for kind, lie in (
        ("trajectory with a step left out", replace(path, numbers=path.numbers[1:], d=path.d[1:])),
        ("batches in another order", replace(path, numbers=path.numbers[::-1].copy())),
        ("trajectory from another start", replace(path, start=other)),
        ("trajectory on other batches", replace(path, batches=other)),
    ):
        tx = replace(sent, trajectory=play.chain.blobs.put(lie.encode()))
        yield Attempt(kind=kind, is_honest=False, transaction=play.chain.sign(tx, player.key))


class TrainingLies:
    """All attempts of one chain that asks for proofs of training; it is at its proofs."""

    def __init__(
        self,
        play: Play,
        deviations: Sequence[str],
        generator: np.random.Generator,
        *,
        n_flips: int | None,
    ) -> None:
        """deviations : what each deviant does, in words"""
        self._play, self._deviations = play, deviations
        self._generator, self._n_flips = generator, n_flips

    def attempt(self) -> Iterator[Attempt]:
        """The honest ones first, then the lies."""
        sent = [self._act(index) for index in range(len(self._play.players))]
        for tx in sent[:N_HONEST]:
            yield Attempt(kind="honest training", is_honest=True, transaction=tx)
        for kind, tx in zip(self._deviations, sent[N_HONEST:], strict=True):
            yield Attempt(kind=kind, is_honest=False, transaction=tx)
        own, theirs = (self._read(sent[index]) for index in (HONEST, VICTIM))
        for kind, proofs in self._list_lies(own, theirs):
            tx = replace(sent[HONEST], training=self._play.chain.blobs.put(proofs.encode()))
            signed = self._play.chain.sign(tx, self._play.players[HONEST].key)
            yield Attempt(kind=kind, is_honest=False, transaction=signed)

    def _list_lies(
        self, own: TrainingProofs, theirs: TrainingProofs
    ) -> Iterator[tuple[str, TrainingProofs]]:
        first, *others = own.steps
        yield "proof of a step left out", replace(own, steps=(first, *others[:-1]))
        yield "one step shown for another, as it is", replace(own, steps=(first,) * len(own.steps))
        restated = (first, *(_restate_step(first, like=step) for step in others))
        yield "one step shown for another, under its statement", replace(own, steps=restated)
        yield "another client's steps, as they are", replace(own, steps=theirs.steps)
        taken = tuple(map(_restate_step, theirs.steps, own.steps))
        yield "another client's steps, under the own statements", replace(own, steps=taken)
        yield "another client's export, as it is", replace(own, export=theirs.export)
        export = _restate_export(theirs.export, own.export)
        yield "another client's export, under the own statement", replace(own, export=export)
        for step in self._bend(first):
            yield "bit or point of a step's proof bent", replace(own, steps=(step, *others))

    def _bend(self, raw: bytes) -> Iterator[bytes]:
        step = StepEnvelope.decode(raw)
        assert step is not None, "an honest step has an envelope"
        for proof in flip_bits(step.proof, self._n_flips, self._generator):
            yield replace(step, proof=proof).encode()
        for proof in bend_points(step.proof):
            yield replace(step, proof=proof).encode()

    def _act(self, index: int) -> Proof:
        tx = self._play.players[index].client.act(self._play.state)
        assert isinstance(tx, Proof), "proofs are due"
        return tx

    def _read(self, tx: Proof) -> TrainingProofs:
        return TrainingProofs.parse(self._play.chain.blobs.get(tx.training))


def _restate_step(raw: bytes, like: bytes) -> bytes:
    """The proof of one step under the statement of another."""
    step, wanted = StepEnvelope.decode(raw), StepEnvelope.decode(like)
    assert step is not None, "an honest step has an envelope"
    assert wanted is not None, "an honest step has an envelope"
    return replace(wanted, proof=step.proof).encode()


def _restate_export(raw: bytes, like: bytes) -> bytes:
    export, wanted = ExportEnvelope.decode(raw), ExportEnvelope.decode(like)
    assert export is not None, "an honest export has an envelope"
    assert wanted is not None, "an honest export has an envelope"
    return replace(wanted, proof=export.proof).encode()
