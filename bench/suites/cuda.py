"""Suite `cuda`: one GPU, from its multipliers to whole proofs. Without one, no case is measured.

Right answers come from the CPU: multiples of one point, the closed form of a transform, verifiers.
Rows named `resident` leave their inputs and results on the device; the others start and end in the
host's memory, and `copy` says what the way costs. Tables are warm; keys and bases are prepared with
as many multiples as the device has room for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from bench import inputs as known
from bench.baseline import BASELINES, save_baseline
from bench.errors import Unavailable
from bench.proving import KEYS, PROVEN
from bench.registry import BenchCase, Row, Suite, Task
from bench.suites import proof
from kernels.array import U64, FrArray, FrMont, G1Array, G2Array
from kernels.backend import Backend, get_backend
from kernels.bn254 import R, root_of_unity
from kernels.cuda.backend import CudaBackend
from kernels.cuda.launch import rate
from kernels.cuda.launch.rate import Rate
from kernels.cuda.ntt import Ntt
from kernels.errors import BackendUnavailable

MSM_TABLE_BYTES = 16 << 30
QUERY_TABLE_BYTES = 4 << 30  # of each query of a proving key


class Work(NamedTuple):
    """Something a rate is measured of; `expect` is what `_of_every_processor` has to find."""

    measure: Callable[[CudaBackend], Rate]
    expect: Callable[[], tuple[str, bool]]


class Sizes(NamedTuple):
    """lg_n of each kind of row; samples of a proof and of the large set; steps of the rates."""

    msm_g1: tuple[int, ...]
    msm_witness: int
    msm_g2: int
    ntt: tuple[int, ...]
    copy: int
    samples: int
    large: int
    dense: int
    add_steps: int
    product_steps: int


FULL = Sizes(
    msm_g1=(20, 22, 24),
    msm_witness=22,
    msm_g2=20,
    ntt=(20, 22, 24),
    copy=22,
    samples=1024,
    large=10_000,
    dense=22,
    add_steps=rate.MULTIPLY_ADD_STEPS,
    product_steps=rate.PRODUCT_STEPS,
)
QUICK = FULL._replace(
    msm_g1=(12, 14, 16),
    msm_witness=14,
    msm_g2=12,
    ntt=(12, 14, 16),
    copy=14,
    samples=32,
    large=96,
    dense=12,
)


@dataclass(frozen=True, slots=True)
class Engine:
    """The device under measurement."""

    def backend(self) -> CudaBackend:
        """Raises Unavailable where there is none."""
        try:
            backend = get_backend("cuda")
        except BackendUnavailable as why:
            raise Unavailable(f"no CUDA device: {why}") from why
        assert isinstance(backend, CudaBackend)
        return backend

    def name(self) -> str | None:
        """The device's own name; None where there is none."""
        try:
            return self.backend().device.name
        except Unavailable:
            return None


