"""`zkpot bench SUITE`: the right answer first, then the time; `zkpot experiment NAME`: claims of
the field, measured with real data, proofs and attacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from api.console.output import REFUSED, AsJson, emit_json

ALL = "all"
OUT = Path("bench") / "out"


def register(app: typer.Typer) -> None:
    app.command()(bench)
    app.command()(experiment)


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


def experiment(
    name: Annotated[str, typer.Argument(help="An experiment, or `all`; `list` names them.")],
    profile: Annotated[
        Literal["quick", "full"],
        typer.Option(help="quick: all of them in minutes, on packaged data; full: hours, on all."),
    ] = "quick",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for NAME.json, pictures and kept cells; default: experiments/PROFILE "
            "in the data directory, which the page shows.",
            show_default=False,
        ),
    ] = None,
    afresh: Annotated[
        bool, typer.Option("--afresh", help="Measure again what earlier runs have kept.")
    ] = False,
    kept: Annotated[
        bool, typer.Option("--kept", help="Measure nothing; report what earlier runs have kept.")
    ] = False,
    backend: Annotated[str, typer.Option(help="Which device proves.")] = "cpu",
    as_json: AsJson = False,
) -> None:
    """Measure a claim of the field; print what holds and what does not.

    A run that is interrupted goes on where it stopped.
    """
    from api.console.experiments import run_experiments
    from api.console.queue_access import read_settings
    from federated.experiments.catalog import EXPERIMENTS

    if name == "list":
        _list(EXPERIMENTS, as_json=as_json)
        return
    if name not in (*EXPERIMENTS, ALL):
        known = ", ".join([*EXPERIMENTS, ALL, "list"])
        raise typer.BadParameter(f"no experiment {name!r}; there are: {known}", param_hint="NAME")
    if afresh and kept:
        raise typer.BadParameter("what is measured afresh is not kept", param_hint="--kept")
    settings = read_settings()
    folder = settings.experiments / profile if out is None else out
    names = list(EXPERIMENTS) if name == ALL else [name]
    runs = run_experiments(
        names,
        profile,
        settings.data_dir,
        folder,
        backend,
        afresh=afresh,
        kept_only=kept,
        as_json=as_json,
    )
    if as_json:
        files = [str(path) for run in runs for path in run.files]
        findings = {run.report["experiment"]: run.report["findings"] for run in runs}
        emit_json({"files": files, "findings": findings})


def _list(experiments: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        emit_json({"experiments": experiments})
        return
    width = max(map(len, experiments))
    for name, what in experiments.items():
        typer.echo(f"{name:<{width}}  {what}")
