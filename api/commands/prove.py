"""`zkpot prove`: how many samples a committed model classifies correctly, proven."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.console.options import BackendName, KeyDigest, KeyFolder, ModelFile, SamplesRef
from api.console.output import AsJson, emit_json

if TYPE_CHECKING:
    from api.console.proving import ProverKit
    from kernels.backend import Backend
    from prover.circuit.public_inputs import ShardInputs
    from prover.pedersen.commitment import Blinding, ModelCommitment
    from prover.pipeline import ProvedJob
    from prover.wire.statement import Occasion

NOBODY = "00" * 32


def register(app: typer.Typer) -> None:
    app.command()(prove)


def prove(
    model: ModelFile,
    key: KeyFolder,
    commitment: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="File of `zkpot commit`.")
    ],
    dataset: SamplesRef,
    out: Annotated[Path, typer.Option(help="File for the proof.", dir_okay=False)],
    shards: Annotated[
        bool, typer.Option("--shards", help="A file of shards, even where one proof is enough.")
    ] = False,
    claim: Annotated[
        int | None, typer.Option(min=0, help="Claim this many correct samples; default all.")
    ] = None,
    chain: Annotated[str, typer.Option(help="Chain on which the proof counts.")] = "local",
    task: Annotated[str, typer.Option(help="Task for which it counts.")] = "local",
    round_index: Annotated[int, typer.Option("--round", help="Round of the task.")] = 0,
    height: Annotated[int, typer.Option(help="Height at which the commitment is final.")] = 0,
    client: Annotated[str, typer.Option(help="Client's public key, hexadecimal.")] = NOBODY,
    key_digest: KeyDigest = None,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Prove a lower bound on the correct samples; the proof is verified before it is written.

    More samples than the key's circuit has are proven in shards, one file of proofs.
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

    if not out.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {out.parent}", param_hint="--out")
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
        kit = ProverKit.load(model, key, key_digest=key_digest, memory_bytes=machine.memory_bytes)
        n_samples = kit.card.n_samples
        parts = split_shards(kit.accuracy.public_layout, samples.images, samples.labels)
        shards = shards or len(parts) > 1
        _require_container(parts, claim, sharded=shards)
        plan = plan_proofs(kit.card.architecture, len(samples.labels), machine, n_samples=n_samples)
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
    from prover.pipeline import prove_job

    jobs = []
    with show_steps() as progress:
        for index, part in enumerate(parts):
            if len(parts) > 1:
                progress("shards", index, len(parts))
            jobs.append(
                prove_job(
                    kit.accuracy,
                    kit.key,
                    kit.model,
                    images=part.images,
                    labels=part.labels,
                    occasion=occasion,
                    shard_index=index,
                    commitment=commitment,
                    blinding=blinding,
                    claimed=claim,
                    random_bytes=secrets.token_bytes,
                    backend=backend,
                    clock=time.perf_counter,
                    progress=progress,
                )
            )
        if len(parts) > 1:
            progress("shards", len(parts), len(parts))
    return jobs


def _add_up(jobs: list[ProvedJob]) -> dict[str, float]:
    """Seconds per stage over all jobs."""
    return {stage: sum(job.timings_s[stage] for job in jobs) for stage in jobs[0].timings_s}
