"""Suite `training`: what integer SGD learns beside float SGD, and what a step and its commitments
take.

    accuracy  percent of the test split after so many passes, of the int8 model; `float`: of plain
              float SGD of the same shape, batch and number of steps, at its rate of RATE
    step      milliseconds of one step, of those that the accuracy was measured by
    masters   milliseconds of the commitment to a step's masters, by their change
    batch     milliseconds of the commitment to a batch

The data are as many MNIST digits as this machine has. Right is recounted in float64 from the
exported weights; a commitment is compared with one that is made another way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from time import perf_counter

import numpy as np

from bench.peers.float_sgd import count_right, train_float
from bench.plot import plot_curves
from bench.registry import BenchCase, Row, Suite, Task
from bench.suites.kernels import Engine
from federated.data import LabeledImages, count_here, load
from federated.provable.recipes import make_trainable, suggest_recipe
from federated.provable.steps import iterate_steps
from federated.settings import Settings
from federated.sources.datasets import MNIST
from kernels.array import FrArray, G1Array
from kernels.backend import get_backend
from kernels.bn254 import R
from kernels.encoding import encode_g1
from kernels.numpy_types import Int64Array, UInt8Array
from prover.model.network import QuantizedModel, is_correct
from prover.model.presets import parse_architecture
from prover.pedersen.commitment import Committer
from prover.pedersen.opening import combine_commitments
from prover.training.batch import make_batch
from prover.training.draws import draw_start, order_batches
from prover.training.masters import export, start
from prover.training.step import train_step

FULL, QUICK = "mlp-784-128-10", "mlp-784-16-10"
SEEDS, EPOCHS = (0, 1, 2), 4
QUICK_SAMPLES = 640
RATE = 0.5
"""Of float SGD: the best of 0.1, 0.2, 0.3 and 0.5 after four passes, on 6,000 and on all digits."""
RHO = 12345  # of no secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Right of the test split after each pass, as counted and as recounted, and of float SGD."""

    n_test: int
    right: list[int]
    recounted: list[int]
    of_float: list[int]
    step_ms: float


