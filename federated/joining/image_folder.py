"""Images in a folder, a sub folder per class: `FOLDER/CLASS/ANYTHING.png`, or .jpg.

Sub folders are the classes 0, 1, ... by their names in ascending order; where all names are whole
numbers, by these. A class of which a client has no sample has an empty folder, or the numbers of
the others would shift. All images have one size: that of the task. Where it takes a row of numbers,
that is h x w values for shades of gray, or 3 h w for colours (red, green, blue of a pixel side by
side), whatever a file has itself; where it takes planes, they are those of gray, or of red, green
and blue.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image

from federated.data import LabeledImages
from federated.errors import OwnDataInvalid
from federated.joining.own_data import MAX_DATA_BYTES, require_fit
from kernels.numpy_types import UInt8Array
from prover.model.layers import Shape
from prover.model.network import Architecture

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_MODES = {1: "L", 3: "RGB"}


def list_classes(folder: Path) -> list[Path]:
    """The sub folders in the order of their classes; hidden ones do not count."""
    found = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    if all(path.name.isascii() and path.name.isdecimal() for path in found):
        return sorted(found, key=lambda path: (int(path.name), path.name))
    return sorted(found, key=lambda path: path.name)


def load_image_folder(folder: Path, architecture: Architecture) -> LabeledImages:
    """All images of a folder, class after class, by name. Raises OwnDataInvalid."""
    classes, n_classes = list_classes(folder), architecture.n_classes
    if len(classes) != n_classes:
        raise OwnDataInvalid(
            str(folder),
            f"has {len(classes)} sub folders, and the task {n_classes} classes",
            "make one for each class, empty where you have no sample of it",
        )
    paths = [(path, label) for label, one in enumerate(classes) for path in _list_images(one)]
    shape = architecture.input_shape
    width = prod(shape)
    if len(paths) * width > MAX_DATA_BYTES:
        what = f"has {len(paths)} images of {width} bytes, and {MAX_DATA_BYTES} bytes are read"
        raise OwnDataInvalid(str(folder), what, "give fewer images")
    images = np.empty((len(paths), width), dtype=np.uint8)
    for row, (path, _) in zip(images, paths, strict=True):
        row[:] = _load(path, shape)
    labels = np.array([label for _, label in paths], dtype=np.uint8)
    return require_fit(str(folder), images, labels, architecture)


def _list_images(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name[0] == ".":
            continue
        if path.suffix.lower() not in FORMATS:
            raise OwnDataInvalid(str(path), "is no PNG or JPEG file", "convert or remove it")
        yield path


def _load(path: Path, shape: Shape) -> UInt8Array:
    """The values of one image, flat. Its size is compared before its pixels are unpacked."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened = Image.open(path, formats=[FORMATS[path.suffix.lower()]])
        with opened as image:
            mode = _choose_mode(path, image.size, shape)
            pixels = np.asarray(image.convert(mode), dtype=np.uint8)
            ordered = pixels.transpose(2, 0, 1) if len(shape) == 3 and mode == "RGB" else pixels
            return ordered.reshape(-1)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise OwnDataInvalid(str(path), "is far too large", "scale it down") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for broken files
        if isinstance(error, OwnDataInvalid):
            raise
        raise OwnDataInvalid(
            str(path), "is damaged, or another format than its name says", "save it again"
        ) from None


def _choose_mode(path: Path, size: tuple[int, int], shape: Shape) -> str:
    width, height = size
    for n_channels, mode in _MODES.items():
        if shape in ((n_channels * height * width,), (n_channels, height, width)):
            return mode
    values = " x ".join(map(str, shape))
    what = f"has {width} x {height} pixels, and a sample of the task {values} values"
    step = "scale it to the task's size: that many pixels in gray, or a third of them in colours"
    raise OwnDataInvalid(str(path), what, step)
