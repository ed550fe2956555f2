"""`zkpot setup`: a key for an architecture, and a number of samples or bounds on updates; or both
keys of training."""

from __future__ import annotations

import secrets
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.ceremony.commands import register as register_ceremony
from api.console.ceremony.circuits import register as register_keys
from api.console.options import (
    BackendName,
    BatchSize,
    ModelOrName,
    Norm,
    NSamples,
    Training,
    choose_training,
)
from api.console.output import AsJson, emit_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from kernels.backend import Backend
    from prover.circuit.accuracy import AccuracyCircuit
    from prover.circuit.norm.circuit import NormCircuit
    from prover.circuit.norm.plan import NormPlan
    from prover.keys.card import Card
    from prover.keys.halves import ProvingKey
    from prover.keys.streamed import Keep
    from prover.model.network import Architecture
    from prover.progress import StageProgress

    Maker = Callable[
        [Backend, StageProgress, Keep], tuple[AccuracyCircuit | NormCircuit, Card, ProvingKey]
    ]

BASES = "bases.partial"
"""A file beside the key while it is made, where memory has no room for its bases."""
WARNING = (
    "WARNING: a setup by one party. Whoever ran it could keep the trapdoor and forge proofs under "
    "this key, and no key shows whether that was done: who relies on its proofs relies on you, and "
    "has to know its digest from you."
)


def register(app: typer.Typer) -> None:
    app.command()(setup)
    register_ceremony(app)
    register_keys(app)


