"""Takes what a contributor returns into the folder of who collects contributions."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from api.console.ceremony.folder import CeremonyFolder, advance_together, name_state
from api.console.ceremony.holding import holding
from api.console.ceremony.parts import list_parts, name_stages, require_places
from kernels.files import write_whole
from prover.ceremony.own.check import require_chain, require_state
from prover.ceremony.own.finish import read_transcript
from prover.ceremony.own.state import open_state
from prover.errors import CeremonyInvalid, FormatError
from prover.keys.folder import TRANSCRIPT_NAME, require_part

if TYPE_CHECKING:
    from kernels.backend import Backend
    from prover.ceremony.own.record import Transcript
    from prover.progress import StageProgress

_CHUNK = 1 << 22


def accept_parts(
    into: Path,
    returned: Path,
    device: Backend,
    progress: StageProgress,
    *,
    places: Collection[bytes] = (),
) -> dict[str, tuple[Transcript, Transcript]]:
    """What a ceremony was and what it is now, by its parts: of training two, which go on together.

    returned : a stranger's folder, of which transcript and last state are read; circuit and first
               key are the ceremony's own, which both are verified against
    places   : that the contributor published, as far as they are known
    raises   : CeremonyInvalid, FormatError for the first thing that is wrong, OSError; then every
               part goes on as it did before. Killed between the two, it is run again: a step that
               was taken already is left as it is, if the export goes on
    cost     : a copy of each state, and `require_state`
    """
    with ExitStack() as stack:
        for path in list_parts(into).values():
            stack.enter_context(holding(path))
        return _take(into, returned, device, progress, places)


def _take(
    into: Path,
    returned: Path,
    device: Backend,
    progress: StageProgress,
    places: Collection[bytes],
) -> dict[str, tuple[Transcript, Transcript]]:
    parts = {name: CeremonyFolder.load(path) for name, path in list_parts(into).items()}
    theirs = {name: returned / name if name else returned for name in parts}
    after = {name: read_transcript(theirs[name] / TRANSCRIPT_NAME) for name in parts}
    missing = _list_missing(parts, after)
    for name in missing:
        _require_behind(parts[name].transcript, after[name])
    require_places(after.values(), places)
    taken: list[Path] = []
    try:
        for name in missing:
            ceremony = parts[name]
            report = name_stages(name, progress)
            require_chain(after[name], device, progress=report)
            taken.append(ceremony.find_place(after[name]))
            _take_state(ceremony, theirs[name], after[name], device, report)
    except BaseException:
        for path in taken:
            path.unlink(missing_ok=True)
        raise
    # From here on a transcript may name what was taken: states stay, whatever happens.
    advance_together([(parts[name], after[name]) for name in missing])
    return {name: (ceremony.transcript, after[name]) for name, ceremony in parts.items()}


def _list_missing(
    parts: Mapping[str, CeremonyFolder], after: Mapping[str, Transcript]
) -> Sequence[str]:
    """The parts that go on: all of them, without those at the beginning that are here already.

    The last one has to go on: who contributed to the step alone has not finished.
    """
    names = [*parts]
    while len(names) > 1 and after[names[0]].digest == parts[names[0]].transcript.digest:
        del names[0]
    return names


def _take_state(
    ceremony: CeremonyFolder,
    returned: Path,
    after: Transcript,
    device: Backend,
    progress: StageProgress,
) -> None:
    """Copies the last state into the folder, and verifies it there."""
    out = ceremony.find_place(after)
    source = returned / name_state(len(after.contributions))
    write_whole(out, _read(source, ceremony.first.path.stat().st_size))
    require_state(
        ceremony.first,
        open_state(out, after.state),  # the copy: what was returned may change meanwhile
        after,
        random_bytes=secrets.token_bytes,
        backend=device,
        progress=progress,
    )


def _require_behind(before: Transcript, after: Transcript) -> None:
    """CeremonyInvalid unless somebody contributed, and no beacon, right behind `before`."""
    n = len(before.contributions)
    if [*after.list_places()][: n + 1] != [*before.list_places()]:
        raise CeremonyInvalid(
            "what was returned does not go on from the last place here: it is of another ceremony, "
            "or somebody else contributed behind the same place before"
        )
    added = after.contributions[n:]
    if not added:
        raise CeremonyInvalid("what was returned has no contribution that is not here")
    if any(one.change.beacon for one in added):
        raise CeremonyInvalid("shares of a beacon are for who ends the ceremony (`finish`)")


def _read(path: Path, size: int) -> Iterator[bytes]:
    """The bytes of a state, all of which are as long as the first one of their ceremony.

    Raises FormatError for a file of another length.
    """
    require_part(path)
    with path.open("rb") as file:
        left = size + 1
        while left and (chunk := file.read(min(_CHUNK, left))):
            left -= len(chunk)
            yield chunk
    if left != 1:
        raise FormatError(
            f"it has not the {size} bytes of the ceremony's first key",
            where=str(path),
            next_step="get it again from who contributed",
        )
