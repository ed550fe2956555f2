"""Verifies a ceremony's folder, or the folder of a key that one ended in."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from api.console.ceremony.first_key import compile_card, list_first, make_first_key
from api.console.ceremony.folder import FIRST_NAME, CeremonyFolder, read_card
from kernels.files import write_whole
from prover.ceremony.own.check import require_chain, require_state
from prover.ceremony.own.finish import require_ceremony
from prover.ceremony.own.record import Transcript
from prover.ceremony.own.state import State, open_state
from prover.errors import CeremonyInvalid
from prover.keys.folder import CARD_NAME, PROVING_NAME, VERIFYING_NAME, load_verifying_key

if TYPE_CHECKING:
    from kernels.backend import Backend
    from prover.keys.card import Card
    from prover.keys.halves import VerifyingKey
    from prover.progress import StageProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was verified; left_out: what was not, in words."""

    transcript: Transcript
    key: VerifyingKey | None
    left_out: tuple[str, ...]


def verify_folder(
    folder: Path,
    ptau: Path | None,
    device: Backend,
    progress: StageProgress,
    *,
    exponent_limit: int,
    with_history: bool,
) -> Found:
    """Raises CeremonyInvalid, KeyMismatch, FormatError, OSError for the first thing that is wrong.

    ptau : None leaves out whether the first key is the circuit's, under these powers
    """
    key, last = None, None
    if (folder / VERIFYING_NAME).exists():
        key = load_verifying_key(folder)
        transcript = require_ceremony(folder, key, device, exponent_limit=exponent_limit)
        card = read_card(folder / CARD_NAME, transcript.head.circuit_digest)
        card.require_key(key)
        if ptau is not None:
            last = open_state(folder / PROVING_NAME, transcript.state)
        first = None
    else:
        ceremony = CeremonyFolder.load(folder)
        transcript, card = ceremony.transcript, ceremony.card
        require_chain(transcript, device, exponent_limit=exponent_limit, progress=progress)
        first, last = ceremony.first, ceremony.last
    limit = exponent_limit if with_history else None
    with _first_key(transcript, card, ptau, first, device, progress, limit) as start:
        if start is not None and last is not None:
            require_state(
                start,
                last,
                transcript,
                random_bytes=secrets.token_bytes,
                backend=device,
                progress=progress,
            )
    return Found(
        transcript=transcript, key=key, left_out=tuple(_list_left_out(key, ptau, with_history))
    )


@contextmanager
def _first_key(
    transcript: Transcript,
    card: Card,
    ptau: Path | None,
    first: State | None,
    device: Backend,
    progress: StageProgress,
    exponent_limit: int | None,
) -> Iterator[State | None]:
    """The first state: made again from the powers, or what there is."""
    if ptau is None:
        yield first
        return
    head, made = make_first_key(
        compile_card(card), card, ptau, device, progress, exponent_limit=exponent_limit
    )
    if head.encode() != transcript.head.encode():
        raise CeremonyInvalid("the first key is of another circuit, or of other powers of tau")
    if first is not None:
        yield first  # its digest is that of the head
        return
    with TemporaryDirectory(prefix="zkpot-ceremony-") as scratch:
        path = Path(scratch) / FIRST_NAME
        write_whole(path, list_first(made))
        del made
        yield open_state(path)


def _list_left_out(
    key: VerifyingKey | None, ptau: Path | None, with_history: bool
) -> Iterator[str]:
    if ptau is None:
        yield "that the first key is the circuit's (give --ptau)"
        if key is not None:
            yield "the points of the proving half (give --ptau)"
    elif not with_history:
        yield "who contributed to the powers of tau"
