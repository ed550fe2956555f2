"""A task of a tiny network for tests of `integrations.flower` that need no Flower."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from integrations.flower.arrays import Arrays, read_integers
from integrations.flower.judging import Judge, Reply
from integrations.flower.proving import ProvenModel, Prover
from integrations.flower.task import Task, load_task, make_task
from integrations.flower.tickets import Mode, Ticket
from kernels.backend import get_backend
from prover.model.presets import parse_architecture
from tests.support.tiny_circuits import seeded

ARCHITECTURE = parse_architecture("mlp-6-4-3")
N_SAMPLES, N_CORRECT = 8, 5


def draw_arrays(seed: int) -> Arrays:
    """A float model whose classes are those of another, more or less."""
    rng = np.random.default_rng(17)
    shapes = ((4, 6), (4,), (3, 4), (3,))
    common = [rng.normal(size=shape) for shape in shapes]
    own = np.random.default_rng(seed)
    return [
        np.float32(0.5 * a + 0.01 * own.normal(size=shape))
        for a, shape in zip(common, shapes, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class FlowerLab:
    """A folder of a task whose samples the common model gets right, and both sides of it."""

    folder: Path

    @property
    def task(self) -> Task:
        return load_task(self.folder)

    def make_prover(self, mode: Mode = Mode.OPEN, seed: int = 1) -> Prover:
        return Prover.load(
            self.folder, mode=mode, random_bytes=seeded(seed), backend=get_backend("cpu")
        )

    def make_judge(self) -> Judge:
        return Judge(self.task, random_bytes=seeded(2), backend=get_backend("cpu"))

    def make_ticket(
        self, mode: Mode = Mode.OPEN, *, round_index: int = 1, nonce: int = 7
    ) -> Ticket:
        task = self.task.digest
        return Ticket(round_index=round_index, nonce=bytes([nonce]) * 32, task=task, mode=mode)


def build_lab(folder: Path) -> FlowerLab:
    images = np.random.default_rng(3).integers(0, 256, (64, 6), dtype=np.uint8)
    weight, bias, last, last_bias = (np.float64(a) for a in draw_arrays(0))
    hidden = np.maximum(images / 255.0 @ weight.T + bias, 0)
    logits = hidden @ last.T + last_bias
    margins = np.diff(np.sort(logits, axis=1), axis=1)[:, -1]
    clear = np.argsort(-margins)[:N_SAMPLES]
    make_task(
        folder,
        ARCHITECTURE,
        warm_up=draw_arrays(0),
        mean=0.0,
        std=1.0,
        images=images[clear],
        labels=logits[clear].argmax(axis=1).astype(np.uint8),
        n_correct=N_CORRECT,
        random_bytes=seeded(5),
        backend=get_backend("cpu"),
    )
    return FlowerLab(folder=folder)


def as_reply(proven: ProvenModel, node: int) -> Reply:
    """What arrives of what a prover has made, in either mode."""
    is_open = proven.blinding is not None
    return Reply(
        node=node,
        envelope=proven.envelope,
        arrays=proven.arrays if is_open else None,
        blinding=proven.blinding,
    )


def get_wires(proven: ProvenModel) -> np.ndarray:
    """The integers of a model in the open."""
    model = read_integers(proven.arrays, ARCHITECTURE)
    assert model is not None
    return model.wires
