"""Files that appear whole or not at all: the one way in which any package writes one.

The content goes into a file of another name in the same folder, reaches the disk, and takes its
place by a rename. Whatever ends this before (a full disk, a quota, a limit, no memory, an
interrupt) leaves nothing, and what was there before stays. Only a process that is killed in the
middle leaves the file of the other name: hidden, and ending in `.partial`.

A device or a pipe can't be replaced: it is written straight. A link stays one: what it leads to is
replaced. Errors name the file meant, never the one beside it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO

PUBLIC, PRIVATE = 0o666, 0o600
"""Modes: what the user's umask leaves of the first, or for the owner only."""

Chunk = bytes | memoryview

_ENDING = ".partial"
_numbers = count()
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EISDIR)
"""Some file systems know none, and a folder may be writable but not readable."""


@contextmanager
def replacing(path: Path, *, mode: int = PUBLIC, is_cache: bool = False) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` when the block ends.

    is_cache : do not wait for the disk: who reads the file checks what it reads
    raises   : OSError, naming `path`; then, as after any error of the block, nothing is left
    """
    with _Staged(path, mode) as staged:
        yield staged.stream
        staged.finish(is_synced=not is_cache)
        staged.place()
    if not is_cache:
        _sync_if_possible(staged.path.parent)


def write_whole(
    path: Path, chunks: Iterable[Chunk], *, mode: int = PUBLIC, is_cache: bool = False
) -> None:
    """Writes chunks, one after the other, as `replacing` does."""
    with replacing(path, mode=mode, is_cache=is_cache) as stream:
        for chunk in chunks:
            stream.write(chunk)


def write_together(contents: Sequence[tuple[Path, bytes]], *, mode: int = PUBLIC) -> None:
    """Writes several files, of which none appears before all are on the disk."""
    with ExitStack() as stack:
        staged = [stack.enter_context(_Staged(path, mode)) for path, _ in contents]
        for one, (_, raw) in zip(staged, contents, strict=True):
            with one.naming():
                one.stream.write(raw)
                one.finish(is_synced=True)
        for one in staged:
            with one.naming():
                one.place()
    for folder in {one.path.parent for one in staged}:
        _sync_if_possible(folder)


def write_new(path: Path, raw: bytes, *, mode: int = PRIVATE) -> None:
    """Writes a file that must not be there yet; FileExistsError when it is."""
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    with _Staged(path, mode) as staged:
        staged.stream.write(raw)
        staged.finish(is_synced=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))  # now the name is ours
        try:
            staged.place()
        except BaseException:
            os.unlink(path)
            raise
    _sync_if_possible(path.parent)


def move_whole(source: Path, path: Path) -> None:
    """Puts a file, of the same file system, into the place of `path`; it is on the disk before.

    raises : OSError
    """
    with source.open("rb") as stream:
        os.fsync(stream.fileno())
    os.replace(source, path)
    for folder in {path.parent, source.parent}:
        _sync_if_possible(folder)


class _Staged:
    """A file beside `path`, open for writing; gone after the `with` block unless it was placed.

    It stays open until then: who locks it holds the lock until it is in place.
    """

    def __init__(self, path: Path, mode: int) -> None:
        self._asked, self._scratch = path, None
        with self.naming():
            self.path = _follow(path)
            if _is_special(self.path):
                if mode == PRIVATE:
                    raise FileExistsError(errno.EEXIST, "A device or a pipe keeps no secret")
                self.stream: BinaryIO = open(self.path, "wb")  # noqa: SIM115 - by __exit__
            else:
                self._scratch, descriptor = _create_beside(self.path, mode)
                self.stream = os.fdopen(descriptor, "wb")

    def finish(self, *, is_synced: bool) -> None:
        """All bytes are in the file, and with is_synced on the disk."""
        self.stream.flush()
        if self._scratch is not None and is_synced:
            os.fsync(self.stream.fileno())

    def place(self) -> None:
        """The file is at `path`."""
        if self._scratch is not None:
            os.replace(self._scratch, self.path)
            self._scratch = None

    def __enter__(self) -> _Staged:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with suppress(OSError):  # of bytes that are given up: all others were flushed
            self.stream.close()
        if self._scratch is not None:
            with suppress(OSError):
                os.unlink(self._scratch)
        if isinstance(error, OSError):
            self._name(error)

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Lets an error say which file it is about, if it names none or the one beside."""
        try:
            yield
        except OSError as error:
            self._name(error)
            raise

    def _name(self, error: OSError) -> None:
        is_ours = error.filename is None or str(error.filename).endswith(_ENDING)
        if is_ours and error.errno is not None:
            error.filename = str(self._asked)
            if error.filename2 is not None:
                del error.filename2  # the target of a rename: the same file


def _follow(path: Path) -> Path:
    """Where a link leads. PermissionError for the link of another user, who may lead us astray."""
    try:
        info = path.lstat()
    except OSError:
        return path
    if not stat.S_ISLNK(info.st_mode):
        return path
    if hasattr(os, "getuid") and info.st_uid not in (0, os.getuid()):
        raise PermissionError(errno.EACCES, "A link that belongs to another user", str(path))
    return Path(os.path.realpath(path))


def _is_special(path: Path) -> bool:
    """Whether it is there, and neither a file nor a folder."""
    try:
        kind = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


def _create_beside(path: Path, mode: int) -> tuple[Path, int]:
    """A new file in the same folder, and its descriptor. Short, as `path` may be as long as can."""
    while True:
        scratch = path.parent / f".{os.getpid()}-{next(_numbers)}{_ENDING}"
        with suppress(FileExistsError):  # of a process of this number that was killed
            return scratch, os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)


def sync_folder(folder: Path) -> None:
    """Returns when the names in a folder are on the disk. Raises OSError, also where that cannot be
    had: who goes by it must not take it for granted.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_if_possible(folder: Path) -> None:
    """As `sync_folder` where it can be had: a user's file may lie on any file system."""
    try:
        sync_folder(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
