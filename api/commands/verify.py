"""`zkpot verify`: whether a proof holds, what it proves, and what it does not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.console.ceremony.required import RequireCeremony, require_ceremony_of
from api.console.options import KeyDigest, KeyFolder, parse_beacon
from api.console.output import AsJson, emit_json, refuse

if TYPE_CHECKING:
    from prover.judging import Proven
    from prover.keys.card import KeyCard
    from prover.keys.halves import VerifyingKey


def _of_training(*names: str, **settings: Any) -> Any:
    """An option that proofs of training alone take, in a panel of its own."""
    return typer.Option(*names, rich_help_panel="Of proofs of training", **settings)


def register(app: typer.Typer) -> None:
    app.command()(verify)


def verify(
    proof: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A file of `zkpot prove`.")
    ],
    key: KeyFolder,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="Samples in public, such as 'mnist:test[0:1024]'."),
    ] = None,
    commitment: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The commitment that it must be about."),
    ] = None,
    chain: Annotated[str | None, typer.Option(help="Chain that it must be for.")] = None,
    task: Annotated[str | None, typer.Option(help="Task that it must be for.")] = None,
    round_index: Annotated[
        int | None, typer.Option("--round", help="Round that it must be for.")
    ] = None,
    height: Annotated[int | None, typer.Option(help="Commit height that it must be for.")] = None,
    client: Annotated[
        str | None, typer.Option(help="Client that it must be of, public key in hexadecimal.")
    ] = None,
    check_circuit: Annotated[
        bool,
        typer.Option("--check-circuit", help="Compile the circuit, and compare the key's digest."),
    ] = False,
    key_digest: KeyDigest = None,
    require_ceremony: RequireCeremony = False,
    start: Annotated[
        Path | None,
        _of_training(exists=True, dir_okay=False, help="The .zkq that it must have started from."),
    ] = None,
    batches: Annotated[
        Path | None,
        _of_training(exists=True, help="batches.commit, or its folder: what it must be on."),
    ] = None,
    trajectory: Annotated[
        Path | None,
        _of_training(
            exists=True,
            help="trajectory.commit, or its folder, as you got it before the beacon: what it must "
            "be of.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        _of_training(min=0, max=(1 << 63) - 1, help="What its order must be drawn from."),
    ] = None,
    beacon: Annotated[
        bytes | None,
        _of_training(parser=parse_beacon, metavar="HEX", help="What its steps must be drawn by."),
    ] = None,
    q: Annotated[
        int | None, _of_training("--q", min=1, help="At least so many steps must be proven.")
    ] = None,
    share: Annotated[
        float, _of_training(min=0, max=1, help="Of steps, whose chance to be false is told.")
    ] = 0.1,
    accuracy: Annotated[
        Path | None,
        _of_training(exists=True, dir_okay=False, help="A proof of accuracy of the same model."),
    ] = None,
    accuracy_key: Annotated[
        Path | None,
        _of_training(
            exists=True, file_okay=False, help="With --dataset: what --accuracy is verified by."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Exit with 0 for a valid proof, with 1 and the reason for any other.

    A proof of accuracy takes --dataset; a proof of training brings all but its keys.
    """
    from api.console.occasion import parse_occasion
    from api.console.refusals import refusing
    from federated.provable.proof_file import is_training_proof

    expected = parse_occasion(
        chain=chain, task=task, round_index=round_index, height=height, client=client
    )
    with refusing(as_json=as_json):
        about_training = is_training_proof(proof)
    if about_training:
        from api.console.training.verifying import TrainingQuestion, verify_training

        question = TrainingQuestion(
            proof=proof,
            key=key,
            key_digest=key_digest,
            check_circuit=check_circuit,
            ceremony=require_ceremony,
            commitment=commitment,
            start=start,
            batches=batches,
            trajectory=trajectory,
            seed=seed,
            beacon=beacon,
            n_proven=q,
            share=share,
            accuracy=accuracy,
            accuracy_key=accuracy_key,
            dataset=dataset,
            occasion=expected,
        )
        verify_training(question, as_json=as_json)
        return
    own = (start, batches, trajectory, seed, beacon, q, accuracy, accuracy_key)
    if any(x is not None for x in own):
        raise typer.BadParameter(
            f"{proof} is no proof of training, and one of these options is of such proofs"
        )
    if dataset is None:
        raise typer.BadParameter(
            f"{proof} is no proof of training, and a proof of accuracy takes --dataset",
            param_hint="--dataset",
        )
    _verify_accuracy(
        proof,
        key,
        dataset,
        commitment,
        expected,
        key_digest,
        check_circuit=check_circuit,
        ceremony=require_ceremony,
        as_json=as_json,
    )


