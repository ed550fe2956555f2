"""Circuits that a key exists for here: their cards and verifying halves, by digest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from api.http.problems import ApiProblem
from api.http.schemas import Circuit, CircuitList
from api.http.service_refusals import refusing_callers
from api.http.views import view_circuit
from api.store.keyfolder import load_half_of_any
from api.store.keyshelf import KeyShelf
from prover.errors import FormatError, KeyMismatch
from prover.keys.card import Card
from prover.keys.folder import CARD_NAME, VERIFYING_NAME
from prover.keys.halves import VerifyingKey

REMEMBERED = 4096
"""Halves whose digest and card are kept in memory."""
DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
C = TypeVar("C", bound=Card)
Served = tuple[str, bytes, Card]
"""Digest of the card, digest of the key, and the card."""


class Circuits:
    """Of the keys of one shelf, those that are whole."""

    def __init__(self, keys: KeyShelf) -> None:
        """keys : a folder for each key, by the digest of its card"""
        self._keys = keys
        self._load_half = lru_cache(REMEMBERED)(self._load_half_now)

    def list_all(self) -> Iterator[Served]:
        """ApiProblem unavailable."""
        with refusing_callers():
            digests = self._keys.list_circuits()
        for digest in digests:
            try:
                key_digest, card = self._view_half(self._keys.find(digest))
            except (FormatError, KeyMismatch, OSError):
                continue  # half made, or by another version
            yield digest, key_digest, card

    def list_of(self, kind: type[C]) -> Iterator[tuple[str, bytes, C]]:
        """Likewise, of cards of one kind."""
        for digest, key_digest, card in self.list_all():
            if isinstance(card, kind):
                yield digest, key_digest, card

    def describe(self) -> CircuitList:
        """All of them, as callers see them."""
        return CircuitList(circuits=[view_circuit(*found) for found in self.list_all()])

    def find_by_key(self, key_digest: str) -> tuple[Circuit, Card] | None:
        """The circuit whose verifying key a statement names."""
        found = (one for one in self.list_all() if one[1].hex() == key_digest)
        return next(((view_circuit(*one), one[2]) for one in found), None)

    def get_file(self, digest: str, name: str) -> bytes:
        """`verifying.key` or `circuit.json`, all that a verifier reads. ApiProblem not_found."""
        if not DIGEST.fullmatch(digest) or name not in (VERIFYING_NAME, CARD_NAME):
            raise ApiProblem("not_found", "no circuit here has this digest")
        key, card = load_circuit(self._keys, digest)
        return card.encode() if name == CARD_NAME else key.encode()

    def _view_half(self, folder: Path) -> tuple[bytes, Card]:
        """Digest of a verifying key, and its card; read again only when a file of them changes.

        Raises FormatError, KeyMismatch, OSError.
        """
        stats = [(folder / name).stat() for name in (VERIFYING_NAME, CARD_NAME)]
        return self._load_half(folder, tuple((s.st_ino, s.st_size, s.st_mtime_ns) for s in stats))

    def _load_half_now(self, folder: Path, _: object) -> tuple[bytes, Card]:
        key, card = load_half_of_any(folder)
        return key.digest, card


def load_circuit(keys: KeyShelf, circuit: str) -> tuple[VerifyingKey, Card]:
    """The verifying half of a key by its card. ApiProblem not_found, unavailable.

    One that was altered, or is half made, is none.
    """
    with refusing_callers(), suppress(FormatError, KeyMismatch):
        return load_half_of_any(keys.find(circuit))
    raise ApiProblem("not_found", "no circuit here has this digest")
