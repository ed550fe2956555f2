"""Uploads: only their owner has them, for a while, within a limit, whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from api.errors import StoreFull, UploadGone, UploadInvalid
from api.store.uploads import UploadKind, UploadStore, parse_samples
from consensus.content.folder import FolderObjects
from consensus.errors import SealBroken
from kernels.files import Chunk

MODEL, DATASET, ZKEY = UploadKind.MODEL, UploadKind.DATASET, UploadKind.ZKEY
TTL_S = 60
RAW = b"a model"
NewStore = Callable[..., UploadStore]


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_store(tmp_path: Path, clock: Clock) -> NewStore:
    def make(limit_bytes: int = 1 << 20, ttl_s: int = TTL_S) -> UploadStore:
        return UploadStore.in_folder(tmp_path, ttl_s=ttl_s, limit_bytes=limit_bytes, clock=clock)

    return make


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_only_the_owner_gets_an_upload_back(make_store: NewStore) -> None:
    store = make_store()
    kept = store.put("alice", MODEL, RAW)
    assert kept.id == hashlib.sha256(RAW).hexdigest()
    assert store.get("alice", MODEL, kept.id) == RAW
    for owner, kind in (("bob", MODEL), ("alice", DATASET), ("alice/../alice", MODEL)):
        with pytest.raises(UploadGone, match=f"no {kind.value}"):
            store.get(owner, kind, kept.id)


def test_files_are_for_this_user_alone(make_store: NewStore, tmp_path: Path) -> None:
    make_store().put("alice", MODEL, RAW)
    (file,) = files(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    uploads = tmp_path / "uploads"
    folders = [path for path in (uploads, *uploads.rglob("*")) if path.is_dir()]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_an_upload_ends_after_its_time_to_live(
    make_store: NewStore, clock: Clock, tmp_path: Path
) -> None:
    store = make_store()
    kept = store.put("alice", MODEL, RAW)
    assert kept.expires_at == clock.now + TTL_S
    clock.now += TTL_S - 1
    assert store.sweep() == 0
    assert store.put("alice", MODEL, RAW).expires_at == clock.now + TTL_S  # renewed
    clock.now += TTL_S - 1
    assert store.get("alice", MODEL, kept.id) == RAW
    clock.now += 1
    with pytest.raises(UploadGone):
        store.get("alice", MODEL, kept.id)
    assert store.sweep() == 1
    assert files(tmp_path) == []


def test_all_uploads_together_are_limited(make_store: NewStore, clock: Clock) -> None:
    store = make_store(limit_bytes=10)
    store.put("alice", MODEL, b"12345678")
    with pytest.raises(StoreFull, match="8 bytes of 10"):
        store.put("bob", MODEL, b"abc")
    store.put("bob", MODEL, b"ab")
    store.put("alice", MODEL, b"12345678")  # is there already
    clock.now += TTL_S
    store.sweep()
    store.put("bob", MODEL, b"abc")


def test_a_file_that_was_changed_is_gone(
    make_store: NewStore, clock: Clock, tmp_path: Path
) -> None:
    store = make_store()
    kept = store.put("alice", MODEL, RAW)
    (file,) = files(tmp_path)
    file.write_bytes(RAW[:-1])
    os.utime(file, (clock.now, clock.now))
    with pytest.raises(UploadGone):
        store.get("alice", MODEL, kept.id)
    assert store.put("alice", MODEL, RAW).id == kept.id
    assert store.get("alice", MODEL, kept.id) == RAW


class Bucket(FolderObjects):
    """What can only be written anew to live longer, as in S3. broken : names"""

    def __init__(self, root: Path, clock: Clock) -> None:
        super().__init__(root, clock=clock)
        self.n_written, self.broken = 0, set[str]()

    def write(self, name: str, chunks: Iterable[Chunk]) -> None:
        self.n_written += 1
        self.broken.discard(name)
        super().write(name, chunks)

    def stream(self, name: str) -> Iterator[bytes]:
        if name in self.broken:
            raise SealBroken(name)
        yield from super().stream(name)

    def renew(self, name: str) -> bool:
        return False

    def local_path(self, name: str) -> Path | None:
        return None


@pytest.fixture
def bucket(tmp_path: Path, clock: Clock) -> Bucket:
    return Bucket(tmp_path / "bucket", clock)


@pytest.fixture
def store_in_bucket(bucket: Bucket, tmp_path: Path, clock: Clock) -> UploadStore:
    return UploadStore(
        bucket, tmp_path, identity=bytes, ttl_s=86_400, limit_bytes=1 << 20, clock=clock
    )


def test_what_was_just_written_is_not_written_anew(
    bucket: Bucket, store_in_bucket: UploadStore, clock: Clock
) -> None:
    """Or jobs that come with the same key would take it from under the worker that reads it."""
    store, began_at = store_in_bucket, clock.now
    for _ in range(3):
        kept = store.put("alice", ZKEY, RAW)
        assert (bucket.n_written, kept.expires_at) == (1, began_at + 86_400)
        clock.now += 30
    clock.now += 60
    kept = store.put("alice", ZKEY, RAW)
    assert (bucket.n_written, kept.expires_at) == (2, clock.now + 86_400)


def test_what_was_altered_goes_and_can_be_uploaded_again(
    bucket: Bucket, store_in_bucket: UploadStore
) -> None:
    store = store_in_bucket
    kept = store.put("alice", ZKEY, RAW)
    other = store.put("alice", ZKEY, b"another")
    (broken,) = (found.name for found in bucket.find_all("uploads/") if kept.id in found.name)
    for _ in range(2):
        bucket.broken.add(broken)
        with (
            pytest.raises(SealBroken),
            store.open_file("alice", ZKEY, other.id),
            store.open_file("alice", ZKEY, kept.id),
        ):
            pass
        assert store.get("alice", ZKEY, other.id) == b"another"
        with pytest.raises(UploadGone):
            store.get("alice", ZKEY, kept.id)
        assert store.put("alice", ZKEY, RAW).id == kept.id
        assert store.get("alice", ZKEY, kept.id) == RAW


def test_a_write_that_fails_leaves_nothing(
    make_store: NewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "no space left")

    store = make_store()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        store.put("alice", MODEL, RAW)
    assert files(tmp_path) == []


def test_a_file_is_stored_as_its_bytes(make_store: NewStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(RAW)
    store = make_store()
    with source.open("rb") as stream:
        assert store.put_file("alice", MODEL, stream) == store.put("alice", MODEL, RAW)
    assert store.get("alice", MODEL, hashlib.sha256(RAW).hexdigest()) == RAW


def test_what_a_killed_writer_left_is_swept(
    make_store: NewStore, clock: Clock, tmp_path: Path
) -> None:
    """And nothing else: not what a writer still holds, nor what none had the time to lock."""
    store = make_store(ttl_s=10 * TTL_S)  # so that none of them expires
    kept = store.put("alice", MODEL, RAW)
    (file,) = files(tmp_path)
    left, held, young = (file.with_name(name) for name in (".left", ".held", ".young"))
    for path in (left, held, young):
        path.write_bytes(RAW)
        os.utime(path, (clock.now, clock.now))
    clock.now += 2 * TTL_S
    os.utime(young, (clock.now, clock.now))
    with held.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert store.sweep() == 1
    assert sorted(files(tmp_path)) == sorted([file, held, young])
    assert store.get("alice", MODEL, kept.id) == RAW


def test_a_writer_holds_its_file_until_it_is_whole(
    make_store: NewStore, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, real = make_store(ttl_s=10 * TTL_S), os.fsync
    store.put("alice", MODEL, b"another model")  # so that the folders are there

    seen = []

    def sweep_much_later(descriptor: int) -> None:
        for scratch in (path for path in files(tmp_path) if path.name.startswith(".")):
            seen.append(scratch)
            long_ago = clock.now - 2 * TTL_S
            os.utime(scratch, (long_ago, long_ago))
            assert store.sweep() == 0
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sweep_much_later)
    kept = store.put("alice", MODEL, RAW)
    assert len(seen) == 1
    assert store.get("alice", MODEL, kept.id) == RAW


@pytest.mark.parametrize("digest", ["", "..", "../../secret", "A" * 64, "٣" * 64, "a" * 63, "\0"])
def test_a_name_that_is_no_digest_is_no_path(
    make_store: NewStore, tmp_path: Path, digest: str
) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    store = make_store()
    with pytest.raises(UploadGone):
        store.get("alice", MODEL, digest)
    with pytest.raises(UploadGone), store.open_file("alice", MODEL, digest):
        pass
    assert (tmp_path / "secret").exists()


@pytest.mark.parametrize("kind", ["BF16", "F8_E4M3", "F16", "I64", "BOOL"])
def test_samples_of_another_type_are_told_the_right_one(kind: str) -> None:
    """A safetensors file they are: also of the types that numpy has not."""
    n_bytes = {"BF16": 8, "F8_E4M3": 4, "F16": 8, "I64": 32, "BOOL": 4}[kind]
    header = json.dumps(
        {
            "images": {"dtype": kind, "shape": [1, 4], "data_offsets": [0, n_bytes]},
            "labels": {"dtype": "U8", "shape": [1], "data_offsets": [n_bytes, n_bytes + 1]},
        }
    ).encode()
    raw = len(header).to_bytes(8, "little") + header + bytes(n_bytes + 1)
    with pytest.raises(UploadInvalid, match=r"images are uint8\[N|a type that NumPy lacks"):
        parse_samples(raw)
    with pytest.raises(UploadInvalid, match="no safetensors file"):
        parse_samples(raw[:-1])
