"""Files that commands write: whole or not at all, the private ones readable by their owner only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kernels.files import PRIVATE, write_new, write_whole


def write_private(path: Path, raw: bytes) -> None:
    """Writes `path` with mode 0600; see `kernels.files.replacing`."""
    write_whole(path, [raw], mode=PRIVATE)


def create_private(path: Path, raw: bytes) -> None:
    """Writes a new file with mode 0600; FileExistsError when there is one, OSError otherwise."""
    write_new(path, raw, mode=PRIVATE)


def write_public(path: Path, raw: bytes) -> None:
    """Writes `path` with the usual mode; see `kernels.files.replacing`."""
    write_whole(path, [raw])


@contextmanager
def filling(folder: Path, *names: str) -> Iterator[None]:
    """A folder, made if need be, for files; after an error those named are gone, and it if empty.

    The block sees to all other files that it writes. Raises OSError.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for name in names:
            (folder / name).unlink(missing_ok=True)
        if is_new:
            with suppress(OSError):  # somebody put something there
                folder.rmdir()
        raise
