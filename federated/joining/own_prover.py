"""The client's own machine as its prover: no model, blinding or witness leaves it."""

from __future__ import annotations

import time
from pathlib import Path

from consensus.disk.task_keys import require_task_key
from consensus.wire.genesis import Task
from federated.client import ProofOrder
from federated.errors import ProvingFailed
from kernels.backend import Backend
from kernels.machine import count_memory
from prover.circuit.accuracy import AccuracyCircuit
from prover.circuit.sizes import compute_sizes
from prover.errors import SelfCheckFailed, UnsatisfiedConstraint
from prover.groth16.prove import prepare
from prover.keys.folder import VERIFYING_NAME, load_proving_key, load_verifying_half
from prover.keys.halves import ProvingKey
from prover.pipeline import compile_for_key, prove_job
from prover.plan import must_stream
from prover.progress import StageProgress, silent
from prover.randomness import RandomBytes


class OwnProver:
    """Proves under the key that a task names, which is loaded once and kept in memory."""

    def __init__(
        self,
        accuracy: AccuracyCircuit,
        key: ProvingKey,
        *,
        random_bytes: RandomBytes,
        backend: Backend,
        progress: StageProgress = silent,
    ) -> None:
        """key : prepared for the backend or not"""
        self._accuracy, self.key = accuracy, key
        self._random_bytes, self._backend, self._progress = random_bytes, backend, progress

    @classmethod
    def load(
        cls,
        task: Task,
        folder: Path,
        *,
        random_bytes: RandomBytes,
        backend: Backend,
        progress: StageProgress = silent,
    ) -> OwnProver:
        """With the key of a folder of `zkpot setup`. Raises KeyMismatch for any key but the task's,
        FormatError, OSError.
        holds : where this machine's memory has no room for the key's bases, they stay in their file
        """
        verifying, card = load_verifying_half(folder, expected_digest=task.verifying_key_digest)
        require_task_key(task, verifying)
        accuracy = compile_for_key(card, verifying)
        sizes = compute_sizes(card.architecture, card.n_samples)
        streams = must_stream(sizes, count_memory())
        key = prepare(load_proving_key(folder, verifying, streams=streams), backend)
        return cls(accuracy, key, random_bytes=random_bytes, backend=backend, progress=progress)

    def prove(self, order: ProofOrder) -> bytes:
        """An envelope, verified before it leaves. Raises ProvingFailed."""
        try:
            return prove_job(
                self._accuracy,
                self.key,
                order.model,
                images=order.images,
                labels=order.labels,
                occasion=order.occasion,
                commitment=order.commitment.public,
                blinding=order.commitment.blinding,
                random_bytes=self._random_bytes,
                backend=self._backend,
                clock=time.perf_counter,
                progress=self._progress,
            ).envelope
        except (SelfCheckFailed, UnsatisfiedConstraint) as error:
            raise ProvingFailed(f"the own prover failed: {error}") from None


def find_key_folder(task: Task, keys: Path) -> Path | None:
    """Where the key of a task lies among the keys that this machine has made or was given.

    keys : as `api.store.keyfolder` lays them out
    """
    folder = keys / task.card.digest.hex()
    return folder if (folder / VERIFYING_NAME).is_file() else None
