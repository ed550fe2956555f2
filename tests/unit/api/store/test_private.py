"""Secrets of jobs are in their private files alone, and go with the job, however it ends."""

from __future__ import annotations

import hashlib
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from random import Random
from threading import Event

import numpy as np
import pytest
import structlog
from redis import Redis
from redis.exceptions import ConnectionError as ServerGone
from safetensors.numpy import save

from api.assembly import build_service, build_worker
from api.errors import PrivateGone, StoreFull
from api.http.auth import LOCAL
from api.http.problems import ApiProblem
from api.http.schemas import Job, JobRequest
from api.http.service import Service
from api.queue.admin import QueueAdmin
from api.queue.jobs import Priority
from api.queue.queue import JobQueue, Lease
from api.settings import Settings
from api.store import private as private_module
from api.store.private import PrivateFiles, PrivatePart
from api.store.uploads import UploadStore
from api.valkey.embedded import connect
from api.worker import work as tasks
from kernels.array import FrArray
from kernels.bn254 import R
from prover.formats.wtns import write_wtns
from prover.model.network import Architecture
from prover.model.zkq import encode_model
from prover.pedersen.commitment import Blinding
from tests.support.foreign import vector
from tests.support.models import random_model
from tests.support.queue_server import running_server

ZKEY = vector("multiplier", ".zkey").read_bytes()
N_SAMPLES = 4


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("service")
    with running_server(folder):
        yield replace(
            Settings(data_dir=folder), retry_first_ms=1, retry_last_ms=1, max_deliveries=1
        )


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    with connect(settings) as client:
        client.flushall()
        yield client


@pytest.fixture
def service(redis: Redis, settings: Settings) -> Iterator[Service]:
    with closing(build_service(redis, settings)) as service:
        service.sweep()  # of jobs of other tests
        yield service


@dataclass(frozen=True)
class Product:
    """What a snarkjs user has: two secret factors, in a witness. secrets : also its digest"""

    witness: bytes
    secrets: tuple[bytes, ...]

    @classmethod
    def of(cls, seed: int, folder: Path) -> Product:
        rng = Random(seed)
        a, b = rng.randrange(R >> 1, R), rng.randrange(R >> 1, R)
        write_wtns(folder / "wires", FrArray.from_ints([1, a * b % R, a, b]))
        raw = (folder / "wires").read_bytes()
        assert all(x.to_bytes(32, "little") in raw for x in (a, b))
        digest = hashlib.sha256(raw)  # by which whoever can guess the witness could know it
        factors = (a.to_bytes(32, "little"), b.to_bytes(32, "little"))
        return cls(raw, (*factors, digest.digest(), digest.hexdigest().encode()))

    def submit(self, service: Service, key: str | None = None) -> Job:
        return service.submit_groth16(
            LOCAL,
            zkey=BytesIO(ZKEY),
            witness=BytesIO(self.witness),
            priority=Priority.NORMAL,
            idempotency_key=key,
        )


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return Product.of(1, tmp_path)


def find(settings: Settings, *wanted: bytes) -> list[str]:
    """Names of the files of the data directory, the server's too, in which one of them is."""
    files = [path for path in settings.data_dir.rglob("*") if path.is_file()]
    assert any(path.suffix == ".aof" for path in files)
    found = (path for path in files if any(secret in path.read_bytes() for secret in wanted))
    return [str(path.relative_to(settings.data_dir).parts[0]) for path in found]


def work(redis: Redis, settings: Settings, n: int = 100) -> None:
    """A worker does up to n tasks of what waits."""
    log = structlog.wrap_logger(structlog.testing.CapturingLogger())
    worker = build_worker(redis, settings, name="w", stop=Event(), log=log)
    while n and worker.run_one():
        n -= 1


def take(redis: Redis, settings: Settings) -> tuple[JobQueue, Lease]:
    queue = JobQueue(redis, settings)
    lease = queue.lease("by hand")
    assert lease is not None
    return queue, lease


