"""Options that several commands share. Imports typer only: the help of the program needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _parse_digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise typer.BadParameter("a digest has 64 hexadecimal digits")
    return digest


BackendName = Annotated[str, typer.Option("--backend", help="Which device computes.")]
KeyDigest = Annotated[
    bytes | None,
    typer.Option(
        "--key-digest",
        parser=_parse_digest,
        metavar="HEX",
        help="Refuse every key but the one of this digest.",
    ),
]
KeyFolder = Annotated[
    Path, typer.Option("--key", exists=True, file_okay=False, help="Folder of `zkpot setup`.")
]
ModelFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="A model of `zkpot quantize` (.zkq).")
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
