"""Both keys of a recipe on disk: that of its steps, and that of the export of their end.

    keys/step/    verifying.key, circuit.json, proving.key: a key folder whose card is a `StepCard`
    keys/export/  likewise, an `ExportCard` of the same recipe

Of keys of ceremonies, each has its own ceremony.transcript beside it.

Each is a key folder as any other (`prover.keys.folder`), so who keeps many keys finds each by the
digest of its card, `StepCard.of(step).digest` and `ExportCard.of(export).digest`, and statements
name each by the digest of its verifying half. Both together have one digest, for people to compare:

    sha256 of the field list: "zkpot training keys v1", digest of the step's key, of the export's
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from prover.errors import KeyMismatch
from prover.keys.folder import load_half
from prover.keys.halves import VerifyingKey
from prover.keys.training_card import ExportCard, StepCard
from prover.training.recipe import TrainingRecipe
from prover.wire.records import encode_fields

STEP_NAME, EXPORT_NAME = "step", "export"
_DOMAIN = b"zkpot training keys v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingHalves:
    """The verifying halves of both keys, with their cards. Raises KeyMismatch for two recipes."""

    step: VerifyingKey
    step_card: StepCard
    export: VerifyingKey
    export_card: ExportCard

    def __post_init__(self) -> None:
        if self.step_card.recipe != self.export_card.recipe:
            raise KeyMismatch(
                f"the keys in {STEP_NAME} and {EXPORT_NAME} are of two recipes",
                next_step="copy both keys of one `zkpot setup --training`, or of one ceremony",
            )

    @property
    def recipe(self) -> TrainingRecipe:
        return self.step_card.recipe

    @property
    def of_ceremonies(self) -> list[str]:
        """Names of those that ceremonies made."""
        named = ((STEP_NAME, self.step), (EXPORT_NAME, self.export))
        return [name for name, key in named if key.is_of_ceremony]

    @property
    def digest(self) -> bytes:
        """Of both keys together."""
        return digest_keys(self.step.digest, self.export.digest)


def digest_keys(step: bytes, export: bytes) -> bytes:
    """The one digest of two keys, from those of their verifying halves."""
    return sha256(encode_fields([_DOMAIN, step, export])).digest()


def load_training_halves(
    directory: Path, *, expected_digest: bytes | None = None
) -> TrainingHalves:
    """What a verifier reads of both keys.

    expected_digest : of both together; None: whatever keys these are
    Raises FormatError, KeyMismatch for other keys than expected and for two recipes, OSError.
    """
    step, step_card = load_half(directory / STEP_NAME, StepCard)
    export, export_card = load_half(directory / EXPORT_NAME, ExportCard)
    found = TrainingHalves(step=step, step_card=step_card, export=export, export_card=export_card)
    if expected_digest is not None and found.digest != expected_digest:
        raise KeyMismatch(
            f"the digest of both keys is {found.digest.hex()}",
            next_step=f"take the keys whose digest is {expected_digest.hex()}",
        )
    return found
