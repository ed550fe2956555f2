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
from typing import Generic, Protocol, TypeVar

from api.settings import MAX_PROOF_ROWS
from api.store.keyfolder import KeyFolder, load_half_of
from kernels.array import G1Array, G2Array
from kernels.backend import Backend
from prover.circuit.accuracy import AccuracyCircuit, compile_accuracy
from prover.circuit.compiled import CompiledCircuit
from prover.circuit.sizes import CircuitSizes, compute_sizes
from prover.circuit.training.export import ExportCircuit, compile_export
from prover.circuit.training.export_plan import require_export
from prover.circuit.training.sizes import compute_step_sizes, require_step
from prover.circuit.training.step import StepCircuit, compile_step
from prover.groth16.prove import prepare
from prover.groth16.setup import setup_accuracy
from prover.groth16.setup_training import setup_export, setup_step
from prover.keys.card import MAX_CARD_BYTES, Card, KeyCard
from prover.keys.folder import load_proving_key, save_key
from prover.keys.halves import ProvingKey, list_bases
from prover.keys.sizes import count_key_bytes
from prover.keys.streamed import Keep, keep_in_memory, keeping_in_file
from prover.keys.training_card import ExportCard, StepCard
from prover.model.network import Architecture
from prover.plan import must_stream
from prover.progress import StageProgress
from prover.randomness import RandomBytes
from prover.training.recipe import TrainingRecipe

BASES = "bases.partial"
"""Beside the parts of a key while it is made, where memory has no room for its bases."""
_MORE_GROUPS_BYTES = 1 << 13
"""Of a key, for linked groups beyond the first: a few hundred each."""
T = TypeVar("T")
C = TypeVar("C", bound=CompiledCircuit)
C_contra = TypeVar("C_contra", bound=CompiledCircuit, contravariant=True)


class Setup(Protocol[C_contra]):
    """A key of a compiled circuit, as `prover.groth16.setup.setup_accuracy` makes it."""

    def __call__(
        self,
        circuit: C_contra,
        /,
        *,
        random_bytes: RandomBytes,
        backend: Backend,
        progress: StageProgress | None = None,
        keep: Keep = keep_in_memory,
    ) -> ProvingKey: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadyKey(Generic[C]):
    """A circuit with its key, prepared for one backend. folder : where it lies on disk"""

    circuit: C
    key: ProvingKey
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Making(Generic[C]):
    """How a circuit of one kind, and a key of it, are made.

    name  : what tells it from all others
    sizes : of the circuit, without compiling it
    """

    name: Hashable
    sizes: CircuitSizes
    compile: Callable[[], C]
    describe: Callable[[C], Card]
    setup: Setup[C]


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
        self.folder, self.memory_bytes = folder, memory_bytes
        self._random_bytes = random_bytes
        self.memory: LeastRecent[object] = LeastRecent(budget_bytes)

    def get(
        self, architecture: Architecture, n_samples: int, backend: Backend, report: StageProgress
    ) -> ReadyKey[AccuracyCircuit]:
        """The key of an accuracy circuit, made when there is none yet.

        Raises KeysFull, ProverError, OSError.
        """
        making = Making(
            name=("accuracy", architecture.digest, n_samples),
            sizes=compute_sizes(architecture, n_samples),
            compile=lambda: compile_accuracy(architecture, n_samples, max_rows=MAX_PROOF_ROWS),
            describe=KeyCard.of,
            setup=setup_accuracy,
        )
        return self._get(making, backend, report)

    def get_step(
        self, recipe: TrainingRecipe, backend: Backend, report: StageProgress
    ) -> ReadyKey[StepCircuit]:
        """The key of a training step, likewise."""
        plan = require_step(recipe, max_rows=MAX_PROOF_ROWS)
        making = Making(
            name=("step", recipe.digest),
            sizes=compute_step_sizes(plan),
            compile=lambda: compile_step(recipe),
            describe=StepCard.of,
            setup=setup_step,
        )
        return self._get(making, backend, report)

    def get_export(
        self, recipe: TrainingRecipe, backend: Backend, report: StageProgress
    ) -> ReadyKey[ExportCircuit]:
        """The key of an export, likewise."""
        plan = require_export(recipe, max_rows=MAX_PROOF_ROWS)
        making = Making(
            name=("export", recipe.digest),
            sizes=plan.sizes,
            compile=lambda: compile_export(recipe),
            describe=ExportCard.of,
            setup=setup_export,
        )
        return self._get(making, backend, report)

    def _get(self, making: Making[C], backend: Backend, report: StageProgress) -> ReadyKey[C]:
        def load() -> tuple[ReadyKey[C], int]:
            report("circuit", 0, 1)
            circuit = making.compile()
            report("circuit", 1, 1)
            card = making.describe(circuit)
            streams = must_stream(making.sizes, self.memory_bytes)
            folder = self.folder.require(
                card.digest,
                bound_key_bytes(making.sizes),
                lambda place: self._make(making, circuit, place, backend, report, streams=streams),
                report,
            )
            report("load key", 0, 1)
            verifying, _ = load_half_of(folder, type(card))
            key = prepare(load_proving_key(folder, verifying, streams=streams), backend)
            report("load key", 1, 1)
            return ReadyKey(circuit=circuit, key=key, folder=folder), count_bytes(key)

        ready = self.memory.get((making.name, backend.info().name), load)
        assert isinstance(ready, ReadyKey)
        return ready

    def _make(
        self,
        making: Making[C],
        circuit: C,
        folder: Path,
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
            key = making.setup(
                circuit,
                random_bytes=self._random_bytes,
                backend=backend,
                progress=report,
                keep=keep,
            )
            save_key(key, folder, making.describe(circuit))


def bound_key_bytes(sizes: CircuitSizes) -> int:
    """The most that the files of a circuit's key take."""
    files = count_key_bytes(sizes)
    return files.proving + files.verifying + MAX_CARD_BYTES + _MORE_GROUPS_BYTES


def count_bytes(key: ProvingKey) -> int:
    """Memory of the bases of a key, as they are or prepared."""
    return sum(
        bases.data.nbytes if isinstance(bases, G1Array | G2Array) else bases.n_bytes
        for bases in list_bases(key)
    )
