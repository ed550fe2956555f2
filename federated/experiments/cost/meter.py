"""What is counted of a round: processor and wall seconds by phase, and bytes."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from consensus.content.blobs import FileBlobs

CLIENT_PHASES = ("train", "quantize", "commit", "prove", "mask", "unmask")
NODE_PHASES = ("verify", "open", "vote")
OTHER = "rest"
"""Of nodes: what registration, commits and beacons cost them."""


class Meter:
    """Seconds of this process by phase; a phase within another is counted once, as its own.

    cpu_s : processor seconds of all threads; wall_s : as a clock on the wall has them
    """

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = defaultdict(float)
        self.wall_s: dict[str, float] = defaultdict(float)
        self._under_way: list[str] = []
        self._since = _read_clocks()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._charge()
        self._under_way.append(name)
        try:
            yield
        finally:
            self._charge()
            self._under_way.pop()

    def _charge(self) -> None:
        """To the innermost phase under way what has passed since the last change."""
        now = _read_clocks()
        if self._under_way:
            name = self._under_way[-1]
            self.cpu_s[name] += now[0] - self._since[0]
            self.wall_s[name] += now[1] - self._since[1]
        self._since = now


def _read_clocks() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


class CountedBlobs(FileBlobs):
    """A folder of blobs that knows how many bytes came into it, each blob once."""

    n_bytes = 0

    def put(self, raw: bytes) -> bytes:
        """As `FileBlobs.put`."""
        digest = hashlib.sha256(raw).digest()
        if self.read_part(digest, 0, 0) is None:
            self.n_bytes += len(raw)
        return super().put(raw)


def measure_hash_rate(seconds: float = 0.3) -> float:
    """Hashes of a second of one core: SHA-256 twice over a header of 80 bytes, as Bitcoin has them,
    by this processor and Python's library."""
    header, count = bytes(76), 0
    started = time.process_time()
    while time.process_time() - started < seconds:
        for nonce in range(count, count + 2000):
            hashlib.sha256(hashlib.sha256(header + nonce.to_bytes(4, "little")).digest()).digest()
        count += 2000
    return count / (time.process_time() - started)
