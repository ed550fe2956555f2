"""`kernels.backend.Inverses` on a device: its zeros are noted there, and come down together."""

from __future__ import annotations

import numpy as np

from kernels.array import FrMont
from kernels.cuda.launch.runtime import Device
from kernels.cuda.plan import require_inversion
from kernels.cuda.pointwise import NO_ZERO, start_inverse
from kernels.cuda.witness import fill


class DeviceInverses:
    """n inversions on one device."""

    def __init__(self, device: Device, n: int) -> None:
        self._device, self._n_done = device, 0
        self._first_zeros = device.empty((n + 1,), np.uint32)  # the last one's tells nothing
        fill(device, self._first_zeros, NO_ZERO)

    def invert(self, a: FrMont) -> FrMont:
        """See `Inverses.invert`. Raises DoesNotFit."""
        k, self._n_done = self._n_done, self._n_done + 1
        require_inversion(len(a), self._device.free_bytes)
        if len(a) == 0:
            return a
        with self._device.active():
            is_there = self._device.holds(a.data)
            words = a.data if is_there else self._device.asarray(a.data)
            zeros = self._first_zeros
            out = start_inverse(self._device, words, zeros[k : k + 1], zeros[-1:])
            return FrMont(out if is_there else self._device.to_host(out))

    def find_zero(self) -> tuple[int, int] | None:
        """See `Inverses.find_zero`; it waits for the device."""
        if self._n_done == 0:
            return None
        found = self._device.to_host(self._first_zeros)[:-1]
        zeros = np.flatnonzero(found != NO_ZERO)
        return (int(zeros[0]), int(found[zeros[0]])) if len(zeros) else None
