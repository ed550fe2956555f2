"""When a phase is done, when it is recorded, and when it is played: see `Tape`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol, TypeVar

import numpy.typing as npt

from kernels.cuda.launch.arenas import Arenas
from kernels.cuda.launch.runtime import Array
from kernels.cuda.launch.tape import Player, Tape

T = TypeVar("T")


class Recorder(Player, Protocol):
    """What a device does to record."""

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array: ...


def replay(
    device: Recorder,
    arenas: Arenas,
    name: Hashable,
    given: Sequence[Array],
    work: Callable[[Sequence[Array]], T],
) -> T:
    """work(given). Of a task the first run makes its constants, the second is recorded, later ones
    are played.

    name  : of the phase; with the shapes all that the work depends on but the given values
    given : arrays of the device
    """
    tapes = arenas.tapes
    if tapes is None:
        return work(given)
    key = name, tuple((array.shape, str(array.dtype)) for array in given)
    if key not in tapes:
        tapes[key] = None
        return work(given)
    tape = tapes[key]
    if tape is None:
        tapes[key], result = _record(device, arenas, given, work)
    elif tape.is_spoiled:
        result = work(given)
    else:
        result = tape.play(device, given)
    return result


def _record(
    device: Recorder,
    arenas: Arenas,
    given: Sequence[Array],
    work: Callable[[Sequence[Array]], T],
) -> tuple[Tape, T]:
    tape = Tape(arenas.room())
    with arenas.recording(tape):
        copies = [device.empty(array.shape, array.dtype) for array in given]
        for target, source in zip(copies, given, strict=True):
            device.fill(target, source)
        result = work(copies)
    tape.close(copies, result)
    return tape, result
