"""Reading the files of provable training: no more of them than their format allows."""

from __future__ import annotations

from pathlib import Path


def read_bounded(path: Path, most: int) -> bytes:
    """The file, or one byte more than `most` of it, which its parser then refuses.

    cost   : memory for what the file has, not for what its format allows
    raises : OSError
    """
    with path.open("rb") as stream:
        return stream.read(min(path.stat().st_size, most) + 1)
