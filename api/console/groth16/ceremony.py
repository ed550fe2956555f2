"""`zkpot groth16 contribute`, `beacon` and `verify-key`: keys by many parties."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console.groth16.first_key import describe, make_first_key
from api.console.output import AsJson, emit_json

if TYPE_CHECKING:
    from kernels.backend import Backend
    from prover.formats.key_sections import KeySections
    from prover.progress import StageProgress

    Step = Callable[[KeySections, Backend, StageProgress], KeySections]

BackendName = Annotated[str, typer.Option("--backend", help="Which device computes.")]
ZkeyIn = Annotated[
    Path, typer.Argument(help="Key to go on with, .zkey.", exists=True, dir_okay=False)
]
ZkeyOut = Annotated[Path, typer.Argument(help="Where the new key goes, .zkey.", dir_okay=False)]


def register(group: typer.Typer) -> None:
    group.command()(contribute)
    group.command()(beacon)
    group.command(name="verify-key")(verify_key)


def contribute(
    zkey: ZkeyIn,
    out: ZkeyOut,
    name: Annotated[str, typer.Option("--name", help="Who contributes, for all to read.")] = "",
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Put a secret share into a key, drawn by this machine and forgotten with this process."""
    import secrets

    def step(key: KeySections, device: Backend, progress: StageProgress) -> KeySections:
        from prover.ceremony.contribute import contribute

        return contribute(
            key, name, random_bytes=secrets.token_bytes, backend=device, progress=progress
        )

    _go_on(zkey, out, step, backend, as_json=as_json)


def beacon(
    zkey: ZkeyIn,
    out: ZkeyOut,
    value: Annotated[str, typer.Argument(metavar="HASH", help="Of a beacon, in hexadecimal.")],
    exponent: Annotated[
        int, typer.Argument(metavar="ITERATIONS", help="It is hashed 2^ITERATIONS times, 10 to 63.")
    ],
    name: Annotated[str, typer.Option("--name", help="What the beacon is, for all to read.")] = "",
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """End a ceremony by a share that a public beacon draws, which all contributions came before."""
    try:
        raw = bytes.fromhex(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is not hexadecimal", param_hint="HASH") from None

    def step(key: KeySections, device: Backend, progress: StageProgress) -> KeySections:
        from prover.ceremony.contribute import contribute_beacon

        return contribute_beacon(key, name, raw, exponent, backend=device, progress=progress)

    _go_on(zkey, out, step, backend, as_json=as_json)


def verify_key(
    r1cs: Annotated[Path, typer.Argument(help="Circuit, .r1cs.", exists=True, dir_okay=False)],
    ptau: Annotated[Path, typer.Argument(help="Powers, .ptau.", exists=True, dir_okay=False)],
    zkey: Annotated[Path, typer.Argument(help="Key, .zkey.", exists=True, dir_okay=False)],
    vkey: Annotated[
        Path | None,
        typer.Option("--vkey", help="Where its verification key goes, JSON.", dir_okay=False),
    ] = None,
    max_exponent: Annotated[
        int, typer.Option(min=10, max=63, help="Repeat at most 2^N hashes of beacons.")
    ] = 24,
    powers: Annotated[
        bool,
        typer.Option(
            help="Verify the contributions to the powers of tau, too: hashes 384 bytes for each "
            "power of their whole ceremony.",
        ),
    ] = True,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Exit with 0 when a key is of this circuit and these powers, by the contributions it names.

    Any other ends with 1 and the first thing that is wrong.
    """
    import secrets

    from api.console.progress import show_steps
    from api.console.refusals import load_backend, refusing
    from prover.ceremony.chain import require_chain
    from prover.ceremony.transcript import hash_contribution
    from prover.formats.json_io import write_vkey
    from prover.formats.key_sections import read_sections

    with refusing(as_json=as_json):
        device = load_backend(backend)
        key = read_sections(zkey, device, secrets.token_bytes)
        with show_steps() as progress:
            limit = max_exponent if powers else None
            initial = make_first_key(r1cs, ptau, device, progress, exponent_limit=limit)
            require_chain(
                key,
                initial,
                random_bytes=secrets.token_bytes,
                backend=device,
                exponent_limit=max_exponent,
                progress=progress,
            )
        if vkey is not None:
            write_vkey(vkey, key.verifying)
    found = [
        {
            "name": one.origin.label,
            "beacon": one.origin.beacon is not None,
            "hash": hash_contribution(one).hex(),
        }
        for one in key.ceremony.contributions
    ]
    if as_json:
        emit_json({"verdict": "valid", "contributions": found, **describe(key)})
        return
    typer.secho("valid", fg="green", bold=True)
    for i, one in enumerate(found, 1):
        kind = "beacon" if one["beacon"] else "contribution"
        typer.echo(f"{kind} {i} {one['name']!r}, hash\n  {one['hash']}")
    typer.echo("names are words of whoever had the file: compare hashes with those published")
    typer.echo("secure if one contributor forgot its share, and one of the powers of tau its own")
    if vkey is not None:
        typer.echo(f"wrote {vkey} (public)")


def _go_on(zkey: Path, out: Path, step: Step, backend: str, *, as_json: bool) -> None:
    import secrets

    from api.console.progress import show_steps
    from api.console.refusals import load_backend, refusing
    from prover.ceremony.transcript import hash_contribution
    from prover.formats.key_sections import read_sections, write_sections

    with refusing(as_json=as_json):
        device = load_backend(backend)
        before = read_sections(zkey, device, secrets.token_bytes)
        with show_steps() as progress:
            after = step(before, device, progress)
        write_sections(out, after)
    last = after.ceremony.contributions[-1]
    own = hash_contribution(last).hex()
    facts = {"zkey": str(out), "contribution_hash": own, **describe(after)}
    if as_json:
        emit_json(facts)
        return
    typer.echo(f"contribution {len(after.ceremony.contributions)}, hash (publish it)\n  {own}")
    typer.echo(f"wrote {out} (public)")
