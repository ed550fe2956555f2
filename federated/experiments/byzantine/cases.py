"""Which cases a profile runs, and under which conditions.

Without attackers PoW, PoS and PoFL have FedAvg's model, and under attacks, too, until an attacker
leads: they run where leaders do harm, and where claims lead. Under proven training every attack on
models is one on data, so those that have the same samples are run once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from federated.experiments.byzantine.results import Case
from federated.experiments.kinds import Profile
from federated.experiments.simulation.rules.catalog import PROVEN_RULES
from federated.experiments.simulation.sizes import Size

N_SEEDS, CORE_SEEDS = 3, 10
N_CLIENTS = 10
PARTITION = "dirichlet-0.5"

UNPROVEN = "fedavg-exact"
"""FedAvg of clients that train by the steps of proven training, and prove nothing."""
LEADER_WRITES = ("pow", "pos", "pofl")
UNTARGETED = ("label flip", "sign flip")
TARGETED = ("backdoor", "model replacement")
MADE_UP = ("gaussian model", "zero model")
ONLY_FULL = (*MADE_UP, "clean-label backdoor", "targeted flip")
FREE_RIDERS = ("returned model", "copied model")
MANY = 0.3
MOST = 0.6
SWEEP = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
SYBILS = {"quick": (4, 14), "full": (2, 4, 6, 9, 14)}
"""How many names one of 10 persons takes, beside 1: 14 are 14 of 23 clients."""


_MNIST = Size(
    network="mlp-784-32-10",
    n_public=200,
    n_train=3000,
    n_pool=1024,
    n_test=1024,
    n_drawn=256,
    n_rounds=6,
    steps=20,
    batch_size=32,
    learning_rate=5e-3,
)
SIZES: Mapping[Profile, Mapping[str, Size]] = {
    "quick": {"mnist": _MNIST},
    "full": {
        "mnist": replace(_MNIST, n_train=5000, n_test=4096, n_rounds=15),
        "cifar10": replace(
            _MNIST,
            network="lenet-small",
            n_public=1000,
            n_train=10_000,
            n_test=2048,
            n_drawn=128,
            n_rounds=10,
            learning_rate=2e-3,
        ),
    },
}
"""`full` takes data that have to be fetched."""


def list_runs(profile: Profile) -> list[tuple[Case, int]]:
    """All cases of a profile with their seeds, each once, in the order in which they run.

    Of `full` first what the reach asks for, under many seeds: a difference of one point is within
    chance under three. Then what has many malicious clients, or none, then the other shares; in
    each part seed by seed, so that an interrupted run has whole ones.
    """
    if profile == "quick":
        parts = [(list(_list_quick("mnist")), N_SEEDS)]
    else:
        rest = [*_list_full("mnist"), *_list_convolutions("cifar10")]
        core = [*_list_core("mnist"), *_list_core_of_convolutions("cifar10")]
        first = [case for case in rest if case.share in (0.0, MANY) or case.n_names]
        parts = [(core, CORE_SEEDS), (first, N_SEEDS), (rest, N_SEEDS)]
    return list(
        dict.fromkeys((case, seed) for cases, n in parts for seed in range(n) for case in cases)
    )


def is_possible(case: Case) -> bool:
    """A trimmed mean is of nobody where half of all are cut off at either end."""
    return case.rule != "trimmed-mean" or case.share < 0.5


def _list_quick(dataset: str) -> Iterator[Case]:
    for rule in ("fedavg", "median", "zkpot", "zkpot-training"):
        yield from _attack(dataset, rule, (*UNTARGETED, *TARGETED), (MANY, MOST))
    for rule in ("krum", "trimmed-mean", "zkpot-bounds"):
        yield from _attack(dataset, rule, (*UNTARGETED, *TARGETED), (MANY,))
    yield from _attack(dataset, UNPROVEN, ("backdoor",), (MANY, MOST))
    for rule in (*LEADER_WRITES, "zkpot"):
        yield from _attack(dataset, rule, ("colluding leader",), (MANY,), with_calm=False)
    for rule in ("zkpot", "zkpot-training"):
        yield from _attack(dataset, rule, FREE_RIDERS, (MANY,))
    yield from _multiply(dataset, "zkpot", SYBILS["quick"])


def _list_core(dataset: str) -> Iterator[Case]:
    """What says whether ours stay within a point of FedAvg, and what proven training leaves."""
    yield Case(dataset=dataset, rule="fedavg")
    for rule in PROVEN_RULES:
        yield from _attack(dataset, rule, UNTARGETED + MADE_UP, (MANY,), with_calm=False)
    for rule, attack in (
        ("fedavg", "backdoor"),
        (UNPROVEN, "backdoor"),
        ("zkpot-training", "model replacement"),
    ):
        yield Case(dataset=dataset, rule=rule, attack=attack, share=MANY)


def _list_core_of_convolutions(dataset: str) -> Iterator[Case]:
    yield Case(dataset=dataset, rule="fedavg")
    for rule in ("zkpot", "zkpot-bounds"):
        yield from _attack(dataset, rule, UNTARGETED, (MANY,), with_calm=False)


def _list_full(dataset: str) -> Iterator[Case]:
    rules = ("fedavg", "krum", "multi-krum", "trimmed-mean", "median", *PROVEN_RULES)
    for rule in (*rules, UNPROVEN):
        yield from filter(is_possible, _attack(dataset, rule, (*UNTARGETED, *TARGETED), SWEEP))
    for rule in rules:
        few = _attack(dataset, rule, ONLY_FULL, (MANY, MOST), with_calm=False)
        yield from filter(is_possible, few)
    for rule in (*LEADER_WRITES, *PROVEN_RULES):
        yield from _attack(dataset, rule, ("colluding leader",), (MANY,), with_calm=False)
    for rule in ("pofl", *PROVEN_RULES):
        yield from _attack(dataset, rule, FREE_RIDERS, (MANY,), with_calm=False)
    for rule in ("fedavg", *PROVEN_RULES):
        yield from _multiply(dataset, rule, SYBILS["full"])


def _list_convolutions(dataset: str) -> Iterator[Case]:
    """A run takes half a minute, and there are no proven steps of such networks."""
    for rule in ("fedavg", "krum", "median", "zkpot", "zkpot-bounds"):
        yield from _attack(dataset, rule, (*UNTARGETED, *TARGETED), (MANY, MOST))


def _attack(
    dataset: str,
    rule: str,
    attacks: tuple[str, ...],
    shares: tuple[float, ...],
    *,
    with_calm: bool = True,
) -> Iterator[Case]:
    """A rule without attackers, unless not wanted, then under attacks."""
    if with_calm:
        yield Case(dataset=dataset, rule=rule)
    for attack in attacks:
        for share in shares:
            yield Case(dataset=dataset, rule=rule, attack=attack, share=share)


def _multiply(dataset: str, rule: str, names: tuple[int, ...]) -> Iterator[Case]:
    """One person of all with a backdoor, under one name, then under several."""
    for n in (1, *names):
        yield Case(dataset=dataset, rule=rule, attack="backdoor", share=1 / N_CLIENTS, n_names=n)