class Builder:
    """Makes the cases; inputs and keys are made when first needed and shared."""

    def __init__(self, sizes: Sizes, engine: Engine | None = None, keys: Path = KEYS) -> None:
        self.sizes, self.engine = sizes, engine or Engine()
        parts = proof.Sizes(sizes.samples, sizes.large, sizes.dense, (), with_peers=False)
        self.proofs = proof.Builder(
            parts, keys, make_backend=self.engine.backend, max_bytes=QUERY_TABLE_BYTES
        )
        self.device_name = self.engine.name() or "none"

    @cached_property
    def cpu(self) -> Backend:
        return get_backend("cpu")

    @cached_property
    def inputs(self) -> known.Inputs:
        return known.Inputs(self.cpu)

    def cases(self) -> list[BenchCase]:
        """Every case, in the order of the table."""
        return [*self.rates(), *self.copies(), *self.msms(), *self.ntts(), *self.proving()]

    def case(
        self,
        suffix: str,
        unit: str,
        make: Callable[[CudaBackend], Task[Any]],
        expect: Callable[[], object],
        *,
        n_max: int = 9,
        **params: int | str,
    ) -> BenchCase:
        return BenchCase(
            id=f"cuda.{suffix}",
            params={**params, "device": self.device_name},
            unit=unit,
            make=lambda: make(self.engine.backend()),
            expect=expect,
            n_max=n_max,
        )

    # -- multipliers and copies --------------------------------------------------------------------
    def rate(
        self, suffix: str, unit: str, works: Sequence[Work], value: Callable[..., float]
    ) -> BenchCase:
        """A value of rates that are measured one after the other."""
        return self.case(
            suffix,
            unit,
            lambda backend: _rate_task([partial(w.measure, backend) for w in works], value),
            lambda: [w.expect() for w in works],
        )

    def rates(self) -> list[BenchCase]:
        add_steps, product_steps = self.sizes.add_steps, self.sizes.product_steps
        add = Work(
            lambda backend: rate.measure_multiply_adds(backend.device, add_steps),
            partial(_expect_adds, add_steps),
        )
        multiply = Work(
            lambda backend: rate.measure_products(backend.device, product_steps),
            partial(_expect_products, product_steps),
        )

        def per_processor(r: Rate) -> float:
            return r.per_second / r.n_processors / 1e9

        def share(products: Rate, adds: Rate) -> float:
            return 100 * products.per_cycle * rate.WIDE_PER_PRODUCT / adds.per_cycle

        return [
            self.rate("multiply_add.per_cycle", "per cycle", [add], lambda r: r.per_cycle),
            self.rate("multiply_add.processor", "G/s", [add], per_processor),
            self.rate("multiply_add.device", "G/s", [add], lambda r: r.per_second / 1e9),
            self.rate("clock", "MHz", [add], lambda r: r.cycles / r.seconds / 1e6),
            self.rate("product.device", "G/s", [multiply], lambda r: r.per_second / 1e9),
            self.rate("product.share_of_bound", "%", [multiply, add], share),
        ]

    def copies(self) -> list[BenchCase]:
        """Scalars to the device and back."""
        lg_n = self.sizes.copy
        host = cache(lambda: known.random_scalars(1 << lg_n).data)

        def there(backend: CudaBackend) -> Task[Any]:
            device, words = backend.device, host()

            def run() -> tuple[Any, float]:
                start = perf_counter()
                copied = device.asarray(words)
                device.synchronize()
                return copied, perf_counter() - start

            run()
            return Task(
                run=run,
                answer=lambda r: _digest(device.to_host(r[0])),
                reading=lambda r: words.nbytes / r[1] / 1e9,
            )

        def back(backend: CudaBackend) -> Task[Any]:
            device, words = backend.device, host()
            copied = device.asarray(words)

            def run() -> tuple[U64, float]:
                start = perf_counter()
                found = device.to_host(copied)
                return found, perf_counter() - start

            run()
            return Task(
                run=run,
                answer=lambda r: _digest(r[0]),
                reading=lambda r: words.nbytes / r[1] / 1e9,
            )

        def expect() -> str:
            return _digest(host())

        return [
            self.case(f"copy.to_device.lg{lg_n}", "GB/s", there, expect, lg_n=lg_n),
            self.case(f"copy.to_host.lg{lg_n}", "GB/s", back, expect, lg_n=lg_n),
        ]

    # -- multi-exponentiation and transforms -------------------------------------------------------
    def msm_g1(self, suffix: str, scalars: Callable[[int], FrArray], lg_n: int) -> BenchCase:
        n = 1 << lg_n

        def make(backend: CudaBackend) -> Task[Any]:
            values = scalars(n)
            bases = backend.fix_g1(self.inputs.bases_g1(n), max_bytes=MSM_TABLE_BYTES)
            return Task(run=lambda: backend.msm_g1(values, bases), answer=_point)

        def expect() -> object:
            return known.expect_msm_g1(scalars(n))

        return self.case(f"msm_g1.{suffix}.lg{lg_n}", "ms", make, expect, lg_n=lg_n)

    def msm_g2(self, lg_n: int) -> BenchCase:
        n = 1 << lg_n

        def make(backend: CudaBackend) -> Task[Any]:
            values = known.random_scalars(n)
            bases = backend.fix_g2(self.inputs.bases_g2(n), max_bytes=MSM_TABLE_BYTES)
            return Task(run=lambda: backend.msm_g2(values, bases), answer=_point)

        def expect() -> object:
            return known.expect_msm_g2(known.random_scalars(n))

        return self.case(f"msm_g2.fixed.lg{lg_n}", "ms", make, expect, lg_n=lg_n)

    def msms(self) -> list[BenchCase]:
        return [
            *(self.msm_g1("fixed", known.random_scalars, lg_n) for lg_n in self.sizes.msm_g1),
            self.msm_g1("witness", known.witness_scalars, self.sizes.msm_witness),
            self.msm_g2(self.sizes.msm_g2),
        ]

    def ntt(self, lg_n: int) -> BenchCase:
        def make(backend: CudaBackend) -> Task[Any]:
            values = self.inputs.sequence(1 << lg_n)
            return Task(
                run=lambda: backend.ntt(values),
                answer=lambda out: known.digest_mont(out, self.cpu),
            )

        return self.case(f"ntt.lg{lg_n}", "ms", make, partial(self.expect_ntt, lg_n), lg_n=lg_n)

    def ntt_resident(self, lg_n: int) -> BenchCase:
        def make(backend: CudaBackend) -> Task[Any]:
            device, transform = backend.device, Ntt(backend.device)
            values = device.asarray(self.inputs.sequence(1 << lg_n).data.reshape(1, -1, 4))

            def run() -> Any:
                with device.active():
                    out = transform.run(values)
                    device.synchronize()
                return out

            return Task(
                run=run,
                answer=lambda out: known.digest_mont(FrMont(device.to_host(out)[0]), self.cpu),
            )

        expect = partial(self.expect_ntt, lg_n)
        return self.case(f"ntt.resident.lg{lg_n}", "ms", make, expect, lg_n=lg_n)

    def ntts(self) -> list[BenchCase]:
        return [
            *(self.ntt_resident(lg_n) for lg_n in self.sizes.ntt),
            *(self.ntt(lg_n) for lg_n in self.sizes.ntt),
        ]

    def expect_ntt(self, lg_n: int) -> str:
        """`known.expect_ntt`, its closed form computed by the CPU backend: quick at any size."""
        n, cpu = 1 << lg_n, self.cpu
        ones = cpu.powers(1, n)
        denominators = cpu.sub(cpu.powers(root_of_unity(lg_n), n, first=known.RATIO), ones)
        top = pow(known.RATIO, n, R) - 1
        return known.digest_mont(cpu.scale(cpu.batch_inverse(denominators), top), cpu)

    # -- proofs ------------------------------------------------------------------------------------
    def proving(self) -> list[BenchCase]:
        work, sizes = self.proofs, self.sizes
        return [
            self.case(
                f"prove.n{sizes.samples}",
                "ms",
                lambda _: work.prove(),
                lambda: PROVEN,
                model=proof.MODEL_NAME,
                samples=sizes.samples,
            ),
            self.case(
                f"prove_large.n{sizes.large}",
                "s",
                lambda _: work.prove_large(),
                lambda: PROVEN,
                n_max=1,
                model=proof.MODEL_NAME,
                samples=sizes.samples,
                total=sizes.large,
            ),
            self.case(
                f"prove.dense.lg{sizes.dense}",
                "ms",
                lambda _: work.warm(work.dense, max_bytes=QUERY_TABLE_BYTES)(),
                work.dense.expect,
                n_max=5,
                lg_rows=sizes.dense,
            ),
        ]


