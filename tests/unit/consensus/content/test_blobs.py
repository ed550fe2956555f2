"""Content-addressed files, and pools of samples in them."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.content.blobs import FileBlobs
from consensus.content.interface import Blobs
from consensus.errors import BlobCorrupt, BlobMissing, BlobTooLarge, PoolInvalid
from consensus.learning.samples import SamplePool, draw_indices, draw_nested
from prover.wire.records import encode_fields
from tests.support.memory_blobs import MemoryBlobs

Draw = Callable[[bytes, int, int], npt.NDArray[np.int64]]


@pytest.fixture(params=["files", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return FileBlobs(tmp_path) if request.param == "files" else MemoryBlobs()


def test_what_was_put_is_got_by_its_digest(blobs: Blobs) -> None:
    for raw in (b"", b"bytes", bytes(100_000)):
        assert blobs.put(raw) == sha256(raw).digest()
        assert blobs.put(raw) == sha256(raw).digest()
        assert blobs.get(sha256(raw).digest()) == raw


@pytest.mark.parametrize("digest", [bytes(32), b"", b"../../etc/passwd", bytes(33)])
def test_what_was_not_put_is_missing(blobs: Blobs, digest: bytes) -> None:
    with pytest.raises(BlobMissing) as caught:
        blobs.get(digest)
    assert caught.value.digest == digest


def list_files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_a_changed_file_is_corrupt(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    digest = blobs.put(b"pool")
    (path,) = list_files(tmp_path)
    for raw in (b"", b"poo", b"pool ", b"Pool"):
        path.write_bytes(raw)
        with pytest.raises(BlobCorrupt, match=digest.hex()):
            blobs.get(digest)
    assert blobs.put(b"pool") == digest  # putting it again mends it
    assert blobs.get(digest) == b"pool"


def test_two_stores_share_a_folder(tmp_path: Path) -> None:
    digest = FileBlobs(tmp_path).put(b"x")
    assert FileBlobs(tmp_path).get(digest) == b"x"
    assert [path.name for path in list_files(tmp_path)] == [digest.hex()]


def test_too_long_is_refused_on_both_sides(tmp_path: Path) -> None:
    short = FileBlobs(tmp_path, get_limit=lambda digest: 3)
    with pytest.raises(BlobTooLarge):
        short.put(b"four")
    digest = FileBlobs(tmp_path).put(b"four")
    with pytest.raises(BlobCorrupt):
        short.get(digest)


def test_a_long_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sparse, it costs whoever made it nothing, and whoever hashes it a second."""
    hashed: list[int] = []
    digest = FileBlobs(tmp_path).put(b"x")
    (path,) = list_files(tmp_path)
    os.truncate(path, 1 << 40)
    monkeypatch.setattr("hashlib.sha256", lambda raw: hashed.append(len(raw)))
    with pytest.raises(BlobCorrupt):
        FileBlobs(tmp_path).get(digest)
    assert hashed == []


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [make_pipe, make_link_to_zeros, Path.mkdir])
@pytest.mark.timeout(30)
def test_what_is_no_file_is_corrupt(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Nothing waits for who may write into a pipe one day."""
    blobs = FileBlobs(tmp_path)
    digest = blobs.put(b"x")
    (path,) = list_files(tmp_path)
    path.unlink()
    make(path)
    with pytest.raises(BlobCorrupt):
        blobs.get(digest)
    assert blobs.read_part(digest, 0, 1) is None


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        FileBlobs(tmp_path).put(b"x")
    assert list_files(tmp_path) == []


# -- pools -----------------------------------------------------------------------------------------


def pool(n: int = 5, salt: bytes = b"") -> SamplePool:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, size=(n, 2, 3), dtype=np.uint8)
    return SamplePool.of(images=images, labels=np.arange(n, dtype=np.uint8), salt=salt)


@pytest.mark.parametrize("salt", [b"", b"s" * 32])
def test_pools_have_one_encoding(salt: bytes) -> None:
    raw = pool(salt=salt).encode()
    again = SamplePool.parse(raw)
    assert again.encode() == raw
    assert (again.images == pool().images).all()
    assert (again.labels == pool().labels).all()
    assert again.salt == salt


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        SamplePool.HEADER,
        pool().encode()[:-1],
        pool().encode() + b"\0",
        SamplePool.HEADER + encode_fields((b"", bytes(8), b"", b"\1")),
        SamplePool.HEADER + encode_fields((b"", b"", b"", b"\1")),
        SamplePool.HEADER + encode_fields((b"", b"\1" + bytes(6), b"\1", b"\1")),
        SamplePool.HEADER + encode_fields((b"", b"\1" + bytes(7), b"\1\1", b"\1")),
        SamplePool.HEADER + encode_fields((b"", b"\1" + bytes(7), b"", b"")),
        SamplePool.HEADER + encode_fields((b"s", b"\1" + bytes(7), b"\1", b"\1")),
        SamplePool.HEADER + encode_fields((b"", (b"\1" + bytes(7)) * 4, b"\1", b"\1")),
        SamplePool.HEADER + encode_fields((b"", b"\xff" * 24, b"\1", b"\1")),
    ],
)
def test_other_bytes_are_no_pool(raw: bytes) -> None:
    with pytest.raises(PoolInvalid):
        SamplePool.parse(raw)


@given(st.binary(max_size=120))
def test_any_bytes_are_a_pool_or_refused(tail: bytes) -> None:
    raw = SamplePool.HEADER + tail
    try:
        found = SamplePool.parse(raw)
    except PoolInvalid:
        return
    assert found.encode() == raw


def test_pools_have_to_be_samples_with_labels() -> None:
    images = np.zeros((2, 3), dtype=np.uint8)
    for labels in (np.zeros(3, dtype=np.uint8), np.zeros(2, dtype=np.int64)):
        with pytest.raises(PoolInvalid):
            SamplePool.of(images=images, labels=labels)  # type: ignore[arg-type]


@pytest.mark.parametrize("draw", [draw_indices, draw_nested])
def test_a_beacon_draws_without_replacement(draw: Draw) -> None:
    for n_samples in (1, 7, 99, 100):
        drawn = draw(b"beacon", 100, n_samples)
        assert len(set(drawn.tolist())) == n_samples
        assert sorted(drawn.tolist()) == drawn.tolist()
        assert 0 <= drawn[0] <= drawn[-1] < 100
    assert draw(b"a", 100, 50).tolist() != draw(b"b", 100, 50).tolist()
    assert draw(b"a", 100, 50).tolist() == draw(b"a", 100, 50).tolist()


@pytest.mark.parametrize("draw", [draw_indices, draw_nested])
def test_every_subset_is_about_equally_likely(draw: Draw) -> None:
    """3 of 5: ten subsets, 2,000 beacons; six standard deviations are 80."""
    counts: dict[tuple[int, ...], int] = {}
    for i in range(2000):
        subset = tuple(draw(b"%d" % i, 5, 3).tolist())
        counts[subset] = counts.get(subset, 0) + 1
    assert len(counts) == 10
    assert max(abs(n - 200) for n in counts.values()) < 80


def test_draw_gives_the_samples_of_the_indices() -> None:
    images, labels = pool(20).draw(b"x", 4)
    indices = draw_indices(b"x", 20, 4)
    assert (labels == indices).all()
    assert (images == pool(20).images[indices]).all()
    with pytest.raises(PoolInvalid, match="5 samples"):
        pool().draw(b"x", 6)
