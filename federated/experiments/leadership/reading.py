"""What who led says of merit, luck and concentration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from federated.experiments.bands import Band, band, is_above
from federated.experiments.conditions import tell_origins
from federated.experiments.kinds import ASSUMED, Figure, Finding, Json, Outcomes, Reading, Table
from federated.experiments.leadership.elections import compute_gini, compute_spearman
from federated.experiments.picture import open_picture
from kernels.numpy_types import Float64Array

RULES = {
    "pow": "PoW",
    "pos": "PoS",
    "lot": "fair lottery",
    "pofl": "PoFL, all honest",
    "pofl_liars": "PoFL, liars",
    "zkpot": "ZKPoT, all honest",
    "zkpot_liars": "ZKPoT, liars",
}
_SKILLS = {
    "labels": "clients differ in wrong labels",
    "amounts": "clients differ in amounts of data",
    "none": "clients of equal skill",
}
_SLIGHT = 0.3
_DRAWN = ("pow", "pos", "pofl_liars", "zkpot")
Value = Callable[[Json], float]
Runs = Mapping[str, list[Json]]


def read_outcomes(outcomes: Outcomes, *, n_liars: int) -> Reading:
    """Findings, a table for each way in which clients differ, and two pictures."""
    runs: Runs = {
        skill: [result for cell, result in outcomes if cell.parameters["skill"] == skill]
        for skill in _SKILLS
    }
    cell, _ = outcomes[0]
    origins = tell_origins(result for _, result in outcomes)
    n_clients, n_rounds = cell.parameters["clients"], cell.parameters["rounds"]
    about = (
        f"MNIST ({origins}), {len(runs['labels'])} seeds, {n_clients} clients, "
        f"{n_rounds} rounds of federated averaging, the same for every rule; bands of 95 %"
    )
    return Reading(
        findings=_find(runs, n_liars=n_liars),
        tables=tuple(_tabulate(skill, runs[skill], n_liars) for skill in _SKILLS),
        figures=(
            Figure(
                name="shares",
                caption="Share of rounds that each client led, by rank of skill (the last is the "
                f"best); with liars, the {n_liars} of least skill claim every sample. {about}.",
                draw=lambda path: _draw_shares(path, runs),
            ),
            Figure(
                name="gini",
                caption="Concentration of leadership: Gini's coefficient, 0 where all lead alike. "
                f"{about}. That of a fair lottery is what so few rounds leave by chance.",
                draw=lambda path: _draw_gini(path, runs),
            ),
        ),
        conditions={
            "data": f"MNIST ({origins})",
            "clients": f"{n_clients}, of which {n_liars} lie where a rule has liars",
            "rounds": str(n_rounds),
            "lotteries": "stakes and hash power are log-normal, drawn apart from skill; leaders "
            "are drawn by them, nothing is mined",
            "counts": "of the integer model on the round's shard: what a proof would be of; that "
            "lies have no proof is measured by `claims`",
        },
    )


# -- values of one run -----------------------------------------------------------------------------


def get_shares(run: Json, rule: str) -> Float64Array:
    """Of the rounds that had a leader, those of each client."""
    led = np.array(run["led"][rule], dtype=np.float64)
    return led / max(1.0, float(led.sum()))


def _correlate(rule: str, by: str) -> Value:
    return lambda run: compute_spearman(get_shares(run, rule), np.array(run[by], dtype=np.float64))


def _concentrate(rule: str) -> Value:
    return lambda run: compute_gini(get_shares(run, rule))


def _share_of_liars(rule: str, n_liars: int) -> Value:
    return lambda run: float(get_shares(run, rule)[:n_liars].sum())


def _band(runs: list[Json], value: Value) -> Band:
    return band([value(run) for run in runs])


# -- findings --------------------------------------------------------------------------------------


def _is_nothing(found: list[Band]) -> bool | None:
    """Whether correlations are none: True where all bands lie within `_SLIGHT` of 0, False where
    one is clearly of one sign."""
    if any(is_above(one, 0.0) is not None for one in found):
        return False
    return True if all(max(-one.low, one.high) < _SLIGHT for one in found) else None


def _find(runs: Runs, *, n_liars: int) -> tuple[Finding, ...]:
    labels, amounts, equal = (runs[skill] for skill in ("labels", "amounts", "none"))
    n_clients = len(labels[0]["skills"])
    by_power = _band(labels, _correlate("pow", "hash_power"))
    by_stake = _band(labels, _correlate("pos", "stakes"))
    luck = [_band(labels, _correlate(rule, "skills")) for rule in ("pow", "pos")]
    merit, data = (_band(one, _correlate("zkpot", "skills")) for one in (labels, amounts))
    liars = _band(labels, _share_of_liars("pofl_liars", n_liars))
    lied = [_share_of_liars("zkpot_liars", n_liars)(run) for one in runs.values() for run in one]
    told = "correlation of ranks of share and "
    return (
        Finding(
            claim="PoW gives leadership to hash power",
            measured=f"{told}hash power {by_power.tell(digits=2)}",
            holds=is_above(by_power, 0.0),
        ),
        Finding(
            claim="PoS gives leadership to stake",
            measured=f"{told}stake {by_stake.tell(digits=2)}",
            holds=is_above(by_stake, 0.0),
        ),
        Finding(
            claim="under PoW and PoS skill does not matter",
            measured=f"{told}skill {luck[0].tell(digits=2)} and {luck[1].tell(digits=2)}",
            holds=_is_nothing(luck),
        ),
        Finding(
            claim="ZKPoT gives leadership to skill, where clients differ in wrong labels",
            measured=f"{told}skill {merit.tell(digits=2)}",
            holds=is_above(merit, 0.0),
        ),
        Finding(
            claim="ZKPoT gives leadership to skill, where clients differ in amounts of data",
            measured=f"{told}amount {data.tell(digits=2)}; all train from the same mean, which "
            "has learnt from everybody's data",
            holds=is_above(data, 0.0),
        ),
        _compare("ZKPoT concentrates leadership less than PoS, clients of unequal skill", labels),
        _compare("ZKPoT concentrates leadership less than PoS, clients of equal skill", equal),
        Finding(
            claim="under PoFL, where claims are not proven, who lies leads",
            measured=f"{n_liars} liars of {n_clients} lead {liars.tell('%', scale=100)} of rounds",
            holds=is_above(liars, n_liars / n_clients),
        ),
        Finding(
            claim="under ZKPoT nobody leads by a lie",
            measured=f"liars lead {100 * max(lied):.1f} % of rounds at most, in {len(lied)} runs: "
            f"a claim above the truth is refused, {ASSUMED}",
            holds=max(lied) == 0.0,
        ),
    )


def _compare(claim: str, runs: list[Json]) -> Finding:
    """Of Gini's coefficients, run by run: stakes and skills are drawn together."""
    ours, theirs = _concentrate("zkpot"), _concentrate("pos")
    less = _band(runs, lambda run: theirs(run) - ours(run))
    both = [_band(runs, value).tell(digits=2) for value in (ours, theirs)]
    return Finding(
        claim=claim,
        measured=f"Gini {both[0]} against {both[1]}, less by {less.tell(digits=2)}",
        holds=is_above(less, 0.0),
    )


