"""A ceremony as it is served: its files by name, and what everybody may know of it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from api.console.ceremony.folder import FIRST_NAME, CeremonyFolder, name_state
from prover.keys.folder import CARD_NAME, TRANSCRIPT_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedFile:
    """A file for everybody; n_bytes and digest (sha256, hexadecimal) as the ceremony names it."""

    path: Path
    n_bytes: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """A folder that was read, hashed and compared with its transcript.

    places : hexadecimal, from place 0 on
    state_bytes : of every state, so of every upload
    """

    ceremony: CeremonyFolder
    files: dict[str, ServedFile]
    places: tuple[str, ...]
    state_bytes: int

    @classmethod
    def load(cls, folder: Path) -> Shelf:
        """Raises FormatError, OSError."""
        ceremony = CeremonyFolder.load(folder)
        transcript = ceremony.transcript
        digests = {
            CARD_NAME: sha256(ceremony.card.encode()).hexdigest(),
            TRANSCRIPT_NAME: transcript.digest.hex(),
            FIRST_NAME: ceremony.first.digest.hex(),
            name_state(len(transcript.contributions)): ceremony.last.digest.hex(),
        }
        files = {
            name: ServedFile(path=path, n_bytes=path.stat().st_size, digest=digest)
            for name, digest in digests.items()
            for path in [folder / name]
        }
        return cls(
            ceremony=ceremony,
            files=files,
            places=tuple(place.hex() for place in transcript.list_places()),
            state_bytes=files[FIRST_NAME].n_bytes,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Who contributed, in their own words."""
        return tuple(one.change.label for one in self.ceremony.transcript.contributions)

    def find_behind(self, place: str, record: bytes) -> str | None:
        """The place behind this contribution, if it is the one behind this place.

        Others may have contributed since, by file, while nobody served.
        """
        for one, before, behind in zip(
            self.ceremony.transcript.contributions, self.places, self.places[1:], strict=False
        ):
            if before == place:
                return behind if one.encode() == record else None
        return None
