"""`zkpot verify` of a proof of training: from where to where, how sure, and for whom."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from textwrap import fill
from typing import Any

import typer

from api.console.blinding import load_commitment
from api.console.ceremony.required import require_ceremonies_of, require_ceremony_of
from api.console.output import emit_json, refuse
from api.console.progress import show_steps
from api.console.refusals import load_backend, refusing
from federated.provable.batches import PUBLIC_NAME
from federated.provable.files import read_bounded
from federated.provable.judging import ProvenTraining, Wanted, judge_training
from federated.provable.proof_file import MAX_START_BYTES, SEED_BYTES, TrainingProof
from federated.provable.trajectory import COMMITMENTS_NAME, load_trajectory_commitments
from kernels.encoding import encode_g1
from prover.judging import REASONS, Refusal, judge_file, list_models, read_proof
from prover.keys.folder import load_verifying_half
from prover.keys.training_folder import TrainingHalves, load_training_halves
from prover.pedersen.commitment import Committer
from prover.steps import compile_export_for_key, compile_step_for_key
from prover.training.commitments import BatchCommitments
from prover.wire.verdict import Verdict
from prover.wire.wording import CEREMONIES_FORGOTTEN, describe_occasion, get_label

MAX_SHOWN = 12
"""Steps that are named one by one."""
NOT_PROVEN = (
    "what the data are, whose, or whether anybody agreed to their use; nor that they were used "
    "nowhere else",
    "that the order of batches, or a seed that draws it, was not chosen to suit somebody",
    "how well the model does: a proof of accuracy under the same D_W says so",
    "anything against who made the keys: they could keep their trapdoors and forge proofs, so know "
    "their digest from whom you trust",
)
OF_CEREMONIES_NOT_PROVEN = (*NOT_PROVEN[:-1], CEREMONIES_FORGOTTEN)
OWN_DRAW = (
    "drawn from the commitments themselves: a prover can commit again, under other blindings, "
    "until a draw suits it, millions of times and without training again; so these chances hold "
    "for one try only"
)
KNOWN_DRAW = (
    "these chances hold only where all was committed to before anybody knew the beacon, else a "
    "prover tries until a draw suits it: have --beacon and --trajectory, trajectory.commit as you "
    "got it before, compared"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingQuestion:
    """What the command was asked: the file, the keys, and what the file must be about.

    key_digest : of both keys; ceremony : whether every key must be of one
    commitment, start, batches, trajectory : files; seed, beacon : as proving takes
    n_proven   : at least so many steps
    share      : of steps, whose chance to be false and not seen is told
    accuracy   : a proof of accuracy that must be of the same D_W; accuracy_key, dataset : what it
                 is verified by; None: it is not
    """

    proof: Path
    key: Path
    key_digest: bytes | None
    check_circuit: bool
    ceremony: bool
    commitment: Path | None
    start: Path | None
    batches: Path | None
    trajectory: Path | None
    seed: int | None
    beacon: bytes | None
    n_proven: int | None
    share: float
    accuracy: Path | None
    accuracy_key: Path | None
    dataset: str | None
    occasion: dict[str, Any]


def verify_training(question: TrainingQuestion, *, as_json: bool) -> None:
    """Says what is proven, or refuses with the reason; a usage error for half of an accuracy."""
    parts = (question.dataset, question.accuracy_key)
    if any(parts) and not (all(parts) and question.accuracy):
        raise typer.BadParameter("--dataset and --accuracy-key go with --accuracy, both or neither")
    with refusing(as_json=as_json):
        keys = load_training_halves(question.key, expected_digest=question.key_digest)
        if question.ceremony:
            require_ceremonies_of(question.key, keys, is_pinned=question.key_digest is not None)
        if question.check_circuit:
            compile_step_for_key(keys.step_card, keys.step)
            compile_export_for_key(keys.export_card, keys.export)
        wanted = _read_wanted(question)
        raw = read_bounded(question.proof, TrainingProof.MAX_BYTES)
        started = time.perf_counter()
        with show_steps() as progress:
            outcome = judge_training(
                raw,
                keys=keys,
                wanted=wanted,
                get_committer=lambda n: Committer(n, load_backend("cpu"), progress),
                random_bytes=secrets.token_bytes,
            )
        verify_s = time.perf_counter() - started
        if isinstance(outcome, Refusal):
            refuse(outcome.reason, code=outcome.code, as_json=as_json)
        accuracy = _judge_accuracy(question, outcome.export.model)
        if isinstance(accuracy, Refusal):
            refuse(f"{question.accuracy}: {accuracy.reason}", code=accuracy.code, as_json=as_json)
    facts = _describe(outcome, keys, question) | {
        "accuracy": accuracy,
        "compared": _list_compared(wanted, question),
        "verify_s": verify_s,
    }
    emit_json(facts) if as_json else _say(facts)


# -- what is asked ---------------------------------------------------------------------------------


def _read_wanted(question: TrainingQuestion) -> Wanted:
    """What the training must be of, from the files that were given. Raises FormatError, OSError."""
    start = batches = trajectory = model = None
    if question.start is not None:
        start = sha256(read_bounded(question.start, MAX_START_BYTES)).digest()
    if question.batches is not None:
        path = question.batches
        path = path / PUBLIC_NAME if path.is_dir() else path
        raw = read_bounded(path, BatchCommitments.MAX_BYTES)
        batches = BatchCommitments.decode(raw, where=str(path)).digest
    if question.trajectory is not None:
        path = question.trajectory
        path = path / COMMITMENTS_NAME if path.is_dir() else path
        trajectory = load_trajectory_commitments(path).digest
    if question.commitment is not None:
        model = encode_g1(load_commitment(question.commitment).d)
    return Wanted(
        occasion=question.occasion,
        start=start,
        seed=None if question.seed is None else question.seed.to_bytes(SEED_BYTES, "little"),
        batches=batches,
        n_proven=question.n_proven or 1,
        beacon=question.beacon,
        trajectory=trajectory,
        model=model,
    )


def _judge_accuracy(question: TrainingQuestion, d_w: bytes) -> dict[str, Any] | Refusal | None:
    """What a proof of accuracy says of the same model; a refusal when it is of another one.

    Raises FormatError, KeyMismatch, ShapeMismatch, OSError.
    """
    if question.accuracy is None:
        return None
    raw = read_proof(question.accuracy)
    found = list_models(raw)
    if found is None:
        return Refusal(code=Verdict.MALFORMED.value, reason=REASONS[Verdict.MALFORMED])
    if found != {d_w}:
        return Refusal(
            code=Verdict.WRONG_STATEMENT.value,
            reason=f"it is about the model commitment {', '.join(x.hex() for x in sorted(found))}, "
            f"and the training ends at {d_w.hex()}",
        )
    facts: dict[str, Any] = {"proof": str(question.accuracy), "verified": False}
    if question.dataset is None or question.accuracy_key is None:
        return facts
    from api.console.samples import load_reference

    verifying, card = load_verifying_half(question.accuracy_key)
    if question.ceremony:
        require_ceremony_of(question.accuracy_key, verifying, is_pinned=False)
    samples = load_reference(question.dataset)
    outcome = judge_file(
        raw,
        key=verifying,
        layout=card.layout,
        images=samples.images,
        labels=samples.labels,
        expected={"commitments": (d_w,)},
        random_bytes=secrets.token_bytes,
    )
    if isinstance(outcome, Refusal):
        return outcome
    return facts | {
        "verified": True,
        "dataset": question.dataset,
        "correct": outcome.n_correct,
        "samples": outcome.n_samples,
        "key_digest": verifying.digest.hex(),
    }


def _list_compared(wanted: Wanted, question: TrainingQuestion) -> list[str]:
    """Names of what was held against something from elsewhere."""
    named = {
        "key_digest": question.key_digest,
        "model_commitment": wanted.model,
        "start": wanted.start,
        "seed": wanted.seed,
        "batches": wanted.batches,
        "beacon": wanted.beacon,
        "trajectory": wanted.trajectory,
    }
    return sorted([*wanted.occasion, *(name for name, value in named.items() if value is not None)])


# -- what is told ----------------------------------------------------------------------------------


def _describe(
    proven: ProvenTraining, keys: TrainingHalves, question: TrainingQuestion
) -> dict[str, Any]:
    proof = proven.proof
    n_bad = proven.count_bad(question.share)
    return {
        "verdict": Verdict.VALID.value,
        "architecture": proven.recipe.architecture.name,
        "architecture_digest": proven.recipe.architecture.digest.hex(),
        "recipe": proven.recipe.numbers,
        "recipe_digest": proven.recipe.digest.hex(),
        "model_commitment": proven.export.model.hex(),
        "start_digest": proof.trajectory.start.hex(),
        "start_drawn": not proof.start,
        "seed": int.from_bytes(proof.seed, "little") if proof.seed else None,
        "mode": "full" if proof.is_full else "sampled",
        "steps": proof.n_steps,
        "proven_steps": list(proven.chosen),
        "beacon": proof.beacon.hex(),
        "batches": len(proof.batches.d),
        "batch_size": proof.batches.batch_size,
        "batches_digest": proof.batches.digest.hex(),
        "trajectory_digest": proof.trajectory.digest.hex(),
        "escape_one_step": proven.compute_escape(1),
        "share": question.share,
        "share_steps": n_bad,
        "escape_share": proven.compute_escape(n_bad),
        "occasion": describe_occasion(proven.export.occasion),
        "key_digest": keys.digest.hex(),
        "not_proven": list(OF_CEREMONIES_NOT_PROVEN if question.ceremony else NOT_PROVEN),
    }


def _say(facts: dict[str, Any]) -> None:
    compared = set(facts["compared"])

    def note(name: str) -> str:
        return "as expected" if name in compared else "not compared"

    typer.secho("valid", fg="green", bold=True)
    typer.echo(f"proven: the {facts['architecture']} committed to as D_W")
    typer.echo(f"  {facts['model_commitment']} ({note('model_commitment')})")
    n, n_proven = facts["steps"], len(facts["proven_steps"])
    whole = f"is what {n} steps of exact training give"
    part = f"ends a training of {n} steps, of which {n_proven} are proven"
    typer.echo(f"  {whole if n_proven == n else part}, from the public model")
    origin = f", drawn from seed {facts['seed']}" if facts["start_drawn"] else ", in the file"
    typer.echo(f"  {facts['start_digest']} ({note('start')}{origin})")
    typer.echo(f"  on {facts['batches']} committed batches of up to {facts['batch_size']} samples")
    typer.echo(f"  {facts['batches_digest']} ({note('batches')})")
    order = "an order of the prover's choice"
    if facts["seed"] is not None:
        order = f"the order that seed {facts['seed']} draws ({note('seed')})"
    typer.echo(f"  in {order}")
    _say_steps(facts, note("beacon"))
    _say_accuracy(facts["accuracy"])
    typer.echo("stated for:")
    for name, value in ({"key_digest": facts["key_digest"]} | facts["occasion"]).items():
        typer.echo(f"  {get_label(name)} {value} ({note(name)})")
    typer.echo("not proven:")
    for line in facts["not_proven"]:
        typer.echo(fill(line, 99, initial_indent="  ", subsequent_indent="    "))


def _say_steps(facts: dict[str, Any], note: str) -> None:
    """How many steps are proven, drawn by what, and what a cheater may hope for."""
    chosen, n = facts["proven_steps"], facts["steps"]
    if facts["mode"] == "full":
        typer.echo(f"steps: all {n} are proven: no false one escapes")
        return
    shown = ", ".join(map(str, chosen[:MAX_SHOWN])) + (", ..." if len(chosen) > MAX_SHOWN else "")
    typer.echo(f"steps: {shown} of 0 to {n - 1} are proven")
    typer.echo(
        f"  who cheats in one step escapes with chance {facts['escape_one_step']:.2%}, in "
        f"{facts['share']:.0%} of them ({facts['share_steps']}) with {facts['escape_share']:.2%}"
    )
    warning = OWN_DRAW
    if facts["beacon"]:
        typer.echo(f"  drawn by the beacon {facts['beacon']} ({note})")
        warning = "" if {"beacon", "trajectory"} <= set(facts["compared"]) else KNOWN_DRAW
    if warning:
        typer.secho(fill(warning, 99, initial_indent="  ", subsequent_indent="  "), fg="red")


def _say_accuracy(accuracy: dict[str, Any] | None) -> None:
    if accuracy is None:
        return
    if not accuracy["verified"]:
        typer.echo(f"accuracy: {accuracy['proof']} names the same D_W; it was not verified here:")
        typer.echo("  give --dataset and --accuracy-key, or verify it with `zkpot verify`")
        return
    k, n = accuracy["correct"], accuracy["samples"]
    typer.echo(f"accuracy: {accuracy['proof']} proves of the same D_W that it classifies at least")
    typer.echo(f"  {k} of {n} samples of {accuracy['dataset']} correctly ({k / n:.2%})")
    typer.echo(f"  key digest {accuracy['key_digest']} (not compared)")
