"""`zkpot worker`: proves the jobs of the queue on one device."""

from __future__ import annotations

from typing import Annotated

import typer

from api.console.options import BackendName

Name = Annotated[str | None, typer.Option(help="How the worker calls itself; unique.")]


def register(app: typer.Typer) -> None:
    app.command("worker")(worker)


def worker(backend: BackendName = "", name: Name = None) -> None:
    """Take proof jobs from the queue until told to stop; SIGTERM lets the job at hand end.

    Start one per device: with --backend cuda each takes a GPU that no other worker has, or the one
    of ZKPOT_DEVICE, and waits while all are taken. Workers share the queue (ZKPOT_REDIS_URL, or an
    own server) and the data directory (ZKPOT_DATA_DIR).
    """
    import sys
    from dataclasses import replace
    from threading import Event

    from api.assembly import build_worker, make_name, spooling
    from api.console.queue_access import open_queue, read_settings
    from api.console.refusals import naming_device
    from api.process.logs import make_log
    from api.process.streams import outlast_output
    from api.process.supervisor import stop_on_signals
    from api.worker.device_claims import claiming

    outlast_output()
    settings = read_settings()
    if backend:
        settings = replace(settings, backend=backend)
    stop = Event()
    stop_on_signals(stop)
    log = make_log(to_people=sys.stderr.isatty())
    name = name or make_name()
    with (
        open_queue(settings, keeps_jobs=True) as redis,
        spooling(settings),
        claiming(settings, worker=name, stop=stop, log=log) as claimed,
    ):
        if stop.is_set():  # while it waited for a GPU
            return
        made = build_worker(redis, settings, name=name, stop=stop, log=log, claimed=claimed)
        with naming_device():
            device, reason = made.devices.describe(), made.devices.explain()
        log.info("worker is up", worker=made.name, device=device)
        if reason is not None:
            log.warning("its device cannot be used", reason=reason)
        made.run()
        log.info("worker has stopped", worker=made.name)
