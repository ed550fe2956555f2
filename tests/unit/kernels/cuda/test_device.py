"""`CupyDevice` on a cupy whose work waits until somebody waits for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from kernels.array import FrMont
from kernels.backend import get_backend
from kernels.cuda.backend import CudaBackend
from kernels.cuda.launch import staging, threads
from kernels.cuda.launch.device import CupyDevice, open_device
from kernels.cuda.launch.per_thread import BLOCK, PerThread
from kernels.errors import BackendUnavailable, DeviceError, SettingInvalid
from kernels.reference import Reference
from tests.support.fake_cupy import (
    CompileException,
    CUDADriverError,
    CUDARuntimeError,
    FakeCupy,
)

BUFFER = 64  # bytes, instead of megabytes


@pytest.fixture(autouse=True)
def _small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "PIECE_BYTES", BUFFER)


@pytest.fixture
def cupy() -> FakeCupy:
    return FakeCupy(n_devices=2)


@pytest.fixture
def device(cupy: FakeCupy) -> CupyDevice:
    return open_fake(cupy)


def open_fake(cupy: FakeCupy, ordinal: int = 1, **options: Any) -> CupyDevice:
    return CupyDevice(
        cupy,
        ordinal,
        load=lambda source, arch: arch.encode(),
        load_ahead=lambda kernel, form, arch: f"{kernel.name} {form.text} {arch}".encode(),
        **options,
    )


def test_it_says_what_it_is(device: CupyDevice, cupy: FakeCupy) -> None:
    assert (device.name, device.arch, device.n_processors) == ("Fake GPU", "sm_90", 7)
    assert device.memory_bytes == cupy.limit == 900
    assert device.free_bytes == 800
    assert open_fake(cupy, memory_bytes=5000).memory_bytes == cupy.limit == 5000
    info = CudaBackend(device, Reference()).info()
    assert info.lanes == "Fake GPU"


AROUND = staging.N_BUFFERS * BUFFER // 8  # where buffers serve again
SIZES = [0, 1, 2, *range(7, 10), *range(15, 18), *range(23, 26), 100]  # 8-byte words
SIZES += [AROUND - 1, AROUND, AROUND + 1, AROUND + 8, 2 * AROUND + 9, 1000]


@pytest.mark.parametrize("n", SIZES)
def test_copies_in_pieces_arrive_whole(cupy: FakeCupy, n: int) -> None:
    device = open_fake(cupy, memory_bytes=1 << 20)
    host = np.arange(1, n + 1, dtype=np.uint64)
    given = host.copy()
    array = device.asarray(given)
    given[:] = 0  # it may change as soon as asarray returns
    another = device.asarray(host[::-1])
    assert (device.to_host(array) == host).all()
    assert (device.to_host(another) == host[::-1]).all()
    assert (device.to_host(array) == host).all()


@pytest.mark.parametrize("n", SIZES)
def test_a_copy_aside_is_there_once_waited_for(cupy: FakeCupy, n: int) -> None:
    """The main stream runs on beside it, and waits where it is told to."""
    device = open_fake(cupy, memory_bytes=1 << 20)
    host = np.arange(1, n + 1, dtype=np.uint64)
    given, target = host.copy(), device.asarray(np.zeros(n, np.uint64))
    copy = device.copy_aside(target, given, after=device.mark())
    given[:] = 0  # it may change as soon as copy_aside returns
    last = device.to_host(target)[-1:]
    assert not last.any()  # nobody has waited
    copy.wait()
    assert (device.to_host(target) == host).all()


def test_a_copy_aside_starts_behind_what_it_is_told(cupy: FakeCupy) -> None:
    """What the main stream had to do with the array is done when the copy arrives, not after."""
    device = open_fake(cupy, memory_bytes=1 << 20)
    target = device.asarray(np.ones(5, np.uint64))
    device.clear(target)
    copy = device.copy_aside(target, np.arange(5, dtype=np.uint64), after=device.mark())
    copy.wait()
    assert (device.to_host(target) == np.arange(5)).all()


def test_a_second_stream_runs_beside_and_is_waited_for(cupy: FakeCupy) -> None:
    device = open_fake(cupy, memory_bytes=1 << 20)
    target = device.asarray(np.ones(5, np.uint64))
    assert device.address(target) == target.host.ctypes.data
    begun = device.mark()
    with device.beside():
        begun.wait()
        device.clear(target)
        done = device.mark()
    assert device.to_host(target).all()  # nobody has waited
    done.wait()
    assert not device.to_host(target).any()


@pytest.mark.parametrize("n", [8, AROUND + 1])
@pytest.mark.parametrize("way", ["up", "down"])
def test_an_interrupted_copy_does_not_meet_the_next_one(
    cupy: FakeCupy, monkeypatch: pytest.MonkeyPatch, way: str, n: int
) -> None:
    """Stopped before the event that guards the buffer: the next copy finds the buffer free."""
    device = open_fake(cupy, memory_bytes=1 << 20)
    first, second = np.arange(n, dtype=np.uint64), np.arange(n, 2 * n, dtype=np.uint64)
    array = device.asarray(second)
    copy = partial(device.asarray, first) if way == "up" else partial(device.to_host, array)

    def interrupt(event: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as now:
        now.setattr(cupy.cuda.Event, "record", interrupt)
        with pytest.raises(KeyboardInterrupt):
            copy()
    assert not cupy.queue
    assert (device.to_host(array) == second).all()


def test_copies_keep_shape_and_type(device: CupyDevice) -> None:
    for host in (
        np.arange(12, dtype=np.uint32).reshape(3, 4),
        np.arange(12, dtype=np.uint32).reshape(3, 4).T,
        np.zeros((0, 4), np.uint64),
        np.array(7, np.int64),
    ):
        back = device.to_host(device.asarray(host))
        assert back.shape == host.shape
        assert back.dtype == host.dtype
        assert (back == host).all()


def test_launches_name_their_arguments_and_their_device(device: CupyDevice, cupy: FakeCupy) -> None:
    kernel = device.load_module("pointwise").kernel("sum_all")
    out, n = device.empty((1, 4), np.uint64), np.uint64(1)
    kernel((1, 1, 1), (256, 1, 1), (out, out, n), shared_bytes=8192)
    kernel((0, 1, 1), (256, 1, 1), (out, out, n))
    assert cupy.launched == [("sum_all", (1, 1, 1), (256, 1, 1), (out, out, n), 8192, 1)]
    assert cupy.loaded == [b"sm_90"]
    device.load_module("pointwise")
    assert cupy.loaded == [b"sm_90"]
    with pytest.raises(KeyError, match="absent"):
        device.load_module("pointwise").kernel("absent")
    with pytest.raises(TypeError, match="shared memory"):
        kernel((1, 1, 1), (256, 1, 1), (out, out, n), shared_bytes=1 << 20)
    with pytest.raises(TypeError, match="256 at most"):
        kernel((1, 1, 1), (512, 1, 1), (out, out, n))
    assert cupy.current == []


def test_kernels_of_numba_are_launched_as_all_others(device: CupyDevice, cupy: FakeCupy) -> None:
    kernel = PerThread("fill", lambda jit, add: pytest.fail("built"), "int64[:,:], int64")
    out = device.empty((2, 3), np.int64)
    for n in (300, 0):  # the second time it is loaded, and for nothing it is not launched
        kernel(device, n, out, 7)
    assert cupy.loaded == [b"fill int64[:,:], int64 sm_90"]
    arguments = (300, 0, 0, 6, 8, out, 2, 3, 24, 8, 7)
    assert cupy.launched == [("fill", (2, 1, 1), (BLOCK, 1, 1), arguments, 0, 1)]
    cupy.fail_launch = CUDADriverError("refused")
    with pytest.raises(DeviceError, match="cupy, launch: CUDADriverError: refused"):
        kernel(device, 1, out, 7)
    assert cupy.loaded == [b"fill int64[:,:], int64 sm_90"]
    assert cupy.current == []


@pytest.mark.parametrize("fault", [CUDADriverError("launch"), CUDARuntimeError("illegal address")])
def test_a_fault_is_a_device_error(device: CupyDevice, cupy: FakeCupy, fault: RuntimeError) -> None:
    cupy.fail_launch = fault
    backend = CudaBackend(device, Reference())
    with pytest.raises(DeviceError, match=str(fault)):
        backend.scale(FrMont.from_ints([1, 2]), 3)
    assert cupy.current == []


def test_a_late_fault_reaches_who_waits(device: CupyDevice, cupy: FakeCupy) -> None:
    def fail() -> None:
        raise CUDARuntimeError("illegal address")

    array = device.asarray(np.arange(4, dtype=np.uint64))
    cupy.queue.append(fail)
    with pytest.raises(DeviceError, match="illegal address"):
        device.to_host(array)


def test_a_synchronous_device_waits_after_each_launch(cupy: FakeCupy) -> None:
    device = open_fake(cupy, synchronous=True)
    ran: list[int] = []
    cupy.queue.append(lambda: ran.append(1))
    out = device.empty((1, 4), np.uint64)
    device.load_module("pointwise").kernel("sum_all")(
        (1, 1, 1), (1, 1, 1), (out, out, np.uint64(0))
    )
    assert ran == [1]


def test_memory_past_the_cap_is_a_device_error(device: CupyDevice) -> None:
    with pytest.raises(DeviceError, match="OutOfMemoryError"):
        device.empty((1000, 4), np.uint64)
    with pytest.raises(DeviceError, match="OutOfMemoryError"):
        device.asarray(np.zeros((1000, 4), np.uint64))


@pytest.mark.parametrize(("n_devices", "ordinal"), [(0, 0), (2, 2), (2, -1)])
def test_a_gpu_that_is_not_there(n_devices: int, ordinal: int) -> None:
    with pytest.raises(BackendUnavailable):
        open_fake(FakeCupy(n_devices), ordinal)


def test_without_cupy_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(BackendUnavailable, match="cupy"):
        open_device()
    with pytest.raises(BackendUnavailable, match="cupy"):
        get_backend("cuda")


@pytest.mark.parametrize(
    ("numba_cuda", "numpy", "fits"),
    [
        ("0.30.4", "2.4.6", True),
        ("0.30.4", "2.5.0", False),
        ("0.30.0", "2.10.1rc1", False),
        ("0.31.0", "2.5.0", True),
        ("absent", "2.5.0", True),  # then compiling says what is missing
    ],
)
def test_packages_that_do_not_fit_are_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, cupy: FakeCupy, numba_cuda: str, numpy: str, fits: bool
) -> None:
    versions = {"numba-cuda": numba_cuda, "numpy": numpy}
    monkeypatch.setattr(threads, "find_version", versions.__getitem__)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    if fits:
        assert open_device().name == "Fake GPU"
        return
    told = f"numba-cuda {numba_cuda} does not know numpy {numpy}; install 'numpy<2.5'"
    with pytest.raises(BackendUnavailable, match=re.escape(told)):
        open_device()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            CompileException("unknown type"),
            "cupy, compile: CompileException: unknown type \\(cupy-",
        ),
        (ImportError("libnvrtc.so.13"), "cupy, import: ImportError: libnvrtc.so.13 \\(cupy-"),
        (CUDARuntimeError("cudaErrorMemoryAllocation"), "cupy, memory: CUDARuntimeError: cudaErr"),
        (CUDADriverError("CUDA_ERROR_LAUNCH_FAILED"), "cupy, launch: CUDADriverError: CUDA_ERR"),
    ],
)
def test_a_fault_says_what_failed(device: CupyDevice, fault: Exception, told: str) -> None:
    with pytest.raises(DeviceError, match=told), device.active():
        raise fault


def test_a_device_is_entered_once_for_all_that_happens_inside(cupy: FakeCupy) -> None:
    mine, other = open_fake(cupy, 0), open_fake(cupy, 1)
    cupy.entered.clear()
    with mine.active():
        for _ in range(3):
            mine.empty((1,), np.uint64)
            with pytest.raises(DeviceError, match="inside"), mine.active():
                raise CUDARuntimeError("inside")
        assert cupy.entered == [0]
        with other.active():
            mine.empty((1,), np.uint64)
            assert cupy.current == [0, 1]
            other.empty((1,), np.uint64)
        assert cupy.current == [0]
        mine.empty((1,), np.uint64)
    assert cupy.entered == [0, 1, 0]
    assert cupy.current == []
    mine.empty((1,), np.uint64)
    assert cupy.entered == [0, 1, 0, 0]


def test_each_thread_enters_by_itself(device: CupyDevice, cupy: FakeCupy) -> None:
    cupy.entered.clear()
    with device.active():
        thread = Thread(target=device.empty, args=((1,), np.uint64))
        thread.start()
        thread.join()
    assert cupy.entered == [1, 1]


def test_a_device_that_cannot_be_entered_leaves_nothing_behind(
    device: CupyDevice, cupy: FakeCupy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise CUDARuntimeError("cudaErrorDevicesUnavailable")

    with monkeypatch.context() as now:
        now.setattr(cupy.cuda, "using_allocator", fail)
        with pytest.raises(DeviceError, match="Unavailable"), device.active():
            pytest.fail("entered")
    assert cupy.current == []
    device.empty((1,), np.uint64)


CUPY = """
import os
directory = os.environ.get("CUPY_CACHE_DIR", os.path.expanduser("~/.cupy/kernel_cache"))
if not os.environ.get("CUPY_CACHE_IN_MEMORY"):
    os.makedirs(directory, exist_ok=True)  # at import, as the real one does
