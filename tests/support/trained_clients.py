"""Clients that train on a small chain, with real proofs of all that they show; an impostor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from consensus.disk.development import sign_permit
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.messages import Block
from consensus.wire.transactions import Proof, Refusal, SentTransaction
from federated.attacks import Impostor, ImpostorProver
from federated.bounds import UpdateProver
from federated.client import Client, Learn, make_committer
from federated.data import LabeledImages
from federated.joining.own_prover import OwnProver
from federated.provable.training_prover import OwnTrainingProver, TrainingProver
from federated.rounds.store import SecretStore
from federated.rounds.training import Trainee, take_batches
from kernels.numpy_types import Int64Array
from tests.support.learning import BACKEND, ProvenLab, accuracy, model_of, proving_key
from tests.support.tiny_circuits import seeded
from tests.support.training_lab import (
    TrainingLab,
    committer,
    export_circuit,
    export_key,
    recipe,
    step_circuit,
    step_key,
)


def draw_samples(seed: int) -> LabeledImages:
    """Ten in three batches; the pool's labels are those of the same model."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (10, recipe().widths[0]), dtype=np.uint8)
    labels = model_of(0).logits(images).argmax(axis=1).astype(np.uint8)
    return LabeledImages(images=images, labels=labels)


def make_training_prover(seed: int) -> OwnTrainingProver:
    return OwnTrainingProver(
        step=step_circuit(),
        step_key=step_key(),
        export=export_circuit(),
        export_key=export_key(),
        committer=committer(),
        random_bytes=seeded(seed),
        backend=BACKEND,
    )


def make_trainee(
    lab: TrainingLab,
    i: int,
    store: SecretStore,
    *,
    samples: LabeledImages | None = None,
    elsewhere: Callable[[Int64Array], Int64Array] | None = None,
) -> Trainee:
    """elsewhere : of an impostor"""
    batches = take_batches(
        lab.task,
        samples or draw_samples(i),
        store,
        random_bytes=seeded(500 + i),
        backend=BACKEND,
    )
    prover: TrainingProver = make_training_prover(600 + i)
    random_bytes = seeded(700 + i)
    if elsewhere is None:
        return Trainee(
            lab.task, batches, prover=prover, committer=committer(), random_bytes=random_bytes
        )
    return Impostor(
        lab.task,
        batches,
        prover=ImpostorProver(prover, committer(), random_bytes=seeded(800)),
        committer=committer(),
        random_bytes=random_bytes,
        elsewhere=elsewhere,
    )


def make_client(
    lab: ProvenLab,
    i: int,
    store: SecretStore,
    learn: Learn | Trainee,
    updates: UpdateProver | None = None,
) -> Client:
    return Client(
        lab.clients[i],
        validator=i % lab.n_validators,
        permit=sign_permit(lab.admission, lab.genesis.digest, lab.client(i)),
        blobs=lab.blobs,
        secrets=store,
        learn=learn,
        commit=make_committer(lab.task, random_bytes=seeded(300 + i), backend=BACKEND),
        prover=OwnProver(accuracy(), proving_key(), random_bytes=seeded(i), backend=BACKEND),
        random_bytes=seeded(400 + i),
        backend=BACKEND,
        updates=updates,
    )


def open_store(lab: ProvenLab, i: int, folder: Path) -> SecretStore:
    return SecretStore(folder / f"client-{i}", lab.genesis)


def start_client(lab: TrainingLab, i: int, folder: Path) -> Client:
    """A client as its process makes it each time that it is started."""
    store = open_store(lab, i, folder)
    return make_client(lab, i, store, make_trainee(lab, i, store))


def act(clients: Sequence[Client], state: ChainState) -> list[SentTransaction]:
    return [tx for client in clients if (tx := client.act(state)) is not None]


def run(
    lab: ProvenLab,
    clients: Sequence[Client],
    *,
    sees: Callable[[SentTransaction], None] = lambda tx: None,
) -> Iterator[tuple[Block, ChainState]]:
    """Blocks of what clients send, each with the state after it; proofs that do not verify are put
    on record. sees : what clients send"""
    verifier, state = lab.verifier(), start(lab.genesis)
    while state.phase is not Phase.DONE:
        sent = act(clients, state)
        for tx in sent:
            sees(tx)
        faults = verifier.judge(state, sent)
        due = [
            tx if fault is None else Refusal(proof=tx)
            for tx, fault in zip(sent, faults, strict=True)
            if fault is None or isinstance(tx, Proof)
        ]
        block = lab.block(state, due)
        assert verifier.check(state, block) is None
        state = apply(state, block)
        yield block, state


def run_until(
    lab: ProvenLab, clients: Sequence[Client], phase: Phase, learning_round: int = 0
) -> ChainState:
    """The first state of this phase."""
    return next(
        state
        for _, state in run(lab, clients)
        if (state.phase, state.learning_round) == (phase, learning_round)
    )


def improve_elsewhere(masters: Int64Array) -> Int64Array:
    """Masters of another training: those of a model that gets every label right."""
    del masters
    teacher = model_of(0)
    bits = recipe().master_bits
    parts = [
        part
        for w, b in zip(teacher.weights, teacher.biases, strict=True)
        for part in (
            w.astype(np.int64).reshape(-1) << bits,
            np.clip((b.astype(np.int64) << bits) // recipe().bias_input, *recipe().master_range),
        )
    ]
    return np.concatenate(parts)


def start_impostor(lab: TrainingLab, i: int, folder: Path) -> Client:
    store = open_store(lab, i, folder)
    return make_client(lab, i, store, make_trainee(lab, i, store, elsewhere=improve_elsewhere))
