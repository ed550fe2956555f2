"""`zkpot import`: a network that another program trained becomes a model that can be proven."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.console.output import AsJson, emit_json, refuse

if TYPE_CHECKING:
    from federated.data import LabeledImages
    from federated.importing.agreement import Agreement
    from federated.importing.graph import Pixels
    from federated.importing.network import Network
    from prover.model.network import Architecture, QuantizedModel

LEAST_SHARE = 0.995
"""Of samples that integers and file should put into the same class."""
N_COMPARED = 1000


def register(app: typer.Typer) -> None:
    app.command("import")(import_model)


def import_model(
    model: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An ONNX file.")],
    out: Annotated[Path, typer.Option(help="File for the quantized model (.zkq).")],
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="SAMPLES",
            help="For a float file: samples to find its scales on, as a data set (mnist:train), "
            "a folder of images per class, or an .npz file.",
        ),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="SAMPLES",
            help=f"Samples to compare with the file on, the first {N_COMPARED}; "
            "by default those of --calibrate.",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="The file is given (scale * pixel - mean) / std; by default 1/255, or 1 of a file "
            "that takes uint8."
        ),
    ] = None,
    mean: Annotated[
        str, typer.Option(metavar="NUMBERS", help="One, or one per channel: 0.485,0.456,0.406.")
    ] = "0",
    std: Annotated[str, typer.Option(metavar="NUMBERS", help="Like --mean.")] = "1",
    shift: Annotated[
        int,
        typer.Option(
            min=8,
            max=24,
            help="Bits of an int8 file's scales: more follow it more closely and cost rows.",
        ),
    ] = 16,
    lean: Annotated[
        bool,
        typer.Option(
            "--lean",
            help="Leave out two roundings of an int8 file: of residual branches and of means. "
            "Fewer rows, and a few more samples of which the classes differ.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import an ONNX network: int8 with its own scales (QDQ), or float by calibration."""
    from api.console.files import write_private
    from api.errors import Audience, describe
    from federated.errors import FederatedError
    from prover.errors import ProverError
    from prover.model.ranges import compute_ranges
    from prover.model.zkq import encode_model

    if not out.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {out.parent}", param_hint="--out")
    pixels = _read_pixels(scale, mean, std, as_json=as_json)
    try:
        network = _open(model, pixels)
        made, names, notes = _make_integers(network, calibrate, shift, is_lean=lean)
        raw = encode_model(made)
        ranges = compute_ranges(made)
        agreement = _compare(model, network, made, compare or calibrate)
        write_private(out, raw)
    except (FederatedError, ProverError) as error:
        told = describe(error, Audience.OWNER)
        refuse(f"{model}: {told.text}", code=told.code, as_json=as_json)
    _report(
        {
            "out": str(out),
            "bytes": len(raw),
            "architecture": made.architecture.name,
            "architecture_digest": made.architecture.digest.hex(),
            "opset": network.opset,
            "quantized_by": "the file" if network.is_quantized else "calibration",
            "notes": notes,
        },
        (made, ranges, names),
        agreement,
        compare or calibrate,
        as_json=as_json,
    )


def _read_pixels(scale: float | None, mean: str, std: str, *, as_json: bool) -> Pixels:
    """What the file is given for a pixel; refuses where the package that reads it is missing."""
    import math

    numbers: dict[str, tuple[float, ...]] = {}
    for option, text in (("--mean", mean), ("--std", std)):
        try:
            numbers[option] = tuple(float(part) for part in text.split(","))
        except ValueError:
            numbers[option] = (math.nan,)
        if not all(math.isfinite(n) for n in numbers[option]):
            raise typer.BadParameter("give numbers, such as 0.5 or 0.4,0.5,0.6", param_hint=option)
    if any(n <= 0 for n in numbers["--std"]):
        raise typer.BadParameter("deviations are greater than 0", param_hint="--std")
    if scale is not None and not 0 < scale < math.inf:
        raise typer.BadParameter("a scale is greater than 0", param_hint="--scale")
    try:
        from federated.importing.graph import Pixels
    except ModuleNotFoundError as error:
        refuse(
            f"importing needs {error.name}: pip install 'zkpot[onnx]'",
            code="missing_package",
            as_json=as_json,
        )
    return Pixels(scale=scale, mean=numbers["--mean"], std=numbers["--std"])


