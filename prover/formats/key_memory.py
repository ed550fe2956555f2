"""Keys that passed every test on this machine, so that none is tested twice.

A key is known by the SHA-256 of its file as it was read. That it is known means: exactly these
bytes passed, under exactly this code on this kind of device. The entry is an empty file named by
the digest, in a folder named by a digest of all that decides what a test finds: the sources of
`kernels` and `prover`, the versions of compiler, Python, numpy and processor, the device. So
nothing is parsed, nothing can be torn, and another version of the code knows no key.

Who can make an entry can have bad points used, which can make proofs that tell about the witness.
So folder and entries must belong to this user and be writable by nobody else, as for the cache of
compiled kernels (whose code is executed): what is not is not believed, and the key is tested.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

import numpy as np

from kernels.backend import Backend
from kernels.cpu.compile.jit import private_directory, source_digest
from kernels.private_folder import is_private

MAX_KEYS = 1024
"""Entries that are kept: those used last."""


class KeyMemory:
    """The keys that are known, in a folder; None forgets everything."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @classmethod
    def of(cls, backend: Backend) -> KeyMemory:
        """What was tested by this code, on devices of this kind."""
        return cls(private_directory("tested-keys", _compute_state(backend)))

    def knows(self, digest: bytes) -> bool:
        """Whether the file of this SHA-256 passed; False where there is any doubt."""
        if self._folder is None:
            return False
        entry = self._folder / digest.hex()
        try:
            found = self._folder.stat(), entry.lstat()
            is_known = stat.S_ISREG(found[1].st_mode) and all(map(is_private, found))
            if is_known:
                os.utime(entry)
        except OSError:
            return False
        return is_known

    def add(self, digest: bytes) -> None:
        """Remembers a file that passed; a disk that refuses costs the next process a test."""
        if self._folder is None:
            return
        with suppress(OSError):
            entry = self._folder / digest.hex()
            os.close(os.open(entry, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR))
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        entries = list(self._folder.iterdir()) if self._folder else []
        if len(entries) > MAX_KEYS:
            entries.sort(key=lambda path: path.stat().st_mtime_ns)
            for path in entries[:-MAX_KEYS]:
                path.unlink(missing_ok=True)


def _compute_state(backend: Backend) -> str:
    """Hex digest of everything outside a file that decides what its test finds."""
    root = Path(__file__).resolve().parent.parent
    device = backend.info()
    digest = hashlib.sha256()
    digest.update(repr((source_digest(), np.__version__, device.name, device.lanes)).encode())
    for path in sorted(root.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()}:{content}\n".encode())
    return digest.hexdigest()[:24]
