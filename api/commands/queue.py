"""`zkpot queue`: the queue at a glance, and its dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from api.console.output import AsJson, emit_json, refuse

if TYPE_CHECKING:
    from api.queue.admin import QueueAdmin

Letter = Annotated[str, typer.Argument(help="Id of a dead letter, of `zkpot queue dead`.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")]
Sure = Annotated[bool, typer.Option("--yes", help="Delete them without asking.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Look into the queue; replay or purge its dead letters.")
    group.command("status")(status)
    group.command("dead")(dead)
    group.command("replay")(replay)
    group.command("purge")(purge)
    app.add_typer(group, name="queue", no_args_is_help=True)


def status(as_json: AsJson = False) -> None:
    """Tasks by priority, jobs by state, workers that are up."""
    with _open_admin(as_json=as_json) as admin:
        load, workers = admin.view_load(), admin.list_workers()
    if as_json:
        emit_json(
            {
                "priorities": {
                    name.value: {
                        "waiting": part.waiting,
                        "leased": part.leased,
                        "oldest_age_s": part.oldest_age_s,
                    }
                    for name, part in load.priorities.items()
                },
                "jobs": {state.value: n for state, n in load.jobs.items()},
                "retrying": load.retrying,
                "dead": load.dead,
                "limit": load.limit,
                "workers": [worker.worker for worker in workers],
            }
        )
        return
    for name, part in load.priorities.items():
        age = "" if part.oldest_age_s is None else f", the oldest for {part.oldest_age_s:.0f} s"
        typer.echo(f"{name.value:7} {part.waiting} waiting{age}, {part.leased} being proven")
    typer.echo(f"retrying {load.retrying}, dead letters {load.dead}, limit {load.limit} tasks")
    for worker in workers:
        work = f"proves {worker.job_id}" if worker.job_id else "waits"
        typer.echo(f"worker {worker.worker} ({worker.backend}, {worker.device}) {work}")


def dead(limit: Limit = 50, as_json: AsJson = False) -> None:
    """Tasks that were given up, and why."""
    with _open_admin(as_json=as_json) as admin:
        letters = admin.list_dead(limit)
    if as_json:
        names = ("id", "job_id", "task", "attempts", "code", "message")
        emit_json({"letters": [{n: getattr(letter, n) for n in names} for letter in letters]})
        return
    for letter in letters:
        typer.echo(
            f"{letter.id}  job {letter.job_id} task {letter.task}, "
            f"{letter.attempts} attempts, {letter.code}: {letter.message}"
        )
    if not letters:
        typer.echo("no dead letters")


def replay(letter: Letter, as_json: AsJson = False) -> None:
    """Start the job of a dead letter anew."""
    reasons = {
        "not_found": "there is no such dead letter; see `zkpot queue dead`",
        "gone": "its job has passed its time to live; submit it again",
        "not_failed": "its job was submitted again meanwhile",
        "files_gone": "its private files were deleted when the job failed; submit the job again",
    }
    with _open_admin(as_json=as_json) as admin:
        outcome = admin.replay(letter)
    if outcome in reasons:
        refuse(reasons[outcome], code=outcome, as_json=as_json)
    if as_json:
        emit_json({"outcome": outcome})
    else:
        typer.echo("the job waits in the queue again")


def purge(yes: Sure = False, as_json: AsJson = False) -> None:
    """Delete all dead letters; their jobs stay failed."""
    if not yes:
        typer.confirm("Delete all dead letters?", abort=True)
    with _open_admin(as_json=as_json) as admin:
        n = admin.purge()
    if as_json:
        emit_json({"deleted": n})
    else:
        typer.echo(f"{n} dead letters deleted")


@contextmanager
def _open_admin(*, as_json: bool) -> Iterator[QueueAdmin]:
    from api.console.queue_access import open_queue, read_settings
    from api.queue.admin import QueueAdmin
    from api.queue.queue import JobQueue

    settings = read_settings()
    with open_queue(settings, as_json=as_json) as redis:
        yield QueueAdmin(JobQueue(redis, settings))
