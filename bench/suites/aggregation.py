"""Suite `aggregation`: what secure aggregation costs one client and one node, over clients.

    client   milliseconds of one client's work in a round: deal, masked update, unmasking
    payload  KiB that it publishes beyond the masked update
    node     seconds of one node's: all payloads read and checked, the sum opened
    check    milliseconds of it in which the sum is checked against the commitments
    round    seconds of all together: the client's time for each client, and the node's

One client in ten drops out before its masked update. One client's work stands for the others': all
deals and unmaskings are real, but of the others' masked updates only the last makes the sum right,
and the rest are equal, so that a thousand of them take the memory of one. A node does the same with
either. All have the same model, each with a blinding of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import numpy as np

from bench.plot import plot_scaling
from bench.registry import BenchCase, Row, Suite, Task
from consensus.aggregation import deal, masked, unmasking
from consensus.aggregation.circle import Circle, form_circle
from consensus.aggregation.client_side import RoundClient, RoundSecrets
from consensus.aggregation.commitments import combine
from consensus.aggregation.deal import Deal
from consensus.aggregation.masked import Masked, weigh
from consensus.aggregation.masks import Masker, SignedSeed, expand
from consensus.aggregation.opening import Final, Opening, find_sums
from consensus.aggregation.outcome import Outcome
from consensus.aggregation.secrets import agree_pair_seed, derive_self_seed
from consensus.aggregation.unmasking import Unmasking
from kernels.array import FrArray, G1Array
from kernels.backend import get_backend
from kernels.bn254 import R
from kernels.numpy_types import Int64Array
from prover.pedersen.commitment import Committer

FULL, QUICK = (100, 300, 1000), (10,)
FULL_PARAMETERS, QUICK_PARAMETERS = 101_770, 1000  # of an mlp-784-128-10; few
WEIGHT = 900
GENESIS = bytes(32)
KIB = 1024


class Lab:
    """A round of n clients with all that its cost depends on. A tenth collude and as many drop."""

    def __init__(self, n_clients: int, n_parameters: int) -> None:
        self.n_clients, self.n_parameters = n_clients, n_parameters
        self.masker = Masker(get_backend("cpu"))
        self.committer = Committer(n_parameters, self.masker.backend)
        rng = self.rng = Random(n_clients)
        self.model: Int64Array = np.random.default_rng(1).integers(-127, 128, n_parameters)
        keys = sorted(rng.randbytes(32) for _ in range(n_clients))
        self.secrets = {
            key: RoundSecrets.draw(
                genesis_digest=GENESIS,
                learning_round=0,
                client_key=key,
                random_bytes=rng.randbytes,
            )
            for key in keys
        }
        self.rhos = {key: rng.randrange(R) for key in keys}
        self.accepted = frozenset(keys)
        self.masked = self.accepted - frozenset(keys[: n_clients // 10])
        self.first, self.last = min(self.masked), max(self.masked)

    @cached_property
    def circle(self) -> Circle:
        return form_circle(
            genesis_digest=GENESIS,
            learning_round=0,
            n_parameters=self.n_parameters,
            beacon=bytes(32),
            collusion=self.n_clients // 10,
            keys={key: secrets.public for key, secrets in self.secrets.items()},
        )

    def enter(self, key: bytes) -> RoundClient:
        """A client that keeps nothing, so that it can play the same round again."""
        secrets = self.secrets[key]
        return RoundClient(secrets, self.circle, masker=self.masker, save=lambda _: None)

    @cached_property
    def deals(self) -> dict[bytes, bytes]:
        return {key: self.enter(key).deal().encode() for key in sorted(self.accepted)}

    @cached_property
    def read_deals(self) -> dict[bytes, Deal]:
        return {key: Deal.parse(raw) for key, raw in self.deals.items()}

    @cached_property
    def unmaskings(self) -> dict[bytes, bytes]:
        sets = {"accepted": self.accepted, "masked": self.masked}
        found = {}
        for key in sorted(self.masked):
            secrets = self.secrets[key].derive()
            made = unmasking.make_unmasking(
                self.circle, key, secrets, **sets, deals=self.read_deals
            )
            found[key] = made.encode()
        return found

    @cached_property
    def commitments(self) -> dict[bytes, G1Array]:
        """D = Com(W; 0) + rho h_0."""
        shared = self.committer.commit(self.model, 0)
        zeros: Int64Array = np.zeros(self.n_parameters, dtype=np.int64)
        h_0 = self.committer.commit(zeros, 1)
        return {key: combine([shared, h_0], [1, self.rhos[key]]) for key in self.masked}

    @cached_property
    def total(self) -> FrArray:
        """sum c (W | rho)."""
        n_masked = len(self.masked)
        rho = sum(self.rhos[key] for key in self.masked)
        return weigh(n_masked * self.model, rho, WEIGHT)

    @cached_property
    def updates(self) -> tuple[bytes, bytes]:
        """What all but the last client send, and what the last one does."""
        n = self.circle.n_elements
        shared = FrArray.from_ints(range(n))
        seeds: list[SignedSeed] = []
        for key in sorted(self.masked):
            own = self.secrets[key].derive()
            seeds.append((1, derive_self_seed(own.self_secret, self.circle.place)))
            for other in self.circle.list_neighbours(key, self.accepted - self.masked):
                seed = agree_pair_seed(self.circle, key, own.mask_private, other)
                seeds.append((self.circle.graph.find_sign(key, other), seed))
        rest = self.masker.scale(shared, -(len(self.masked) - 1))
        last = self.masker.add(self.masker.add(self.total, rest), self._sum(seeds))
        return Masked(scalars=shared).encode(), Masked(scalars=last).encode()

    def _sum(self, seeds: Sequence[SignedSeed]) -> FrArray:
        return self.masker.sum_streams(seeds, self.circle.n_elements)

    # -- what is timed ---------------------------------------------------------------------------
    def run_client(self) -> tuple[Deal, Masked, Unmasking]:
        client = self.enter(self.first)
        made = client.deal()
        update = client.mask(
            self.model, rho=self.rhos[self.first], weight=WEIGHT, accepted=self.accepted
        )
        shares = client.unmask(accepted=self.accepted, masked=self.masked, deals=self.read_deals)
        return made, update, shares

    def run_node(self) -> Outcome:
        circle, sets = self.circle, {"accepted": self.accepted, "masked": self.masked}
        deals = {key: Deal.parse(raw) for key, raw in self.deals.items()}
        faults = [deal.find_fault(made, circle, key) for key, made in deals.items()]
        unmaskings = {key: Unmasking.parse(raw) for key, raw in self.unmaskings.items()}
        faults += [
            unmasking.find_fault(made, circle, key, **sets, deals=deals)
            for key, made in unmaskings.items()
        ]
        faults += [
            masked.find_fault(self.load_masked(key), circle, key, self.accepted)
            for key in self.masked
        ]
        if any(faults):
            raise ValueError(f"a payload has a fault: {next(filter(None, faults))}")
        final = Final(
            circle=circle,
            **sets,
            weights=dict.fromkeys(self.masked, WEIGHT),
            commitments=self.commitments,
            deals=deals,
            unmaskings=unmaskings,
            load_masked=self.load_masked,
        )
        return Opening(final, self.masker, self.committer).open_sum()

    def load_masked(self, key: bytes) -> Masked:
        shared, last = self.updates
        return Masked.parse(last if key == self.last else shared)

    def run_check(self) -> Int64Array | None:
        clients = sorted(self.masked)
        points, weights = [self.commitments[c] for c in clients], [WEIGHT] * len(clients)
        return find_sums(self.total, points, weights, self.committer)

    def measure_round(self) -> tuple[float, Outcome]:
        """Seconds of all clients, all as long as one, and of one node; and what that opened."""
        self.run_client()  # all inputs are there, all kernels compiled
        self.run_node()
        start = perf_counter()
        self.run_client()
        client_s = perf_counter() - start
        start = perf_counter()
        outcome = self.run_node()
        return len(self.masked) * client_s + perf_counter() - start, outcome

    # -- what is right ---------------------------------------------------------------------------
    def expect_sums(self) -> list[int]:
        return [len(self.masked) * WEIGHT * w for w in self.model.tolist()]

    def unmask(self, update: Masked) -> list[int]:
        """The first client's vector, its masks taken off one by one."""
        own, key, circle = self.secrets[self.first].derive(), self.first, self.circle
        streams = [(-1, derive_self_seed(own.self_secret, circle.place))]
        for other in circle.graph.list_neighbours(key):
            seed = agree_pair_seed(circle, key, own.mask_private, other)
            streams.append((-circle.graph.find_sign(key, other), seed))
        vector = update.scalars
        for sign, seed in streams:
            stream = expand(seed, circle.n_elements)
            vector = self.masker.add(vector, self.masker.scale(stream, sign))
        return vector.to_ints()

    def expect_vector(self) -> list[int]:
        c = WEIGHT
        rho = self.rhos[self.first]
        return [*(c * w % R for w in self.model.tolist()), c * rho % R]


