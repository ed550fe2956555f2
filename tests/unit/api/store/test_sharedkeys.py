"""Keys in a store that machines share: one for each circuit, checked by whoever reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from api.store.keycache import KeyCache, ReadyKey
from api.store.keyfolder import KeyFolder, KeysFull, load_half
from api.store.keyshelf import KeyShelf
from api.store.sharedkeys import SharedKeys
from consensus.content.folder import FolderObjects
from consensus.errors import StoreFailed
from kernels.backend import get_backend
from prover.errors import FormatError
from prover.keys.folder import PROVING_NAME, VERIFYING_NAME
from prover.model.network import Architecture
from prover.progress import StageProgress, silent
from tests.support.tiny_circuits import seeded

SIZES, N_SAMPLES = Architecture.mlp([4, 3, 2]), 4


class Machine:
    """What shares nothing with others but the objects."""

    def __init__(
        self, home: Path, objects: FolderObjects, *, limit_bytes: int | None = None
    ) -> None:
        self.shared = SharedKeys(objects)
        self.folder = KeyFolder(home / "keys", limit_bytes=limit_bytes, shared=self.shared)
        self.shelf = KeyShelf(home / "halves", self.shared)
        self.home = home

    def get(self, seed: int, report: StageProgress = silent) -> ReadyKey:
        """The key as a worker that was just started gets it."""
        cache = KeyCache(self.folder, budget_bytes=1 << 30, random_bytes=seeded(seed))
        return cache.get(SIZES, N_SAMPLES, get_backend("cpu"), report)


@pytest.fixture
def objects(tmp_path: Path) -> FolderObjects:
    return FolderObjects(tmp_path / "store")


@pytest.fixture
def make_machine(tmp_path: Path, objects: FolderObjects) -> Callable[[str], Machine]:
    return lambda name: Machine(tmp_path / name, objects)


def list_names(objects: FolderObjects) -> set[str]:
    return {found.name for found in objects.find_all("keys/")}


def test_a_key_is_made_once_for_all_machines(
    make_machine: Callable[[str], Machine], objects: FolderObjects
) -> None:
    one, other = make_machine("one"), make_machine("other")
    first = one.get(1)
    before = list_names(objects)
    stages: set[str] = set()
    second = other.get(2, lambda stage, *_: stages.add(stage))
    assert second.key.verifying.digest == first.key.verifying.digest
    assert "fetch key" in stages
    assert list_names(objects) == before
    assert len(before) == 3
    (circuit,) = other.shelf.list_circuits()
    key, card = load_half(make_machine("api").shelf.find(circuit))
    assert key.digest == first.key.verifying.digest
    assert card.digest.hex() == circuit
    assert not any((other.home / "halves").glob("*"))  # only who asks has a half


def test_who_made_the_same_key_later_takes_the_first_one(
    make_machine: Callable[[str], Machine],
    objects: FolderObjects,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both found none and made one: the shards of a job are proven under one all the same."""
    one, other = make_machine("one"), make_machine("other")
    publish, winner = SharedKeys.publish, []

    def publish_second(shared: SharedKeys, circuit: str, folder: Path, report: object) -> bool:
        if not winner:
            winner.append(None)
            winner[0] = one.get(1)  # meanwhile
        return publish(shared, circuit, folder, silent)

    monkeypatch.setattr(SharedKeys, "publish", publish_second)
    late = other.get(2)
    assert late.key.verifying.digest == winner[0].key.verifying.digest
    assert len(list_names(objects)) == 3  # nothing of the late one is left
    assert other.get(3).key.verifying.digest == late.key.verifying.digest
    assert not list(other.home.glob("keys/*/draft"))


def test_a_key_that_was_not_published_is_never_used(
    make_machine: Callable[[str], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = make_machine("one"), make_machine("other")

    def fail(*_: object) -> NoReturn:
        raise StoreFailed("s3://x", "does not answer", "wait")

    with monkeypatch.context() as patch:
        patch.setattr(SharedKeys, "publish", fail)
        with pytest.raises(StoreFailed):
            one.get(1)
    assert not list(one.home.glob(f"keys/*/{VERIFYING_NAME}"))
    second = other.get(2)
    assert one.get(3).key.verifying.digest == second.key.verifying.digest


def test_a_machine_that_has_another_key_takes_the_store_s(
    make_machine: Callable[[str], Machine], objects: FolderObjects
) -> None:
    one, other = make_machine("one"), make_machine("other")
    former = one.get(1)
    objects.delete_all("keys/")
    new = other.get(2)
    assert new.key.verifying.digest != former.key.verifying.digest
    assert one.get(3).key.verifying.digest == new.key.verifying.digest


def test_who_verifies_takes_the_store_s_key_too(
    make_machine: Callable[[str], Machine], objects: FolderObjects
) -> None:
    """Or proofs under the key that took the place of a damaged one would be refused for ever."""
    worker, other, shelf = make_machine("one"), make_machine("other"), make_machine("api").shelf
    worker.get(1)
    (circuit,) = shelf.list_circuits()
    load_half(shelf.find(circuit))
    objects.delete_all("keys/")
    with pytest.raises(FormatError, match="not there"):
        load_half(shelf.find(circuit))
    new = other.get(2)
    key, _ = load_half(shelf.find(circuit))
    assert key.digest == new.key.verifying.digest


@pytest.mark.parametrize("raw", [b"", b"altered"])
def test_a_part_that_was_altered_is_refused(
    make_machine: Callable[[str], Machine], objects: FolderObjects, raw: bytes
) -> None:
    one, other = make_machine("one"), make_machine("other")
    one.get(1)
    (name,) = (name for name in list_names(objects) if name.endswith(PROVING_NAME))
    objects.write(name, [raw])
    with pytest.raises(StoreFailed, match=r"is not the file that .* delete the circuit's folder"):
        other.get(2)
    assert not list(other.home.glob(f"keys/*/{VERIFYING_NAME}"))


def test_the_limit_is_of_the_store(tmp_path: Path, objects: FolderObjects) -> None:
    Machine(tmp_path / "one", objects).get(1)
    full = Machine(tmp_path / "full", objects, limit_bytes=1)
    full.get(2)  # it is there
    objects.delete_all("keys/")
    with pytest.raises(KeysFull):
        full.get(3)


def test_parts_that_a_killed_maker_left_are_swept(tmp_path: Path, objects: FolderObjects) -> None:
    machine = Machine(tmp_path / "one", objects)
    machine.get(1)
    whole = list_names(objects)
    (circuit,) = machine.shared.list_circuits()
    objects.write(f"keys/{circuit}/{'0' * 64}/{PROVING_NAME}", [b"left"])
    assert machine.folder.sweep() == 0  # its maker may live
    later = SharedKeys(objects, clock=lambda: 4e9)
    assert later.sweep() == 1
    assert list_names(objects) == whole


def test_names_that_are_no_circuit_are_not_looked_for(
    make_machine: Callable[[str], Machine],
) -> None:
    machine = make_machine("api")
    for name in ("..", "../x", "A" * 64):
        with pytest.raises(Exception, match="not there"):
            load_half(machine.shelf.find(name))
