"""Which cases a profile runs, and under which conditions.

Without attackers PoW, PoS and PoFL have FedAvg's model, and under attacks, too, until an attacker
leads: they run where leaders do harm, and where claims lead. Under proven training every attack on
models is one on data, so those that have the same samples are run once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from federated.experiments.byzantine.results import Case
from federated.experiments.kinds import Profile
from federated.experiments.simulation.batches import LocalTraining
from federated.experiments.simulation.tasks import TaskPlan

N_SEEDS = 3
N_CLIENTS = 10
PARTITION = "dirichlet-0.5"
TRAINING = LocalTraining(steps=20, batch_size=32, learning_rate=5e-3)

VERIFIED = ("zkpot", "zkpot-bounds", "zkpot-training")
UNPROVEN = "fedavg-exact"
"""FedAvg of clients that train by the steps of proven training, and prove nothing."""
LEADER_WRITES = ("pow", "pos", "pofl")
UNTARGETED = ("label flip", "sign flip")
TARGETED = ("backdoor", "model replacement")
ONLY_FULL = ("gaussian model", "zero model", "clean-label backdoor", "targeted flip")
FREE_RIDERS = ("returned model", "copied model")
MANY = 0.3
MOST = 0.6
SWEEP = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
SYBILS = {"quick": (4, 14), "full": (2, 4, 6, 9, 14)}
"""How many names one of 10 persons takes, beside 1: 14 are 14 of 23 clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What all cases of a data set have in common.

    n_drawn : samples of a proof in each round, drawn of `n_pool`
    """

    network: str
    n_public: int
    n_train: int
    n_pool: int
    n_test: int
    n_rounds: int
    n_drawn: int

    @property
    def parameters(self) -> dict[str, str | int]:
        """All of them by name, for cells."""
        return asdict(self)

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Conditions:
        """Inverse of `parameters`, from among others."""
        return cls(**{field.name: parameters[field.name] for field in fields(cls)})

    def plan(self, dataset: str, *, n_malicious: int) -> TaskPlan:
        return TaskPlan(
            dataset=dataset,
            network=self.network,
            partition=PARTITION,
            n_clients=N_CLIENTS,
            n_malicious=n_malicious,
            n_public=self.n_public,
            n_train=self.n_train,
            n_pool=self.n_pool,
            n_test=self.n_test,
        )


_MNIST = Conditions(
    network="mlp-784-32-10",
    n_public=200,
    n_train=3000,
    n_pool=1024,
    n_test=1024,
    n_rounds=6,
    n_drawn=256,
)
CONDITIONS: dict[Profile, dict[str, Conditions]] = {
    "quick": {"mnist": _MNIST},
    "full": {
        "mnist": replace(_MNIST, n_train=5000, n_rounds=15),
        "cifar10": Conditions(
            network="lenet-small",
            n_public=500,
            n_train=10_000,
            n_pool=2048,
            n_test=2048,
            n_rounds=15,
            n_drawn=256,
        ),
    },
}
"""By profile and data set."""


def list_cases(profile: Profile) -> list[Case]:
    """All cases of a profile, each once."""
    if profile == "quick":
        return list(dict.fromkeys(_list_quick("mnist")))
    return list(dict.fromkeys([*_list_full("mnist"), *_list_convolutions("cifar10")]))


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


def _list_full(dataset: str) -> Iterator[Case]:
    attacks = (*UNTARGETED, *TARGETED, *ONLY_FULL)
    rules = ("fedavg", "krum", "multi-krum", "trimmed-mean", "median", *VERIFIED, UNPROVEN)
    for rule in rules:
        yield from filter(is_possible, _attack(dataset, rule, attacks, SWEEP))
    for rule in (*LEADER_WRITES, *VERIFIED):
        yield from _attack(dataset, rule, ("colluding leader",), (MANY,), with_calm=False)
    for rule in ("pofl", *VERIFIED):
        yield from _attack(dataset, rule, FREE_RIDERS, (MANY,), with_calm=False)
    for rule in ("fedavg", *VERIFIED):
        yield from _multiply(dataset, rule, SYBILS["full"])


def _list_convolutions(dataset: str) -> Iterator[Case]:
    """A run takes a minute or two, and there are no proven steps of such networks."""
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
