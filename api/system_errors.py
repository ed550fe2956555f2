"""What the system refuses, in words: what could not be done, where, and what to do about it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_FREE = "free some space there, or name another place"
_NEXT_STEPS = {
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE,
    errno.EFBIG: "raise the limit on the size of a file (`ulimit -f`), or name another place",
    errno.EROFS: "name a place that can be written",
    errno.EACCES: "change its permissions, or name another place",
    errno.EPERM: "change its permissions, or name another place",
    errno.EISDIR: "name a file",
    errno.ENOTDIR: "name a folder for it",
    errno.EEXIST: "name another one",
    errno.ENAMETOOLONG: "take a shorter name",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENFILE: "end programs that hold many files open",
    errno.EIO: "check the disk, or name another place",
}
_LOOK = "check that place, then run the command again"
_MEMORY = (
    "not enough memory; take a smaller circuit (fewer --samples, a smaller network), end other "
    "programs, or take a machine with more"
)


def describe_system_error(error: OSError | MemoryError) -> tuple[str, str]:
    """(code, sentence) of an error that the system raised; a file without a name is an output."""
    if isinstance(error, MemoryError) or error.errno == errno.ENOMEM:
        return "out_of_memory", _MEMORY
    if error.errno is None:
        return "io_error", f"{error}; {_LOOK}"
    code = "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "io_error"
    name = error.filename
    where = os.fsdecode(name) if isinstance(name, str | bytes) else "the output"
    if isinstance(error, FileNotFoundError):
        folder = Path(where).parent
        missing = f"file {where}" if folder.is_dir() else f"folder {folder}"
        return code, f"there is no {missing}; check the path"
    what = error.strerror or os.strerror(error.errno)
    return code, f"{where}: {what}; {_NEXT_STEPS.get(error.errno, _LOOK)}"
