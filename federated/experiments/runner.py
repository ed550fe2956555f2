"""Runs an experiment: cells that are kept, one file each, then findings, tables and pictures.

FOLDER/NAME/cells/DIGEST.json    {experiment, version, cell, result, seconds, conditions}
FOLDER/NAME.json                 the report, all that the pictures show
FOLDER/NAME-FIGURE.png
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from federated.errors import NothingKept
from federated.experiments.bands import LEAST_SEEDS
from federated.experiments.catalog import load_experiment
from federated.experiments.conditions import CONDITIONS, describe_conditions, join_conditions
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
from federated.settings import single_threaded_children
from kernels.backend import get_backend
from kernels.files import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run: its report as in the file, its reading, and the files."""

    report: Json
    reading: Reading
    files: tuple[Path, ...]


def run_experiment(
    experiment: Experiment,
    profile: Profile,
    folder: Path,
    lab: Lab,
    *,
    afresh: bool = False,
    kept_only: bool = False,
    workers: int = 1,
) -> Run:
    """Runs what is not yet there, cell by cell, and writes report and pictures.

    afresh    : kept results are not read
    kept_only : nothing is run; the report is of what is kept, and says how much of all that is
    workers   : processes that run cells at once, where the experiment's cells do not mind each
                other
    progress(title, cells done, cells) on the lab's
    raises    : NothingKept, where too little is
    """
    planned = list(experiment.plan(profile))
    records: dict[str, Json] = {}
    for cell in planned:
        kept = None if afresh else _Kept(folder, experiment, cell).read()
        if kept is not None:
            records[cell.name] = kept
    cells = _choose_repeated(planned, records) if kept_only else planned
    if not cells:
        raise NothingKept(experiment.name)
    missing = [cell for cell in cells if cell.name not in records]
    lab.progress(experiment.title, len(records), len(cells))
    here = describe_conditions()
    for cell, result, seconds in _run_cells(experiment, missing, lab, workers):
        place = _Kept(folder, experiment, cell)
        record = place.write(result, seconds=seconds, conditions=here)
        records[cell.name] = record
        lab.progress(experiment.title, len(records), len(cells))
    outcomes = [(cell, records[cell.name]["result"]) for cell in cells]
    reading = experiment.read(profile, outcomes)
    ran = [records[cell.name] for cell in cells]
    report = _report(experiment, profile, outcomes, reading, ran)
    if len(cells) < len(planned):
        report["conditions"]["measured"] = f"{len(cells)} of {len(planned)} cells"
    text = json.dumps(report, indent=1) + "\n"
    files = [folder / f"{experiment.name}-{figure.name}.png" for figure in reading.figures]
    for figure, path in zip(reading.figures, files, strict=True):
        figure.draw(path)
    path = folder / f"{experiment.name}.json"
    write_whole(path, [text.encode()])
    return Run(report=json.loads(text), reading=reading, files=(path, *files))


def _choose_repeated(cells: Sequence[Cell], records: Mapping[str, Json]) -> list[Cell]:
    """The cells that are kept, of settings that are kept under enough seeds for a band."""
    kept = [cell for cell in cells if cell.name in records]
    n_seeds = Counter(cell.setting for cell in kept)
    return [cell for cell in kept if n_seeds[cell.setting] >= LEAST_SEEDS]


def _run_cells(
    experiment: Experiment, cells: Sequence[Cell], lab: Lab, workers: int
) -> Iterator[tuple[Cell, Json, float]]:
    """Each cell with its result and its seconds, as they end."""
    workers = min(workers, len(cells)) if experiment.is_parallel else 1
    if workers <= 1:
        for cell in cells:
            yield cell, *_time(experiment, cell, lab)
        return
    # A process that is begun afresh has no threads of this one, and no locks that they held.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    place = (lab.data_dir, lab.scratch, lab.backend.info().name)
    try:
        with single_threaded_children():
            running = {
                pool.submit(_run_apart, experiment.name, cell, *place): cell for cell in cells
            }
        for done in as_completed(running):
            yield running[done], *done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _run_apart(
    name: str, cell: Cell, data_dir: Path, scratch: Path, backend: str
) -> tuple[Json, float]:
    """In a process of the pool."""
    lab = Lab(
        data_dir=data_dir, scratch=scratch, backend=get_backend(backend), progress=_tell_nobody
    )
    return _time(load_experiment(name), cell, lab)


def _tell_nobody(what: str, done: int, total: int) -> None:
    """The cells of a pool are counted when they end."""


def _time(experiment: Experiment, cell: Cell, lab: Lab) -> tuple[Json, float]:
    started = time.perf_counter()
    return experiment.run(cell, lab), time.perf_counter() - started


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
            and set(record) == {*self._head, "result", "seconds", "conditions"}
            and all(record[name] == value for name, value in self._head.items())
            and isinstance(record["result"], dict)
            and isinstance(record["seconds"], float)
            and isinstance(record["conditions"], dict)
            and set(record["conditions"]) == CONDITIONS
            and all(isinstance(value, str) for value in record["conditions"].values())
        )
        return record if fits else None

    def write(self, result: Json, *, seconds: float, conditions: dict[str, str]) -> Json:
        record = {**self._head, "result": result, "seconds": seconds, "conditions": conditions}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, [(json.dumps(record) + "\n").encode()])
        return record


def _report(
    experiment: Experiment,
    profile: Profile,
    outcomes: list[tuple[Cell, Json]],
    reading: Reading,
    ran: list[Json],
) -> Json:
    """ran : the records of all cells, which other machines and versions may have kept"""

    def picture(figure: Figure) -> Json:
        return {"file": f"{experiment.name}-{figure.name}.png", "caption": figure.caption}

    return {
        "format": FORMAT,
        "experiment": experiment.name,
        "title": experiment.title,
        "version": experiment.version,
        "profile": profile,
        "seconds": round(sum(record["seconds"] for record in ran), 1),
        "conditions": {
            **join_conditions([record["conditions"] for record in ran]),
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