def give_up(redis: Redis, settings: Settings) -> None:
    queue, lease = take(redis, settings)
    queue.fail(lease, "io_error", "the worker could not read", retry=True)
    work(redis, settings)


def fail(redis: Redis, settings: Settings) -> None:
    queue, lease = take(redis, settings)
    queue.fail(lease, "wrong", "it is wrong", retry=False)
    work(redis, settings)


def lose(redis: Redis, settings: Settings) -> None:
    """The worker that took it never comes back."""
    queue, lease = take(redis, settings)
    stream = f"{queue.prefix}queue:normal"
    redis.xclaim(stream, "workers", "by hand", 0, [lease.entry], idle=10**9, justid=True)
    work(redis, settings)


ENDS: dict[str, tuple[str, Callable[[Redis, Settings], None]]] = {
    "done": ("done", work),
    "failed": ("failed", fail),
    "dead letter": ("failed", give_up),
    "worker lost": ("failed", lose),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_witness_goes_with_its_job(
    service: Service, redis: Redis, settings: Settings, product: Product, end: str
) -> None:
    job = product.submit(service)
    assert find(settings, *product.secrets) == ["private"]
    state, bring_about = ENDS[end]
    bring_about(redis, settings)
    assert service.get_job(LOCAL, job.id).state == state
    assert find(settings, *product.secrets) == []
    if state == "done":  # sent again
        assert product.submit(service).state == "done"
        assert find(settings, *product.secrets) == []
    else:
        assert product.submit(service).state == "queued"
        assert find(settings, *product.secrets) == ["private"]
        work(redis, settings)
        assert service.get_job(LOCAL, job.id).state == "done"
        assert find(settings, *product.secrets) == []


@pytest.mark.parametrize("is_taken", [False, True])
def test_a_witness_goes_when_its_job_is_cancelled(
    service: Service, redis: Redis, settings: Settings, product: Product, is_taken: bool
) -> None:
    job = product.submit(service)
    if is_taken:
        take(redis, settings)
    service.cancel(LOCAL, job.id)
    assert find(settings, *product.secrets) == []
    product.submit(service)
    work(redis, settings)
    assert service.get_job(LOCAL, job.id).state == "done"


def test_a_witness_that_comes_twice_is_there_once(
    service: Service, settings: Settings, product: Product
) -> None:
    first = product.submit(service, "a")
    for key in ("a", None):
        assert product.submit(service, key).id == first.id
    assert find(settings, *product.secrets) == ["private"]
    service.cancel(LOCAL, first.id)
    assert product.submit(service, "a").state == "cancelled"  # the answer of the first time
    assert find(settings, *product.secrets) == []


def test_a_witness_that_is_refused_is_gone(
    service: Service, redis: Redis, settings: Settings, product: Product, tmp_path: Path
) -> None:
    other = Product.of(2, tmp_path)
    product.submit(service, "a")
    with pytest.raises(ApiProblem, match="idempotency_conflict"):
        other.submit(service, "a")
    full = replace(settings, owner_bytes_limit=1)
    with closing(build_service(redis, full)) as narrow:
        work(redis, settings)
        with pytest.raises(ApiProblem, match="quota_full"):
            other.submit(narrow)
    small = replace(settings, upload_limit_bytes=len(ZKEY))
    with (
        closing(build_service(redis, small)) as narrow,
        pytest.raises(ApiProblem, match="queue_full"),
    ):
        other.submit(narrow)
    assert find(settings, *product.secrets, *other.secrets) == []


def test_a_replay_needs_the_witness_again(
    service: Service, redis: Redis, settings: Settings, product: Product
) -> None:
    product.submit(service)
    give_up(redis, settings)
    admin = QueueAdmin(JobQueue(redis, settings))
    (letter,) = admin.list_dead()
    assert admin.replay(letter.id) == "files_gone"
    assert admin.list_dead() == [letter]


def test_who_loses_the_server_leaves_nothing_beyond_the_next_sweep(
    service: Service,
    redis: Redis,
    settings: Settings,
    product: Product,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody knows whether the server took the job: where it did, the witness must stay."""
    submit = JobQueue.submit
    for is_taken in (False, True):

        def break_off(*args: object, is_taken: bool = is_taken, **rest: object) -> None:
            if is_taken:
                submit(*args, **rest)  # type: ignore[arg-type]
            raise ServerGone

        with monkeypatch.context() as patch:
            patch.setattr(JobQueue, "submit", break_off)
            with pytest.raises(ApiProblem, match="unavailable"):
                product.submit(service)
        service.sweep()
        assert find(settings, *product.secrets) == ["private"] * is_taken
    work(redis, settings)
    assert redis.hget("zkpot:counters", "ended_done") == b"1"
    assert find(settings, *product.secrets) == []


CRASH = """
import sys
from io import BytesIO
from pathlib import Path
from api.store.private import PrivatePart
from api.store.uploads import UploadStore
store = UploadStore.in_folder(Path(sys.argv[1]), ttl_s=60, limit_bytes=1 << 20)
with store.private.new() as folder:
    folder.write(PrivatePart.WITNESS, BytesIO(sys.stdin.buffer.read()))
    print("written", flush=True)
    while True:
        pass
"""


def test_a_sweep_finds_what_a_killed_writer_left(
    service: Service, settings: Settings, product: Product
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CRASH, str(settings.data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        try:
            writer.stdin.write(product.witness)
            writer.stdin.close()
            assert writer.stdout.readline() == b"written\n"
            service.sweep()
            assert find(settings, *product.secrets) == ["private"]  # it may go on
        finally:
            writer.send_signal(signal.SIGKILL)
    service.sweep()
    assert find(settings, *product.secrets) == []


# -- the blinding that the shards of a job share


@pytest.fixture
def rho(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Of all blindings drawn meanwhile, as it is encoded."""
    number = Random(3).randrange(R >> 1, R)
    monkeypatch.setattr(tasks, "draw_blinding", lambda _: Blinding(rho=number))
    return number.to_bytes(32, "little")


def submit_shards(service: Service, **change: int) -> Job:
    rng = np.random.default_rng(1)
    architecture = Architecture.mlp([4, 3, 2])
    images = rng.integers(0, 256, (3 * N_SAMPLES, 4), dtype=np.uint8)
    samples = {"images": images, "labels": rng.integers(0, 2, len(images), dtype=np.uint8)}
    request = JobRequest(
        model_id=service.put_model(LOCAL, encode_model(random_model(architecture, rng))).id,
        dataset=service.put_dataset(LOCAL, save(samples)).id,
        n_samples=N_SAMPLES,
        **change,  # type: ignore[arg-type]
    )
    return service.submit(LOCAL, request, None)


def expire(redis: Redis, settings: Settings) -> None:
    """As if the deadlines had passed."""
    for job in redis.zrange("zkpot:deadlines", 0, -1):  # type: ignore[union-attr]
        redis.zadd("zkpot:deadlines", {job: 1})
        redis.hset(f"zkpot:job:{job.decode()}", "deadline_ms", 1)


@pytest.mark.parametrize("end", [*ENDS, "cancelled", "expired"])
def test_a_blinding_is_never_in_the_queue_and_goes_with_its_job(
    service: Service, redis: Redis, settings: Settings, rho: bytes, end: str
) -> None:
    job = submit_shards(service, deadline_s=1000)
    work(redis, settings, n=1)
    assert service.get_job(LOCAL, job.id).shards_done == 1
    assert find(settings, rho) == ["private"]
    if end == "cancelled":
        service.cancel(LOCAL, job.id)
    elif end == "expired":
        expire(redis, settings)
    else:
        ENDS[end][1](redis, settings)
    state = ENDS[end][0] if end in ENDS else end
    assert service.get_job(LOCAL, job.id).state == state
    assert find(settings, rho) == []
    if end == "dead letter":
        admin = QueueAdmin(JobQueue(redis, settings))
        assert admin.replay(admin.list_dead()[0].id) == "replayed"
        work(redis, settings)
        assert service.get_job(LOCAL, job.id).state == "done"
        assert find(settings, rho) == []


def test_a_worker_that_lost_its_job_leaves_no_blinding(
    service: Service,
    redis: Redis,
    settings: Settings,
    rho: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cancelled while it commits: it offers what nobody takes."""
    job = submit_shards(service)
    new = PrivateFiles.new

    def cancel_first(files: PrivateFiles) -> object:
        service.cancel(LOCAL, job.id)
        return new(files)

    monkeypatch.setattr(PrivateFiles, "new", cancel_first)
    work(redis, settings)
    assert service.get_job(LOCAL, job.id).state == "cancelled"
    assert find(settings, rho) == []


# -- the files themselves


def make_files(folder: Path) -> PrivateFiles:
    return UploadStore.in_folder(folder, ttl_s=60, limit_bytes=1 << 20).private


def test_files_are_for_this_user_alone(tmp_path: Path) -> None:
    files = make_files(tmp_path)
    with files.new() as folder:
        folder.write(PrivatePart.WITNESS, BytesIO(b"secret"))
        folder.keep()
    for path in (tmp_path / "private").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
    assert files.read(folder.name, PrivatePart.WITNESS) == b"secret"
    assert files.measure() == len(b"secret")
    files.delete(folder.name)
    files.delete(folder.name)
    with pytest.raises(PrivateGone, match="the witness of this job is gone"):
        files.read(folder.name, PrivatePart.WITNESS)


def test_a_piece_of_a_part_in_pages_is_read_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_module, "PAGE_BYTES", 16)
    files, raw = make_files(tmp_path), bytes(range(50))
    with files.new() as folder:
        folder.write_pages(PrivatePart.ORDER, BytesIO(raw))
        folder.keep()
    assert files.measure() == len(raw)
    for start, end in ((0, 4), (0, 16), (15, 17), (16, 32), (3, 50), (48, 60), (7, 7)):
        piece = files.read_piece(folder.name, PrivatePart.ORDER, start, end - start)
        assert piece == raw[start:end]
    for start, name in ((64, folder.name), (0, "../uploads"), (0, "0" * 32)):
        with pytest.raises(PrivateGone, match="the order of this job is gone"):
            files.read_piece(name, PrivatePart.ORDER, start, 1)
    files.delete(folder.name)
    assert files.measure() == 0


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "x" * 32, "0" * 31, "٣" * 32, "\0"])
def test_a_name_that_is_none_is_no_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "witness").write_bytes(b"x")
    (tmp_path / "private").mkdir()
    files = make_files(tmp_path)
    files.delete(name)
    assert (tmp_path / "witness").exists()
    assert (tmp_path / "x").exists()
    assert (tmp_path / "private").exists()
    with pytest.raises(PrivateGone), files.open_file(name, PrivatePart.WITNESS):
        pass


def test_names_of_the_queue_that_are_none_are_dropped(redis: Redis, settings: Settings) -> None:
    queue = JobQueue(redis, settings)
    redis.sadd("zkpot:private-ended", "../uploads", b"\xff", *(secrets.token_hex(16) for _ in "ab"))
    make_files(settings.data_dir).clear(queue)
    assert not redis.exists("zkpot:private-ended")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write() -> None:
        with make_files(tmp_path).new() as folder:
            folder.write(PrivatePart.WITNESS, BytesIO(b"secret"))
            raise StoreFull

    with pytest.raises(StoreFull):
        write()
    assert list((tmp_path / "private").glob("*")) == []
