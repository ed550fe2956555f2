"""Phases that are replayed: the same results for new values, and nothing else is started."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from kernels.array import FrArray, FrMont
from kernels.cuda.backend import CudaBackend
from kernels.cuda.launch.device import CupyDevice
from kernels.cuda.launch.runtime import Array, Device, Mark
from kernels.reference import Reference
from prover.groth16.quotient import compute_quotient_scalars
from prover.keys.halves import Quotient
from tests.conformance.inputs import mont, random_field
from tests.support.cuda_emulator import EmulatedDevice
from tests.support.cuda_meter import metered
from tests.support.fake_cupy import CUDARuntimeError, FakeCupy
from tests.support.skips import or_skip

N = 41  # three cosets, one of a single point


class Key:
    """What a task is done for."""


@contextmanager
def counted_work(backend: CudaBackend) -> Iterator[Any]:
    """A phase, the quotient of a o b for a = b, and how often it was called."""
    calls: list[int] = []

    def work(rows: FrMont) -> FrArray:
        calls.append(len(rows))
        return compute_quotient_scalars(rows, rows, quotient=Quotient.SPLIT, n=N, backend=backend)

    yield work, calls


def run(backend: CudaBackend, key: Key, work: Any, n: int, seed: int) -> FrArray:
    with backend.integers.active(key):
        found = backend.replay("quotient", backend.upload(mont(random_field(n, seed=seed))), work)
        return backend.download(found)


def expected(n: int, seed: int) -> FrArray:
    rows = mont(random_field(n, seed=seed))
    return compute_quotient_scalars(rows, rows, quotient=Quotient.SPLIT, n=N, backend=Reference())


@pytest.fixture
def device() -> EmulatedDevice:
    return or_skip(EmulatedDevice)


@pytest.mark.parametrize("makes_graphs", [True, False])
def test_a_phase_is_started_again_for_other_values(
    device: EmulatedDevice, makes_graphs: bool
) -> None:
    device.makes_graphs = makes_graphs
    backend, key = CudaBackend(device, Reference()), Key()
    with counted_work(backend) as (work, calls):
        for seed in range(5):
            n_before = len(calls)
            with metered() as counts:
                assert run(backend, key, work, 20, seed).equals(expected(20, seed))
            assert len(calls) == n_before + (seed < 2)  # done, recorded, then played
            if seed == 1:
                recorded = counts.launches.total()
        started = {"graph": 1} if makes_graphs else None
        assert counts.operations == {"fill": 1, "clear": counts.operations["clear"]}
        assert counts.launches.total() == (1 if makes_graphs else recorded)
        assert started is None or counts.launches == started
        assert run(backend, key, work, 21, 9).equals(expected(21, 9))  # of another shape
        assert run(backend, Key(), work, 20, 9).equals(expected(20, 9))  # for another key
        assert run(backend, key, work, 20, 8).equals(expected(20, 8))


def test_what_waits_is_never_replayed(device: EmulatedDevice) -> None:
    backend, key = CudaBackend(device, Reference()), Key()
    calls: list[int] = []

    def work(a: FrMont) -> FrMont:
        calls.append(backend.dot(a, a))  # a number, for the host to see
        return backend.scale(a, calls[-1])

    for seed in range(4):
        a = mont(random_field(7, seed=seed))
        with backend.integers.active(key):
            found = backend.download(backend.replay("dot", backend.upload(a), work))
        assert found.equals(Reference().scale(a, Reference().dot(a, a)))
    assert len(calls) == 4


def test_a_phase_too_large_to_keep_is_done_each_time() -> None:
    device = or_skip(EmulatedDevice, memory_bytes=1 << 16)
    backend, key = CudaBackend(device, Reference()), Key()
    with counted_work(backend) as (work, calls):
        for seed in range(4):
            assert run(backend, key, work, 20, seed).equals(expected(20, seed))
        assert len(calls) == 4


def test_an_operation_on_arrays_is_no_launch_to_record(device: EmulatedDevice) -> None:
    backend, key = CudaBackend(device, Reference()), Key()
    a = mont(random_field(4))
    with backend.integers.active(key):
        backend.replay("sum", backend.upload(a), lambda x: x.data + x.data)
        with pytest.raises(TypeError, match="no launch that a tape has"):
            backend.replay("sum", backend.upload(a), lambda x: x.data + x.data)


@pytest.mark.parametrize(
    "make", [EmulatedDevice, lambda: CupyDevice(FakeCupy(), memory_bytes=1 << 20)]
)
@pytest.mark.parametrize(
    "act",
    [
        lambda device, array, mark: device.clear(array),
        lambda device, array, mark: device.mark(),
        lambda device, array, mark: mark.wait(),
    ],
)
def test_a_phase_that_clears_or_orders_streams_is_done_each_time(
    make: Callable[[], Device], act: Callable[[Device, Array, Mark], object]
) -> None:
    """None of it is a launch that a tape has."""
    device, key, calls = or_skip(make), Key(), list[int]()
    before = device.mark()

    def work(arrays: Any) -> None:
        calls.append(1)
        act(device, arrays[0], before)

    for _ in range(4):
        with device.active(key):
            device.replay("phase", [device.asarray(np.ones((4, 4), np.uint64))], work)
    assert len(calls) == 4


def test_outside_of_a_task_and_inside_a_phase_work_is_done(device: EmulatedDevice) -> None:
    backend, key = CudaBackend(device, Reference()), Key()
    a, calls = mont(random_field(4)), list[int]()

    def inner(x: FrMont) -> FrMont:
        calls.append(1)
        return backend.add(x, x)

    for _ in range(3):
        backend.replay("inner", backend.upload(a), inner)
    assert len(calls) == 3
    for _ in range(4):
        with backend.integers.active(key):
            there = backend.upload(a)
            found = backend.replay("outer", there, lambda x: backend.replay("inner", x, inner))
            assert backend.download(found).equals(Reference().add(a, a))
    assert len(calls) == 3 + 2


def test_tapes_go_with_the_key(device: EmulatedDevice) -> None:
    backend, key = CudaBackend(device, Reference()), Key()
    with counted_work(backend) as (work, _):
        for seed in range(3):
            run(backend, key, work, 20, seed)
        with backend.integers.active(key):
            found = backend.replay("quotient", backend.upload(mont(random_field(20))), work)
            gone = weakref.ref(found.data)
            del found
        assert gone() is not None  # the tape's
        del key
        gc.collect()
        assert gone() is None


def phases_of(cupy: FakeCupy) -> list[list[Any]]:
    """What three runs of one phase launch on a GPU, by name."""
    device, key = (
        CupyDevice(
            cupy, memory_bytes=1 << 20, load=lambda s, a: b"", load_ahead=lambda k, f, a: b""
        ),
        Key(),
    )
    kernel = device.load_module("pointwise").kernel("sum_all")
    found = []
    for value in range(3):
        cupy.launched.clear()
        with device.active(key):
            given = device.asarray(np.full((4, 4), value, np.uint64))

            def work(arrays: Any) -> Any:
                out = device.empty((1, 4), np.uint64)
                for _ in range(2):
                    kernel((1, 1, 1), (256, 1, 1), (out, arrays[0], np.uint64(4)), shared_bytes=64)
                return arrays[0]

            result = device.replay("sums", [given], work)
            assert (device.to_host(result) == value).all()
        found.append([entry[0] for entry in cupy.launched])
    return found


def test_a_gpu_replays_a_graph() -> None:
    assert phases_of(FakeCupy()) == [["sum_all"] * 2, ["sum_all"] * 2, ["graph"]]


@pytest.mark.parametrize("fault", [CUDARuntimeError("cudaErrorNotSupported"), RuntimeError("HIP")])
def test_a_gpu_without_graphs_replays_one_by_one(fault: Exception) -> None:
    cupy = FakeCupy()
    cupy.fail_capture = fault
    assert phases_of(cupy) == [["sum_all"] * 2] * 3