def _verify_accuracy(
    proof: Path,
    key: Path,
    dataset: str,
    commitment: Path | None,
    expected: dict[str, Any],
    key_digest: bytes | None,
    *,
    check_circuit: bool,
    ceremony: bool,
    as_json: bool,
) -> None:
    import secrets
    import time

    from api.console.refusals import refusing
    from api.console.samples import load_reference
    from prover.judging import Refusal, judge_file, read_proof
    from prover.keys.folder import load_verifying_half

    with refusing(as_json=as_json):
        verifying, card = load_verifying_half(key, expected_digest=key_digest)
        if ceremony:
            require_ceremony_of(key, verifying, is_pinned=key_digest is not None)
        if check_circuit:
            _compile(card, verifying)
        if commitment is not None:
            expected["commitments"] = (_read_d_w(commitment),)
        samples = load_reference(dataset)
        raw = read_proof(proof)
        started = time.perf_counter()
        outcome = judge_file(
            raw,
            key=verifying,
            layout=card.layout,
            images=samples.images,
            labels=samples.labels,
            expected=expected,
            random_bytes=secrets.token_bytes,
        )
        verify_s = time.perf_counter() - started
    if isinstance(outcome, Refusal):
        refuse(outcome.reason, code=outcome.code, as_json=as_json)
    facts = _describe(outcome, card, verifying, dataset, ceremony=ceremony) | {
        "compared": sorted([*expected, *(["key_digest"] if key_digest else [])]),
        "verify_s": verify_s,
    }
    if as_json:
        emit_json(facts)
    else:
        _say(facts)


def _compile(card: KeyCard, key: VerifyingKey) -> None:
    """KeyMismatch unless the key is for the circuit of its card. Loads the prover's half."""
    from prover.pipeline import compile_for_key

    compile_for_key(card, key)


def _read_d_w(path: Path) -> bytes:
    """D_W of a commitment file, compressed."""
    from api.console.blinding import load_commitment
    from kernels.encoding import encode_g1

    return encode_g1(load_commitment(path).d)


def _describe(
    proven: Proven, card: KeyCard, key: VerifyingKey, dataset: str, *, ceremony: bool
) -> dict[str, Any]:
    from prover.wire.verdict import Verdict
    from prover.wire.wording import NOT_PROVEN, OF_CEREMONIES_NOT_PROVEN, describe_occasion

    first = proven.statements[0]
    return {
        "verdict": Verdict.VALID.value,
        "correct": proven.n_correct,
        "samples": proven.n_samples,
        "dataset": dataset,
        "architecture": card.architecture.name,
        "architecture_digest": card.architecture.digest.hex(),
        "multipliers": list(first.multipliers),
        "model_commitment": first.commitments[0].hex(),
        "shards": len(proven.statements),
        "occasion": describe_occasion(first.occasion),
        "key_digest": key.digest.hex(),
        "not_proven": list(OF_CEREMONIES_NOT_PROVEN if ceremony else NOT_PROVEN),
    }


def _say(facts: dict[str, Any]) -> None:
    from textwrap import fill

    from prover.wire.wording import get_label

    k, n = facts["correct"], facts["samples"]
    shards = f" in {facts['shards']} shards" if facts["shards"] > 1 else ""
    typer.secho("valid", fg="green", bold=True)
    typer.echo(f"proven: the {facts['architecture']} committed to as D_W")
    typer.echo(f"  {facts['model_commitment']}")
    typer.echo(
        f"  classifies at least {k} of {n} samples of {facts['dataset']}{shards} correctly "
        f"({k / n:.2%})"
    )
    multipliers = ", ".join(map(str, facts["multipliers"])) or "none"
    typer.echo(f"  multipliers {multipliers}")
    compared = set(facts["compared"])
    typer.echo("stated for:")
    for name, value in ({"key_digest": facts["key_digest"]} | facts["occasion"]).items():
        note = "as expected" if name in compared else "not compared"
        typer.echo(f"  {get_label(name)} {value} ({note})")
    typer.echo("not proven:")
    for line in facts["not_proven"]:
        typer.echo(fill(line, 99, initial_indent="  ", subsequent_indent="    "))
