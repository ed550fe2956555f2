"""READ FIRST: a demonstration from an empty folder to its story.

    set up     data, a start, the key of the circuit, the chain's keys               `stage`
    run        the service and validators as processes; clients in threads           `play`
    tell       what is on the validators' disks, and whether it is true              `story`, `show`
    search     all that others hold, for what only clients may have                  `search`

The main thread keeps the processes; the play has a thread of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event, Thread

import httpx2
from redis import Redis

from api.demo.play import Actor, Feed, cast, list_commands, perform
from api.demo.search import Searched, Searcher, Secret, read_files, read_server, search
from api.demo.stage import CHAIN, CLIENTS, LOGS, Plan, Report, Stage, set_up
from api.demo.story import tell
from api.demo.told import Participant, Story
from api.errors import DemoFailed, describe
from api.process.supervisor import Supervisor
from api.settings import Settings
from api.valkey.embedded import connect
from consensus.content.blobs import FileBlobs
from consensus.content.interface import Blobs
from consensus.disk.block_files import read_finals
from consensus.disk.certificates import load_certificate
from consensus.disk.development import BLOBS, node_home
from consensus.errors import BlobUnavailable, LedgerError, PoolInvalid
from consensus.wire.finality import FinalityCertificate
from consensus.wire.messages import FinalBlock
from kernels.backend import Backend

OTHERS = ("queue", "uploads", "private")
"""Of the data directory: the server's append-only file, and what the service keeps for callers."""
SERVICE_S = 90.0
LEDGERS_S = 30.0
_PAUSE_S = 0.2

Told = Callable[[Story], bool]
"""told(story): shows a story; whether everything stays up after it."""


def set_up_in(folder: Path, plan: Plan, data_dir: Path, backend: Backend, report: Report) -> Stage:
    """A stage in place of the one before. Raises as `set_up`."""
    for name in (CHAIN, CLIENTS, LOGS):
        shutil.rmtree(folder / name, ignore_errors=True)
    return set_up(plan, folder, data_dir, backend, report)


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """The folder for this process alone. Raises DemoFailed when another has it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoFailed(
                f"another demonstration uses {folder}; let it end, or set ZKPOT_DATA_DIR"
            ) from None
        yield


def run(
    stage: Stage,
    settings: Settings,
    backend: Backend,
    *,
    host: str,
    port: int,
    stop: Event,
    mend: Callable[[], None],
    say: Callable[[str], None],
    bars: Callable[[], AbstractContextManager[Report]],
    told: Told,
) -> None:
    """Plays, tells and shows; returns when all processes have ended. From the main thread.

    The embedded server must run; `mend` keeps it. Raises DemoFailed.
    """
    failures: list[str] = []

    def play() -> None:
        try:
            with bars() as report:
                story = _play(stage, settings, backend, f"http://{host}:{port}", stop, report)
            if told(story):
                return
        except (DemoFailed, BlobUnavailable, PoolInvalid, LedgerError, OSError) as error:
            failures.append(describe(error).text)
        except BaseException:
            failures.append(
                f"the demonstration has a bug; its traceback is above, its files in {stage.folder}"
            )
            raise
        stop.set()

    thread = Thread(target=play, name="play")
    supervisor = Supervisor(list_commands(stage, host=host, port=port), report=say, mend=mend)
    thread.start()
    try:
        if not supervisor.run(stop):
            failures.append(f"a process refused its settings; read {stage.folder / LOGS}")
    finally:
        stop.set()
        thread.join()
    if failures:
        raise DemoFailed(failures[0])


def _play(
    stage: Stage, settings: Settings, backend: Backend, url: str, stop: Event, report: Report
) -> Story:
    _wait_for_service(url, stop, stage.folder)
    redis = connect(settings)
    try:
        feed = Feed(stage.genesis, redis)
        actors = cast(stage, feed, backend)
        perform(stage, feed, actors, stop, report)
        ledgers = _read_ledgers(stage, feed.state.height)
        return tell(
            stage.genesis,
            ledgers,
            stage.blobs,
            [_describe(actor, stage.plan.n_rounds) for actor in actors],
            validators=[Held(FileBlobs(home / BLOBS)) for home in _list_homes(stage)],
            certificates=_read_certificates(stage, feed.state.height),
            search=lambda hidden: _search(stage, settings, redis, hidden),
            random_bytes=secrets.token_bytes,
            report=report,
            subject=f"{stage.plan.model} on {stage.plan.dataset}",
        )
    finally:
        redis.close()


def _wait_for_service(url: str, stop: Event, folder: Path) -> None:
    ends_at, last = time.monotonic() + SERVICE_S, ""
    while not stop.is_set():
        try:
            answer = httpx2.get(f"{url}/v1/leader", timeout=5, trust_env=False)  # by no proxy
            if answer.is_success:
                return
            last = f"status {answer.status_code}"
        except httpx2.HTTPError as error:  # it is not up yet
            last = type(error).__name__
        if time.monotonic() > ends_at:
            log = folder / "logs" / "api.log"
            raise DemoFailed(f"the service at {url} did not come up ({last}); read {log}")
        stop.wait(_PAUSE_S)
    raise DemoFailed("stopped before the service was up")


def _read_ledgers(stage: Stage, height: int) -> list[list[FinalBlock]]:
    """What each validator has on its disk, as soon as all of it is there."""
    ends_at = time.monotonic() + LEDGERS_S
    while True:
        ledgers = [read_finals(home, stage.genesis) for home in _list_homes(stage)]
        if all(len(ledger) >= height for ledger in ledgers) or time.monotonic() > ends_at:
            return ledgers
        time.sleep(_PAUSE_S)


def _read_certificates(stage: Stage, height: int) -> list[FinalityCertificate | None]:
    """Each validator's newest, as soon as all are of the last block: that is a moment after it."""
    ends_at = time.monotonic() + LEDGERS_S
    while True:
        found = [load_certificate(home, stage.genesis) for home in _list_homes(stage)]
        are_newest = all(c is not None and c.height >= height for c in found)
        if are_newest or time.monotonic() > ends_at:
            return found
        time.sleep(_PAUSE_S)


