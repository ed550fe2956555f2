"""What an experiment is: cells that run one by one, and what is read out of all of them.

A cell is the smallest part that is kept: one setting under one seed. It is a pure function of its
parameters and the data, so a run that was interrupted goes on where it stopped, and two runs of one
machine agree. What an experiment claims, it states as findings, each with what was measured, and
whether it holds; one that does not hold is a result like any other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from kernels.backend import Backend

FORMAT = "zkpot-experiment-v1"
"""Of reports."""
ASSUMED = "so the simulation assumes, and the experiment claims tries with real proofs"
"""Said of what cannot be otherwise where it is read, so that nobody takes it for measured."""
Profile = Literal["quick", "full"]
PROFILES: tuple[Profile, ...] = ("quick", "full")
Json = dict[str, Any]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One setting under one seed.

    seed       : of everything that is drawn in it; secrets of proofs are not drawn from it
    parameters : JSON scalars by name, all that the result depends on besides the seed and the data
    """

    seed: int
    parameters: Mapping[str, str | int | float | bool]

    @property
    def name(self) -> str:
        """Canonical JSON of the cell: equal cells have equal names."""
        return json.dumps({"seed": self.seed, **self.parameters}, sort_keys=True)

    @property
    def setting(self) -> str:
        """Canonical JSON of what is measured under several seeds: all parameters, but for the
        number of pictures that a cell keeps besides.
        """
        measured = {name: x for name, x in self.parameters.items() if name != "n_pictures"}
        return json.dumps(measured, sort_keys=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One claim against what was measured.

    claim    : a sentence; of the literature or of this project
    measured : the figures, with their bands
    holds    : whether the claim is borne out; None where the measurement can't tell
    """

    claim: str
    measured: str
    holds: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text under a title, for the console, the page and the document."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture.

    name    : of its file, without the suffix
    caption : what is drawn and under which conditions: data, seeds, clients, rounds
    draw    : draws it into a PNG at this path
    """

    name: str
    caption: str
    draw: Callable[[Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What all cells of a run say together.

    conditions : further ones of this experiment, by name: data and its origin, clients, rounds
    """

    findings: tuple[Finding, ...]
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    conditions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """What cells may use of this machine.

    data_dir : where fetched data sets are
    scratch  : a folder for keys and proofs, which outlives the run and may be deleted at any time
    """

    data_dir: Path
    scratch: Path
    backend: Backend
    progress: Progress


Outcomes = Sequence[tuple[Cell, Json]]


class Experiment(Protocol):
    """A module-level object `EXPERIMENT` of each experiment's module."""

    name: str
    title: str
    version: int
    """Raised whenever a cell of the same parameters would give another result; kept results of
    other versions are not read."""
    is_parallel: bool
    """Whether cells may run beside each other, one thread each: none is timed, none writes what
    another reads."""

    def plan(self, profile: Profile) -> Sequence[Cell]:
        """The cells of a profile, in the order in which they run; at least 3 seeds of each that has
        a band."""
        ...

    def run(self, cell: Cell, lab: Lab) -> Json:
        """Measures one cell. JSON values; the same for the same cell, but for times."""
        ...

    def read(self, profile: Profile, outcomes: Outcomes) -> Reading:
        """Findings, tables and figures. A pure function of the outcomes."""
        ...
