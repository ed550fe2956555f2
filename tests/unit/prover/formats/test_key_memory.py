"""A key is tested once: what is known is exactly what passed here, and nobody else can say so."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from kernels.backend import Backend, BackendInfo, get_backend
from kernels.cpu.compile import jit
from prover.errors import FormatError
from prover.formats import key_memory
from prover.formats.binfile import BinFile
from prover.formats.key_memory import KeyMemory
from prover.formats.zkey import read_zkey, write_zkey
from tests.support.commands import run
from tests.support.foreign import patched, take_apart, vector

RAW = vector("mixed", ".zkey").read_bytes()
DIGEST = hashlib.sha256(RAW).digest()


class Counting:
    """The reference, counting tests of points."""

    def __init__(self, lanes: str = "none") -> None:
        self._backend = get_backend("reference")
        self._lanes = lanes
        self.calls: Counter[str] = Counter()

    def info(self) -> BackendInfo:
        return BackendInfo(name="counting", lanes=self._lanes, n_threads=1, detail={})

    def __getattr__(self, name: str) -> Any:
        if "on_curve" in name or "subgroup" in name:
            self.calls[name] += 1
        return getattr(self._backend, name)


def count_tests(path: Path, memory: KeyMemory, **options: Any) -> int:
    backend = Counting()
    read_zkey(path, cast(Backend, backend), memory=memory, **options)
    return backend.calls.total()


@pytest.fixture
def memory(tmp_path: Path) -> KeyMemory:
    (tmp_path / "known").mkdir(mode=0o700)
    return KeyMemory(tmp_path / "known")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "mixed.zkey"
    path.write_bytes(RAW)
    return path


def test_a_key_is_tested_once(key: Path, memory: KeyMemory, tmp_path: Path) -> None:
    assert count_tests(key, memory) > 0
    assert [path.name for path in (tmp_path / "known").iterdir()] == [DIGEST.hex()]
    assert count_tests(key, memory) == 0
    backend = get_backend("reference")
    known, tested = tmp_path / "known.zkey", tmp_path / "tested.zkey"
    write_zkey(known, read_zkey(key, backend, memory=memory), backend)
    write_zkey(tested, read_zkey(key, backend), backend)
    assert known.read_bytes() == tested.read_bytes()
    assert count_tests(key, KeyMemory(None)) == count_tests(key, KeyMemory(None)) > 0


@pytest.mark.parametrize("section", [2, 3, 5, 6, 7, 8, 9])
def test_another_key_is_tested(section: int, key: Path, memory: KeyMemory) -> None:
    """One bit of it, at a point, and it has not passed; and does not afterwards."""
    assert count_tests(key, memory) > 0
    offset = 100 if section == 2 else 0
    with BinFile(key, magic=b"zkey", versions=(1,)) as file:
        byte = file.read(section)[offset]
    key.write_bytes(patched(RAW, section, offset, bytes([byte ^ 1])))
    for _ in range(2):
        with pytest.raises(FormatError, match=f"section {section}: point 0 is not"):
            count_tests(key, memory)


def test_what_was_hashed_is_what_is_used(
    key: Path, memory: KeyMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that changes after it was found known: none of its new bytes count."""
    assert count_tests(key, memory) > 0
    real = BinFile.load
    bad = patched(RAW, 5, 0, bytes([7]) * 64)

    def load_and_change(file: BinFile) -> bytes:
        digest = real(file)
        with key.open("r+b") as stream:
            stream.write(bad)
        return digest

    monkeypatch.setattr(BinFile, "load", load_and_change)
    backend = get_backend("reference")
    found = read_zkey(key, backend, memory=memory)
    assert key.read_bytes() == bad
    write_zkey(key, found, backend)
    assert dict(take_apart(key.read_bytes())[1])[5] == dict(take_apart(RAW)[1])[5]


def test_what_was_not_tested_is_not_known(key: Path, memory: KeyMemory) -> None:
    count_tests(key, memory, check_points=False)
    assert not memory.knows(DIGEST)
    assert count_tests(key, memory) > 0
    assert memory.knows(DIGEST)


