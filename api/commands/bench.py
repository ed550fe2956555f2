"""`zkpot bench SUITE`: the right answer first, then the time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.console.output import REFUSED, AsJson, emit_json

ALL = "all"
OUT = Path("bench") / "out"


def register(app: typer.Typer) -> None:
    app.command()(bench)


def bench(
    suite: Annotated[str, typer.Argument(help="A suite, or `all` for every suite that exists.")],
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, few repetitions.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Only cases whose id has this in it; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for SUITE.json and the plots.")] = OUT,
    as_json: AsJson = False,
) -> None:
    """Run benchmarks; print a table and write OUT/SUITE.json."""
    from rich.console import Console

    from bench.registry import SUITES, load_suite
    from bench.run import BUDGET_S, QUICK_BUDGET_S, WIDE, run_suite

    if suite != ALL and suite not in SUITES:
        known = ", ".join([*SUITES, ALL])
        raise typer.BadParameter(f"no suite {suite!r}; there are: {known}", param_hint="SUITE")
    console = Console(stderr=as_json)
    if not console.is_terminal:
        console = Console(stderr=as_json, width=WIDE)
    wrong: dict[str, list[str]] = {}
    files: list[str] = []
    for name in SUITES if suite == ALL else [suite]:
        chosen = load_suite(name, quick=quick).only(only or [""])
        if not chosen.cases and suite != ALL:
            raise typer.BadParameter(f"no case of {name} has any of {only}", param_hint="--only")
        outcome = run_suite(
            name,
            chosen,
            out=out,
            console=console,
            budget_s=QUICK_BUDGET_S if quick else BUDGET_S,
        )
        files += [str(path) for path in outcome.files]
        if outcome.wrong:
            wrong[name] = outcome.wrong
    if as_json:
        emit_json({"files": files, "wrong": wrong})
    if wrong:
        raise typer.Exit(REFUSED)
