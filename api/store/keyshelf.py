"""The verifying halves of the service's keys, for the API and its verifiers: they prove nothing."""

from __future__ import annotations

import re
from pathlib import Path

from api.store.sharedkeys import SharedKeys
from prover.keys.folder import VERIFYING_NAME

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class KeyShelf:
    """Halves by the digest of their card, in hexadecimal digits."""

    def __init__(self, directory: Path, shared: SharedKeys | None = None) -> None:
        """directory : the workers' keys, or with `shared` a place of this machine for halves"""
        self._directory, self._shared = directory, shared

    def list_circuits(self) -> list[str]:
        """Names that may have a key, in order. Raises OSError."""
        if self._shared is not None:
            return self._shared.list_circuits()
        return sorted(path.name for path in self._directory.glob("*"))

    def find(self, circuit: str) -> Path:
        """The folder of a key, brought here if the store's is not, for `keyfolder.load_half`.

        It may not be there: then there is no such key. Raises FormatError, OSError.
        """
        folder, shared = self._directory / circuit, self._shared
        if shared is None or not _DIGEST.fullmatch(circuit) or shared.is_here(circuit, folder):
            return folder
        if not shared.fetch_half(circuit, folder):  # deleted by hand, and not made anew yet
            (folder / VERIFYING_NAME).unlink(missing_ok=True)
        return folder
