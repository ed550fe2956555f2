"""The work behind one task of a training job: a step of a trajectory, or its export.

    order ──> its record ──> circuit and key ──> do the commitments fit? ──> proof

What an order says of itself is the caller's word: a step that is none, or another commitment, ends
the job with a sentence for its owner before anything is proven.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from api.errors import TaskFailed
from api.store.keycache import KeyCache, ReadyKey
from federated.provable.orders import TrainingOrder
from kernels.backend import Backend
from kernels.numpy_types import Int64Array
from prover.circuit.sizes import CircuitSizes
from prover.circuit.training.export import ExportCircuit
from prover.circuit.training.export_plan import require_export
from prover.circuit.training.sizes import compute_step_sizes, require_step
from prover.circuit.training.step import StepCircuit
from prover.errors import RangeExceeded
from prover.keys.halves import ProvingKey
from prover.pedersen.commitment import Committer, SecretCommitment
from prover.pedersen.opening import opens
from prover.progress import StageProgress
from prover.randomness import RandomBytes
from prover.steps import prove_export, prove_step
from prover.training.batch import count_batch_wires
from prover.training.masters import export
from prover.training.step import train_step

MISFIT = "training_misfit"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingPart:
    """One part of an order, on one device. load_committer : for so many values"""

    order: TrainingOrder
    keys: KeyCache
    load_committer: Callable[[int], Committer]
    random_bytes: RandomBytes
    backend: Backend
    report: StageProgress

    def prove(self, task: int) -> bytes:
        """The envelope of this step of the order or, behind all steps, of the export.

        Raises TaskFailed for what is no step, or does not fit its commitments, and for a key that
        is not the one that is asked for; FormatError, KeysFull, ProverError, OSError.
        """
        if task < self.order.head.n_steps:
            return self._prove_step(task)
        return self._prove_export()

    def compute_sizes(self, task: int) -> CircuitSizes:
        """Of the circuit of this step, or of the export. Raises ArchitectureInvalid."""
        recipe = self.order.recipe
        if task < self.order.head.n_steps:
            return compute_step_sizes(require_step(recipe))
        return require_export(recipe).sizes

    def _prove_step(self, index: int) -> bytes:
        head, recipe = self.order.head, self.order.recipe
        t, record = int(head.steps[index]), self.order.read_step(index)
        masters = record.masters.astype(np.int64)
        try:
            trace = train_step(recipe, masters, record.images, record.labels)
        except RangeExceeded as error:
            raise _refuse(
                f"step {t} leaves a range of its recipe: {error.public_message}"
            ) from None
        self._require(f"step {t}", "masters before it", masters, record.before)
        self._require(f"step {t}", "batch", trace.batch.wires, record.data)
        self._require(f"step {t}", "masters after it", trace.after, record.after)
        ready = self._find_step_key()
        return prove_step(
            ready.circuit,
            ready.key,
            trace,
            t=t,
            occasion=head.occasion,
            before=record.before,
            after=record.after,
            data=record.data,
            random_bytes=self.random_bytes,
            backend=self.backend,
            clock=time.perf_counter,
            progress=self.report,
        ).envelope

    def _prove_export(self) -> bytes:
        record = self.order.read_export()
        masters = record.masters.astype(np.int64)
        try:
            model = export(self.order.recipe, masters)
        except RangeExceeded as error:
            raise _refuse(
                f"the export leaves a range of its recipe: {error.public_message}"
            ) from None
        self._require("the export", "masters", masters, record.of_masters)
        self._require("the export", "model", model.wires, record.of_model)
        ready = self._find_export_key()
        return prove_export(
            ready.circuit,
            ready.key,
            masters,
            occasion=self.order.head.occasion,
            of_masters=record.of_masters,
            of_model=record.of_model,
            random_bytes=self.random_bytes,
            backend=self.backend,
            clock=time.perf_counter,
            progress=self.report,
        ).envelope

    def _require(
        self, what: str, of: str, values: Int64Array, commitment: SecretCommitment
    ) -> None:
        """TaskFailed unless the commitment is to these values.

        cost : 35 ms of one thread for the masters of an mlp-784-128-10, whose proof takes seconds
        """
        recipe = self.order.recipe
        n_wires = max(recipe.architecture.n_parameters, count_batch_wires(recipe))
        committer = self.load_committer(n_wires)
        if not opens(commitment.public.d, values, commitment.blinding.rho, committer):
            raise _refuse(f"{what} does not fit the commitment to its {of}")

    def _find_step_key(self) -> ReadyKey[StepCircuit]:
        ready = self.keys.get_step(self.order.recipe, self.backend, self.report)
        _require_key(ready.key, self.order.head.step_key, "a step")
        return ready

    def _find_export_key(self) -> ReadyKey[ExportCircuit]:
        ready = self.keys.get_export(self.order.recipe, self.backend, self.report)
        _require_key(ready.key, self.order.head.export_key, "an export")
        return ready


def _require_key(key: ProvingKey, wanted: bytes, what: str) -> None:
    found = key.verifying.digest
    if wanted and found != wanted:
        raise TaskFailed(
            "key_mismatch",
            f"the key of {what} is {found.hex()} here, and {wanted.hex()} is asked for: have the "
            "operator put the folder of that key in its place, or ask for none",
        )


def _refuse(what: str) -> TaskFailed:
    return TaskFailed(MISFIT, f"{what}; train again, commit to every step, and write a new order")
