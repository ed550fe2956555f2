"""Samples by reference, such as `mnist:test[0:1024]`: what that names, and loading it.

Some thousand real samples of MNIST and 1,024 of CIFAR-10 are packaged: the first entries of the
official files, in the official order. So `mnist:test[0:1024]` means the same samples whether or not
the full set was fetched. The full set is used as soon as `zkpot data fetch` has brought it.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from federated.errors import DatasetCorrupt, DatasetMissing, DatasetRefInvalid
from federated.sources.datasets import DataFile, IdxDataset, get_dataset
from federated.sources.idx import parse_idx
from kernels.numpy_types import UInt8Array

Origin = Literal["full", "packaged"]

ASSETS = Path(__file__).parent / "assets"
_INSTALL = "install zkpot again"
_REF = re.compile(
    r"([a-z][a-z0-9-]{0,31}):(train|test)(?:\[(0|[1-9][0-9]{0,8}):([1-9][0-9]{0,8})\])?", re.ASCII
)


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


def count_here(dataset: IdxDataset, split: str, data_dir: Path) -> int:
    """How many samples of the split are on this machine, fetched or packaged."""
    splits = dataset.full if has_full(dataset, split, data_dir) else dataset.packaged
    return splits[split].n


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
