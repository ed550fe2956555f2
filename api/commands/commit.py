"""`zkpot commit`: bind a private model to a short public value."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console.options import BackendName, ModelFile
from api.console.output import AsJson, emit_json, refuse

if TYPE_CHECKING:
    from prover.pedersen.commitment import Blinding, ModelCommitment


def register(app: typer.Typer) -> None:
    app.command()(commit)


def commit(
    model: ModelFile,
    out: Annotated[Path, typer.Option(help="File for the public commitment.", dir_okay=False)],
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Commit to a model, for proofs under any key; its blinding is kept beside the commitment,
    readable by you only."""
    import secrets

    from api.console.blinding import blinding_path
    from api.console.model_files import load_model
    from api.console.progress import show_steps
    from api.console.refusals import load_backend, refusing
    from kernels.encoding import encode_g1
    from prover.pedersen.commitment import Committer, draw_blinding
    from prover.pipeline import commit_job

    if not out.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {out.parent}", param_hint="--out")
    secret = blinding_path(out)
    for path in (out, secret):
        if path.exists():
            refuse(
                f"{path} exists, and without its blinding a commitment is lost: "
                "choose another --out",
                code="file_exists",
                as_json=as_json,
            )
    with refusing(as_json=as_json):
        device = load_backend(backend)
        private = load_model(model)
        blinding = draw_blinding(secrets.token_bytes)
        with show_steps() as progress:
            committer = Committer(private.architecture.n_parameters, device, progress)
        commitment = commit_job(private, blinding, committer)
        _write_both(out, commitment, secret, blinding)
    d_w = encode_g1(commitment.d).hex()
    if as_json:
        emit_json(
            {
                "out": str(out),
                "blinding": str(secret),
                "model_commitment": d_w,
            }
        )
        return
    typer.echo(f"D_W {d_w}")
    typer.echo(f"wrote {out} (public: tells nothing about the weights)")
    typer.echo(f"wrote {secret} (private: readable by you only; keep it, proving needs it)")


def _write_both(out: Path, commitment: ModelCommitment, secret: Path, blinding: Blinding) -> None:
    """The blinding first: a commitment without one must never exist."""
    from api.console.files import create_private, write_public

    create_private(secret, blinding.encode())
    try:
        write_public(out, commitment.encode())
    except BaseException:
        secret.unlink()
        raise
