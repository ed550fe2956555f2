"""A queue server, workers as processes and proof jobs, for tests that kill them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np

from api.queue.jobs import (
    AccuracyWork,
    Groth16Work,
    JobRecord,
    JobSpec,
    JobState,
    TrainingWork,
)
from api.queue.queue import JobQueue
from api.settings import Settings
from api.store.keyfolder import load_half_of_any
from api.store.private import PrivatePart
from api.store.uploads import UploadKind, UploadStore
from api.valkey.embedded import EmbeddedServer, connect
from federated.data import DatasetRef, load_samples
from kernels.array import FrArray
from prover.circuit.public_inputs import PublicLayout, ShardInputs
from prover.formats.json_io import read_proof, read_vkey
from prover.formats.wtns import write_wtns
from prover.groth16.plain import verify_plain
from prover.groth16.verify import verify_batch
from prover.keys.folder import load_verifying_key
from prover.keys.halves import VerifyingKey
from prover.keys.training_card import ExportCard, StepCard
from prover.model.presets import parse_architecture
from prover.model.zkq import encode_model
from prover.wire.training import TrainingProofs
from prover.wire.verdict import Verdict
from tests.support.foreign import vector
from tests.support.models import random_model
from tests.support.ordered import judge, open_order
from tests.support.tiny_circuits import seeded

OWNER = "alice"
ARCHITECTURE = parse_architecture("mlp-784-4-10")
N_SAMPLES = 16
PRODUCT = vector("multiplier", ".zkey")
WAIT_S = 120.0
LEASE_MS = 1500


class Lab:
    """One service under one folder. Every wait ends with an event, or fails after WAIT_S."""

    def __init__(self, folder: Path, **settings: int) -> None:
        self.settings = replace(
            Settings(data_dir=folder, lease_ms=LEASE_MS, retry_first_ms=50, retry_last_ms=200),
            **settings,  # type: ignore[arg-type]
        )
        self.server = EmbeddedServer(folder)
        self.server.start()
        self.queue = JobQueue(connect(self.settings), self.settings)
        self.processes: list[subprocess.Popen[str]] = []
        self._store = UploadStore.in_folder(folder, ttl_s=3600, limit_bytes=1 << 30)
        model = random_model(ARCHITECTURE, np.random.default_rng(5))
        self.model_id = self._store.put(OWNER, UploadKind.MODEL, encode_model(model)).id

    @property
    def environment(self) -> dict[str, str]:
        s = self.settings
        return {
            **os.environ,
            "ZKPOT_DATA_DIR": str(s.data_dir),
            "ZKPOT_LEASE_MS": str(s.lease_ms),
            "ZKPOT_RETRY_FIRST_MS": str(s.retry_first_ms),
            "ZKPOT_RETRY_LAST_MS": str(s.retry_last_ms),
            "ZKPOT_MAX_DELIVERIES": str(s.max_deliveries),
            "ZKPOT_IN_FLIGHT": str(s.tasks_in_flight),
            "ZKPOT_THREADS": "1",
        }

    def make_spec(self, number: int = 0, *, first: int = 0, n: int = N_SAMPLES) -> JobSpec:
        """A job about n samples of MNIST's test set; another number is another job."""
        return JobSpec(
            owner=OWNER,
            work=AccuracyWork(
                model_id=self.model_id,
                dataset=f"mnist:test[{first}:{first + n}]",
                n_total=n,
                n_samples=N_SAMPLES,
                chain_id="chain",
                task_id="task",
                round_index=number,
                commit_height=0,
                client_key="00",
            ),
        )

    def submit(self, spec: JobSpec) -> str:
        return self.queue.submit(spec)[0].id

    def submit_product(self, a: int, b: int) -> str:
        """A job of a snarkjs user: a Groth16 proof that a product has these secret factors."""
        folder = self.settings.data_dir
        witness = folder / "product.wtns"
        write_wtns(witness, FrArray.from_ints([1, a * b, a, b]))
        with PRODUCT.open("rb") as zkey, witness.open("rb") as wires:
            work = Groth16Work(
                zkey_id=self._store.put_file(OWNER, UploadKind.ZKEY, zkey).id,
                witness_id=self._store.private.identify(wires),
            )
            with self._store.private.new() as folder:
                folder.write(PrivatePart.WITNESS, wires)
                record, is_new = self.queue.submit(
                    JobSpec(owner=OWNER, work=work), private=folder.name
                )
                assert is_new
                folder.keep()
        witness.unlink()
        return record.id

    def judge_product(self, job_id: str, product: int) -> Verdict:
        """A verifier's verdict on the proof of such a job, for the product it asks about."""
        results = self.queue.get_results(job_id)
        assert results is not None
        both = json.loads(results[0])
        assert both["public"] == [str(product)]
        path = self.settings.data_dir / "proof.json"
        path.write_text(json.dumps(both["proof"]))
        key = read_vkey(vector("multiplier", "_vkey.json"))
        return verify_plain(key, FrArray.from_ints([product]), read_proof(path))

    def submit_training(self, raw: bytes) -> str:
        """A job of this order of training proofs."""
        order = BytesIO(raw)
        work = TrainingWork(
            order_id=self._store.private.identify(order), n_steps=open_order(raw).head.n_steps
        )
        with self._store.private.new() as folder:
            folder.write_pages(PrivatePart.ORDER, order)
            record, is_new = self.queue.submit(JobSpec(owner=OWNER, work=work), private=folder.name)
            assert is_new
            folder.keep()
        return record.id

    def judge_training(self, job_id: str) -> Verdict:
        """A verifier's verdict on the proofs of such a job."""
        results = self.queue.get_results(job_id)
        assert results is not None
        proofs, found = TrainingProofs(steps=tuple(results[:-1]), export=results[-1]), {}
        for folder in (self.settings.data_dir / "keys").iterdir():
            key, card = load_half_of_any(folder)
            found[type(card)] = key
        return judge(proofs, found[StepCard], found[ExportCard])

    def start_worker(
        self, name: str, *, hold: str | None = None, time: int = 1
    ) -> subprocess.Popen[str]:
        """A worker; with `hold` it stands still when it comes to that stage for the first time, or
        another one."""
        held = [hold, str(time)] if hold else []
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.held_worker", name, *held],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.processes.append(process)
        return process

    def await_end(self, job_id: str) -> JobRecord:
        """The record of the job once it has ended."""
        ends_at, after = time.monotonic() + WAIT_S, "0-0"
        while time.monotonic() < ends_at:
            for event in self.queue.read_events(job_id, after=after, block_ms=200):
                after = event.id
            record = self.queue.get(job_id)
            assert record is not None, "an accepted job is gone"
            if record.state.is_end:
                return record
        raise AssertionError(f"{job_id} has not ended after {WAIT_S:g} s")

    def await_start(self, job_id: str) -> None:
        """Returns when a worker has taken the job."""
        ends_at, after = time.monotonic() + WAIT_S, "0-0"
        while time.monotonic() < ends_at:
            for event in self.queue.read_events(job_id, after=after, block_ms=200):
                after = event.id
                if event.data.get("state") == JobState.RUNNING:
                    return
        raise AssertionError(f"{job_id} has not begun after {WAIT_S:g} s")

    def count(self, name: str) -> int:
        """A counter of the metrics."""
        found = self.queue.redis.hget(self.queue.prefix + "counters", name)
        return 0 if found is None else int(float(found))

    def count_ends(self, job_id: str) -> int:
        """How many `end` events the job has; once is right."""
        return sum(event.type == "end" for event in self.queue.read_events(job_id))

    def judge(self, record: JobRecord) -> list[Verdict]:
        """The verdicts of a verifier on the proofs of a job that is done."""
        results = self.queue.get_results(record.id)
        assert results is not None
        work = record.spec.work
        assert isinstance(work, AccuracyWork)
        samples = load_samples(DatasetRef.parse(work.dataset), self.settings.data_dir)
        layout, verdicts = PublicLayout(ARCHITECTURE, N_SAMPLES), []
        for index, raw in enumerate(results):
            part = slice(index * N_SAMPLES, (index + 1) * N_SAMPLES)
            shard = ShardInputs.of(layout, samples.images[part], samples.labels[part])
            verdicts += verify_batch(
                [raw], key=self.key, public_inputs=shard, random_bytes=seeded(1)
            )
        return verdicts

    @property
    def key(self) -> VerifyingKey:
        (folder,) = (self.settings.data_dir / "keys").iterdir()
        return load_verifying_key(folder)

    def kill_server(self) -> None:
        """kill -9, and no server answers from then on."""
        assert self.server.pid is not None
        os.kill(self.server.pid, signal.SIGKILL)
        self.server.stop()  # only to wait for it

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()
        self.queue.redis.close()
        self.server.stop()


@contextmanager
def open_lab(folder: Path, keys: Path | None = None, **settings: int) -> Iterator[Lab]:
    """A lab; `keys` holds keys made before."""
    if keys is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "keys").symlink_to(keys)
    lab = Lab(folder, **settings)
    try:
        yield lab
    finally:
        lab.close()


def await_line(process: subprocess.Popen[str], line: str) -> None:
    """Returns when the process has said `line`."""
    assert process.stdout is not None
    for said in process.stdout:
        if said.strip() == line:
            return
    raise AssertionError(f"the process ended before it said {line!r}")


def go_on(process: subprocess.Popen[str]) -> None:
    """Lets a held worker go on."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