def _open(path: Path, pixels: Pixels) -> Network:
    from federated.importing.importer import open_network

    return open_network(path, pixels)


def _make_integers(
    network: Network, calibrate: str | None, shift: int, *, is_lean: bool
) -> tuple[QuantizedModel, tuple[str, ...], list[str]]:
    """The integers, the file's node of each layer, and what was changed of the file's numbers."""
    from api.console.progress import show_steps
    from federated.importing.float_graph import take_floats
    from federated.importing.importer import calibrate_network
    from federated.importing.qdq import take_integers

    if network.is_quantized:
        integers = take_integers(network, shift=shift, is_lean=is_lean)
        return integers.model, integers.names, list(integers.notes)
    if calibrate is None:
        raise typer.BadParameter(
            "this file is not quantized: name samples to find its scales on, such as mnist:train",
            param_hint="--calibrate",
        )
    samples = _load(calibrate, take_floats(network).architecture)
    with show_steps() as progress:
        made = calibrate_network(network, samples.images, progress)
    return made, (), list(network.notes)


def _load(what: str, architecture: Architecture) -> LabeledImages:
    from federated.joining.own_data import load_own_data
    from federated.settings import Settings

    return load_own_data(what, architecture, Settings.from_environment().data_dir)


def _compare(
    path: Path, network: Network, made: QuantizedModel, what: str | None
) -> Agreement | None:
    """How far integers and file agree; None without samples, or without onnxruntime."""
    from prover.model.samples import shape_samples

    if what is None:
        return None
    try:
        from federated.importing.agreement import compare, run_file
    except ModuleNotFoundError:
        return None
    samples = _load(what, made.architecture)
    images = shape_samples(samples.images[:N_COMPARED], made.architecture.input_shape)
    labels = samples.labels[:N_COMPARED]
    return compare(made.logits(images), run_file(path, network.samples, images), labels)


def _report(
    found: dict[str, Any],
    made: tuple[Any, ...],
    agreement: Agreement | None,
    compared: str | None,
    *,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from api.console.imports import describe_layers, show_layers

    if as_json:
        told = None if agreement is None else asdict(agreement) | {"samples": compared}
        emit_json(found | {"layers": describe_layers(*made), "agreement": told})
        return
    out = found["out"]
    typer.echo(
        f"imported {found['architecture']} (opset {found['opset']}, quantized by "
        f"{found['quantized_by']}): {found['bytes']} bytes, every range of the circuit holds"
    )
    show_layers(*made[:2])
    for note in found["notes"]:
        typer.echo(f"note: {note}")
    _say_agreement(agreement, compared)
    typer.echo(f"wrote {out} (private: readable by you only)")
    typer.echo(
        f"next: `zkpot inspect {out}` says what a proof costs, `zkpot setup {out}` makes its key"
    )


def _say_agreement(agreement: Agreement | None, compared: str | None) -> None:
    if agreement is None:
        missing = "give --compare SAMPLES" if compared is None else "pip install onnxruntime"
        typer.echo(f"not compared with the file: {missing}")
        return
    n = agreement.n
    right, right_file = agreement.n_right / n, agreement.n_right_file / n
    tied = f", {agreement.n_tied} more within a tie of the file's" if agreement.n_tied else ""
    typer.echo(
        f"the same class as onnxruntime on {agreement.n_same} of {n} samples of {compared} "
        f"({agreement.share:.2%}{tied})"
    )
    typer.echo(f"right: {right:.2%} as integers, {right_file:.2%} as the file")
    if agreement.n_file < LEAST_SHARE * n:
        typer.echo(
            f"onnxruntime itself, optimizing and not, has the same class on {agreement.n_file} only"
        )
    if agreement.n_same < min(LEAST_SHARE * n, agreement.n_file - (1 - LEAST_SHARE) * n):
        typer.secho(
            "WARNING: the integers differ from the file; see that --scale, --mean and --std are "
            "what it was trained with, or take a greater --shift",
            fg="red",
            bold=True,
            err=True,
        )
