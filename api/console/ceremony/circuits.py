"""`zkpot keys list`: the circuits that tasks share, so that one ceremony serves many of them."""

from __future__ import annotations

from typing import Any

import typer

from api.console.options import USUAL_ARCHITECTURE
from api.console.output import AsJson, emit_json

SIZES = (64, 256, 1024)
"""Samples of a proof."""


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Which circuits keys of ceremonies are made for.")
    group.command("list")(list_circuits)
    app.add_typer(group, name="keys", no_args_is_help=True)


def list_circuits(as_json: AsJson = False) -> None:
    """The circuits that tasks share: each packaged network on 64, 256 and 1,024 samples.

    A task that takes one of them needs no ceremony of its own. Multipliers are the task's: no point
    of a key depends on them.
    """
    found = [_describe(name, n) for name in _list_names() for n in SIZES]
    if as_json:
        emit_json({"circuits": found})
        return
    typer.echo(f"{'network':16} {'samples':>7} {'rows':>12} {'power':>5} {'MiB':>7}")
    for one in found:
        name, n, power = one["architecture"], one["samples"], one["power"]
        if power is None:
            typer.echo(f"{name:16} {n:>7} beyond what a key can have")
        else:
            size = f"{one['proving_bytes'] >> 20:>7}"
            typer.echo(f"{name:16} {n:>7} {one['rows']:>12,} {power:>5} {size}")
    typer.echo("power: of the powers of tau that `zkpot ceremony new` takes, at least")


def _list_names() -> list[str]:
    from prover.model.presets import PRESETS

    return [USUAL_ARCHITECTURE, *PRESETS]


def _describe(name: str, n_samples: int) -> dict[str, Any]:
    from prover.circuit.sizes import compute_sizes, require_circuit
    from prover.errors import ArchitectureInvalid, CircuitTooLarge
    from prover.keys.sizes import count_key_bytes
    from prover.model.presets import parse_architecture

    architecture = parse_architecture(name)
    facts: dict[str, Any] = {"architecture": name, "samples": n_samples}
    nothing = {"rows": None, "power": None, "proving_bytes": None}
    try:
        require_circuit(architecture, n_samples)
        sizes = compute_sizes(architecture, n_samples)
        n = sizes.domains[1]
        bases = count_key_bytes(sizes).proving + 64 * (n - sizes.domain)
    except (ArchitectureInvalid, CircuitTooLarge):
        return facts | nothing
    power = n.bit_length()  # of twice the points
    return facts | {"rows": sizes.n_rows, "power": power, "proving_bytes": bases}