def setup(
    model: ModelOrName,
    out: Annotated[Path, typer.Option(help="Folder for the key.", file_okay=False)],
    samples: NSamples = None,
    norm: Norm = None,
    training: Training = False,
    batch: BatchSize = None,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Make a key, as its only party; of a model file only the public architecture is read.

    Without --samples a proof covers 1,024, or as many as fit into this machine's memory. With
    --training two keys are made, of a training step and of the export of its end.
    """
    import time

    from api.console.files import filling, require_no_key
    from api.console.progress import show_steps
    from api.console.refusals import load_backend, refusing
    from prover.keys.folder import CARD_NAME, VERIFYING_NAME, save_key

    if choose_training(training, batch, samples, norm):
        from api.console.training.keys import setup_training

        _say_training(setup_training(model, batch, out, backend, as_json=as_json), as_json)
        return
    require_no_key(out, as_json=as_json)
    started = time.perf_counter()
    with refusing(as_json=as_json):
        device = load_backend(backend)
        make, keeping = _plan(model, samples, norm, device, out)
        with filling(out), show_steps() as progress, keeping as keep:
            circuit, card, key = make(device, progress, keep)
            save_key(key, out, card)
        n_bytes = sum(path.stat().st_size for path in out.iterdir())
    facts = _describe(card, circuit, key) | {
        "out": str(out),
        "bytes": n_bytes,
        "setup_s": time.perf_counter() - started,
    }
    if as_json:
        emit_json(facts)
        return
    _warn()
    subject = f"with updates bounded by {norm}"
    if norm is None:
        subject = f"on {facts['samples']} samples"
    typer.echo(
        f"key for {card.architecture.name} {subject}: {circuit.r1cs.n_rows} rows "
        f"({key.domain} points), {n_bytes >> 20} MiB, in {facts['setup_s']:.1f} s"
    )
    typer.echo(f"key digest {facts['key_digest']}")
    typer.echo(f"wrote {out} (public; verifiers need {VERIFYING_NAME} and {CARD_NAME} only)")


def _say_training(facts: dict[str, Any], as_json: bool) -> None:
    from prover.keys.folder import CARD_NAME, VERIFYING_NAME
    from prover.keys.training_folder import EXPORT_NAME, STEP_NAME

    if as_json:
        emit_json({"warning": WARNING} | facts)
        return
    _warn()
    batch = facts["recipe"]["batch_size"]
    for name, words in (
        (STEP_NAME, f"a training step of {facts['architecture']} on batches of {batch}"),
        (EXPORT_NAME, "the export of its masters"),
    ):
        part = facts[name]
        size = f"{part['rows']} rows ({part['domain']} points), {part['bytes'] >> 20} MiB"
        typer.echo(f"key for {words}: {size}")
    typer.echo(f"made in {facts['setup_s']:.1f} s")
    typer.echo(f"key digest {facts['key_digest']} (of both)")
    typer.echo(
        f"wrote {facts['out']} (public; verifiers need {VERIFYING_NAME} and {CARD_NAME} of "
        f"{STEP_NAME} and {EXPORT_NAME} only)"
    )


def _warn() -> None:
    from textwrap import fill

    typer.secho(fill(WARNING, 99), fg="red", bold=True)


def _plan(
    model: str, samples: int | None, norm: str | None, device: Backend, out: Path
) -> tuple[Maker, AbstractContextManager[Keep]]:
    """What makes the key that is asked for, once that is known to fit, and where its bases go."""
    from contextlib import nullcontext

    from api.console.machine import find_machine
    from api.console.model_files import find_architecture, require_norm_plan
    from api.console.refusals import meaning
    from prover.errors import ArchitectureInvalid
    from prover.keys.streamed import keep_in_memory, keeping_in_file
    from prover.plan import USUAL_SAMPLES, plan_proofs

    if norm is None:
        n_total, architecture = samples or USUAL_SAMPLES, find_architecture(model)
        with meaning("--samples", ArchitectureInvalid):
            plan = plan_proofs(architecture, n_total, find_machine(device), n_samples=samples)
        typer.echo(plan.describe(), err=True)
        keeping = keeping_in_file(out / BASES) if plan.streams else nullcontext(keep_in_memory)
        return partial(_make_accuracy, architecture, plan.n_samples), keeping
    if samples is None:
        return partial(_make_norm, require_norm_plan(model, norm)), nullcontext(keep_in_memory)
    raise typer.BadParameter("give --samples or --norm, not both")


def _make_accuracy(
    architecture: Architecture,
    n_samples: int,
    backend: Backend,
    progress: StageProgress,
    keep: Keep,
) -> tuple[AccuracyCircuit, Card, ProvingKey]:
    """The circuit and a key under a fresh trapdoor, which is forgotten here."""
    from prover.circuit.accuracy import compile_accuracy
    from prover.groth16.setup import setup_accuracy
    from prover.keys.card import KeyCard

    progress("circuit", 0, 1)
    accuracy = compile_accuracy(architecture, n_samples)
    progress("circuit", 1, 1)
    key = setup_accuracy(
        accuracy,
        random_bytes=secrets.token_bytes,
        backend=backend,
        progress=progress,
        keep=keep,
    )
    return accuracy, KeyCard.of(accuracy), key


def _make_norm(
    plan: NormPlan, backend: Backend, progress: StageProgress, keep: Keep
) -> tuple[NormCircuit, Card, ProvingKey]:
    """`_make_accuracy` of bounds on updates."""
    from prover.circuit.norm.circuit import compile_plan
    from prover.groth16.setup_norm import setup_norm
    from prover.keys.card import UpdateCard

    progress("circuit", 0, 1)
    norm = compile_plan(plan)
    progress("circuit", 1, 1)
    key = setup_norm(
        norm, random_bytes=secrets.token_bytes, backend=backend, progress=progress, keep=keep
    )
    return norm, UpdateCard.of(norm), key


def _describe(
    card: Card, circuit: AccuracyCircuit | NormCircuit, key: ProvingKey
) -> dict[str, object]:
    names = {"n_samples": "samples"}
    return {
        "warning": WARNING,
        "architecture": card.architecture.name,
        "architecture_digest": card.architecture.digest.hex(),
        "multipliers": list(card.architecture.multipliers),
        names.get(card.FIELD, card.FIELD): card.to_field(),
        "rows": circuit.r1cs.n_rows,
        "domain": key.domain,
        "circuit_digest": card.circuit_digest.hex(),
        "key_digest": key.verifying.digest.hex(),
    }
