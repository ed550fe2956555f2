"""`zkpot prove`: how many samples a committed model classifies correctly, proven; and
`zkpot prove training`: that a committed model is what training gave."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.console.ceremony.required import RequireCeremony
from api.console.dispatch import DEFAULT, Defaulting
from api.console.options import (
    BackendName,
    KeyDigest,
    KeyFolder,
    ModelFile,
    SamplesRef,
    parse_beacon,
)
from api.console.output import AsJson, emit_json

if TYPE_CHECKING:
    from api.console.proving import ProverKit
    from kernels.backend import Backend
    from prover.circuit.public_inputs import ShardInputs
    from prover.pedersen.commitment import Blinding, ModelCommitment
    from prover.pipeline import ProvedJob
    from prover.wire.statement import Occasion

NOBODY = "00" * 32
OWN_DRAW = (
    "WARNING: the steps are drawn from the commitments themselves. A prover can commit again, "
    "under other blindings, until a draw suits it, so the chance above holds for one try: give "
    "--beacon what nobody knew when the trajectory was committed to, or prove all steps."
)
CommitmentFile = Annotated[
    Path, typer.Option("--commitment", exists=True, dir_okay=False, help="File of `zkpot commit`.")
]
ProofFile = Annotated[Path, typer.Option("--out", help="File for the proof.", dir_okay=False)]
Chain = Annotated[str, typer.Option("--chain", help="Chain on which the proof counts.")]
Task = Annotated[str, typer.Option("--task", help="Task for which it counts.")]
Round = Annotated[int, typer.Option("--round", help="Round of the task.")]
Height = Annotated[int, typer.Option("--height", help="Height at which the commitment is final.")]
Client = Annotated[str, typer.Option("--client", help="Client's public key, hexadecimal.")]


class Mode(StrEnum):
    """How many steps of a training are proven."""

    FULL = "full"
    SAMPLED = "sampled"


def register(app: typer.Typer) -> None:
    group = typer.Typer(cls=Defaulting, help=prove.__doc__)
    group.command(DEFAULT, hidden=True)(prove)
    group.command("training")(training)
    app.add_typer(group, name="prove")


def prove(
    model: ModelFile,
    key: KeyFolder,
    commitment: CommitmentFile,
    dataset: SamplesRef,
    out: ProofFile,
    shards: Annotated[
        bool, typer.Option("--shards", help="A file of shards, even where one proof is enough.")
    ] = False,
    claim: Annotated[
        int | None, typer.Option(min=0, help="Claim this many correct samples; default all.")
    ] = None,
    chain: Chain = "local",
    task: Task = "local",
    round_index: Round = 0,
    height: Height = 0,
    client: Client = NOBODY,
    key_digest: KeyDigest = None,
    require_ceremony: RequireCeremony = False,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Prove a lower bound on the correct samples; the proof is verified before it is written.

    More samples than the key's circuit has are proven in shards, one file of proofs. How a model
    was trained is proven by `zkpot prove training`.
    """
    import time

    from api.console.blinding import load_blinding, load_commitment
    from api.console.files import write_public
    from api.console.machine import find_machine
    from api.console.occasion import parse_occasion
    from api.console.progress import show_steps
    from api.console.proving import ProverKit
    from api.console.refusals import load_backend, refusing
    from api.console.samples import load_reference
    from prover.pedersen.commitment import Committer
    from prover.pipeline import require_commitment
    from prover.plan import plan_proofs
    from prover.shards import Container, split_shards
    from prover.wire.statement import Occasion

    _require_folder(out)
    occasion = Occasion(
        **parse_occasion(
            chain=chain, task=task, round_index=round_index, height=height, client=client
        )
    )
    started = time.perf_counter()
    with refusing(as_json=as_json):
        device = load_backend(backend)
        samples = load_reference(dataset)
        committed, blinding = load_commitment(commitment), load_blinding(commitment)
        machine = find_machine(device)
        kit = ProverKit.load(
            model,
            key,
            key_digest=key_digest,
            memory_bytes=machine.memory_bytes,
            ceremony=require_ceremony,
        )
        n_samples = kit.card.n_samples
        parts = split_shards(kit.accuracy.public_layout, samples.images, samples.labels)
        shards = shards or len(parts) > 1
        _require_container(parts, claim, sharded=shards)
        plan = plan_proofs(
            kit.card.architecture,
            len(samples.labels),
            machine,
            n_samples=n_samples,
            is_padded=kit.key.verifying.is_of_ceremony,
        )
        typer.echo(plan.describe(has_key=True), err=True)
        kit = kit.prepare(device)
        with show_steps() as progress:
            committer = Committer(kit.model.architecture.n_parameters, device, progress)
        require_commitment(committed, kit.model, blinding, committer)
        loaded = time.perf_counter()
        jobs = _prove_all(kit, parts, occasion, committed, blinding, claim=claim, backend=device)
        proven = time.perf_counter()
        envelopes = tuple(job.envelope for job in jobs)
        raw = Container(envelopes).encode() if shards else envelopes[0]
        write_public(out, raw)
    facts: dict[str, Any] = {
        "out": str(out),
        "bytes": len(raw),
        "dataset": dataset,
        "shards": len(jobs),
        "samples": len(samples.labels),
        "correct": sum(job.statement.claimed_correct for job in jobs),
        "architecture": kit.card.architecture.name,
        "model_commitment": jobs[0].statement.commitments[0].hex(),
        "key_digest": kit.key.verifying.digest.hex(),
        "load_s": loaded - started,
        "prove_s": proven - loaded,
        "stages_s": _add_up(jobs),
    }
    if as_json:
        emit_json(facts)
        return
    k, n = facts["correct"], facts["samples"]
    typer.echo(
        f"proved: at least {k} of {n} samples of {dataset} correct ({k / n:.2%}), "
        f"in {facts['prove_s']:.1f} s"
    )
    if shards:
        typer.echo(f"{len(jobs)} shards under one D_W")
    typer.echo(f"wrote {out} ({len(raw)} bytes, public)")


