"""Keys on disk: within a limit, never deleted once whole, and nothing left of those half made."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from api.errors import Audience, KeysFull, describe
from api.store.keycache import KeyCache, bound_key_bytes
from api.store.keyfolder import LOCK, MAKING, KeyFolder
from kernels.backend import get_backend
from prover.circuit.sizes import compute_sizes
from prover.circuit.training.export_plan import plan_export
from prover.circuit.training.plan import plan_step
from prover.circuit.training.sizes import compute_step_sizes
from prover.keys.folder import PROVING_NAME, VERIFYING_NAME
from prover.model.network import Architecture
from prover.progress import silent
from tests.support.tiny_circuits import seeded
from tests.support.trajectories import recipe

FIRST, SECOND = b"\x01" * 32, b"\x02" * 32
N_BYTES = 100


class Killed(BaseException):
    pass


def write_key(folder: Path) -> None:
    folder.mkdir()
    (folder / PROVING_NAME).write_bytes(bytes(N_BYTES - 1))
    (folder / VERIFYING_NAME).write_bytes(b"v")


def unwanted(_: Path) -> None:
    pytest.fail("a key was made")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def require(
    keys: KeyFolder, digest: bytes = FIRST, make: Callable[[Path], None] = write_key
) -> Path:
    return keys.require(digest, N_BYTES, make, silent)


def files(directory: Path) -> list[str]:
    found = (path for path in directory.rglob("*") if path.is_file() and path.name != LOCK)
    return sorted(str(path.relative_to(directory)) for path in found)


WHOLE = [f"{FIRST.hex()}/{name}" for name in (PROVING_NAME, VERIFYING_NAME)]


def test_a_new_key_needs_room_and_one_that_is_there_does_not(directory: Path) -> None:
    require(KeyFolder(directory, limit_bytes=N_BYTES))
    full = KeyFolder(directory, limit_bytes=2 * N_BYTES - 1)
    with pytest.raises(KeysFull, match="ZKPOT_KEYS_LIMIT_BYTES") as refused:
        require(full, SECOND, unwanted)
    told = describe(refused.value, Audience.CALLER)
    assert (told.code, told.retry_s) == ("keys_full", None)
    assert require(full, FIRST, unwanted) == directory / FIRST.hex()
    assert files(directory) == WHOLE
    assert [folder.name for folder in directory.iterdir()] == [FIRST.hex()]
    require(KeyFolder(directory, limit_bytes=2 * N_BYTES), SECOND)


def test_room_of_a_key_that_is_being_made_is_taken(directory: Path) -> None:
    keys = KeyFolder(directory, limit_bytes=2 * N_BYTES - 1)

    def make(folder: Path) -> None:
        with pytest.raises(KeysFull):
            require(keys, SECOND, unwanted)
        write_key(folder)

    require(keys, FIRST, make)
    assert files(directory) == WHOLE


def test_a_key_that_cannot_be_made_takes_no_room(directory: Path) -> None:
    keys = KeyFolder(directory, limit_bytes=N_BYTES)

    def fail(folder: Path) -> None:
        folder.mkdir()
        (folder / PROVING_NAME).write_bytes(bytes(N_BYTES))
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk is gone"):
        require(keys, FIRST, fail)
    assert files(directory) == []
    require(keys, SECOND)


def leave_half_made(directory: Path) -> Path:
    """As a maker does that is killed before its last part."""
    making = directory / FIRST.hex() / MAKING
    making.mkdir(parents=True)
    (making.parent / LOCK).write_bytes(str(N_BYTES).encode())
    (making / PROVING_NAME).write_bytes(bytes(N_BYTES))
    return making


def test_what_a_killed_maker_left_is_swept(directory: Path) -> None:
    making = leave_half_made(directory)
    require(KeyFolder(directory), SECOND)
    keys = KeyFolder(directory, limit_bytes=2 * N_BYTES)
    with (making.parent / LOCK).open("r+b") as maker:
        fcntl.flock(maker, fcntl.LOCK_EX)  # as long as it lives
        assert keys.sweep() == 0
        assert making.exists()
    assert keys.sweep() == 1
    assert files(directory) == [f"{SECOND.hex()}/{n}" for n in (PROVING_NAME, VERIFYING_NAME)]
    assert keys.sweep() == 0
    require(keys)


def test_the_next_maker_starts_anew(directory: Path) -> None:
    leave_half_made(directory)
    require(KeyFolder(directory))
    assert files(directory) == WHOLE


def test_a_key_put_in_place_by_half_is_put_there_whole(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, move = KeyFolder(directory), Path.replace

    def move_one(path: Path, target: Path) -> Path:
        moved = move(path, target)
        if MAKING in path.parts:
            raise Killed
        return moved

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", move_one)
        with pytest.raises(Killed):
            require(keys)
    assert files(directory) == [f"{FIRST.hex()}/{MAKING}/{VERIFYING_NAME}", WHOLE[0]]
    assert keys.sweep() == 1
    assert files(directory) == WHOLE
    require(keys, FIRST, unwanted)


def test_a_key_that_is_being_copied_here_is_left_alone(directory: Path) -> None:
    """Its verifying half comes last."""
    folder = directory / FIRST.hex()
    folder.mkdir(parents=True)
    (folder / PROVING_NAME).write_bytes(b"half of it")
    assert KeyFolder(directory).sweep() == 0
    assert files(directory) == WHOLE[:1]


@pytest.mark.parametrize("sizes", [[4, 3, 2], [20, 30, 10]])
def test_the_bound_of_a_key_is_close(directory: Path, sizes: list[int]) -> None:
    cache = KeyCache(KeyFolder(directory), budget_bytes=1, random_bytes=seeded(1))
    architecture = Architecture.mlp(sizes)
    ready = cache.get(architecture, 8, get_backend("cpu"), silent)
    n_bytes = sum(path.stat().st_size for path in ready.folder.iterdir())
    bound = bound_key_bytes(compute_sizes(architecture, 8))
    assert n_bytes <= bound <= 1.25 * n_bytes + (1 << 18)


def test_the_bounds_of_training_keys_are_close(directory: Path) -> None:
    """They have more linked groups than the one of an accuracy circuit."""
    cache = KeyCache(KeyFolder(directory), budget_bytes=1, random_bytes=seeded(1))
    backend = get_backend("cpu")
    step = cache.get_step(recipe(), backend, silent).folder, compute_step_sizes(plan_step(recipe()))
    export = cache.get_export(recipe(), backend, silent).folder, plan_export(recipe()).sizes
    for folder, sizes in (step, export):
        n_bytes = sum(path.stat().st_size for path in folder.iterdir())
        assert n_bytes <= bound_key_bytes(sizes) <= 1.25 * n_bytes + (1 << 18)
