"""The embedded server: never two of them on the files of one data directory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from redis import Redis
from typer.testing import CliRunner

from api.cli import build_app
from api.errors import ServerUnavailable, SettingsInvalid
from api.settings import Settings
from api.valkey.embedded import EmbeddedServer, answers, connect, require_no_eviction, socket_path
from api.valkey.shared import serving
from tests.support.queue_server import running_server


def test_a_frozen_server_gets_no_second_one_beside_it(tmp_path: Path) -> None:
    first = EmbeddedServer(tmp_path)
    assert first.start()
    try:
        assert first.pid is not None
        os.kill(first.pid, signal.SIGSTOP)
        second = EmbeddedServer(tmp_path, patience_s=0.0)
        with pytest.raises(ServerUnavailable, match="does not answer"):
            second.start()
        assert second.pid is None
        os.kill(first.pid, signal.SIGCONT)
        assert answers(first.socket)
        assert not second.start()
    finally:
        first.stop()


def test_a_killed_server_leaves_room_for_the_next(tmp_path: Path) -> None:
    first, second = EmbeddedServer(tmp_path), EmbeddedServer(tmp_path)
    assert first.start()
    try:
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        assert second.start()
        assert answers(second.socket)
    finally:
        first.stop()
        second.stop()


# -- folders of others

DEEP = "d" * 120
"""A data folder with such a part has its socket in the temporary folder."""


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder as all users share it; short, so that a socket fits."""
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    folder.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("fault", ["writable", "another owner", "link of another", "data folder"])
def test_a_folder_that_others_could_put_a_server_into_is_refused(
    tmp_path: Path, temporary: Path, fault: str
) -> None:
    if fault != "writable" and os.getuid() != 0:
        pytest.skip("only root can make a folder of another user")
    data_dir = tmp_path / (DEEP if fault != "data folder" else "data")
    folder = socket_path(data_dir).parent
    assert (folder.parent == temporary) == (fault != "data folder")
    if fault == "link of another":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
        os.lchown(folder, 65534, 65534)
    else:
        folder.mkdir(parents=True, mode=0o700)
        folder.chmod(0o777 if fault == "writable" else 0o700)
        if fault != "writable":
            os.chown(folder, 65534, 65534)
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(folder / "s"))
        theirs.listen()
        theirs.setblocking(False)
        for use in (EmbeddedServer(data_dir).start, lambda: connect(Settings(data_dir=data_dir))):
            with pytest.raises(ServerUnavailable, match="could be anybody's") as refused:
                use()
            assert str(folder) in str(refused.value)
        with pytest.raises(BlockingIOError):  # nobody has asked it
            theirs.accept()


def test_a_deep_data_folder_is_served_through_the_temporary_one(
    tmp_path: Path, temporary: Path
) -> None:
    settings = Settings(data_dir=tmp_path / DEEP)
    with running_server(settings.data_dir) as server, connect(settings) as client:
        assert client.ping()
        assert server.socket.parent.parent == temporary
        assert server.socket.parent.stat().st_mode & 0o777 == 0o700


# -- names that URLs and configurations read otherwise


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%41b", "a b", "a'b", 'a"b', "a\\b", "ä"])
def test_any_name_of_a_data_folder_is_served(tmp_path: Path, name: str) -> None:
    settings = Settings(data_dir=tmp_path / name)
    with serving(settings) as client:
        assert client.ping()
        url = EmbeddedServer(settings.data_dir).url
        with connect(Settings(data_dir=tmp_path / "other", redis_url=url)) as other:
            assert other.ping()
        assert (settings.data_dir / "queue" / "server.log").exists()


SECRET = "hunter2"
BROKEN_URLS = [
    f"redis://:{SECRET}#{SECRET}@localhost:6379/0",
    f"redis://:1#{SECRET}@localhost:6379/0",
    f"redis://{SECRET}#@localhost",
    f"redis://:{SECRET}/{SECRET}@localhost:6379",
    f"redis://:{SECRET}?{SECRET}@localhost:6379",
    f"redis://:6379?{SECRET}=1@localhost",
    f"redis://:{SECRET}@localhost:{SECRET}",
    f"redis://[{SECRET}",
    f"redis://localhost?{SECRET}={SECRET}",
    f"redis://localhost?socket_timeout={SECRET}",
    f"unix://?password={SECRET}",
    f"http://:{SECRET}@localhost",
]


@pytest.mark.parametrize("command", [("queue", "status"), ("api", "--port", "0"), ("worker",)])
@pytest.mark.parametrize("url", BROKEN_URLS)
def test_a_url_that_cannot_be_meant_is_refused_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ZKPOT_REDIS_URL", url)
    done = CliRunner().invoke(build_app(), command)
    assert done.exit_code in (1, 2)
    assert isinstance(done.exception, SystemExit), done.exception
    assert "ZKPOT_REDIS_URL" in done.output
    assert SECRET not in done.output


def test_a_password_is_in_no_description() -> None:
    settings = Settings(redis_url=f"redis://:{SECRET}@localhost:6379/0")
    with connect(settings) as client:
        for thing in (settings, client, client.connection_pool):
            assert SECRET not in repr(thing)
    with pytest.raises(SettingsInvalid) as refused:
        Settings(redis_url=f"redis://:{SECRET}#@localhost:6379/0")
    assert SECRET not in str(refused.value)


def test_what_is_blamed_is_what_was_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL it is the server of the data folder, whose log says more."""

    def fail(_: Redis) -> None:
        from redis.exceptions import ConnectionError

        raise ConnectionError

    monkeypatch.setattr(Redis, "ping", fail)
    monkeypatch.setattr("api.valkey.shared.attached", lambda _: nullcontext())
    for settings, words in (
        (Settings(data_dir=tmp_path), "server.log"),
        (Settings(data_dir=tmp_path, redis_url="redis://localhost"), "ZKPOT_REDIS_URL"),
    ):
        with pytest.raises(ServerUnavailable, match=words), serving(settings):
            pass


# -- a server that would drop jobs


@pytest.mark.parametrize("command", [("api", "--port", "0"), ("worker",)])
def test_a_server_that_drops_jobs_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path / "mine"))
    with running_server(tmp_path / "theirs") as server:
        monkeypatch.setenv("ZKPOT_REDIS_URL", server.url)
        with Redis.from_url(server.url) as client:
            for policy in ("allkeys-lru", "volatile-ttl"):
                client.config_set("maxmemory-policy", policy)
                done = CliRunner().invoke(build_app(), command)
                assert done.exit_code == 1
                assert policy in done.output
                words = " ".join(done.output.split())
                assert "CONFIG SET maxmemory-policy noeviction" in words
            client.config_set("maxmemory-policy", "noeviction")
            require_no_eviction(client)
            client.execute_command("ACL", "SETUSER", "default", "-info")
            require_no_eviction(client)  # it does not tell
