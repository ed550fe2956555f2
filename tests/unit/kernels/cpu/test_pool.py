"""Threads: every part once, errors raised, callers side by side, and the rounding mode restored."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.array import FrArray, FrMont, G1Array, G2Array
from kernels.bn254 import G1, G2, R
from kernels.cpu.backend import CpuBackend, choose_threads
from kernels.cpu.compile.jit import kernel
from kernels.cpu.lanes.choice import host_features
from kernels.cpu.lanes.rounding import TOWARD_ZERO
from kernels.cpu.pool import Pool
from kernels.reference import mul_g1, mul_g2
from prover.foreign import prove_foreign
from prover.formats.wtns import read_wtns
from prover.formats.zkey import read_zkey


@given(
    n=st.integers(0, 200),
    n_threads=st.integers(1, 5),
    multiple=st.integers(1, 9),
    cost_ns=st.integers(1, 400),
    grain_ns=st.integers(1, 4000),
)
def test_ranges_cover_everything_once(
    n: int, n_threads: int, multiple: int, cost_ns: int, grain_ns: int
) -> None:
    seen = np.zeros(n, np.int64)
    starts = []

    def work(first: int, last: int) -> None:
        starts.append(first)
        seen[first:last] += 1

    Pool(n_threads, grain_ns=grain_ns).ranges(n, work, cost_ns=cost_ns, multiple=multiple)
    assert (seen == 1).all()
    assert all(s % multiple == 0 for s in starts)
    assert len(starts) <= n_threads
    assert len(starts) <= max(1, n * cost_ns // grain_ns)


@given(n=st.integers(0, 60), cost_ns=st.integers(0, 50), grain_ns=st.integers(1, 400))
def test_small_jobs_share_a_thread(n: int, cost_ns: int, grain_ns: int) -> None:
    done: list[int] = []
    tasks = count_tasks(Pool(3, grain_ns=grain_ns))
    tasks.pool.each([(i,) for i in range(n)], done.append, cost_ns=cost_ns)
    assert sorted(done) == list(range(n))
    assert tasks.n == 0 or (tasks.n - 1) * grain_ns <= n * max(cost_ns, 1)


@dataclass
class Counted:
    """A pool, and how many tasks were handed to its threads."""

    pool: Pool
    n: int = 0


def count_tasks(pool: Pool) -> Counted:
    counted = Counted(pool)
    executor = pool._executor
    assert executor is not None
    submit = executor.submit

    def count(*arguments: Any) -> Any:
        counted.n += 1
        return submit(*arguments)

    executor.submit = count  # type: ignore[method-assign]
    return counted


def test_a_small_proof_wakes_none_of_64_threads(root: Path) -> None:
    """Three wires under a snarkjs key, reading included: as on one thread, word for word."""
    files = root / "tests" / "vectors" / "snarkjs"
    wires = read_wtns(files / "multiplier.wtns")
    proofs = []
    for backend in (CpuBackend(threads=1), CpuBackend(threads=64)):
        counted = count_tasks(backend._pool) if backend.info().n_threads > 1 else None
        key = read_zkey(files / "multiplier.zkey", backend, random_bytes=Random(1).randbytes)
        proofs.append(prove_foreign(key, wires, random_bytes=Random(2).randbytes, backend=backend))
        assert counted is None or counted.n == 0
    one, many = proofs
    assert one.a.equals(many.a)
    assert one.b.equals(many.b)
    assert one.c.equals(many.c)


def test_large_inputs_still_go_to_every_thread() -> None:
    backend = CpuBackend(threads=3)
    counted = count_tasks(backend._pool)
    values = FrMont.zeros(1 << 16)
    for call in (
        lambda: backend.add(values, values),
        lambda: backend.ntt(values),
        lambda: backend.powers(3, 1 << 16),
    ):
        before = counted.n
        call()
        assert counted.n >= before + 3


@pytest.mark.parametrize(
    ("wanted", "n_processors", "expected"),
    [("", 6, 6), ("4", 6, 4), ("64", 2, 2), ("1", 64, 1), ("2", 1, 1)],
)
def test_the_machine_bounds_threads_and_so_does_the_setting(
    wanted: str, n_processors: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_threads(wanted, n_processors) == expected
    monkeypatch.setenv("ZKPOT_THREADS", wanted)
    monkeypatch.setattr("kernels.cpu.backend.count_processors", lambda: n_processors)
    assert CpuBackend().info().n_threads == expected


@pytest.mark.parametrize("wanted", ["0", "-1", "two", "1.5", " 2"])
def test_threads_that_are_no_number_are_named(wanted: str) -> None:
    with pytest.raises(ValueError, match="ZKPOT_THREADS="):
        choose_threads(wanted, 4)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_first_error_is_raised(n_threads: int) -> None:
    def work(i: int) -> None:
        if i == 2:
            raise ArithmeticError("part 2")

    with pytest.raises(ArithmeticError, match="part 2"):
        Pool(n_threads).each([(i,) for i in range(5)], work)

    def fail() -> None:
        raise ArithmeticError("worker")

    with pytest.raises(ArithmeticError, match="worker"):
        Pool(n_threads).workers(4, fail)


@pytest.mark.parametrize(
    ("n_threads", "n_tasks", "calls"), [(1, 9, 1), (3, 9, 3), (3, 2, 2), (3, 0, 0)]
)
def test_one_call_per_worker(n_threads: int, n_tasks: int, calls: int) -> None:
    count = []
    Pool(n_threads).workers(n_tasks, lambda: count.append(1))
    assert len(count) == calls


def test_progress_is_polled_while_workers_run() -> None:
    polled = threading.Event()
    Pool(2).workers(2, lambda: None if polled.wait(30) else pytest.fail("no poll"), polled.set)
    assert polled.is_set()


def test_no_pool_without_threads() -> None:
    with pytest.raises(ValueError, match="at least one thread"):
        Pool(0)


# -- the backend on threads ------------------------------------------------------------------------
def _inputs(n: int) -> tuple[FrArray, G1Array, G2Array, FrMont]:
    rng = Random(n)
    scalars = FrArray.from_ints([rng.randrange(R) for _ in range(n)])
    g1 = G1Array.from_ints([mul_g1(i, G1) for i in range(1, n + 1)])
    g2 = G2Array.from_ints([mul_g2(i, G2) for i in range(1, n + 1)])
    return scalars, g1, g2, FrMont(scalars.data)


def test_callers_share_one_backend() -> None:
    backend = CpuBackend(threads=2, grain_ns=1)
    scalars, g1, g2, values = _inputs(64)
    calls: list[Callable[[], Any]] = [
        lambda: backend.msm_g1(scalars, g1).data,
        lambda: backend.msm_g2(scalars, g2).data,
        lambda: backend.ntt(values).data,
        lambda: backend.fixed_base_g1(scalars, g1[:1]).data,
    ]
    alone = [call() for call in calls]
    with ThreadPoolExecutor(4) as callers:
        jobs = [(i, callers.submit(calls[i])) for _ in range(6) for i in range(len(calls))]
        assert all((job.result() == alone[i]).all() for i, job in jobs)


if "fma" in host_features():
    round_toward_zero, restore_rounding = TOWARD_ZERO

    @kernel(signature="uint32()")
    def mxcsr() -> int:
        """This thread's MXCSR."""
        state = round_toward_zero()
        restore_rounding(state)
        return int(state)


