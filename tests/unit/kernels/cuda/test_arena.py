"""Arenas: no two arrays ever share a byte, and a run like the last one allocates nothing."""

from __future__ import annotations

import gc
import weakref
from random import Random
from threading import Thread
from typing import Any

import numpy as np
import pytest

from kernels.cuda.launch.arena import GRAIN, LIKE, MAX_LAYOUTS, Arena, Block, lay_out, round_size
from kernels.cuda.launch.arenas import MAX_KEPT, SLAB_SHARE, Arenas
from kernels.cuda.launch.device import CupyDevice
from kernels.errors import DeviceError
from tests.support.fake_cupy import FakeCupy

MEMORY = 1 << 24


class Piece:
    """Memory that knows where it was written to."""

    def __init__(self, n_bytes: int) -> None:
        self.raw = np.full(n_bytes, 0xA5, np.uint8)

    def clear(self, offset: int, n_bytes: int) -> None:
        self.raw[offset : offset + n_bytes] = 0


class Pool:
    """Counts what it gave."""

    def __init__(self) -> None:
        self.given: list[weakref.ref[Piece]] = []
        self.most_bytes = MEMORY

    def reserve(self, n_bytes: int) -> Piece:
        assert n_bytes % GRAIN == 0
        if n_bytes > self.most_bytes:
            raise MemoryError("in pieces")
        piece = Piece(n_bytes)
        self.given.append(weakref.ref(piece))
        return piece

    @property
    def n_alive(self) -> int:
        return sum(piece() is not None for piece in self.given)


class Key:
    """What a task is done for."""


def take(arena: Arena | Arenas, n_bytes: int, mark: int) -> tuple[Block, Any]:
    """A block full of a mark, and the view that the mark is in."""
    block = arena.take(n_bytes)
    assert block is not None
    assert isinstance(block.memory, Piece)
    view = block.memory.raw[block.offset : block.offset + n_bytes]
    view[:] = mark
    return block, view


def run(arena: Arena, sizes: Random, order: Random, jitter: int = 0) -> list[tuple[int, int]]:
    """Arrays that come and go; each has its own mark until it goes. Their addresses."""
    living: list[tuple[Block, Any, int]] = []
    found = []
    arena.begin()
    for i in range(200):
        n_bytes = int(2 ** sizes.uniform(0, 16)) + sizes.randrange(jitter + 1)
        mark = i % 251
        living.append((*take(arena, n_bytes, mark), mark))
        found.append((id(living[-1][0].memory), living[-1][0].offset))
        if len(living) > 12 or order.random() < 0.3:
            _, view, mark = living.pop(order.randrange(len(living)))
            assert (view == mark).all()
    for _, view, mark in living:
        assert (view == mark).all()
    return found


@pytest.mark.parametrize("seed", range(4))
def test_runs_that_are_alike_find_the_same_addresses(seed: int) -> None:
    pool = Pool()
    arena = Arena(pool, lambda: MEMORY)
    run(arena, Random(seed), Random(seed))
    assert len(pool.given) == 200
    first = run(arena, Random(seed), Random(seed))
    assert len(pool.given) == 201  # the slab
    assert pool.n_alive == 1
    assert run(arena, Random(seed), Random(seed)) == first
    assert len(pool.given) == 201


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_no_two_arrays_meet(seed: int) -> None:
    """Sizes, lives and numbers of arrays that no run before had."""
    pool = Pool()
    arena = Arena(pool, lambda: MEMORY)
    for k in range(3 * MAX_LAYOUTS):
        run(arena, Random(seed), Random(k), jitter=300 * (k % 3))
    assert pool.n_alive <= 1


def test_a_block_is_its_holders_as_long_as_it_is_held() -> None:
    """From one run into the next ones: not cleared, not given to another array."""
    arena = Arena(Pool(), lambda: MEMORY)
    arena.begin()
    take(arena, 1000, 1)
    take(arena, 5000, 2)
    for i in range(20):
        take(arena, 100 + 512 * i, 3)
    kept = []
    for k in range(4):
        arena.begin()
        kept.append((*take(arena, 1000, 4 + k), 4 + k))
        for i in range(20):
            take(arena, 100 + 512 * i, 100)
        assert all((view == mark).all() for _, view, mark in kept)


def test_no_run_finds_what_another_one_left() -> None:
    arena = Arena(Pool(), lambda: MEMORY)

    def dirty() -> set[int]:
        """What the run finds in its arrays, each in turn."""
        arena.begin()
        found, held = set[int](), []
        for i in range(20):
            held.append(arena.take(1000 + i))
            assert isinstance(held[-1].memory, Piece)
            view = held[-1].memory.raw[held[-1].offset :][: 1000 + i]
            found |= set(view.tolist())
            view[:] = 7
        return found

    assert [dirty() for _ in range(3)] == [{0xA5}, {0}, {0}]
    assert arena.keeps_memory


def test_runs_of_another_kind_are_laid_out_alone() -> None:
    pool = Pool()
    arena = Arena(pool, lambda: MEMORY)
    for size in (1 << 16, 1 << 16, 1 << 10, 1 << 10):
        arena.begin()
        held = [arena.take(size) for _ in range(4 * LIKE)]
        del held
    arena.begin()
    assert arena.idle_bytes == 4 * LIKE << 10


@pytest.mark.parametrize("n_bytes", [0, 1, GRAIN, GRAIN + 1, 4096, 4097, 10**6, 10**9 + 1])
def test_sizes_are_rounded_by_an_eighth_at_most(n_bytes: int) -> None:
    size = round_size(n_bytes)
    assert size % GRAIN == 0
    assert n_bytes <= size
    assert size < max(n_bytes * 9 / 8, n_bytes + GRAIN) + 1
    assert round_size(size) == size