def _require_container(parts: list[ShardInputs], claim: int | None, *, sharded: bool) -> None:
    """Usage error for more shards than a container of proofs has, or a claim about shards."""
    from prover.shards import MAX_SHARDS

    if sharded and claim is not None:
        raise typer.BadParameter("shards claim all their correct samples", param_hint="--claim")
    if len(parts) > MAX_SHARDS:
        raise typer.BadParameter(
            f"{len(parts)} shards, limit {MAX_SHARDS}; take a key for more samples",
            param_hint="--dataset",
        )


def _prove_all(
    kit: ProverKit,
    parts: list[ShardInputs],
    occasion: Occasion,
    commitment: ModelCommitment,
    blinding: Blinding,
    *,
    claim: int | None,
    backend: Backend,
) -> list[ProvedJob]:
    """One job per shard, with a kit that is prepared once for all of them."""
    import secrets
    import time

    from api.console.progress import show_steps
    from prover.series import prove_shards

    with show_steps() as progress:
        return prove_shards(
            kit.accuracy,
            kit.key,
            kit.model,
            parts,
            occasion=occasion,
            commitment=commitment,
            blinding=blinding,
            claimed=claim,
            random_bytes=secrets.token_bytes,
            backend=backend,
            clock=time.perf_counter,
            progress=progress,
        )


def _add_up(jobs: list[ProvedJob]) -> dict[str, float]:
    """Seconds per stage over all jobs."""
    return {stage: sum(job.timings_s[stage] for job in jobs) for stage in jobs[0].timings_s}


# -- proofs of training ----------------------------------------------------------------------------


def training(
    trajectory: Annotated[
        Path, typer.Argument(exists=True, help="Folder of `zkpot train --provable`.")
    ],
    batches: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Folder of `zkpot data commit`.")
    ],
    key: Annotated[
        Path,
        typer.Option("--key", exists=True, file_okay=False, help="Of `zkpot setup --training`."),
    ],
    commitment: CommitmentFile,
    out: ProofFile,
    mode: Annotated[
        Mode, typer.Option(help="Prove all steps, or those that are drawn.")
    ] = Mode.FULL,
    q: Annotated[
        int | None, typer.Option("--q", min=1, help="Of sampled: how many steps are drawn.")
    ] = None,
    beacon: Annotated[
        bytes | None,
        typer.Option(
            parser=parse_beacon,
            metavar="HEX",
            help="Of sampled: what they are drawn by, of 1 to 64 bytes that nobody knew when the "
            "trajectory was committed to. Default: the commitments alone; a prover can then commit "
            "again until a draw suits it.",
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="The .zkq that training started from; it is shown."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=(1 << 63) - 1, help="That training was given.")
    ] = None,
    chain: Chain = "local",
    task: Task = "local",
    round_index: Round = 0,
    height: Height = 0,
    client: Client = NOBODY,
    key_digest: KeyDigest = None,
    require_ceremony: RequireCeremony = False,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Prove that a committed model is what training from a public start gave, step by step.

    The commitment is of the model that training left; a proof of accuracy under the same one is
    about the same model. All is verified before it is written.
    """
    from api.console.occasion import parse_occasion
    from api.console.training.proving import ProofRequest, prove_training
    from federated.provable.proof_file import SEED_BYTES
    from prover.wire.statement import Occasion

    _require_folder(out)
    if (mode is Mode.SAMPLED) != (q is not None):
        raise typer.BadParameter("--mode sampled and --q go together", param_hint="--q")
    if beacon is not None and mode is Mode.FULL:
        raise typer.BadParameter("all steps are proven, none is drawn", param_hint="--beacon")
    occasion = parse_occasion(
        chain=chain, task=task, round_index=round_index, height=height, client=client
    )
    facts = prove_training(
        ProofRequest(
            trajectory=trajectory,
            batches=batches,
            key=key,
            key_digest=key_digest,
            ceremony=require_ceremony,
            commitment=commitment,
            n_proven=q,
            beacon=beacon or b"",
            start=start,
            seed=None if seed is None else seed.to_bytes(SEED_BYTES, "little"),
            occasion=Occasion(**occasion),
            out=out,
            backend=backend,
        ),
        as_json=as_json,
    )
    emit_json(facts) if as_json else _say_training(facts)


def _say_training(facts: dict[str, Any]) -> None:
    from textwrap import fill

    n, n_proven = facts["steps"], len(facts["proven_steps"])
    typer.echo(
        f"proved: {n_proven} of {n} steps of {facts['architecture']}, and that they end at D_W, "
        f"in {facts['prove_s']:.1f} s"
    )
    if facts["mode"] == Mode.SAMPLED:
        typer.echo(f"who cheats in one step escapes with chance {facts['escape_one_step']:.1%}")
        if not facts["beacon"]:
            typer.secho(fill(OWN_DRAW, 99), fg="red", bold=True, err=True)
    typer.echo(f"wrote {facts['out']} ({facts['bytes']} bytes, public)")


def _require_folder(out: Path) -> None:
    """Usage error before the work rather than after it."""
    if not out.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {out.parent}", param_hint="--out")
