"""What a job will take, for the workers that are up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.console.machine import find_memory
from api.queue.admin import Heartbeat
from api.settings import MAX_PROOF_ROWS, Settings, share_threads
from prover.costs import Machine, find_speeds
from prover.model.network import Architecture
from prover.plan import Plan, plan_proofs


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerMachine:
    """The machine that plans are for, and the worker that it is of; None: nobody is up, and it is
    taken to be this one."""

    machine: Machine
    worker: str | None


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
