"""`zkpot groth16`: files of circom and snarkjs, and contracts of their keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.console.groth16.ceremony import register as register_ceremony
from api.console.output import AsJson, emit_json, refuse


def _existing(help_text: str) -> typer.models.ArgumentInfo:
    argument: typer.models.ArgumentInfo = typer.Argument(
        help=help_text, exists=True, dir_okay=False, readable=True
    )
    return argument


BackendName = Annotated[str, typer.Option("--backend", help="Which device computes.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Groth16 with the files of circom and snarkjs.", no_args_is_help=True)
    group.command()(setup)
    group.command()(prove)
    group.command()(verify)
    group.command()(solidity)
    group.command()(calldata)
    register_ceremony(group)
    app.add_typer(group, name="groth16")


def setup(
    r1cs: Annotated[Path, _existing("Circuit, .r1cs.")],
    zkey: Annotated[Path, typer.Argument(help="Where the proving key goes, .zkey.")],
    vkey: Annotated[
        Path | None,
        typer.Argument(help="Where the verification key goes, JSON: of a key for development."),
    ] = None,
    ptau: Annotated[
        Path | None,
        typer.Option(
            "--ptau",
            exists=True,
            dir_okay=False,
            help="Powers of tau: make the first key of a ceremony, for others to contribute to.",
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure-development",
            help="Make a whole key under a trapdoor of this process, which could forge with it.",
        ),
    ] = False,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Make a key for a circuit of circom: the first one of a ceremony, or one for development."""
    if (ptau is None) == (not insecure):
        raise typer.BadParameter("give one of --ptau and --insecure-development")
    if ptau is not None:
        if vkey is not None:
            raise typer.BadParameter(
                "the first key verifies nothing: contribute, then `verify-key --vkey`",
                param_hint="VKEY",
            )
        _setup_first(r1cs, zkey, ptau, backend, as_json=as_json)
        return
    _setup_alone(r1cs, zkey, vkey, backend, as_json=as_json)


def _setup_first(r1cs: Path, zkey: Path, ptau: Path, backend: str, *, as_json: bool) -> None:
    import time

    from api.console.groth16.first_key import describe, make_first_key
    from api.console.progress import show_steps
    from api.console.refusals import load_backend, refusing
    from prover.formats.key_sections import SETUP_ORDER, write_sections

    with refusing(as_json=as_json):
        device = load_backend(backend)
        started = time.perf_counter()
        with show_steps() as progress:
            key = make_first_key(r1cs, ptau, device, progress)
        write_sections(zkey, key, SETUP_ORDER)
    facts = {"zkey": str(zkey), "setup_s": time.perf_counter() - started, **describe(key)}
    if as_json:
        emit_json(facts)
        return
    typer.echo(f"first key of {facts['domain']} rows, {facts['wires']} wires, circuit hash")
    typer.echo(f"  {facts['circuit_hash']}")
    typer.echo(f"wrote {zkey} (public; proves nothing until somebody contributes to it)")


def _setup_alone(r1cs: Path, zkey: Path, vkey: Path | None, backend: str, *, as_json: bool) -> None:
    import secrets
    import time
    from textwrap import fill

    from api.commands.setup import WARNING
    from api.console.progress import show_steps
    from api.console.refusals import load_backend, refusing
    from prover.formats.json_io import write_vkey
    from prover.formats.r1cs import read_r1cs
    from prover.formats.zkey import Zkey, write_zkey
    from prover.groth16.setup import setup_plain
    from prover.groth16.trapdoor import draw_trapdoor

    with refusing(as_json=as_json):
        device = load_backend(backend)
        started = time.perf_counter()
        circuit = read_r1cs(r1cs, device)
        with show_steps() as progress:
            key, rows = setup_plain(
                circuit,
                trapdoor=draw_trapdoor(secrets.token_bytes, n_linked=0),
                backend=device,
                progress=progress,
            )
        write_zkey(zkey, Zkey(key=key, circuit=rows), device)
        if vkey is not None:
            write_vkey(vkey, key.verifying)  # snarkjs could tell it by the other
    facts = {
        "warning": WARNING,
        "zkey": str(zkey),
        "vkey": None if vkey is None else str(vkey),
        "wires": key.n_wires,
        "n_public": key.n_public,
        "domain": key.domain,
        "setup_s": time.perf_counter() - started,
    }
    if as_json:
        emit_json(facts)
        return
    typer.secho(fill(WARNING, 99), fg="red", bold=True)
    typer.echo(f"key of {key.domain} rows, {key.n_wires} wires, in {facts['setup_s']:.2f} s")
    typer.echo(f"wrote {zkey}{'' if vkey is None else f' and {vkey}'} (public)")


