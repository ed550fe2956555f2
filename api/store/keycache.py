"""Keys of circuits: made once, kept on disk by their card, the last ones kept ready to prove.

All workers of a service share the folder: shards of one job must be proven under one key. Whoever
needs a key that is not there makes it, the others wait; see `keyfolder`. A key that was put into
the folder is used like one made here. The card names a circuit with the task's multipliers: models
that differ in nothing else have keys of their own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from api.settings import MAX_PROOF_ROWS
from api.store.keyfolder import KeyFolder, load_half
from kernels.array import G1Array, G2Array
from kernels.backend import Backend
from prover.circuit.accuracy import AccuracyCircuit, compile_accuracy
from prover.circuit.sizes import CircuitSizes, compute_sizes
from prover.groth16.prove import prepare
from prover.groth16.setup import setup_accuracy
from prover.keys.card import MAX_CARD_BYTES, KeyCard
from prover.keys.folder import load_proving_key, save_key
from prover.keys.halves import ProvingKey, list_bases
from prover.keys.sizes import count_key_bytes
from prover.keys.streamed import Keep, keep_in_memory, keeping_in_file
from prover.model.network import Architecture
from prover.plan import must_stream
from prover.progress import StageProgress
from prover.randomness import RandomBytes

BASES = "bases.partial"
"""Beside the parts of a key while it is made, where memory has no room for its bases."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadyKey:
    """A circuit with its key, prepared for one backend. folder : where it lies on disk"""

    accuracy: AccuracyCircuit
    key: ProvingKey
    folder: Path


class LeastRecent(Generic[T]):
    """A cache under a memory budget: the entry that was not asked for longest goes first.

    The newest entry stays even when it is larger than the budget: the work at hand needs it.

    n_bytes : what the entries take; like the counts, another thread may read it
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._entries: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self.hits = self.misses = self.n_bytes = 0

    def get(self, name: Hashable, make: Callable[[], tuple[T, int]]) -> T:
        """The entry, made (value, its bytes) when there is none."""
        if name in self._entries:
            self.hits += 1
            self._entries.move_to_end(name)
            return self._entries[name][0]
        self.misses += 1
        value, size = make()
        while self._entries and self.n_bytes + size > self._budget:
            _, (_, freed) = self._entries.popitem(last=False)
            self.n_bytes -= freed
        self._entries[name] = value, size
        self.n_bytes += size
        return value


class KeyCache:
    """Keys for one worker; not for several threads."""

    def __init__(
        self,
        folder: KeyFolder,
        *,
        budget_bytes: int,
        random_bytes: RandomBytes,
        memory_bytes: int | None = None,
    ) -> None:
        """budget_bytes : of keys that are kept in memory

        memory_bytes : of the process; where they are too few, a key's bases stay in its file
        """
        self.folder, self._memory_bytes = folder, memory_bytes
        self._random_bytes = random_bytes
        self.memory: LeastRecent[object] = LeastRecent(budget_bytes)

    def get(
        self, architecture: Architecture, n_samples: int, backend: Backend, report: StageProgress
    ) -> ReadyKey:
        """The key of a circuit, made when there is none yet.

        Raises KeysFull, ProverError, OSError.
        """

        def load() -> tuple[ReadyKey, int]:
            report("circuit", 0, 1)
            accuracy = compile_accuracy(architecture, n_samples, max_rows=MAX_PROOF_ROWS)
            report("circuit", 1, 1)
            sizes = compute_sizes(architecture, n_samples)
            streams = must_stream(sizes, self._memory_bytes)
            folder = self.folder.require(
                KeyCard.of(accuracy).digest,
                bound_key_bytes(sizes),
                lambda place: self._make(place, accuracy, backend, report, streams=streams),
                report,
            )
            report("load key", 0, 1)
            verifying, _ = load_half(folder)
            key = prepare(load_proving_key(folder, verifying, streams=streams), backend)
            report("load key", 1, 1)
            return ReadyKey(accuracy=accuracy, key=key, folder=folder), count_bytes(key)

        name = ("accuracy", architecture.digest, n_samples, backend.info().name)
        ready = self.memory.get(name, load)
        assert isinstance(ready, ReadyKey)
        return ready

    def _make(
        self,
        folder: Path,
        accuracy: AccuracyCircuit,
        backend: Backend,
        report: StageProgress,
        *,
        streams: bool,
    ) -> None:
        with ExitStack() as stack:
            keep: Keep = keep_in_memory
            if streams:
                folder.mkdir(parents=True, exist_ok=True)
                keep = stack.enter_context(keeping_in_file(folder / BASES))
            key = setup_accuracy(
                accuracy,
                random_bytes=self._random_bytes,
                backend=backend,
                progress=report,
                keep=keep,
            )
            save_key(key, folder, KeyCard.of(accuracy))


def bound_key_bytes(sizes: CircuitSizes) -> int:
    """The most that the files of a circuit's key take."""
    files = count_key_bytes(sizes)
    return files.proving + files.verifying + MAX_CARD_BYTES


def count_bytes(key: ProvingKey) -> int:
    """Memory of the bases of a key, as they are or prepared."""
    return sum(
        bases.data.nbytes if isinstance(bases, G1Array | G2Array) else bases.n_bytes
        for bases in list_bases(key)
    )
