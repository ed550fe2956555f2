"""`zkpot inspect`: what a proof for a model would cost, and why the circuit is as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from api.console.options import BackendName, ModelOrName, Norm, NSamples
from api.console.output import AsJson, emit_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.console.estimate import Estimate
    from prover.circuit.accuracy import AccuracyCircuit, CircuitReport
    from prover.circuit.norm import NormCircuit, NormReport
    from prover.circuit.sizes import CircuitSizes

DEFAULT_SAMPLES = 1024


def register(app: typer.Typer) -> None:
    app.command()(inspect)


def inspect(
    model: ModelOrName,
    samples: NSamples = None,
    norm: Norm = None,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Wires, rows and seconds per layer and gadget; reads no weight."""
    import time

    from api.console.estimate import estimate, measure_rates
    from api.console.refusals import load_backend, refusing

    with refusing(as_json=as_json):
        sizes, compile_circuit = _plan(model, samples, norm)
        device = load_backend(backend)
        circuit = compile_circuit()
        rates = measure_rates(device, time.perf_counter)
    report = circuit.explain()
    expected = estimate(sizes, report.lines, rates)
    if as_json:
        emit_json(
            report.to_json()
            | {
                "circuit_digest": circuit.digest.hex(),
                "seconds": {
                    "total": expected.total_s,
                    "lines": list(expected.lines_s),
                    "padding": expected.padding_s,
                    "committed": expected.committed_s,
                },
                "rates_ns": rates.to_json(),
            }
        )
        return
    _show(report, expected)


def _plan(
    model: str, samples: int | None, norm: str | None
) -> tuple[CircuitSizes, Callable[[], AccuracyCircuit | NormCircuit]]:
    """The sizes of the circuit that is asked for, and what compiles it."""
    from api.console.model_files import require_architecture, require_norm_plan
    from prover.circuit.accuracy import compile_accuracy
    from prover.circuit.norm import compile_plan
    from prover.circuit.sizes import compute_sizes

    if norm is None:
        n_samples = samples or DEFAULT_SAMPLES
        architecture = require_architecture(model, n_samples)
        sizes = compute_sizes(architecture, n_samples)
        return sizes, lambda: compile_accuracy(architecture, n_samples)
    if samples is not None:
        raise typer.BadParameter("give one of --samples and --norm")
    plan = require_norm_plan(model, norm)
    return plan.sizes, lambda: compile_plan(plan)


def _show(report: CircuitReport | NormReport, expected: Estimate) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    console.print(f"{report.subject}: {report.rows} rows of 2^{report.lg_rows}")
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
    blank = (1 << report.lg_rows) - report.rows
    table.add_row("padding", "", str(blank), "", f"{expected.padding_s:.2f}", "to a power of two")
    table.add_row("committed", "", "", "", f"{expected.committed_s:.2f}", "small values, cheap")
    table.add_row("total", "", str(1 << report.lg_rows), "", f"{expected.total_s:.2f}", "")
    console.print(table)
    console.print("seconds are an estimate, from operations timed on this device just now")
