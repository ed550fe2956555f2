"""Experiments: cells are kept and run once, and a report says what they gave, and where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from federated.errors import NothingKept
from federated.experiments.bands import band
from federated.experiments.catalog import load_experiment
from federated.experiments.kinds import (
    FORMAT,
    Cell,
    Experiment,
    Figure,
    Finding,
    Json,
    Lab,
    Outcomes,
    Profile,
    Reading,
    Table,
)
from federated.experiments.runner import run_experiment
from kernels.backend import get_backend


@dataclass
class Doubling:
    """Doubles a number under three seeds; notes what it ran, and can break at a cell."""

    name: str = "doubling"
    title: str = "doubles"
    version: int = 1
    is_parallel: bool = True
    breaks_at: int | None = None
    ran: list[int] = field(default_factory=list)

    def plan(self, profile: Profile) -> Sequence[Cell]:
        factor = 2 if profile == "quick" else 3
        return [Cell(seed=seed, parameters={"factor": factor}) for seed in range(3)]

    def run(self, cell: Cell, lab: Lab) -> Json:
        if cell.seed == self.breaks_at:
            raise KeyboardInterrupt
        self.ran.append(cell.seed)
        return {"value": cell.seed * int(cell.parameters["factor"])}

    def read(self, profile: Profile, outcomes: Outcomes) -> Reading:
        values = [result["value"] for _, result in outcomes]
        return Reading(
            findings=(Finding(claim="grows", measured=band(values).tell(), holds=True),),
            tables=(Table(title="values", columns=("v",), rows=((str(values),),)),),
            figures=(Figure(name="line", caption="a line", draw=lambda p: _draw(p)),),
            conditions={"clients": "none"},
        )


def _draw(path: Path) -> None:
    path.write_bytes(b"picture")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(
        data_dir=tmp_path,
        scratch=tmp_path / "scratch",
        backend=get_backend("cpu"),
        progress=lambda what, done, total: None,
    )


def test_report_says_what_was_found_and_where(tmp_path: Path, lab: Lab) -> None:
    run = run_experiment(Doubling(), "quick", tmp_path, lab)
    assert [p.name for p in run.files] == ["doubling.json", "doubling-line.png"]
    report = json.loads((tmp_path / "doubling.json").read_bytes())
    assert report == run.report
    assert (report["format"], report["profile"], report["conditions"]["seeds"]) == (
        FORMAT,
        "quick",
        "3",
    )
    assert report["conditions"]["clients"] == "none"
    assert report["findings"] == [{"claim": "grows", "measured": "2.0 ± 5.0", "holds": True}]
    assert report["figures"] == [{"file": "doubling-line.png", "caption": "a line"}]
    assert [cell["result"]["value"] for cell in report["cells"]] == [0, 2, 4]
    assert (tmp_path / "doubling-line.png").read_bytes() == b"picture"


def test_an_interrupted_run_goes_on(tmp_path: Path, lab: Lab) -> None:
    broken = Doubling(breaks_at=2)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(broken, "quick", tmp_path, lab)
    assert broken.ran == [0, 1]
    again = Doubling()
    report = run_experiment(again, "quick", tmp_path, lab).report
    assert again.ran == [2]
    assert [cell["result"]["value"] for cell in report["cells"]] == [0, 2, 4]


def test_what_is_kept_can_be_reported_before_the_rest_is_measured(tmp_path: Path, lab: Lab) -> None:
    class TwoFactors(Doubling):
        def plan(self, profile: Profile) -> Sequence[Cell]:
            more = [Cell(seed=seed, parameters={"factor": 7}) for seed in (10, 11, 12)]
            return [*super().plan(profile), *more]

    with pytest.raises(NothingKept, match="without --kept"):
        run_experiment(TwoFactors(), "quick", tmp_path, lab, kept_only=True)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(TwoFactors(breaks_at=12), "quick", tmp_path, lab)
    looking = TwoFactors()
    report = run_experiment(looking, "quick", tmp_path, lab, kept_only=True).report
    assert not looking.ran
    assert report["conditions"]["measured"] == "3 of 6 cells"
    assert {cell["parameters"]["factor"] for cell in report["cells"]} == {2}, "7 has two seeds"


def test_kept_cells_are_of_one_version_and_one_setting(tmp_path: Path, lab: Lab) -> None:
    run_experiment(Doubling(), "quick", tmp_path, lab)
    for other, profile, afresh in (
        (Doubling(version=2), "quick", False),
        (Doubling(), "full", False),
        (Doubling(), "quick", True),
    ):
        run_experiment(other, profile, tmp_path, lab, afresh=afresh)  # type: ignore[arg-type]
        assert other.ran == [0, 1, 2]


def test_a_report_names_the_machines_that_measured(tmp_path: Path, lab: Lab) -> None:
    run_experiment(Doubling(), "quick", tmp_path, lab)
    first, *_ = sorted((tmp_path / "doubling" / "cells").iterdir())
    record = json.loads(first.read_bytes())
    here = record["conditions"]["processor"]
    record["conditions"]["processor"] = "another one"
    first.write_text(json.dumps(record))
    again = Doubling()
    conditions = run_experiment(again, "quick", tmp_path, lab).report["conditions"]
    assert again.ran == []
    assert sorted(conditions["processor"].split(" / ")) == sorted([here, "another one"])
    assert " / " not in conditions["system"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"result": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_kept_cell_is_measured_again(tmp_path: Path, lab: Lab, content: bytes) -> None:
    run_experiment(Doubling(), "quick", tmp_path, lab)
    kept = sorted((tmp_path / "doubling" / "cells").iterdir())
    assert len(kept) == 3
    kept[0].write_bytes(content)
    again = Doubling()
    run_experiment(again, "quick", tmp_path, lab)
    assert len(again.ran) == 1


def test_a_band_is_a_t_interval() -> None:
    found = band([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.half == pytest.approx(4.303 / 3**0.5)
    assert (found.low, found.high) == (found.mean - found.half, found.mean + found.half)
    assert found.tell("%", scale=100) == "200.0 ± 248.4 %"
    with pytest.raises(ValueError, match="more seeds"):
        band([1.0])


def test_cells_beside_each_other_give_what_they_give_alone(tmp_path: Path, lab: Lab) -> None:
    """Of a real experiment, since processes of their own load it by its name."""
    leadership = load_experiment("leadership")
    parameters = {"skill": "none", "clients": 3, "rounds": 2}
    cells = [Cell(seed=seed, parameters=parameters) for seed in range(2)]
    reports = []
    for workers in (1, 2):
        few = _Few(leadership, cells)
        folder = tmp_path / str(workers)
        reports.append(run_experiment(few, "quick", folder, lab, workers=workers).report["cells"])
    assert reports[0] == reports[1]
    assert len(reports[0]) == 2


@dataclass
class _Few:
    """An experiment with only some of its cells, and nothing read out of them."""

    whole: Experiment
    cells: Sequence[Cell]

    def __getattr__(self, name: str) -> object:
        return getattr(self.whole, name)

    def plan(self, profile: Profile) -> Sequence[Cell]:
        return self.cells

    def read(self, profile: Profile, outcomes: Outcomes) -> Reading:
        return Reading(findings=(), tables=(), figures=())
