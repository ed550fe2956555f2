"""`zkpot keys list`: the circuits that tasks share, so that one ceremony serves many of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from api.console.options import USUAL_ARCHITECTURE
from api.console.output import AsJson, emit_json

if TYPE_CHECKING:
    from prover.circuit.sizes import CircuitSizes

SIZES = (64, 256, 1024)
"""Samples of a proof of accuracy."""
BATCHES = (64, 128, 256)
"""Samples of a step of training."""
_NOTHING = {"rows": None, "power": None, "proving_bytes": None}


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Which circuits keys of ceremonies are made for.")
    group.command("list")(list_circuits)
    app.add_typer(group, name="keys", no_args_is_help=True)


def list_circuits(as_json: AsJson = False) -> None:
    """The circuits that tasks share: of accuracy, each packaged network on 64, 256 and 1,024
    samples; of training, steps of the usual recipe on 64, 128 and 256, and their exports.

    A task that takes one of them needs no ceremony of its own. Multipliers are the task's: no point
    of a key depends on them.
    """
    found = [*_list_accuracy(), *_list_training()]
    if as_json:
        emit_json({"circuits": found})
        return
    head = ("circuit", "network", "samples", "rows", "power", "MiB")
    typer.echo("{:8} {:16} {:>7} {:>12} {:>5} {:>7}".format(*head))
    for one in found:
        start = f"{one['circuit']:8} {one['architecture']:16} {one['samples']:>7}"
        if one["power"] is None:
            typer.echo(f"{start} beyond what a key can have")
        else:
            size = f"{one['proving_bytes'] >> 20:>7}"
            typer.echo(f"{start} {one['rows']:>12,} {one['power']:>5} {size}")
    typer.echo("power: of the powers of tau that `zkpot ceremony new` takes, at least")


def _list_accuracy() -> Iterator[dict[str, Any]]:
    from prover.circuit.sizes import compute_sizes, require_circuit
    from prover.errors import ArchitectureInvalid, CircuitTooLarge
    from prover.model.presets import PRESETS, parse_architecture

    for name in (USUAL_ARCHITECTURE, *PRESETS):
        architecture = parse_architecture(name)
        for n in SIZES:
            facts = {"circuit": "accuracy", "architecture": name, "samples": n}
            try:
                require_circuit(architecture, n)
                yield facts | _measure(compute_sizes(architecture, n))
            except (ArchitectureInvalid, CircuitTooLarge):
                yield facts | _NOTHING


def _list_training() -> Iterator[dict[str, Any]]:
    """Of the network that steps are usual of. An export has the rows of any other of the network,
    and a key of its own: it is of the whole recipe, batches included."""
    from api.console.training.recipes import find_recipe
    from prover.circuit.training.export_plan import plan_export
    from prover.circuit.training.plan import plan_step
    from prover.circuit.training.sizes import compute_step_sizes
    from prover.keys.training_folder import EXPORT_NAME, STEP_NAME

    for n in BATCHES:
        recipe = find_recipe(USUAL_ARCHITECTURE, n)
        facts: dict[str, Any] = {"architecture": USUAL_ARCHITECTURE, "samples": n}
        yield {"circuit": STEP_NAME} | facts | _measure(compute_step_sizes(plan_step(recipe)))
        yield {"circuit": EXPORT_NAME} | facts | _measure(plan_export(recipe).sizes)


def _measure(sizes: CircuitSizes) -> dict[str, Any]:
    """Rows, the power of the powers of tau, and what the proving half takes then."""
    from prover.keys.sizes import count_key_bytes

    n = sizes.domains[1]
    bases = count_key_bytes(sizes).proving + 64 * (n - sizes.domain)
    power = n.bit_length()  # of twice the points
    return {"rows": sizes.n_rows, "power": power, "proving_bytes": bases}
