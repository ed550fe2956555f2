"""Keys of circuits in an object store, for machines that share no folder.

    keys/<sha256 of circuit.json>/verifying.key             made by the first of all makers: the key
    keys/<sha256 of circuit.json>/<its sha256>/<part>       the other parts of that key

All shards of a job are proven under one key, so there is one for each circuit: of several workers
that made one, the first that creates verifying.key wins, and the others delete theirs and take
that one. It names the other parts by their digests, which were there before it; who fetches them
compares. A key is never changed here, and is deleted by hand alone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from consensus.content.interface import CHUNK_BYTES, Shared
from consensus.errors import StoreFailed
from kernels.files import replacing, write_whole
from prover.keys.card import MAX_CARD_BYTES
from prover.keys.folder import (
    CARD_NAME,
    MAX_VERIFYING_BYTES,
    PROVING_NAME,
    VERIFYING_NAME,
)
from prover.keys.halves import NO_FILE, VerifyingKey
from prover.progress import StageProgress, silent

_ALL = "keys/"
_KEY_NAME = re.compile(rf"{_ALL}([0-9a-f]{{64}})/{re.escape(VERIFYING_NAME)}", re.ASCII)
_LEFT_AFTER_S = 24 * 3600.0
"""Parts of no key that are older than this were left by a maker that was killed."""


class SharedKeys:
    """Keys by the digest of their card, in hexadecimal digits."""

    def __init__(self, objects: Shared, *, clock: Callable[[], float] = time.time) -> None:
        """objects : public ones"""
        self._objects, self._clock = objects, clock

    def list_circuits(self) -> list[str]:
        """Cards of all keys, in order. Raises OSError."""
        names = (_KEY_NAME.fullmatch(found.name) for found in self._objects.find_all(_ALL))
        return sorted(match[1] for match in names if match)

    def is_here(self, circuit: str, folder: Path) -> bool:
        """Whether the folder holds the circuit's key. Raises OSError."""
        path = folder / VERIFYING_NAME
        if not path.exists():
            return False
        raw = self._read_verifying(circuit)
        return raw is not None and path.read_bytes() == raw

    def fetch(self, circuit: str, folder: Path, report: StageProgress) -> bool:
        """Brings a key into a folder, verifying.key as the last part; False when there is none.

        Raises FormatError, StoreFailed for a part that is not what verifying.key names, OSError.
        """
        return self._fetch(circuit, folder, (CARD_NAME, PROVING_NAME), report)

    def fetch_half(self, circuit: str, folder: Path) -> bool:
        """Fetches what a verifier reads, as `fetch` does."""
        return self._fetch(circuit, folder, (CARD_NAME,), silent)

    def publish(self, circuit: str, folder: Path, report: StageProgress) -> bool:
        """Makes the key of a folder the circuit's; False when another one is. Raises OSError."""
        verifying = (folder / VERIFYING_NAME).read_bytes()
        prefix = _prefix(circuit, verifying)
        for part in sorted(path for path in folder.iterdir() if path.name != VERIFYING_NAME):
            self._objects.write(prefix + part.name, _read_file(part, report))
        if self._objects.create(f"{_ALL}{circuit}/{VERIFYING_NAME}", verifying):
            return True
        if self._read_verifying(circuit) == verifying:  # its answer was lost, and it came again
            return True
        self._objects.delete_all(prefix)
        return False

    def measure(self) -> int:
        """Bytes of all keys. Raises OSError."""
        return self._objects.measure(_ALL)

    def sweep(self) -> int:
        """Deletes parts that makers have left which were killed; of how many keys. OSError."""
        found = list(self._objects.find_all(_ALL))
        newest: dict[str, float] = {}
        for one in found:
            if one.name.count("/") == 3:
                prefix = one.name.rpartition("/")[0] + "/"
                newest[prefix] = max(one.modified_at, newest.get(prefix, 0.0))
        limit = self._clock() - _LEFT_AFTER_S
        left = [p for p, at in newest.items() if at < limit and not self._is_named(p)]
        for prefix in left:
            self._objects.delete_all(prefix)
        return len(left)

    def _is_named(self, prefix: str) -> bool:
        _, circuit, _, _ = prefix.split("/")
        verifying = self._read_verifying(circuit)
        return verifying is not None and _prefix(circuit, verifying) == prefix

    def _read_verifying(self, circuit: str) -> bytes | None:
        name = f"{_ALL}{circuit}/{VERIFYING_NAME}"
        try:
            return self._objects.read_part(name, 0, MAX_VERIFYING_BYTES)[1]
        except FileNotFoundError:
            return None

    def _fetch(
        self, circuit: str, folder: Path, names: tuple[str, ...], report: StageProgress
    ) -> bool:
        raw = self._read_verifying(circuit)
        if raw is None:
            return False
        where = f"{_ALL}{circuit}/{VERIFYING_NAME}"
        key = VerifyingKey.decode(raw, where=where)
        digests = {
            CARD_NAME: key.card_digest,
            PROVING_NAME: key.proving_digest,
        }
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            if digests[name] != NO_FILE:
                source = _prefix(circuit, raw) + name
                self._bring(source, folder / name, digests[name], report)
        write_whole(folder / VERIFYING_NAME, [raw])
        return True

    def _bring(self, name: str, path: Path, digest: bytes, report: StageProgress) -> None:
        found = self._objects.find(name)
        hashed, n_done = sha256(), 0
        if found is None or (path.name == CARD_NAME and found.n_bytes > MAX_CARD_BYTES):
            raise _damaged(name)
        with replacing(path) as file:
            for chunk in self._objects.stream(name):
                report("fetch key", n_done, found.n_bytes)
                n_done += len(chunk)
                hashed.update(chunk)
                file.write(chunk)
            if hashed.digest() != digest:
                raise _damaged(name)
        report("fetch key", n_done, n_done)


def _prefix(circuit: str, verifying: bytes) -> str:
    return f"{_ALL}{circuit}/{sha256(verifying).hexdigest()}/"


def _read_file(path: Path, report: StageProgress) -> Iterator[bytes]:
    n_bytes, n_done = path.stat().st_size, 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            report("publish key", n_done, n_bytes)
            n_done += len(chunk)
            yield chunk
    report("publish key", n_done, n_done)


def _damaged(name: str) -> StoreFailed:
    return StoreFailed(
        name,
        "is not the file that the verifying.key of its circuit names",
        "delete the circuit's folder there, and see who may write to it; workers make a new key",
    )
