"""Suite `cnn`: networks whose proofs others have measured, ours and theirs in one table.

Each network has a child process for its key and one for its proofs, so that memory is one
process's; `bench.nets.drawn` says what they do. Peers prove the same network in the same run, in
processes of their own: ezkl one sample, jstprove one sample with maxima in place of averages. The
suite draws `cnn.md`: rows, peers and what is published, each with its conditions, and who is ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench.errors import Unavailable
from bench.isolated import run_child
from bench.nets.drawn import NetworkBench
from bench.nets.published import MLP
from bench.nets.table import write_table
from bench.peers import ezkl, jstprove
from bench.peers.children import GIB
from bench.proving import KEYS, PROVEN
from bench.registry import BenchCase, Row, Suite, Task
from bench.suites.kernels import Engine
from prover.model.presets import parse_architecture

Measured = dict[str, Any]
Measure = Callable[[], Measured]
CHILD_LIMIT_S = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """A network by its name, and how many samples a circuit of ours has.

    peers : name -> bytes of memory that the peer takes here
    """

    name: str
    samples: int
    peers: dict[str, int]


# LeNets: as many samples as 2^20 rows hold
FULL = (
    Net(name=MLP, samples=64, peers={}),
    Net(name="lenet5", samples=44, peers={"ezkl": 12 * GIB, "jstprove": 4 * GIB}),
    Net(name="lenet-small", samples=42, peers={}),
    Net(name="resnet20", samples=1, peers={}),
)
QUICK = (
    Net(name="mlp-196-32-10", samples=8, peers={}),
    Net(name="lenet5", samples=2, peers={}),
)


class Figure(NamedTuple):
    """A row of every network: what is read from which child, and from a peer's findings."""

    name: str
    unit: str
    step: str
    read: Callable[[Measured, int], float]
    read_peer: Callable[[Measured], float] | None = None


FIGURES = (
    Figure("rows", "rows", "setup", lambda found, n: found["n_rows"]),
    Figure("compile", "s", "setup", lambda found, n: found["compile_s"]),
    Figure("setup", "s", "setup", lambda found, n: found["setup_s"], lambda peer: peer["setup_s"]),
    Figure("setup_memory", "MiB", "setup", lambda found, n: found["peak_mib"]),
    Figure(
        "key",
        "MiB",
        "setup",
        lambda found, n: found["key_bytes"] / (1 << 20),
        lambda peer: peer["key_bytes"] / (1 << 20),
    ),
    Figure("prove", "s", "prove", lambda found, n: median(found["prove_s"])),
    Figure(
        "prove_per_sample",
        "s/sample",
        "prove",
        lambda found, n: median(found["prove_s"]) / n,
        lambda peer: peer["seconds"],
    ),
    Figure(
        "memory",
        "MiB",
        "prove",
        lambda found, n: found["peak_mib"],
        lambda peer: peer["peak_mib"],
    ),
    Figure(
        "verify",
        "ms",
        "prove",
        lambda found, n: found["verify_ms"],
        lambda peer: 1e3 * peer["verify_s"],
    ),
    Figure(
        "proof_bytes",
        "B",
        "prove",
        lambda found, n: found["proof_bytes"],
        lambda peer: peer["proof_bytes"],
    ),
)


class Builder:
    """Makes the cases; each child runs once, for all rows that read it.

    suite : the first word of ids
    """

    def __init__(
        self,
        nets: Sequence[Net],
        keys: Path = KEYS,
        run: Callable[..., Measured] = run_child,
        *,
        suite: str = "cnn",
    ) -> None:
        self.nets, self._keys, self._run, self._suite = nets, keys, run, suite

    def cases(self) -> list[BenchCase]:
        """Every case, network by network."""
        return [case for net in self.nets for case in self._net(net)]

    def _net(self, net: Net) -> list[BenchCase]:
        steps = {step: self._remember(net, step) for step in ("setup", "prove")}
        peers = {
            peer: _remember_failure(partial(MEASURE_PEER[peer], self._bench(net), n_bytes))
            for peer, n_bytes in net.peers.items()
        }
        return [self._case(net, figure, steps, peers) for figure in FIGURES]

    def _bench(self, net: Net) -> NetworkBench:
        return NetworkBench(net.name, net.samples, self._keys)

    def _remember(self, net: Net, step: str) -> Measure:
        return _remember_failure(
            lambda: self._run(
                step,
                net.name,
                str(net.samples),
                str(self._keys),
                module="bench.nets.drawn",
                limit_s=CHILD_LIMIT_S,
            )
        )

    def _case(
        self, net: Net, figure: Figure, steps: dict[str, Measure], peers: dict[str, Measure]
    ) -> BenchCase:
        def own() -> Task[Measured]:
            return Task(
                run=steps[figure.step],
                answer=lambda found: found["answers"],
                reading=lambda found: float(figure.read(found, net.samples)),
            )

        def of_peer(measure: Measure, read: Callable[[Measured], float]) -> Task[Measured]:
            found = measure()
            return Task(
                run=lambda: found,
                answer=lambda found: found["answers"] if is_proof else [found["answers"] == PROVEN],
                reading=lambda found: float(read(found)),
            )

        read_peer = figure.read_peer
        is_proof = figure.step == "prove"
        return BenchCase(
            id=f"{self._suite}.{figure.name}.{net.name}.n{net.samples}",
            params={
                "model": net.name,
                "samples": net.samples,
                "parameters": parse_architecture(net.name).n_parameters,
                "figure": figure.name,
                **Engine().params(),
            },
            unit=figure.unit,
            make=own,
            expect=lambda: PROVEN if is_proof else [True],
            peers={
                name: partial(of_peer, measure, read_peer)
                for name, measure in peers.items()
                if read_peer is not None
            },
            n_max=1,
        )


MEASURE_PEER: dict[str, Callable[[NetworkBench, int], Measured]] = {
    "ezkl": lambda bench, n_bytes: ezkl.measure(bench, 1, n_bytes),
    "jstprove": jstprove.measure,
}


def _remember_failure(measure: Measure) -> Measure:
    """Measures once; what cannot run here is not tried again for another row."""

    @cache
    def once() -> Measured | Unavailable:
        try:
            return measure()
        except Unavailable as why:
            return why

    def found() -> Measured:
        result = once()
        if isinstance(result, Unavailable):
            raise result
        return result

    return found


def build_suite(*, quick: bool) -> Suite:
    """All networks of the suite; `quick`: a small one, without peers."""
    return Suite(cases=Builder(QUICK if quick else FULL).cases(), draw=_draw)


def _draw(rows: Sequence[Row], out: Path) -> Sequence[Path]:
    return [write_table(rows, out / "cnn.md")]