@pytest.mark.parametrize("seed", range(10))
def test_blocks_of_one_time_lie_apart(seed: int) -> None:
    rng = Random(seed)
    n = rng.randrange(60)
    sizes = [GRAIN * rng.randrange(1, 30) for _ in range(n)]
    times = [(born, born + rng.randrange(1, 20)) for born in range(n)]
    offsets, n_bytes = lay_out(sizes, times)
    beside = [0] * (n + 20)
    for k in range(n):
        assert 0 <= offsets[k] <= n_bytes - sizes[k]
        for t in range(*times[k]):
            beside[t] += sizes[k]
        for j in range(k):
            if times[j][0] < times[k][1] and times[k][0] < times[j][1]:
                assert offsets[j] + sizes[j] <= offsets[k] or offsets[k] + sizes[k] <= offsets[j]
    assert max(beside) <= n_bytes <= max(2 * max(beside), 1)


def runs(arenas: Arenas, of: object, n: int, size: int = 1 << 12) -> None:
    for _ in range(n):
        with arenas.open(of):
            held = [arenas.take(size) for _ in range(20)]
            del held


def test_memory_goes_with_the_key() -> None:
    pool, key = Pool(), Key()
    arenas = Arenas(pool, MEMORY, lambda: MEMORY)
    runs(arenas, key, 2)
    assert pool.n_alive == 1
    assert arenas.idle_bytes == 20 << 12
    del key
    gc.collect()
    assert pool.n_alive == 0
    assert arenas.idle_bytes == 0


def test_few_keys_keep_their_memory_and_none_more_than_its_share() -> None:
    pool, keys = Pool(), [Key() for _ in range(MAX_KEPT + 2)]
    arenas = Arenas(pool, MEMORY, lambda: MEMORY)
    for key in keys:
        runs(arenas, key, 2)
    assert pool.n_alive == MAX_KEPT
    n_given = len(pool.given)
    runs(arenas, keys[-1], 3)
    assert len(pool.given) == n_given
    runs(arenas, keys[0], 1)
    assert len(pool.given) == n_given + 1  # another key has left; the layout is known
    large = Key()
    runs(arenas, large, 3, size=MEMORY // SLAB_SHARE // 20 + 1)
    assert len(pool.given) == n_given + 1 + 3 * 20


def test_memory_that_nobody_uses_is_given_back() -> None:
    pool, key = Pool(), Key()
    arenas = Arenas(pool, MEMORY, lambda: MEMORY)
    runs(arenas, key, 2)
    with arenas.open(key):
        assert not arenas.give_back()
        assert arenas.idle_bytes == 0
        held = arenas.take(1 << 12)
    assert arenas.idle_bytes == 0  # an array is in it
    del held
    assert arenas.idle_bytes == 20 << 12
    assert arenas.give_back()
    assert pool.n_alive == 0
    assert not arenas.give_back()


def test_a_run_does_without_a_slab_that_no_memory_is_left_for() -> None:
    pool, key = Pool(), Key()
    arenas = Arenas(pool, MEMORY, lambda: MEMORY)
    runs(arenas, key, 1)
    pool.most_bytes = 1 << 12
    runs(arenas, key, 1)
    assert len(pool.given) == 2 * 20
    pool.most_bytes = MEMORY
    runs(arenas, key, 1)
    assert len(pool.given) == 2 * 20 + 1


def test_a_task_has_one_run_at_a_time() -> None:
    """Another thread's arrays come from the pool; a task inside a task is a part of it."""
    pool, key = Pool(), Key()
    arenas = Arenas(pool, MEMORY, lambda: MEMORY)
    found: list[Block | None] = []

    def work() -> None:
        found.append(arenas.take(1))
        with arenas.open(key):
            found.append(arenas.take(1))

    with arenas.open(key), arenas.open(Key()):
        assert arenas.take(1) is not None
        thread = Thread(target=work)
        thread.start()
        thread.join()
    assert found == [None, None]
    assert arenas.take(1) is None


def test_arrays_of_a_gpu_are_in_the_slab_of_the_run() -> None:
    cupy, key = FakeCupy(), Key()
    device = CupyDevice(cupy, memory_bytes=MEMORY)

    def addresses() -> list[int]:
        with device.active(key):
            arrays = [device.empty((100 + i,), np.uint64) for i in range(20)]
            copy = device.asarray(np.arange(9))
            assert (device.to_host(copy) == np.arange(9)).all()
            return [array.data.ptr for array in arrays]

    addresses()
    first = addresses()
    assert max(first) - min(first) < 1 << 16
    assert len(set(first)) == 20
    assert addresses() == first
    idle = device.free_bytes
    with device.active(key):
        assert device.free_bytes < idle  # nothing else may count on the slab now


def test_a_gpu_takes_idle_memory_before_it_is_out_of_memory() -> None:
    cupy, key = FakeCupy(), Key()
    device = CupyDevice(cupy, memory_bytes=MEMORY)
    for _ in range(2):
        with device.active(key):
            held = [device.empty((100,), np.uint64) for _ in range(20)]
            del held
    free = device.free_bytes
    cupy.n_failing_mallocs = 1
    device.empty((2000,), np.uint64)
    assert device.free_bytes < free  # the slab is the pool's again
    cupy.n_failing_mallocs = 1
    with pytest.raises(DeviceError, match="memory"):
        device.empty((2000,), np.uint64)
