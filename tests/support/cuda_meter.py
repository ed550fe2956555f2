"""What a device would have to do: counted while the emulator does it.

One meter for the process, since an emulated array knows no device: read it with `metered`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """Work since the meter was set.

    launches         : of our kernels, by name
    operations       : of the package of arrays, by name: a kernel of its own each
    allocations      : of memory of the device
    synchronizations : times that the host waited for the device
    contexts         : times that a thread made the device its own
    uploads          : bytes of each copy to the device
    downloads        : bytes of each copy to the host
    """

    launches: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    allocations: int = 0
    synchronizations: int = 0
    contexts: int = 0
    uploads: list[int] = field(default_factory=list)
    downloads: list[int] = field(default_factory=list)

    @property
    def n_launches(self) -> int:
        """Kernels started, ours and those of operations."""
        return self.launches.total() + self.operations.total()

    def note(self, operation: str, *, waits: bool = False) -> None:
        """One operation on arrays."""
        self.operations[operation] += 1
        self.synchronizations += waits

    def bring_down(self, n_bytes: int) -> None:
        """One copy to the host, which waits for it."""
        self.downloads.append(n_bytes)
        self.synchronizations += 1


METER = Counts()


@contextmanager
def metered() -> Iterator[Counts]:
    """Counts of what happens inside."""
    fresh = Counts()
    for name in Counts.__slots__:
        setattr(METER, name, getattr(fresh, name))
    yield METER