def prove(
    zkey: Annotated[Path, _existing("Proving key, .zkey.")],
    witness: Annotated[Path, _existing("Values of all wires, .wtns.")],
    proof: Annotated[Path, typer.Argument(help="Where the proof goes, JSON.", dir_okay=False)],
    public: Annotated[Path, typer.Argument(help="Where public inputs go, JSON.", dir_okay=False)],
    trust_key: Annotated[
        bool,
        typer.Option(
            "--trust-key",
            help="Do not test the key's points. A key that passed the test here is known by its "
            "SHA-256, and not tested again anyway.",
        ),
    ] = False,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Make a proof, verify it, and write it for `snarkjs groth16 verify`."""
    import secrets
    import time

    from api.console.progress import show_steps
    from api.console.refusals import load_backend, refusing
    from kernels.files import write_together
    from prover.foreign import prove_foreign
    from prover.formats.json_io import encode_proof, encode_public
    from prover.formats.key_memory import KeyMemory
    from prover.formats.wtns import read_wtns
    from prover.formats.zkey import read_zkey

    with refusing(as_json=as_json):
        device = load_backend(backend)
        started = time.perf_counter()
        wires = read_wtns(witness)
        read = read_zkey(
            zkey,
            device,
            check_points=not trust_key,
            random_bytes=secrets.token_bytes,
            memory=KeyMemory.of(device),
        )
        loaded = time.perf_counter()
        with show_steps() as progress:
            made = prove_foreign(
                read, wires, random_bytes=secrets.token_bytes, backend=device, progress=progress
            )
        proven = time.perf_counter()
    key = read.key
    shown = encode_public(wires[1 : 1 + key.n_public])
    write_together([(proof, encode_proof(made)), (public, shown)])
    facts = {
        "proof": str(proof),
        "public": str(public),
        "wires": key.n_wires,
        "n_public": key.n_public,
        "domain": key.domain,
        "load_s": loaded - started,
        "prove_s": proven - loaded,
    }
    if as_json:
        emit_json(facts)
    else:
        typer.echo(
            f"proof of {key.domain} rows, {key.n_wires} wires, in {facts['prove_s']:.2f} s "
            f"(key and witness read in {facts['load_s']:.2f} s)"
        )


def verify(
    vkey: Annotated[Path, _existing("Verification key, JSON.")],
    public: Annotated[Path, _existing("Public outputs and inputs, JSON.")],
    proof: Annotated[Path, _existing("Proof, JSON.")],
    as_json: AsJson = False,
) -> None:
    """Exit with 0 for a valid proof, with 1 and the reason for any other."""
    from api.console.refusals import refusing
    from prover.formats.json_io import read_proof, read_public, read_vkey
    from prover.groth16.plain import verify_plain
    from prover.wire.verdict import Verdict

    with refusing(as_json=as_json):
        verdict = verify_plain(read_vkey(vkey), read_public(public), read_proof(proof))
    if verdict is not Verdict.VALID:
        reason = {
            Verdict.WRONG_STATEMENT: "the key is for another number of public inputs",
            Verdict.PAIRING_FAILED: "the proof does not hold for this key and these public inputs",
        }[verdict]
        refuse(reason, code=verdict.value, as_json=as_json)
    if as_json:
        emit_json({"verdict": verdict.value})
    else:
        typer.echo("valid")


def solidity(
    key: Annotated[
        Path,
        typer.Argument(
            help="Verification key of plain Groth16, JSON; or the folder of a key of training: "
            "keys/step, keys/export.",
            exists=True,
            readable=True,
        ),
    ],
    contract: Annotated[Path, typer.Argument(help="Where the source goes, .sol.", dir_okay=False)],
    name: Annotated[
        str | None,
        typer.Option(
            help="Of the contract; otherwise Groth16Verifier, StepVerifier or ExportVerifier."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a contract that verifies proofs of a key on Ethereum.

    Of plain Groth16 it takes the arguments of `snarkjs zkey export soliditycalldata`, of training
    those that `zkpot groth16 calldata` writes.
    """
    from api.console.groth16.contracts import write_for
    from api.console.refusals import refusing
    from kernels.files import write_whole

    with refusing(as_json=as_json):
        made = write_for(key, name)
        write_whole(contract, [made.source.encode()])
    facts = {
        "contract": str(contract),
        "n_public": made.n_public,
        "precompiles_gas": made.gas,
    }
    if as_json:
        emit_json(facts)
        return
    typer.echo(
        f"wrote {contract}: {made.n_public} public inputs, about {made.gas:,} gas "
        "a proof, besides the transaction's own"
    )


def calldata(
    proof: Annotated[Path, _existing("Proof of training, or those of a round.")],
    step: Annotated[
        int | None,
        typer.Option("--step", min=0, help="Of which step; otherwise of the export."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print what a contract of `zkpot groth16 solidity` is called with to verify a proof.

    `verify` of a contract of keys/step takes that of a step, of keys/export that of the export.
    """
    from api.console.groth16.calldata import find_call
    from api.console.refusals import refusing

    with refusing(as_json=as_json):
        found = f"0x{find_call(proof, step).hex()}"
    if as_json:
        emit_json({"calldata": found})
    else:
        typer.echo(found)
