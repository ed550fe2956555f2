"""`--require-ceremony`: keys of one party are refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from prover.keys.halves import VerifyingKey

RequireCeremony = Annotated[
    bool,
    typer.Option(
        "--require-ceremony",
        help="Refuse a key that one party made: the transcript of its ceremony must lie beside it, "
        "and hold. (`zkpot ceremony verify` verifies every point.)",
    ),
]


def require_ceremony_of(folder: Path, key: VerifyingKey) -> bytes:
    """The transcript of a key that must be of a ceremony, whose chain holds and led to it.

    Raises CeremonyInvalid, FormatError, OSError.
    """
    from kernels.backend import get_backend
    from prover.ceremony.own.finish import require_ceremony

    return require_ceremony(folder, key, get_backend("cpu")).encode()
