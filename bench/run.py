"""Runs a suite: prints a table and writes `SUITE.json`.

{device, commit, rows: [{id, params, value, unit, iqr, n, peers: {name: value}}]}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.device import describe_commit, describe_device
from bench.errors import Unavailable, WrongAnswer
from bench.registry import BenchCase, Row, Suite
from bench.timing import Measurement, measure
from kernels.files import write_whole

BUDGET_S = 5.0
QUICK_BUDGET_S = 0.5
WIDE = 120
"""Columns that a full table takes; files and pipes have as many."""


class Report(TypedDict):
    """The content of `bench/out/SUITE.json`."""

    device: str
    commit: str
    rows: list[Row]


@dataclass(slots=True)
class Outcome:
    """What a run produced: rows, what could not run here and why, and what was wrong."""

    rows: list[Row] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def run_suite(
    name: str, suite: Suite, *, out: Path, console: Console, budget_s: float = BUDGET_S
) -> Outcome:
    """Runs every case, prints the table to `console`, writes `out/NAME.json` and the plots.

    A wrong answer or a fault costs its row, is listed in `Outcome.wrong`, and does not stop the
    others.
    """
    outcome = Outcome()
    for i, case in enumerate(suite.cases):
        console.print(f"[dim]{i + 1}/{len(suite.cases)} {case.id}[/dim]", highlight=False)
        row = run_case(case, outcome, budget_s=budget_s)
        if row is not None:
            outcome.rows.append(row)
    report = Report(device=describe_device(), commit=describe_commit(), rows=outcome.rows)
    outcome.files.append(write_report(report, out / f"{name}.json"))
    if suite.draw is not None:
        try:
            outcome.files.extend(suite.draw(outcome.rows, out))
        except Unavailable as why:
            outcome.absent.append(f"plot: {why}")
    if suite.keep is not None and outcome.rows and not outcome.wrong:
        outcome.files.extend(suite.keep(outcome.rows))
    print_table(name, report, outcome, console)
    return outcome


def run_case(case: BenchCase, outcome: Outcome, *, budget_s: float) -> Row | None:
    """One row with its peers; None, and a line in `outcome`, if the case is absent or wrong."""
    try:
        task = case.make()
        expected = case.expect()
        own = measure(case, task, expected, budget_s=budget_s)
    except Unavailable as why:
        outcome.absent.append(f"{case.id}: {why}")
        return None
    except WrongAnswer as why:
        outcome.wrong.append(str(why))
        return None
    except Exception as fault:  # of a device, a server, memory: the other rows are not its fault
        outcome.wrong.append(f"{case.id}: {type(fault).__name__}: {fault}")
        return None
    del task
    peers = {}
    for peer in case.peers:
        found = _run_peer(case, peer, expected, outcome, budget_s=budget_s)
        if found is not None:
            peers[peer] = found.value
    return Row(
        id=case.id,
        params=dict(case.params),
        value=own.value,
        unit=case.unit,
        iqr=own.iqr,
        n=own.n,
        peers=peers,
    )


def _run_peer(
    case: BenchCase, peer: str, expected: object, outcome: Outcome, *, budget_s: float
) -> Measurement | None:
    try:
        return measure(case, case.peers[peer](), expected, budget_s=budget_s)
    except Unavailable as why:
        note = f"{peer}: {why}"
        if note not in outcome.absent:
            outcome.absent.append(note)
    except WrongAnswer as why:
        outcome.wrong.append(f"{peer}: {why}")
    return None


def write_report(report: Report, path: Path) -> Path:
    """Writes the JSON, making the folder if it has to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, [f"{json.dumps(report, indent=1)}\n".encode()])
    return path


def print_table(name: str, report: Report, outcome: Outcome, console: Console) -> None:
    """Our value, its spread, and how many times slower or faster each peer is.

    Ids without the suite's name. A narrow terminal gets fewer columns, never a cut figure.
    """
    peers = sorted({peer for row in report["rows"] for peer in row["peers"]})
    table = Table(title=f"{name} on {report['device']}", caption=report["commit"], box=SIMPLE_HEAD)
    table.add_column("id", overflow="fold")
    table.add_column("unit", no_wrap=True)
    ours = ("median", "iqr", "n") if console.width >= WIDE else ("median",)
    for heading in ours:
        table.add_column(heading, justify="right", min_width=6)
    for peer in peers:
        table.add_column(peer, justify="right", overflow="fold")
    for row in report["rows"]:
        table.add_row(*_cells(row, ours, peers))
    console.print(table)
    for line in outcome.absent:
        console.print(f"not measured  {line}", highlight=False, markup=False)
    for line in outcome.wrong:
        console.print(f"WRONG  {line}", style="red", highlight=False, markup=False)
    for path in outcome.files:
        console.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)


def _cells(row: Row, ours: Sequence[str], peers: Sequence[str]) -> list[str]:
    figures = {"median": f"{row['value']:.4g}", "iqr": f"{row['iqr']:.2g}", "n": str(row["n"])}
    cells = [row["id"].partition(".")[2], row["unit"], *(figures[name] for name in ours)]
    for peer in peers:
        value = row["peers"].get(peer)
        cells.append("" if value is None else f"{value:.3g} ({value / row['value']:.1f}x)")
    return cells