raise AttributeError("imported, with " + directory)
"""
OPENING = """
from kernels.backend import BackendUnavailable, get_backend
try:
    get_backend("cuda")
except BackendUnavailable as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"ZKPOT_CACHE_DIR": "{tmp}/cache"}, "imported, with {tmp}/cache/jit-"),
        ({"ZKPOT_CACHE_DIR": "{tmp}/cache", "CUPY_CACHE_DIR": "{tmp}/own"}, "with {tmp}/own"),
        ({"ZKPOT_CACHE_DIR": "/dev/null/c", "TMPDIR": "{tmp}"}, "imported, with {tmp}/zkpot-"),
        ({"CUPY_CACHE_DIR": "/dev/null/c"}, "cupy cannot be imported (NotADirectoryError: "),
    ],
)
def test_cupy_is_imported_without_a_home_and_its_faults_are_told(
    root: Path, tmp_path: Path, chosen: dict[str, str], told: str
) -> None:
    (tmp_path / "cupy.py").write_text(CUPY)
    done = subprocess.run(
        [sys.executable, "-c", OPENING],
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/dev/null/home",  # where nothing can be made
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}",
            **{name: value.format(tmp=tmp_path) for name, value in chosen.items()},
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert told.format(tmp=tmp_path) in done.stdout, done.stderr


def test_the_environment_names_the_gpu(cupy: FakeCupy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    for wanted, ordinal in ((None, 0), ("", 0), ("1", 1)):
        monkeypatch.delenv("ZKPOT_DEVICE", raising=False)
        if wanted is not None:
            monkeypatch.setenv("ZKPOT_DEVICE", wanted)
        device = CudaBackend(cpu=Reference()).device
        assert isinstance(device, CupyDevice)
        assert device.ordinal == ordinal
    given = CudaBackend(cpu=Reference(), ordinal=0).device
    assert isinstance(given, CupyDevice)
    assert given.ordinal == 0  # whatever the environment says
    for wanted in ("-1", "first"):
        monkeypatch.setenv("ZKPOT_DEVICE", wanted)
        with pytest.raises(SettingInvalid, match="ZKPOT_DEVICE"):
            CudaBackend(cpu=Reference())
