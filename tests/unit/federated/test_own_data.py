"""A client's own samples: folders of images and .npz files, and what is wrong with others."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL", reason="the extra `federated` (Pillow) is not installed")

from PIL import Image

from federated.errors import DatasetRefInvalid, OwnDataInvalid
from federated.joining import own_data
from federated.joining.own_data import load_own_data
from prover.model.layers import Linear
from prover.model.network import Architecture
from prover.model.pooling import Flatten
from prover.model.presets import parse_architecture

GRAY = parse_architecture("mlp-6-3")  # 3 x 2 pixels, three classes
COLOURS = parse_architecture("mlp-18-2")
IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)


def draw(path: Path, pixels: Any, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels, dtype=np.uint8))
    (image if mode is None else image.convert(mode)).save(path)


def load(what: object, architecture: Architecture = GRAY) -> tuple[list[list[int]], list[int]]:
    found = load_own_data(str(what), architecture, Path("nowhere"))
    assert found.images.dtype == found.labels.dtype == np.uint8
    return found.images.tolist(), found.labels.tolist()


def refuse(words: str, what: object, architecture: Architecture = GRAY) -> None:
    with pytest.raises(OwnDataInvalid) as caught:
        load(what, architecture)
    assert words in str(caught.value)
    assert caught.value.next_step


def test_planes_are_colours_before_rows_before_columns(tmp_path: Path) -> None:
    """What a convolution takes: files have the colours of a pixel side by side."""
    planes = Architecture.of((3, 2, 3), [Flatten(inputs=(0,)), Linear(n_out=2, inputs=(1,))])
    folder = make_folder(tmp_path / "own", "a", "b")
    pixels = np.arange(18).reshape(2, 3, 3)
    draw(folder / "a" / "x.png", pixels)
    expected = pixels.transpose(2, 0, 1).reshape(-1).tolist()
    assert load(folder, planes) == ([expected], [0])
    draw(folder / "b" / "x.png", np.zeros((3, 2, 3)))
    refuse("has 2 x 3 pixels, and a sample of the task 3 x 2 x 3 values", folder, planes)
    labels = np.zeros(1, dtype=np.uint8)
    for images, fits in (
        (pixels.transpose(2, 0, 1), True),
        (pixels, False),
        (pixels.ravel(), True),
    ):
        path = tmp_path / "own.npz"
        np.savez(path, images=images[None].astype(np.uint8), labels=labels)
        if fits:
            assert load(path, planes)[0] == [images.reshape(-1).tolist()]
        else:
            refuse("colours before rows before columns", path, planes)


# -- folders ---------------------------------------------------------------------------------------


def make_folder(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
    return folder


def test_sub_folders_are_classes_by_their_names(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "own", "cat", "ant", "dog", ".cache")
    draw(folder / "dog" / "b.png", IMAGES[0])
    draw(folder / "dog" / "a.png", IMAGES[1])
    draw(folder / "ant" / "x.PNG", IMAGES[2])
    (folder / "ant" / ".DS_Store").write_bytes(b"?")
    assert load(folder) == (IMAGES[[2, 1, 0]].reshape(3, 6).tolist(), [0, 2, 2])


def test_numbers_are_classes_by_their_values(tmp_path: Path) -> None:
    architecture = parse_architecture("mlp-6-11")
    folder = make_folder(tmp_path / "own", *map(str, range(11)))
    draw(folder / "10" / "x.png", IMAGES[0])
    draw(folder / "2" / "x.png", IMAGES[1])
    assert load(folder, architecture)[1] == [2, 10]


def test_colours_become_gray_where_the_task_is_gray_and_three_values_where_not(
    tmp_path: Path,
) -> None:
    folder = make_folder(tmp_path / "own", "a", "b", "c")
    draw(folder / "a" / "x.png", IMAGES[0], "RGBA")
    assert load(folder)[0] == [IMAGES[0].ravel().tolist()]
    folder = make_folder(tmp_path / "coloured", "a", "b")
    colours = np.arange(18).reshape(2, 3, 3)
    draw(folder / "b" / "x.png", colours)
    assert load(folder, COLOURS) == ([list(range(18))], [1])


def test_jpegs_are_read(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "own", "a", "b", "c")
    draw(folder / "c" / "x.jpg", np.full((2, 3), 200))
    images, labels = load(folder)
    assert labels == [2]
    assert max(abs(x - 200) for x in images[0]) < 4


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "own", "a", "b", "c")
    refuse("has no samples", folder)
    draw(folder / "a" / "ok.png", IMAGES[0])
    (folder / "b" / "notes.txt").write_text("no image")
    refuse(f"{folder}/b/notes.txt: is no PNG or JPEG file", folder)
    (folder / "b" / "notes.txt").rename(folder / "b" / "notes.png")
    refuse(f"{folder}/b/notes.png: is damaged", folder)
    (folder / "b" / "notes.png").unlink()
    draw(folder / "b" / "tall.png", np.zeros((3, 3)))
    refuse("tall.png: has 3 x 3 pixels, and a sample of the task 6 values", folder)
    (folder / "b" / "tall.png").unlink()
    (folder / "d").mkdir()
    refuse("has 4 sub folders, and the task 3 classes", folder)


def test_a_png_that_is_cut_off_or_another_format_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "own", "a", "b", "c")
    draw(folder / "a" / "x.png", IMAGES[0])
    raw = (folder / "a" / "x.png").read_bytes()
    (folder / "a" / "x.png").write_bytes(raw[:-25])
    refuse("x.png: is damaged", folder)
    buffer = io.BytesIO()
    Image.fromarray(IMAGES[0]).save(buffer, "GIF")
    (folder / "a" / "x.png").write_bytes(buffer.getvalue())
    refuse("x.png: is damaged, or another format", folder)


def test_an_image_of_a_billion_pixels_is_not_unpacked(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "own", "a", "b", "c")
    path = folder / "a" / "x.png"
    draw(path, IMAGES[0])
    raw = bytearray(path.read_bytes())
    for side, words in ((40_000, "is far too large"), (8_000, "has 8000 x 8000 pixels")):
        raw[16:24] = side.to_bytes(4, "big") * 2  # width and height in the header chunk
        path.write_bytes(fix_checksum(raw))
        refuse(words, folder)


def fix_checksum(raw: bytearray) -> bytes:
    import zlib

    raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
    return bytes(raw)


# -- .npz files ------------------------------------------------------------------------------------


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_arrays_are_read_in_any_shape_and_type_of_label(tmp_path: Path) -> None:
    flat = IMAGES.reshape(4, 6)
    labels = [0, 2, 1, 2]
    for images in (IMAGES, flat, np.asfortranarray(flat)):
        for kind in (np.uint8, np.int64, ">u4"):
            path = save(tmp_path / "own.npz", images=images, labels=np.array(labels, kind))
            assert load(path) == (flat.tolist(), labels)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": IMAGES.astype(np.float32)}, "images: are float32, not uint8"),
        ({"images": IMAGES[:3]}, "has 3 images and 4 labels"),
        ({"images": IMAGES[:, :1]}, "has 3 values per sample, and the task's mlp-6-3 6"),
        ({"images": IMAGES[:0], "labels": np.zeros(0, int)}, "has no samples"),
        ({"labels": np.array([0, 1, 3, 0])}, "sample 2 has label 3, and there are 3 classes"),
        ({"labels": np.array([0, -1, 0, 0])}, "sample 1 has label -1"),
        ({"labels": np.array([0.0, 1.0, 2.0, 0.0])}, "labels: are float64"),
        ({"labels": np.zeros((4, 1), int)}, "of 2 dimensions"),
        ({"labels": np.array([0, 1, 2, object()], dtype=object)}, "labels: has type object"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    arrays = {"images": IMAGES, "labels": np.zeros(4, int)} | changes
    refuse(words, save(tmp_path / "own.npz", **arrays))


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    refuse("cannot be read (No such file or directory)", path)
    path.write_bytes(b"PK")
    refuse("is no .npz file", path)
    refuse("has no array `labels`", save(path, images=IMAGES))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00")
    refuse("images: is no array of NumPy", path)
    refuse("is neither a folder, nor an .npz file, nor a data set", tmp_path / "nothing")
    with pytest.raises(DatasetRefInvalid):
        load("mnist:train[5:2]")


def test_what_an_array_says_of_its_length_is_checked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header of a few bytes must not make anyone ask for memory."""
    path = save(tmp_path / "own.npz", images=IMAGES, labels=np.zeros(4, int))
    monkeypatch.setattr(own_data, "MAX_DATA_BYTES", 23)
    refuse("images: has 24 bytes, and 23 are read", path)
    monkeypatch.undo()
    header = {"descr": "|u1", "fortran_order": False, "shape": (1 << 31,)}
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", buffer.getvalue() + bytes(24))
    refuse("images: has not the 2147483648 bytes that it says", path)


def test_a_registered_data_set_is_taken_by_its_name(tmp_path: Path) -> None:
    architecture = parse_architecture("mlp-784-10")
    whole = load_own_data("mnist", architecture, tmp_path)
    part = load_own_data("mnist:train[0:50]", architecture, tmp_path)
    assert len(whole) == 6000
    assert np.array_equal(part.images, whole.images[:50])
    with pytest.raises(OwnDataInvalid, match="784 values per sample"):
        load_own_data("mnist", GRAY, tmp_path)
