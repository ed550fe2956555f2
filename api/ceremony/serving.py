"""`zkpot ceremony serve`: contributions over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console.options import BackendName, Host, KeyFile, Names, Port, WithoutKeys

if TYPE_CHECKING:
    from api.ceremony.desk import Desk
    from api.http.server import Server


def serve(
    folder: Annotated[
        Path,
        typer.Argument(exists=True, file_okay=False, help="Folder of `zkpot ceremony new`."),
    ],
    host: Host = "127.0.0.1",
    port: Port = 8000,
    keys: KeyFile = None,
    without_keys: WithoutKeys = False,
    name: Names = None,
    turn: Annotated[
        int,
        typer.Option(
            min=30,
            max=7 * 24 * 3600,
            metavar="SECONDS",
            help="A turn in which nothing moves for so long ends, and the next one begins.",
        ),
    ] = 900,
    backend: BackendName = "cpu",
) -> None:
    """Let contributors come over HTTP, one after the other: `zkpot ceremony contribute URL`.

    Whoever has a key with the scope `contribute` may; all may read. What comes is verified before
    it counts. The queue and what is half uploaded survive a restart.
    """
    import secrets
    import sys
    import time

    from api.ceremony.app import build_app
    from api.ceremony.desk import Desk
    from api.ceremony.queue import Limits
    from api.console.ceremony.holding import holding
    from api.console.ceremony.parts import list_parts
    from api.console.refusals import load_backend, refusing
    from api.http.listening import listen_or_refuse, load_keys, show_address
    from api.http.server import build_server
    from api.process.logs import make_log
    from api.process.streams import outlast_output
    from api.process.supervisor import stop_on_signals
    from prover.keys.training_folder import EXPORT_NAME, STEP_NAME

    if len(list_parts(folder)) > 1:
        raise typer.BadParameter(
            f"a server takes one ceremony: serve {folder / STEP_NAME} and {folder / EXPORT_NAME}",
            param_hint="FOLDER",
        )
    outlast_output()
    ring = load_keys(keys, host=host, without_keys=without_keys)
    with refusing(as_json=False), holding(folder), listen_or_refuse(host, port) as listening:
        desk = Desk(
            folder,
            limits=Limits(turn_s=turn),
            backend=load_backend(backend),
            clock=time.monotonic,
            random_bytes=secrets.token_bytes,
            log=make_log(to_people=sys.stderr.isatty()),
        )
        app = build_app(desk, keys=ring, names=[host, *(name or ())])
        server = build_server(app, host=host, port=port)
        stop_on_signals(server.stop)
        with checking(desk, server):
            typer.echo(show_address(host, listening))
            server.run(sockets=[listening])


@contextmanager
def checking(desk: Desk, server: Server) -> Iterator[None]:
    """What is handed in is checked meanwhile, in a thread.

    A desk that cannot go on, by a full disk, ends the server; what it failed by is raised then.
    """
    from threading import Event, Thread

    stop, failed = Event(), list[Exception]()

    def work() -> None:
        try:
            desk.run(stop)
        except Exception as error:
            failed.append(error)
            server.should_exit = True

    thread = Thread(target=work, name="checks", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        desk.wake()
        thread.join()
    if failed:
        raise failed[0]
