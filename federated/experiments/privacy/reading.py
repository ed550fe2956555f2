"""Tables and figures of the experiment, and under which conditions they are."""

from __future__ import annotations

from functools import partial
from typing import Any

from federated.errors import NothingKept
from federated.experiments.conditions import tell_origins
from federated.experiments.kinds import Figure, Outcomes, Reading, Table
from federated.experiments.privacy import figures
from federated.experiments.privacy.findings import (
    list_inversion_findings,
    list_membership_findings,
)
from federated.experiments.privacy.groups import Group, group_outcomes
from federated.experiments.privacy.membership import ATTACKS, N_ROUND
from federated.experiments.privacy.reveals import Reveal
from federated.experiments.privacy.rows import GUESSED

CURVES = ("raw", "noised-0.1", "clear", "sum-3", "sum-10", "sum-100")
_GRAY, _COLOURS = (28, 28), (3, 32, 32)


def read_outcomes(outcomes: Outcomes) -> Reading:
    """All that the three parts say. Raises NothingKept where one of them was not measured."""
    membership = group_outcomes(outcomes, "membership")
    rows = group_outcomes(outcomes, "rows")
    matchings = group_outcomes(outcomes, "matching")
    for part, found in (("membership", membership), ("rows", rows), ("matching", matchings)):
        if not found:
            raise NothingKept("privacy", f"cell of {part}")
    (matching,) = matchings
    return Reading(
        findings=(
            *list_membership_findings(membership),
            *list_inversion_findings(rows, matching),
        ),
        tables=(
            *(_tabulate_membership(group) for group in membership),
            _tabulate_rows(rows),
            _tabulate_matching(matching),
        ),
        figures=(
            *_draw_membership(membership),
            _draw_pictures("pictures", rows[-1], _GRAY, "the first layer's rows"),
            _draw_pictures("photographs", matching, _COLOURS, "search"),
        ),
        conditions=_describe(membership, rows, matching),
    )


def _tabulate_membership(group: Group) -> Table:
    lines = []
    for reveal in [*group.reveals, Reveal(kind="count")]:
        there = group.results[0]["reveals"][reveal.name]
        told = [
            group.find_auc(reveal.name, attack).tell(digits=3) if attack in there else ""
            for attack in ATTACKS
        ]
        tpr = group.find_tpr(reveal.name).tell("%", scale=100)
        lines.append((reveal.label, *told, tpr, _tell_accuracy(group, reveal)))
    return Table(
        title=f"Membership inference, AUC by attack: {group.n_own} samples a client, "
        f"{len(group.results)} seeds. A client of a sum of n sees one of n - 1. TPR is of the "
        "strongest attack",
        columns=("what is seen", *ATTACKS, "TPR at 1 % FPR", f"accuracy of a round of {N_ROUND}"),
        rows=tuple(lines),
    )


def _tell_accuracy(group: Group, reveal: Reveal) -> str:
    """Where the reveal has a round of its own."""
    name = "sum" if reveal.name == f"sum-{N_ROUND}" else reveal.name
    if name not in group.results[0]["accuracy"]:
        return ""
    return group.find_accuracy(name).tell("%", scale=100)


def _tabulate_rows(groups: list[Group]) -> Table:
    floats = [Reveal(kind="floats", n=n) for n in groups[0].numbers]
    names = [(r.label, r.name) for r in [*groups[0].reveals, *floats]]
    lines = []
    for label, name in [*names, ("class means of public samples", GUESSED)]:
        told = [group.find_psnr(name).tell() for group in groups]
        told += [group.find_ssim(name).tell(digits=2) for group in groups]
        lines.append((label, *told))
    return Table(
        title="Inversion by the first layer's rows: the best of all guesses of a client's samples, "
        f"mean over clients, {len(groups[0].results)} seeds",
        columns=(
            "what is seen",
            *(f"PSNR in dB, {group.n_own} own" for group in groups),
            *(f"SSIM, {group.n_own} own" for group in groups),
        ),
        rows=tuple(lines),
    )


