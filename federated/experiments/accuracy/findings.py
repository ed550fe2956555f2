"""What the experiment claims, and what of it the bands bear out."""

from __future__ import annotations

from collections.abc import Iterator

from federated.experiments.accuracy.cases import (
    ATTACKS,
    MAIN_PARTITION,
    N_MALICIOUS,
    NO_ATTACK,
    Case,
)
from federated.experiments.accuracy.results import Results, get_spread
from federated.experiments.bands import Band, is_at_most, is_more
from federated.experiments.kinds import Finding
from federated.experiments.results import get_final
from federated.experiments.simulation.partitions import PARTITIONS
from federated.experiments.simulation.rules.catalog import PROVEN_RULES

POINT = 0.01
BROKEN = 0.1
"""Of accuracy: who loses more is broken."""
DATASETS = ("mnist", "cifar10")
ROBUST = ("krum", "multi-krum", "trimmed-mean", "median")


def find(results: Results) -> tuple[Finding, ...]:
    """All findings for which there are the cases."""
    made: list[Finding] = []
    for dataset in DATASETS:
        made += _reach(results, dataset)
        made += _price(results, dataset)
        made += _break(results, dataset)
        made += _beat_robust(results, dataset)
        made += _stay_stable(results, dataset)
        made += _over_partitions(results, dataset)
    return tuple(made)


def tell_points(found: Band) -> str:
    """A difference of accuracies, in points."""
    return found.tell("points", scale=100)


def _case(dataset: str, rule: str, attack: str = NO_ATTACK) -> Case:
    return Case(dataset=dataset, partition=MAIN_PARTITION, rule=rule, attack=attack)


def _reach(results: Results, dataset: str) -> Iterator[Finding]:
    """The reach that is aimed at: within a point of FedAvg without any malicious client."""
    calm = _case(dataset, "fedavg")
    for attack in ATTACKS:
        for rule in PROVEN_RULES:
            case = _case(dataset, rule, attack)
            if case in results and calm in results:
                lost = results.compare(calm, get_final, case)
                yield Finding(
                    claim=f"{rule} with {N_MALICIOUS} of 10 malicious clients ({attack}) is within "
                    f"1 point of FedAvg without any, on {dataset}",
                    measured=f"{tell_points(lost)} below it",
                    holds=is_at_most(lost, POINT),
                )


def _price(results: Results, dataset: str) -> Iterator[Finding]:
    """What proofs cost in accuracy: integers, and honest clients that are refused."""
    calm = _case(dataset, "fedavg")
    for rule in PROVEN_RULES:
        case = _case(dataset, rule)
        if case in results and calm in results:
            lost = results.compare(calm, get_final, case)
            yield Finding(
                claim=f"{rule} costs no more than 1 point where all clients are honest, on "
                f"{dataset}",
                measured=f"{tell_points(lost)} below FedAvg; "
                f"{results.get_mean(case, 'honest'):.0%} of honest models were accepted",
                holds=is_at_most(lost, POINT),
            )


def _break(results: Results, dataset: str) -> Iterator[Finding]:
    calm = _case(dataset, "fedavg")
    for attack in ATTACKS:
        case = _case(dataset, "fedavg", attack)
        if case in results and calm in results:
            lost = results.compare(calm, get_final, case)
            yield Finding(
                claim=f"{N_MALICIOUS} of 10 malicious clients ({attack}) cost FedAvg more than 10 "
                f"points on {dataset}",
                measured=f"{tell_points(lost)} lost",
                holds=is_more(lost, BROKEN),
            )


def _beat_robust(results: Results, dataset: str) -> Iterator[Finding]:
    """Against each robust rule that is told how many are malicious."""
    for attack in ATTACKS:
        ours = _case(dataset, "zkpot", attack)
        for rule in ROBUST:
            other = _case(dataset, rule, attack)
            if ours in results and other in results:
                gain = results.compare(ours, get_final, other)
                yield Finding(
                    claim=f"zkpot is more accurate than {rule} that is told the number of "
                    f"malicious clients ({attack}), on {dataset}",
                    measured=f"{tell_points(gain)} above it",
                    holds=is_more(gain, 0.0),
                )


def _stay_stable(results: Results, dataset: str) -> Iterator[Finding]:
    calm = _case(dataset, "fedavg")
    for attack in ATTACKS:
        case = _case(dataset, "zkpot", attack)
        if case in results and calm in results and results.has_spread(case):
            more = results.compare(case, get_spread, calm)
            yield Finding(
                claim=f"zkpot under attack ({attack}) spreads from round to round by at most 1 "
                f"point more than FedAvg without any, on {dataset}",
                measured=f"{tell_points(more)} more",
                holds=is_at_most(more, POINT),
            )


def _over_partitions(results: Results, dataset: str) -> Iterator[Finding]:
    for partition in PARTITIONS:
        calm = Case(dataset=dataset, partition=partition, rule="fedavg")
        case = Case(dataset=dataset, partition=partition, rule="zkpot", attack="sign flip")
        if partition != MAIN_PARTITION and calm in results and case in results:
            lost = results.compare(calm, get_final, case)
            yield Finding(
                claim=f"the same reach (zkpot, sign flip, 1 point) on {dataset} of the partition "
                f"{partition}",
                measured=f"{tell_points(lost)} below FedAvg without malicious clients; "
                f"{results.get_mean(case, 'honest'):.0%} of honest models were accepted",
                holds=is_at_most(lost, POINT),
            )
