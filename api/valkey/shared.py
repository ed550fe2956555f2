"""The embedded server of everyone who uses a data directory, none of whom owns it."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from redis import Redis
from redis.exceptions import RedisError

from api.errors import ServerUnavailable
from api.settings import Settings
from api.valkey.embedded import START_S, EmbeddedServer, answers, connect
from api.valkey.primary import RETRIES

MEND_S = 1.0
"""How long a server that runs already may take to answer when it is to be mended."""
_KEEPER = Path(__file__).with_name("keeper.py")


class SharedServer(EmbeddedServer):
    """The server of all who use a data directory: `start` and `stop` attach and detach.

    Each user holds a shared lock on a file. A process beside them all (`keeper`) started the
    server and waits until that lock is free: then the last user is gone, in whatever way.
    """

    def __init__(self, data_dir: Path, *, patience_s: float = START_S) -> None:
        super().__init__(data_dir, patience_s=patience_s)
        self._users: BinaryIO | None = None

    def start(self) -> bool:
        if self._users is None:
            self._make_folders()
            self._users = (self._folder / "users").open("ab")
            fcntl.flock(self._users, fcntl.LOCK_SH)  # waits while a server without users ends
        return super().start()

    def mend(self) -> bool:
        """Starts it again if it has died, and whether it did. Raises ServerUnavailable, OSError."""
        self._patience_s = MEND_S
        return not answers(self.socket) and self.start()

    def is_alive(self) -> bool:
        return answers(self.socket)

    def stop(self) -> None:
        if self._users is not None:
            self._users.close()
            self._users = None

    def _launch(self, alive: int) -> None:
        users = str(self._folder / "users")
        subprocess.run(
            [sys.executable, "-I", "-S", str(_KEEPER), users, str(alive), *self._command()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[alive],
            start_new_session=True,
            cwd=self._folder,
            umask=0o077,
            check=True,
        )

    def _has_ended(self) -> bool:
        with (self._folder / "alive").open("wb") as alive:
            try:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True


@contextmanager
def attached(settings: Settings) -> Iterator[Callable[[], bool]]:
    """The embedded server, if it is the settings', with this process among its users.

    Yields mend(): starts it again if it has died, and whether it did. Raises ServerUnavailable,
    OSError, and so does mend().
    """
    if settings.redis_url is not None:
        yield lambda: False
        return
    server = SharedServer(settings.data_dir)
    try:
        server.start()
        yield server.mend
    finally:
        server.stop()


@contextmanager
def sharing(
    settings: Settings, *, retries: int = RETRIES
) -> Iterator[tuple[Redis, Callable[[], bool]]]:
    """A client of the settings' server, started here when it is the embedded one and is down.

    Also yields mend(), see `attached`. Raises ServerUnavailable.
    """
    with attached(settings) as mend:
        client = connect(settings, retries=retries)
        try:
            try:
                client.ping()
            except RedisError as error:
                log = settings.data_dir / "queue" / "server.log"
                where = "check ZKPOT_REDIS_URL" if settings.redis_url else f"read {log}"
                raise ServerUnavailable(
                    f"no queue server answers ({type(error).__name__}); {where}"
                ) from None
            yield client, mend
        finally:
            client.close()


@contextmanager
def serving(settings: Settings) -> Iterator[Redis]:
    """`sharing` for who mends nothing. Raises ServerUnavailable."""
    with sharing(settings) as (client, _):
        yield client
