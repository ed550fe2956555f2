"""API keys: who calls, and what the caller may do.

A key is 32 random bytes, shown once. The file of keys holds digests only, one JSON object a line:

    {"name": "alice", "sha256": "…64 hex digits…", "scopes": ["jobs", "verify"]}

A presented key is hashed and compared with every digest in constant time, so neither a prefix nor
the number of keys shows in the time of an answer. Without a file there is one caller, `local`, with
every scope; `zkpot api` then listens on the loopback interface only.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from api.errors import KeyFileError

KEY_PREFIX = "zkpot_"
MAX_LINE_BYTES = 1024
KEY_BYTES = 32
MAX_KEY_CHARACTERS = 128
MAX_FILE_BYTES = 1 << 20
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}", re.ASCII)


class Scope(StrEnum):
    """What a key may do. `admin` includes the others, over everybody's jobs."""

    READ = "read"  # own jobs, proofs, circuits, queue and workers
    JOBS = "jobs"  # upload models and data, submit and cancel jobs
    VERIFY = "verify"
    CONTRIBUTE = "contribute"  # to a ceremony that is served
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request. `name` owns what the caller uploads."""

    name: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def may_see(self, owner: str) -> bool:
        """Whether a thing of `owner` exists for this caller."""
        return owner == self.name or Scope.ADMIN in self.scopes


LOCAL = Caller(name="local", scopes=frozenset(Scope))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """A line of the file."""

    digest: bytes
    caller: Caller


class KeyRing:
    """The keys that are accepted; empty means that everyone is `LOCAL`."""

    def __init__(self, entries: Sequence[KeyEntry] = ()) -> None:
        self._entries = tuple(entries)

    @property
    def is_open(self) -> bool:
        """No key is asked for."""
        return not self._entries

    @classmethod
    def load(cls, path: Path | None) -> KeyRing:
        """Raises KeyFileError for a malformed or empty file, OSError as `open` does."""
        if path is None:
            return cls()
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            raise KeyFileError(f"{path.name} is longer than {MAX_FILE_BYTES} bytes")
        entries = [
            _parse_line(line, f"{path.name}, line {number}")
            for number, line in enumerate(raw.splitlines(), start=1)
            if line.strip()
        ]
        if not entries:
            raise KeyFileError(f"{path.name} holds no key; add one with `zkpot api-key`")
        return cls(entries)

    def identify(self, authorization: str | None) -> Caller | None:
        """The caller of `Authorization: Bearer KEY`; None when no such key is accepted."""
        if self.is_open:
            return LOCAL
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or len(key) > MAX_KEY_CHARACTERS:
            return None
        digest = _digest(key.strip())
        found: Caller | None = None
        for entry in self._entries:  # all of them, whichever fits
            if hmac.compare_digest(entry.digest, digest):
                found = entry.caller
        return found


def make_key(
    name: str, scopes: Sequence[Scope], random_bytes: Callable[[int], bytes]
) -> tuple[str, str]:
    """A new key, and its line for the file. Raises KeyFileError for a bad name or no scope."""
    if not _NAME.fullmatch(name) or not scopes:
        raise KeyFileError(
            "a key has a name of a-z, 0-9, _ . - (at most 32) and at least one scope"
        )
    key = KEY_PREFIX + random_bytes(KEY_BYTES).hex()
    line = {"name": name, "sha256": _digest(key).hex(), "scopes": sorted(set(scopes))}
    return key, json.dumps(line)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _parse_line(line: bytes, where: str) -> KeyEntry:
    try:
        if len(line) > MAX_LINE_BYTES:  # before a parser that recurses sees it
            raise ValueError("a line too long")
        value = json.loads(line)
        name, digest, scopes = value["name"], value["sha256"], value["scopes"]
        is_named = _NAME.fullmatch(name) is not None
        entry = KeyEntry(
            digest=bytes.fromhex(digest),
            caller=Caller(name=name, scopes=frozenset(map(Scope, scopes))),
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        raise KeyFileError(f"{where} is not {{name, sha256, scopes}}") from None
    if len(entry.digest) != 32 or not entry.caller.scopes or not is_named:
        raise KeyFileError(f"{where}: a digest of 32 bytes, a plain name and a scope are needed")
    return entry
