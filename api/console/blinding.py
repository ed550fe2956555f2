"""The owner's two files of one commitment: the public half, and the blinding beside it."""

from __future__ import annotations

from pathlib import Path

from prover.errors import FormatError
from prover.pedersen.commitment import Blinding, ModelCommitment

MAX_FILE_BYTES = 1 << 12


def blinding_path(commitment: Path) -> Path:
    """model.commit -> model.commit.blinding."""
    return commitment.with_name(commitment.name + ".blinding")


def load_commitment(path: Path) -> ModelCommitment:
    """The public half. Raises FormatError, OSError."""
    return ModelCommitment.decode(_read(path), where=str(path))


def load_blinding(commitment: Path) -> Blinding:
    """The secret beside the commitment. Raises FormatError (no byte of it in the text), OSError."""
    path = blinding_path(commitment)
    if not path.exists():
        raise FormatError(
            "the blinding of this commitment is not beside it",
            where=str(path),
            next_step="bring it here, or commit the model again",
        )
    return Blinding.decode(_read(path), where=str(path))


def _read(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MAX_FILE_BYTES)
