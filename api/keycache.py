"""Keys of circuits: made once, kept on disk by circuit, the last ones kept ready to prove.

DATA_DIR/keys/<circuit digest>/{verifying.key, proving.key, circuit.json}

All workers of a service share the folder: shards of one job must be proven under one key. Whoever
needs a key that is not there makes it under a lock, the others wait. Keys made here are of a
single-party development setup; a ceremony's key is used where its files lie in the folder before.
"""

from __future__ import annotations

import fcntl
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from api.files import write_public
from api.key_card import CARD_NAME, KeyCard
from kernels.array import G1Array, G2Array
from kernels.backend import Backend
from prover.accuracy import AccuracyCircuit, compile_accuracy
from prover.keyfile import VERIFYING_NAME, load_proving_key, save_key
from prover.keys import KeyOrigin, ProvingKey
from prover.model import Architecture
from prover.progress import StageProgress
from prover.prove import prepare
from prover.randomness import RandomBytes
from prover.setup import draw_trapdoor
from prover.setup import setup as compute_key

_LOCK_PAUSE_S = 0.5

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadyKey:
    """A circuit with its key: `key` as it is on disk, `prepared` for one backend."""

    accuracy: AccuracyCircuit
    key: ProvingKey
    prepared: ProvingKey


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

    def __init__(self, directory: Path, *, budget_bytes: int, random_bytes: RandomBytes) -> None:
        self._directory, self._random_bytes = directory, random_bytes
        self.memory: LeastRecent[object] = LeastRecent(budget_bytes)

    def get(
        self, architecture: Architecture, n_samples: int, backend: Backend, report: StageProgress
    ) -> ReadyKey:
        """The key of a circuit, made when there is none yet. Raises ProverError, OSError."""

        def load() -> tuple[ReadyKey, int]:
            report("circuit", 0, 1)
            accuracy = compile_accuracy(architecture, n_samples)
            report("circuit", 1, 1)
            folder = self._directory / accuracy.digest.hex()
            self._require_on_disk(folder, architecture, accuracy, backend, report)
            report("load key", 0, 1)
            key = load_proving_key(folder)
            prepared = prepare(key, backend)
            report("load key", 1, 1)
            size = count_bytes(prepared) + count_bytes(key)
            return ReadyKey(accuracy=accuracy, key=key, prepared=prepared), size

        name = ("accuracy", architecture.digest, n_samples, backend.info().name)
        ready = self.memory.get(name, load)
        assert isinstance(ready, ReadyKey)
        return ready

    def _require_on_disk(
        self,
        folder: Path,
        architecture: Architecture,
        accuracy: AccuracyCircuit,
        backend: Backend,
        report: StageProgress,
    ) -> None:
        """Makes the key unless it is there; `verifying.key` is written last, so it is whole."""
        if (folder / VERIFYING_NAME).exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("wb") as lock:
            _await_lock(lock, report)
            if (folder / VERIFYING_NAME).exists():
                return
            key = compute_key(
                accuracy.r1cs,
                circuit_digest=accuracy.digest,
                n_challenges=accuracy.n_challenges,
                trapdoor=draw_trapdoor(self._random_bytes),
                backend=backend,
                progress=report,
            )
            card = KeyCard(
                architecture=architecture,
                n_samples=accuracy.public_layout.n_samples,
                circuit_digest=accuracy.digest,
                origin=KeyOrigin.DEVELOPMENT,
            )
            write_public(folder / CARD_NAME, card.encode())
            save_key(key, folder)


def _await_lock(lock: BinaryIO, report: StageProgress) -> None:
    """Takes the lock. Meanwhile `report` may end the work: who holds it may be frozen."""
    while True:
        report("wait for key", 0, 1)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_S)
        else:
            report("wait for key", 1, 1)
            return


def count_bytes(key: ProvingKey) -> int:
    """Memory of the bases of a key, as they are or prepared."""
    bases = (key.a, key.b1, key.b2, key.c, key.h, key.model, key.model_pok, key.advice)
    return sum(
        base.data.nbytes if isinstance(base, G1Array | G2Array) else base.n_bytes for base in bases
    )