def _list_homes(stage: Stage) -> list[Path]:
    return [node_home(stage.chain, i) for i in range(stage.plan.n_validators)]


class Held:
    """Blobs as somebody else holds them: what is made of them is not put there."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def get(self, digest: bytes) -> bytes:
        """Raises BlobUnavailable."""
        return self._blobs.get(digest)

    def put(self, raw: bytes) -> bytes:
        """Only the digest."""
        return hashlib.sha256(raw).digest()

    def read_part(self, digest: bytes, start: int, length: int) -> tuple[int, bytes] | None:
        """As the blobs do."""
        return self._blobs.read_part(digest, start, length)

    def discard(self, digest: bytes) -> None:
        """Nothing."""


def _search(stage: Stage, settings: Settings, redis: Redis, hidden: Sequence[Secret]) -> Searched:
    """All that others hold: validators, the shared blobs, logs, the service, the server.

    Raises DemoFailed where the search would not find what is there.
    """
    searcher = Searcher(hidden)
    own = (searcher.find(raw) for _, raw in read_files(stage.folder / CLIENTS))
    missing = searcher.names - set[str]().union(*own)
    if missing:
        raise DemoFailed(f"the search is at fault: it does not find {', '.join(sorted(missing))}")
    data = settings.data_dir
    folders = (stage.chain, stage.folder / LOGS, *(data / name for name in OTHERS))
    return search(searcher, itertools.chain(read_files(*folders), read_server(redis)))


def _describe(actor: Actor, n_rounds: int) -> Participant:
    models, blindings, trained = {}, {}, {}
    for learning_round in range(n_rounds):
        found = actor.client.load_secrets(learning_round)
        if found is None:
            raise DemoFailed(f"{actor.name} took no part in round {learning_round + 1}")
        models[learning_round] = found.model
        blindings[learning_round] = found.commitment.blinding.rho
        if found.training is not None:
            trained[learning_round] = found.training
    return Participant(
        name=actor.name,
        role=actor.role,
        public_key=actor.client.public_key,
        models=models,
        blindings=blindings,
        sent=actor.sent,
        trained=trained,
    )
