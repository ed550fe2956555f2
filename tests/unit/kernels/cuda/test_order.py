"""Streams of the emulated device: what meets in memory is behind a mark, or a test fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kernels.array import FrArray
from kernels.cuda.backend import CudaBackend
from kernels.cuda.launch.runtime import Mark
from kernels.cuda.msm import layout as msm_layout
from kernels.cuda.msm.bases import lend_bases
from kernels.cuda.msm.sums import Sum, compute_sums
from tests.conformance.backends import build_backend
from tests.conformance.inputs import GROUPS, build_bases, draw_scalars, known_sum
from tests.support.cuda_emulator import EmulatedDevice, EmulatedMark, LateCopy
from tests.support.cuda_order import ORDER, RaceError
from tests.support.skips import or_skip


@pytest.fixture
def device() -> EmulatedDevice:
    found = or_skip(EmulatedDevice)
    found.synchronize()  # nothing of another test is under way
    return found


def fresh(device: EmulatedDevice) -> Any:
    """An array whose memory no stream still has anything to do with."""
    array = device.empty((8,), np.uint64)
    device.synchronize()
    return array


def read(device: EmulatedDevice, array: Any) -> None:
    device.to_host(array)


def write(device: EmulatedDevice, array: Any) -> None:
    device.clear(array)


def write_beside(device: EmulatedDevice, array: Any) -> Mark:
    with device.beside():
        device.clear(array)
        return device.mark()


def add_beside(device: EmulatedDevice, array: Any) -> Mark:
    """Reads."""
    with device.beside():
        array + array
        return device.mark()


@pytest.mark.parametrize("use", [read, write])
@pytest.mark.parametrize("part", [slice(0, 8), slice(2, 3)])
def test_what_another_stream_wrote_waits_for_its_mark(
    device: EmulatedDevice, part: slice, use: Callable[[EmulatedDevice, Any], None]
) -> None:
    array = fresh(device)
    mark = write_beside(device, array)
    use(device, device.empty((8,), np.uint64))  # of no concern
    with pytest.raises(RaceError, match="second"):
        use(device, array[part])
    mark.wait()
    use(device, array[part])


def test_what_another_stream_may_still_read_is_not_written(device: EmulatedDevice) -> None:
    array = device.zeros((8,), np.uint64)
    begun = device.mark()
    with device.beside():
        begun.wait()
    mark = add_beside(device, array)
    read(device, array)  # both may
    with pytest.raises(RaceError, match="writes"):
        device.clear(array[4:])
    mark.wait()
    device.clear(array[4:])


def test_a_mark_is_of_what_was_there_when_it_was_made(device: EmulatedDevice) -> None:
    array = fresh(device)
    early = device.mark()
    mark = write_beside(device, array[:4])
    write_beside(device, array[4:])
    early.wait()
    mark.wait()
    read(device, array[:4])
    with pytest.raises(RaceError):
        read(device, array)


def test_marks_carry_on_what_their_stream_waited_for(device: EmulatedDevice) -> None:
    array = device.empty((8,), np.uint64)
    copy = device.copy_aside(array, np.arange(8, dtype=np.uint64), after=device.mark())
    with pytest.raises(RaceError, match="copies"):
        add_beside(device, array)
    with device.beside():
        copy.wait()
        behind = device.mark()
    behind.wait()
    assert device.to_host(array).tolist() == list(range(8))


def test_the_host_orders_what_it_waited_for(device: EmulatedDevice) -> None:
    array = fresh(device)
    write_beside(device, array)
    device.synchronize()
    read(device, array)
    device.clear(array)
    read(device, array[:1])  # the host waits for the first stream
    write_beside(device, array)
    device.synchronize()
    assert not ORDER.uses


# -- sums over several streams ---------------------------------------------------------------------


def sum_in_rounds(device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several rounds, whose bases are sent meanwhile."""
    monkeypatch.setattr(msm_layout, "ROUND_ENTRIES", 500)
    scalars = draw_scalars("full", 40)
    bases, factors = build_bases(GROUPS[0], "mixed", 40)
    own = Sum(FrArray.from_ints(scalars), lend_bases(bases.data, 1))
    told: list[int] = []
    (found,) = compute_sums(device, [own], lambda i, done, total: told.append(total))
    assert told[-1] > 4
    assert (found == known_sum(GROUPS[0], scalars, factors).data[0]).all()


def sum_on_the_way(device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several rounds, whose scalars are sent meanwhile."""
    monkeypatch.setattr(msm_layout, "ROUND_ENTRIES", 500)
    backend, values = CudaBackend(device, build_backend("cpu")), draw_scalars("full", 40)
    bases, factors = build_bases(GROUPS[0], "mixed", 41)
    there, found = backend.upload_summing(
        FrArray.from_ints(values),
        np.arange(40, dtype=np.uint32),
        FrArray.from_ints([5]),
        backend.fix_g1(bases),
    )
    assert found.equals(known_sum(GROUPS[0], [*values, 5], factors))
    assert backend.download(there).to_ints() == values


IN_ROUNDS = [sum_in_rounds, sum_on_the_way]


@pytest.mark.parametrize("compute", IN_ROUNDS)
def test_rounds_wait_for_each_other(
    device: EmulatedDevice,
    monkeypatch: pytest.MonkeyPatch,
    compute: Callable[[EmulatedDevice, pytest.MonkeyPatch], None],
) -> None:
    compute(device, monkeypatch)


@pytest.mark.parametrize("compute", IN_ROUNDS)
@pytest.mark.parametrize("kind", [EmulatedMark, LateCopy])
@pytest.mark.parametrize("turn", range(4))
def test_no_wait_of_a_sum_can_be_left_out(
    device: EmulatedDevice,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[EmulatedMark],
    turn: int,
    compute: Callable[[EmulatedDevice, pytest.MonkeyPatch], None],
) -> None:
    """Each of the first waits that a stream has to make for another, one at a time."""
    wait, left = kind.wait, [turn]

    def forget(mark: EmulatedMark) -> None:
        before = ORDER.mark()
        is_late = any(before.get(stream, 0) < time for stream, time in mark.clock.items())
        matters = is_late and type(mark) is kind  # a `LateCopy` waits as an `EmulatedMark` too
        left[0] -= matters
        if left[0] != -1 or not matters:
            wait(mark)  # type: ignore[arg-type]

    monkeypatch.setattr(kind, "wait", forget)
    with pytest.raises(RaceError):
        compute(device, monkeypatch)
    monkeypatch.setattr(kind, "wait", wait)
    device.synchronize()
