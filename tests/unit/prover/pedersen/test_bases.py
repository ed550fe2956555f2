"""Bases of commitments: what they are, everywhere the same, and what a machine keeps of them."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kernels.array import AffineG1, G1Array
from kernels.cpu.words.scalar64 import from_mont_words
from kernels.encoding import encode_g1
from kernels.hash_to_curve import hash_to_g1
from prover.pedersen import bases
from prover.pedersen.bases import CHUNK, DOMAIN, STAGE, derive_bases, load_bases

Count = Callable[[], int]


@pytest.fixture(scope="module")
def vectors() -> Any:
    path = Path(__file__).resolve().parents[3] / "vectors" / "pedersen_v2.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, where this machine keeps bases."""
    monkeypatch.setattr(bases, "private_directory", lambda kind, state: tmp_path)
    return tmp_path


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Which bases were derived since the test began."""
    calls: list[tuple[int, int]] = []

    def derive(start: int, stop: int) -> G1Array:
        calls.append((start, stop))
        return derive_bases(start, stop)

    monkeypatch.setattr(bases, "derive_bases", derive)
    return calls


def hash_index(index: int) -> AffineG1 | None:
    return hash_to_g1(index.to_bytes(8, "little"), DOMAIN)


def compute_digest(points: G1Array) -> str:
    """sha256 of the uncompressed points."""
    words = from_mont_words(points.data.reshape(-1, 4))
    return hashlib.sha256(words.astype("<u8").tobytes()).hexdigest()


# -- what they are ---------------------------------------------------------------------------------


def test_points_of_the_vectors(vectors: Any) -> None:
    assert vectors["domain"] == DOMAIN.decode()
    for case in vectors["points"]:
        found = derive_bases(case["index"], case["index"] + 1)
        assert encode_g1(found).hex() == case["point"]
        assert found.to_ints() == [hash_index(case["index"])]


def test_digest_of_the_first_1024(vectors: Any) -> None:
    found = derive_bases(0, 1 << 10)
    assert {"n": 1 << 10, "sha256": compute_digest(found)} in vectors["digests"]
    assert hashlib.sha256(encode_g1(found, compressed=False)).hexdigest() == compute_digest(found)


@pytest.mark.slow
def test_digest_of_the_first_131072(vectors: Any) -> None:
    found = derive_bases(0, 1 << 17)
    assert {"n": 1 << 17, "sha256": compute_digest(found)} in vectors["digests"]


def test_any_part_is_derived_alone(rng: Random) -> None:
    start = rng.randrange(1 << 63)
    found = derive_bases(start, start + 700).to_ints()
    assert len(set(found)) == len(found) == 700
    for i in (0, 1, 511, 512, 699, *rng.sample(range(700), 5)):
        assert found[i] == hash_index(start + i)


def test_none_of_none() -> None:
    assert len(derive_bases(7, 7)) == 0


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (2, 1), (0, (1 << 64) + 1)])
def test_parts_that_are_none(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= start <= stop"):
        derive_bases(start, stop)


def test_derivation_is_reported() -> None:
    seen: list[tuple[int, int]] = []
    derive_bases(0, CHUNK + 1, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (CHUNK + 1, CHUNK + 1)
    assert seen == sorted(seen)
    assert len(seen) > 1


# -- what a machine keeps --------------------------------------------------------------------------


def test_bases_are_derived_once_and_grow(folder: Path, derived: list[tuple[int, int]]) -> None:
    short = load_bases(9)
    assert short.equals(derive_bases(0, 10))
    assert load_bases(CHUNK - 1)[:10].equals(short)
    assert derived == [(0, CHUNK)]
    longer = load_bases(CHUNK)
    assert derived == [(0, CHUNK), (CHUNK, 2 * CHUNK)]
    assert (len(longer), longer.to_ints()[-1]) == (CHUNK + 1, hash_index(CHUNK))
    assert longer[:10].equals(short)  # the prefix property
    assert len(list(folder.iterdir())) == 2


def flip(raw: bytes) -> bytes:
    return raw[:1000] + bytes([raw[1000] ^ 1]) + raw[1001:]


@pytest.mark.parametrize(
    "spoil", [lambda raw: raw[:-1], lambda raw: raw + b"\0", lambda raw: b"", flip]
)
def test_file_that_is_torn_or_altered_is_derived_anew(
    folder: Path, derived: list[tuple[int, int]], spoil: Callable[[bytes], bytes]
) -> None:
    whole = load_bases(3)
    (file,) = folder.iterdir()
    raw = file.read_bytes()
    file.write_bytes(spoil(raw))
    assert load_bases(3).equals(whole)
    assert file.read_bytes() == raw
    assert derived == [(0, CHUNK)] * 2


def test_file_of_other_bases_does_not_stand_for_these(
    folder: Path, derived: list[tuple[int, int]]
) -> None:
    whole = load_bases(CHUNK)
    first, second = sorted(folder.iterdir())
    first.write_bytes(second.read_bytes())
    assert load_bases(CHUNK).equals(whole)
    assert derived == [(0, CHUNK), (CHUNK, 2 * CHUNK), (0, CHUNK)]


def test_without_a_folder_bases_are_derived(
    monkeypatch: pytest.MonkeyPatch, derived: list[tuple[int, int]]
) -> None:
    monkeypatch.setattr(bases, "private_directory", lambda kind, state: None)
    assert load_bases(3).equals(load_bases(3))
    assert derived == [(0, CHUNK)] * 2


def test_disk_that_refuses_costs_a_derivation_only(
    folder: Path, derived: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bases, "write_whole", refuse)
    assert load_bases(3).equals(derive_bases(0, 4))
    assert (list(folder.iterdir()), derived) == ([], [(0, CHUNK)])


def test_file_that_cannot_be_read_costs_a_derivation_only(
    folder: Path, derived: list[tuple[int, int]]
) -> None:
    (folder / "000000.g1").mkdir()
    assert load_bases(3).equals(derive_bases(0, 4))
    assert derived == [(0, CHUNK)]


def test_what_is_lacking_is_reported(folder: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    load_bases(CHUNK, lambda stage, done, total: seen.append((stage, done, total)))
    load_bases(CHUNK, lambda stage, done, total: seen.append((stage, done, total)))
    assert seen == [(STAGE, 1, 2), (STAGE, 2, 2)]


def test_no_negative_length() -> None:
    with pytest.raises(ValueError, match="no -1 wires"):
        load_bases(-1)


def load_in_process(folder: str) -> str:
    """What another process gets, which shares the folder."""
    bases.private_directory = lambda kind, state: Path(folder)
    return compute_digest(load_bases(CHUNK))


@pytest.mark.slow
def test_processes_at_once(folder: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as processes:
        found = set(processes.map(load_in_process, [str(folder)] * 3))
    assert found == {compute_digest(derive_bases(0, CHUNK + 1))}
    assert len(list(folder.iterdir())) == 2  # and nothing half written
