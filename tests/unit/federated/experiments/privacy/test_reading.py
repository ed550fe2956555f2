"""Findings follow from the outcomes, whichever way these are, and figures are drawn of them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from federated.experiments.kinds import Cell, Json, Profile, Reading
from federated.experiments.privacy.experiment import EXPERIMENT
from federated.experiments.privacy.membership import RATES
from federated.experiments.privacy.reveals import list_reveals
from federated.experiments.privacy.rows import GUESSED

GRAY = base64.b64encode(bytes(784)).decode()
COLOURS = base64.b64encode(bytes(3072)).decode()


def read(
    aucs: dict[str, float] | None = None,
    psnrs: dict[str, float] | None = None,
    accuracies: dict[str, float] | None = None,
    *,
    spread: float = 0.0025,
) -> Reading:
    """Of outcomes where every AUC is 0.5 and every PSNR 12 dB, but for those given.

    Seeds differ by up to `spread` of AUC, or 40 times as many dB.
    """
    outcomes = []
    for cell in EXPERIMENT.plan("quick"):
        away = (-1, 0, 1, 0, 0)[cell.seed]
        if cell.parameters["part"] == "membership":
            result = make_membership(cell, aucs or {}, accuracies or {}, spread * away)
        else:
            result = make_inversion(cell, psnrs or {}, 40 * spread * away)
        outcomes.append((cell, result))
    return EXPERIMENT.read("quick", outcomes)


def list_names(cell: Cell) -> list[str]:
    noises = [float(text) for text in str(cell.parameters["noises"]).split()]
    numbers = [int(text) for text in str(cell.parameters["numbers"]).split()]
    return [reveal.name for reveal in list_reveals(noises, numbers)]


def make_membership(
    cell: Cell, aucs: dict[str, float], accuracies: dict[str, float], away: float
) -> Json:
    names = [*list_names(cell), "count"]
    attacks = {
        name: ["all"]
        if name == "count"
        else ["loss", "lira", "update", *(["all"] if name.startswith(("sum", "clear")) else [])]
        for name in names
    }

    def rate(name: str, attack: str) -> Json:
        auc = aucs.get(f"{name}/{attack}", aucs.get(name, 0.5)) + away
        return {"auc": auc, "curve": [float(rate) for rate in RATES]}

    return {
        "origin": "packaged",
        "n_elsewhere": 2400,
        "norm": 1.0,
        "reveals": {name: {a: rate(name, a) for a in attacks[name]} for name in names},
        "accuracy": {
            name: accuracies.get(name, 0.9) + away / 10
            for name in ("start", "raw", "sum", "noised-0.01", "noised-0.1")
        },
    }


def make_inversion(cell: Cell, psnrs: dict[str, float], away: float) -> Json:
    names = list_names(cell)
    picture = COLOURS
    if cell.parameters["part"] == "rows":
        names += [f"floats-{n}" for n in str(cell.parameters["numbers"]).split()]
        picture = GRAY
    pairs = [[picture, picture]] * int(cell.parameters["n_pictures"])

    def rate(name: str) -> Json:
        found: dict[str, Any] = {"psnr": psnrs.get(name, 12.0), "ssim": 0.2}
        found["psnr"] += 0.0 if name == GUESSED else away
        return {**found, "pictures": pairs} if pairs else found

    return {"origin": "packaged", "reveals": {name: rate(name) for name in [*names, GUESSED]}}


def judge(reading: Reading, *words: str) -> bool | None:
    """Of the one claim in which all words are."""
    (found,) = [f for f in reading.findings if all(word in f.claim for word in words)]
    return found.holds


def test_where_nothing_leaks_claims_of_leaks_do_not_hold() -> None:
    reading = read()
    assert judge(reading, "tell who trained on what") is False
    assert judge(reading, "gives a picture of its client back") is False
    assert judge(reading, "search gives a photograph") is False
    assert judge(reading, "tells less than a model in the clear") is False
    for n_own in (32, 128):
        assert judge(reading, "a sum of ten models is guessing", f"({n_own} ") is True
    assert judge(reading, "one of the ten who knows its own") is True
    assert judge(reading, "without the proven counts") is True
    assert judge(reading, "with the proven counts") is True
    assert judge(reading, "a proven count k alone") is True
    assert judge(reading, "noise 0.01 ") is True
    for words in ("a sum of ten quantized", "not quantized", "search in a sum of ten"):
        assert judge(reading, words) is True


def test_where_everything_leaks_claims_of_privacy_do_not_hold() -> None:
    sums = {f"sum-{n}": 0.7 for n in (2, 3, 9, 10, 50, 100)}
    reading = read(
        {"raw": 0.9, "noised-0.01": 0.8, "count": 0.6, **sums},
        {"raw": 40.0, "sum-10": 14.0, "floats-10": 20.0},
    )
    assert judge(reading, "tell who trained on what") is True
    assert judge(reading, "gives a picture of its client back") is True
    assert judge(reading, "search gives a photograph") is True
    assert judge(reading, "tells less than a model in the clear") is True
    for n_own in (32, 128):
        assert judge(reading, "a sum of ten models is guessing", f"({n_own} ") is False
    assert judge(reading, "one of the ten who knows its own") is False
    assert judge(reading, "without the proven counts") is False
    assert judge(reading, "with the proven counts") is False
    assert judge(reading, "a proven count k alone") is False
    assert judge(reading, "noise 0.01 ") is False
    for words in ("a sum of ten quantized", "not quantized", "search in a sum of ten"):
        assert judge(reading, words) is False


def test_where_seeds_differ_too_much_nothing_is_shown() -> None:
    """Bands on both sides of what a claim needs: neither it nor its contrary is borne out."""
    reading = read({"raw": 0.51}, {"raw": 30.0}, {"noised-0.1": 0.85}, spread=0.05)
    for words in (
        "tell who trained on what",
        "gives a picture of its client back",
        "one of the ten who knows its own",
        "without the proven counts",
        "with the proven counts",
        "a proven count k alone",
        "a sum of ten quantized",
        "not quantized",
        "search in a sum of ten",
    ):
        assert judge(reading, words) is None
    for n_own in (32, 128):
        assert judge(reading, "a sum of ten models is guessing", f"({n_own} ") is None
    assert judge(reading, "noise 0.01 ") is None
    assert judge(reading, "noise 0.1 ") is False


def test_where_sums_fall_silent_is_told() -> None:
    leaks = {f"sum-{n}": 0.6 for n in (2, 3, 9, 10)}
    reading = read({**leaks, "sum-100/all": 0.6})
    (silent,) = [f for f in reading.findings if "without the proven counts" in f.claim]
    assert (silent.holds, silent.measured) == (True, "from n = 50 on, of n = 2, 3, 9, 10, 50, 100")
    assert judge(reading, "with the proven counts") is False


def test_noise_that_costs_accuracy_does_not_keep_it() -> None:
    reading = read(accuracies={"noised-0.1": 0.5})
    assert judge(reading, "noise 0.1 ") is False
    assert judge(reading, "noise 0.01 ") is True


def test_tables_have_a_row_for_whatever_is_seen_and_figures_are_drawn(tmp_path: Path) -> None:
    reading = read()
    assert [len(table.rows) for table in reading.tables] == [11, 11, 11, 6]
    for table in reading.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    for figure in reading.figures:
        path = tmp_path / f"{figure.name}.png"
        figure.draw(path)
        assert path.read_bytes().startswith(b"\x89PNG")
        assert "seed" in figure.caption
        assert "packaged" in figure.caption
    assert {"membership", "inversion by rows", "inversion by search"} == set(reading.conditions)


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_every_setting_has_its_seeds(profile: Profile) -> None:
    cells = EXPERIMENT.plan(profile)
    assert len({cell.name for cell in cells}) == len(cells)
    settings: dict[tuple[object, object], int] = {}
    for cell in cells:
        setting = cell.parameters["part"], cell.parameters["n_own"]
        settings[setting] = settings.get(setting, 0) + 1
    assert min(settings.values()) >= 3
    assert {part for part, _ in settings} == {"membership", "rows", "matching"}