@cache
def make_lab(n_clients: int, n_parameters: int) -> Lab:
    return Lab(n_clients, n_parameters)


def count_kib(payloads: tuple[Deal, Masked, Unmasking]) -> float:
    made, _, shares = payloads
    return (len(made.encode()) + len(shares.encode())) / KIB


def read_sums(outcome: Outcome) -> object:
    return None if outcome.sums is None else outcome.sums.tolist()


def _list_cases(n_clients: int, n_parameters: int) -> list[BenchCase]:
    def lab() -> Lab:
        return make_lab(n_clients, n_parameters)

    def ready() -> Lab:
        """With all inputs made, which is not timed."""
        made = lab()
        _ = made.unmaskings, made.updates, made.commitments
        return made

    def case(
        name: str,
        unit: str,
        make: Callable[[], Task[Any]],
        expect: Callable[[], object],
        n_max: int = 5,
    ) -> BenchCase:
        return BenchCase(
            id=f"aggregation.{name}.c{n_clients}",
            params={
                "clients": n_clients,
                "parameters": n_parameters,
                "dropouts": n_clients // 10,
                "collusion": n_clients // 10,
            },
            unit=unit,
            make=make,
            expect=expect,
            n_max=n_max,
        )

    def make_client(reading: Callable[[Any], float] | None = None) -> Task[Any]:
        made = ready()
        return Task(run=made.run_client, answer=lambda sent: made.unmask(sent[1]), reading=reading)

    def make_round() -> Task[Any]:
        return Task(
            run=ready().measure_round,
            answer=lambda found: read_sums(found[1]),
            reading=lambda found: float(found[0]),
        )

    def make_check() -> Task[Any]:
        return Task(run=ready().run_check, answer=lambda sums: sums.tolist())

    return [
        case("client", "ms", make_client, lambda: lab().expect_vector()),
        case("payload", "KiB", lambda: make_client(count_kib), lambda: lab().expect_vector(), 1),
        case(
            "node",
            "s",
            lambda: Task(run=ready().run_node, answer=read_sums),
            lambda: lab().expect_sums(),
            3,
        ),
        case("check", "ms", make_check, lambda: lab().expect_sums(), 9),
        case("round", "s", make_round, lambda: lab().expect_sums(), 1),
    ]


def _draw(rows: Sequence[Row], out: Path) -> list[Path]:
    series = {
        "aggregation.client.": "one client",
        "aggregation.node.": "one node",
        "aggregation.round.": "all together",
    }
    path = out / "aggregation-growth.png"
    title = "Secure aggregation of a model of 101,770 parameters"
    return [plot_scaling(rows, series, path, title=title, over="clients", axis="clients")]


def build_suite(*, quick: bool) -> Suite:
    sizes, n = (QUICK, QUICK_PARAMETERS) if quick else (FULL, FULL_PARAMETERS)
    return Suite(
        cases=[case for n_clients in sizes for case in _list_cases(n_clients, n)],
        draw=None if quick else _draw,
    )