_ROUNDING = 0x6000


@pytest.mark.skipif("fma" not in host_features(), reason="no lanes of doubles on this host")
def test_rounding_mode_is_restored_on_every_path() -> None:
    backend = CpuBackend(lanes="avx2", threads=1)  # one thread: kernels run in this one
    scalars, g1, g2, values = _inputs(40)
    same = FrArray.from_ints([1] * 40)
    opposite = FrArray.from_ints([1, R - 1] * 20)
    equal_g1 = G1Array(np.repeat(g1.data[:1], 40, axis=0))
    equal_g2 = G2Array(np.repeat(g2.data[:1], 40, axis=0))
    calls: list[Callable[[], Any]] = [
        lambda: backend.msm_g1(scalars, g1),
        lambda: backend.msm_g2(scalars, g2),
        lambda: backend.msm_g1(same, equal_g1),  # denominators vanish: the early return
        lambda: backend.msm_g2(same, equal_g2),
        lambda: backend.msm_g1(opposite, equal_g1),
        lambda: backend.msm_g1(scalars, backend.fix_g1(g1, max_bytes=10**6)),
        lambda: backend.fixed_base_g1(scalars, g1[:1]),
        lambda: backend.fixed_base_g2(scalars, g2[:1]),
        lambda: backend.ntt(FrMont(values.data[:32])),
        lambda: backend.ntt(FrMont(values.data[:32]), inverse=True, shift=5),
    ]
    third = np.float64(1) / np.float64(3)
    for call in calls:
        call()
        assert mxcsr() & _ROUNDING == 0
        assert np.float64(1) / np.float64(3) == third
        assert np.float64(1) + np.float64(2.0**-53 * 1.5) > 1  # toward zero it would be 1
