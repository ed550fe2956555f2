"""Suite `plan`: what keys and proofs take, for each unit that the plan said before.

A value of 1 is a plan that came true, above 1 took more. Rows and bytes of the key are the answers:
they are exact. The machine is timed just before, as commands do it, so other work on it shows less.
`python -m bench.suites.planning fit` prints the constants that fit best.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from time import perf_counter
from typing import Any

from bench.registry import BenchCase, Suite, Task
from bench.suites.planning import NETS, QUICK_NETS, Measured
from kernels.backend import get_backend
from prover.costs import Machine, measure_proving, measure_setup, time_probe

_PHASES = ("compile", "setup", "load", "prove", "verify")
_BY_PEAK = {"setup": measure_setup, "prove": measure_proving}


@cache
def measure(name: str, n_samples: int, *, streams: bool) -> tuple[Measured, Machine]:
    """A net with what it took, and the machine as it was before."""
    backend = get_backend("cpu")
    machine = Machine.of(
        backend.info(), memory_bytes=None, probe_s=time_probe(backend, perf_counter)
    )
    net = Measured(name, n_samples, streams)
    assert net.found
    return net, machine


def compare_seconds(phase: str, net: Measured, machine: Machine) -> float:
    """Measured by planned seconds."""
    work, seconds = [*net.list_work()][_PHASES.index(phase)]
    return seconds / machine.time(work)


def compare_memory(mode: str, net: Measured, _: Machine) -> float:
    """Measured by planned peak."""
    planned = _BY_PEAK[mode](net.sizes, streams=net.streams)
    return float(net.found[mode]["peak_bytes"] / planned)


def _make_case(
    name: str, n_samples: int, what: str, compare: Callable[[Measured, Machine], float]
) -> BenchCase:
    streams = what.startswith("streamed")
    run = partial(measure, name, n_samples, streams=streams)

    def answer(found: tuple[Measured, Machine]) -> list[Any]:
        setup = found[0].found["setup"]
        return [setup["rows"], setup["key_bytes"]]

    def expect() -> list[int]:
        net = Measured(name, n_samples)
        return [net.sizes.n_rows, net.key.proving]

    return BenchCase(
        id=f"plan.{what}.{name}.n{n_samples}",
        params={"model": name, "samples": n_samples},
        unit="measured/planned",
        make=lambda: Task(run=run, answer=answer, reading=lambda found: compare(*found)),
        expect=expect,
        n_max=1,
    )


def build_suite(*, quick: bool) -> Suite:
    cases = []
    for name, n in QUICK_NETS if quick else NETS:
        cases += [_make_case(name, n, phase, partial(compare_seconds, phase)) for phase in _PHASES]
        for mode in _BY_PEAK:
            for kind in ("whole", "streamed"):
                compare = partial(compare_memory, mode)
                cases.append(_make_case(name, n, f"{kind} {mode} memory", compare))
    return Suite(cases=cases)
