"""Reports become one page, in the order of the catalog, with nothing that is not in them."""

from __future__ import annotations

from pathlib import Path

from federated.experiments.catalog import EXPERIMENTS
from federated.experiments.document import read_reports, render
from tests.support.experiment_reports import make_report, put_report


def test_what_holds_is_said_of_every_finding() -> None:
    lines = render([make_report()]).splitlines()
    assert "| claims, quick | no forged claim is accepted | 0 of 90 | holds |" in lines
    assert "| claims, quick | it <b>costs</b> nothing | 3 \\| 4 s | **does not hold** |" in lines
    assert "| claims, quick | nobody leads for ever | bands overlap | open |" in lines


def test_every_figure_and_table_stands_with_its_conditions() -> None:
    page = render([make_report()], pictures="shown/")
    assert "    zkpot experiment claims --profile quick\n" in page
    assert "processor: some; seeds: 3; computed in 12 s." in page
    assert "![kinds of (forged) claims, 3 seeds](shown/claims-kinds.png)" in page
    assert "| kind | tried |\n|---|---|\n| forged | 90 |" in page


def test_reports_are_read_in_the_order_of_the_catalog(tmp_path: Path) -> None:
    put_report(tmp_path, experiment="cost")
    put_report(tmp_path)
    (tmp_path / "quick" / "other.json").write_text("{}")
    names = [report["experiment"] for report in read_reports(tmp_path / "quick")]
    assert names == ["claims", "cost"]
    for broken in ("{", "[]", '{"format": "zkpot-experiment-v0"}', "[" * 100_000):
        (tmp_path / "quick" / "cost.json").write_text(broken)
        assert [report["experiment"] for report in read_reports(tmp_path / "quick")] == ["claims"]


def test_the_page_of_this_project_is_made_of_its_reports(root: Path) -> None:
    docs = root / "docs"
    reports = read_reports(docs / "experiments")
    assert [report["experiment"] for report in reports] == list(EXPERIMENTS)
    assert (docs / "experiments.md").read_text() == render(reports, pictures="experiments/")
    shown = {figure["file"] for report in reports for figure in report["figures"]}
    assert {path.name for path in (docs / "experiments").glob("*.png")} == shown
