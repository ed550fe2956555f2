"""The emulator sees the mistakes that a GPU hides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels.cuda.launch.runtime import grid_for
from kernels.cuda.launch.source import list_modules, load_source, parse_source
from kernels.errors import BackendUnavailable, DeviceError
from tests.support import cuda_emulator
from tests.support.cuda_emulator import EmulatedDevice, EmulatedModule, load_probe
from tests.support.cuda_meter import metered
from tests.support.skips import or_skip


@pytest.fixture(scope="module")
def device() -> EmulatedDevice:
    return or_skip(EmulatedDevice)


@pytest.fixture(scope="module", params=[False, True], ids=["forwards", "backwards"])
def probe(request: pytest.FixtureRequest, device: EmulatedDevice) -> EmulatedModule:
    return load_probe("cuda_probe", reversed_order=request.param)


def one_block(n_threads: int) -> dict[str, Any]:
    return {"grid": (1, 1, 1), "block": (n_threads, 1, 1)}


@pytest.mark.parametrize("n", [1, 2, 33, 256])
def test_barriers_order_stores_and_loads(probe: EmulatedModule, n: int) -> None:
    values = np.arange(n, dtype=np.uint32) ** 2
    out = np.zeros(n, np.uint32)
    probe.kernel("neighbours")(**one_block(n), args=(out, values, np.uint32(1)), shared_bytes=4 * n)
    assert (out == values + np.roll(values, -1)).all()


def test_a_missing_barrier_shows_in_one_of_the_orders(device: EmulatedDevice) -> None:
    values = np.arange(8, dtype=np.uint32)
    outs = []
    for reversed_order in (False, True):
        out = np.zeros(8, np.uint32)
        kernel = load_probe("cuda_probe", reversed_order=reversed_order).kernel("neighbours")
        kernel(**one_block(8), args=(out, values, np.uint32(0)), shared_bytes=32)
        outs.append(out)
    assert (outs[0] != outs[1]).any()


@pytest.mark.parametrize(
    ("kernel", "fault"),
    [("early_return", "left out a barrier"), ("two_barriers", "different barriers")],
)
def test_barriers_that_some_threads_miss(probe: EmulatedModule, kernel: str, fault: str) -> None:
    out = np.zeros(4, np.uint32)
    for _ in range(2):  # the threads left behind do not come back in the next launch
        with pytest.raises(DeviceError, match=fault):
            probe.kernel(kernel)(**one_block(4), args=(out,))
    test_barriers_order_stores_and_loads(probe, 4)


def test_stores_past_the_shared_bytes(probe: EmulatedModule) -> None:
    kernel = probe.kernel("past_the_end")
    kernel(**one_block(1), args=(np.uint32(3),), shared_bytes=16)
    with pytest.raises(DeviceError, match="past its end"):
        kernel(**one_block(1), args=(np.uint32(4),), shared_bytes=16)


def test_coordinates_in_three_dimensions(probe: EmulatedModule) -> None:
    grid, block = (3, 2, 2), (2, 4, 3)
    out = np.zeros(12 * 24, np.uint32)
    probe.kernel("coordinates")(grid, block, (out,))
    ranges = [range(k) for k in (*grid[::-1], *block[::-1])]
    places = np.array(np.meshgrid(*ranges, indexing="ij")).reshape(6, -1)
    assert (out == 16 ** np.arange(5, -1, -1) @ places).all()


def test_atomics_and_an_empty_grid(probe: EmulatedModule) -> None:
    total, least = np.zeros(1, np.uint32), np.full(1, 1 << 30, np.uint32)
    kernel = probe.kernel("count")
    kernel((5, 1, 1), (7, 1, 1), (total, least, np.uint32(9)))
    assert (total[0], least[0]) == (35, 9)
    kernel((0, 1, 1), (7, 1, 1), (total, least, np.uint32(0)))
    assert (total[0], least[0]) == (35, 9)


def test_wrong_arguments_are_refused(probe: EmulatedModule) -> None:
    kernel, total = probe.kernel("count"), np.zeros(1, np.uint32)
    shape = one_block(1)
    for args, error in (
        ((total, total), DeviceError),  # too few
        ((total, total, np.uint64(1)), DeviceError),  # too wide
        ((total, total, total), DeviceError),  # a pointer for a word
        ((total, total, 1), TypeError),  # of no width
        ((total, np.zeros((4, 4), np.uint32)[:, 1], np.uint32(1)), TypeError),  # with gaps
        ((total, None, np.uint32(1)), TypeError),
    ):
        with pytest.raises(error, match="argument"):
            kernel(**shape, args=args)
    with pytest.raises(TypeError, match="256 at most"):
        kernel((1, 1, 1), (257, 1, 1), (total, total, np.uint32(1)))
    with pytest.raises(TypeError, match="threads per block"):
        kernel((1, 1, 1), (0, 1, 1), (total, total, np.uint32(1)))
    with pytest.raises(TypeError, match="larger than any device"):
        kernel((1, 1 << 16, 1), (1, 1, 1), (total, total, np.uint32(1)))
    with pytest.raises(KeyError, match="absent"):
        probe.kernel("absent")


def test_memory_is_not_cleared(device: EmulatedDevice) -> None:
    assert device.empty((2, 3), np.uint32).any()
    assert not device.zeros((2, 3), np.uint32).any()
    host = np.arange(4)
    assert not np.shares_memory(device.asarray(host).view(np.ndarray), host)
    array = device.zeros((4,), np.uint32)
    assert not np.shares_memory(device.to_host(array).view(np.ndarray), array.view(np.ndarray))


def test_arrays_of_host_and_device_do_not_meet(device: EmulatedDevice) -> None:
    """As with cupy: what would be a silent copy here would be an error on a GPU."""
    mine, theirs = device.asarray(np.arange(4)), np.arange(4)
    assert device.holds(mine)
    assert device.holds((mine + 1)[1:] * mine[:3])
    assert device.holds(np.cumsum(mine))
    assert not device.holds(device.to_host(mine))
    with pytest.raises(TypeError, match="add"):
        mine + theirs
    with pytest.raises(TypeError, match="getitem"):
        mine[theirs]
    with pytest.raises(TypeError, match="setitem"):
        mine[:] = theirs
    with pytest.raises(TypeError, match="concatenate"):
        np.concatenate([mine, theirs])
    with pytest.raises(TypeError, match="add"):
        np.add(mine, mine, out=theirs)


def test_what_cupy_cannot_do_is_refused(device: EmulatedDevice) -> None:
    mine = device.asarray(np.arange(4, dtype=np.uint8))
    assert (mine >= 255).sum() == 0
    with pytest.raises(OverflowError):
        mine >= 256  # NumPy alone would say no  # noqa: B015
    with pytest.raises(TypeError, match="no array of the host"):
        device.asarray(mine)
    with pytest.raises(TypeError, match="apply_over_axes"):
        np.apply_over_axes(np.sum, mine, 0)


def test_what_a_device_would_do_is_counted(device: EmulatedDevice) -> None:
    host = np.arange(4, dtype=np.uint64)
    kernel = device.load_module("pointwise").kernel("add_all")
    with metered() as counts:
        mine, out = device.asarray(host), device.empty((4,), np.uint64)
        element = np.uint64(1)
        kernel((1, 1, 1), (4, 1, 1), (out, mine, mine, element))
        kernel((0, 1, 1), (4, 1, 1), (out, mine, mine, element))
        mine[1:][:2].reshape(-1)  # views are free
        mine[mine.astype(np.int64)] += mine
        np.cumsum(mine, out=out)
        int(np.flatnonzero(device.zeros((3,), np.int64) >= 0)[0])
        device.to_host(mine)
        device.synchronize()
    assert counts.launches == {"add_all": 1}
    operations = ["astype", "take", "add", "put", "cumsum", "zeros", "greater_equal", "flatnonzero"]
    assert counts.operations == dict.fromkeys(operations, 1)
    assert counts.allocations == 7  # `+=`, `put` and `out` take none
    assert counts.synchronizations == 4
    assert counts.uploads == [32]
    assert counts.downloads == [8, 32]


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(BackendUnavailable, match=r"g\+\+"):
        EmulatedDevice()


def test_a_source_that_does_not_compile_says_where(device: EmulatedDevice) -> None:
    types = "typedef unsigned int u32;\ntypedef unsigned long long u64;\n"
    kernel = "ZK_KERNEL(1) f(u32 *p) { *p = nothing; }\nZK_EXPORT(f)\n"
    text = f'{types}#include "cuda_emulator.hpp"\n{kernel}'
    with pytest.raises(DeviceError, match=r"'nothing' was not declared|‘nothing’ was not declared"):
        cuda_emulator.build_library(parse_source("broken", text))


def test_sources_hold_their_headers_once_and_export_every_kernel() -> None:
    assert list_modules()
    for name in list_modules():
        source = load_source(name)
        assert source.kernels
        assert all(1 <= n <= 1024 for n in source.kernels.values())
        assert source.text.count("struct Carry {};") <= 1
        assert ".cuh" not in "".join(
            line for line in source.text.splitlines() if line.startswith("#include")
        )
    with pytest.raises(KeyError, match="pointwise"):
        load_source("absent")
    for text in ("ZK_KERNEL(1) f() {}\n", "ZK_EXPORT(f)\n"):
        with pytest.raises(ValueError, match="exported"):
            parse_source("half", text)


@pytest.mark.parametrize(("n", "blocks"), [(0, 0), (1, 1), (256, 1), (257, 2)])
def test_grid_for(n: int, blocks: int) -> None:
    assert grid_for(n, 256) == (blocks, 1, 1)
