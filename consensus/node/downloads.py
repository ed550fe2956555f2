"""Blobs that are lacked: asked for part by part, of one validator after the other.

All parts of a blob come from one validator, by its signature, and the whole has the digest that was
asked for, or nothing of it is taken: then another one is asked. At least f + 1 correct validators
keep each blob of a final block, so in the end one of them answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from consensus.node.repetition import Repetition
from consensus.wire.gossip_messages import MAX_BLOB_BYTES, PART_BYTES, BlobPart, BlobRequest

MAX_DOWNLOADS = 8
"""At a time."""
PATIENCE_S = 0.25
"""For the first validator that is asked."""
MAX_BYTES = MAX_BLOB_BYTES
"""Of one, and of all that are under way, beside a part."""


@dataclass(slots=True)
class Download:
    """One blob. again : when the next validator is asked, unless a part comes before"""

    again: Repetition
    asked: int = -1
    parts: list[bytes] = field(default_factory=list)
    size: int = 0


class Downloads:
    """What one node lacks, and how much of it has come.

    MAX_DOWNLOADS are under way; one that nobody answers makes room for the next that waits, so that
    a blob which is nowhere holds up no other.
    """

    def __init__(
        self,
        n_validators: int,
        own: int | None,
        get_limit: Callable[[bytes], int] = lambda digest: MAX_BYTES,
    ) -> None:
        """own    : the validator that this is, which is not asked
        get_limit : the most bytes that a blob of a digest may have
        """
        self._get_limit = get_limit
        self._validators = [i for i in range(n_validators) if i != own]
        self._under_way: dict[bytes, Download] = {}
        self._waiting: dict[bytes, None] = {}
        self._n_asked = 0

    @property
    def is_idle(self) -> bool:
        """Nothing is lacked, as far as was told."""
        return not self._under_way

    def want(self, digests: Iterable[bytes], now: float) -> list[BlobRequest]:
        """What to ask for, given all that is lacked now."""
        wanted = dict.fromkeys(digests) if self._validators else {}
        self._under_way = {d: x for d, x in self._under_way.items() if d in wanted}
        self._waiting = {d: None for d in self._waiting if d in wanted}
        self._waiting |= {d: None for d in wanted if d not in self._under_way}
        due = [d for d, x in self._under_way.items() if x.again.due_at <= now]
        for digest in due:
            if self._waiting and not self._under_way[digest].parts:
                del self._under_way[digest]
                self._waiting[digest] = None
        while self._waiting and len(self._under_way) < MAX_DOWNLOADS:
            digest = next(iter(self._waiting))
            del self._waiting[digest]
            self._under_way[digest] = Download(Repetition(now, first_pause_s=PATIENCE_S))
        requests = []
        for digest, download in self._under_way.items():
            if download.again.take_turn(now):
                self._ask_another(download)
                requests.append(_request(digest, download))
        return requests

    def hurry(self, now: float) -> None:
        """Asks for what is lacked soon, and then with short pauses: somebody has it by now.

        Not at once: an answer may be on its way, and counts only while nobody else is asked.
        """
        soon = now + PATIENCE_S
        for download in self._under_way.values():
            if not download.parts and download.again.due_at > soon:
                download.again.begin_again(soon)

    def take(self, part: BlobPart, now: float) -> tuple[BlobRequest | None, bytes | None]:
        """The next request, or the blob when this was its last part; neither: it was of no use.

        part : signed by the validator that it names
        """
        download = self._under_way.get(part.digest)
        if download is None or (part.validator, part.part) != (
            download.asked,
            len(download.parts),
        ):
            return None, None
        if not download.parts:
            download.size = part.size
        is_long = part.size > self._get_limit(part.digest)
        if is_long or part.size != download.size or not self._has_room():
            return self._give_up(part.digest, download)
        download.parts.append(part.data)
        if len(download.parts) * PART_BYTES < download.size:
            download.again.begin_again(now + PATIENCE_S)
            return _request(part.digest, download), None
        raw = b"".join(download.parts)
        if hashlib.sha256(raw).digest() != part.digest:
            return self._give_up(part.digest, download)
        del self._under_way[part.digest]
        return None, raw

    def _has_room(self) -> bool:
        """A validator may claim any size; what has come is bounded, whoever sends it."""
        return sum(len(part) for d in self._under_way.values() for part in d.parts) <= MAX_BYTES

    def _give_up(self, digest: bytes, download: Download) -> tuple[BlobRequest, None]:
        self._ask_another(download)
        return _request(digest, download), None

    def _ask_another(self, download: Download) -> None:
        """Each in turn."""
        self._n_asked += 1
        download.asked = self._validators[self._n_asked % len(self._validators)]
        download.size = 0
        download.parts.clear()


def _request(digest: bytes, download: Download) -> BlobRequest:
    return BlobRequest(digest=digest, part=len(download.parts), validator=download.asked)
