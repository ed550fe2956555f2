"""`zkpot ceremony`: keys that many parties make, none of whom can forge while one is honest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.ceremony.addresses import ServerKey, connecting, is_url, require_folder
from api.ceremony.serving import serve
from api.console.options import (
    BackendName,
    BatchSize,
    ModelOrName,
    Norm,
    NSamples,
    Training,
    choose_training,
    parse_digest,
)
from api.console.output import AsJson, emit_json, refuse

if TYPE_CHECKING:
    from api.console.ceremony.choosing import Choice
    from kernels.backend import Backend
    from prover.ceremony.own.contribute import Origin
    from prover.ceremony.own.record import Transcript

Folder = Annotated[
    Path, typer.Argument(exists=True, file_okay=False, help="Folder of `zkpot ceremony new`.")
]
Where = Annotated[str, typer.Argument(help="Folder of `zkpot ceremony new`, or a server's URL.")]
Ptau = typer.Option("--ptau", exists=True, dir_okay=False, help="Powers of tau, prepared or not.")
MaxExponent = Annotated[
    int, typer.Option(min=10, max=63, help="Repeat at most 2^N hashes of beacons.")
]
Powers = Annotated[
    bool,
    typer.Option(
        help="Verify the contributions to the powers of tau, too: hashes 384 bytes for each power "
        "of their whole ceremony.",
    ),
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Make a key by many parties, for who relies on none.")
    for command in (new, serve, contribute, accept, verify, finish):
        group.command()(command)
    app.add_typer(group, name="ceremony", no_args_is_help=True)


def new(
    model: ModelOrName,
    ptau: Annotated[Path, Ptau],
    out: Annotated[Path, typer.Option(help="Folder for the ceremony.", file_okay=False)],
    samples: NSamples = None,
    norm: Norm = None,
    training: Training = False,
    batch: BatchSize = None,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Begin a ceremony: the first key of a circuit, of powers that are tested before.

    Nothing is drawn: everybody makes the same first key of the same circuit and powers. With
    --training two ceremonies begin in one folder, of a training step and of the export of its end.
    """
    import time

    from api.console.ceremony.choosing import choose_circuit, choose_recipe
    from api.console.ceremony.making import begin
    from api.console.ceremony.parts import join_facts, list_parts
    from api.console.progress import show_steps
    from api.console.refusals import load_backend, refusing
    from prover.keys.folder import TRANSCRIPT_NAME

    about_training = choose_training(training, batch, samples, norm)
    for part in list_parts(out).values():
        if (part / TRANSCRIPT_NAME).exists():
            refuse(f"{out} holds a ceremony already", code="file_exists", as_json=as_json)
    started = time.perf_counter()
    with refusing(as_json=as_json):
        device = load_backend(backend)
        choices: tuple[Choice, ...] = (
            choose_recipe(model, batch)
            if about_training
            else (choose_circuit(model, samples, norm),)
        )
        with show_steps() as progress:
            found = begin(choices, ptau, out, device, progress)
    new_s = time.perf_counter() - started
    facts = join_facts(found) | {"out": str(out), "new_s": new_s}
    if as_json:
        emit_json(facts)
        return
    for name, one in found.items():
        what = f"{one['architecture']} ({name})" if name else one["architecture"]
        typer.echo(f"first key of {what}: {one['rows']} rows on {one['domain']} points")
        typer.echo(f"place 0 (publish it)\n  {one['places'][0]}")
    typer.echo(f"in {new_s:.1f} s")
    typer.echo(f"wrote {out} (public; no key until somebody contributed and it is finished)")


