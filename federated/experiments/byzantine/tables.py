"""Tables of a run: accuracy and success by rule and attack, and what stops what proofs of accuracy
do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from federated.experiments.byzantine.results import (
    NO_ATTACK,
    Case,
    Results,
    get_admitted,
    get_led,
    get_success,
)
from federated.experiments.kinds import Table
from federated.experiments.results import Measure, get_final
from federated.experiments.simulation.rules.catalog import PROVEN_RULES

NOT_RUN = "-"
REMEDIES = {
    "backdoor": "no proof here: data that is looked at before it is committed to; Krum, the median "
    "and the trimmed mean hinder it below one half, and have to see every model",
    "clean-label backdoor": "as a backdoor, but nobody who looks at data finds a false label",
    "targeted flip": "a threshold for each class; data that is looked at",
    "model replacement": "its scaling: proven training, and bounds as far as they are tight; its "
    "backdoor: as above",
    "returned model": "proven training; a margin of 1 or more, which refuses honest clients of few "
    "classes, too",
    "copied model": "proven training; secure aggregation, which shows nobody a model to copy",
}
"""What stops an attack that a proof of accuracy does not. How far it comes is measured beside it;
what hinders it among other rules is in the tables of accuracy and success."""


def make_tables(results: Results, dataset: str) -> tuple[Table, ...]:
    """Those of a data set; a case that was not run is a dash."""
    made = [
        _make_accuracies(results, dataset),
        _make_successes(results, dataset),
        _make_remedies(results, dataset),
        _make_names(results, dataset),
    ]
    return tuple(table for table in made if table.rows)


def _list_plain(results: Results, dataset: str) -> list[Case]:
    return [case for case in results.cases if case.dataset == dataset and not case.n_names]


def _find_columns(cases: Sequence[Case], attacks: Sequence[str]) -> list[tuple[str, float]]:
    """Attacks and shares of cases, attack by attack."""
    found = {(c.attack, c.share) for c in cases if c.attack in attacks}
    return sorted(found, key=lambda column: (attacks.index(column[0]), column[1]))


def _make_accuracies(results: Results, dataset: str) -> Table:
    cases = _list_plain(results, dataset)
    columns = _find_columns(cases, list(dict.fromkeys(case.attack for case in cases)))
    return _tabulate(
        results,
        f"{dataset}: accuracy of the last global models, %",
        columns,
        dict.fromkeys(case.rule for case in cases),
        lambda rule, column: (
            Case(dataset=dataset, rule=rule, attack=column[0], share=column[1]),
            get_final,
        ),
    )


def _make_successes(results: Results, dataset: str) -> Table:
    cases = _list_plain(results, dataset)
    aimed = [
        attack
        for attack in dict.fromkeys(case.attack for case in cases)
        if any(results.has_success(case, attack) for case in cases if case.attack == attack)
    ]
    columns = [(attack, 0.0) for attack in aimed] + _find_columns(cases, aimed)
    columns.sort(key=lambda column: (aimed.index(column[0]), column[1]))

    def find(rule: str, column: tuple[str, float]) -> tuple[Case, Measure]:
        attack, share = column
        ran = attack if share else NO_ATTACK
        return Case(dataset=dataset, rule=rule, attack=ran, share=share), get_success(attack)

    rules = dict.fromkeys(case.rule for case in cases)
    title = f"{dataset}: success of the attack on the last global model, %"
    return _tabulate(results, title, columns, rules, find)


def _make_remedies(results: Results, dataset: str) -> Table:
    """How far each attack comes at the share where free riders run, and what stops it."""
    cases = _list_plain(results, dataset)
    rows = []
    for attack, remedy in REMEDIES.items():
        own = [case for case in cases if case.attack == attack and case.rule in PROVEN_RULES]
        if not own:
            continue
        share = min((case.share for case in own), key=lambda s: abs(s - 0.3))
        cells = []
        for rule in PROVEN_RULES:
            case = Case(dataset=dataset, rule=rule, attack=attack, share=share)
            measure = get_success(attack) if results.has_success(case, attack) else get_admitted
            cells.append(_tell(results, case, measure))
        rows.append((f"{attack}, {share:.0%}", *cells, remedy))
    return Table(
        title=f"{dataset}: what gets past proofs of accuracy (success, or share of the attacker's "
        "models that enter, %), and what stops it",
        columns=("attack", *PROVEN_RULES, "what stops it"),
        rows=tuple(rows),
    )


def _make_names(results: Results, dataset: str) -> Table:
    """Of one person under many names, and of who leads."""
    cases = [case for case in results.cases if case.dataset == dataset and case.n_names]
    rows = [
        (
            case.rule,
            str(case.n_names),
            results.measure(case, get_success(case.attack)).tell(scale=100),
            results.measure(case, get_led).tell(scale=100),
        )
        for case in cases
    ]
    return Table(
        title=f"{dataset}: one person with a backdoor under many names: its success, and rounds "
        "that it leads, %",
        columns=("rule", "names", "success", "led"),
        rows=tuple(rows),
    )


def _tabulate(
    results: Results,
    title: str,
    columns: Sequence[tuple[str, float]],
    rules: Iterable[str],
    find: Callable[[str, tuple[str, float]], tuple[Case, Measure]],
) -> Table:
    def list_cells(rule: str) -> Iterator[str]:
        yield rule
        for column in columns:
            yield _tell(results, *find(rule, column))

    heads = [f"{attack}, {share:.0%}" if share else attack for attack, share in columns]
    rows = [tuple(list_cells(rule)) for rule in rules] if columns else []
    return Table(
        title=title,
        columns=("rule", *heads),
        rows=tuple(row for row in rows if any(cell != NOT_RUN for cell in row[1:])),
    )


def _tell(results: Results, case: Case, measure: Measure) -> str:
    return results.measure(case, measure).tell(scale=100) if case in results else NOT_RUN
