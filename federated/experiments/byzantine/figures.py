"""Pictures: what is left of accuracy, and what backdoors reach, against the share of attackers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from federated.experiments.byzantine.results import (
    Case,
    Results,
    get_success,
)
from federated.experiments.kinds import Figure
from federated.experiments.picture import open_sheet
from federated.experiments.results import get_final

COLORS = {
    "fedavg": "black",
    "krum": "tab:brown",
    "multi-krum": "tab:olive",
    "trimmed-mean": "tab:cyan",
    "median": "tab:purple",
    "zkpot": "tab:green",
    "zkpot-bounds": "tab:blue",
    "zkpot-training": "tab:red",
    "fedavg-exact": "gray",
}
MARKS = "osv^DPX*<"
_WIDTH = 0.004


def draw_accuracy(results: Results, dataset: str, attacks: Sequence[str]) -> Callable[[Path], None]:
    """Draws the accuracy of the last global models by share, a panel for each attack."""
    return lambda path: _draw(results, dataset, attacks, path, "accuracy")


def draw_success(results: Results, dataset: str, attacks: Sequence[str]) -> Callable[[Path], None]:
    """Draws the success of attacks on the last global model by share, a panel for each."""
    return lambda path: _draw(results, dataset, attacks, path, "success")


def make_figures(results: Results, dataset: str, conditions: str) -> tuple[Figure, ...]:
    """The two pictures of a data set; conditions: what was run, for the captions."""
    attacks = [c.attack for c in results.cases if c.dataset == dataset and not c.n_names]
    swept = [a for a in dict.fromkeys(attacks) if len(_shares(results, dataset, a)) > 1]
    aimed = [a for a in swept if results.has_success(Case(dataset=dataset, rule="fedavg"), a)]
    bands = "Means of 3 seeds or more, with 95 % bands (Student's t)."
    made = []
    if swept:
        made.append(
            Figure(
                name=f"{dataset}-accuracy",
                caption="Accuracy of the last global models against the share of malicious "
                f"clients. {bands} {conditions}",
                draw=draw_accuracy(results, dataset, swept),
            )
        )
    if aimed:
        made.append(
            Figure(
                name=f"{dataset}-success",
                caption="What attacks that keep accuracy reach: the share of test samples with the "
                f"attacker's pattern (of its class) that go to its target. {bands} {conditions}",
                draw=draw_success(results, dataset, aimed),
            )
        )
    return tuple(made)


def _shares(results: Results, dataset: str, attack: str) -> list[float]:
    cases = [c for c in results.cases if c.dataset == dataset and not c.n_names]
    return sorted({c.share for c in cases if c.attack == attack})


def _draw(results: Results, dataset: str, attacks: Sequence[str], path: Path, what: str) -> None:
    from matplotlib.ticker import PercentFormatter

    n_columns = min(2, len(attacks))
    n_rows = -(-len(attacks) // n_columns)
    with open_sheet(path, width=4.6 * n_columns + 2.2, height=3.4 * n_rows) as picture:
        panels = picture.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
        lines = {}
        for attack, panel in zip(attacks, panels.flat, strict=False):
            measure = get_final if what == "accuracy" else get_success(attack)
            for place, (rule, color) in enumerate(COLORS.items()):
                cases = [
                    Case(dataset=dataset, rule=rule, attack=attack, share=share)
                    for share in _shares(results, dataset, attack)
                ]
                cases = [Case(dataset=dataset, rule=rule), *cases]
                ran = [case for case in cases if case in results]
                if len(ran) < 2:
                    continue
                bands = [results.measure(case, measure) for case in ran]
                # Lines that lie on each other are moved apart by less than anybody reads off.
                shares = np.array([case.share for case in ran]) + _WIDTH * (place - len(COLORS) / 2)
                lines[rule] = panel.errorbar(
                    shares,
                    [band.mean for band in bands],
                    yerr=[band.half for band in bands],
                    color=color,
                    marker=MARKS[place],
                    markersize=4,
                    capsize=2,
                    linewidth=1.2,
                    elinewidth=0.8,
                )
            panel.set_title(attack, fontsize="medium")
            panel.set_ylim(-0.03, 1.03)
            panel.grid(alpha=0.3)
            panel.xaxis.set_major_formatter(PercentFormatter(1.0))
            panel.yaxis.set_major_formatter(PercentFormatter(1.0))
        for panel in panels.flat[len(attacks) :]:
            panel.set_visible(False)
        picture.supxlabel("malicious clients")
        picture.supylabel("accuracy" if what == "accuracy" else "success of the attack")
        picture.suptitle(f"{dataset}, {results.count_seeds()} seeds or more")
        picture.legend(
            list(lines.values()), list(lines), loc="outside right center", fontsize="small"
        )
