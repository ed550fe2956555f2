"""The container of circom's and snarkjs's files: what is in the table is in the file, once."""

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from kernels.bn254 import R
from prover.errors import FormatError
from prover.formats.binfile import BinFile, require_below, words_below, write_binfile
from tests.support.foreign import put_together

HEAD = b"test" + struct.pack("<I", 1)
BODY = [(3, b"abcdefgh"), (1, b""), (7, bytes(range(24)))]


def open_bytes(path: Path, raw: bytes) -> BinFile:
    path.write_bytes(raw)
    return BinFile(path, magic=b"test", versions=(1, 2))


def test_sections_come_back(tmp_path: Path) -> None:
    write_binfile(
        tmp_path / "x",
        magic=b"test",
        version=1,
        sections=[(3, [b"abcd", b"efgh"]), (1, []), (7, [np.arange(24, dtype=np.uint8)])],
    )
    assert (tmp_path / "x").read_bytes() == put_together(HEAD, BODY)
    with BinFile(tmp_path / "x", magic=b"test", versions=(1,)) as file:
        assert [file.read(kind) for kind, _ in BODY] == [body for _, body in BODY]
        assert [file.n_bytes(kind) for kind, _ in BODY] == [8, 0, 24]
        assert file.has(7)
        assert not file.has(2)
        assert file.head(7, 2) == b"\0\1"
        words = file.words(7, 3)
        assert words.shape == (1, 3)
        assert words.tobytes() == bytes(range(24))
        assert words.flags.aligned  # the file's sections are not
        assert file.array(7, np.dtype("<u4"), offset=4).tobytes() == bytes(range(4, 24))


def test_a_file_that_was_loaded_is_what_was_hashed(tmp_path: Path) -> None:
    raw = put_together(HEAD, BODY)
    with open_bytes(tmp_path / "x", raw) as file:
        assert file.load() == hashlib.sha256(raw).digest()
        (tmp_path / "x").write_bytes(b"")
        assert [file.read(kind) for kind, _ in BODY] == [body for _, body in BODY]
        assert file.head(7, 2) == b"\0\1"
        assert file.words(7, 3).flags.aligned
        assert file.array(7, np.dtype("<u4"), offset=4).tobytes() == bytes(range(4, 24))
        with pytest.raises(FormatError, match="no whole number"):
            file.array(7, np.dtype("<u8"), offset=4)
        with pytest.raises(FormatError, match="section 2 is missing"):
            file.array(2, np.dtype("<u8"))
    with open_bytes(tmp_path / "y", raw) as file:
        (tmp_path / "y").write_bytes(raw[:-1])
        with pytest.raises(FormatError, match="became shorter"):
            file.load()


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"", "too few"),
        (HEAD, "too few"),
        (put_together(b"tesT" + HEAD[4:], BODY), "does not start with"),
        (put_together(b"test" + struct.pack("<I", 3), BODY), "version 3"),
        (put_together(HEAD, BODY)[:-1], "past the end"),
        (put_together(HEAD, BODY)[:24], "past the end"),
        (put_together(HEAD, BODY)[:23], "inside the section table"),
        (put_together(HEAD, BODY) + b"\0", "follow the last section"),
        (put_together(HEAD, [*BODY, (3, b"")]), "occurs twice"),
        (put_together(HEAD, [(k, b"") for k in range(65)]), "65 sections"),
        (HEAD + struct.pack("<I", 0xFFFFFFFF), "sections are more than"),
        (HEAD + struct.pack("<IIQ", 1, 1, 0xFFFFFFFFFFFFFFFF), "past the end"),
    ],
)
def test_refuses_broken_tables(tmp_path: Path, raw: bytes, what: str) -> None:
    with pytest.raises(FormatError, match=what):
        open_bytes(tmp_path / "x", raw)


def test_refuses_every_truncation(tmp_path: Path) -> None:
    raw = put_together(HEAD, BODY)
    for n in range(len(raw)):
        with pytest.raises(FormatError):
            open_bytes(tmp_path / "x", raw[:n])


def test_refuses_sections_that_are_no_whole_records(tmp_path: Path) -> None:
    with open_bytes(tmp_path / "x", put_together(HEAD, BODY)) as file:
        with pytest.raises(FormatError, match="section 2 is missing"):
            file.read(2)
        with pytest.raises(FormatError, match="no whole number of 16-byte records"):
            file.array(3, np.dtype("V16"))
        with pytest.raises(FormatError, match="no whole number"):
            file.array(3, np.dtype(np.uint8), offset=9)
        with pytest.raises(FormatError, match="no whole number of 16-byte elements"):
            file.words(7, 2)
        with pytest.raises(FormatError, match="8 bytes where two points take 128"):
            file.require_bytes(3, 128, "two points")


def test_notices_a_file_that_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with open_bytes(path, put_together(HEAD, BODY)) as file:
        path.write_bytes(b"")
        with pytest.raises(FormatError, match="became shorter"):
            file.read(7)


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no regular file"):
        BinFile(tmp_path, magic=b"test", versions=(1,))
    with pytest.raises(FileNotFoundError):
        BinFile(tmp_path / "missing", magic=b"test", versions=(1,))


def test_the_error_names_place_and_remedy(tmp_path: Path) -> None:
    with (
        open_bytes(tmp_path / "some.file", put_together(HEAD, BODY)) as file,
        pytest.raises(FormatError) as caught,
    ):
        file.words(7, 2)
    assert caught.value.where == "some.file, section 7"
    assert caught.value.next_step
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("modulus", [R, 1, 1 << 64, (1 << 256) - 1])
def test_words_below(modulus: int) -> None:
    edges = [0, 1, 1 << 63, 1 << 64, 1 << 128, 1 << 192, (1 << 256) - 1]
    values = {v % (1 << 256) for e in [*edges, modulus] for v in (e - 1, e, e + 1)}
    ordered = sorted(values)
    words = np.frombuffer(b"".join(v.to_bytes(32, "little") for v in ordered), dtype=np.uint64)
    found = words_below(words.reshape(-1, 4), modulus)
    assert found.tolist() == [v < modulus for v in ordered]
    with pytest.raises(FormatError, match=f"element {found.tolist().index(False)} is not below"):
        require_below(words.reshape(-1, 4), modulus, where="here")
