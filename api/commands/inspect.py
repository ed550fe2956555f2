"""`zkpot inspect`: what a proof for a model would cost, and why the circuit is as it is; what a key
or a file says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.console.options import (
    BackendName,
    BatchSize,
    Norm,
    NSamples,
    Training,
    choose_training,
)
from api.console.output import AsJson, emit_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from api.console.estimate import Estimate
    from prover.circuit.accuracy import AccuracyCircuit
    from prover.circuit.compiled import Report
    from prover.circuit.norm.circuit import NormCircuit
    from prover.circuit.sizes import CircuitSizes
    from prover.circuit.training.export import ExportCircuit
    from prover.circuit.training.step import StepCircuit
    from prover.costs import Machine
    from prover.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A circuit that is shown: its sizes, what compiles it, and what else is known of it.

    name  : that tells it from others of one command; facts : of its key, where there is one
    """

    sizes: CircuitSizes
    compile_circuit: Callable[[], AccuracyCircuit | NormCircuit | StepCircuit | ExportCircuit]
    plan: Plan | None = None
    name: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def register(app: typer.Typer) -> None:
    app.command()(inspect)


def inspect(
    model: Annotated[
        str,
        typer.Argument(
            help="A .zkq file, or a name: mlp-784-128-10, lenet5. Also a key folder, a proof, a "
            "file of commitments."
        ),
    ],
    samples: NSamples = None,
    norm: Norm = None,
    training: Training = False,
    batch: BatchSize = None,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """What proofs for a model take here, and each part of the circuit; reads no weight.

    Of a key folder: the circuit that it is for. Of any other file: what it says, not judged.
    """
    from api.console.machine import find_machine
    from api.console.refusals import load_backend, refusing

    about_training = choose_training(training, batch, samples, norm)
    with refusing(as_json=as_json):
        path = Path(model)
        if path.is_file() and not about_training and not _is_model(path):
            from api.console.described import describe_file

            facts = describe_file(path)
            emit_json(facts) if as_json else _show_facts(facts)
            return
        machine = find_machine(load_backend(backend))
        if path.is_dir():
            subjects = _list_keys(path, machine)
        elif about_training:
            subjects = _list_training(model, batch, machine)
        else:
            subjects = [_plan(model, samples, norm, machine)]
        shown = [_explain(subject, machine, as_json=as_json) for subject in subjects]
    if as_json:
        named = {s.name: found for s, found in zip(subjects, shown, strict=True)}
        emit_json(named if len(named) > 1 else shown[0])


def _is_model(path: Path) -> bool:
    from prover.model.zkq import MAGIC

    with path.open("rb", buffering=0) as stream:  # a buffer would read ahead, into the weights
        return stream.read(len(MAGIC)) == MAGIC


def _explain(subject: Subject, machine: Machine, *, as_json: bool) -> dict[str, Any]:
    """Compiles the circuit, shows it unless JSON is asked for, and returns that."""
    from api.console.estimate import estimate

    circuit = subject.compile_circuit()
    report = replace(circuit.explain(), domain=subject.sizes.domain)
    expected = estimate(subject.sizes, report.lines, machine)
    if not as_json:
        _show(report, subject, expected)
    return (
        subject.facts
        | report.to_json()
        | {
            "circuit_digest": circuit.digest.hex(),
            "plan": None if subject.plan is None else subject.plan.to_json(),
            "seconds": {
                "total": expected.total_s,
                "lines": list(expected.lines_s),
                "padding": expected.padding_s,
                "committed": expected.committed_s,
            },
        }
    )


def _plan(model: str, samples: int | None, norm: str | None, machine: Machine) -> Subject:
    """The circuit of an accuracy or of bounds that is asked for."""
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
        return Subject(
            sizes=plan.sizes,
            plan=plan,
            compile_circuit=lambda: compile_accuracy(architecture, plan.n_samples),
        )
    if samples is not None:
        raise typer.BadParameter("give --samples or --norm, not both")
    norm_plan = require_norm_plan(model, norm)
    return Subject(sizes=norm_plan.sizes, compile_circuit=lambda: compile_plan(norm_plan))


def _list_training(model: str, batch: int | None, machine: Machine) -> list[Subject]:
    """Both circuits of a recipe, the step's first."""
    from api.console.training.keys import plan_parts
    from api.console.training.recipes import find_recipe

    export, step = plan_parts(find_recipe(model, batch), machine)
    return [
        Subject(
            sizes=part.plan.sizes, plan=part.plan, name=part.name, compile_circuit=part.compile_it
        )
        for part in (step, export)
    ]


def _list_keys(folder: Path, machine: Machine) -> list[Subject]:
    """The circuits of the keys in a folder."""
    from api.console.described import describe_keys
    from prover.plan import plan_circuit

    return [
        Subject(
            sizes=key.sizes,
            plan=plan_circuit(key.facts["architecture"], key.sizes, machine),
            name=key.name,
            compile_circuit=key.compile_circuit,
            facts=key.facts,
        )
        for key in describe_keys(folder)
    ]


def _show_facts(facts: dict[str, Any], indent: str = "") -> None:
    """Line by line; what is itself of several facts, further in."""
    for name, value in facts.items():
        label = name.replace("_", " ")
        if isinstance(value, dict):
            typer.echo(f"{indent}{label}:")
            _show_facts(value, indent + "  ")
        elif name == "what":
            typer.echo(f"{indent}{value}")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            typer.echo(f"{indent}{label} {'(none)' if shown in ('', None) else shown}")


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


def _show(report: Report, subject: Subject, expected: Estimate) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    _show_facts(subject.facts)
    console.print(f"{report.subject}: {report.rows} rows on {report.domain} points")
    if subject.plan is not None:
        _show_plan(console, subject.plan)
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
