"""The queue of a ceremony on the disk, with what its contributors upload. Survives whatever ends
the process.

    ceremony/queue/queue.json         tickets and their stages; digests of tokens, no addresses
    ceremony/queue/upload-ID.part     the state that is being uploaded, as far as it came
    ceremony/queue/upload-ID.record   the contribution that belongs to it, once all is there

How far an upload came is the length of its file, whose bytes are on the disk before a client is
told so.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from api.ceremony.queue import Limits, Queue, Stage, Ticket
from api.http.problems import ApiProblem
from kernels.files import PRIVATE, write_whole
from prover.errors import FormatError

FOLDER = "queue"
VERSION = 1
MAX_BYTES = 1 << 22
_NAME = "queue.json"
_FIELDS = ("id", "token_sha256", "name", "stage", "behind", "detail")
_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)


class Journal:
    """The folder `queue` of a ceremony."""

    def __init__(self, ceremony: Path) -> None:
        """Raises FormatError for links in the place of what is written, OSError.

        The folder may have come from strangers, with tickets of theirs: what they hand in would
        replace whatever a link leads to.
        """
        self._folder = ceremony / FOLDER
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for path in (self._folder, *self._folder.iterdir()):
            if path.is_symlink():
                raise FormatError(
                    "is a link, and what it leads to would be replaced",
                    where=str(path),
                    next_step="remove the link",
                )

    # -- tickets -----------------------------------------------------------------------------------

    def load(self, limits: Limits, now: float) -> Queue:
        """The queue as it was saved: for all that waits or works time begins anew.

        Raises FormatError, OSError.
        """
        path = self._folder / _NAME
        if not path.exists():
            return Queue(limits)
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        try:
            if len(raw) > MAX_BYTES:
                raise ValueError("too long")
            value = json.loads(raw)
            if value["version"] != VERSION:
                raise ValueError("another version")
            tickets = [_read_ticket(one, now) for one in value["tickets"]]
            return Queue(limits, tickets, [float(s) for s in value["spans"]])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise FormatError(
                f"it is no queue of version {VERSION}",
                where=str(path),
                next_step="delete it: who waits joins again, and nothing accepted is lost",
            ) from None

    def save(self, queue: Queue) -> None:
        """Returns when it is on the disk. Raises OSError."""
        value = {
            "version": VERSION,
            "tickets": [_write_ticket(one) for one in queue.tickets],
            "spans": [round(span, 3) for span in queue.spans],
        }
        raw = json.dumps(value, sort_keys=True, indent=1).encode("ascii") + b"\n"
        write_whole(self._folder / _NAME, [raw], mode=PRIVATE)

    # -- uploads -----------------------------------------------------------------------------------

    def part(self, ticket_id: str) -> Path:
        """The file of what was uploaded."""
        return self._folder / f"upload-{ticket_id}.part"

    def record(self, ticket_id: str) -> Path:
        """The file of the contribution."""
        return self._folder / f"upload-{ticket_id}.record"

    def measure(self, ticket_id: str) -> int:
        """Bytes that were uploaded."""
        try:
            return self.part(ticket_id).stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, ticket_id: str, offset: int, chunk: bytes) -> int:
        """Where the upload goes on behind a chunk, which is on the disk then.

        raises : ApiProblem `offset_mismatch` when it does not begin where the upload ends; OSError,
                 and then any part of the chunk may have been written: ask `measure`
        """
        descriptor = os.open(
            self.part(ticket_id), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666
        )
        with open(descriptor, "ab", buffering=0) as file:
            size = os.fstat(descriptor).st_size
            if size != offset:
                raise ApiProblem("offset_mismatch", f"it goes on at {size}")
            left = memoryview(chunk)
            while left:
                left = left[file.write(left) :]
            os.fsync(descriptor)
        return offset + len(chunk)

    def drop_upload(self, ticket_id: str) -> None:
        """Deletes both files."""
        for path in (self.part(ticket_id), self.record(ticket_id)):
            path.unlink(missing_ok=True)

    def sweep(self, kept: Iterable[str]) -> None:
        """Deletes uploads of all tickets but these."""
        names = {path.name for one in kept for path in (self.part(one), self.record(one))}
        for path in self._folder.glob("upload-*"):
            if path.name not in names:
                with suppress(OSError):
                    path.unlink()


def _write_ticket(one: Ticket) -> dict[str, str]:
    return {
        "id": one.id,
        "token_sha256": one.token_digest.hex(),
        "name": one.name,
        "stage": one.stage.value,
        "behind": one.behind,
        "detail": one.detail,
    }


def _read_ticket(value: dict[str, Any], now: float) -> Ticket:
    """Raises ValueError, TypeError, KeyError."""
    found = {name: value[name] for name in _FIELDS}
    if not all(isinstance(one, str) for one in found.values()) or not _ID.fullmatch(found["id"]):
        raise ValueError("no ticket")
    return Ticket(
        id=found["id"],
        token_digest=bytes.fromhex(found["token_sha256"]),
        name=found["name"],
        stage=Stage(found["stage"]),
        behind=found["behind"],
        detail=found["detail"],
        seen_at=now,
        turn_at=now,
        moved_at=now,
    )
