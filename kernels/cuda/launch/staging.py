"""Copies between the memories of host and device, through pinned buffers that several threads fill.

One thread copies some 8 GB/s from ordinary to pinned memory, a sixth of what a GPU takes; to pin
the array itself costs more than to copy it. So an array goes in pieces: threads fill or empty the
buffers of some while others travel. Only the caller talks to the device: the stream that is current
in it is the one that the copies are ordered in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.cuda.launch.runtime import Array
from kernels.machine import count_processors
from kernels.numpy_types import UInt8Array

PIECE_BYTES = 4 << 20  # of each pinned buffer
N_BUFFERS = 8
MAX_THREADS = 6  # of the buffers some travel meanwhile

_Copying = deque[Future[None]]


class Staging:
    """Copies of one device; one caller at a time. Both return once the host's array is free."""

    def __init__(self, cupy: Any) -> None:
        self._cupy, self._piece_bytes = cupy, PIECE_BYTES
        memories = [cupy.cuda.alloc_pinned_memory(PIECE_BYTES) for _ in range(N_BUFFERS)]
        self._buffers = [np.frombuffer(m, np.uint8, PIECE_BYTES) for m in memories]
        self._events = [cupy.cuda.Event(disable_timing=True) for _ in range(N_BUFFERS)]

    def upload(self, array: Array, host: npt.NDArray[Any]) -> None:
        """array = host, in the order of the current stream."""
        pieces = self._pieces(array, host)
        with self._whole() as copying:
            for turn, (_, piece) in enumerate(pieces):
                k = turn % N_BUFFERS
                if turn >= N_BUFFERS:
                    self._send(k, *pieces[turn - N_BUFFERS], copying)
                self._events[k].synchronize()  # the buffer's last copy has left; or there was none
                copying.append(self._start_copy(self._buffers[k][: piece.size], piece, len(pieces)))
            for turn in range(len(pieces) - len(copying), len(pieces)):
                self._send(turn % N_BUFFERS, *pieces[turn], copying)

    def download(self, host: npt.NDArray[Any], array: Array) -> None:
        """host = array, after all work that the current stream has."""
        pieces = self._pieces(array, host)
        if not pieces:
            self._cupy.cuda.get_current_stream().synchronize()
        lag = N_BUFFERS // 2  # so many pieces travel, of the other buffers some are emptied
        with self._whole() as copying:
            for turn in range(len(pieces) + lag):
                if turn < len(pieces):
                    if len(copying) > N_BUFFERS - lag - 1:
                        _finish_first(copying)  # this buffer's
                    self._fetch(turn % N_BUFFERS, *pieces[turn])
                if (done := turn - lag) >= 0:
                    piece = pieces[done][1]
                    self._events[done % N_BUFFERS].synchronize()
                    buffer = self._buffers[done % N_BUFFERS][: piece.size]
                    copying.append(self._start_copy(piece, buffer, len(pieces)))
            while copying:
                _finish_first(copying)

    def _pieces(self, array: Array, host: npt.NDArray[Any]) -> list[tuple[Any, UInt8Array]]:
        """Each piece's place on the device and on the host."""
        raw, size = host.reshape(-1).view(np.uint8), self._piece_bytes
        return [(array.data + at, raw[at : at + size]) for at in range(0, raw.size, size)]

    def _send(self, k: int, place: Any, piece: UInt8Array, copying: _Copying) -> None:
        _finish_first(copying)
        place.copy_from_host_async(self._buffers[k].ctypes.data, piece.size)
        self._events[k].record()

    def _fetch(self, k: int, place: Any, piece: UInt8Array) -> None:
        self._events[k].synchronize()  # an upload may still be reading the buffer
        place.copy_to_host_async(self._buffers[k].ctypes.data, piece.size)
        self._events[k].record()

    def _start_copy(self, target: UInt8Array, source: UInt8Array, n_pieces: int) -> Future[None]:
        """target = source, by a thread if the array has other pieces to wait for meanwhile."""
        if n_pieces > 1:
            return self._threads.submit(np.copyto, target, source)
        target[:] = source
        done = Future[None]()
        done.set_result(None)
        return done

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        n_threads = min(MAX_THREADS, count_processors())
        return ThreadPoolExecutor(n_threads, thread_name_prefix="zkpot-staging")

    @contextmanager
    def _whole(self) -> Iterator[_Copying]:
        """Copies under way between host arrays and buffers. Who is interrupted waits for what has
        started: a copy that no event follows would meet the next one in its buffer."""
        copying = _Copying()
        try:
            yield copying
        except BaseException:
            wait(copying)
            self._cupy.cuda.get_current_stream().synchronize()
            raise


def _finish_first(copying: _Copying) -> None:
    """Only what has ended is forgotten: who is interrupted here must still wait for it."""
    copying[0].result()
    copying.popleft()
