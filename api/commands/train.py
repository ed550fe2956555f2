"""`zkpot train` and `zkpot quantize`: from samples to a model that can be proven."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console.options import USUAL_ARCHITECTURE, BackendName
from api.console.output import AsJson, emit_json, refuse

if TYPE_CHECKING:
    from federated.data import Samples
    from prover.model.network import Architecture

DatasetName = Annotated[str, typer.Option(help="A data set: mnist or cifar10.")]
Architectures = Annotated[
    str | None,
    typer.Option(
        help="Widths, such as mlp-784-128-10, or lenet5, lenet-small, resnet20, vgg11.",
        show_default=USUAL_ARCHITECTURE,
    ),
]


def register(app: typer.Typer) -> None:
    app.command()(train)
    app.command()(quantize)


def train(
    out: Annotated[
        Path, typer.Option(help="File for the trained float model; with --provable a new folder.")
    ],
    dataset: Annotated[
        str,
        typer.Option(
            help="A data set: mnist or cifar10. With --provable also a folder or an .npz file: "
            "what the accuracy is told on."
        ),
    ] = "mnist",
    arch: Architectures = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the samples.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=(1 << 63) - 1, help="Same seed, same model.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Of PyTorch; more serve large networks.")] = 1,
    provable: Annotated[
        bool, typer.Option("--provable", help="In exact integers, whose every step can be proven.")
    ] = False,
    batches: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Of --provable: a folder of `zkpot data commit`."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of --provable: so many, in place of --epochs.")
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Of --provable: a public .zkq model to start from; default: drawn from --seed.",
        ),
    ] = None,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Train a float network on the training split; report its accuracy on the test split.

    With --provable: train on committed batches, and keep every step with its commitment.
    """
    from api.console.files import write_private
    from api.console.progress import show_steps

    _require_folder(out)
    if provable:
        from api.console.provable import TrainRequest, train_provably

        if batches is None:
            raise typer.BadParameter("--provable takes --batches", param_hint="--batches")
        train_provably(
            TrainRequest(
                out=out,
                dataset=dataset,
                architecture=None if arch is None else _parse_architecture(arch),
                batches=batches,
                start=start,
                seed=seed,
                epochs=epochs,
                steps=steps,
                backend=backend,
            ),
            as_json=as_json,
        )
        return
    if batches or steps or start:
        raise typer.BadParameter("--batches, --steps and --start are of --provable")
    arch = arch or USUAL_ARCHITECTURE
    architecture = _parse_architecture(arch)
    fit, test = _load_splits(dataset, as_json=as_json)
    _require_fit(architecture, fit, dataset)
    try:
        from federated.train import suggest_settings
        from federated.train import train as fit_model
    except ModuleNotFoundError as error:
        refuse(
            f"training needs {error.name}: pip install 'zkpot[federated]'",
            code="missing_package",
            as_json=as_json,
        )
    from federated.float_model import encode_float_model

    settings = replace(suggest_settings(architecture), seed=seed, threads=threads)
    if epochs is not None:
        settings = replace(settings, epochs=epochs)
    record = {"dataset": dataset, "samples": len(fit.labels), "origin": fit.origin}
    with show_steps() as progress:
        model = fit_model(fit.images, fit.labels, architecture, settings, progress, record=record)
    write_private(out, encode_float_model(model))
    found = {
        "out": str(out),
        "architecture": arch,
        "trained_on": _describe(fit),
        "tested_on": _describe(test),
        "accuracy": model.accuracy(test.images, test.labels),
    }
    if as_json:
        emit_json(found)
        return
    _say_origin(dataset, fit)
    typer.echo(f"trained {arch} on {found['trained_on']}")
    typer.echo(f"accuracy {found['accuracy']:.2%} on {found['tested_on']}")
    typer.echo(f"wrote {out} (private: readable by you only)")


