"""Whether what somebody uploaded is the next contribution to a ceremony: the server's own check.

It is the one that every contributor repeats, and everybody may (`zkpot ceremony verify`): a server
that left it out would hand on a ceremony that the next contributor refuses.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from api.console.ceremony.folder import CeremonyFolder
from kernels.backend import Backend
from prover.ceremony.own.check import require_chain, require_state
from prover.ceremony.own.record import Contribution, Transcript
from prover.ceremony.own.state import open_state
from prover.errors import CeremonyInvalid

MAX_RECORD_BYTES = 1 << 16


def require_next(
    ceremony: CeremonyFolder, name: str, record: bytes, state: Path, backend: Backend
) -> Transcript:
    """The transcript behind a contribution that holds, of this name, with the state after it.

    record : `Contribution.encode()`
    raises : CeremonyInvalid, FormatError, FieldInvalid for the first thing that is wrong; OSError
    cost   : as that of `require_state`; some 10 ms for each contribution before
    """
    one = Contribution.parse(record)
    if one.change.beacon:
        raise CeremonyInvalid("shares of a beacon are the organiser's, who ends the ceremony")
    if one.change.label != name:
        raise CeremonyInvalid("the contribution has another name than the ticket")
    after = ceremony.transcript.behind(one)
    require_chain(after, backend)
    require_state(
        ceremony.first,
        open_state(state, after.state),
        after,
        random_bytes=secrets.token_bytes,
        backend=backend,
    )
    return after
