"""The folder of a ceremony: what its contributors hand on.

    circuit.json         what the key is for
    ceremony.transcript  who contributed (`prover.ceremony.own.record`)
    first.key            the first key, which follows from the circuit and the powers of tau
    state-N.key          the key after N contributions; only the last is needed
    queue/               of a folder that is served (`api.ceremony.journal`); nobody else's

A new state is written before the transcript that names it, and an old one goes after: whatever
stops a contribution leaves a folder that holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kernels.files import write_together
from prover.ceremony.own.finish import read_transcript
from prover.ceremony.own.state import State, open_state
from prover.errors import FormatError
from prover.keys.card import MAX_CARD_BYTES, Card, KeyCard, UpdateCard
from prover.keys.folder import CARD_NAME, TRANSCRIPT_NAME, require_part
from prover.keys.training_card import ExportCard, StepCard

if TYPE_CHECKING:
    from prover.ceremony.own.record import Transcript

FIRST_NAME = "first.key"
_KINDS: tuple[type[Card], ...] = (KeyCard, UpdateCard, StepCard, ExportCard)


@dataclass(frozen=True, slots=True, kw_only=True)
class CeremonyFolder:
    """A ceremony as it lies on the disk, its states hashed and compared with the transcript."""

    path: Path
    card: Card
    transcript: Transcript
    first: State
    last: State

    @classmethod
    def load(cls, path: Path) -> CeremonyFolder:
        """Raises FormatError for files that are not there, or not what the transcript names."""
        transcript = read_transcript(path / TRANSCRIPT_NAME)
        card = read_card(path / CARD_NAME, transcript.head.circuit_digest)
        for name in (FIRST_NAME, name_state(len(transcript.contributions))):
            require_part(path / name)
        first = open_state(path / FIRST_NAME, transcript.head.first_digest)
        last = first
        if transcript.contributions:
            last = open_state(path / name_state(len(transcript.contributions)), transcript.state)
        return cls(path=path, card=card, transcript=transcript, first=first, last=last)

    @property
    def next_state(self) -> Path:
        """Where the state after one contribution more goes; errors as `_require_no_link` has."""
        return self._require_no_link(name_state(len(self.transcript.contributions) + 1))

    def find_place(self, transcript: Transcript) -> Path:
        """Where the state goes that a transcript of this ceremony ends with; errors likewise."""
        return self._require_no_link(name_state(len(transcript.contributions)))

    def _require_no_link(self, name: str) -> Path:
        """The path of a state to be written.

        Raises FormatError for links in the place of what a contribution writes: the folder comes
        from strangers, and what a link leads to, anywhere on this machine, would be replaced.
        """
        path = self.path / name
        for written in (path, self.path / TRANSCRIPT_NAME):
            if written.is_symlink():
                raise FormatError(
                    "is a link, and a contribution would replace what it leads to",
                    where=str(written),
                    next_step="remove the link, and put the file itself there if there is one",
                )
        return path

    def advance(self, transcript: Transcript) -> None:
        """Writes the transcript behind a contribution whose state is there, and drops the last."""
        advance_together([(self, transcript)])


def advance_together(steps: Sequence[tuple[CeremonyFolder, Transcript]]) -> None:
    """Writes the transcripts behind contributions whose states are there, none before all are on
    the disk, and drops the last states. Raises OSError.
    """
    write_together([(old.path / TRANSCRIPT_NAME, new.encode()) for old, new in steps])
    for old, _ in steps:
        if old.last is not old.first:
            old.last.path.unlink(missing_ok=True)


def name_state(n_contributions: int) -> str:
    """The file of the state behind so many contributions."""
    return f"state-{n_contributions}.key" if n_contributions else FIRST_NAME


def read_card(path: Path, circuit_digest: bytes) -> Card:
    """The card of a ceremony. Raises FormatError, also for another circuit's; OSError."""
    require_part(path)
    with path.open("rb") as file:
        raw = file.read(MAX_CARD_BYTES + 1)
    named = (kind for kind in _KINDS if f'"{kind.FIELD}":'.encode("ascii") in raw)
    card = next(named, KeyCard).decode(raw, where=str(path))
    if card.circuit_digest != circuit_digest:
        raise FormatError(
            "is the card of another circuit than the transcript's",
            where=str(path),
            next_step="get it again from those who run the ceremony",
        )
    return card
