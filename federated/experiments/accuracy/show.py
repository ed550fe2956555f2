"""Tables and pictures of the experiment."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from federated.experiments.accuracy.cases import (
    ATTACKS,
    N_CLIENTS,
    N_MALICIOUS,
    NO_ATTACK,
    Case,
)
from federated.experiments.accuracy.results import Results, get_spread
from federated.experiments.bands import band
from federated.experiments.kinds import Figure, Table
from federated.experiments.picture import open_sheet
from federated.experiments.results import LAST, Measure, get_final
from federated.experiments.simulation.rules.catalog import RULES
from federated.experiments.simulation.sizes import Size

_STYLES = ("-", "--", ":", "-.")


def make_tables(results: Results) -> tuple[Table, ...]:
    """Accuracy, stability and who was accepted, by data set and partition."""
    tasks = dict.fromkeys((case.dataset, case.partition) for case in results.cases)
    return tuple(
        table
        for dataset, partition in tasks
        for table in (
            _tabulate(results, dataset, partition, f"accuracy, last {LAST} rounds", get_final),
            _tabulate(results, dataset, partition, "spread from round to round", get_spread),
            _tabulate_accepted(results, dataset, partition),
        )
    )


def _list_rows(results: Results, dataset: str, partition: str) -> list[str]:
    ran = {c.rule for c in results.cases if (c.dataset, c.partition) == (dataset, partition)}
    return [rule for rule in RULES if rule in ran]


def _make(
    results: Results, dataset: str, partition: str, title: str, tell: Callable[[Case], str]
) -> Table:
    attacks = (NO_ATTACK, *ATTACKS)

    def look(rule: str, attack: str) -> str:
        case = Case(dataset=dataset, partition=partition, rule=rule, attack=attack)
        return tell(case) if case in results else "-"

    return Table(
        title=f"{dataset}, {partition}: {title}",
        columns=("rule", *(f"{N_MALICIOUS} {a}" if a != NO_ATTACK else a for a in attacks)),
        rows=tuple(
            (rule, *(look(rule, attack) for attack in attacks))
            for rule in _list_rows(results, dataset, partition)
        ),
    )


def _tabulate(
    results: Results, dataset: str, partition: str, title: str, measure: Measure
) -> Table:
    def tell(case: Case) -> str:
        if measure is get_spread and not results.has_spread(case):
            return "-"
        return results.measure(case, measure).tell("%", scale=100)

    return _make(results, dataset, partition, title, tell)


def _tabulate_accepted(results: Results, dataset: str, partition: str) -> Table:
    def tell(case: Case) -> str:
        said = f"{results.get_mean(case, 'honest'):.0%}"
        if case.n_malicious:
            said += f", {results.get_mean(case, 'malicious'):.0%} of malicious"
        n_void = results.get_mean(case, "void")
        return f"{said}, {n_void:.1f} rounds void" if n_void else said

    return _make(results, dataset, partition, "honest models accepted", tell)


def make_figures(results: Results, sizes: dict[str, Size]) -> tuple[Figure, ...]:
    """Accuracy over rounds, a picture for each data set and partition."""
    tasks = dict.fromkeys((case.dataset, case.partition) for case in results.cases)
    return tuple(
        Figure(
            name=f"{dataset}-{partition.replace('.', '')}",
            caption=_write_caption(results, dataset, partition, sizes[dataset]),
            draw=partial(draw_curves, results, dataset, partition),
        )
        for dataset, partition in tasks
    )


def _write_caption(results: Results, dataset: str, partition: str, size: Size) -> str:
    cases = [c for c in results.cases if (c.dataset, c.partition) == (dataset, partition)]
    numbers = sorted({len(results.get_curves(case)) for case in cases})
    n_seeds = " or ".join(map(str, numbers))
    return (
        f"Accuracy of the global model after each round on {size.n_test} test samples of {dataset} "
        f"({size.network}, {N_CLIENTS} clients with {size.n_train} samples in all, partition "
        f"{partition}, {size.n_public} public ones with each, {size.steps} steps of "
        f"{size.batch_size} a round), without malicious clients and with {N_MALICIOUS}. Lines are "
        f"means of {n_seeds} seeds, bands their 95 % confidence. Krum and the trimmed mean are "
        "told how many are malicious. Attackers of rules with proofs claim their true counts; "
        "that claims above the truth have no proof is measured by the experiment `claims`."
    )


def draw_curves(results: Results, dataset: str, partition: str, path: Path) -> None:
    """A panel for each attack, with the rules that ran under it."""
    from matplotlib import colormaps
    from matplotlib.ticker import PercentFormatter

    def list_ran(attack: str) -> list[Case]:
        cases = [Case(dataset=dataset, partition=partition, rule=r, attack=attack) for r in RULES]
        return [case for case in cases if case in results]

    attacks = [attack for attack in (NO_ATTACK, *ATTACKS) if list_ran(attack)]
    with open_sheet(path, width=4.2 * len(attacks) + 2.0, height=4.2) as picture:
        panels = picture.subplots(1, len(attacks), squeeze=False, sharey=True)[0]
        lines = {}
        for attack, panel in zip(attacks, panels, strict=True):
            for case in list_ran(attack):
                place = RULES.index(case.rule)
                color = colormaps["tab20"](place)
                curves = results.get_curves(case)
                rounds = range(1, curves.shape[1] + 1)
                bands = [band(column) for column in curves.T.tolist()]
                (lines[case.rule],) = panel.plot(
                    rounds,
                    [one.mean for one in bands],
                    color=color,
                    linestyle=_STYLES[place % len(_STYLES)],
                    linewidth=1.6,
                )
                panel.fill_between(
                    rounds,
                    [max(0.0, one.low) for one in bands],
                    [min(1.0, one.high) for one in bands],
                    color=color,
                    alpha=0.12,
                    linewidth=0,
                )
            n = 0 if attack == NO_ATTACK else N_MALICIOUS
            panel.set_title(
                "all honest" if not n else f"{n} of {N_CLIENTS}: {attack}", fontsize="medium"
            )
            panel.grid(alpha=0.3)
            panel.yaxis.set_major_formatter(PercentFormatter(1.0))
        picture.supxlabel("round")
        picture.supylabel("accuracy")
        picture.suptitle(f"{dataset}, {partition}")
        drawn = [rule for rule in RULES if rule in lines]
        picture.legend(
            [lines[rule] for rule in drawn], drawn, loc="outside right center", fontsize="small"
        )
