"""Clients whose every phase is measured: real training on real digits, real commitments, proofs and
masks, each client its own."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from consensus.disk.development import BLOBS
from consensus.learning.samples import SamplePool
from federated.client import Committer, Learn, ProofOrder, Prover, make_committer
from federated.data import DatasetRef, LabeledImages, Origin, load_samples
from federated.experiments.chains.dealt import DealtChain
from federated.experiments.chains.play import Player, make_player
from federated.experiments.chains.tasks import TIMEOUTS, make_round
from federated.experiments.cost.meter import CountedBlobs, Meter
from federated.float_model import FloatModel
from federated.joining.own_prover import OwnProver
from federated.local import LOCAL, WARM_UP, warm_up
from federated.task_scales import TaskScales, quantize_for_task
from federated.train import train
from kernels.backend import Backend
from kernels.numpy_types import UInt8Array
from prover.circuit.accuracy import AccuracyCircuit, compile_accuracy
from prover.groth16.prove import prepare
from prover.groth16.setup import setup_accuracy
from prover.keys.halves import ProvingKey
from prover.model.network import QuantizedModel
from prover.model.presets import parse_architecture
from prover.pedersen.commitment import SecretCommitment

N_OWN, N_PUBLIC = 32, 128
"""Training samples of a client, and public ones that it trains on beside them."""
_SIDE = 28
_WARM_UP = replace(WARM_UP, epochs=15, batch_size=32, max_shift=0)
_LOCAL = replace(LOCAL, max_shift=0)


def _silent(title: str, done: int, of: int) -> None:
    """No progress is shown of what takes milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Workshop:
    """Circuit and key of a size, made once for all seeds, and its digits."""

    circuit: AccuracyCircuit
    key: ProvingKey
    train: LabeledImages
    pool: LabeledImages
    origin: Origin
    backend: Backend


def open_workshop(network: str, n_samples: int, data_dir: Path, backend: Backend) -> Workshop:
    """network : of linear layers, on digits of 28 x 28, or of a smaller square that means of pixels
    make of them"""
    architecture = parse_architecture(network)
    circuit = compile_accuracy(architecture, n_samples)
    key = setup_accuracy(circuit, random_bytes=secrets.token_bytes, backend=backend)
    train_set, test_set = (
        load_samples(DatasetRef.parse(f"mnist:{split}"), data_dir) for split in ("train", "test")
    )
    side = int(architecture.input_shape[0] ** 0.5)
    return Workshop(
        circuit=circuit,
        key=prepare(key, backend),
        train=LabeledImages(images=shrink(train_set.images, side), labels=train_set.labels),
        pool=LabeledImages(images=shrink(test_set.images, side), labels=test_set.labels),
        origin=train_set.origin,
        backend=backend,
    )


def shrink(images: UInt8Array, side: int) -> UInt8Array:
    """Digits uint8[N, 784] as uint8[N, side^2], of means of squares; side divides 28."""
    step = _SIDE // side
    squares = images.reshape(-1, side, step, side, step).mean(axis=(2, 4))
    small: UInt8Array = np.rint(squares).astype(np.uint8).reshape(len(images), side * side)
    return small


def gather(
    workshop: Workshop, folder: Path, meter: Meter, *, n_clients: int, seed: int
) -> tuple[DealtChain, CountedBlobs, list[Player]]:
    """A chain in a folder that is not there yet, and all of its clients.

    seed : of who has which samples, and of training
    """
    folder.mkdir(parents=True, mode=0o700)
    blobs = CountedBlobs(folder / BLOBS)
    pool = SamplePool.of(images=workshop.pool.images, labels=workshop.pool.labels)
    task = make_round(workshop.circuit, workshop.key, blobs, pool, n_clients=n_clients)
    chain = DealtChain(folder, task, blobs, timeouts=TIMEOUTS)
    generator = np.random.default_rng(seed)
    samples = workshop.train.take(generator.permutation(len(workshop.train)))
    public, rest = samples.split(N_PUBLIC)
    start, scales = warm_up(
        public, task.architecture, _silent, settings=replace(_WARM_UP, seed=seed)
    )
    commit = _meter_commit(
        make_committer(task, random_bytes=secrets.token_bytes, backend=workshop.backend), meter
    )
    prover = MeteredProver(
        OwnProver(
            workshop.circuit,
            workshop.key,
            random_bytes=secrets.token_bytes,
            backend=workshop.backend,
        ),
        meter,
    )
    players = [
        make_player(
            chain,
            index,
            learn=_make_learn(
                start, scales, _take_own(rest, index) + public, seed=seed + index, meter=meter
            ),
            commit=commit,
            prover=prover,
            backend=workshop.backend,
        )
        for index in range(n_clients)
    ]
    return chain, blobs, players


def _take_own(samples: LabeledImages, index: int) -> LabeledImages:
    """The client's samples; where there are too few for all, some have the same."""
    chosen = (index * N_OWN + np.arange(N_OWN)) % len(samples)
    return samples.take(chosen.astype(np.int64))


def _make_learn(
    start: FloatModel, scales: TaskScales, samples: LabeledImages, *, seed: int, meter: Meter
) -> Learn:
    def learn(global_model: object, learning_round: int) -> QuantizedModel:
        architecture = start.architecture
        with meter.phase("train"):
            own = train(
                samples.images,
                samples.labels,
                architecture,
                replace(_LOCAL, seed=seed),
                _silent,
                start=start,
            )
        with meter.phase("quantize"):
            return quantize_for_task(own, architecture, scales)

    return learn


def _meter_commit(commit: Committer, meter: Meter) -> Committer:
    def metered(model: QuantizedModel) -> SecretCommitment:
        with meter.phase("commit"):
            return commit(model)

    return metered


class MeteredProver:
    """A prover whose time is counted as a phase of its own."""

    def __init__(self, own: Prover, meter: Meter) -> None:
        self._own, self._meter = own, meter

    def prove(self, order: ProofOrder) -> bytes:
        """As the own prover's."""
        with self._meter.phase("prove"):
            return self._own.prove(order)
