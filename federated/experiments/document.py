"""Reports of experiments as one Markdown page: what holds, what does not, figures, conditions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from federated.experiments.catalog import EXPERIMENTS
from federated.experiments.kinds import FORMAT, Json

NAME = "experiments.md"
_MARKS = {True: "holds", False: "**does not hold**", None: "open"}
_HEAD = """# Experiments

Claims of the field and of this project, each against what was measured, with real data, real
proofs and real attacks. Bands are 95 % confidence intervals over seeds (Student's t); whether a
claim holds is computed from them. Nothing here is written by hand: `zkpot experiment all` makes
this page of its reports, and goes on where an earlier run stopped. `quick` takes minutes and the
packaged samples, `full` hours and all that `zkpot data fetch` brings.
"""


def read_reports(folder: Path) -> list[Json]:
    """The reports of a folder, in the order of the catalog; what is missing or no report of this
    format is left out.

    raises : OSError for a file that cannot be read
    """
    paths = [folder / f"{name}.json" for name in EXPERIMENTS]
    found = [_parse(path.read_bytes()) for path in paths if path.exists()]
    return [report for report in found if report is not None]


def _parse(raw: bytes) -> Json | None:
    try:
        report = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) and report.get("format") == FORMAT else None


def render(reports: Sequence[Json], *, pictures: str = "") -> str:
    """The page.

    pictures : what stands before the names of pictures, such as `experiments/`
    """
    parts = [_HEAD, _sum_up(reports)]
    parts += [_render_one(report, pictures) for report in reports]
    return "\n".join(parts)


def _sum_up(reports: Sequence[Json]) -> str:
    rows = [
        (
            f"{report['experiment']}, {report['profile']}",
            finding["claim"],
            finding["measured"],
            _MARKS[finding["holds"]],
        )
        for report in reports
        for finding in report["findings"]
    ]
    return "## What holds, and what does not\n\n" + _make_table(
        ("experiment", "claim", "measured", ""), rows
    )


def _render_one(report: Json, pictures: str) -> str:
    name = report["experiment"]
    command = f"    zkpot experiment {name} --profile {report['profile']}"
    lines = [f"## {report['title'][:1].upper()}{report['title'][1:]}\n", command + "\n"]
    conditions = [f"{key}: {value}" for key, value in report["conditions"].items()]
    lines.append("; ".join([*conditions, f"computed in {report['seconds']:.0f} s"]) + ".\n")
    for table in report["tables"]:
        lines.append(f"{table['title']}:\n")
        lines.append(_make_table(table["columns"], table["rows"]))
    for figure in report["figures"]:
        lines.append(f"![{_escape(figure['caption'])}]({pictures}{figure['file']})\n")
        lines.append(f"{figure['caption']}\n")
    return "\n".join(lines)


def _make_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_make_row(columns), "|" + "---|" * len(columns), *map(_make_row, rows)]
    return "\n".join(lines) + "\n"


def _make_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _escape(text: str) -> str:
    return text.replace("[", "(").replace("]", ")").replace("\n", " ")
