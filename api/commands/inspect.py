"""`zkpot inspect`: what a proof for a model would cost, and why the circuit is as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from api.console.options import BackendName, ModelOrName, Norm, NSamples
from api.console.output import AsJson, emit_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from api.console.estimate import Estimate
    from prover.circuit.accuracy import AccuracyCircuit, CircuitReport
    from prover.circuit.norm.circuit import NormCircuit, NormReport
    from prover.circuit.sizes import CircuitSizes
    from prover.costs import Machine
    from prover.plan import Plan


def register(app: typer.Typer) -> None:
    app.command()(inspect)


def inspect(
    model: ModelOrName,
    samples: NSamples = None,
    norm: Norm = None,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """What proofs for a model take here, and each part of the circuit; reads no weight."""
    from api.console.estimate import estimate
    from api.console.machine import find_machine
    from api.console.refusals import load_backend, refusing

    with refusing(as_json=as_json):
        machine = find_machine(load_backend(backend))
        sizes, plan, compile_circuit = _plan(model, samples, norm, machine)
        circuit = compile_circuit()
    report = circuit.explain()
    expected = estimate(sizes, report.lines, machine)
    if as_json:
        emit_json(
            report.to_json()
            | {
                "circuit_digest": circuit.digest.hex(),
                "plan": None if plan is None else plan.to_json(),
                "seconds": {
                    "total": expected.total_s,
                    "lines": list(expected.lines_s),
                    "padding": expected.padding_s,
                    "committed": expected.committed_s,
                },
            }
        )
        return
    _show(report, plan, expected)


def _plan(
    model: str, samples: int | None, norm: str | None, machine: Machine
) -> tuple[CircuitSizes, Plan | None, Callable[[], AccuracyCircuit | NormCircuit]]:
    """The sizes of the circuit that is asked for, its plan, and what compiles it."""
    from api.console.model_files import find_architecture, require_norm_plan
    from api.console.refusals import meaning
    from prover.circuit.accuracy import compile_accuracy
    from prover.circuit.norm.circuit import compile_plan
    from prover.errors import ArchitectureInvalid
    from prover.plan import USUAL_SAMPLES, plan_proofs

    if norm is None:
        n_total, architecture = samples or USUAL_SAMPLES, find_architecture(model)
        with meaning("--samples", ArchitectureInvalid):
            plan = plan_proofs(architecture, n_total, machine, n_samples=samples)
        return plan.sizes, plan, lambda: compile_accuracy(architecture, plan.n_samples)
    if samples is not None:
        raise typer.BadParameter("give --samples or --norm, not both")
    norm_plan = require_norm_plan(model, norm)
    return norm_plan.sizes, None, lambda: compile_plan(norm_plan)


def _show_plan(console: Console, plan: Plan) -> None:
    from prover.plan import write_bytes, write_seconds

    s, limit = plan.seconds, plan.memory_bytes
    there = "" if limit is None else f" of {write_bytes(limit)}"
    streamed = ", read from its file as it is used" if plan.streams else ""
    proofs = f"{plan.n_shards} of up to {plan.n_samples} samples" if plan.n_shards > 1 else "1"
    facts = {
        "proofs": proofs,
        "key": f"{write_bytes(plan.key.proving)}{streamed}; "
        f"verifiers read {plan.key.verifying >> 10} KiB",
        "memory": f"{write_bytes(plan.setup_bytes)} to make the key, "
        f"{write_bytes(plan.prove_bytes)} to prove{there}",
        "time": f"{write_seconds(s.compile + s.setup)} to make the key, once; "
        f"{write_seconds(s.load)} to load it; {write_seconds(s.prove)} to prove, "
        f"{write_seconds(s.verify)} to verify",
    }
    for name, value in facts.items():
        console.print(f"{name}: {value}")


def _show(report: CircuitReport | NormReport, plan: Plan | None, expected: Estimate) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    console.print(f"{report.subject}: {report.rows} rows on {report.domain} points")
    if plan is not None:
        _show_plan(console, plan)
    wires = ", ".join(f"{n} {group}" for group, n in report.wires.items())
    console.print(f"wires: {wires}")
    console.print(f"range table: {report.width_reason}")
    table = Table(box=None)
    for name in ("part", "gadget"):
        table.add_column(name)
    for name in ("rows", "private wires", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("why")
    for line, seconds in zip(report.lines, expected.lines_s, strict=True):
        numbers = (str(line.rows), str(line.private_wires), f"{seconds:.2f}")
        table.add_row(line.part, line.gadget, *numbers, line.why)
    blank = report.domain - report.rows
    table.add_row(
        "padding", "", str(blank), "", f"{expected.padding_s:.2f}", "to a sum of powers of two"
    )
    table.add_row("committed", "", "", "", f"{expected.committed_s:.2f}", "small values, cheap")
    table.add_row("total", "", str(report.domain), "", f"{expected.total_s:.2f}", "")
    console.print(table)
    console.print("seconds are an estimate, for a device as fast as this one is just now")
