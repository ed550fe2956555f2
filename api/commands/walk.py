"""`zkpot walk`: one proof from training to a verdict, each step a command of this program."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console.output import refuse

if TYPE_CHECKING:
    from rich.console import Console

ARCHITECTURE = "mlp-784-128-10"
VALID, REFUSED = 0, 1  # exit codes of `zkpot verify`
TAMPERED_BYTE = -100  # inside the 224 bytes of the proof, which end the envelope

Samples = Annotated[int, typer.Option(min=2, max=2048, help="Test images under one proof.")]
Keep = Annotated[Path | None, typer.Option("--out", help="Keep all files in this new directory.")]


def register(app: typer.Typer) -> None:
    app.command()(walk)


def walk(samples: Samples = 1024, out: Keep = None) -> None:
    """Train, quantize, commit, prove and verify a network on real digits; then forge, in vain."""
    from rich.console import Console

    console = Console(highlight=False)
    with ExitStack() as stack:
        try:
            if out is None:
                directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zkpot-")))
            else:
                directory = out
                directory.mkdir(parents=True)
        except OSError as error:
            refuse(f"{error}; give --out a new directory", code="io_error")
        for title, arguments in list_steps(samples):
            _run(title, arguments, directory, expected=VALID, console=console)
        proof = directory / "proof.zkp"
        tamper(proof, directory / "forged.zkp")
        _run(
            "One byte of the proof is changed: it must be refused",
            verify_arguments("forged.zkp", samples),
            directory,
            expected=REFUSED,
            console=console,
        )
    console.print("\n[bold]The committed network was proven, and the forgery was refused.[/bold]")


def list_steps(samples: int) -> list[tuple[str, list[str]]]:
    """What happens, and the command that does it."""
    shard = f"mnist:test[0:{samples}]"
    commit = ["commit", "model.zkq", "--out", "model.commit"]
    inputs = ["--key", "key/", "--commitment", "model.commit", "--dataset", shard]
    prove = ["prove", "model.zkq", *inputs, "--out", "proof.zkp"]
    train = ["train", "--dataset", "mnist", "--arch", ARCHITECTURE, "--out", "float.safetensors"]
    quantize = ["quantize", "float.safetensors", "--dataset", "mnist", "--out", "model.zkq"]
    setup = ["setup", "model.zkq", "--samples", str(samples), "--out", "key/"]
    return [
        ("A client trains on its own data", train),
        ("It makes the network an integer one, which circuits can speak about", quantize),
        ("Anyone makes keys for networks of this shape", setup),
        ("The client binds itself to its weights", commit),
        ("It proves how many public test images the committed network gets right", prove),
        ("A verifier, who has no weight, checks", verify_arguments("proof.zkp", samples)),
    ]


def verify_arguments(proof: str, samples: int) -> list[str]:
    """The verifier's command."""
    shard = f"mnist:test[0:{samples}]"
    return ["verify", proof, "--key", "key/", "--dataset", shard, "--commitment", "model.commit"]


def tamper(proof: Path, forged: Path) -> None:
    """A copy of the envelope with one byte of its proof changed."""
    from api.console.files import write_public

    raw = bytearray(proof.read_bytes())
    raw[TAMPERED_BYTE] ^= 1
    write_public(forged, bytes(raw))


def _run(
    title: str, arguments: list[str], directory: Path, *, expected: int, console: Console
) -> None:
    """Runs one command where the files are; ends the walk if it does not end as it must."""
    console.print(f"\n[bold]{title}[/bold]\n[dim]$ zkpot {' '.join(arguments)}[/dim]")
    from api.process.program import PROGRAM

    code = subprocess.run([*PROGRAM, *arguments], cwd=directory, check=False).returncode
    if code != expected:
        console.print(f"[red]zkpot {arguments[0]} ended with {code}, not {expected}[/red]")
        raise typer.Exit(1)
