"""Running experiments for a command, and showing what they found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from api.console.output import refuse
from federated.experiments.kinds import Profile

if TYPE_CHECKING:
    from rich.console import Console

    from federated.experiments.runner import Run


def run_experiments(
    names: list[str],
    profile: Profile,
    data_dir: Path,
    folder: Path,
    backend: str,
    *,
    afresh: bool,
    kept_only: bool,
    as_json: bool,
) -> list[Run]:
    """Runs them one by one, showing each; refuses without the extra `federated`."""
    try:
        from federated.experiments.catalog import load_experiment

        loaded = [load_experiment(name) for name in names]
    except ModuleNotFoundError as error:
        refuse(
            f"experiments need {error.name}: pip install 'zkpot[federated]'",
            code="missing_package",
            as_json=as_json,
        )
    from rich.console import Console

    from api.console.progress import show_steps
    from api.console.refusals import load_backend, refusing
    from federated.experiments.document import NAME, read_reports, render
    from federated.experiments.kinds import Lab
    from federated.experiments.runner import run_experiment
    from kernels.files import write_whole
    from kernels.machine import count_processors

    console = Console(stderr=as_json)
    runs = []
    with refusing(as_json=as_json):
        device = load_backend(backend)
        folder.mkdir(parents=True, exist_ok=True)
        for one in loaded:
            with show_steps() as progress:
                lab = Lab(
                    data_dir=data_dir, scratch=folder / "scratch", backend=device, progress=progress
                )
                run = run_experiment(
                    one,
                    profile,
                    folder,
                    lab,
                    afresh=afresh,
                    kept_only=kept_only,
                    workers=count_processors(),
                )
            show_run(run, console)
            runs.append(run)
        page = folder / NAME
        write_whole(page, [render(read_reports(folder)).encode()])
    console.print(f"wrote {page}, of all reports there", soft_wrap=True, markup=False)
    return runs


def show_run(run: Run, console: Console) -> None:
    """Tables, findings and files of a run."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    report = run.report
    console.print(f"\n[bold]{report['experiment']}[/bold]: {escape(report['title'])}")
    for table in run.reading.tables:
        shown = Table(title=table.title, title_justify="left", box=SIMPLE_HEAD)
        for i, column in enumerate(table.columns):
            shown.add_column(column, justify="right" if i else "left")
        for row in table.rows:
            shown.add_row(*map(escape, row))
        console.print(shown)
    marks = {
        True: "[green]holds   [/green]",
        False: "[bold red]does not[/bold red]",
        None: "[yellow]open    [/yellow]",
    }
    for finding in run.reading.findings:
        said = escape(f"{finding.claim}: {finding.measured}")
        console.print(f"  {marks[finding.holds]}  {said}", soft_wrap=True)
    for path in run.files:
        console.print(f"wrote {escape(str(path))}", soft_wrap=True)
