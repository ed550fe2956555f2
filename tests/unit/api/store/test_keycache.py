"""Keys: made once for all, whole on disk, and the last ones ready within a budget."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from api.store.keycache import KeyCache, LeastRecent, ReadyKey, count_bytes
from api.store.keyfolder import KeyFolder, load_half, load_half_of
from kernels.backend import get_backend
from prover.circuit.accuracy import AccuracyCircuit
from prover.errors import FormatError, KeyMismatch
from prover.keys.card import KeyCard
from prover.keys.folder import VERIFYING_NAME
from prover.keys.halves import list_bases
from prover.keys.streamed import StreamedBases
from prover.keys.training_card import ExportCard, StepCard
from prover.model.layers import Requant
from prover.model.network import Architecture
from prover.progress import silent
from tests.support.tiny_circuits import seeded
from tests.support.trajectories import recipe

ARCHITECTURE = Architecture.mlp([4, 3, 2])
N_SAMPLES = 4


def make(value: str, size: int) -> Callable[[], tuple[str, int]]:
    return lambda: (value, size)


def fail() -> tuple[str, int]:
    raise OSError("the disk is gone")


def test_the_entry_not_asked_for_longest_goes_first() -> None:
    cache: LeastRecent[str] = LeastRecent(10)
    for name in "ab":
        assert cache.get(name, make(name, 4)) == name
    assert cache.get("a", fail) == "a"  # so b is the older one
    cache.get("c", make("c", 4))
    assert cache.n_bytes == 8
    assert cache.get("a", fail) == "a"
    assert cache.get("b", make("made again", 4)) == "made again"
    assert (cache.hits, cache.misses) == (2, 4)


def test_the_newest_entry_stays_even_when_it_is_too_large() -> None:
    cache: LeastRecent[str] = LeastRecent(10)
    cache.get("small", make("small", 3))
    cache.get("large", make("large", 99))
    assert cache.n_bytes == 99
    assert cache.get("large", fail) == "large"


def test_what_cannot_be_made_takes_no_room() -> None:
    cache: LeastRecent[str] = LeastRecent(10)
    cache.get("a", make("a", 4))
    with pytest.raises(OSError, match="disk is gone"):
        cache.get("b", fail)
    assert cache.n_bytes == 4
    assert cache.get("b", make("b", 4)) == "b"


def get(folder: Path, seed: int, stages: list[str] | None = None) -> ReadyKey[AccuracyCircuit]:
    """As a worker that has just started."""
    cache = KeyCache(KeyFolder(folder), budget_bytes=1 << 30, random_bytes=seeded(seed))
    report = silent if stages is None else lambda stage, *_: stages.append(stage)
    ready = cache.get(ARCHITECTURE, N_SAMPLES, get_backend("cpu"), report)
    assert cache.memory.n_bytes >= count_bytes(ready.key) > 0
    return ready


def test_all_workers_prove_under_the_key_of_the_first(tmp_path: Path) -> None:
    made, stages = get(tmp_path, 1), list[str]()
    found = get(tmp_path, 2, stages)
    assert found.key.verifying.digest == made.key.verifying.digest
    assert "wait for key" not in stages
    (folder,) = tmp_path.iterdir()
    assert folder == found.folder
    assert folder.name == KeyCard.of(made.circuit).digest.hex()
    key, card = load_half(folder)
    assert key.digest == made.key.verifying.digest
    assert (card.architecture, card.n_samples) == (ARCHITECTURE, N_SAMPLES)


def test_a_key_that_was_left_half_made_is_made_anew(tmp_path: Path) -> None:
    first = get(tmp_path, 1)
    (folder,) = tmp_path.iterdir()
    (folder / VERIFYING_NAME).unlink()  # is written last
    second = get(tmp_path, 2)
    assert second.key.verifying.digest != first.key.verifying.digest
    assert load_half(folder)[0].digest == second.key.verifying.digest


class Stopped(Exception):
    pass


def test_who_waits_for_a_key_can_be_stopped(tmp_path: Path) -> None:
    get(tmp_path, 1)
    (folder,) = tmp_path.iterdir()
    (folder / VERIFYING_NAME).unlink()
    asked = 0

    def report(stage: str, done: int, total: int) -> None:
        nonlocal asked
        asked += stage == "wait for key"
        if asked == 2:
            raise Stopped

    cache = KeyCache(KeyFolder(tmp_path), budget_bytes=1, random_bytes=seeded(2))
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as one that makes the key and is frozen
        with pytest.raises(Stopped):
            cache.get(ARCHITECTURE, N_SAMPLES, get_backend("cpu"), report)
    assert not (folder / VERIFYING_NAME).exists()


def test_a_warm_key_reads_nothing(tmp_path: Path) -> None:
    cache = KeyCache(KeyFolder(tmp_path), budget_bytes=1 << 30, random_bytes=seeded(1))
    stages = list[str]()

    def ask() -> ReadyKey[AccuracyCircuit]:
        backend = get_backend("cpu")
        return cache.get(ARCHITECTURE, N_SAMPLES, backend, lambda stage, *_: stages.append(stage))

    ready = ask()
    assert "load key" in stages
    stages.clear()
    assert ask() is ready
    assert stages == []


def test_models_that_differ_in_a_multiplier_alone_have_keys_of_their_own(tmp_path: Path) -> None:
    """Their circuit is one; under the first comer's card the other's valid proofs would fail."""
    cache = KeyCache(KeyFolder(tmp_path), budget_bytes=1 << 30, random_bytes=seeded(1))
    ready = []
    for multiplier in (1, 2, 1):
        requant = Requant(shift=8, q_bits=9, multiplier=multiplier)
        architecture = Architecture.mlp([4, 3, 2], requant=requant)
        ready.append(cache.get(architecture, N_SAMPLES, get_backend("cpu"), silent))
    first, second, again = ready
    assert first.circuit.digest == second.circuit.digest
    assert first.key.verifying.digest != second.key.verifying.digest
    assert again is first
    for one, multiplier in ((first, 1), (second, 2)):
        assert load_half(one.folder)[1].architecture.multipliers == (multiplier,)


def test_a_key_in_the_folder_of_another_is_refused(tmp_path: Path) -> None:
    own = get(tmp_path, 1).folder
    other = KeyCache(KeyFolder(tmp_path), budget_bytes=1 << 30, random_bytes=seeded(2))
    theirs = other.get(ARCHITECTURE, N_SAMPLES + 1, get_backend("cpu"), silent).folder
    for path in own.iterdir():
        path.unlink()
    for path in theirs.iterdir():
        path.rename(own / path.name)
    with pytest.raises(KeyMismatch, match=f"rename the folder .* {theirs.name}"):
        get(tmp_path, 3)


def test_a_key_that_memory_has_no_room_for_stays_in_its_file(tmp_path: Path) -> None:
    """Made so, and used so; it is the same folder as any other key's."""
    folder = tmp_path / "keys"
    cache = KeyCache(
        KeyFolder(folder), budget_bytes=1 << 30, random_bytes=seeded(1), memory_bytes=1
    )
    ready = cache.get(ARCHITECTURE, N_SAMPLES, get_backend("cpu"), silent)
    assert all(isinstance(bases, StreamedBases) for bases in list_bases(ready.key))
    assert sorted(path.name for path in ready.folder.iterdir()) == [
        "circuit.json",
        "lock",
        "proving.key",
        "verifying.key",
    ]
    whole = get(folder, 2)
    assert whole.key.verifying.digest == ready.key.verifying.digest
    assert not any(isinstance(bases, StreamedBases) for bases in list_bases(whole.key))


def test_keys_of_training_are_made_once_and_lie_under_their_cards(tmp_path: Path) -> None:
    backend = get_backend("cpu")
    cache = KeyCache(KeyFolder(tmp_path), budget_bytes=1 << 30, random_bytes=seeded(1))
    step = cache.get_step(recipe(), backend, silent)
    export = cache.get_export(recipe(), backend, silent)
    assert step.folder.name == StepCard.of(step.circuit).digest.hex()
    assert export.folder.name == ExportCard.of(export.circuit).digest.hex()
    assert cache.get_step(recipe(), backend, silent) is step
    found, card = load_half_of(export.folder, ExportCard)
    assert (found.digest, card.recipe) == (export.key.verifying.digest, recipe())
    for kind in (KeyCard, StepCard):
        with pytest.raises(FormatError, match="no card"):
            load_half_of(export.folder, kind)
    again = KeyCache(KeyFolder(tmp_path), budget_bytes=1 << 30, random_bytes=seeded(2))
    assert again.get_step(recipe(), backend, silent).key.verifying.digest == (
        step.key.verifying.digest
    )
