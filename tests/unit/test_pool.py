"""Threads: every part once, errors raised, callers side by side, and the rounding mode restored."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.array import FrArray, FrMont, G1Array, G2Array
from kernels.bn254 import G1, G2, R
from kernels.cpu.backend import CpuBackend
from kernels.cpu.jit import kernel
from kernels.cpu.lanes import host_features, restore_rounding, round_toward_zero
from kernels.cpu.pool import Pool
from kernels.reference import mul_g1, mul_g2


@given(n=st.integers(0, 200), n_threads=st.integers(1, 5), multiple=st.integers(1, 9))
def test_ranges_cover_everything_once(n: int, n_threads: int, multiple: int) -> None:
    seen = np.zeros(n, np.int64)
    starts = []

    def work(first: int, last: int) -> None:
        starts.append(first)
        seen[first:last] += 1

    Pool(n_threads).ranges(n, work, multiple=multiple)
    assert (seen == 1).all()
    assert all(s % multiple == 0 for s in starts)
    assert len(starts) <= n_threads


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
    backend = CpuBackend(threads=2)
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
