"""What a job will take, for the workers that are up: planned before it enters the queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from api.console.machine import find_memory
from api.http.auth import Caller
from api.http.circuits import DIGEST
from api.http.problems import ApiProblem
from api.http.schemas import JobRequest, PlanRequest
from api.http.service_refusals import refusing_callers
from api.queue.admin import Heartbeat, QueueAdmin
from api.queue.jobs import AccuracyWork
from api.queue.queue import JobQueue
from api.settings import MAX_PROOF_ROWS, MAX_TASKS_PER_JOB, Settings, share_threads
from api.store.uploads import UploadKind, UploadStore
from prover.circuit.training.export_plan import plan_export
from prover.circuit.training.plan import plan_step
from prover.circuit.training.sizes import compute_step_sizes
from prover.costs import Machine, find_speeds, measure_proving, measure_setup
from prover.errors import ArchitectureInvalid, DoesNotFit
from prover.model.network import Architecture
from prover.model.presets import parse_architecture
from prover.model.samples import is_sample_shape
from prover.model.zkq import decode_model
from prover.plan import Plan, must_stream, plan_proofs, write_bytes
from prover.training.recipe import TrainingRecipe

_REMEMBERED = 4096
"""Models, and sets of samples, whose sizes are kept in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerMachine:
    """The machine that plans are for, and the worker that it is of; None: nobody is up, and it is
    taken to be this one."""

    machine: Machine
    worker: str | None


class Planner:
    """Plans jobs on what callers have uploaded. Refusals are `ApiProblem`."""

    def __init__(self, store: UploadStore, queue: JobQueue) -> None:
        self._store, self._settings, self._admin = store, queue.settings, QueueAdmin(queue)
        # What stands behind a digest or a name never changes.
        self._decode_architecture = lru_cache(_REMEMBERED)(self._decode_architecture_now)
        self._measure_samples = lru_cache(_REMEMBERED)(self._measure_samples_now)

    def plan(self, caller: Caller, request: PlanRequest) -> tuple[Architecture, Plan, str | None]:
        """What is planned for, the plan, and the worker that it is for.

        ApiProblem: not_found, bad_dataset, refused, invalid_request.
        """
        architecture = self._find_architecture(caller, request)
        found = self._plan_samples(caller, architecture, request.dataset, request.n_samples)
        return architecture, *found

    def plan_work(self, caller: Caller, request: JobRequest) -> AccuracyWork:
        """The work that is asked for. ApiProblem unless it fits the model, the samples and us."""
        with refusing_callers():
            self._store.require(caller.name, UploadKind.MODEL, request.model_id)
            architecture = self._decode_architecture(caller.name, request.model_id)
            if request.commitment_id is not None:
                self._store.require(caller.name, UploadKind.COMMITMENT, request.commitment_id)
        plan, _ = self._plan_samples(caller, architecture, request.dataset, request.n_samples)
        return AccuracyWork(
            model_id=request.model_id,
            dataset=request.dataset,
            n_total=plan.n_total,
            n_samples=plan.n_samples,
            commitment_id=request.commitment_id,
            **request.statement.model_dump(),
        )

    def require_training(self, recipe: TrainingRecipe) -> None:
        """ApiProblem refused where no worker can prove a step of this recipe, or its export."""
        with refusing_callers():
            chosen = choose_machine(self._admin.list_workers(), self._settings)
        try:
            require_training(recipe, chosen.machine)
        except ArchitectureInvalid as error:
            raise ApiProblem("refused", str(error)) from None

    def _plan_samples(
        self, caller: Caller, architecture: Architecture, dataset: str, n_samples: int | None
    ) -> tuple[Plan, str | None]:
        """The plan of a job on these samples, and the worker that it is for. ApiProblem."""
        with refusing_callers():
            if DIGEST.fullmatch(dataset):
                self._store.require(caller.name, UploadKind.DATASET, dataset)
            n_total, shape = self._measure_samples(caller.name, dataset)
            chosen = choose_machine(self._admin.list_workers(), self._settings)
        if not is_sample_shape(shape, architecture.input_shape):
            raise ApiProblem(
                "bad_dataset",
                f"samples {list(shape)}, the model takes {list(architecture.input_shape)}",
            )
        if n_samples is not None and n_total > MAX_TASKS_PER_JOB * n_samples:
            raise ApiProblem(
                "refused",
                f"{n_total} samples make more than {MAX_TASKS_PER_JOB} shards of at most "
                f"{n_samples}: take more n_samples",
            )
        try:
            plan = plan_job(architecture, n_total, n_samples, chosen.machine)
        except ArchitectureInvalid as error:
            raise ApiProblem("refused", str(error)) from None
        return plan, chosen.worker

    def _find_architecture(self, caller: Caller, request: PlanRequest) -> Architecture:
        """That the request names. ApiProblem not_found, invalid_request."""
        if (request.model_id is None) == (request.architecture is None):
            raise ApiProblem("invalid_request", "give one of model_id and architecture")
        if request.model_id is None:
            try:
                return parse_architecture(str(request.architecture))
            except ArchitectureInvalid as error:
                raise ApiProblem("invalid_request", str(error)) from None
        with refusing_callers():
            self._store.require(caller.name, UploadKind.MODEL, request.model_id)
            return self._decode_architecture(caller.name, request.model_id)

    def _decode_architecture_now(self, owner: str, model_id: str) -> Architecture:
        return decode_model(self._store.get(owner, UploadKind.MODEL, model_id)).architecture

    def _measure_samples_now(self, owner: str, dataset: str) -> tuple[int, tuple[int, ...]]:
        """How many samples, and the shape of one."""
        images, labels = self._store.load_samples(owner, dataset)
        return len(labels), images.shape[1:]


