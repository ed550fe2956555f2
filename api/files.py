"""Files that commands write: whole or not at all, the private ones readable by their owner only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_private(path: Path, raw: bytes) -> None:
    """Writes `path` with mode 0600 by renaming a finished file; OSError when that fails."""
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(raw)
        os.replace(scratch, path)
    except OSError:
        os.unlink(scratch)
        raise


def create_private(path: Path, raw: bytes) -> None:
    """Writes a new file with mode 0600; FileExistsError when there is one, OSError otherwise."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        os.unlink(path)
        raise


def write_public(path: Path, raw: bytes) -> None:
    """Writes `path` with the usual mode by renaming a finished file; OSError when that fails."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(raw)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
