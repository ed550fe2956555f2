"""One process at a time changes a ceremony's folder: who serves it, or contributes to it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.errors import FolderBusy


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """The folder is this process's meanwhile. Raises FolderBusy when it is another's; OSError.

    holds : on file systems that have locks; where one has none, nobody is refused
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderBusy(
                f"{folder} is served, or contributed to, by another process: contribute at the "
                "address that it is served at, or wait until that process has ended"
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)