@pytest.mark.parametrize("fault", ["writable", "link", "folder", "owner", "shared", "whose"])
def test_entries_that_others_could_make_are_not_believed(
    fault: str, key: Path, memory: KeyMemory, tmp_path: Path
) -> None:
    assert count_tests(key, memory) > 0
    assert memory.knows(DIGEST)
    folder = tmp_path / "known"
    entry = folder / DIGEST.hex()
    if fault in ("owner", "whose") and os.getuid() != 0:
        pytest.skip("needs the right to give files away")
    if fault == "writable":
        entry.chmod(0o666)
    elif fault == "shared":
        folder.chmod(0o777)
    elif fault in ("owner", "whose"):
        os.chown(entry if fault == "owner" else folder, 12345, -1)
    else:
        entry.unlink()
        if fault == "link":
            entry.symlink_to(key)
        else:
            entry.mkdir()
    assert not memory.knows(DIGEST)
    assert count_tests(key, memory) > 0


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of `KeyMemory.of`, without moving the cache of compiled kernels."""

    def make(kind: str, state: str) -> Path:
        path = tmp_path / "cache" / f"{kind}-{state}"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    monkeypatch.setattr(key_memory, "private_directory", make)
    return tmp_path / "cache"


def test_other_code_knows_no_key(
    key: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, other = (cast(Backend, Counting(lanes)) for lanes in ("none", "wide"))
    read_zkey(key, backend, memory=KeyMemory.of(backend))
    assert KeyMemory.of(backend).knows(DIGEST)
    assert not KeyMemory.of(other).knows(DIGEST)
    with monkeypatch.context() as patch:
        patch.setattr(np, "__version__", "0")
        assert not KeyMemory.of(backend).knows(DIGEST)
    with monkeypatch.context() as patch:
        patch.setattr(key_memory, "source_digest", lambda: "changed")
        assert not KeyMemory.of(backend).knows(DIGEST)
    with monkeypatch.context() as patch:  # a change in the package of the tests
        sources = Path(key_memory.__file__).parent.parent
        shutil.copytree(sources, tmp_path / "prover")
        (tmp_path / "prover" / "formats" / "elements.py").write_text("# no tests\n")
        copy = tmp_path / "prover" / "formats" / "key_memory.py"
        patch.setattr(key_memory, "__file__", str(copy))
        assert not KeyMemory.of(backend).knows(DIGEST)
    assert KeyMemory.of(backend).knows(DIGEST)
    assert len(list(cache.iterdir())) == 5


def test_a_disk_that_refuses_costs_only_time(
    key: Path, memory: KeyMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(key_memory.os, "open", refuse)  # type: ignore[attr-defined]
        memory.add(DIGEST)
    assert not memory.knows(DIGEST)
    memory.add(DIGEST)
    memory.add(DIGEST)  # by two processes at once
    assert memory.knows(DIGEST)


def test_the_keys_used_last_are_kept(
    memory: KeyMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_memory, "MAX_KEYS", 3)
    digests = [bytes([i]) * 32 for i in range(5)]
    for age, digest in enumerate(digests[:3]):
        memory.add(digest)
        os.utime(tmp_path / "known" / digest.hex(), (age, age))
    assert memory.knows(digests[0])  # and so used last
    for digest in digests[3:]:
        memory.add(digest)
    known = [memory.knows(digest) for digest in digests]
    assert known == [True, False, False, True, True]


def test_the_command_remembers_and_knows(
    key: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [key, vector("mixed", ".wtns"), tmp_path / "p", tmp_path / "s"]
    arguments = ["groth16", "prove", *files, "--backend", "reference"]
    assert run(*arguments, "--trust-key").exit_code == 0
    assert list(cache.glob("tested-keys-*/*")) == []
    assert run(*arguments).exit_code == 0
    (entry,) = cache.glob("tested-keys-*/*")
    assert entry.name == DIGEST.hex()
    assert entry.stat().st_size == 0
    seen: list[bool] = []
    real = KeyMemory.knows
    monkeypatch.setattr(
        KeyMemory, "knows", lambda memory, digest: seen.append(real(memory, digest)) or seen[-1]
    )
    assert run(*arguments).exit_code == 0
    assert seen == [True]


def test_old_states_go_by_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZKPOT_CACHE_DIR", str(tmp_path / "cache"))
    kernels = jit.private_directory("jit", "a" * 24)
    states = [jit.private_directory("tested-keys", f"{i:024x}") for i in range(7)]
    assert kernels is not None
    assert kernels.exists()
    assert sum(path is not None and path.exists() for path in states) == jit.KEEP_DIRECTORIES
