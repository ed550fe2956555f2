"""The machine as plans know it: its memory, its threads, and how fast it is just now."""

from __future__ import annotations

from time import perf_counter

from api.settings import Settings
from kernels.backend import Backend
from kernels.machine import count_memory
from prover.costs import Machine, time_probe

_SHARE = 0.9
"""Of the memory that all processes here have in common."""


def find_machine(backend: Backend, settings: Settings | None = None) -> Machine:
    """This machine with this backend, which is timed: a tenth of a second once it is loaded.

    settings : default those of the environment
    Raises SettingsInvalid, and what the device raises.
    """
    settings = settings or Settings.from_environment()
    return Machine.of(
        backend.info(),
        memory_bytes=find_memory(settings),
        probe_s=time_probe(backend, perf_counter),
    )


def find_memory(settings: Settings) -> int | None:
    """Bytes for one process: what was set, or nearly all that there are; None: nobody knows."""
    there = count_memory()
    return settings.memory_bytes or (None if there is None else int(_SHARE * there))