def contribute(
    where: Where,
    name: Annotated[str, typer.Option("--name", help="Who contributes, for all to read.")] = "",
    key_file: ServerKey = None,
    work: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Of a URL: keep what is downloaded and computed here, to go on from after a cut.",
        ),
    ] = None,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Put secret shares into a ceremony, drawn by this machine and forgotten with this process.

    What others contributed is verified before. A folder goes on with the next contributor; the
    server of a URL (`zkpot ceremony serve`) gives a turn, and takes the contribution. Of a folder
    of training both ceremonies are contributed to.
    """
    import time

    from api.console.ceremony.making import contribute_to, describe
    from api.console.ceremony.parts import WHOLE, join_facts
    from api.console.progress import show_steps
    from api.console.refusals import load_backend, refusing
    from prover.ceremony.own.contribute import Origin

    started = time.perf_counter()
    with refusing(as_json=as_json):
        origin = Origin(name=name)
        device = load_backend(backend)
        if is_url(where):
            found = {WHOLE: describe(_contribute_there(where, origin, key_file, work, device))}
        else:
            with show_steps() as progress:
                found = contribute_to(require_folder(where), origin, device, progress)
    contribute_s = time.perf_counter() - started
    if as_json:
        emit_json(join_facts(found) | {"contribute_s": contribute_s})
        return
    for part, facts in found.items():
        n, of = len(facts["contributions"]), f" of {part}" if part else ""
        typer.echo(f"place {n}{of}, behind your contribution (publish it)\n  {facts['places'][n]}")
    goes_on = "the server accepted it" if is_url(where) else f"hand on {where} (public)"
    typer.echo(f"in {contribute_s:.1f} s; {goes_on}")


def _contribute_there(
    url: str, origin: Origin, key_file: Path | None, work: Path | None, device: Backend
) -> Transcript:
    from contextlib import ExitStack
    from tempfile import TemporaryDirectory

    from api.ceremony.contributing import Contributor, taking
    from api.console.progress import show_bytes, show_steps

    with ExitStack() as stack:
        if work is None:
            work = Path(stack.enter_context(TemporaryDirectory(prefix="zkpot-ceremony-")))
        stack.enter_context(taking(work))
        server = stack.enter_context(connecting(url, key_file))
        return Contributor(
            server,
            work,
            origin,
            device,
            say=lambda line: typer.echo(line, err=True),
            show_moved=show_bytes,
            show_computed=show_steps,
        ).run()


def accept(
    returned: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="What a contributor returns.")
    ],
    into: Annotated[
        Path,
        typer.Option("--into", exists=True, file_okay=False, help="The ceremony that it goes on."),
    ],
    place: Annotated[
        list[bytes] | None,
        typer.Option(
            parser=parse_digest,
            metavar="HEX",
            help="Refuse what does not have this place: what the contributor published. Once for "
            "each.",
        ),
    ] = None,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Take a returned folder into a ceremony: verified against this one, and only what is new.

    For who collects contributions. Circuit and first key stay those that are here; what was
    returned is only read, and whatever is wrong with it leaves the ceremony as it was.
    """
    import time

    from api.console.ceremony.accepting import accept_parts
    from api.console.ceremony.making import describe
    from api.console.ceremony.parts import join_facts
    from api.console.progress import show_steps
    from api.console.refusals import load_backend, refusing

    started = time.perf_counter()
    with refusing(as_json=as_json), show_steps() as progress:
        device = load_backend(backend)
        parts = accept_parts(into, returned, device, progress, places=place or ())
    accept_s = time.perf_counter() - started
    found = {
        name: describe(after) | {"accepted": len(after.contributions) - len(before.contributions)}
        for name, (before, after) in parts.items()
    }
    if as_json:
        emit_json(join_facts(found) | {"accept_s": accept_s})
        return
    typer.secho("accepted", fg="green", bold=True)
    for name, facts in found.items():
        _say_contributions(name, facts)
    typer.echo(f"in {accept_s:.1f} s; hand on {into} (public)")


def finish(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="Folder for the key.", file_okay=False)],
    beacon: Annotated[
        str,
        typer.Option("--beacon", metavar="HEX", help="Of a public beacon of after the ceremony."),
    ],
    iterations: Annotated[
        int,
        typer.Option(
            min=10,
            max=24,  # of `prover.ceremony.beacon_limit`, imported when it is needed
            help="It is hashed 2^N times, so that it comes late; everybody repeats it.",
        ),
    ] = 10,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """End a ceremony by shares that a public beacon draws, and write the key; of training both."""
    from api.console.ceremony import making
    from api.console.ceremony.parts import TRAINING, join_digests, join_facts
    from api.console.files import require_no_key
    from api.console.options import parse_beacon
    from api.console.progress import show_steps
    from api.console.refusals import load_backend, refusing
    from prover.ceremony.own.contribute import Origin

    drawn = parse_beacon(beacon)
    for place in (out, *(out / name for name in TRAINING)):
        require_no_key(place, as_json=as_json)
    with refusing(as_json=as_json):
        device = load_backend(backend)
        origin = Origin(name="beacon", beacon=drawn, exponent=iterations)
        with show_steps() as progress:
            found = making.finish(folder, out, origin, device, progress)
    digest = join_digests([bytes.fromhex(one["key_digest"]) for one in found.values()]).hex()
    facts = join_facts(found) | {"out": str(out), "key_digest": digest}
    if as_json:
        emit_json(facts)
        return
    for name, one in found.items():
        _say_contributions(name, one)
    _say_forgotten()
    typer.echo(f"key digest {digest}{' (of both)' if len(found) > 1 else ''}")
    typer.echo(f"wrote {out} (public; `zkpot ceremony verify {out} --ptau ...` is for everybody)")


