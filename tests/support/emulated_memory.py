"""Memory of the emulated device: never cleared, always full of noise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.cuda.launch.arena import Block
from kernels.cuda.launch.arenas import Arenas
from kernels.cuda.launch.tape import Launch
from tests.support.cuda_meter import METER
from tests.support.cuda_order import ORDER

NOISE = 0xA5


class Piece:
    """See `kernels.cuda.launch.arena.Memory`; what is cleared is full of noise again."""

    def __init__(self, n_bytes: int, noise: int) -> None:
        METER.allocations += 1
        self.raw, self._noise = np.full(n_bytes, noise, np.uint8), noise

    def clear(self, offset: int, n_bytes: int) -> None:
        METER.note("clear")
        ORDER.note("clear", writes=(self.raw[offset : offset + n_bytes],))
        self.raw[offset : offset + n_bytes] = self._noise


@dataclass(frozen=True, slots=True)
class NotedLaunch:
    """A launch that the meter counts."""

    name: str
    run: Launch

    def __call__(self) -> None:
        METER.launches[self.name] += 1
        self.run()


class EmulatedMemory:
    """As `kernels.cuda.launch.memory.CupyMemory`."""

    def __init__(self, memory_bytes: int, noise: int) -> None:
        self.noise = noise
        self.arenas = Arenas(self, memory_bytes, lambda: memory_bytes)

    def start(self, name: str, launch: Launch) -> None:
        """Run a launch, and note it if the device records."""
        noted = NotedLaunch(name, launch)
        noted()
        if (tape := self.arenas.tape) is not None:
            tape.add(noted)

    def reserve(self, n_bytes: int) -> Piece:
        return Piece(n_bytes, self.noise)

    def allocate(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Memory that goes back with the last view of it."""
        n_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        block = self.arenas.take(n_bytes)
        if block is None:
            raw = self.reserve(n_bytes).raw
        else:
            assert isinstance(block.memory, Piece)
            raw = block.memory.raw[block.offset : block.offset + n_bytes]
            raw[:] = self.noise
        ORDER.note("allocate", writes=(raw,))  # in the order of the stream it is handed out
        held = raw.view(_Held)
        held.block = block
        return held.view(dtype).reshape(shape)


class _Held(np.ndarray[Any, Any]):
    """What arrays of the device have as their base: it keeps the block."""

    block: Block | None = None

    def __array_finalize__(self, whole: Any) -> None:
        self.block = getattr(whole, "block", None)


_current = [EmulatedMemory(0, NOISE)]


def current() -> EmulatedMemory:
    """That of the device which is active; one without arenas while none is."""
    return _current[-1]


@contextmanager
def making_current(memory: EmulatedMemory) -> Iterator[None]:
    """The memory of all arrays that are made inside."""
    _current.append(memory)
    try:
        yield
    finally:
        _current.pop()
