"""Objects as files of this machine, for readers that take nothing else.

DATA_DIR/copies/<random>/<name>     of an object that lies elsewhere; mode 0600, locked by its
                                    reader, gone with it
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from consensus.content.folder import FolderObjects
from consensus.content.interface import Objects

_ALL = "copies/"


class LocalCopies:
    """Files with the bytes of objects."""

    def __init__(self, objects: Objects, data_dir: Path) -> None:
        self._objects, self._scratch = objects, FolderObjects(data_dir, is_private=True)

    @contextmanager
    def opening(self, name: str) -> Iterator[Path]:
        """A file with the bytes meanwhile, unchecked. Raises FileNotFoundError, SealError, OSError.

        It is the object itself where that is a file, else a copy whose name ends alike.
        """
        own = self._objects.local_path(name)
        if own is not None:
            yield own
            return
        prefix = f"{_ALL}{secrets.token_hex(16)}/"
        copy = prefix + name.rpartition("/")[2]
        try:
            with self._scratch.holding(prefix):
                self._scratch.write(copy, self._objects.stream(name))
                made = self._scratch.local_path(copy)
                assert made is not None
                yield made
        finally:
            self._scratch.delete_all(prefix)

    def sweep(self) -> int:
        """Deletes copies whose readers were killed; how many. Raises OSError."""
        left = self._scratch.list_abandoned(_ALL)
        for name in left:
            self._scratch.delete_all(f"{_ALL}{name}/")
        return len(left)
