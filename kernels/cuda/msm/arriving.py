"""Scalars that go up while the first of them are summed.

The host can only send and launch in turn. So a batch sends what its next round but one needs once
a round is started, and that travels in a stream of its own while the round is summed. Who sorts a
round waits on the device for its pieces alone, and picks its scalars out of them.
"""

from __future__ import annotations

import numpy as np

from kernels.array import U64
from kernels.cuda.launch.runtime import Array, Device
from kernels.cuda.witness import gather_into, join
from kernels.numpy_types import UInt32Array


class Arriving:
    """host[index], then others: the scalars of one sum, out of an array that is on its way.

    host    : uint64[n, 4]; nobody changes it before all of it is sent
    there   : the index, of the device
    more    : uint64[m, 4], of the host
    scalars : uint64[len(index) + m, 4] of the device, filled by `gather`
    """

    def __init__(
        self, device: Device, host: U64, index: UInt32Array, there: Array, more: U64
    ) -> None:
        self._device, self._host, self._index, self._there = device, host, index, there
        self._array = device.empty(host.shape, np.uint64)
        self.scalars = device.empty((len(index) + len(more), host.shape[1]), np.uint64)
        join(device, [device.asarray(more)], self.scalars[len(index) :])
        self._is_empty = self._arrived = device.mark()
        self._n_asked = self._n_sent = 0

    def send(self, n: int) -> None:
        """Start to send what the first n scalars need; with the last of them goes all the rest.

        Raises IndexError for an index past the end: a device would read whatever lies there.
        """
        asked = self._index[self._n_asked : n]
        needed = int(asked.max()) + 1 if len(asked) else 0
        if needed > len(self._host):
            raise IndexError(f"scalar {needed - 1} of {len(self._host)}")
        if n == len(self.scalars):
            needed = len(self._host)
        if needed > self._n_sent:
            rows = slice(self._n_sent, needed)
            self._arrived = self._device.copy_aside(
                self._array[rows], self._host[rows], after=self._is_empty
            )
            self._n_sent = needed
        self._n_asked = max(self._n_asked, n)

    def gather(self, first: int, n: int) -> None:
        """Fill `scalars` from `first` on, up to n, by the current stream; it waits for them."""
        self.send(n)
        self._arrived.wait()
        rows = slice(first, min(n, len(self._index)))
        there = self._array[: self._n_sent]  # what is behind may be under way
        gather_into(self._device, self.scalars[rows], there, self._there[rows])

    def finish(self) -> Array:
        """The whole array, for the current stream."""
        self.send(len(self.scalars))
        self._arrived.wait()
        return self._array
