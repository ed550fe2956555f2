"""Files that commands write: whole or not at all, the private ones readable by their owner only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from api.console.output import refuse
from kernels.files import PRIVATE, PUBLIC, write_new, write_whole


def write_private(path: Path, raw: bytes) -> None:
    """Writes `path` with mode 0600; see `kernels.files.replacing`."""
    write_whole(path, [raw], mode=PRIVATE)


def create_private(path: Path, raw: bytes) -> None:
    """Writes a new file with mode 0600; FileExistsError when there is one, OSError otherwise."""
    write_new(path, raw, mode=PRIVATE)


def write_public(path: Path, raw: bytes) -> None:
    """Writes `path` with the usual mode; see `kernels.files.replacing`."""
    write_whole(path, [raw])


class Filling:
    """A folder that files are put into, each of a name that nothing there has yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._added: list[Path] = []

    def add_private(self, name: str, raw: bytes) -> None:
        """As `create_private`."""
        create_private(self._folder / name, raw)
        self._added.append(self._folder / name)

    def add_public(self, name: str, raw: bytes) -> None:
        """Likewise, with the usual mode."""
        write_new(self._folder / name, raw, mode=PUBLIC)
        self._added.append(self._folder / name)

    def claim(self, name: str) -> Path:
        """Where the block writes a file of this name itself."""
        path = self._folder / name
        self._added.append(path)
        return path

    def empty(self) -> None:
        """What was added is gone; files of others stay. Raises OSError."""
        for path in self._added:
            path.unlink(missing_ok=True)


def require_no_key(folder: Path, *, as_json: bool) -> None:
    """Refuses a folder that holds a key already."""
    from prover.keys.folder import VERIFYING_NAME

    if (folder / VERIFYING_NAME).exists():
        refuse(
            f"{folder} holds a key; proofs under it verify with no other: "
            "choose another --out, or delete it",
            code="file_exists",
            as_json=as_json,
        )


@contextmanager
def filling(folder: Path) -> Iterator[Filling]:
    """A folder, made if need be, for files; after an error those added or claimed are gone, and
    it if empty.

    The block sees to all other files that it writes. Raises OSError.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    files = Filling(folder)
    try:
        yield files
    except BaseException:
        files.empty()
        if is_new:
            with suppress(OSError):  # somebody put something there
                folder.rmdir()
        raise
