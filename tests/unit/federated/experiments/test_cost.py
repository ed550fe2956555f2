"""What is counted of a round, on a real one of four clients; and readings of made-up rounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federated.experiments.chains.dealt import N_VALIDATORS
from federated.experiments.cost import meter
from federated.experiments.cost.crowd import open_workshop, shrink
from federated.experiments.cost.experiment import EXPERIMENT
from federated.experiments.cost.meter import (
    CLIENT_PHASES,
    NODE_PHASES,
    CountedBlobs,
    Meter,
    measure_hash_rate,
)
from federated.experiments.cost.reading import read_outcomes, sum_work
from federated.experiments.cost.rounds import measure_round
from federated.experiments.kinds import Cell, Reading
from kernels.backend import get_backend
from prover.model.presets import parse_architecture

NETWORK = "mlp-16-4-10"


def test_a_phase_within_another_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(meter, "_read_clocks", lambda: (now[0], 10 * now[0]))

    def wait(seconds: float) -> None:
        now[0] += seconds

    found = Meter()
    wait(5)
    with found.phase("outer"):
        wait(1)
        with found.phase("inner"):
            wait(2)
        wait(4)
    wait(7)
    with found.phase("inner"):
        wait(8)
    assert found.cpu_s == {"outer": 5, "inner": 10}
    assert found.wall_s == {"outer": 50, "inner": 100}


def test_a_phase_that_fails_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(meter, "_read_clocks", lambda: (now[0], now[0]))
    found = Meter()

    def fail() -> None:
        with found.phase("fails"):
            now[0] = 1.0
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    now[0] = 3.0
    with found.phase("next"):
        now[0] = 4.0
    assert found.cpu_s == {"fails": 1, "next": 1}


def test_a_blob_is_counted_once(tmp_path: Path) -> None:
    blobs = CountedBlobs(tmp_path)
    digest = blobs.put(b"12345")
    assert blobs.put(b"12345") == digest
    blobs.put(b"678")
    assert blobs.n_bytes == 8
    assert blobs.get(digest) == b"12345"


def test_pixels_are_means_of_squares() -> None:
    images = np.zeros((1, 28, 28), dtype=np.uint8)
    images[0, :4, :4] = 200
    images[0, 4:8, :2] = 100  # half of the square below
    small = shrink(images.reshape(1, 784), 7).reshape(7, 7)
    assert small[0, 0] == 200
    assert small[1, 0] == 50
    assert small.sum() == 250
    same = np.arange(784, dtype=np.uint8).reshape(1, 784)
    assert np.array_equal(shrink(same, 28), same)


def test_hashes_are_counted() -> None:
    assert measure_hash_rate(0.02) > 1000


def test_a_round_of_four_is_measured_in_every_phase(tmp_path: Path) -> None:
    workshop = open_workshop(NETWORK, 32, tmp_path / "data", get_backend("cpu"))
    scratch = tmp_path / "scratch"
    found = measure_round(workshop, scratch, n_clients=4, seed=1)
    assert not list(scratch.iterdir()), "keys of a chain lie about"
    assert all(found["clients_cpu_s"][phase] > 0 for phase in CLIENT_PHASES)
    assert all(found["node_cpu_s"][phase] > 0 for phase in NODE_PHASES)
    assert found["n_blocks"] == 7
    least = 32 * parse_architecture(NETWORK).n_parameters
    assert found["client_bytes"] > 4 * least
    assert found["client_bytes"] < 4 * (least + 20_000)
    assert found["block_bytes"] > 4 * 224
    assert sum_work(found) > sum(found["clients_cpu_s"].values())


# -- reading ---------------------------------------------------------------------------------------


def make_run(n: int, *, client_s: float = 0.1, node_s: float = 0.01, sent: int = 900) -> Any:
    share = client_s / len(CLIENT_PHASES)
    return {
        "origin": "packaged",
        "clients_cpu_s": dict.fromkeys(CLIENT_PHASES, n * share),
        "clients_wall_s": {},
        "node_cpu_s": dict.fromkeys(NODE_PHASES, n * node_s / 3),
        "node_wall_s": {},
        "client_bytes": n * sent,
        "block_bytes": n * 500,
        "n_blocks": 7,
        "hash_rate": 1e6,
    }


def read(make: Callable[[int], Any]) -> Reading:
    return read_outcomes(
        [
            (Cell(seed=seed, parameters={"network": NETWORK, "samples": 8, "clients": n}), make(n))
            for seed in range(3)
            for n in (10, 40)
        ]
    )


def get_holds(reading: Reading, words: str) -> bool | None:
    (found,) = [finding for finding in reading.findings if words in finding.claim]
    return found.holds


def test_work_is_that_of_all_clients_and_all_nodes() -> None:
    assert sum_work(make_run(10)) == pytest.approx(10 * 0.1 + N_VALIDATORS * 10 * 0.01)


def test_findings_follow_the_counts(tmp_path: Path) -> None:
    reading = read(make_run)
    for words in ("bytes that a client sends", "work of a client less", "work of a node"):
        assert get_holds(reading, words) is True
    assert get_holds(reading, "600 s") is True
    assert get_holds(reading, "13 s") is True
    assert get_holds(reading, "difficulty 1") is True
    assert get_holds(reading, "plain averaging") is False
    assert reading.tables[2].rows[0][4:6] == ("6000", "130")
    for figure in reading.figures:
        path = tmp_path / f"{figure.name}.png"
        figure.draw(path)
        assert path.stat().st_size > 1000


def test_growth_that_is_too_great_is_told() -> None:
    grown = read(lambda n: make_run(n, client_s=n / 10, node_s=n / 10, sent=n * 50))
    for words in ("bytes that a client sends", "work of a client less", "work of a node"):
        assert get_holds(grown, words) is False


def test_a_round_of_more_work_than_a_mined_block_is_told() -> None:
    dear = read(lambda n: make_run(n, client_s=1000))
    assert get_holds(dear, "600 s") is False
    assert get_holds(dear, "13 s") is False
    assert get_holds(dear, "difficulty 1") is False


def test_few_bytes_are_told() -> None:
    n_parameters = parse_architecture(NETWORK).n_parameters
    words = "twice the bytes of a model"
    assert get_holds(read(lambda n: make_run(n, sent=4 * n_parameters)), words) is True
    assert get_holds(read(lambda n: make_run(n, sent=40 * n_parameters)), words) is False


def test_the_plan_has_three_seeds_of_each_size() -> None:
    cells = EXPERIMENT.plan("quick")
    sizes = {(cell.parameters["network"], cell.parameters["clients"]) for cell in cells}
    assert {n for _, n in sizes} >= {10, 50, 200}
    assert len(cells) >= 3 * len(sizes)
    assert len({cell.name for cell in cells}) == len(cells)
