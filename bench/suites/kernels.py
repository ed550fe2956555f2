"""Suite `kernels`: BN254 on the CPU against peers that do the same work in the same run.

Our rows use the lanes and threads that the CPU backend chooses (they stand in `params`), except
where the id names lanes or says `x1core`. Peers run on one thread: none offers more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from bench import inputs as known
from bench import isolated, pedersen
from bench.errors import Unavailable
from bench.peers.interface import PEERS, Peer, load_peer
from bench.plot import plot_scaling
from bench.registry import BenchCase, Row, Suite, Task
from kernels.array import FrArray, G1Array, G2Array
from kernels.backend import Backend
from kernels.errors import BackendUnavailable

LANES = ("ifma", "avx2", "scalar")
PAIRINGS = 4
FIXED_TABLE_BYTES = 2 << 30
Maker = Callable[[], Task[Any]]
PeerWork = Callable[[Peer], Task[Any]]


class Sizes(NamedTuple):
    """lg_n of each kind of row, and wires of a commitment."""

    msm_g1: tuple[int, ...]
    msm_main: int
    msm_g2: int
    ntt: tuple[int, ...]
    ntt_main: int
    memory: int
    scaling: tuple[int, ...]
    wires: int


FULL = Sizes(
    msm_g1=(8, 16, 18, 20),
    msm_main=18,
    msm_g2=16,
    ntt=(16, 18, 20),
    ntt_main=20,
    memory=20,
    scaling=tuple(range(10, 23)),
    wires=101_770,  # an mlp-784-128-10
)
QUICK = Sizes(
    msm_g1=(8, 12, 14),
    msm_main=14,
    msm_g2=10,
    ntt=(12, 14),
    ntt_main=14,
    memory=14,
    scaling=(10, 12, 14),
    wires=5_000,
)


@dataclass(slots=True, frozen=True)
class Engine:
    """The CPU backend with given lanes and threads (None: its own choice), made when first used."""

    lanes: str | None = None
    threads: int | None = None

    def backend(self) -> Backend:
        """Raises Unavailable when this machine has no such lanes."""
        from kernels.cpu.backend import CpuBackend

        chosen: dict[str, Any] = {}
        if self.lanes is not None:
            chosen["lanes"] = self.lanes
        if self.threads is not None:
            chosen["threads"] = self.threads
        try:
            backend: Backend = CpuBackend(**chosen)
        except BackendUnavailable as why:
            raise Unavailable(str(why)) from why
        return backend

    def params(self) -> dict[str, int | str]:
        """What it uses, for the row."""
        try:
            info = self.backend().info()
        except Unavailable:
            return {"lanes": self.lanes or "none"}
        return {"lanes": info.lanes, "threads": info.n_threads}


class Builder:
    """Makes the cases; inputs and peers are built when first needed and shared."""

    def __init__(self, sizes: Sizes, engine_type: type[Engine] = Engine) -> None:
        self.sizes = sizes
        self.engine_type = engine_type
        self.engine = engine_type()
        self.scalar_engine = engine_type(lanes="scalar")

    @cached_property
    def inputs(self) -> known.Inputs:
        return known.Inputs(self.engine.backend())

    def peers(self, work: PeerWork) -> Mapping[str, Maker]:
        return {name: partial(_peer_task, name, work) for name in PEERS}

    def cases(self) -> list[BenchCase]:
        """Every case, in the order of the table."""
        return [
            *self.probes(),
            *self.msms(),
            *self.ntts(),
            self.pairings(),
            *pedersen.list_cases(self.sizes.wires, self.engine.backend, self.engine.params()),
            self.memory(),
            *self.starts(),
            *self.scaling(),
        ]

    # -- field and buckets -----------------------------------------------------------------------
    def probe(self, what: str, lanes: str, function: str, *arguments: str) -> BenchCase:
        """A cost measured inside a kernel, by `kernels.cpu.probe`; the lanes' MSM is the check."""
        engine = self.engine_type(lanes=lanes, threads=1)
        scalars = known.random_scalars(1 << 10)

        def make() -> Task[Any]:
            from kernels.cpu import probe

            backend = engine.backend()
            check = backend.msm_g1(scalars, self.inputs.bases_g1(len(scalars))).to_ints()[0]
            cost_ns = partial(getattr(probe, function), lanes, *arguments)
            return Task(run=cost_ns, answer=lambda _: check, reading=float)

        return BenchCase(
            id=f"kernels.{what}.{lanes}",
            params={"lanes": lanes, "threads": 1},
            unit="ns",
            make=make,
            expect=partial(known.expect_msm_g1, scalars),
        )

    def probes(self) -> list[BenchCase]:
        return [
            *(self.probe("field_product", lanes, "field_product_ns") for lanes in LANES),
            *(
                self.probe(f"bucket_addition.{group}", lanes, "bucket_addition_ns", group)
                for group in ("g1", "g2")
                for lanes in LANES
            ),
        ]

    # -- multi-exponentiation --------------------------------------------------------------------
    def msm_g1(
        self,
        suffix: str,
        scalars: Callable[[int], FrArray],
        lg_n: int,
        *,
        engine: Engine | None = None,
        fixed: bool = False,
    ) -> BenchCase:
        engine = engine or self.engine
        n = 1 << lg_n

        def make() -> Task[Any]:
            backend, values = engine.backend(), scalars(n)
            bases: Any = self.inputs.bases_g1(n)
            if fixed:
                bases = backend.fix_g1(bases, max_bytes=FIXED_TABLE_BYTES)
            return Task(run=lambda: backend.msm_g1(values, bases), answer=_point)

        return BenchCase(
            id=f"kernels.msm_g1.{suffix}",
            params={"lg_n": lg_n, **engine.params()},
            unit="s",
            make=make,
            expect=lambda: known.expect_msm_g1(scalars(n)),
            peers=self.peers(lambda p: p.msm_g1(scalars(n), self.inputs.bases_g1(n))),
        )

    def msm_g2(self, lg_n: int) -> BenchCase:
        n = 1 << lg_n

        def make() -> Task[Any]:
            backend, values = self.engine.backend(), known.random_scalars(n)
            bases = self.inputs.bases_g2(n)
            return Task(run=lambda: backend.msm_g2(values, bases), answer=_point)

        return BenchCase(
            id=f"kernels.msm_g2.full.lg{lg_n}",
            params={"lg_n": lg_n, **self.engine.params()},
            unit="s",
            make=make,
            expect=lambda: known.expect_msm_g2(known.random_scalars(n)),
            peers=self.peers(lambda p: p.msm_g2(known.random_scalars(n), self.inputs.bases_g2(n))),
        )

    def msms(self) -> list[BenchCase]:
        full, main = known.random_scalars, self.sizes.msm_main
        return [
            *(self.msm_g1(f"full.lg{lg_n}", full, lg_n) for lg_n in self.sizes.msm_g1),
            self.msm_g1(f"witness.lg{main}", known.witness_scalars, main),
            self.msm_g1(f"fixed.lg{main}", full, main, fixed=True),
            self.msm_g1(f"full.lg{main}.scalar", full, main, engine=self.scalar_engine),
            self.msm_g2(self.sizes.msm_g2),
        ]

    # -- transforms and pairings -----------------------------------------------------------------
    def ntt(self, suffix: str, lg_n: int, *, engine: Engine | None = None) -> BenchCase:
        engine = engine or self.engine

        def make() -> Task[Any]:
            backend, values = engine.backend(), self.inputs.sequence(1 << lg_n)
            return Task(
                run=lambda: backend.ntt(values),
                answer=lambda out: known.digest_mont(out, backend),
            )

        return BenchCase(
            id=f"kernels.ntt.{suffix}",
            params={"lg_n": lg_n, **engine.params()},
            unit="s",
            make=make,
            expect=partial(known.expect_ntt, lg_n),
            peers=self.peers(lambda p: p.ntt(self.inputs.sequence(1 << lg_n))),
        )

    def ntts(self) -> list[BenchCase]:
        main = self.sizes.ntt_main
        return [
            *(self.ntt(f"lg{lg_n}", lg_n) for lg_n in self.sizes.ntt),
            self.ntt(f"lg{main}.scalar", main, engine=self.scalar_engine),
        ]

    def pairings(self) -> BenchCase:
        def make() -> Task[Any]:
            from kernels.pairing import pairing_product_is_one

            g1, g2 = known.pairing_points(PAIRINGS)
            tampered = known.double_first(g1)
            return Task(
                run=lambda: pairing_product_is_one(g1, g2),
                answer=lambda verdict: (verdict, pairing_product_is_one(tampered, g2)),
            )

        return BenchCase(
            id=f"kernels.pairing_product.x{PAIRINGS}.x1core",
            params={"pairings": PAIRINGS, "threads": 1},
            unit="ms",
            make=make,
            expect=lambda: (True, False),
            peers=self.peers(lambda p: p.pairing_check(*known.pairing_points(PAIRINGS))),
        )

    # -- whole processes -------------------------------------------------------------------------
    def memory(self) -> BenchCase:
        lg_n = self.sizes.memory
        return BenchCase(
            id=f"kernels.memory.msm_g1.lg{lg_n}",
            params={"lg_n": lg_n, **self.engine.params()},
            unit="MiB",
            make=partial(isolated.memory_task, lg_n),
            expect=partial(isolated.expect_memory, lg_n),
            n_max=1,
        )

    def starts(self) -> list[BenchCase]:
        """A process that uses each kernel once: from an empty cache, then from a full one."""
        tasks = [("cold", isolated.cold_start_task, 1), ("warm", isolated.warm_start_task, 5)]
        return [
            BenchCase(
                id=f"kernels.start.{name}",
                params={"work": "import, then each kernel once", **self.engine.params()},
                unit="s",
                make=make,
                expect=isolated.expect_start,
                n_max=n_max,
            )
            for name, make, n_max in tasks
        ]

    # -- cost per unit of work -------------------------------------------------------------------
    def scaling(self) -> list[BenchCase]:
        cases = []
        for lg_n in self.sizes.scaling:
            n = 1 << lg_n
            msm = self.msm_g1(f"full.lg{lg_n}", known.random_scalars, lg_n)
            cases.append(_per_unit(msm, f"kernels.scaling.msm_g1.lg{lg_n}", "ns/point", n))
            ntt = self.ntt(f"lg{lg_n}", lg_n)
            butterflies = n // 2 * lg_n
            cases.append(
                _per_unit(ntt, f"kernels.scaling.ntt.lg{lg_n}", "ns/butterfly", butterflies)
            )
        return cases


def build_suite(*, quick: bool) -> Suite:
    """All cases of the suite; `quick` at sizes that take a minute, with the same checks."""
    build = Builder(QUICK if quick else FULL)
    return Suite(cases=build.cases(), draw=draw)


def draw(rows: Sequence[Row], out: Path) -> Sequence[Path]:
    """Cost per point and per butterfly over the size."""
    series = {
        "kernels.scaling.msm_g1.": "MSM in G1, full-width scalars",
        "kernels.scaling.ntt.": "NTT",
    }
    return [plot_scaling(rows, series, out / "kernels-scaling.png", title="Cost per unit of work")]


def _per_unit(case: BenchCase, case_id: str, unit: str, per: int) -> BenchCase:
    return BenchCase(
        id=case_id,
        params=case.params,
        unit=unit,
        make=case.make,
        expect=case.expect,
        per=per,
        n_max=5,
    )


def _peer_task(name: str, work: PeerWork) -> Task[Any]:
    return work(load_peer(name))


def _point(total: G1Array | G2Array) -> object:
    return total.to_ints()[0]