# -- tables and pictures ---------------------------------------------------------------------------


def _tabulate(skill: str, runs: list[Json], n_liars: int) -> Table:
    values: dict[str, Callable[[str], Value]] = {
        "skill": lambda rule: _correlate(rule, "skills"),
        "stake": lambda rule: _correlate(rule, "stakes"),
        "hash power": lambda rule: _correlate(rule, "hash_power"),
        "Gini": _concentrate,
        "best client": lambda rule: lambda run: float(get_shares(run, rule)[-1]),
        f"first {n_liars}": lambda rule: _share_of_liars(rule, n_liars),
    }
    if skill == "none":
        del values["skill"], values["best client"]
    return Table(
        title=f"Leadership, {_SKILLS[skill]}: correlations of ranks of share and skill, stake "
        f"and hash power; concentration; shares of the best and of the {n_liars} who may lie",
        columns=("rule", *values),
        rows=tuple(
            (label, *(_band(runs, value(rule)).tell(digits=2) for value in values.values()))
            for rule, label in RULES.items()
        ),
    )


def _draw_shares(path: Path, runs: Runs) -> None:
    with open_picture(path, columns=len(runs), width=13, height=4) as axes:
        for one, (skill, found) in zip(axes, runs.items(), strict=True):
            ranks = np.arange(1, len(found[0]["skills"]) + 1)
            for rule in _DRAWN:
                bands = [
                    band([float(get_shares(run, rule)[rank - 1]) for run in found])
                    for rank in ranks
                ]
                means = [b.mean for b in bands]
                low, high = ([max(0.0, b.low) for b in bands], [min(1.0, b.high) for b in bands])
                one.plot(ranks, means, marker="o", markersize=3, label=RULES[rule])
                one.fill_between(ranks, low, high, alpha=0.15)
            one.set_title(_SKILLS[skill], fontsize=10)
            one.set_xlabel("client, by skill")
            one.set_ylim(0, 1)
            one.set_xticks(ranks)
        axes[0].set_ylabel("share of rounds led")
        axes[0].legend(fontsize=8)


def _draw_gini(path: Path, runs: Runs) -> None:
    shown = list(RULES)
    with open_picture(path, width=9) as axes:
        for i, (skill, found) in enumerate(runs.items()):
            bands = [_band(found, _concentrate(rule)) for rule in shown]
            places = np.arange(len(shown)) + 0.27 * (i - 1)
            axes.bar(
                places,
                [b.mean for b in bands],
                width=0.25,
                yerr=[b.half for b in bands],
                capsize=2,
                label=_SKILLS[skill],
            )
        axes.set_xticks(range(len(shown)), [RULES[rule] for rule in shown], rotation=20)
        axes.set_ylabel("Gini's coefficient of leadership")
        axes.set_ylim(0, 1)
        axes.legend(fontsize=8)
