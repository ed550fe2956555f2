"""Proxies of the environment: who is asked through one, and by every part that asks anybody."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml

from api.client.http import Client
from api.client.prover import ServiceProver
from api.demo import run as demo
from api.http.schemas import CircuitList
from federated.errors import FetchFailed, ProvingFailed, ProxyUnusable
from federated.proxies import find_proxy, is_this_machine
from federated.sources.fetch import fetch_dataset
from tests.support.proxy import proxying
from tests.support.queue_server import running_server
from tests.support.serving import serve
from tests.support.still_service import still_service
from tests.unit.federated.test_data import IMAGES, LABELS, TINY, Seen

VARIABLES = [f"{name}_PROXY" for name in ("HTTP", "HTTPS", "ALL", "NO")]
PROXY, OTHER = "http://proxy.example:3128", "http://other.example:3128"
DEAD = "http://user:secret@127.0.0.1:9"  # nobody listens there


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def set_proxies(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


LOOPBACK = (
    "localhost", "a.localhost", "127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "0.0.0.0",
    "::", "127.1", "localhost.", "127.0.0.1.",
)  # fmt: skip


@pytest.mark.parametrize("host", LOOPBACK)
def test_this_machine_is_never_asked_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    assert is_this_machine(host)
    set_proxies(monkeypatch, HTTP_PROXY=PROXY, HTTPS_PROXY=PROXY, ALL_PROXY="socks5://p.example:1")
    shown = f"[{host}]" if ":" in host else host
    for scheme in ("http", "https"):
        assert find_proxy(f"{scheme}://{shown}:8000/v1/jobs") is None


@pytest.mark.parametrize(
    ("variables", "url", "expected"),
    [
        ({}, "http://a.example", None),
        ({"HTTP_PROXY": PROXY}, "http://a.example:8000/x", PROXY),
        ({"http_proxy": "proxy.example:3128"}, "http://a.example", PROXY),
        ({"HTTP_PROXY": PROXY}, "https://a.example", None),
        ({"HTTPS_PROXY": PROXY}, "https://a.example", PROXY),
        ({"ALL_PROXY": PROXY}, "https://a.example", PROXY),
        ({"ALL_PROXY": PROXY, "HTTP_PROXY": OTHER}, "http://a.example", OTHER),
        ({"HTTP_PROXY": PROXY}, "file:///etc/hosts", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "a.example"}, "http://a.example", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": ".example"}, "http://b.a.example", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "*"}, "http://a.example", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "a.example:81"}, "http://a.example:81", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "a.example:81"}, "http://a.example:82", PROXY),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "b.example, 10.0.0.0/8"}, "http://10.9.8.7", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8,fd00::/8"}, "http://[fd00::1]:80", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, "http://11.9.8.7", PROXY),
    ],
)
def test_elsewhere_the_environment_counts(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, expected: str | None
) -> None:
    set_proxies(monkeypatch, **variables)
    assert find_proxy(url) == expected


@pytest.mark.parametrize("kind", ["socks5", "socks5h", "socks4", "ftp"])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_a_proxy_of_another_kind_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, kind: str
) -> None:
    """By the variable: its value may hold a password."""
    set_proxies(monkeypatch, **{variable: f"{kind}://user:secret@p.example:1080"})
    reason = f"{variable} .*'{kind}'.*a.example into NO_PROXY"
    order: Any = None  # nobody comes to look at it
    with pytest.raises(ProxyUnusable, match=reason) as refused:
        Client.connect("http://a.example")
    with pytest.raises(ProvingFailed, match=reason):
        ServiceProver("http://a.example").prove(order)
    with pytest.raises(FetchFailed, match=reason) as failed:
        fetch_dataset(TINY, tmp_path, Seen(), mirrors=["http://a.example/"], npm="no-such-npm")
    assert "secret" not in f"{refused.value} {failed.value}"


def test_the_client_asks_this_machine_directly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_proxies(monkeypatch, HTTP_PROXY=DEAD, ALL_PROXY="socks5://p.example:1080")
    with (
        running_server(tmp_path),
        still_service(tmp_path) as service,
        serve(service) as url,
        Client.connect(url) as client,
    ):
        assert client.circuits() == CircuitList(circuits=[])


def test_the_client_asks_others_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "http://service.example:8000/v1/circuits"
    with proxying({address: b'{"circuits": []}'}) as proxy:
        set_proxies(monkeypatch, HTTP_PROXY=proxy.url)
        with Client.connect("http://service.example:8000") as client:
            assert client.circuits() == CircuitList(circuits=[])
        assert proxy.asked == [address]


def test_data_comes_through_the_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mirror = "http://mirror.example/tiny/"
    files = {"images": IMAGES, "labels": LABELS}
    with proxying({f"{mirror}{n}.gz": gzip.compress(raw) for n, raw in files.items()}) as proxy:
        set_proxies(monkeypatch, ALL_PROXY=proxy.url)
        paths = fetch_dataset(TINY, tmp_path, Seen(), mirrors=[mirror], npm="no-such-npm")
        assert [path.read_bytes() for path in paths] == [IMAGES, LABELS]
        assert proxy.asked == [f"{mirror}{name}.gz" for name in files]


def test_data_of_this_machine_comes_directly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = {"/images.gz": gzip.compress(IMAGES), "/labels.gz": gzip.compress(LABELS)}
    with proxying(files) as server:  # asked by path, so it is a plain server
        set_proxies(monkeypatch, HTTP_PROXY=DEAD)
        fetch_dataset(TINY, tmp_path, Seen(), mirrors=[f"{server.url}/"], npm="no-such-npm")
        assert server.asked == list(files)


def test_the_demo_finds_its_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "SERVICE_S", 0.0)
    with proxying({"/v1/leader": b"{}"}) as server:
        set_proxies(monkeypatch, HTTP_PROXY=DEAD)
        demo._wait_for_service(server.url, Event(), tmp_path)
        server.answers = {}
        with pytest.raises(
            demo.DemoFailed, match=r"did not come up \(status 404\); read .*api.log"
        ):
            demo._wait_for_service(server.url, Event(), tmp_path)


@pytest.mark.parametrize("up", [True, False])
def test_the_health_of_the_image_is_asked_directly(root: Path, up: bool) -> None:
    compose = yaml.safe_load((root / "docker-compose.yml").read_text())
    _, _, option, program = compose["services"]["api"]["healthcheck"]["test"]
    with proxying({"/healthz": b"{}"} if up else {}) as server:
        assert "http://127.0.0.1:8000/" in program
        done = subprocess.run(
            [sys.executable, option, program.replace(":8000", f":{server.port}")],
            env={**os.environ, "HTTP_PROXY": DEAD, "http_proxy": DEAD},
            stderr=subprocess.DEVNULL,
            timeout=30,
        )
    assert (done.returncode == 0) == up
    assert server.asked == ["/healthz"]


def test_the_port_of_the_dead_proxy_is_closed() -> None:
    """Or the tests above would show nothing."""
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", 9), timeout=5)