def quantize(
    model: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A file of `zkpot train`.")
    ],
    out: Annotated[Path, typer.Option(help="File for the quantized model (.zkq).")],
    dataset: DatasetName = "mnist",
    as_json: AsJson = False,
) -> None:
    """Quantize to integers: calibrate on the training split, compare on the test split."""
    from api.console.files import write_private
    from api.console.progress import show_steps
    from api.errors import Audience, describe
    from federated.calibration import calibrate_model
    from federated.errors import FederatedError
    from federated.float_model import load_float_model
    from federated.quantize_loss import measure_loss
    from federated.rounding import round_model
    from prover.errors import ProverError
    from prover.model.zkq import encode_model

    _require_folder(out)
    fit, test = _load_splits(dataset, as_json=as_json)
    try:
        trained = load_float_model(model)
        _require_fit(trained.architecture, fit, dataset)
        with show_steps() as progress:
            calibration = calibrate_model(trained, fit.images, progress)
        architecture, scales = calibration.architecture, calibration.scales
        quantized = round_model(trained, architecture, scales)
        raw = encode_model(quantized)
        write_private(out, raw)
    except (FederatedError, ProverError) as error:
        told = describe(error, Audience.OWNER)
        refuse(f"{model}: {told.text}", code=told.code, as_json=as_json)
    loss = measure_loss(trained, quantized, scales, test.images, test.labels)
    found = {
        "out": str(out),
        "bytes": len(raw),
        "architecture": architecture.name,
        "architecture_digest": architecture.digest.hex(),
        "tested_on": _describe(test),
        "float_accuracy": loss.float_accuracy,
        "accuracy": loss.accuracy,
        "accuracy_by_layer": list(loss.by_layer),
        "warning": loss.warning,
    }
    if as_json:
        emit_json(found)
        return
    _say_origin(dataset, test)
    typer.echo(f"quantized {architecture.name}: {len(raw)} bytes, every range of the circuit holds")
    typer.echo(
        f"accuracy {found['accuracy']:.2%} as integers, {found['float_accuracy']:.2%} as float, "
        f"on {found['tested_on']}"
    )
    if loss.warning is not None:
        typer.secho(f"WARNING: {loss.warning}", fg="red", bold=True, err=True)
    typer.echo(f"wrote {out} (private: readable by you only)")


def _require_folder(out: Path) -> None:
    """Usage error before the work rather than after it."""
    if not out.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {out.parent}", param_hint="--out")


def _parse_architecture(name: str) -> Architecture:
    from api.console.refusals import meaning
    from prover.errors import ArchitectureInvalid
    from prover.model.presets import parse_architecture

    with meaning("--arch", ArchitectureInvalid):
        return parse_architecture(name)


def _load_splits(name: str, *, as_json: bool) -> tuple[Samples, Samples]:
    """Training and test split, as much of them as this machine has."""
    from api.console.refusals import meaning, refusing
    from federated.data import DatasetRef, load_samples
    from federated.errors import DatasetRefInvalid
    from federated.settings import Settings

    with refusing(as_json=as_json), meaning("--dataset", DatasetRefInvalid):
        data_dir = Settings.from_environment().data_dir
        train_ref, test_ref = (DatasetRef.parse(f"{name}:{s}") for s in ("train", "test"))
        return load_samples(train_ref, data_dir), load_samples(test_ref, data_dir)


def _require_fit(architecture: Architecture, samples: Samples, name: str) -> None:
    """Usage error when the samples do not fit the network's ends."""
    from federated.sources.datasets import get_dataset

    width, n_classes = samples.images.shape[1], get_dataset(name).n_classes
    if prod(architecture.input_shape) != width or architecture.n_classes != n_classes:
        raise typer.BadParameter(
            f"{name} has {width} values per sample and {n_classes} classes, "
            f"{architecture.name} does not fit it",
            param_hint="--dataset",
        )


def _describe(samples: Samples) -> str:
    return f"{len(samples.labels)} {samples.origin} samples"


def _say_origin(name: str, samples: Samples) -> None:
    """Says so when only the packaged part was at hand."""
    if samples.origin == "packaged":
        typer.echo(f"using the packaged part of {name}; `zkpot data fetch {name}` brings all of it")
