"""A folder of one ceremony, or of the two of training: its step's and its export's.

    ceremony/                    of a circuit of accuracy, or of bounds on updates
    ceremony/step/, .../export/  of training: two ceremonies, side by side as their keys will be

Commands do to each what they do to one. Nothing ties the two but that they are of one recipe: each
holds by itself, with its own contributions and transcript.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prover.errors import CeremonyInvalid, KeyMismatch
from prover.keys.folder import TRANSCRIPT_NAME, VERIFYING_NAME
from prover.keys.training_card import ExportCard, StepCard
from prover.keys.training_folder import EXPORT_NAME, STEP_NAME, digest_keys

if TYPE_CHECKING:
    from prover.ceremony.own.record import Transcript
    from prover.keys.card import Card
    from prover.progress import StageProgress

WHOLE = ""
"""The name of the only part of a folder that is a ceremony itself."""
TRAINING = (STEP_NAME, EXPORT_NAME)


def list_parts(folder: Path) -> dict[str, Path]:
    """Folders of ceremonies, or of keys, by their names: of training two, else the folder itself.

    Whether anything is in them is for who reads them to say.
    """
    is_one = any((folder / name).exists() for name in (TRANSCRIPT_NAME, VERIFYING_NAME))
    if not is_one and any((folder / name).is_dir() for name in TRAINING):
        return {name: folder / name for name in TRAINING}
    return {WHOLE: folder}


def require_one_recipe(cards: Mapping[str, Card]) -> None:
    """KeyMismatch where the parts of training are not a step and its export."""
    if WHOLE in cards:
        return
    step, export = (cards[name] for name in TRAINING)
    if (
        not isinstance(step, StepCard)
        or not isinstance(export, ExportCard)
        or step.recipe != export.recipe
    ):
        raise KeyMismatch(
            f"{STEP_NAME} and {EXPORT_NAME} are not the two of one recipe",
            next_step="take both of one `zkpot ceremony new --training`",
        )


def require_places(transcripts: Iterable[Transcript], places: Iterable[bytes]) -> None:
    """CeremonyInvalid unless each of these places is in one of the transcripts."""
    if not {place for one in transcripts for place in one.list_places()}.issuperset(places):
        raise CeremonyInvalid("the place that was asked for is not in the transcript")


def join_digests(digests: Sequence[bytes]) -> bytes:
    """The one digest of the keys of all parts, in their order: of training that of both."""
    return digests[0] if len(digests) == 1 else digest_keys(*digests)


def join_facts(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """JSON of all parts: those of the only one as they are, of training each under its name."""
    return dict(parts[WHOLE]) if WHOLE in parts else {name: dict(x) for name, x in parts.items()}


def name_stages(name: str, progress: StageProgress) -> StageProgress:
    """Progress of a part, which its stages say."""
    if name == WHOLE:
        return progress

    def report(stage: str, done: int, total: int) -> None:
        progress(f"{name}: {stage}", done, total)

    return report
