"""`deploy/kubernetes` against the API's schemas; what its parts refer to is there, and can run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import kubernetes_validate
import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from api.queue.jobs import Priority
from api.settings import Settings

VERSION = "1.37"
SECRET, GENESIS = "zkpot", "zkpot-genesis"
UNTYPED = ("ScaledObject", "Kustomization")
Manifest = dict[str, Any]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Streams(Strict):
    """Metadata of KEDA's scaler `redis-streams` (2.x); every value is a string.

    The length is what scales only where no `consumerGroup` is named.
    """

    address: str = Field(pattern=r"^[a-z0-9.-]+:\d+$")
    database_index: str = Field(alias="databaseIndex", pattern=r"^\d+$")
    stream: str
    stream_length: str = Field(alias="streamLength", pattern=r"^[1-9]\d*$")


class Trigger(Strict):
    type: Literal["redis-streams"]
    metadata: Streams


class Target(Strict):
    name: str


class Scaling(Strict):
    """The part of a ScaledObject's `spec` (keda.sh/v1alpha1) that is used."""

    target: Target = Field(alias="scaleTargetRef")
    least: int = Field(alias="minReplicaCount", ge=0)
    most: int = Field(alias="maxReplicaCount", ge=1)
    polling_s: int = Field(alias="pollingInterval", ge=1)
    cooldown_s: int = Field(alias="cooldownPeriod", ge=0)
    triggers: list[Trigger]


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return root / "deploy" / "kubernetes"


@pytest.fixture(scope="module")
def manifests(folder: Path) -> list[Manifest]:
    names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    found = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(names) == found
    return [m for name in names for m in yaml.safe_load_all((folder / name).read_text())]


