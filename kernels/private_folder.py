"""Folders that only this user can write to: for what is executed, trusted or kept secret.

A folder under a fixed name in a place that all users share, such as the temporary one, may have
been made by somebody else before.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def make_private_folder(path: Path) -> None:
    """Makes the folder, and those above it, unless it is there, then does as the check. OSError."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private_folder(path)


def check_private_folder(path: Path) -> None:
    """PermissionError when another user owns the folder, or a link to it, or could write into it.

    holds : a link of another user could be pointed elsewhere after the check; in a shared place
            (with the sticky bit) nobody but its owner can replace what is owned by this user
    Raises OSError when there is none.
    """
    named, real = path.lstat(), path.stat()
    if not (is_own(named) and is_private(real)):
        raise PermissionError(errno.EPERM, "not private to this user", str(path))


def is_own(info: os.stat_result) -> bool:
    """Whether this user owns it."""
    return not hasattr(os, "getuid") or info.st_uid == os.getuid()


def is_private(info: os.stat_result) -> bool:
    """Whether this user owns it, and nobody else may write to it."""
    return is_own(info) and not (
        hasattr(os, "getuid") and info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )
