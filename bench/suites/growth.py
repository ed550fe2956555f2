"""Suite `growth`: a learning round of ever more clients on four `zkpot node` processes.

    round     seconds that the nodes take: in each phase from the first transaction sent until the
              phase ends, as a light client sees it; what the clients do before is not counted
    cpu       milliseconds of a node's processor per transaction, the mean of the four, meanwhile
    entries   what the nodes said in all streams, per transaction

One run gives all three. The circuit is tiny, so that it is the chain that is measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bench.chains import ChainLab
from bench.registry import BenchCase, Suite, Task
from bench.scratch import Scratch
from bench.suites.consensus import (
    Network,
    await_vote,
    follow_to,
    running,
    tiny_prover,
)
from consensus.learning.chain_state import Phase
from consensus.node.stream import FINAL, STREAMS, VOTES, Incoming, Transport
from consensus.node.watch import Watch
from federated.experiments.chains.dealt import N_VALIDATORS

FULL, QUICK = (100, 300, 1000), (4,)
_SENDING = (Phase.REGISTER, Phase.COMMIT, Phase.PROVE, Phase.MASK, Phase.UNMASK)
_FOLLOWING = (Phase.COMMIT, Phase.PROVE, Phase.MASK, Phase.UNMASK, Phase.DONE)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Growth:
    """What a round of some clients took."""

    n_clients: int
    n_unmasked: int = 0
    round_s: float = 0.0
    cpu_s: float = 0.0
    n_entries: int = 0
    phases_s: dict[str, float] = field(default_factory=dict)

    @property
    def n_transactions(self) -> int:
        return len(_SENDING) * self.n_clients

    @property
    def cpu_ms(self) -> float:
        """Processor milliseconds of one node and transaction."""
        return 1000 * self.cpu_s / N_VALIDATORS / self.n_transactions

    @property
    def entries(self) -> float:
        return self.n_entries / self.n_transactions


class Counting(Transport):
    """Counts what is in the streams, said once or again."""

    n_entries = 0

    def _is_new(self, stream: str, raw: bytes) -> bool:
        return True

    def read(self, block_ms: int) -> list[Incoming]:
        found = super().read(block_ms)
        self.n_entries += len(found)
        return found


def read_cpu_s(network: Network) -> float:
    """Processor seconds of all nodes so far."""
    return sum(map(_read_process_cpu_s, network.list_pids()))


def _read_process_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


@cache
def play_round(n_clients: int) -> Growth:
    """One round, from nothing."""
    scratch = Scratch()
    lab = ChainLab(scratch.file("chain"), tiny_prover(), n_clients=n_clients, n_rounds=1)
    found = Growth(n_clients)
    with running(lab, scratch) as (network, redis):
        watch = Watch(lab.genesis, Transport(redis, lab.genesis.digest, (FINAL,)))
        votes = Transport(redis, lab.genesis.digest, (VOTES,))
        for validator in range(N_VALIDATORS):
            await_vote(votes, validator)  # its process has started
        counter = Counting(redis, lab.genesis.digest, STREAMS)
        for phase, following in zip(_SENDING, _FOLLOWING, strict=True):
            follow_to(watch, phase)
            due = lab.list_due(watch.state)
            count(counter)  # what is said while clients train is not theirs
            n_before, cpu_before, begin = counter.n_entries, read_cpu_s(network), time.monotonic()
            for tx in due:
                watch.send(tx)
            follow_to(watch, following)
            found.phases_s[phase] = time.monotonic() - begin
            found.cpu_s += read_cpu_s(network) - cpu_before
            count(counter)
            found.n_entries += counter.n_entries - n_before
            if phase is Phase.UNMASK:
                found.n_unmasked = len(watch.state.unmasked)
    found.round_s = sum(found.phases_s.values())
    return found


def count(counter: Counting) -> None:
    while counter.read(1):
        pass


def _make_case(
    name: str, unit: str, n_clients: int, reading: Callable[[Growth], float]
) -> BenchCase:
    return BenchCase(
        id=f"growth.{name}.c{n_clients}",
        params={"circuit": "6-4-3, 16 samples", "nodes": N_VALIDATORS, "clients": n_clients},
        unit=unit,
        make=lambda: Task(
            run=lambda: play_round(n_clients),
            answer=lambda found: found.n_unmasked,
            reading=reading,
        ),
        expect=lambda: n_clients,
        n_max=1,
    )


def build_suite(*, quick: bool) -> Suite:
    cases = []
    for n in QUICK if quick else FULL:
        cases += [
            _make_case("round", "s", n, lambda found: found.round_s),
            _make_case("cpu", "ms/transaction", n, lambda found: found.cpu_ms),
            _make_case("entries", "entries/transaction", n, lambda found: found.entries),
        ]
    return Suite(cases=cases)
