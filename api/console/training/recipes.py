"""Which recipe a command means: that of a file, or the one that training of a network takes."""

from __future__ import annotations

from pathlib import Path

from api.console.model_files import find_architecture, read_architecture
from federated.provable.files import read_bounded
from federated.provable.recipes import make_trainable, suggest_recipe
from federated.provable.trajectory import load_trajectory_commitments
from prover.errors import FormatError
from prover.model.zkq import MAGIC as MODEL_MAGIC
from prover.training.commitments import MAX_RECIPE_BYTES, TrajectoryCommitments, parse_recipe
from prover.training.recipe import TrainingRecipe

USUAL_BATCH = 64


def find_recipe(subject: str, batch_size: int | None) -> TrainingRecipe:
    """The recipe of a trajectory's commitments or of a file of a recipe; else the one that
    `zkpot train --provable` takes for a model or a name, on batches of so many samples.

    batch_size : None: as the file says, or the usual one
    A usage error for what is no name and no file; for another batch size than the file's,
    FormatError. Raises RecipeInvalid, FormatError, OSError.
    """
    path = Path(subject)
    if not path.is_file():
        architecture = make_trainable(find_architecture(subject))
        return suggest_recipe(architecture, batch_size=batch_size or USUAL_BATCH)
    head = read_bounded(path, MAX_RECIPE_BYTES)
    if head.startswith(MODEL_MAGIC):
        return suggest_recipe(read_architecture(path), batch_size=batch_size or USUAL_BATCH)
    found = _read_recipe(path, head)
    if batch_size not in (None, found.batch_size):
        raise FormatError(
            f"its recipe takes batches of {found.batch_size} samples, not of {batch_size}",
            where=str(path),
            next_step="leave --batch out, or name the network instead of this file",
        )
    return found


def _read_recipe(path: Path, head: bytes) -> TrainingRecipe:
    if head.startswith(TrajectoryCommitments.HEADER):
        found = parse_recipe(load_trajectory_commitments(path).recipe)
        assert found is not None, "asked when the file was read"
        return found
    recipe = parse_recipe(head)
    if recipe is None:
        raise FormatError(
            "it is no model, no recipe and no commitments of a trajectory",
            where=str(path),
            next_step="give a name, a .zkq file, or trajectory.commit of `zkpot train --provable`",
        )
    return recipe
