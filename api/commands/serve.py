"""`zkpot api`, `zkpot up` and `zkpot api-key`: the HTTP service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console.options import BackendName, Host, KeyFile, Names, Port, WithoutKeys
from api.console.output import AsJson, emit_json

if TYPE_CHECKING:
    from redis import Redis

    from api.http.chain.history import ChainHistory
    from api.settings import Settings

WORKER_GRACE_S = 10.0
WORKER_NICENESS = 10
"""On a machine that all share, a proof takes what the answers to callers leave."""
Workers = Annotated[
    int, typer.Option(min=0, max=64, help="Processes that prove; the processors are divided.")
]


def register(app: typer.Typer) -> None:
    app.command("up")(up)
    app.command("api")(api)
    app.command("api-key")(api_key)


def api(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    keys: KeyFile = None,
    without_keys: WithoutKeys = False,
    name: Names = None,
) -> None:
    """Serve the HTTP API and its page; `zkpot worker` proves the jobs."""
    from prometheus_client import CollectorRegistry

    from api.assembly import build_service, spooling
    from api.console.queue_access import open_queue, read_settings
    from api.http.app import build_app
    from api.http.listening import listen_or_refuse, load_keys, show_address
    from api.http.server import build_server
    from api.process.streams import outlast_output
    from api.process.supervisor import stop_on_signals
    from api.queue.metrics import QueueCollector
    from api.queue.queue import JobQueue

    outlast_output()
    ring = load_keys(keys, host=host, without_keys=without_keys)
    names = [host, *(name or ())]
    settings = read_settings()
    with open_queue(settings, keeps_jobs=True) as redis, spooling(settings):
        service = build_service(redis, settings)
        service.sweep()
        listening = listen_or_refuse(host, port)
        registry = CollectorRegistry()
        QueueCollector(JobQueue(redis, settings), registry)
        with closing(service), _following(settings, redis) as chain, listening:
            app = build_app(
                service,
                keys=ring,
                registry=registry,
                chain=chain,
                names=names,
                experiments=settings.experiments,
            )
            server = build_server(app, host=host, port=port)
            stop_on_signals(server.stop)
            typer.echo(show_address(host, listening))
            server.run(sockets=[listening])


def up(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    keys: KeyFile = None,
    without_keys: WithoutKeys = False,
    name: Names = None,
    backend: BackendName = "",
    workers: Workers = 1,
) -> None:
    """Run the whole service on this machine, and start what ends before its time again."""
    from threading import Event

    from api.console.machine import find_memory
    from api.console.queue_access import keep_server, read_settings
    from api.console.refusals import naming_device
    from api.process.program import PROGRAM
    from api.process.streams import outlast_output
    from api.process.supervisor import Command, Supervisor, stop_on_signals
    from api.settings import share_threads

    outlast_output()
    settings = read_settings()
    port = choose_port(host, port)  # an API that is started again keeps its address
    options = ["--host", host, "--port", str(port)]
    options += ["--keys", str(keys)] if keys else []
    options += ["--without-keys"] if without_keys else []
    options += [f"--name={other}" for other in name or ()]
    device = ["--backend", backend] if backend else []
    with naming_device():
        shares = [f"ZKPOT_THREADS={share_threads(workers)}"]
    memory = find_memory(settings)
    if memory is not None and settings.memory_bytes is None:
        shares.append(f"ZKPOT_MEMORY_BYTES={max(1, memory // workers)}")
    stop = Event()
    stop_on_signals(stop)

    def report(line: str) -> None:
        typer.echo(line, err=True)

    with keep_server(settings, report=report) as mend:
        supervisor = Supervisor(
            [
                Command(name="api", argv=[*PROGRAM, "api", *options]),
                *(
                    Command(
                        name=f"worker {index + 1}",
                        argv=["env", *shares, *PROGRAM, "worker", *device],
                        grace_s=settings.drain_s + WORKER_GRACE_S,
                        niceness=WORKER_NICENESS,
                    )
                    for index in range(workers)
                ),
            ],
            report=report,
            mend=mend,
        )
        if not supervisor.run(stop):
            raise typer.Exit(1)


def api_key(
    name: Annotated[str, typer.Argument(help="Whose key; owns what is uploaded with it.")],
    file: Annotated[Path, typer.Option(help="File of keys to add to.", dir_okay=False)],
    scope: Annotated[list[str], typer.Option(help="read, jobs, verify, contribute, admin.")],
    as_json: AsJson = False,
) -> None:
    """Make an API key. It is shown once; the file keeps its digest."""
    import secrets

    from api.console.files import write_private
    from api.errors import KeyFileError
    from api.http.auth import Scope, make_key

    try:
        scopes = [Scope(value) for value in scope]
        key, line = make_key(name, scopes, secrets.token_bytes)
    except KeyFileError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from error
    except ValueError as error:
        allowed = ", ".join(Scope)
        raise typer.BadParameter(f"scopes are {allowed}", param_hint="--scope") from error
    before = file.read_bytes() if file.exists() else b""
    if before and not before.endswith(b"\n"):  # an editor's, or a hand's
        before += b"\n"
    write_private(file, before + line.encode("ascii") + b"\n")
    if as_json:
        emit_json({"name": name, "key": key, "scopes": sorted(scopes)})
    else:
        typer.echo(key)


@contextmanager
def _following(settings: Settings, redis: Redis) -> Iterator[ChainHistory | None]:
    """The chain of the settings' genesis, followed meanwhile; None without one."""
    import sys

    from api.console.refusals import meaning
    from api.http.chain.follow import ChainFollower
    from api.process.logs import make_log
    from consensus.errors import GenesisInvalid
    from consensus.wire.genesis import Genesis

    if settings.genesis is None:
        yield None
        return
    with meaning("ZKPOT_GENESIS", GenesisInvalid, OSError):
        genesis = Genesis.decode(settings.genesis.read_bytes())
    follower = ChainFollower(genesis, redis, log=make_log(to_people=sys.stderr.isatty()))
    follower.start()
    try:
        yield follower.history
    finally:
        follower.close()


def choose_port(host: str, port: int, *, as_json: bool = False) -> int:
    """The port, or a free one for 0, once nobody else is seen to listen there."""
    from api.http.listening import listen_or_refuse

    with listen_or_refuse(host, port, as_json=as_json) as probe:
        return int(probe.getsockname()[1])
