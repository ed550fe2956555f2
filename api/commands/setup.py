"""`zkpot setup`: a key for an architecture and a number of samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console import AsJson, emit_json, refuse
from api.options import BackendName, ModelOrName, NSamples

if TYPE_CHECKING:
    from api.key_card import KeyCard
    from kernels.backend import Backend
    from prover.accuracy import AccuracyCircuit
    from prover.keys import ProvingKey
    from prover.model import Architecture

WARNING = (
    "WARNING: single-party development setup. Whoever ran it could keep its trapdoor and forge "
    "proofs under this key; take a ceremony's key for anything of value."
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
    """Make a development key; of a model file only the public architecture is read."""
    import time
    from textwrap import fill

    from api.files import filling, write_public
    from api.key_card import CARD_NAME, KeyCard
    from api.model_files import require_architecture
    from api.refusals import load_backend, refusing
    from prover.keyfile import VERIFYING_NAME, save_key
    from prover.keys import KeyOrigin

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
        with filling(out, CARD_NAME):
            accuracy, key = _make_key(architecture, samples, device)
            card = KeyCard(
                architecture=architecture,
                n_samples=samples,
                circuit_digest=accuracy.digest,
                origin=KeyOrigin.DEVELOPMENT,
            )
            write_public(out / CARD_NAME, card.encode())
            save_key(key, out)
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

    from api.progress import show_steps
    from prover.accuracy import compile_accuracy
    from prover.setup import setup_accuracy

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
        "origin": card.origin.value,
        "warning": WARNING,
        "architecture": card.architecture.name,
        "architecture_digest": card.architecture.digest.hex(),
        "samples": card.n_samples,
        "rows": accuracy.r1cs.n_rows,
        "lg_rows": key.lg_n,
        "circuit_digest": card.circuit_digest.hex(),
        "key_digest": key.verifying.digest.hex(),
    }
