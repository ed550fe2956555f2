"""`zkpot setup`: a key for an architecture and a number of samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console.options import BackendName, ModelOrName, NSamples
from api.console.output import AsJson, emit_json, refuse

if TYPE_CHECKING:
    from kernels.backend import Backend
    from prover.circuit.accuracy import AccuracyCircuit
    from prover.keys.card import KeyCard
    from prover.keys.halves import ProvingKey
    from prover.model.network import Architecture

WARNING = (
    "WARNING: a setup by one party. Whoever ran it could keep the trapdoor and forge proofs under "
    "this key, and no key shows whether that was done: who relies on its proofs relies on you, and "
    "has to know its digest from you."
)


def register(app: typer.Typer) -> None:
    app.command()(setup)


def setup(
    model: ModelOrName,
    samples: NSamples,
    out: Annotated[Path, typer.Option(help="Folder for the key.", file_okay=False)],
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Make a key, as its only party; of a model file only the public architecture is read."""
    import time
    from textwrap import fill

    from api.console.files import filling
    from api.console.model_files import require_architecture
    from api.console.refusals import load_backend, refusing
    from prover.keys.card import KeyCard
    from prover.keys.folder import CARD_NAME, VERIFYING_NAME, save_key

    if (out / VERIFYING_NAME).exists():
        refuse(
            f"{out} holds a key; commitments made under it would be lost: "
            "choose another --out, or delete it",
            code="file_exists",
            as_json=as_json,
        )
    started = time.perf_counter()
    with refusing(as_json=as_json):
        architecture = require_architecture(model, samples)
        device = load_backend(backend)
        with filling(out):
            accuracy, key = _make_key(architecture, samples, device)
            card = KeyCard.of(accuracy)
            save_key(key, out, card)
        n_bytes = sum(path.stat().st_size for path in out.iterdir())
    facts = _describe(card, accuracy, key) | {
        "out": str(out),
        "bytes": n_bytes,
        "setup_s": time.perf_counter() - started,
    }
    if as_json:
        emit_json(facts)
        return
    typer.secho(fill(WARNING, 99), fg="red", bold=True)
    typer.echo(
        f"key for {architecture.name} on {samples} samples: {accuracy.r1cs.n_rows} rows "
        f"(2^{key.lg_n}), {n_bytes >> 20} MiB, in {facts['setup_s']:.1f} s"
    )
    typer.echo(f"key digest {facts['key_digest']}")
    typer.echo(f"wrote {out} (public; verifiers need {VERIFYING_NAME} and {CARD_NAME} only)")


def _make_key(
    architecture: Architecture, n_samples: int, backend: Backend
) -> tuple[AccuracyCircuit, ProvingKey]:
    """The circuit and a key under a fresh trapdoor, which is forgotten here."""
    import secrets

    from api.console.progress import show_steps
    from prover.circuit.accuracy import compile_accuracy
    from prover.groth16.setup import setup_accuracy

    with show_steps() as progress:
        progress("circuit", 0, 1)
        accuracy = compile_accuracy(architecture, n_samples)
        progress("circuit", 1, 1)
        key = setup_accuracy(
            accuracy, random_bytes=secrets.token_bytes, backend=backend, progress=progress
        )
    return accuracy, key


def _describe(card: KeyCard, accuracy: AccuracyCircuit, key: ProvingKey) -> dict[str, object]:
    return {
        "warning": WARNING,
        "architecture": card.architecture.name,
        "architecture_digest": card.architecture.digest.hex(),
        "multipliers": list(card.architecture.multipliers),
        "samples": card.n_samples,
        "rows": accuracy.r1cs.n_rows,
        "lg_rows": key.lg_n,
        "circuit_digest": card.circuit_digest.hex(),
        "key_digest": key.verifying.digest.hex(),
    }
