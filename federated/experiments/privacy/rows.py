"""Inversion without any search: pictures out of what a round changed in a network's first layer.

A step on a sample x adds a multiple of x to the weights of every neuron that the sample reaches,
and the same multiple to its bias; steps on many samples add up. So a change of weights over that of
the bias is a mean of samples, and is one of them where a neuron was reached by one alone (Phong et
al., IEEE TIFS 2018; Boenisch et al., EuroS&P 2023, arXiv 2112.02918, without the server's traps).
The attacker also guesses by sums over neurons, which average the rounding of integers out: by the
changes of the biases, and by what the start's last weights say of each class. The nearest guess
counts, as if the attacker knew which it is: a bound on the attack.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from federated.data import LabeledImages
from federated.experiments.kinds import Json, Lab
from federated.experiments.privacy.pictures import compute_ssim, find_best
from federated.experiments.privacy.reveals import (
    Reveal,
    add_noise,
    draw_others,
    list_reveals,
    take_mean,
)
from federated.experiments.privacy.scene import (
    Task,
    deal_samples,
    open_task,
    quantize_rows,
    show_models,
)
from federated.experiments.privacy.stack import (
    Schedule,
    denormalize,
    normalize,
    split_layers,
    train_stack,
)
from kernels.numpy_types import Float64Array

LEAST_CHANGE = 1e-9
"""Of a bias, below which nothing is divided by it: the neuron was not reached."""
GUESSED = "guessed"
"""Under this name stand the class means of public samples, as if they were reconstructions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InversionSizes:
    """n_public : samples that the start is trained on, and class means are taken of
    n_own       : samples of each client; n_targets: clients that are attacked
    n_others    : further clients, of which sums take theirs
    noises, numbers : of `list_reveals`
    n_pictures  : targets whose pictures are kept
    """

    n_public: int
    n_own: int
    n_targets: int
    n_others: int
    noises: tuple[float, ...]
    numbers: tuple[int, ...]
    n_pictures: int


def measure_rows(
    sizes: InversionSizes, architecture: str, schedule: Schedule, *, seed: int, lab: Lab
) -> Json:
    """PSNR and SSIM of the best reconstruction for every reveal, means over targets."""
    generator = torch.Generator().manual_seed(seed)
    n_clients = sizes.n_targets + sizes.n_others
    (public, own), origin = deal_samples(
        "mnist", (sizes.n_public, n_clients * sizes.n_own), seed=seed, data_dir=lab.data_dir
    )
    task = open_task(architecture, public, n_epochs=5, seed=seed)
    x, y = normalize(own, task.start)
    members = torch.arange(len(own)).reshape(n_clients, sizes.n_own)
    trained = train_stack(task.row, task.start.architecture, x, y, members, schedule, generator)
    views = _observe(trained, task, sizes, generator)
    side = int(np.sqrt(own.images.shape[1]))
    judge = Judge(own, sizes, shape=(side, side))
    reveals = {
        name: judge.rate([guess_pictures(row - task.row, task) for row in rows])
        for name, rows in views.items()
    }
    reveals[GUESSED] = judge.rate([take_class_means(public)] * sizes.n_targets)
    return {"origin": origin, "reveals": reveals}


def guess_pictures(update: torch.Tensor, task: Task) -> Float64Array:
    """float64[G, d], pixels from 0 to 255: what one update [P] of a network lets one guess."""
    layers = split_layers(update, task.start.architecture)
    weights, biases = layers[0]
    start = split_layers(task.row, task.start.architecture)
    by_class = start[1][0] if len(start) > 1 else torch.zeros(0, len(biases))
    combined = torch.cat([biases[None], by_class])
    weights = torch.cat([weights, combined @ weights])
    biases = torch.cat([biases, combined @ biases])
    reached = biases.abs() > LEAST_CHANGE
    guesses = weights[reached] / biases[reached, None]
    return denormalize(guesses, task.start).astype(np.float64)


def take_class_means(samples: LabeledImages) -> Float64Array:
    """float64[n_classes, d], of the classes that are there."""
    images = samples.images.astype(np.float64)
    classes = np.unique(samples.labels)
    return np.stack([images[samples.labels == label].mean(axis=0) for label in classes])


class Judge:
    """Compares guesses with what each target has: its own samples, and nobody else's."""

    def __init__(
        self, own: LabeledImages, sizes: InversionSizes, *, shape: tuple[int, ...]
    ) -> None:
        """own : samples of all clients, one after the other; shape : of a picture."""
        self._own = own.images.reshape(-1, sizes.n_own, own.images.shape[1]).astype(np.float64)
        self._n_pictures, self._shape = sizes.n_pictures, shape

    def rate(self, guesses: Sequence[Float64Array]) -> Json:
        """guesses : of target after target, float64[G, d] each, maybe none"""
        psnrs, ssims, kept = [], [], []
        for target, made in enumerate(guesses):
            blank = np.zeros((1, self._own.shape[2]))
            found = made if len(made) else blank
            best = find_best(found, self._own[target])
            pair = self._own[target][best.original], found[best.guess]
            psnrs.append(best.psnr)
            ssims.append(compute_ssim(*(picture.reshape(self._shape) for picture in pair)))
            if target < self._n_pictures:
                kept.append([encode_picture(picture) for picture in pair])
        result: Json = {"psnr": float(np.mean(psnrs)), "ssim": float(np.mean(ssims))}
        return {**result, "pictures": kept} if kept else result


def encode_picture(picture: Float64Array) -> str:
    """Its pixels as bytes, in base64."""
    return base64.b64encode(np.rint(picture).astype(np.uint8).tobytes()).decode()


def _observe(
    trained: torch.Tensor, task: Task, sizes: InversionSizes, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """What every reveal shows of the targets, [T, P] by its name."""
    n = sizes.n_targets
    shown = show_models(quantize_rows(trained, task), task)
    most = float((trained[n:] - task.row).norm(dim=1).median())
    floats = [Reveal(kind="floats", n=number) for number in sizes.numbers]
    views = {}
    for reveal in [*list_reveals(sizes.noises, sizes.numbers), *floats]:
        rows = shown if reveal.kind in ("clear", "sum") else trained
        if reveal.kind == "noised":
            update = rows[:n] - task.row
            views[reveal.name] = task.row + add_noise(
                update, noise=reveal.noise, most=most, generator=generator
            )
        else:
            chosen = draw_others(n, len(rows) - n, reveal.n, generator)
            views[reveal.name] = take_mean(rows[:n], rows[n:], chosen)
    return views