def verify(
    where: Annotated[
        str, typer.Argument(help="A ceremony's folder or URL, or the folder of a key.")
    ],
    ptau: Annotated[Path | None, Ptau] = None,
    place: Annotated[
        list[bytes] | None,
        typer.Option(
            parser=parse_digest,
            metavar="HEX",
            help="Refuse a ceremony without this place: what your contribution printed. Once for "
            "each.",
        ),
    ] = None,
    max_exponent: MaxExponent = 24,
    powers: Powers = True,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Exit with 0 when a ceremony, or a key of one, holds; with 1 and the first fault otherwise.

    With --ptau everything is verified: the first key is made again, and every point compared.
    Without, of a ceremony that the last state follows from the first; of a key its chain alone.
    """
    import time

    from api.console.ceremony.making import describe
    from api.console.ceremony.parts import join_digests, join_facts, require_places
    from api.console.ceremony.verifying import verify_parts
    from api.console.progress import show_steps
    from api.console.refusals import load_backend, refusing

    started = time.perf_counter()
    with refusing(as_json=as_json), _bringing(where) as folder, show_steps() as progress:
        parts = verify_parts(
            folder,
            ptau,
            load_backend(backend),
            progress,
            exponent_limit=max_exponent,
            with_history=powers,
        )
        require_places((part.transcript for part in parts.values()), place or ())
    keys = [part.key.digest for part in parts.values() if part.key is not None]
    left_out = [*dict.fromkeys(line for part in parts.values() for line in part.left_out)]
    found = {name: describe(part.transcript) for name, part in parts.items()}
    digest = join_digests(keys).hex() if keys else None
    facts: dict[str, Any] = join_facts(found) | {
        "verdict": "valid",
        "key_digest": digest,
        "not_verified": left_out,
        "verify_s": time.perf_counter() - started,
    }
    if as_json:
        emit_json(facts)
        return
    typer.secho("valid", fg="green", bold=True)
    for name, one in found.items():
        _say_contributions(name, one)
    _say_forgotten()
    if digest is not None:
        typer.echo(f"key digest {digest}{' (of both)' if len(parts) > 1 else ''}")
    for line in left_out:
        typer.echo(f"not verified: {line}")


@contextmanager
def _bringing(where: str) -> Iterator[Path]:
    """A folder; of a URL one that is gone afterwards."""
    from tempfile import TemporaryDirectory

    from api.ceremony.contributing import fetch_ceremony
    from api.console.progress import show_bytes

    if not is_url(where):
        yield require_folder(where)
        return
    with TemporaryDirectory(prefix="zkpot-ceremony-") as scratch:
        with connecting(where, None) as server, show_bytes() as update:
            fetch_ceremony(server, Path(scratch), update)
        yield Path(scratch)


def _say_contributions(part: str, facts: dict[str, Any]) -> None:
    of = f" of {part}" if part else ""
    typer.echo(f"place 0{of}, the first key\n  {facts['places'][0]}")
    for i, one in enumerate(facts["contributions"], 1):
        kind = "beacon" if one["beacon"] else f"contribution of {one['name']!r}"
        typer.echo(f"place {i}{of}, {kind}\n  {facts['places'][i]}")


def _say_forgotten() -> None:
    typer.echo("names are words of whoever had the folder: compare places with those published")
    typer.echo("secure if one contributor forgot its shares, and one of the powers of tau its own")
