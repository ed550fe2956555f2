"""Membership inference: was a sample among those that one client trained on in this round?

All targets start from one public model and train on half of the candidates. Each is attacked by
what a reveal shows of it; models of other targets, put through the same reveal with models that the
attacker trained on samples of its own, are its shadows (`likelihood.deal_folds`). Four attacks:

    loss   a low loss under the revealed model says member (Yeom et al., CSF 2018, arXiv 1709.01604)
    lira   `likelihood.score_by_own_variance` of the logit-scaled confidence under that model
    update `likelihood.score_by_shared_variance` of that confidence, and of how far the update goes
           where the sample's loss falls
    all    the same with the proven counts beside it, where ZKPoT shows them: the target's, and the
           sum of the others'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from federated.data import LabeledImages, count_here
from federated.experiments.kinds import Json, Lab
from federated.experiments.privacy.likelihood import (
    compute_auc,
    compute_tpr,
    deal_folds,
    score_by_own_variance,
    score_by_shared_variance,
)
from federated.experiments.privacy.reveals import (
    Reveal,
    add_noise,
    draw_others,
    list_reveals,
    take_mean,
)
from federated.experiments.privacy.scene import (
    Task,
    count_rows,
    deal_samples,
    load_test,
    open_task,
    quantize_rows,
    show_models,
)
from federated.experiments.privacy.stack import (
    Schedule,
    compute_alignment,
    compute_logits,
    normalize,
    train_stack,
)
from federated.sources.datasets import get_dataset
from kernels.numpy_types import BoolArray, Float64Array

ATTACKS = ("loss", "lira", "update", "all")
RATES = np.concatenate([[0.001, 0.002, 0.005], np.arange(1, 101) / 100])
"""False positives at which curves are kept."""
ONE_PERCENT = 3  # its place
N_TEST = 1024
N_ROUND, N_MEANS = 10, 16
"""Clients of the rounds whose global models' accuracy is told, and how many such rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipSizes:
    """How much of everything.

    n_public     : samples that the start is trained on; n_own: of each client
    n_targets    : models that are attacked, and stand as shadows of others
    n_others     : trained models of which sums take theirs; as many are the attacker's, for shadows
    n_elsewhere  : samples that all others are drawn from, or what there is; as many are the
                   attacker's
    n_shard      : public test samples that proofs speak of
    noises, numbers : of `list_reveals`
    """

    n_public: int
    n_own: int
    n_targets: int
    n_others: int
    n_elsewhere: int
    n_shard: int
    noises: tuple[float, ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Models:
    """Networks [T, P] of one kind of client: as trained, as integers show them, their counts."""

    trained: torch.Tensor
    shown: torch.Tensor
    counts: Float64Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """x float32[N, d], y int64[N]; is_member : bool[T, N], what each target was trained on."""

    x: torch.Tensor
    y: torch.Tensor
    is_member: BoolArray


def measure_membership(
    sizes: MembershipSizes, architecture: str, schedule: Schedule, *, seed: int, lab: Lab
) -> Json:
    """AUC and true positives at 1 % false ones of every reveal and attack, and what curves show."""
    generator = torch.Generator().manual_seed(seed)
    left = count_here(get_dataset("mnist"), "train", lab.data_dir)
    n_elsewhere = min(sizes.n_elsewhere, (left - sizes.n_public - 2 * sizes.n_own) // 2)
    parts, origin = deal_samples(
        "mnist",
        (sizes.n_public, 2 * sizes.n_own, n_elsewhere, n_elsewhere),
        seed=seed,
        data_dir=lab.data_dir,
    )
    public, chosen, elsewhere, attackers = parts
    test = load_test("mnist", lab.data_dir, n=N_TEST)
    task = open_task(architecture, public, n_epochs=5, seed=seed)
    shard = test.take(np.arange(sizes.n_shard))
    train = partial(_train, task, shard, schedule, generator)
    candidates, members = _choose(chosen, task, sizes.n_targets, generator)
    targets = train(chosen, members)
    others, shadows = (
        train(own, _draw_members(len(own), sizes, generator)) for own in (elsewhere, attackers)
    )
    most = float((shadows.trained - task.row).norm(dim=1).median())
    result: Json = {"origin": origin, "n_elsewhere": n_elsewhere, "norm": most, "reveals": {}}
    for reveal in list_reveals(sizes.noises, sizes.numbers):
        view = _View(task, candidates, targets, reveal, most, generator)
        result["reveals"][reveal.name] = _attack(*view.observe(others, shadows), candidates)
    result["reveals"]["count"] = _attack_counts(targets.counts, candidates)
    result["accuracy"] = _measure_accuracy(
        task, targets, others, sizes.noises, most, test, generator
    )
    return result


def _choose(
    samples: LabeledImages, task: Task, n_targets: int, generator: torch.Generator
) -> tuple[Candidates, torch.Tensor]:
    """The candidates, and int64[T, N / 2], which of them each target trains on."""
    x, y = normalize(samples, task.start)
    order = torch.rand(n_targets, len(y), generator=generator).argsort(1)
    is_member = (order < len(y) // 2).numpy()
    members = torch.from_numpy(np.flatnonzero(is_member) % len(y)).reshape(n_targets, -1)
    return Candidates(x=x, y=y, is_member=is_member), members


def _draw_members(
    n_samples: int, sizes: MembershipSizes, generator: torch.Generator
) -> torch.Tensor:
    """int64[M, m], the samples of each of the other clients: none twice within a client."""
    draws = [
        torch.randperm(n_samples, generator=generator)[: sizes.n_own] for _ in range(sizes.n_others)
    ]
    return torch.stack(draws)


def _train(
    task: Task,
    shard: LabeledImages,
    schedule: Schedule,
    generator: torch.Generator,
    samples: LabeledImages,
    members: torch.Tensor,
) -> Models:
    x, y = normalize(samples, task.start)
    trained = train_stack(task.row, task.start.architecture, x, y, members, schedule, generator)
    quantized = quantize_rows(trained, task)
    return Models(
        trained=trained, shown=show_models(quantized, task), counts=count_rows(quantized, shard)
    )


class _View:
    """What one reveal shows of all targets."""

    def __init__(
        self,
        task: Task,
        candidates: Candidates,
        targets: Models,
        reveal: Reveal,
        most: float,
        generator: torch.Generator,
    ) -> None:
        self._task, self._candidates, self._targets = task, candidates, targets
        self._reveal, self._most, self._generator = reveal, most, generator

    def observe(self, others: Models, shadows: Models) -> tuple[Float64Array, Float64Array]:
        """float64[T, N, F], of the targets and of their shadows: loss, confidence, alignment and
        further numbers. Both are the same where no others stand in a sum."""
        kind, task = self._reveal.kind, self._task
        if kind == "sum":
            return self._observe_sum(others), self._observe_sum(shadows)
        rows = self._targets.shown if kind == "clear" else self._targets.trained
        if kind == "noised":
            rows = task.row + add_noise(
                rows - task.row,
                noise=self._reveal.noise,
                most=self._most,
                generator=self._generator,
            )
        counts = (self._targets.counts,) if kind == "clear" else ()
        seen = self._look(rows, *counts)
        return seen, seen

    def _observe_sum(self, others: Models) -> Float64Array:
        shown = self._targets.shown
        chosen = draw_others(len(shown), len(others.shown), self._reveal.n, self._generator)
        counts = chosen.numpy().astype(np.float64) @ others.counts
        return self._look(take_mean(shown, others.shown, chosen), self._targets.counts, counts)

    def _look(self, rows: torch.Tensor, *numbers: Float64Array) -> Float64Array:
        """What models [T, P] and further numbers [T] tell of every candidate."""
        task, x, y = self._task, self._candidates.x, self._candidates.y
        architecture = task.start.architecture
        logits = compute_logits(rows, architecture, x)
        index = y.expand(len(rows), -1)[..., None]
        own = logits.gather(-1, index)[..., 0]
        rest = logits.scatter(-1, index, -torch.inf).logsumexp(-1)
        loss = logits.logsumexp(-1) - own
        alignment = compute_alignment(rows - task.row, task.row, architecture, x, y)
        seen = [t.to(torch.float64).numpy() for t in (loss, own - rest, alignment)]
        seen += [np.broadcast_to(number[:, None], seen[0].shape) for number in numbers]
        return np.stack(seen, axis=-1)


def _attack(targets: Float64Array, shadows: Float64Array, candidates: Candidates) -> Json:
    """What each attack reaches, as means over folds."""
    rated: dict[str, list[tuple[float, Float64Array]]] = {}
    for attacked, shadowing in deal_folds(len(targets)):
        seen, known = targets[attacked], shadows[shadowing]
        is_member = candidates.is_member[shadowing]
        scores = {
            "loss": -seen[..., 0],
            "lira": score_by_own_variance(seen[..., 1], known[..., 1], is_member),
            "update": score_by_shared_variance(seen[..., 1:3], known[..., 1:3], is_member),
        }
        if targets.shape[-1] > 3:
            scores["all"] = score_by_shared_variance(seen[..., 1:], known[..., 1:], is_member)
        for name, found in scores.items():
            rated.setdefault(name, []).append(_rate(found, candidates.is_member[attacked]))
    return {name: _average(rates) for name, rates in rated.items()}


def _attack_counts(counts: Float64Array, candidates: Candidates) -> Json:
    """What k tells of every candidate when nothing else is seen."""
    seen = np.broadcast_to(counts[:, None, None], (*candidates.is_member.shape, 1))
    rates = []
    for attacked, shadowing in deal_folds(len(counts)):
        is_member = candidates.is_member[shadowing]
        found = score_by_shared_variance(seen[attacked], seen[shadowing], is_member)
        rates.append(_rate(found, candidates.is_member[attacked]))
    return {"all": _average(rates)}


def _rate(scores: Float64Array, is_member: BoolArray) -> tuple[float, Float64Array]:
    return compute_auc(scores, is_member), compute_tpr(scores, is_member, RATES)


def _average(rates: list[tuple[float, Float64Array]]) -> Json:
    """Means over folds, rounded so that reports stay small."""
    aucs, curves = zip(*rates, strict=True)
    return {"auc": float(np.mean(aucs)), "curve": np.round(np.mean(curves, axis=0), 4).tolist()}


def _measure_accuracy(
    task: Task,
    targets: Models,
    others: Models,
    noises: Sequence[float],
    most: float,
    test: LabeledImages,
    generator: torch.Generator,
) -> Json:
    """Of the start and of global models of ten clients, on test samples: what privacy costs."""
    x, y = normalize(test, task.start)
    n = min(N_MEANS, len(targets.trained))

    def rate(rows: torch.Tensor) -> float:
        hits = compute_logits(rows, task.start.architecture, x).argmax(-1) == y
        return float(hits.to(torch.float64).mean())

    def rate_means(members: torch.Tensor, rest: torch.Tensor) -> float:
        chosen = draw_others(n, len(rest), N_ROUND, generator)
        return rate(take_mean(members[:n], rest, chosen))

    found = {
        "start": rate(task.row[None]),
        "raw": rate_means(targets.trained, others.trained),
        "sum": rate_means(targets.shown, others.shown),
    }
    for noise in noises:
        members, rest = (
            task.row + add_noise(rows - task.row, noise=noise, most=most, generator=generator)
            for rows in (targets.trained[:n], others.trained)
        )
        found[f"noised-{noise:g}"] = rate_means(members, rest)
    return found
