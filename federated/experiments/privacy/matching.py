"""Inversion by search: pictures whose gradient points where the update of a client points.

Deep leakage from gradients (Zhu et al., NeurIPS 2019) in the form of Geiping et al. (NeurIPS 2020,
arXiv 2003.14053): Adam, on signs of the gradient of 1 - cosine similarity + weight * variation.
Each client takes one step on one photograph, which is the most that an update can tell, and the
attacker knows the labels. Of a sum of n the attacker searches all n pictures at once, and is told
which is the target's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from federated.experiments.kinds import Json, Lab
from federated.experiments.privacy.reveals import Reveal, add_noise, list_reveals
from federated.experiments.privacy.rows import GUESSED, InversionSizes, Judge, take_class_means
from federated.experiments.privacy.scene import (
    Task,
    deal_samples,
    open_task,
    quantize_rows,
    show_models,
)
from federated.experiments.privacy.stack import denormalize, normalize
from federated.torch_network import TorchNetwork
from kernels.numpy_types import Float64Array

Gradients = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """n_steps : of Adam; rate: of pixels over their deviation; smoothness: weight of the variation,
    the mean difference of neighbours; falls: shares of the steps after which the rate is divided
    by ten, as Geiping et al. do"""

    n_steps: int
    rate: float = 0.1
    smoothness: float = 0.01
    falls: tuple[float, ...] = (3 / 8, 5 / 8, 7 / 8)


def measure_matching(
    sizes: InversionSizes,
    architecture: str,
    search: Search,
    *,
    learning_rate: float,
    seed: int,
    lab: Lab,
) -> Json:
    """PSNR and SSIM of reconstructions for every reveal, means over targets; one sample each."""
    assert sizes.n_own == 1, "a client takes its one step on one sample"
    generator = torch.Generator().manual_seed(seed)
    n_clients = sizes.n_targets + sizes.n_others
    (public, own), origin = deal_samples(
        "cifar10", (sizes.n_public, n_clients), seed=seed, data_dir=lab.data_dir
    )
    task = open_task(architecture, public, n_epochs=1, seed=seed)
    flat, labels = normalize(own, task.start)
    x = flat.reshape(-1, *task.start.architecture.input_shape)
    gradients = build_gradients(task)
    trained = task.row - learning_rate * gradients(x[:, None], labels[:, None])
    shown = show_models(quantize_rows(trained, task), task)
    judge = Judge(own, sizes, shape=tuple(x.shape[1:]))
    most = float((trained - task.row).norm(dim=1).median())
    reveals = {}
    for reveal in list_reveals(sizes.noises, sizes.numbers):
        rows = shown if reveal.kind in ("clear", "sum") else trained
        update, groups = _observe(rows - task.row, reveal, sizes.n_targets)
        if reveal.kind == "noised":
            update = add_noise(update, noise=reveal.noise, most=most, generator=generator)
        found = match_gradients(-update, labels[groups], task, gradients, search, generator)
        reveals[reveal.name] = judge.rate([_show(pictures[:1], task) for pictures in found])
    guesses = take_class_means(public)
    known = np.unique(public.labels).tolist()
    places = [known.index(label) for label in labels[: sizes.n_targets].tolist()]
    reveals[GUESSED] = judge.rate([guesses[place : place + 1] for place in places])
    return {"origin": origin, "reveals": reveals}


def build_gradients(task: Task) -> Gradients:
    """From samples [T, n, *shape] and labels [T, n] to gradients of the mean losses at the start,
    float32[T, P], in the order of rows."""
    start = task.start
    network = TorchNetwork(
        start.architecture, torch.Generator(), mean=start.mean, std=start.std
    ).requires_grad_(False)
    network.load(start)
    parameters = dict(network.named_parameters())

    def compute_loss(
        values: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        return functional.cross_entropy(functional_call(network, values, (x,)), y)

    every = vmap(grad(compute_loss), in_dims=(None, 0, 0))

    def gradients(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        found = every(parameters, x, y)
        return torch.cat([tensor.flatten(1) for tensor in found.values()], dim=1)

    return gradients


def match_gradients(
    wanted: torch.Tensor,
    labels: torch.Tensor,
    task: Task,
    gradients: Gradients,
    search: Search,
    generator: torch.Generator,
) -> torch.Tensor:
    """float32[T, n, *shape], samples whose gradient points where the wanted one, [T, P], does.

    labels : int64[T, n]
    """
    start = task.start
    shape = (*labels.shape, *start.architecture.input_shape)
    x = torch.randn(shape, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=search.rate)
    falls = [int(share * search.n_steps) for share in search.falls]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, falls, 0.1)
    darkest, brightest = -start.mean / start.std, (1 - start.mean) / start.std
    for _ in range(search.n_steps):
        optimizer.zero_grad()
        apart = 1 - functional.cosine_similarity(gradients(x, labels), wanted, dim=1)
        (apart.sum() + search.smoothness * _measure_variation(x)).backward()
        assert x.grad is not None
        x.grad.sign_()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            x.clamp_(darkest, brightest)
    return x.detach()


def _measure_variation(x: torch.Tensor) -> torch.Tensor:
    """The mean difference of neighbours, of each picture, summed over all."""
    down = (x[..., 1:, :] - x[..., :-1, :]).abs().mean((-3, -2, -1))
    right = (x[..., 1:] - x[..., :-1]).abs().mean((-3, -2, -1))
    return (down + right).sum()


def _observe(
    updates: torch.Tensor, reveal: Reveal, n_targets: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """What is seen of each target, [T, P], and int64[T, n], whose models are in it; first its own.

    Others are clients after the targets, in turn.
    """
    n_others = len(updates) - n_targets
    own = torch.arange(n_targets)[:, None]
    others = (own * (reveal.n - 1) + torch.arange(reveal.n - 1)) % max(n_others, 1)
    groups = torch.cat([own, n_targets + others], dim=1)
    return updates[groups].mean(1), groups


def _show(x: torch.Tensor, task: Task) -> Float64Array:
    return denormalize(x.flatten(1), task.start).astype(np.float64)
