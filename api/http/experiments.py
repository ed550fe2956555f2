"""Reports of experiments that the service's machine has kept, as the page shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from federated.experiments.catalog import EXPERIMENTS
from federated.experiments.kinds import FORMAT, PROFILES, Profile

MAX_REPORT_BYTES = 1 << 26
"""Of a file; its cells, which are most of it, are not shown."""
PICTURE = r"^[a-z]{1,32}-[a-z0-9-]{1,64}\.png$"

PictureName = Annotated[str, StringConstraints(pattern=PICTURE)]


class _Part(BaseModel):
    """Of a report, whose members that are not shown are left aside."""

    model_config = ConfigDict(frozen=True)


class FindingView(_Part):
    """A claim against what was measured; holds: null where the measurement can't tell."""

    claim: str
    measured: str
    holds: bool | None


class TableView(_Part):
    """Rows of text."""

    title: str
    columns: list[str]
    rows: list[list[str]]


class FigureView(_Part):
    """A picture, at /v1/experiments/{profile}/{file}."""

    file: PictureName
    caption: str


class ExperimentView(_Part):
    """What `zkpot experiment` wrote, without its cells."""

    format: Annotated[str, StringConstraints(pattern=f"^{FORMAT}$")]
    experiment: str
    title: str
    profile: Profile
    seconds: float
    conditions: dict[str, str]
    findings: list[FindingView]
    tables: list[TableView]
    figures: list[FigureView]


class ExperimentList(_Part):
    """In the order of the catalog; full runs behind quick ones."""

    experiments: list[ExperimentView]


def list_experiments(folder: Path) -> ExperimentList:
    """The reports below a folder of profiles; what is missing or no report is left out."""
    found = [_read(folder / p / f"{name}.json") for p in PROFILES for name in EXPERIMENTS]
    return ExperimentList(experiments=[view for view in found if view is not None])


def find_picture(folder: Path, profile: Profile, file: str) -> Path | None:
    """The picture of this name, if the report of its experiment shows it and it is there."""
    name = file.partition("-")[0]
    view = _read(folder / profile / f"{name}.json") if name in EXPERIMENTS else None
    if view is None or all(figure.file != file for figure in view.figures):
        return None
    path = folder / profile / file
    return path if path.is_file() else None


def _read(path: Path) -> ExperimentView | None:
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_REPORT_BYTES + 1)
        return ExperimentView.model_validate_json(raw) if len(raw) <= MAX_REPORT_BYTES else None
    except (OSError, ValidationError):
        return None
