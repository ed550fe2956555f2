"""What a proof of training proves: the verdict on any bytes, and what to read into it.

    file -> recipe of the keys, start, order, occasion -> statements of the steps
         -> export, from the last step's end to D_W    -> a product of pairings for each key

All that a statement can be about is in the file or in the keys, so a file is judged by itself. What
a verifier knows from elsewhere (the start, the batches, the beacon, D_W) it says, and a file of
something else is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from federated.provable.proof_file import TrainingProof, has_drawn_order
from federated.provable.proving import StepJudge, compute_escape
from federated.provable.trajectory import PublicStart
from prover.circuit.training.inputs import ExportInputs, StepInputs
from prover.errors import FormatError, ModelFormatError, RangeExceeded, ShapeMismatch
from prover.groth16.verify_training import verify_exports, verify_steps
from prover.judging import REASONS, Refusal
from prover.keys.training_folder import TrainingHalves
from prover.model.zkq import decode_model
from prover.pedersen.commitment import Committer
from prover.randomness import RandomBytes
from prover.training.draws import draw_start
from prover.training.recipe import TrainingRecipe
from prover.wire.training import ExportEnvelope, ExportStatement
from prover.wire.verdict import Verdict
from prover.wire.wording import find_difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a training must be of; None and what is not there: whatever the file says.

    occasion : fields of the statements by name
    start    : sha256 of the .zkq file of the public model
    seed     : of the order, and of a drawn start, 8 bytes
    batches  : sha256 of the file of committed batches
    n_proven : that at least so many steps are proven, or all
    beacon   : of the draw, unless all steps are proven
    trajectory : sha256 of the file of the trajectory's commitments, as it was before the beacon
    model    : D_W, compressed
    """

    occasion: dict[str, Any] = field(default_factory=dict)
    start: bytes | None = None
    seed: bytes | None = None
    batches: bytes | None = None
    n_proven: int = 1
    beacon: bytes | None = None
    trajectory: bytes | None = None
    model: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenTraining:
    """What a valid file proves: the model behind `export.model` is that of training from a public
    start by the recipe's steps, each but with the chance that `compute_escape` gives a cheater."""

    proof: TrainingProof
    recipe: TrainingRecipe
    chosen: tuple[int, ...]
    export: ExportStatement

    def compute_escape(self, n_bad: int) -> float:
        """The chance that none of so many false steps is among those that are proven."""
        proof = self.proof
        return compute_escape(n_steps=proof.n_steps, n_drawn=proof.n_drawn, n_bad=n_bad)

    def count_bad(self, share: float) -> int:
        """Steps that are at least this share of all, 1 or more."""
        return max(1, ceil(share * self.proof.n_steps))


def judge_training(
    raw: bytes,
    *,
    keys: TrainingHalves,
    wanted: Wanted,
    get_committer: Callable[[int], Committer],
    random_bytes: RandomBytes,
) -> ProvenTraining | Refusal:
    """The verdict on any bytes, under these keys.

    get_committer : of as many values; what its bases take is taken only where step 0 is proven
    cost          : two products of pairings, none where the file falls before them
    holds         : steps that are proven are those that the file's beacon draws, each from the
                    commitment before it to its own on its batch, and D_W is of the last commitment
    """
    try:
        proof = TrainingProof.decode(raw)
    except FormatError as error:
        return Refusal(code=Verdict.MALFORMED.value, reason=error.public_message)
    envelope = ExportEnvelope.decode(proof.export)
    if envelope is None:
        return _refuse(Verdict.MALFORMED, "the proof of the export is malformed")
    judge = _start_judging(proof, keys.recipe, envelope.statement)
    if isinstance(judge, Refusal):
        return judge
    other = _find_other(proof, envelope.statement, wanted)
    if other is not None:
        return _refuse(Verdict.WRONG_STATEMENT, other)
    chosen = proof.chosen
    n_parameters = keys.recipe.architecture.n_parameters
    misfit = judge.find_misfit(
        proof.steps, chosen, get_committer=lambda: get_committer(n_parameters)
    )
    misfit = misfit or judge.find_export_misfit(proof.export)
    if misfit is not None:
        return _refuse(Verdict.WRONG_STATEMENT, misfit)
    return _judge_proofs(proof, keys, chosen, random_bytes) or ProvenTraining(
        proof=proof, recipe=keys.recipe, chosen=chosen, export=envelope.statement
    )


