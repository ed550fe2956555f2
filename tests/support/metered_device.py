"""An emulated device that counts the memory of its arrays, as a pool under a cap does."""

from __future__ import annotations

import weakref
from typing import Any

from tests.support.cuda_emulator import EmulatedDevice


class MeteredDevice(EmulatedDevice):
    """Knows how much memory its arrays take together, now and at most."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.used = self.peak = 0

    @property
    def free_bytes(self) -> int:
        return self.memory_bytes - self.used

    def empty(self, *args: Any) -> Any:
        return self._meter(super().empty(*args))

    def zeros(self, *args: Any) -> Any:
        return self._meter(super().zeros(*args))

    def upload_constant(self, *args: Any) -> Any:
        return self._meter(super().upload_constant(*args))  # `asarray` is one

    def _meter(self, array: Any) -> Any:
        self.used += array.nbytes
        self.peak = max(self.peak, self.used)
        weakref.finalize(array, self._release, array.nbytes)
        return array

    def _release(self, n_bytes: int) -> None:
        self.used -= n_bytes