def choose_machine(workers: Sequence[Heartbeat], settings: Settings) -> WorkerMachine:
    """Of all workers the one with the least memory, since every shard may come to it."""
    known = [one for one in workers if one.threads > 0 and not one.draining]
    least = min(known, key=lambda one: (one.memory_bytes or 1 << 62, one.worker), default=None)
    if least is None:
        machine = Machine(
            threads=share_threads(1), memory_bytes=find_memory(settings), speeds_ns=find_speeds("")
        )
        return WorkerMachine(machine=machine, worker=None)
    machine = Machine(
        threads=least.threads,
        memory_bytes=least.memory_bytes,
        speeds_ns=find_speeds(least.lanes, least.probe_s),
    )
    return WorkerMachine(machine=machine, worker=least.worker)


def plan_job(
    architecture: Architecture, n_total: int, n_samples: int | None, machine: Machine
) -> Plan:
    """The plan of a job. Raises ArchitectureInvalid where there is none, and says what to change.

    n_samples : of the circuit; None: the planner's choice
    """
    return plan_proofs(architecture, n_total, machine, n_samples=n_samples, max_rows=MAX_PROOF_ROWS)


def require_training(recipe: TrainingRecipe, machine: Machine) -> None:
    """Raises ArchitectureInvalid where a step of this recipe, or its export, fits no proof on this
    machine, and says what to change."""
    name = recipe.architecture.name
    for what, sizes in (
        (f"a training step of {name}", compute_step_sizes(plan_step(recipe))),
        (f"an export of {name}", plan_export(recipe).sizes),
    ):
        streams, room = must_stream(sizes, machine.memory_bytes), machine.memory_bytes
        sizes.require_fit(what, 0, max_rows=MAX_PROOF_ROWS, max_bytes=room)
        peak = max(measure_setup(sizes, streams=streams), measure_proving(sizes, streams=streams))
        if room is not None and peak > room:
            raise DoesNotFit(
                f"{what} takes {write_bytes(peak)} of memory, and there are {write_bytes(room)}; "
                "take a smaller batch or network"
            )
