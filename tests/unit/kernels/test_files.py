"""Files are there whole or not at all, whatever ends the writing; errors name the file meant."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from consensus.content.folder import FolderObjects
from kernels import files
from kernels.files import (
    PRIVATE,
    replacing,
    sync_folder,
    write_new,
    write_together,
    write_whole,
)
from tests.support.limits import no_file_above

Break = Callable[[pytest.MonkeyPatch], type[BaseException]]


def fail_with(name: str, number: int) -> Break:
    """The system's function refuses."""

    def install(patch: pytest.MonkeyPatch) -> type[BaseException]:
        def refuse(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        patch.setattr(f"os.{name}", refuse)
        return OSError

    return install


BREAKS = {
    "full": fail_with("fsync", errno.ENOSPC),
    "quota": fail_with("fsync", errno.EDQUOT),
    "rights": fail_with("replace", errno.EACCES),
    "read-only": fail_with("open", errno.EROFS),
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("what", BREAKS)
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_write_that_fails_leaves_what_was(
    what: str, before: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    if before is not None:
        path.write_bytes(before)
    with monkeypatch.context() as patch:
        error = BREAKS[what](patch)
        with pytest.raises(error) as caught:
            write_whole(path, [b"new", b"er"])
    assert caught.value.filename == str(path)  # type: ignore[attr-defined]
    assert names(tmp_path) == ([] if before is None else ["out"])
    assert before is None or path.read_bytes() == before
    write_whole(path, [b"new", b"er"])
    assert path.read_bytes() == b"newer"


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, ValueError])
def test_whatever_ends_the_block_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    def write() -> None:
        with replacing(tmp_path / "out", mode=PRIVATE) as stream:
            stream.write(b"half")
            stream.flush()
            raise error

    with pytest.raises(error):
        write()
    assert names(tmp_path) == []


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "out"):
        (tmp_path / "absent").read_bytes()
    assert caught.value.filename == str(tmp_path / "absent")
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(tmp_path / "no" / "out", [b"x"])
    assert caught.value.filename == str(tmp_path / "no" / "out")


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    with no_file_above(4):
        write_whole(tmp_path / "fits", [b"1234"])
        with pytest.raises(OSError, match="too large") as caught:
            write_whole(tmp_path / "out", [b"12345"])
    assert caught.value.filename == str(tmp_path / "out")
    assert names(tmp_path) == ["fits"]


def test_of_several_files_none_is_there_before_all_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    real = os.fsync

    def fail_at(number: int) -> Callable[[int], None]:
        calls = count()

        def fail(descriptor: int) -> None:
            if next(calls) == number:
                raise OSError(errno.ENOSPC, "No space left on device")
            assert all(name.endswith(".partial") for name in names(tmp_path))
            real(descriptor)

        return fail

    for number, path in enumerate((a, b)):
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", fail_at(number))
            with pytest.raises(OSError, match="No space") as caught:
                write_together([(a, b"1"), (b, b"2")])
        assert caught.value.filename == str(path)
        assert names(tmp_path) == []
    write_together([(a, b"1"), (b, b"2")])
    assert (a.read_bytes(), b.read_bytes()) == (b"1", b"2")
    assert names(tmp_path) == ["a", "b"]


def test_modes(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_whole(tmp_path / "public", [b""])
        write_whole(tmp_path / "private", [b""], mode=PRIVATE)
        write_new(tmp_path / "new", b"")
    finally:
        os.umask(old)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names(tmp_path)}
    assert modes == {"public": 0o640, "private": 0o600, "new": 0o600}


def test_a_new_file_is_never_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    write_new(path, b"first")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for taken in (path, tmp_path / "link"):
        with pytest.raises(FileExistsError):
            write_new(taken, b"second")
    assert path.read_bytes() == b"first"
    monkeypatch.setattr("os.path.lexists", lambda _: False)  # another process came first
    with pytest.raises(FileExistsError):
        write_new(path, b"second")
    assert path.read_bytes() == b"first"
    with monkeypatch.context() as patch:
        BREAKS["rights"](patch)
        with pytest.raises(PermissionError):
            write_new(tmp_path / "other", b"second")
    assert names(tmp_path) == ["link", "secret"]


def test_a_device_is_written_and_stays_one(tmp_path: Path) -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("needs /dev/full")
    write_whole(Path(os.devnull), [b"x"])
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(Path("/dev/full"), [b"x"])
    assert caught.value.filename == "/dev/full"
    with pytest.raises(FileExistsError, match="keeps no secret"):
        write_whole(Path(os.devnull), [b"x"], mode=PRIVATE)
    assert Path(os.devnull).is_char_device()
    assert Path("/dev/full").is_char_device()


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "file", tmp_path / "link"
    link.symlink_to(target)
    for content in (b"1", b"2"):  # at first it leads nowhere
        write_whole(link, [content])
        assert link.is_symlink()
        assert target.read_bytes() == content
    assert names(tmp_path / "folder") == ["file"]


def test_a_link_of_another_user_is_not_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "file", tmp_path / "link"
    target.write_bytes(b"mine")
    link.symlink_to(target)
    if os.getuid() != 0:
        pytest.skip("needs the right to give files away")
    os.lchown(link, 12345, -1)
    with pytest.raises(PermissionError, match="another user"):
        write_whole(link, [b"theirs"])
    assert target.read_bytes() == b"mine"


def test_names_as_long_as_can_be_and_what_a_killed_process_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_numbers", count())
    left = tmp_path / f".{os.getpid()}-0.partial"
    left.write_bytes(b"left")
    write_whole(tmp_path / ("x" * 255), [b"1"])
    assert names(tmp_path) == [left.name, "x" * 255]
    with pytest.raises(OSError, match="too long"):
        write_whole(tmp_path / ("x" * 256), [b"1"])
    with pytest.raises(IsADirectoryError) as caught:
        write_whole(tmp_path, [b"1"])
    assert str(caught.value).endswith(f"Is a directory: '{tmp_path}'")
    assert names(tmp_path) == [left.name, "x" * 255]


def test_where_a_folder_cannot_be_synchronized_only_files_of_users_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "no such thing here")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    write_whole(tmp_path / "a", [b"content"])
    write_new(tmp_path / "b", b"content")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == b"content"
    with pytest.raises(OSError, match="no such thing"):
        sync_folder(tmp_path)
    with pytest.raises(OSError, match="no such thing"):
        FolderObjects(tmp_path / "store").create("a", b"what others go by")
