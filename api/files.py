"""Files that hold private numbers: whole or not at all, and readable by their owner only."""

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
