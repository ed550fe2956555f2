"""`zkpot prove training`: from the files of a training and two keys to one file of proofs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import typer

from api.console.blinding import load_blinding, load_commitment
from api.console.ceremony.required import require_ceremonies_of
from api.console.files import write_public
from api.console.machine import find_machine
from api.console.progress import show_steps
from api.console.provable import START_NAME
from api.console.refusals import load_backend, refusing
from api.console.training.keys import Part, plan_parts
from federated.provable.batches import CommittedBatches, load_batches
from federated.provable.files import read_bounded
from federated.provable.judging import Wanted, judge_training
from federated.provable.proof_file import (
    MAX_START_BYTES,
    SEED_BYTES,
    TrainingProof,
    choose_steps,
    has_drawn_order,
)
from federated.provable.proving import EndProver, StepProver, compute_escape
from federated.provable.trajectory import (
    TRAJECTORY_NAME,
    CommittedTrajectory,
    digest_model,
    load_trajectory,
)
from kernels.backend import Backend
from kernels.encoding import encode_g1
from prover.errors import FormatError, KeyMismatch, SelfCheckFailed
from prover.groth16.prove import prepare
from prover.judging import Refusal
from prover.keys.folder import PROVING_NAME, load_proving_key, require_part
from prover.keys.halves import ProvingKey, VerifyingKey
from prover.keys.training_folder import (
    EXPORT_NAME,
    STEP_NAME,
    TrainingHalves,
    load_training_halves,
)
from prover.pedersen.commitment import Committer, SecretCommitment
from prover.pipeline import require_commitment
from prover.plan import write_seconds
from prover.progress import StageProgress
from prover.steps import compile_export_for_key, compile_step_for_key
from prover.training.draws import draw_start
from prover.training.recipe import TrainingRecipe
from prover.wire.statement import Occasion

GetCommitter = Callable[[int], Committer]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRequest:
    """What the command was asked for.

    trajectory : folder of `zkpot train --provable`, or the file of that name in it
    ceremony   : whether both keys must be of one
    commitment : of the model at its end
    n_proven   : so many steps that a beacon draws; None: all
    beacon     : empty: none but the commitments
    start      : the .zkq file of the public start; None: the one beside the trajectory
    seed       : that training was given; None: 0, unless training did not take that order
    """

    trajectory: Path
    batches: Path
    key: Path
    key_digest: bytes | None
    ceremony: bool
    commitment: Path
    n_proven: int | None
    beacon: bytes
    start: Path | None
    seed: bytes | None
    occasion: Occasion
    out: Path
    backend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    """All that is proven from, known to belong together."""

    committed: CommittedTrajectory
    batches: CommittedBatches
    model: SecretCommitment
    start: bytes
    seed: bytes


def prove_training(request: ProofRequest, *, as_json: bool) -> dict[str, Any]:
    """Proves, verifies, writes the file, and says what it is: a JSON value."""
    started = time.perf_counter()
    with refusing(as_json=as_json):
        device = load_backend(request.backend)
        halves = load_training_halves(request.key, expected_digest=request.key_digest)
        if request.ceremony:
            require_ceremonies_of(request.key, halves, is_pinned=request.key_digest is not None)
        for name in (STEP_NAME, EXPORT_NAME):
            require_part(request.key / name / PROVING_NAME)
        with show_steps() as progress:
            get_committer = _remember_committer(device, progress)
            training = _load(request, halves.recipe, get_committer)
            public, n_steps = training.committed.public, training.committed.trajectory.n_steps
            n_drawn = min(request.n_proven or n_steps, n_steps)
            beacon = request.beacon if n_drawn < n_steps else b""
            chosen = choose_steps(public, n_drawn, beacon)
            planned = plan_parts(
                halves.recipe, find_machine(device), of_ceremonies=halves.of_ceremonies
            )
            parts = {part.name: part for part in planned}
            _announce(parts, n_steps, len(chosen))
            kit = _Kit(request, halves, parts, training, device, get_committer)
            loaded = time.perf_counter()
            proof = TrainingProof(
                trajectory=public,
                batches=training.batches.public,
                start=training.start,
                seed=training.seed,
                n_drawn=n_drawn,
                beacon=beacon,
                export=kit.prove_end(progress),
                steps=kit.prove_steps(chosen, progress),
            )
        raw = proof.encode()
        _require_valid(raw, halves, get_committer)
        write_public(request.out, raw)
    return {
        "out": str(request.out),
        "bytes": len(raw),
        "architecture": halves.recipe.architecture.name,
        "mode": "full" if proof.is_full else "sampled",
        "steps": proof.n_steps,
        "proven_steps": list(chosen),
        "beacon": beacon.hex(),
        "escape_one_step": compute_escape(n_steps=proof.n_steps, n_drawn=n_drawn, n_bad=1),
        "start_digest": public.start.hex(),
        "batches_digest": public.batches.hex(),
        "trajectory_digest": public.digest.hex(),
        "model_commitment": encode_g1(training.model.public.d).hex(),
        "key_digest": halves.digest.hex(),
        "load_s": loaded - started,
        "prove_s": time.perf_counter() - loaded,
    }


# -- what is proven from ---------------------------------------------------------------------------


def _load(request: ProofRequest, recipe: TrainingRecipe, get_committer: GetCommitter) -> _Training:
    """The files. Raises FormatError, KeyMismatch where they do not belong together; OSError."""
    folder = request.trajectory
    if folder.name == TRAJECTORY_NAME and folder.is_file():
        folder = folder.parent
    committed, batches = load_trajectory(folder), load_batches(request.batches)
    trajectory = committed.trajectory
    if trajectory.get_recipe() != recipe:
        raise KeyMismatch(
            "the keys are for another recipe than the training",
            next_step=f"make keys with `zkpot setup {folder / 'trajectory.commit'} --training`",
        )
    if trajectory.batches != batches.public.digest:
        raise FormatError(
            "the trajectory was trained on other committed batches",
            where=str(request.batches),
            next_step="give the folder of batches that `zkpot train --provable` was given",
        )
    model = trajectory.export()
    commitment, blinding = load_commitment(request.commitment), load_blinding(request.commitment)
    require_commitment(commitment, model, blinding, get_committer(len(model.wires)))
    seed = _find_seed(request, committed, batches.n_batches)
    start = _find_start(request.start or folder / START_NAME, recipe, trajectory.start, seed)
    return _Training(
        committed=committed,
        batches=batches,
        model=SecretCommitment(public=commitment, blinding=blinding),
        start=start,
        seed=seed,
    )


def _find_seed(request: ProofRequest, committed: CommittedTrajectory, n_batches: int) -> bytes:
    """What the order of batches was drawn from; nothing where that is not known."""
    seed = bytes(SEED_BYTES) if request.seed is None else request.seed
    if has_drawn_order(committed.public, n_batches, seed):
        return seed
    if request.seed is None:
        return b""
    raise FormatError(
        "training did not take its batches in the order that this seed draws",
        where="--seed",
        next_step="give the seed that `zkpot train --provable` was given",
    )


def _find_start(path: Path, recipe: TrainingRecipe, digest: bytes, seed: bytes) -> bytes:
    """The .zkq file of the public start; nothing where the seed draws it."""
    if seed and digest_model(draw_start(recipe, seed)) == digest:
        return b""
    raw = read_bounded(path, MAX_START_BYTES)
    if sha256(raw).digest() != digest:
        raise FormatError(
            "it is not the model that training started from",
            where=str(path),
            next_step="give with --start the .zkq file that `zkpot train --provable` was given",
        )
    return raw


def _remember_committer(device: Backend, progress: StageProgress) -> GetCommitter:
    """Makes a committer once: masters and models have the same number of wires."""
    made: dict[int, Committer] = {}

    def get(n_wires: int) -> Committer:
        if n_wires not in made:
            made[n_wires] = Committer(n_wires, device, progress)
        return made[n_wires]

    return get


# -- proofs ----------------------------------------------------------------------------------------


def _announce(parts: dict[str, Part], n_steps: int, n_proven: int) -> None:
    """What it takes, before it begins."""
    step, export = parts[STEP_NAME].plan, parts[EXPORT_NAME].plan
    one, rest = step.seconds, export.seconds
    total = one.compile + one.load + n_proven * one.prove + rest.compile + rest.load + rest.prove
    typer.echo(
        f"{n_proven} of {n_steps} steps: {step.describe(has_key=True)} of the first, "
        f"{write_seconds(total)} in all, the export included",
        err=True,
    )


@dataclass(frozen=True, slots=True)
class _Kit:
    """What proves; one key is in memory at a time."""

    request: ProofRequest
    halves: TrainingHalves
    parts: dict[str, Part]
    training: _Training
    device: Backend
    get_committer: GetCommitter

    def prove_end(self, progress: StageProgress) -> bytes:
        """The envelope of the export."""
        progress(EXPORT_NAME, 0, 1)
        prover = EndProver(
            export=compile_export_for_key(self.halves.export_card, self.halves.export),
            key=self._load_key(EXPORT_NAME, self.halves.export),
            occasion=self.request.occasion,
            backend=self.device,
            random_bytes=secrets.token_bytes,
            clock=time.perf_counter,
        )
        envelope = prover.prove(self.training.committed, self.training.model)
        progress(EXPORT_NAME, 1, 1)
        return envelope

    def prove_steps(self, chosen: tuple[int, ...], progress: StageProgress) -> tuple[bytes, ...]:
        """The envelopes of the chosen steps."""
        progress("key of a step", 0, 1)
        prover = StepProver(
            step=compile_step_for_key(self.halves.step_card, self.halves.step),
            key=self._load_key(STEP_NAME, self.halves.step),
            occasion=self.request.occasion,
            committer=self.get_committer(self.halves.recipe.architecture.n_parameters),
            backend=self.device,
            random_bytes=secrets.token_bytes,
            clock=time.perf_counter,
        )
        progress("key of a step", 1, 1)
        return prover.prove(self.training.committed, self.training.batches, chosen, progress)

    def _load_key(self, name: str, verifying: VerifyingKey) -> ProvingKey:
        streams = self.parts[name].plan.streams
        return prepare(
            load_proving_key(self.request.key / name, verifying, streams=streams), self.device
        )


def _require_valid(raw: bytes, halves: TrainingHalves, get_committer: GetCommitter) -> None:
    """SelfCheckFailed for a file that its verifier refuses: it is not written."""
    judged = judge_training(
        raw,
        keys=halves,
        wanted=Wanted(),
        get_committer=get_committer,
        random_bytes=secrets.token_bytes,
    )
    if isinstance(judged, Refusal):
        raise SelfCheckFailed(verdict=judged.code)
