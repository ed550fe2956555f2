"""Reading the files of provable training: no more of them than their format allows."""

from __future__ import annotations

from pathlib import Path


def read_bounded(path: Path, most: int) -> bytes:
    """The file, or one byte more than `most` of it, which its parser then refuses. Raises
    OSError."""
    with path.open("rb") as stream:
        return stream.read(most + 1)
