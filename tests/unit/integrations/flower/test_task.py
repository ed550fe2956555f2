"""The folder of a task: what is in it belongs together, and its digest names all of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from integrations.flower.task import SAMPLES, TASK, load_task, make_task
from kernels.backend import get_backend
from prover.errors import FormatError, KeyMismatch, ShapeMismatch
from prover.model.network import canonical_json
from tests.support.flower_task import ARCHITECTURE, N_CORRECT, N_SAMPLES, FlowerLab, draw_arrays
from tests.support.tiny_circuits import seeded


@pytest.fixture
def folder(lab: FlowerLab, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lab.folder, tmp_path / "task"))


def write(folder: Path, **changes: Any) -> None:
    value = json.loads((folder / TASK).read_text()) | changes
    (folder / TASK).write_bytes(canonical_json(value) + b"\n")


def test_a_server_needs_no_proving_key(folder: Path, lab: FlowerLab) -> None:
    (folder / "key" / "proving.key").unlink()
    task = load_task(folder)
    assert (task.n_samples, task.n_correct) == (N_SAMPLES, N_CORRECT)
    assert task.architecture == ARCHITECTURE
    assert task.digest == lab.task.digest


def test_the_digest_names_threshold_and_scales(folder: Path) -> None:
    scales = json.loads((folder / TASK).read_text())["scales"]
    digests = {load_task(folder).digest}
    write(folder, n_correct=N_CORRECT + 1)
    digests.add(load_task(folder).digest)
    for change in ({"mean": 0.25}, {"std": 0.5}, {"weights": [w * 2 for w in scales["weights"]]}):
        write(folder, scales=scales | change)
        digests.add(load_task(folder).digest)
    assert len(digests) == 5


def test_other_samples_are_refused(folder: Path) -> None:
    tensors = load_file(folder / SAMPLES)
    tensors["labels"] = (tensors["labels"] + 1) % 3
    save_file(tensors, folder / SAMPLES)
    with pytest.raises(KeyMismatch, match="different tasks"):
        load_task(folder)


def test_another_key_is_refused(folder: Path) -> None:
    write(folder, key_digest="00" * 32)
    with pytest.raises(KeyMismatch):
        load_task(folder)


@pytest.mark.parametrize(
    "changes",
    [{"format": "zkpot-flower-task-2"}, {"scales": {}}, {"scales": {"mean": 0, "std": 0,
     "weights": [1.0, 1.0]}}, {"n_correct": "many"}, {"key_digest": "zz"}],
)  # fmt: skip
def test_what_is_no_task_is_refused(folder: Path, changes: dict[str, Any]) -> None:
    write(folder, **changes)
    with pytest.raises(FormatError, match=r"task\.json"):
        load_task(folder)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b" " * (1 << 17)])
def test_no_bytes_break_it(folder: Path, raw: bytes) -> None:
    (folder / TASK).write_bytes(raw)
    with pytest.raises(FormatError):
        load_task(folder)


@pytest.mark.parametrize("tensors", [{}, {"images": np.zeros((8, 6), np.uint8)},
    {"images": np.zeros((8, 5), np.uint8), "labels": np.zeros(8, np.uint8)}])  # fmt: skip
def test_samples_that_do_not_fit_are_refused(folder: Path, tensors: dict[str, Any]) -> None:
    save_file(tensors, folder / SAMPLES)
    with pytest.raises(FormatError, match=r"samples\.safetensors"):
        load_task(folder)


@pytest.mark.parametrize("n_correct", [0, -1, N_SAMPLES + 1])
def test_a_threshold_is_a_count_of_the_samples(n_correct: int, folder: Path) -> None:
    write(folder, n_correct=n_correct)
    with pytest.raises(ShapeMismatch, match="have to be right"):
        load_task(folder)
    with pytest.raises(ShapeMismatch, match="have to be right"):
        make_task(
            folder / "other",
            ARCHITECTURE,
            warm_up=draw_arrays(0),
            mean=0.0,
            std=1.0,
            images=np.zeros((N_SAMPLES, 6), np.uint8),
            labels=np.zeros(N_SAMPLES, np.uint8),
            n_correct=n_correct,
            random_bytes=seeded(1),
            backend=get_backend("cpu"),
        )
    assert not (folder / "other").exists()
