"""Options that several commands share. Imports typer only: the help of the program needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

USUAL_ARCHITECTURE = "mlp-784-128-10"
"""What is trained unless something else is asked for."""


def parse_digest(text: str) -> bytes:
    """32 bytes in hexadecimal; a usage error for all else."""
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise typer.BadParameter("a digest has 64 hexadecimal digits")
    return digest


def parse_beacon(text: str) -> bytes:
    """1 to 64 bytes in hexadecimal; a usage error for all else."""
    try:
        beacon = bytes.fromhex(text)
    except ValueError:
        beacon = b""
    if not 1 <= len(beacon) <= 64:
        raise typer.BadParameter("a beacon has 1 to 64 bytes, in hexadecimal")
    return beacon


BackendName = Annotated[str, typer.Option("--backend", help="Which device computes.")]
KeyDigest = Annotated[
    bytes | None,
    typer.Option(
        "--key-digest",
        parser=parse_digest,
        metavar="HEX",
        help="Refuse every key but the one of this digest.",
    ),
]
KeyFolder = Annotated[
    Path, typer.Option("--key", exists=True, file_okay=False, help="Folder of `zkpot setup`.")
]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any free one.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        envvar="ZKPOT_API_KEYS_FILE",
        exists=True,
        dir_okay=False,
        help="API keys, one line each, of `zkpot api-key`.",
    ),
]
WithoutKeys = Annotated[
    bool, typer.Option("--without-keys", help="Serve everyone who reaches the address.")
]
Names = Annotated[
    list[str] | None,
    typer.Option("--name", help="Without keys: a name to answer to, besides localhost."),
]
ModelFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="A model of `zkpot quantize` (.zkq).")
]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch", min=1, max=1024, help="Of --training: samples of a step, usually 64."),
]
ModelOrName = Annotated[str, typer.Argument(help="A .zkq file, or a name: mlp-784-128-10, lenet5.")]
NSamples = Annotated[
    int | None, typer.Option("--samples", min=1, max=1 << 20, help="Samples that one proof covers.")
]
Norm = Annotated[
    str | None,
    typer.Option(
        "--norm",
        metavar="WEIGHT,BIAS,SQUARES",
        help="In place of --samples, for bounds on updates: the greatest change of a weight, of a "
        "bias, and the greatest sum of squares, where a bias counts 1/255.",
    ),
]
SamplesRef = Annotated[
    str, typer.Option("--dataset", help="Samples in public, such as 'mnist:test[0:1024]'.")
]
Training = Annotated[
    bool,
    typer.Option(
        "--training",
        help="In place of --samples, for the steps of `zkpot train --provable` and their export. "
        "MODEL may then be a trajectory.commit, too.",
    ),
]


def choose_training(
    training: bool, batch: int | None, samples: int | None, norm: str | None
) -> bool:
    """Whether circuits of training are meant; a usage error for options that contradict it."""
    if training and (samples is not None or norm is not None):
        raise typer.BadParameter("give one of --samples, --norm and --training")
    if batch is not None and not training:
        raise typer.BadParameter("is of --training", param_hint="--batch")
    return training
