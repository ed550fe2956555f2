"""`zkpot train --provable`: from committed batches to a trajectory and the model at its end."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import typer

from api.console.files import filling
from api.console.model_files import load_model
from api.console.options import USUAL_ARCHITECTURE
from api.console.output import emit_json, refuse
from api.console.progress import show_steps
from api.console.refusals import load_backend, refusing
from api.errors import Audience, describe
from federated.data import DatasetRef, LabeledImages, load_samples
from federated.joining.own_data import load_own_data
from federated.provable.batches import load_batches
from federated.provable.proof_file import SEED_BYTES
from federated.provable.recipes import make_trainable, suggest_recipe
from federated.provable.trajectory import (
    BLINDINGS_NAME,
    COMMITMENTS_NAME,
    TRAJECTORY_NAME,
    CommittedTrajectory,
    PublicStart,
    commit_trajectory,
    record_trajectory,
    require_length,
)
from federated.settings import Settings
from federated.sources.datasets import DATASETS, get_dataset
from prover.errors import RangeExceeded
from prover.model.network import Architecture, QuantizedModel, is_correct
from prover.model.presets import parse_architecture
from prover.model.zkq import encode_model
from prover.pedersen.commitment import Committer
from prover.training.draws import draw_start, order_batches
from prover.training.recipe import TrainingRecipe

START_NAME, MODEL_NAME = "start.zkq", "model.zkq"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What the command was asked for.

    dataset : whose test split tells the accuracy, or own samples as `zkpot data commit` takes them
    start   : a public model; None: one of `architecture`, drawn from the seed
    architecture : None: that of the start, or the usual one
    epochs  : passes over the batches, default 1; steps: so many instead
    """

    out: Path
    dataset: str
    architecture: Architecture | None
    batches: Path
    start: Path | None
    seed: int
    epochs: int | None
    steps: int | None
    backend: str


def train_provably(request: TrainRequest, *, as_json: bool) -> None:
    """Trains, commits to every step, writes the folder, and tells the accuracy.

    A usage error for both of epochs and steps; what cannot be is refused by its name.
    """
    if request.epochs is not None and request.steps is not None:
        raise typer.BadParameter("give --steps or --epochs, not both", param_hint="--steps")
    _refuse_existing(request.out, as_json=as_json)
    with refusing(as_json=as_json):
        batches = load_batches(request.batches)
        recipe, model = _find_start(request, batches.public.batch_size)
        batches.require_recipe(recipe)
        test, origin = _load_test(request.dataset, recipe.architecture)
        n_steps = request.steps or (request.epochs or 1) * batches.n_batches
        require_length(recipe, n_steps)
        seed = request.seed.to_bytes(SEED_BYTES, "little")
        numbers = order_batches(seed, n_batches=batches.n_batches, n_steps=n_steps)
        device = load_backend(request.backend)
        with show_steps() as progress:
            try:
                begin = PublicStart.of_model(recipe, model)
                trajectory = record_trajectory(recipe, begin, batches, numbers, progress)
            except RangeExceeded as error:
                told = describe(error, Audience.OWNER)
                refuse(told.text, code=told.code, as_json=as_json)
            committer = Committer(recipe.architecture.n_parameters, device, progress)
            committed = commit_trajectory(trajectory, secrets.token_bytes, committer, progress)
        trained = trajectory.export()
        right = is_correct(trained.logits(test.images), test.labels)
        _write(request.out, model, committed, trained)
    found = {
        "out": str(request.out),
        "architecture": recipe.architecture.name,
        "steps": n_steps,
        "batches": batches.n_batches,
        "tested_on": f"{len(test.labels)} {origin} samples",
        "accuracy": float(right.mean()),
        "recipe_digest": recipe.digest.hex(),
        "start_digest": trajectory.start.hex(),
        "batches_digest": trajectory.batches.hex(),
        "digest": committed.public.digest.hex(),
    }
    emit_json(found) if as_json else _tell(found, request.out)


def _find_start(request: TrainRequest, batch_size: int) -> tuple[TrainingRecipe, QuantizedModel]:
    """The recipe, and the public model that training starts from.

    A usage error for a start of another architecture than the one that is asked for.
    """
    wanted = request.architecture
    if request.start is None:
        architecture = make_trainable(wanted or parse_architecture(USUAL_ARCHITECTURE))
        recipe = suggest_recipe(architecture, batch_size=batch_size)
        return recipe, draw_start(recipe, request.seed.to_bytes(SEED_BYTES, "little"))
    model = load_model(request.start)
    if wanted is not None and wanted.shapes != model.architecture.shapes:
        raise typer.BadParameter(
            f"{request.start} is a {model.architecture.name}, and --arch asks for {wanted.name}: "
            "leave --arch out, or start from another model",
            param_hint="--arch",
        )
    return suggest_recipe(model.architecture, batch_size=batch_size), model


def _load_test(name: str, architecture: Architecture) -> tuple[LabeledImages, str]:
    """What tells the accuracy, and its origin in a word; a usage error, before any step, where it
    does not fit the network's ends."""
    data_dir = Settings.from_environment().data_dir
    if name not in DATASETS:
        return load_own_data(name, architecture, data_dir), "given"
    test = load_samples(DatasetRef.parse(f"{name}:test"), data_dir)
    width, n_classes = test.images.shape[1], get_dataset(name).n_classes
    if (prod(architecture.input_shape), architecture.n_classes) != (width, n_classes):
        raise typer.BadParameter(
            f"accuracy is told on {name}, of {width} values per sample and {n_classes} classes: "
            f"{architecture.name} does not fit it; name samples that do",
            param_hint="--dataset",
        )
    return LabeledImages(images=test.images, labels=test.labels), test.origin


def _refuse_existing(out: Path, *, as_json: bool) -> None:
    for name in (TRAJECTORY_NAME, BLINDINGS_NAME, COMMITMENTS_NAME, MODEL_NAME, START_NAME):
        if (out / name).exists():
            refuse(
                f"{out / name} exists, and without its blindings a commitment is lost: "
                "choose another --out",
                code="file_exists",
                as_json=as_json,
            )


def _write(
    out: Path, model: QuantizedModel, committed: CommittedTrajectory, trained: QuantizedModel
) -> None:
    """Secrets first: commitments without them must never exist."""
    with filling(out) as files:
        files.add_private(TRAJECTORY_NAME, committed.trajectory.encode())
        files.add_private(BLINDINGS_NAME, committed.blindings.encode())
        files.add_private(MODEL_NAME, encode_model(trained))
        files.add_public(START_NAME, encode_model(model))
        files.add_public(COMMITMENTS_NAME, committed.public.encode())


def _tell(found: dict[str, Any], out: Path) -> None:
    typer.echo(
        f"trained {found['architecture']} for {found['steps']} steps in exact integers, on "
        f"{found['batches']} committed batches"
    )
    typer.echo(f"accuracy {found['accuracy']:.2%} as integers, on {found['tested_on']}")
    typer.echo(f"wrote {out / START_NAME} and {out / COMMITMENTS_NAME} (public)")
    typer.echo(
        f"wrote {out / MODEL_NAME}, {out / TRAJECTORY_NAME} and {out / BLINDINGS_NAME} "
        "(private: readable by you only; keep them, proving needs them)"
    )