def _tabulate_matching(group: Group) -> Table:
    names = [(reveal.label, reveal.name) for reveal in group.reveals]
    return Table(
        title="Inversion by search: one step on one photograph, labels known, "
        f"{len(group.results)} seeds",
        columns=("what is seen", "PSNR in dB", "SSIM"),
        rows=tuple(
            (label, group.find_psnr(name).tell(), group.find_ssim(name).tell(digits=2))
            for label, name in [*names, ("class mean of public samples", GUESSED)]
        ),
    )


def _draw_membership(groups: list[Group]) -> tuple[Figure, Figure]:
    told = " and ".join(f"{g.n_own} ({len(g.results)} seeds)" for g in groups)
    group = groups[0]
    return (
        Figure(
            name="auc",
            caption="Strongest membership inference on what each rule reveals; 0.5 is guessing. "
            f"{_tell_round(group)}, samples a client: {told}. Bars: means, whiskers: 95 % bands",
            draw=partial(figures.draw_auc, groups),
        ),
        Figure(
            name="roc",
            caption="True against false positives of membership inference (attack `update`), with "
            f"95 % bands. {_tell_round(group)}, {group.n_own} samples a client, "
            f"{len(group.results)} seeds",
            draw=partial(figures.draw_roc, group, [r for r in group.reveals if r.name in CURVES]),
        ),
    )


def _draw_pictures(name: str, group: Group, shape: tuple[int, ...], how: str) -> Figure:
    reveals = [*group.reveals, *(Reveal(kind="floats", n=n) for n in group.numbers)]
    first = group.results[0]["reveals"]
    lines = [(r.short, first[r.name]["pictures"]) for r in reveals if r.name in first]
    lines.append(("class mean", first[GUESSED]["pictures"]))
    own = "1 sample" if group.n_own == 1 else f"{group.n_own} samples"
    return Figure(
        name=name,
        caption=f"Reconstructions by {how}, right, beside the samples of a client that are nearest "
        f"to them, left: the first {len(lines[0][1])} clients of the first seed, {own} each. "
        f"{_tell_data(group)}; mean PSNR of all clients and seeds beside the names",
        draw=partial(
            figures.draw_pictures,
            [
                (f"{label}\n{group.find_psnr(key).mean:.1f} dB", pairs)
                for (label, pairs), key in zip(
                    lines, [*(r.name for r in reveals if r.name in first), GUESSED], strict=True
                )
            ],
            shape,
        ),
    )


def _tell_round(group: Group) -> str:
    p = group.parameters
    return (
        f"{_tell_data(group)}, {p['n_targets']} clients attacked, one round of {p['n_epochs']} "
        f"epochs of SGD from a public start"
    )


def _tell_data(group: Group) -> str:
    p: dict[str, Any] = group.parameters
    data = "CIFAR-10" if p["architecture"] == "lenet-small" else "MNIST"
    return f"{data} ({tell_origins(group.results)}), {p['architecture']}"


def _describe(membership: list[Group], rows: list[Group], matching: Group) -> dict[str, str]:
    p, q, r = membership[0].parameters, rows[0].parameters, matching.parameters
    start = membership[0].find_accuracy("start").tell("%", scale=100)
    return {
        "membership": f"{_tell_round(membership[0])}, batches of {p['batch_size']}, rate "
        f"{p['learning_rate']}; start from {p['n_public']} public samples, {start}; the attacker "
        "knows all candidates, of which each client has half, and trains shadows of every target "
        f"and {p['n_others']} models of its own; the others of a sum are drawn from "
        f"{p['n_others']} models on {membership[0].results[0]['n_elsewhere']} samples",
        "inversion by rows": f"{_tell_data(rows[0])}, {q['n_targets']} clients attacked, the same "
        "training; the nearest guess to any sample of the client counts",
        "inversion by search": f"{_tell_data(matching)}, {r['n_targets']} clients attacked, "
        f"{r['n_steps']} steps of Adam, rate of the client's step {r['learning_rate']}",
    }
