"""The suite `circuits`: sweeps whose figures are drawn with the power by which they grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.plot import compute_power
from bench.registry import Row
from bench.suites.circuits import FIGURES, FULL, QUICK, SIZES, make_suite


def test_every_sweep_is_of_one_thing_alone() -> None:
    for name, nets in (*FULL.items(), *QUICK.items()):
        assert len({net.samples for net in nets}) == (1 if name == "width" else len(nets))
        assert len({net.name for net in nets}) == (len(nets) if name == "width" else 1)


def test_ids_name_sweep_figure_and_network() -> None:
    ids = [case.id for case in make_suite(QUICK).cases]
    assert "circuits.mlp.prove.mlp-64-16-10.n4" in ids
    assert "circuits.width.key.mlp-784-16-10.n4" in ids
    assert len(ids) == 4 * (len(FIGURES) + 1)


def test_powers_are_those_of_the_last_two_points() -> None:
    assert compute_power((16, 64), (3.0, 3.0 * 4**1.5)) == pytest.approx(1.5)


def test_each_sweep_has_a_plot(tmp_path: Path) -> None:
    suite = make_suite(QUICK)
    rows = [
        Row(
            id=case.id,
            params=dict(case.params),
            value=float(case.params[SIZES]),
            unit=case.unit,
            iqr=0.0,
            n=1,
            peers={},
        )
        for case in suite.cases
    ]
    assert suite.draw is not None
    paths = suite.draw(rows, tmp_path)
    assert [path.name for path in paths] == ["circuits-mlp.png", "circuits-width.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    assert suite.draw([row for row in rows if ".mlp." in row["id"]], tmp_path) == paths[:1]
