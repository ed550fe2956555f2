"""A client's side: a trained model becomes integers, a commitment, and a proof for this round."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from federated.errors import ProvingFailed
from federated.task_scales import quantize_for_task
from integrations.errors import ArraysUnsupported, TicketInvalid, TooFewCorrect
from integrations.flower.arrays import Arrays, list_integers, read_floats
from integrations.flower.sums import hide
from integrations.flower.task import KEY, Task, load_task
from integrations.flower.tickets import Mode, Ticket
from kernels.backend import Backend
from kernels.machine import count_memory
from prover.circuit.accuracy import AccuracyCircuit
from prover.circuit.sizes import compute_sizes
from prover.errors import RangeExceeded, SelfCheckFailed, UnsatisfiedConstraint
from prover.groth16.prove import prepare
from prover.keys.folder import load_proving_key
from prover.keys.halves import ProvingKey
from prover.model.network import QuantizedModel, is_correct
from prover.pedersen.commitment import Blinding, Committer, draw_blinding
from prover.pipeline import commit_job, compile_for_key, prove_job
from prover.plan import must_stream
from prover.randomness import RandomBytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProvenModel:
    """What a client sends.

    arrays   : OPEN: int8 weights and int32 biases; MASKED: float64, to be masked, see `sums`
    envelope : statement and proof
    blinding : rho of D_W in OPEN, where the server has the model anyhow; else None
    """

    arrays: Arrays = field(repr=False)
    envelope: bytes
    blinding: bytes | None = field(repr=False)


class Prover:
    """Proves models of one task on this machine. The key is loaded once and kept in memory."""

    def __init__(
        self,
        task: Task,
        key: ProvingKey,
        accuracy: AccuracyCircuit,
        *,
        mode: Mode,
        random_bytes: RandomBytes,
        backend: Backend,
    ) -> None:
        """key : prepared for the backend or not; mode : the client's choice, not the server's"""
        self._task, self._key, self._accuracy, self._mode = task, key, accuracy, mode
        self._random_bytes, self._backend = random_bytes, backend
        self._committer = Committer(task.architecture.n_parameters, backend)

    @classmethod
    def load(
        cls, folder: Path, *, mode: Mode, random_bytes: RandomBytes, backend: Backend
    ) -> Prover:
        """With the key of a task's folder, which stays on the disk where memory has no room for it.

        Raises FormatError, KeyMismatch, CircuitTooLarge, OSError.
        """
        task = load_task(folder)
        accuracy = compile_for_key(task.card, task.key)
        streams = must_stream(compute_sizes(task.architecture, task.n_samples), count_memory())
        key = prepare(load_proving_key(folder / KEY, task.key, streams=streams), backend)
        return cls(task, key, accuracy, mode=mode, random_bytes=random_bytes, backend=backend)

    def prove(self, arrays: Arrays, ticket: Ticket, node: int) -> ProvenModel:
        """What this node answers to a ticket with a model that it has trained.

        raises : TicketInvalid, ArraysUnsupported, TooFewCorrect, ProvingFailed; none of them says
                 a weight: Flower sends what a client raises to the server
        """
        self._require(ticket)
        model = self._round(arrays)
        self._require_enough(model)
        blinding = draw_blinding(self._random_bytes)
        envelope = self._prove(model, blinding, ticket, node)
        if self._mode is Mode.MASKED:
            return ProvenModel(arrays=hide(model, blinding), envelope=envelope, blinding=None)
        return ProvenModel(
            arrays=list_integers(model), envelope=envelope, blinding=blinding.encode()
        )

    def _require(self, ticket: Ticket) -> None:
        if ticket.task != self._task.digest:
            raise TicketInvalid(
                f"the server has task {ticket.task.hex()[:16]}, this client has "
                f"{self._task.digest.hex()[:16]}: give both the same folder"
            )
        if ticket.mode is not self._mode:
            raise TicketInvalid(
                f"the server asks for {ticket.mode} models, this client sends {self._mode} ones: "
                "secure=True belongs to both sides or to none"
            )

    def _round(self, arrays: Arrays) -> QuantizedModel:
        task = self._task
        floats = read_floats(arrays, task.architecture, task.scales)
        try:
            return quantize_for_task(floats, task.architecture, task.scales)
        except RangeExceeded as error:
            text = f"leave a range of the circuit: {error.public_message}"
        raise ArraysUnsupported(text, task.architecture.name)  # without the private value behind it

    def _require_enough(self, model: QuantizedModel) -> None:
        inputs, task = self._task.inputs, self._task
        count = int(is_correct(model.logits(inputs.images), inputs.labels).sum())
        if count < task.n_correct:
            raise TooFewCorrect(task.n_correct, task.n_samples)

    def _prove(self, model: QuantizedModel, blinding: Blinding, ticket: Ticket, node: int) -> bytes:
        """In MASKED no more is claimed than the task asks for: the count is nobody's affair."""
        inputs = self._task.inputs
        try:
            return prove_job(
                self._accuracy,
                self._key,
                model,
                images=inputs.images,
                labels=inputs.labels,
                occasion=ticket.get_occasion(node),
                commitment=commit_job(model, blinding, self._committer),
                blinding=blinding,
                random_bytes=self._random_bytes,
                backend=self._backend,
                clock=time.perf_counter,
                claimed=self._task.n_correct if self._mode is Mode.MASKED else None,
            ).envelope
        except (SelfCheckFailed, UnsatisfiedConstraint) as error:
            raise ProvingFailed(f"the own prover failed: {error}") from None
