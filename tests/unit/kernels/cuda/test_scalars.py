"""Transforms, inversion and sums of the CUDA backend where the conformance suite does not reach.

There every length is small for a GPU: one or two passes, one level, one block. Here blocks and
memory are made small instead.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest

from kernels.array import FrMont
from kernels.bn254 import GENERATOR, R
from kernels.cuda import plan as plans
from kernels.cuda import pointwise
from kernels.cuda.backend import CudaBackend
from kernels.cuda.ntt import Ntt
from kernels.cuda.plan import inversion_footprint, ntt_of_rows
from kernels.errors import DeviceError, DoesNotFit
from kernels.reference import Reference
from tests.conformance.inputs import is_transform
from tests.support.cuda_emulator import EmulatedDevice
from tests.support.metered_device import MeteredDevice
from tests.support.skips import or_skip

MakeDevice = Callable[..., EmulatedDevice]


@pytest.fixture
def make_device() -> MakeDevice:
    def make(**options: Any) -> EmulatedDevice:
        return or_skip(EmulatedDevice, **options)

    return make


def draw(n: int, rng: Random) -> list[int]:
    return [rng.randrange(R) for _ in range(n)]


@pytest.mark.parametrize("reversed_order", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize(("lg_n", "lg_tile"), [(5, 1), (6, 2), (7, 3), (8, 3), (9, 4), (7, 7)])
def test_many_passes(
    make_device: MakeDevice, lg_n: int, lg_tile: int, reversed_order: bool, rng: Random
) -> None:
    """Up to five passes, in either order of blocks and threads."""
    device = make_device(reversed_order=reversed_order)
    ntt, n = Ntt(device, lg_tile), 1 << lg_n
    values = [draw(n, rng) for _ in range(2)]
    host = np.stack([FrMont.from_ints(v).data for v in values])
    for shift in (1, GENERATOR):
        out = ntt.run(device.asarray(host), shift=shift)
        for given, row in zip(values, out, strict=True):
            assert is_transform(given, FrMont(row).to_ints(), shift, seed=lg_n)
        assert (ntt.run(out, shift=shift, inverse=True) == host).all()


def test_tables_are_kept_and_make_room(make_device: MakeDevice, rng: Random) -> None:
    device = make_device()
    ntt = Ntt(device)
    a = device.asarray(FrMont.from_ints(draw(64, rng)).data.reshape(1, 64, 4))
    expected = ntt.run(a, shift=GENERATOR).copy()
    full = len(ntt._tables)
    ntt.run(a, shift=GENERATOR)
    assert (
        len(ntt._tables) == full == 2
    )  # one pass: the roots inside a block, and the shift's powers
    device.memory_bytes = 1 << 12  # a quarter of it holds 32 elements
    assert (ntt.run(a, shift=GENERATOR) == expected).all()
    assert len(ntt._tables) == 1
    ntt.forget_tables()
    assert not ntt._tables


def test_a_batch_goes_in_parts(make_device: MakeDevice, rng: Random) -> None:
    n, rows = 8, 5
    values = FrMont.from_ints(draw(rows * n, rng)).data.reshape(rows, n, 4)
    two_rows = ntt_of_rows(3, 2).footprint
    backend = CudaBackend(make_device(memory_bytes=two_rows), Reference())
    seen: list[tuple[int, int]] = []
    out = backend.ntt(FrMont(values), progress=lambda *ticks: seen.append(ticks))
    assert out.equals(Reference().ntt(FrMont(values)))
    assert seen == [(2, 5), (4, 5), (5, 5)]
    small = CudaBackend(make_device(memory_bytes=two_rows // 3), Reference())
    with pytest.raises(DoesNotFit):
        small.ntt(FrMont(values))


@pytest.mark.parametrize("resident", [False, True], ids=["host", "device"])
@pytest.mark.parametrize("n_rows", [2, 5])
def test_transforms_stay_within_the_memory_that_is_free(
    make_device: MakeDevice, n_rows: int, resident: bool, rng: Random
) -> None:
    """Two passes, and memory between what one row needs and what all need: done or refused."""
    make_device()  # or skip
    n = 1 << 11
    a = FrMont(FrMont.from_ints(draw(n_rows * n, rng)).data.reshape(n_rows, n, 4))
    expected, done = CudaBackend(make_device(), Reference()).ntt(a, inverse=True), 0
    given = a.data.nbytes if resident else 0
    least, most = (ntt_of_rows(11, rows).footprint for rows in (1, n_rows))
    for memory in range(given + least, given + most + a.data.nbytes + 1, n * 32):
        device = MeteredDevice(memory_bytes=memory)
        backend = CudaBackend(device, Reference())
        there = backend.upload(a) if resident else a
        try:
            moved = backend.ntt(there, inverse=True)
        except DoesNotFit:
            continue
        assert device.peak <= memory
        assert backend.download(moved).equals(expected)
        done += 1
    assert done


@pytest.mark.parametrize("memory_bytes", [1, 200, 1000, 1 << 20])
def test_arrays_larger_than_the_device(
    make_device: MakeDevice, memory_bytes: int, rng: Random
) -> None:
    x, y = draw(37, rng), draw(37, rng)
    a, b = FrMont.from_ints(x), FrMont.from_ints(y)
    backend = CudaBackend(make_device(memory_bytes=memory_bytes), Reference())
    assert backend.add(a, b).to_ints() == [(u + v) % R for u, v in zip(x, y, strict=True)]
    assert backend.scale(a, 7).to_ints() == [7 * u % R for u in x]
    assert backend.dot(a, b) == sum(u * v for u, v in zip(x, y, strict=True)) % R
    assert backend.powers(5, 37, first=3).to_ints() == [3 * pow(5, i, R) % R for i in range(37)]
    if inversion_footprint(37) > memory_bytes:
        with pytest.raises(DoesNotFit) as caught:
            backend.batch_inverse(a)
        assert isinstance(caught.value, DeviceError)
    else:
        assert backend.batch_inverse(a).to_ints() == [pow(u, -1, R) for u in x]


@pytest.mark.parametrize("reversed_order", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("n", [1, 3, 4, 5, 15, 17, 63, 64, 65, 700])
def test_inversion_in_many_levels(
    make_device: MakeDevice,
    n: int,
    reversed_order: bool,
    rng: Random,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plans, "CHAIN", 4)
    monkeypatch.setattr(plans, "INVERT_EACH", 3)
    device = make_device(reversed_order=reversed_order)
    values = [rng.randrange(1, R) for _ in range(n)]
    a = device.asarray(FrMont.from_ints(values).data)
    assert FrMont(pointwise.batch_inverse(device, a)).to_ints() == [pow(v, -1, R) for v in values]
    for zeros in ([0], [n - 1], [n // 2, n - 1]):
        b = a.copy()
        b[zeros] = 0
        with pytest.raises(ZeroDivisionError, match=rf"element {min(zeros)} is"):
            pointwise.batch_inverse(device, b)


@pytest.mark.parametrize("reversed_order", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("n", [1, 255, 256, 257, 5000])
def test_sums_over_many_blocks(
    make_device: MakeDevice, n: int, reversed_order: bool, rng: Random
) -> None:
    device = make_device(reversed_order=reversed_order)
    x, y = draw(n, rng), draw(n, rng)
    a, b = (device.asarray(FrMont.from_ints(v).data) for v in (x, y))
    assert pointwise.dot(device, a, b) == sum(u * v for u, v in zip(x, y, strict=True)) % R


def test_it_says_what_the_cpu_does(make_device: MakeDevice) -> None:
    info = CudaBackend(make_device(), Reference()).info()
    assert info.name == "cuda"
    assert "group tests" in info.detail["on_cpu"]