class Lab:
    """A network, its data and its recipe."""

    def __init__(self, name: str, n_most: int | None = None) -> None:
        self.name, self._n_most = name, n_most
        self.recipe = suggest_recipe(make_trainable(parse_architecture(name)))
        self.measure = cache(self._measure)

    @property
    def n_samples(self) -> int:
        """Of the training split, without reading any."""
        here = count_here(MNIST, "train", Settings.from_environment().data_dir)
        return min(here, self._n_most or here)

    @cached_property
    def fit(self) -> LabeledImages:
        images, labels = load("mnist", "train", Settings.from_environment().data_dir)
        return LabeledImages(images=images[: self._n_most], labels=labels[: self._n_most])

    @cached_property
    def test(self) -> LabeledImages:
        images, labels = load("mnist", "test", Settings.from_environment().data_dir)
        return LabeledImages(images=images, labels=labels)

    @property
    def n_batches(self) -> int:
        return -(-len(self.fit) // self.recipe.batch_size)

    def get_samples(self, number: int) -> tuple[UInt8Array, UInt8Array]:
        size = self.recipe.batch_size
        chosen = slice(number * size, (number + 1) * size)
        return self.fit.images[chosen], self.fit.labels[chosen]

    def begin(self, seed: int) -> Int64Array:
        """Masters of the start of this seed."""
        return start(self.recipe, draw_start(self.recipe, bytes([seed])))

    def _measure(self, seed: int, epochs: int) -> Curve:
        masters, n = self.begin(seed), self.n_batches
        order = order_batches(bytes([seed]), n_batches=n, n_steps=epochs * n)
        models, taken_s = [], 0.0
        for epoch in range(epochs):
            begun = perf_counter()
            numbers = order[epoch * n : (epoch + 1) * n]
            *_, masters = iterate_steps(self.recipe, masters, numbers, self.get_samples)
            taken_s += perf_counter() - begun
            models.append(export(self.recipe, masters))
        logits = [model.logits(self.test.images) for model in models]
        return Curve(
            n_test=len(self.test),
            right=[int(is_correct(one, self.test.labels).sum()) for one in logits],
            recounted=[recount(model, self.test) for model in models],
            of_float=self._measure_float(seed, order.reshape(epochs, n)),
            step_ms=1e3 * taken_s / (epochs * n),
        )

    def _measure_float(self, seed: int, order: Int64Array) -> list[int]:
        """On the same batches in the same order."""
        size, n = self.recipe.batch_size, len(self.fit)
        passes = [
            [np.arange(i * size, min((i + 1) * size, n)) for i in numbers]
            for numbers in order.tolist()
        ]
        trained = train_float(
            self.recipe.widths, self.fit.images, self.fit.labels, passes, rate=RATE, seed=seed
        )
        return [count_right(layers, self.test.images, self.test.labels) for layers in trained]


def recount(model: QuantizedModel, samples: LabeledImages) -> int:
    """How many samples are right, in float64 and layer by layer, a tie counting as wrong."""
    x = samples.images.astype(np.float64)
    for layer, w, b in zip(model.architecture.layers, model.weights, model.biases, strict=True):
        x = x @ w.astype(np.float64).T + b
        if layer.requant is not None:
            x = np.clip(np.floor(x / 2.0**layer.requant.shift + 0.5), 0, 255)
    order = np.sort(x, axis=1)
    clear = order[:, -1] > order[:, -2]
    return int((clear & (x.argmax(axis=1) == samples.labels)).sum())


def build_suite(*, quick: bool) -> Suite:
    """All seeds, and the commitments of one step; `quick`: a small network on few samples."""
    lab = Lab(QUICK, QUICK_SAMPLES) if quick else Lab(FULL)
    seeds, epochs = (SEEDS[:1], 1) if quick else (SEEDS, EPOCHS)
    cases = [_accuracy(lab, seed, e, epochs) for seed in seeds for e in range(epochs)]
    cases += [_step(lab, seeds[0], epochs), _masters(lab), _batch(lab)]
    return Suite(cases=cases, draw=None if quick else _draw)


def _params(lab: Lab) -> dict[str, int | str]:
    return {"model": lab.name, "samples": lab.n_samples, **Engine().params()}


def _accuracy(lab: Lab, seed: int, epoch: int, epochs: int) -> BenchCase:
    def task(*, is_float: bool) -> Task[Curve]:
        def read(found: Curve) -> float:
            return 100 * (found.of_float if is_float else found.right)[epoch] / found.n_test

        return Task(run=lambda: lab.measure(seed, epochs), answer=_is_right, reading=read)

    return BenchCase(
        id=f"training.accuracy.{lab.name}.s{seed}.e{epoch + 1}",
        params={"seed": seed, "epoch": epoch + 1, **_params(lab)},
        unit="%",
        make=lambda: task(is_float=False),
        expect=lambda: True,
        peers={"float": lambda: task(is_float=True)},
        n_max=1,
    )


def _is_right(found: Curve) -> bool:
    return found.right == found.recounted


def _step(lab: Lab, seed: int, epochs: int) -> BenchCase:
    return BenchCase(
        id=f"training.step.{lab.name}",
        params=_params(lab),
        unit="ms",
        make=lambda: Task(
            run=lambda: lab.measure(seed, epochs),
            answer=_is_right,
            reading=lambda found: found.step_ms,
        ),
        expect=lambda: True,
        n_max=1,
    )


def _masters(lab: Lab) -> BenchCase:
    committer = cache(lambda: Committer(lab.recipe.architecture.n_parameters, get_backend("cpu")))

    def step() -> tuple[Int64Array, Int64Array]:
        before = lab.begin(0)
        return before, train_step(lab.recipe, before, *lab.get_samples(0)).after

    def make() -> Task[G1Array]:
        before, after = step()
        first = committer().commit(before, 0)

        def run() -> G1Array:
            change = committer().commit(after - before, RHO)
            return combine_commitments(G1Array.concat([first, change]), [1, 1])

        return Task(run=run, answer=encode_g1)

    return BenchCase(
        id=f"training.masters.{lab.name}",
        params=_params(lab),
        unit="ms",
        make=make,
        expect=lambda: encode_g1(committer().commit(step()[1], RHO)),
    )


def _batch(lab: Lab) -> BenchCase:
    def find_wires() -> Int64Array:
        return make_batch(lab.recipe, *lab.get_samples(0)).wires

    committer = cache(lambda: Committer(len(find_wires()), get_backend("cpu")))

    def make() -> Task[G1Array]:
        wires = find_wires()
        return Task(run=lambda: committer().commit(wires, RHO), answer=encode_g1)

    def expect() -> bytes:
        """By the negated batch, whose scalars are of full width."""
        negated = FrArray.from_ints(-w for w in find_wires().tolist())
        return encode_g1(combine_commitments(committer().commit(negated, R - RHO), [-1]))

    return BenchCase(
        id=f"training.batch.{lab.name}",
        params=_params(lab),
        unit="ms",
        make=make,
        expect=expect,
    )


def _draw(rows: Sequence[Row], out: Path) -> Sequence[Path]:
    learned = [row for row in rows if row["unit"] == "%"]
    if not learned:
        return []
    samples = learned[0]["params"]["samples"]
    title = f"784-128-10 on {samples} digits, batches of 64, seeds {', '.join(map(str, SEEDS))}"
    return [plot_curves(learned, out / "provable-training.png", title=title)]