def find(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {m["metadata"]["name"]: m for m in manifests if m["kind"] == kind}


def list_pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Names and pod templates of all workloads."""
    for kind in ("Deployment", "StatefulSet"):
        for name, manifest in find(manifests, kind).items():
            yield name, manifest["spec"]["template"]


def list_containers(pod: Manifest) -> list[Manifest]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def ours(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    for name, pod in list_pods(manifests):
        for container in pod["spec"]["containers"]:
            if container["command"][0] == "zkpot":
                yield name, pod, container


def test_every_manifest_is_of_its_schema(manifests: list[Manifest]) -> None:
    kinds = {manifest["kind"] for manifest in manifests}
    assert {"Deployment", "StatefulSet", "Service", "ConfigMap", "ScaledObject"} <= kinds
    for manifest in manifests:
        if manifest["kind"] not in UNTYPED:
            kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_a_wrong_manifest_would_be_seen(manifests: list[Manifest]) -> None:
    wrong = yaml.safe_load(yaml.safe_dump(find(manifests, "Deployment")["api"]))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_no_secret_is_written_down(manifests: list[Manifest], folder: Path) -> None:
    """What has to be made by hand is what the page beside them makes."""
    assert not find(manifests, "Secret")
    wanted = {
        (source["secretKeyRef"]["name"], source["secretKeyRef"]["key"])
        for _, pod in list_pods(manifests)
        for container in list_containers(pod)
        for one in container.get("env", [])
        if (source := one.get("valueFrom"))
    }
    for _, pod in list_pods(manifests):
        for volume in pod["spec"].get("volumes", []):
            if "secret" in volume:
                items = volume["secret"]["items"]
                wanted |= {(volume["secret"]["secretName"], item["key"]) for item in items}
    page = (folder / "README.md").read_text()
    made = set(
        re.findall(r"--from-(?:file|literal)=([\w-]+)[ =\n]", page.partition("For a chain")[0])
    )
    assert wanted == {(SECRET, key) for key in made}
    assert f"create secret generic {SECRET} " in page
    assert f"create configmap {GENESIS} --from-file=genesis.json" in page


def test_config_maps_and_volumes_are_there(manifests: list[Manifest]) -> None:
    maps = {*find(manifests, "ConfigMap"), GENESIS}
    claims = {
        name: {claim["metadata"]["name"] for claim in m["spec"]["volumeClaimTemplates"]}
        for name, m in find(manifests, "StatefulSet").items()
    }
    for name, pod in list_pods(manifests):
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        used = set()
        for container in list_containers(pod):
            assert {s["configMapRef"]["name"] for s in container.get("envFrom", [])} <= maps
            used |= {mount["name"] for mount in container["volumeMounts"]}
        assert used == {*volumes, *claims.get(name, ())}, name
        for volume in volumes.values():
            assert volume.get("configMap", {"name": GENESIS})["name"] in maps


def test_services_lead_to_pods_and_ports(manifests: list[Manifest]) -> None:
    pods = dict(list_pods(manifests))
    for name, service in find(manifests, "Service").items():
        selected = [
            pod
            for pod in pods.values()
            if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        ]
        assert len(selected) == 1, name
        ports = {p["name"] for c in selected[0]["spec"]["containers"] for p in c["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for kind in ("Deployment", "StatefulSet"):
        for name, workload in find(manifests, kind).items():
            labels = workload["spec"]["template"]["metadata"]["labels"]
            assert workload["spec"]["selector"]["matchLabels"] == labels, name
    for name, workload in find(manifests, "StatefulSet").items():
        service = find(manifests, "Service")[workload["spec"]["serviceName"]]
        assert service["spec"]["clusterIP"] == "None", name


def test_pods_are_locked_down(manifests: list[Manifest], root: Path) -> None:
    user = re.search(r"--uid (\d+)", (root / "Dockerfile").read_text())
    assert user is not None
    for name, pod in list_pods(manifests):
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"], name
        assert context["runAsUser"] == context["fsGroup"] == int(user[1])
        assert context["seccompProfile"]["type"] == "RuntimeDefault"
        if name in find(manifests, "StatefulSet"):  # what a process has made stays private
            assert context["fsGroupChangePolicy"] == "OnRootMismatch", name
        assert not pod["spec"]["automountServiceAccountToken"]
        for container in list_containers(pod):
            locked = container["securityContext"]
            assert locked["readOnlyRootFilesystem"]
            assert not locked["allowPrivilegeEscalation"]
            assert locked["capabilities"]["drop"] == ["ALL"]
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]


def test_probes_ask_what_is_answered(manifests: list[Manifest]) -> None:
    api = find(manifests, "Deployment")["api"]["spec"]["template"]["spec"]["containers"][0]
    paths = {kind: api[kind]["httpGet"]["path"] for kind in api if kind.endswith("Probe")}
    assert paths == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    for _, pod, container in ours(manifests):
        named = {port["name"] for port in container.get("ports", [])}
        probes = (container[kind] for kind in container if kind.endswith("Probe"))
        assert {probe["httpGet"]["port"] for probe in probes} <= named, pod
        for port in container.get("ports", []):
            assert str(port["containerPort"]) in container["command"]


def test_images_are_built(manifests: list[Manifest], folder: Path, root: Path) -> None:
    compose = yaml.safe_load((root / "docker-compose.yml").read_text())["services"]
    built = {"zkpot", *(s["image"] for s in compose.values() if "build" in s)}
    images = yaml.safe_load((folder / "kustomization.yaml").read_text())["images"]
    assert {image["name"] for image in images} == built
    used = {c["image"] for _, pod in list_pods(manifests) for c in list_containers(pod)}
    assert used == built | {compose["redis"]["image"]}


def test_settings_are_understood(manifests: list[Manifest], tmp_path: Path) -> None:
    (shared,) = find(manifests, "ConfigMap").values()
    key = tmp_path / "store-key"
    key.write_text("ab" * 32)
    for name, pod, container in ours(manifests):
        plain = {e["name"]: e["value"] for e in container["env"] if "value" in e}
        given = shared["data"] | plain
        mounted = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
        if path := given.get("ZKPOT_STORE_KEY_FILE"):
            assert Path(path).name == "store-key"
            assert mounted[str(Path(path).parent)] == "secrets"
            given["ZKPOT_STORE_KEY_FILE"] = str(key)
        settings = Settings.from_environment(given)
        assert settings.bucket is not None, name
        assert str(settings.data_dir) in mounted
        services = find(manifests, "Service")
        assert settings.redis_url is not None
        assert re.split("[:/]+", settings.redis_url)[1] in services
        assert not pod["spec"]["enableServiceLinks"]


def test_our_command_lines_are_understood(manifests: list[Manifest], tmp_path: Path) -> None:
    """Each runs as a process with its own options; files it names are where they are mounted."""
    seen = set()
    for _, pod, container in ours(manifests):
        seen.add(tuple(container["command"][:2]))
        program, *arguments = container["command"]
        done = subprocess.run(
            [Path(sys.executable).parent / program, *arguments, "--help"],
            env={**os.environ, "ZKPOT_DATA_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        for option in (a.partition("=")[0] for a in arguments if a.startswith("--")):
            assert option in done.stdout
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for path in (Path(a) for a in arguments if a.startswith("/etc/")):
            (mount,) = (
                m["name"] for m in container["volumeMounts"] if m["mountPath"] == str(path.parent)
            )
            items = volumes[mount].get("secret", {}).get("items", [])
            assert volumes[mount].get("configMap") or path.name in {item["path"] for item in items}
    assert seen == {("zkpot", "api"), ("zkpot", "worker"), ("zkpot", "node")}


def test_nodes_know_their_peers(manifests: list[Manifest]) -> None:
    node = find(manifests, "StatefulSet")["node"]["spec"]
    command = node["template"]["spec"]["containers"][0]["command"]
    port = command[command.index("--content-port") + 1]
    peers = [a.partition("=")[2] for a in command if a.startswith("--peer=")]
    names = [f"node-{i}.{node['serviceName']}" for i in range(node["replicas"])]
    assert peers == [f"http://{name}:{port}" for name in names]


def test_workers_are_scaled_by_every_stream_of_the_queue(manifests: list[Manifest]) -> None:
    (scaled,) = find(manifests, "ScaledObject").values()
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    assert set(scaled) == {"apiVersion", "kind", "metadata", "spec"}
    spec = Scaling.model_validate(scaled["spec"])
    target = find(manifests, "Deployment")[spec.target.name]
    assert "replicas" not in target["spec"]  # or every `apply` would set them back
    assert spec.least <= spec.most
    streams = {trigger.metadata.stream for trigger in spec.triggers}
    assert streams == {f"zkpot:queue:{priority.value}" for priority in Priority}
    for trigger in spec.triggers:
        host, _, port = trigger.metadata.address.partition(":")
        service = find(manifests, "Service")[host.partition(".")[0]]
        assert int(port) in {p["port"] for p in service["spec"]["ports"]}


def test_who_may_reach_the_queue_is_who_needs_it(manifests: list[Manifest]) -> None:
    (policy,) = find(manifests, "NetworkPolicy").values()
    chosen = policy["spec"]["podSelector"]["matchLabels"].items()
    pods = {name: pod["metadata"]["labels"].items() for name, pod in list_pods(manifests)}
    assert [name for name, labels in pods.items() if chosen <= labels] == ["valkey"]
    ours_only = policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"].items()
    assert all(ours_only <= labels for labels in pods.values())
