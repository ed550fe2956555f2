"""What `zkpot chain init` adds to a task: bounds on updates, scales, proofs of training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from api.console.output import refuse

if TYPE_CHECKING:
    from consensus.content.blobs import FileBlobs
    from consensus.wire.task_norm import TaskNorm
    from consensus.wire.task_training import TaskTraining
    from prover.keys.training_folder import TrainingHalves
    from prover.model.network import Architecture

Mode = Literal["off", "sampled", "full"]
USUAL_STEPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """What was asked for: which steps of how many are proven, under the keys of a folder."""

    mode: Mode
    keys: Path | None
    steps: int | None
    drawn: int | None

    def __post_init__(self) -> None:
        """A usage error for options that contradict each other."""
        if self.mode == "off":
            if self.keys or self.steps or self.drawn:
                raise typer.BadParameter(
                    "--steps, --drawn and --training-keys are of --training sampled or full"
                )
            return
        if self.keys is None:
            raise typer.BadParameter(
                "name the folder of `zkpot setup --training`", param_hint="--training-keys"
            )
        if self.mode == "full" and self.drawn not in (None, self.n_steps):
            raise typer.BadParameter("full: every step is proven", param_hint="--drawn")
        if self.mode == "sampled" and (self.drawn is None or self.drawn >= self.n_steps):
            raise typer.BadParameter(
                f"say how many of {self.n_steps} steps are drawn, fewer than all",
                param_hint="--drawn",
            )

    @property
    def n_steps(self) -> int:
        return self.steps or USUAL_STEPS

    @property
    def n_drawn(self) -> int:
        return self.drawn or self.n_steps

    def store(self, halves: TrainingHalves, blobs: FileBlobs) -> TaskTraining:
        """What a task says of training under these keys, which go to the blobs. Raises
        GenesisInvalid, OSError."""
        from consensus.wire.task_training import TaskTraining

        return TaskTraining.of(
            halves.step_card,
            halves.export_card,
            step_key=blobs.put(halves.step.encode()),
            export_key=blobs.put(halves.export.encode()),
            n_steps=self.n_steps,
            n_drawn=self.n_drawn,
        )

    def describe(self) -> str:
        """For people: what is proven, and what who lies about one step gets away with."""
        if self.mode == "full":
            return f"training: {self.n_steps} steps a round, each proven"
        escape = 1 - self.n_drawn / self.n_steps
        return (
            f"training: {self.n_steps} steps a round, {self.n_drawn} of them drawn and proven; who "
            f"lies about one gets away with it with chance {escape:.0%}, and one can suffice"
        )


def read_training(options: TrainingOptions, architecture: Architecture) -> TrainingHalves | None:
    """Keys of proofs of training for a task's architecture; None where none are asked for.

    Raises ProverError, OSError.
    """
    from prover.errors import KeyMismatch
    from prover.keys.training_folder import load_training_halves

    if options.keys is None:
        return None
    halves = load_training_halves(options.keys)
    if halves.recipe.architecture.encode() != architecture.encode():
        raise KeyMismatch(
            "the keys of training are for another architecture than the task's",
            next_step="run `zkpot setup --training` with the model that --key was made with",
        )
    return halves


def read_norm(folder: Path, architecture: Architecture, blobs: FileBlobs) -> TaskNorm:
    """Bounds on updates of a task, whose key goes to the blobs. Raises ProverError."""
    from consensus.wire.task_norm import TaskNorm
    from prover.errors import KeyMismatch
    from prover.keys.folder import load_update_half
    from prover.updates import compile_norm_for_key

    verifying, card = load_update_half(folder)
    compile_norm_for_key(card, verifying)
    if card.architecture.encode() != architecture.encode():
        raise KeyMismatch(
            "the key of bounds is for another architecture than the task's",
            next_step="run `zkpot setup --norm` with the model that --key was made with",
        )
    return TaskNorm(
        bounds=card.bounds,
        circuit_digest=card.circuit_digest,
        verifying_key_digest=blobs.put(verifying.encode()),
    )


def find_scales(
    reference: str, architecture: Architecture
) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """The scales of a task, by a network that has seen these samples once."""
    from api.console.progress import show_steps
    from api.console.samples import load_reference
    from federated.joining.own_data import require_fit

    try:
        from federated.local import warm_up
    except ModuleNotFoundError as error:
        refuse(
            f"--warm-up needs {error.name}: pip install 'zkpot[federated]'", code="missing_package"
        )
    found = load_reference(reference, hint="--warm-up")
    public = require_fit(reference, found.images, found.labels, architecture)
    with show_steps() as progress:
        return warm_up(public, architecture, progress)[1].to_lists()
