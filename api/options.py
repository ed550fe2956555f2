"""Options that several commands share. Imports typer only: the help of the program needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

BackendName = Annotated[str, typer.Option("--backend", help="Which device computes.")]
KeyFolder = Annotated[
    Path, typer.Option("--key", exists=True, file_okay=False, help="Folder of `zkpot setup`.")
]
ModelFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="A model of `zkpot quantize` (.zkq).")
]
ModelOrName = Annotated[str, typer.Argument(help="A .zkq file, or a name such as mlp-784-128-10.")]
NSamples = Annotated[
    int, typer.Option("--samples", min=2, max=1 << 20, help="Samples that one proof covers.")
]
RequireCeremony = Annotated[
    bool, typer.Option("--require-ceremony", help="Refuse a key whose trapdoor one party knew.")
]
SamplesRef = Annotated[
    str, typer.Option("--dataset", help="Samples in public, such as 'mnist:test[0:1024]'.")
]
