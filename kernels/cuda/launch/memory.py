"""`CupyMemory`: one pool under a cap, and the arenas of tasks that are done again and again."""

from __future__ import annotations

from typing import Any

from kernels.cuda.launch.arenas import Arenas


class CupyMemory:
    """The memory of one device through cupy; `allocate` is what cupy takes it by."""

    def __init__(self, cupy: Any, ordinal: int, memory_bytes: int) -> None:
        self._cupy, self._ordinal, self._memory_bytes = cupy, ordinal, memory_bytes
        self._pool = cupy.cuda.MemoryPool()
        self._pool.set_limit(size=memory_bytes)
        self.arenas = Arenas(self, memory_bytes, self._free_bytes)

    def _free_bytes(self) -> int:
        return self._memory_bytes - int(self._pool.used_bytes())

    @property
    def free_bytes(self) -> int:
        """The cap less what is in use; what only the pool or an arena keeps can be given back."""
        return self._free_bytes() + self.arenas.idle_bytes

    def allocate(self, n_bytes: int) -> Any:
        """cupy's pointer to memory of the run that the thread is in, or of the pool."""
        block = self.arenas.take(n_bytes)
        if block is None:
            return self._take_from_pool(n_bytes)
        assert isinstance(block.memory, _Piece)
        address = block.memory.pointer.ptr + block.offset
        memory = self._cupy.cuda.UnownedMemory(address, n_bytes, block, self._ordinal)
        return self._cupy.cuda.MemoryPointer(memory, 0)

    def reserve(self, n_bytes: int) -> _Piece:
        """See `kernels.cuda.launch.arena.Pool`."""
        return _Piece(self._take_from_pool(n_bytes))

    def _take_from_pool(self, n_bytes: int) -> Any:
        try:
            return self._pool.malloc(n_bytes)
        except self._cupy.cuda.memory.OutOfMemoryError:
            if not self.arenas.give_back():
                raise
            return self._pool.malloc(n_bytes)


class _Piece:
    """See `kernels.cuda.launch.arena.Memory`."""

    def __init__(self, pointer: Any) -> None:
        self.pointer = pointer

    def clear(self, offset: int, n_bytes: int) -> None:
        (self.pointer + offset).memset_async(0, n_bytes)
