"""`zkpot up`, then a job from upload to a proof that `zkpot verify` accepts, as people do it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx2
import numpy as np
import pytest

from api.client.http import Client, ServiceRefused
from api.http.schemas import CircuitKind, Job, JobRequest, StatementFields
from prover.keys.halves import VerifyingKey
from prover.model.presets import parse_architecture
from prover.model.zkq import encode_model
from prover.wire.training import TrainingProofs
from prover.wire.verdict import Verdict
from tests.support.models import random_model
from tests.support.ordered import judge, trained

pytestmark = pytest.mark.slow
PROGRAM = Path(sys.executable).parent / "zkpot"
DATASET = "mnist:test[0:24]"
N_SAMPLES = 16  # so 24 samples make two shards


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        **os.environ,
        "ZKPOT_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "ZKPOT_LEASE_MS": "2000",
    }


@pytest.fixture(scope="module")
def service(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [str(PROGRAM), "up", "--port", "0", "--workers", "2"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def url(service: subprocess.Popen[str]) -> str:
    assert service.stdout is not None
    return service.stdout.readline().strip()


@pytest.fixture(scope="module")
def model() -> bytes:
    architecture = parse_architecture("mlp-784-4-10")
    return encode_model(random_model(architecture, np.random.default_rng(3)))


def curl(*arguments: str) -> str:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("no curl here")
    done = subprocess.run(
        [program, "--fail-with-body", "--silent", "--show-error", "--max-time", "120", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def verify(proof: Path, key: Path, dataset: str) -> int:
    done = subprocess.run(
        [PROGRAM, "verify", proof, "--key", key, "--dataset", dataset],
        capture_output=True,
        check=False,
    )
    return done.returncode


def test_a_job_from_curl_to_a_proof_that_verifies(url: str, model: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.zkq").write_bytes(model)
    octets = ("-H", "Content-Type: application/octet-stream")
    data = f"@{tmp_path / 'model.zkq'}"
    stored = json.loads(curl(*octets, "--data-binary", data, f"{url}/v1/models"))
    body = {"model_id": stored["id"], "dataset": DATASET, "n_samples": N_SAMPLES}
    accepted = curl("--json", json.dumps(body), "-D", str(tmp_path / "head"), f"{url}/v1/jobs")
    job = json.loads(accepted)
    assert f"location: /v1/jobs/{job['id']}" in (tmp_path / "head").read_text().lower()
    events = curl("-N", f"{url}/v1/jobs/{job['id']}/events")
    assert 'event: end\ndata: {"state": "done"}\n' in events, events[-300:]
    for stage in ("witness 1", "commit", "prove", "verify"):
        assert f'"stage": "{stage}"' in events
    key = tmp_path / "key"
    key.mkdir()
    view = json.loads(curl("-H", "Accept: application/json", f"{url}/v1/jobs/{job['id']}/proof"))
    curl("-o", str(tmp_path / "proof.zkp"), f"{url}/v1/jobs/{job['id']}/proof")
    for name in ("verifying.key", "circuit.json"):
        curl("-o", str(key / name), f"{url}/v1/circuits/{view['circuit']}/{name}")
    assert verify(tmp_path / "proof.zkp", key, DATASET) == 0
    assert verify(tmp_path / "proof.zkp", key, "mnist:test[1:25]") == 1
    workers = json.loads(curl(f"{url}/v1/workers"))["workers"]
    assert len({worker["id"] for worker in workers}) == 2
    assert len(view["statements"]) == 2
    assert view["n_real"] == 24


def test_a_training_is_proven_by_all_workers_and_judged_by_the_keys_of_the_service(
    url: str,
) -> None:
    with Client.connect(url) as zkpot:
        job = zkpot.wait(zkpot.submit_training(BytesIO(trained().write())).id)
        assert job.state == "done", job.error
        assert (job.steps, job.steps_done) == (3, 3)
        proofs = TrainingProofs.decode(zkpot.fetch_proof(job.id))
        assert proofs is not None
        keys = {
            one.kind: VerifyingKey.decode(zkpot.fetch(one.verifying_key), where=one.digest)
            for one in zkpot.circuits().circuits
        }
        assert judge(proofs, keys[CircuitKind.STEP], keys[CircuitKind.EXPORT]) is Verdict.VALID


def test_the_client_and_the_service_agree(url: str, model: bytes) -> None:
    with Client.connect(url) as zkpot:
        model_id = zkpot.upload_model(model).id
        request = JobRequest(model_id=model_id, dataset="mnist:test[0:16]", n_samples=N_SAMPLES)
        job = zkpot.wait(zkpot.submit(request, idempotency_key="one").id)
        assert job.state == "done", job.error
        assert zkpot.submit(request, idempotency_key="one").id == job.id
        view = zkpot.describe_proof(job.id)
        assert view.circuit is not None
        proof = zkpot.fetch_proof(job.id)
        answer = zkpot.verify(proof, circuit=view.circuit, dataset="mnist:test[0:16]")
        assert answer.verdict == "valid"
        assert answer.n_real == 16
        other = zkpot.verify(proof, circuit=view.circuit, dataset="mnist:test[16:32]")
        assert other.verdict == "wrong_statement"
        broken = zkpot.verify(proof[:-1], circuit=view.circuit, dataset="mnist:test[0:16]")
        assert broken.verdict == "malformed"
        with pytest.raises(ServiceRefused, match="bad_dataset"):
            zkpot.submit(request.model_copy(update={"dataset": "mnist:test[0:20000]"}))


def children_of(pid: int) -> dict[str, list[int]]:
    """Processes of `zkpot up` by what they are: api, worker, server."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found: dict[str, list[int]] = {"api": [], "worker": [], "server": []}
    for child in pids:
        line = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        kind = "server" if b"valkey-server" in line[0] else line[3].decode()
        found[kind].append(int(child))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_all_is_killed_and_every_job_ends(
    url: str, service: subprocess.Popen[str], model: bytes
) -> None:
    """kill -9 of the API, then of the API, both workers and the queue server at once."""
    with Client.connect(url) as zkpot:
        model_id = zkpot.upload_model(model).id
        jobs = [
            zkpot.submit(
                JobRequest(
                    model_id=model_id,
                    dataset="mnist:test[0:16]",
                    n_samples=N_SAMPLES,
                    statement=StatementFields(round_index=number),
                )
            ).id
            for number in range(1, 6)
        ]
        for pid in children_of(service.pid)["api"]:
            os.kill(pid, signal.SIGKILL)
        assert zkpot.wait(jobs[0]).state == "done"
        before = children_of(service.pid)
        counts = {kind: len(pids) for kind, pids in before.items()}
        assert counts == {"api": 1, "worker": 2, "server": 1}
        for pids in before.values():
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
        ended = [wait_patiently(zkpot, job) for job in jobs]
        assert {job.state for job in ended} == {"done"}
        assert len({zkpot.fetch_proof(job) for job in jobs}) == len(jobs)


def wait_patiently(zkpot: Client, job_id: str) -> Job:
    """As `Client.wait`, over times when nobody answers."""
    while True:
        try:
            return zkpot.wait(job_id)
        except (ServiceRefused, httpx2.TransportError) as error:
            if isinstance(error, ServiceRefused) and error.problem.code != "unavailable":
                raise


def test_an_address_for_all_needs_keys(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [PROGRAM, "api", "--host", "0.0.0.0", "--port", "0"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "--keys" in done.stderr
