"""A client's own samples, as they lie on its disk. Nobody else sees them, not even their number.

    NAME, NAME:train[0:1000]    a registered data set, see `federated.data`
    FOLDER/CLASS/*.png, *.jpg   images, a sub folder per class; see `federated.joining.image_folder`
    FILE.npz                    arrays `images` uint8[N, ...] and `labels`, whole numbers, shape [N]

A task fixes how many values a sample has and how many classes there are. What does not fit is
refused by its name, with what to do; nothing is scaled, cut or guessed.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from federated.data import DatasetRef, LabeledImages, load_samples
from federated.errors import OwnDataInvalid
from federated.sources.datasets import DATASETS
from kernels.numpy_types import UInt8Array
from prover.model.network import Architecture
from prover.model.samples import flatten_samples, is_sample_shape

MAX_DATA_BYTES = 1 << 32
"""Of all samples together, and of a file of them."""
MAX_LABEL_BYTES = 1 << 30
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_SAVE = "write it with numpy.savez(FILE, images=..., labels=...)"


def load_own_data(what: str, architecture: Architecture, data_dir: Path) -> LabeledImages:
    """The samples of a folder, an .npz file or a name. Raises OwnDataInvalid, FederatedError.

    data_dir : of registered data sets
    """
    path = Path(what).expanduser()
    if path.is_dir():
        # The only part that needs Pillow.
        from federated.joining.image_folder import load_image_folder

        return load_image_folder(path, architecture)
    if path.suffix == ".npz":
        return load_npz(path, architecture)
    if what.partition(":")[0] not in DATASETS:
        raise OwnDataInvalid(
            what,
            "is neither a folder, nor an .npz file, nor a data set",
            "give a folder with a sub folder of images per class, an .npz file, or one of: "
            + ", ".join(DATASETS),
        )
    samples = load_samples(DatasetRef.parse(what if ":" in what else f"{what}:train"), data_dir)
    return require_fit(what, samples.images, samples.labels, architecture)


def load_npz(path: Path, architecture: Architecture) -> LabeledImages:
    """The arrays `images` and `labels` of a file; it is never unpickled. Raises OwnDataInvalid.

    cost : no more memory than the arrays that were checked to be allowed
    """
    try:
        with zipfile.ZipFile(path) as archive:
            images = _read_array(archive, path, "images", MAX_DATA_BYTES)
            labels = _read_array(archive, path, "labels", MAX_LABEL_BYTES)
    except OSError as error:
        raise OwnDataInvalid(str(path), f"cannot be read ({error.strerror})", _SAVE) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
        raise OwnDataInvalid(str(path), "is no .npz file", _SAVE) from None
    if images.dtype != np.uint8:
        step = "convert them: gray levels or colours from 0 to 255"
        raise OwnDataInvalid(f"{path}: images", f"are {images.dtype}, not uint8", step)
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        what = f"are {labels.dtype} of {labels.ndim} dimensions, not one row of whole numbers"
        raise OwnDataInvalid(f"{path}: labels", what, "give a class number from 0 on per sample")
    return require_fit(str(path), images, labels, architecture)


def require_fit(
    where: str,
    images: UInt8Array,
    labels: npt.NDArray[np.integer[Any]],
    architecture: Architecture,
) -> LabeledImages:
    """The samples as a task takes them. Raises OwnDataInvalid.

    images : uint8[N, ...]; labels : whole numbers, shape [N]
    """
    shape, n_classes = architecture.input_shape, architecture.n_classes
    width = math.prod(shape)
    if len(images) != len(labels):
        what = f"has {len(images)} images and {len(labels)} labels"
        raise OwnDataInvalid(where, what, "give one label per image")
    if not len(labels):
        raise OwnDataInvalid(where, "has no samples", "a client trains on its own")
    flat = flatten_samples(images)
    if len(shape) == 3 and not is_sample_shape(images.shape[1:], shape):
        what = f"has samples of shape {list(images.shape[1:])}, and the task takes {list(shape)}"
        step = "bring the images to the task's size, colours before rows before columns"
        raise OwnDataInvalid(where, what, step)
    if flat.shape[1] != width:
        what = f"has {flat.shape[1]} values per sample, and the task's {architecture.name} {width}"
        raise OwnDataInvalid(where, what, "bring the images to the task's size and colours")
    wrong = np.flatnonzero((labels < 0) | (labels >= n_classes))
    if len(wrong):
        what = f"sample {wrong[0]} has label {labels[wrong[0]]}, and there are {n_classes} classes"
        raise OwnDataInvalid(where, what, f"labels are 0 to {n_classes - 1}")
    return LabeledImages(images=flat, labels=labels.astype(np.uint8))


def _read_array(archive: zipfile.ZipFile, path: Path, name: str, most: int) -> npt.NDArray[Any]:
    """One array of the file, its length known before anything of it is read."""
    where = f"{path}: {name}"
    try:
        member = archive.open(f"{name}.npy")
    except KeyError:
        raise OwnDataInvalid(str(path), f"has no array `{name}`", _SAVE) from None
    with member:
        try:
            shape, is_fortran, dtype = _read_header(member)
        except (ValueError, KeyError):
            raise OwnDataInvalid(where, "is no array of NumPy", _SAVE) from None
        if dtype.kind not in "iuf":
            # Objects would have to be unpickled, and a pickle runs what it likes.
            raise OwnDataInvalid(where, f"has type {dtype}", "give plain numbers")
        n_bytes = math.prod(shape) * dtype.itemsize
        if n_bytes > most:
            step = "give fewer samples; several rounds may have several files"
            raise OwnDataInvalid(where, f"has {n_bytes} bytes, and {most} are read", step)
        raw = member.read(n_bytes + 1)
    if len(raw) != n_bytes:
        raise OwnDataInvalid(where, f"has not the {n_bytes} bytes that it says", "save it again")
    return np.frombuffer(raw, dtype=dtype).reshape(shape, order="F" if is_fortran else "C")


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, order and type of the array that follows. Raises ValueError, KeyError."""
    shape, is_fortran, dtype = _HEADERS[npy.read_magic(member)](member)
    if any(n < 0 for n in shape):
        raise ValueError("a length below zero")
    return shape, is_fortran, dtype
