"""`--require-ceremony`: keys of one party are refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from prover.keys.halves import VerifyingKey
    from prover.keys.training_folder import TrainingHalves

RequireCeremony = Annotated[
    bool,
    typer.Option(
        "--require-ceremony",
        help="Refuse a key that one party made: the transcript of its ceremony must lie beside it, "
        "hold, and end with a beacon, unless --key-digest says that you know the key. (`zkpot "
        "ceremony verify` verifies every point.)",
    ),
]


def require_ceremony_of(folder: Path, key: VerifyingKey, *, is_pinned: bool) -> bytes:
    """The transcript of a key that must be of a ceremony, whose chain holds and led to it.

    is_pinned : whether the key is known by its digest, and its transcript with it, which it names;
                only then may no beacon close the ceremony
    Raises CeremonyInvalid, FormatError, OSError.
    """
    from kernels.backend import get_backend
    from prover.ceremony.own.check import require_beacon
    from prover.ceremony.own.finish import require_ceremony

    transcript = require_ceremony(folder, key, get_backend("cpu"))
    if not is_pinned:
        require_beacon(transcript)
    return transcript.encode()


def require_ceremonies_of(folder: Path, halves: TrainingHalves, *, is_pinned: bool) -> list[bytes]:
    """Likewise the transcripts of both keys of training: of the step's, then of the export's."""
    from prover.keys.training_folder import EXPORT_NAME, STEP_NAME

    named = ((STEP_NAME, halves.step), (EXPORT_NAME, halves.export))
    return [require_ceremony_of(folder / name, key, is_pinned=is_pinned) for name, key in named]
