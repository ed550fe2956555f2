"""Ceremonies are begun, gone on with and ended, all parts of a folder alike (`parts`).

What comes back says of each part, in JSON types, what its transcript says.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.console.ceremony.first_key import list_first, make_first_key
from api.console.ceremony.folder import FIRST_NAME, CeremonyFolder
from api.console.ceremony.holding import holding
from api.console.ceremony.parts import list_parts, name_stages, require_one_recipe
from api.console.files import Filling, filling
from kernels.files import write_whole
from prover.ceremony.own.check import require_contributors, require_secret
from prover.ceremony.own.contribute import Origin, contribute
from prover.ceremony.own.finish import make_verifying
from prover.ceremony.own.record import Transcript
from prover.keys.folder import CARD_NAME, PROVING_NAME, TRANSCRIPT_NAME, VERIFYING_NAME

if TYPE_CHECKING:
    from api.console.ceremony.choosing import Choice
    from kernels.backend import Backend
    from prover.progress import StageProgress

Facts = dict[str, dict[str, Any]]
"""By the part's name."""


def begin(
    choices: Sequence[Choice], ptau: Path, out: Path, device: Backend, progress: StageProgress
) -> Facts:
    """The first keys, in their folders; after an error none. Raises ProverError, OSError."""
    found: Facts = {}
    with ExitStack() as stack:
        stack.enter_context(filling(out))
        for choice in choices:
            files = stack.enter_context(filling(out / choice.name))
            stages = name_stages(choice.name, progress)
            found[choice.name] = _begin_one(choice, ptau, files, device, stages)
    return found


def _begin_one(
    choice: Choice, ptau: Path, files: Filling, device: Backend, progress: StageProgress
) -> dict[str, Any]:
    progress("circuit", 0, 1)
    card, r1cs = choice.compile_it()
    progress("circuit", 1, 1)
    head, first = make_first_key(r1cs, card, ptau, device, progress)
    transcript = Transcript(head=head, contributions=())
    files.add_public(CARD_NAME, card.encode())
    write_whole(files.claim(FIRST_NAME), list_first(first))
    files.add_public(TRANSCRIPT_NAME, transcript.encode())
    return describe(transcript) | {
        "architecture": card.architecture.name,
        card.FIELD: card.to_field(),
        "rows": r1cs.n_rows,
        "domain": first.counts.domain,
    }


def contribute_to(folder: Path, origin: Origin, device: Backend, progress: StageProgress) -> Facts:
    """A contribution to each part, one after the other: what stops the second leaves the first.

    Raises ProverError, OSError.
    """
    found: Facts = {}
    with ExitStack() as stack:
        for path in list_parts(folder).values():
            stack.enter_context(holding(path))
        for name, ceremony in _load(folder).items():
            stages = name_stages(name, progress)
            after = go_on(ceremony, origin, ceremony.next_state, device, stages)
            ceremony.advance(after)
            found[name] = describe(after)
    return found


def finish(
    folder: Path, out: Path, origin: Origin, device: Backend, progress: StageProgress
) -> Facts:
    """The keys, in their folders; after an error none. Raises ProverError, OSError."""
    ceremonies, found = _load(folder), dict[str, dict[str, Any]]()
    for ceremony in ceremonies.values():
        require_contributors(ceremony.transcript)
    with ExitStack() as stack:
        stack.enter_context(filling(out))
        for name, ceremony in ceremonies.items():
            files = stack.enter_context(filling(out / name))
            found[name] = _finish_one(ceremony, origin, files, device, name_stages(name, progress))
    return found


def _finish_one(
    ceremony: CeremonyFolder,
    origin: Origin,
    files: Filling,
    device: Backend,
    progress: StageProgress,
) -> dict[str, Any]:
    after = go_on(ceremony, origin, files.claim(PROVING_NAME), device, progress)
    require_secret(after.anchors)
    key = make_verifying(after, ceremony.card.digest)
    files.add_public(CARD_NAME, ceremony.card.encode())
    files.add_public(TRANSCRIPT_NAME, after.encode())
    files.add_public(VERIFYING_NAME, key.encode())
    return describe(after) | {"key_digest": key.digest.hex()}


def go_on(
    ceremony: CeremonyFolder, origin: Origin, out: Path, device: Backend, progress: StageProgress
) -> Transcript:
    """Verifies what is there, and writes the state after a contribution to `out`."""
    return contribute(
        ceremony.first,
        ceremony.last,
        ceremony.transcript,
        origin,
        out,
        random_bytes=secrets.token_bytes,
        backend=device,
        progress=progress,
    )


def describe(transcript: Transcript) -> dict[str, Any]:
    """What a transcript says, in JSON types."""
    return {
        "circuit_digest": transcript.head.circuit_digest.hex(),
        "transcript_digest": transcript.digest.hex(),
        "places": [place.hex() for place in transcript.list_places()],
        "contributions": [
            {"name": one.change.label, "beacon": one.change.beacon.hex() or None}
            for one in transcript.contributions
        ],
    }


def _load(folder: Path) -> dict[str, CeremonyFolder]:
    """The ceremonies of a folder. Raises KeyMismatch for parts of two recipes."""
    found = {name: CeremonyFolder.load(part) for name, part in list_parts(folder).items()}
    require_one_recipe({name: ceremony.card for name, ceremony in found.items()})
    return found
