"""Verifies a ceremony's folder, or the folder of a key that one ended in."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from api.console.ceremony.choosing import compile_card
from api.console.ceremony.first_key import list_first, make_first_key
from api.console.ceremony.folder import FIRST_NAME, CeremonyFolder, read_card
from api.console.ceremony.parts import list_parts, name_stages, require_one_recipe
from kernels.files import write_whole
from prover.ceremony.own.check import require_chain, require_state
from prover.ceremony.own.finish import require_ceremony
from prover.ceremony.own.record import Head, Transcript
from prover.ceremony.own.state import State, open_state
from prover.errors import CeremonyInvalid
from prover.keys.folder import CARD_NAME, PROVING_NAME, VERIFYING_NAME, load_verifying_key
from prover.wire.records import encode_fields

if TYPE_CHECKING:
    from kernels.backend import Backend
    from prover.keys.card import Card
    from prover.keys.halves import VerifyingKey
    from prover.progress import StageProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was verified; left_out: what was not, in words."""

    transcript: Transcript
    card: Card
    key: VerifyingKey | None
    left_out: tuple[str, ...]


def verify_parts(
    folder: Path,
    ptau: Path | None,
    device: Backend,
    progress: StageProgress,
    *,
    exponent_limit: int,
    with_history: bool,
) -> dict[str, Found]:
    """What each part of a folder is, all of which hold and belong together (`parts`).

    ptau : None leaves out whether the first keys are the circuits', under these powers
    Raises CeremonyInvalid, KeyMismatch, FormatError, OSError for the first thing that is wrong.
    """
    found: dict[str, Found] = {}
    told: set[bytes] = set()
    for name, part in list_parts(folder).items():
        found[name] = _verify_one(
            part,
            ptau,
            device,
            name_stages(name, progress),
            exponent_limit=exponent_limit,
            with_history=with_history,
            told=told,
        )
    require_one_recipe({name: one.card for name, one in found.items()})
    return found


def _verify_one(
    folder: Path,
    ptau: Path | None,
    device: Backend,
    progress: StageProgress,
    *,
    exponent_limit: int,
    with_history: bool,
    told: set[bytes],
) -> Found:
    """One part. told : names of powers whose history holds, which grow; it is hashed once."""
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
    name = _name_powers(transcript.head)
    limit = exponent_limit if with_history and name not in told else None
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
    if limit is not None and ptau is not None:
        told.add(name)
    return Found(
        transcript=transcript,
        card=card,
        key=key,
        left_out=tuple(_list_left_out(key, ptau, with_history)),
    )


def _name_powers(head: Head) -> bytes:
    """What determines all powers that a first key was made of, once they are tested."""
    return encode_fields(
        [head.alpha.data.tobytes(), head.tau.data.tobytes(), head.beta.data.tobytes()]
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