def build_suite(*, quick: bool) -> Suite:
    """All cases; a full run is kept as the device's baseline."""
    build = Builder(QUICK if quick else FULL)
    return Suite(cases=build.cases(), keep=None if quick else partial(keep, build.engine))


def keep(engine: Engine, rows: Sequence[Row], folder: Path = BASELINES) -> Sequence[Path]:
    """The rows as the baseline of this device."""
    return [save_baseline(rows, device=engine.backend().device.name, folder=folder)]


def _rate_task(works: Sequence[Callable[[], Rate]], value: Callable[..., float]) -> Task[Any]:
    """Rates measured one after the other; a first round loads the kernels and raises the clock."""
    for work in works:
        work()
    return Task(
        run=lambda: [work() for work in works],
        answer=lambda found: [_of_every_processor(r) for r in found],
        reading=lambda found: value(*found),
    )


def _of_every_processor(found: Rate) -> tuple[str, bool]:
    """The digest of the first processor's words; whether all processors have the same."""
    words = found.words.reshape(found.n_processors, -1)
    return _digest(words[0]), bool((words == words[0]).all())


@cache
def _expect_adds(n_steps: int) -> tuple[str, bool]:
    return _digest(rate.expect_multiply_adds(1, n_steps)), True


@cache
def _expect_products(n_steps: int) -> tuple[str, bool]:
    return _digest(rate.expect_products(1, n_steps)), True


def _digest(words: U64) -> str:
    return sha256(np.ascontiguousarray(words).tobytes()).hexdigest()


def _point(total: G1Array | G2Array) -> object:
    return total.to_ints()[0]