def _start_judging(
    proof: TrainingProof, recipe: TrainingRecipe, statement: ExportStatement
) -> StepJudge | Refusal:
    """The judge of the file's steps, once all that is known without them fits together."""
    path, data = proof.trajectory, proof.batches
    if path.recipe != recipe.encode():
        return _refuse(
            Verdict.WRONG_KEY,
            "the training is by another recipe than the keys are for; give the keys of that recipe",
        )
    if not data.fits(recipe):
        return _refuse(
            Verdict.WRONG_STATEMENT, "the committed batches are of another shape than the recipe's"
        )
    begin = _find_start(proof, recipe)
    if isinstance(begin, Refusal):
        return begin
    if proof.seed and not has_drawn_order(path, len(data.d), proof.seed):
        return _refuse(
            Verdict.WRONG_STATEMENT, "the batches are in another order than the seed draws"
        )
    return StepJudge(
        recipe=recipe, occasion=statement.occasion, public=path, batches=data, begin=begin
    )


def _find_start(proof: TrainingProof, recipe: TrainingRecipe) -> PublicStart | Refusal:
    """Where training began: at the public model of the file, or at one that is drawn."""
    try:
        model = decode_model(proof.start) if proof.start else draw_start(recipe, proof.seed)
        begin = PublicStart.of_model(recipe, model)
    except ModelFormatError:
        return _refuse(Verdict.MALFORMED, "the start in the file is no quantized model")
    except (ShapeMismatch, RangeExceeded):
        return _refuse(Verdict.WRONG_STATEMENT, "the recipe does not train from such a start")
    if begin.name != proof.trajectory.start:
        return _refuse(Verdict.WRONG_STATEMENT, "the trajectory starts from another model")
    return begin


def _find_other(proof: TrainingProof, statement: ExportStatement, wanted: Wanted) -> str | None:
    """In what the file is about something else than wanted, in words."""
    for name, found, value in (
        ("starts from the model", proof.trajectory.start, wanted.start),
        ("is on the committed batches", proof.batches.digest, wanted.batches),
        ("is the committed trajectory", proof.trajectory.digest, wanted.trajectory),
        ("ends at the model commitment", statement.model, wanted.model),
        ("has the order of seed", proof.seed, wanted.seed),
        ("is drawn from by the beacon", proof.beacon, None if proof.is_full else wanted.beacon),
    ):
        if value not in (None, found):
            return f"the training {name} {_show(found)}, not {_show(value)}"
    if proof.n_drawn < min(wanted.n_proven, proof.n_steps):
        return f"{proof.n_drawn} steps are proven, not {wanted.n_proven}"
    return find_difference(statement, wanted.occasion)


def _show(value: bytes) -> str:
    return value.hex() or "(none)"


def _judge_proofs(
    proof: TrainingProof, keys: TrainingHalves, chosen: tuple[int, ...], random_bytes: RandomBytes
) -> Refusal | None:
    """The first proof that does not hold."""
    steps = verify_steps(
        proof.steps,
        key=keys.step,
        inputs=StepInputs(plan=keys.step_card.plan),
        random_bytes=random_bytes,
    )
    (end,) = verify_exports(
        [proof.export],
        key=keys.export,
        inputs=ExportInputs(plan=keys.export_card.plan),
        random_bytes=random_bytes,
    )
    named = [(f"step {t}", verdict) for t, verdict in zip(chosen, steps, strict=True)]
    for name, verdict in [*named, ("export", end)]:
        if verdict is not Verdict.VALID:
            return _refuse(verdict, f"{name}: {REASONS[verdict]}")
    return None


def _refuse(verdict: Verdict, reason: str) -> Refusal:
    return Refusal(code=verdict.value, reason=reason)
