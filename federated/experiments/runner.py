"""Runs an experiment: cells that are kept, one file each, then findings, tables and pictures.

FOLDER/NAME/cells/DIGEST.json    {experiment, version, cell, result, seconds}
FOLDER/NAME.json                 the report, all that the pictures show
FOLDER/NAME-FIGURE.png
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from federated.experiments.conditions import describe_conditions
from federated.experiments.kinds import (
    FORMAT,
    Cell,
    Experiment,
    Figure,
    Json,
    Lab,
    Profile,
    Reading,
)
from kernels.files import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run: its report as in the file, its reading, and the files."""

    report: Json
    reading: Reading
    files: tuple[Path, ...]


def run_experiment(
    experiment: Experiment, profile: Profile, folder: Path, lab: Lab, *, afresh: bool = False
) -> Run:
    """Runs what is not yet there, cell by cell, and writes report and pictures.

    afresh : kept results are not read
    progress(title, cells done, cells) on the lab's
    """
    cells = list(experiment.plan(profile))
    outcomes: list[tuple[Cell, Json]] = []
    seconds = 0.0
    lab.progress(experiment.title, 0, len(cells))
    for done, cell in enumerate(cells, start=1):
        kept = _Kept(folder, experiment, cell)
        record = None if afresh else kept.read()
        if record is None:
            started = time.perf_counter()
            result = experiment.run(cell, lab)
            record = kept.write(result, seconds=time.perf_counter() - started)
        outcomes.append((cell, record["result"]))
        seconds += record["seconds"]
        lab.progress(experiment.title, done, len(cells))
    reading = experiment.read(profile, outcomes)
    text = json.dumps(_report(experiment, profile, outcomes, reading, seconds), indent=1) + "\n"
    files = [folder / f"{experiment.name}-{figure.name}.png" for figure in reading.figures]
    for figure, path in zip(reading.figures, files, strict=True):
        figure.draw(path)
    path = folder / f"{experiment.name}.json"
    write_whole(path, [text.encode()])
    return Run(report=json.loads(text), reading=reading, files=(path, *files))


class _Kept:
    """The result of one cell on disk."""

    def __init__(self, folder: Path, experiment: Experiment, cell: Cell) -> None:
        self._head = {
            "experiment": experiment.name,
            "version": experiment.version,
            "cell": cell.name,
        }
        digest = hashlib.sha256(json.dumps(self._head).encode()).hexdigest()[:24]
        self._path = folder / experiment.name / "cells" / f"{digest}.json"

    def read(self) -> Json | None:
        """The record, or None where there is none that is whole and of this cell."""
        try:
            record = json.loads(self._path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        fits = (
            isinstance(record, dict)
            and set(record) == {*self._head, "result", "seconds"}
            and all(record[name] == value for name, value in self._head.items())
            and isinstance(record["result"], dict)
            and isinstance(record["seconds"], float)
        )
        return record if fits else None

    def write(self, result: Json, *, seconds: float) -> Json:
        record = {**self._head, "result": result, "seconds": seconds}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, [(json.dumps(record) + "\n").encode()])
        return record


def _report(
    experiment: Experiment,
    profile: Profile,
    outcomes: list[tuple[Cell, Json]],
    reading: Reading,
    seconds: float,
) -> Json:
    def picture(figure: Figure) -> Json:
        return {"file": f"{experiment.name}-{figure.name}.png", "caption": figure.caption}

    return {
        "format": FORMAT,
        "experiment": experiment.name,
        "title": experiment.title,
        "version": experiment.version,
        "profile": profile,
        "seconds": round(seconds, 1),
        "conditions": {
            **describe_conditions(),
            "seeds": str(len({cell.seed for cell, _ in outcomes})),
            **reading.conditions,
        },
        "findings": [asdict(finding) for finding in reading.findings],
        "tables": [asdict(table) for table in reading.tables],
        "figures": [picture(figure) for figure in reading.figures],
        "cells": [
            {"seed": cell.seed, "parameters": dict(cell.parameters), "result": result}
            for cell, result in outcomes
        ],
    }
