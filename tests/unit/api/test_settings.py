"""The settings of the environment: what is refused, passed over, or has a default."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.errors import SettingsInvalid
from api.settings import Settings

INJECTED = {
    # What Kubernetes puts into every container of a namespace, for a service of three names.
    f"ZKPOT{service}_{form}": value
    for service in ("", "_REDIS", "_API_V2")
    for form, value in {
        "SERVICE_HOST": "10.0.0.11",
        "SERVICE_PORT": "8000",
        "SERVICE_PORT_HTTP": "8000",
        "SERVICE_PORT_HTTP_METRICS": "9100",
        "PORT": "tcp://10.0.0.11:8000",
        "PORT_8000_TCP": "tcp://10.0.0.11:8000",
        "PORT_8000_TCP_PROTO": "tcp",
        "PORT_8000_TCP_PORT": "8000",
        "PORT_8000_TCP_ADDR": "10.0.0.11",
        "PORT_53_UDP_ADDR": "10.0.0.11",
        "PORT_53_SCTP": "sctp://10.0.0.11:53",
    }.items()
}
HOMELESS = """
import os, pwd, sys, tempfile
os.environ.pop("HOME", None)
os.environ.pop("XDG_CACHE_HOME", None)
def getpwuid(uid):
    raise KeyError(uid)
pwd.getpwuid = getpwuid  # a user without an entry
tempfile._candidate_tempdir_list = lambda: []  # and no folder for what is temporary
from api.cli import main
main()
"""


def test_names_that_kubernetes_injects_are_passed_over() -> None:
    given = {**INJECTED, "ZKPOT_REDIS_URL": "redis://queue:6379/0", "ZKPOT_LEASE_MS": "700"}
    found = Settings.from_environment({**given, "ZKPOT_DATA_DIR": "/d"})
    assert found == Settings(redis_url="redis://queue:6379/0", lease_ms=700, data_dir=Path("/d"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ZKPOT_PORT", "9000"),  # a hand's: Kubernetes writes an address
        ("ZKPOT_PORT_8000", "tcp://10.0.0.11:8000"),
        ("ZKPOT_PORT_8000_ICMP", "x"),
        ("ZKPOT_SERVICE", "x"),
        ("ZKPOT_SERVICE_HOSTS", "x"),
        ("ZKPOT__SERVICE_HOST", "x"),
        ("ZKPOT_api_SERVICE_HOST", "x"),
    ],
)
def test_other_names_are_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsInvalid, match=f"unknown setting {name}"):
        Settings.from_environment({name: value, "ZKPOT_DATA_DIR": "/d"})


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("ZKPOT_REDIS", "ZKPOT_REDIS_URL"),
        ("ZKPOT_REDIS_ULR", "ZKPOT_REDIS_URL"),
        ("ZKPOT_DATADIR", "ZKPOT_DATA_DIR"),
        ("ZKPOT_THREAD", "ZKPOT_THREADS"),
        ("ZKPOT_KEYS_LIMIT_BYTE", "ZKPOT_KEYS_LIMIT_BYTES"),
    ],
)
def test_a_name_that_is_like_a_known_one_is_asked_about(wrong: str, meant: str) -> None:
    with pytest.raises(SettingsInvalid, match=f"{wrong}; did you mean {meant}\\?"):
        Settings.from_environment({wrong: "x"})


def test_all_names_are_listed_where_none_is_like_it() -> None:
    with pytest.raises(SettingsInvalid, match=r"known: .*ZKPOT_CACHE_DIR.*ZKPOT_REDIS_URL") as e:
        Settings.from_environment({"ZKPOT_QUIXOTIC": "x"})
    assert "did you mean" not in str(e.value)


def run_homeless(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program as a user without a home and without a temporary folder."""
    return subprocess.run(
        [sys.executable, "-c", HOMELESS, *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments", [("info", "--json"), ("queue", "status"), ("data", "show", "mnist:test[0:16]")]
)
def test_a_user_without_a_home_needs_none(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Data and cache folders are given: nothing else is looked for."""
    folders = {"ZKPOT_DATA_DIR": f"{tmp_path}/data", "ZKPOT_CACHE_DIR": f"{tmp_path}/cache"}
    done = run_homeless(*arguments, **folders)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_user_without_a_home_trains(tmp_path: Path) -> None:
    """PyTorch asks for a temporary folder when it is imported."""
    pytest.importorskip("torch")
    folders = {"ZKPOT_DATA_DIR": f"{tmp_path}/data", "ZKPOT_CACHE_DIR": f"{tmp_path}/cache"}
    model = ("--arch", "mlp-784-4-10", "--epochs", "1", "--out", f"{tmp_path}/model")
    done = run_homeless("train", "--dataset", "mnist", *model, **folders)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("queue", "status"), 2),
        (("data", "fetch", "mnist"), 1),
        (("data", "show", "mnist:test[0:16]"), 1),
        (("train", "--dataset", "mnist", "--arch", "mlp-784-4-10", "--out", "x"), 1),
    ],
)
def test_a_user_without_a_home_is_asked_for_a_folder(arguments: tuple[str, ...], code: int) -> None:
    done = run_homeless(*arguments)
    said = " ".join(done.stderr.replace("\u2502", " ").split())
    assert "set ZKPOT_DATA_DIR to a folder" in said
    assert (done.returncode, "Traceback" in said) == (code, False)


@pytest.mark.parametrize(
    "url", ["objects:8333", "http://", "https://x y", "http://x:99999", "ftp://x", "http://u:p@x"]
)
def test_an_address_of_the_bucket_s_server_that_is_none_is_refused(url: str) -> None:
    """The library would end the process at the first request."""
    given = {"ZKPOT_STORE": "s3://zkpot", "AWS_ENDPOINT_URL": url}
    with pytest.raises(SettingsInvalid, match=r"^AWS_ENDPOINT_URL must be http://HOST:PORT or"):
        Settings.from_environment(given)
    Settings.from_environment({**given, "ZKPOT_STORE": "folder"})  # nobody asks it


@pytest.mark.parametrize("url", ["", "http://objects:8333", "https://x.y/z/", "http://[::1]:80"])
def test_an_address_of_the_bucket_s_server_is_taken(url: str) -> None:
    given = {"ZKPOT_STORE": "s3://zkpot", "AWS_ENDPOINT_URL": url}
    assert Settings.from_environment(given).bucket == ("zkpot", "")
