"""Suite `service`: what HTTP, queue and worker add to a proof, and how they bear load.

A whole service (`zkpot up`: server, API, one worker) runs beside its clients on the same cores. The
answer of each case is what the clients got: every request served, every proof as many correct
samples as the integer model counts.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any, NamedTuple

from bench.errors import Unavailable
from bench.proving import DATA, MODEL, OCCASION, AccuracyBench
from bench.registry import BenchCase, Suite, Task
from bench.service_load import Caller, Reply, load, percentile_99_ms, running_service
from bench.suites.kernels import Engine
from federated.data import DatasetRef, load_samples
from kernels.numpy_types import UInt8Array
from prover.model.zkq import decode_model
from prover.wire.dataset import shard_digest
from prover.wire.envelope import Envelope
from prover.wire.records import LENGTH_BYTES, encode_fields, header

READS_PER_S, SUBMITS_PER_S, VERIFIES_PER_S = 200, 20, 8
OCTETS = "application/octet-stream"


class Sizes(NamedTuple):
    """Samples of a proof, seconds of load, jobs whose overhead is taken."""

    samples: int
    load_s: int
    jobs: int


FULL = Sizes(samples=64, load_s=15, jobs=24)
QUICK = Sizes(samples=16, load_s=2, jobs=2)
WORKER_NICENESS = 10  # as `zkpot up` starts its workers
PER_SECOND = 16
"""More shards than two cores prove in a second, so that one is under way all the time."""
TEST_SAMPLES = 2048
"""Of the packaged part of MNIST."""
SHARD_SAMPLES = 16
N_SHARDS = TEST_SAMPLES // SHARD_SAMPLES


@dataclass(frozen=True, slots=True)
class Client:
    """Calls of one service about one model."""

    url: str
    model_id: str

    @classmethod
    def of(cls, url: str, model: bytes) -> Client:
        receipt = Caller(url).ask("POST", "/v1/models", model, OCTETS)
        return cls(url, require(receipt, 201)["id"])

    def body(self, number: int, n: int, priority: str = "normal", n_real: int = 0) -> bytes:
        """A job about the first n_real (default n) test samples in shards of n; another number is
        another job."""
        return json.dumps(
            {
                "model_id": self.model_id,
                "dataset": f"mnist:test[0:{n_real or n}]",
                "n_samples": n,
                "priority": priority,
                "statement": {"round_index": number},
            }
        ).encode()

    def submit(self, body: bytes) -> str:
        return str(require(Caller(self.url).ask("POST", "/v1/jobs", body), 202)["id"])

    def wait(self, job_id: str) -> None:
        """Returns when the job is done; a job that ends otherwise is an error.

        By its events: who asks again and again takes the time of a processor from the proof.
        """
        Caller(self.url).follow(f"/v1/jobs/{job_id}/events", until="end")
        state = require(Caller(self.url).ask("GET", f"/v1/jobs/{job_id}"), 200)["state"]
        if state != "done":
            raise RuntimeError(f"the job is {state}")

    def find_circuit(self, n_samples: int) -> str:
        """Digest of the model's circuit for so many samples, whose key was made before."""
        name = decode_model(MODEL.read_bytes()).architecture.name
        listed = require(Caller(self.url).ask("GET", "/v1/circuits"), 200)["circuits"]
        found = (c for c in listed if (c["architecture"], c["n_samples"]) == (name, n_samples))
        return str(next(found)["digest"])

    def fetch(self, job_id: str) -> bytes:
        return Caller(self.url).ask("GET", f"/v1/jobs/{job_id}/proof").body


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the clients of a load got."""

    reads: list[Reply]
    submits: list[Reply]
    proven_beside: bool

    def outcome(self) -> tuple[set[int], set[int], bool]:
        return {r.status for r in self.reads}, {r.status for r in self.submits}, self.proven_beside


class Builder:
    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self._loaded: Loaded | None = None

    def cases(self) -> list[BenchCase]:
        n = self.sizes.samples
        served: tuple[set[int], set[int], bool] = ({200}, {202}, True)
        return [
            self.case(
                "submit_p99",
                f"r{READS_PER_S}.s{SUBMITS_PER_S}",
                partial(self.under_load, lambda found: percentile_99_ms(found.submits)),
                lambda: served,
                seconds=self.sizes.load_s,
            ),
            self.case(
                "read_p99",
                f"r{READS_PER_S}.s{SUBMITS_PER_S}",
                partial(self.under_load, lambda found: percentile_99_ms(found.reads)),
                lambda: served,
                seconds=self.sizes.load_s,
            ),
            self.case(
                "read_p99",
                f"r{READS_PER_S}.v{VERIFIES_PER_S}",
                lambda: Task(
                    run=self.put_under_lies,
                    answer=lambda found: found[1:],
                    reading=lambda found: percentile_99_ms(found[0]),
                ),
                lambda: ({200}, {200}, {"pairing_failed"}),
                seconds=self.sizes.load_s,
                shards=N_SHARDS,
            ),
            self.case(
                "overhead",
                f"n{n}",
                self.overhead,
                self.count_correct,
                jobs=self.sizes.jobs,
            ),
        ]

    def case(
        self,
        name: str,
        at: str,
        make: Callable[[], Task[Any]],
        expect: Callable[[], object],
        **params: int,
    ) -> BenchCase:
        return BenchCase(
            id=f"service.{name}.{at}",
            params={"samples": self.sizes.samples, **Engine().params(), **params},
            unit="ms",
            make=make,
            expect=expect,
            n_max=1,
        )

    def count_correct(self) -> set[int]:
        bench = AccuracyBench(self.sizes.samples)
        return {bench.count_correct(*bench.samples(self.sizes.samples))}

    # -- overhead --------------------------------------------------------------------------------
    def overhead(self) -> Task[tuple[float, set[int]]]:
        """Milliseconds from submission to the end of a job beyond the same call in this process.

        Turn and turn about, so that both see the same machine; each median of several. From here on
        this process gives way to others as the service's worker does, or they would not compare:
        this case is the last.
        """
        bench = AccuracyBench(self.sizes.samples)
        images, labels = bench.samples(self.sizes.samples)

        def run() -> tuple[float, set[int]]:
            with self.service() as client:
                os.nice(WORKER_NICENESS)
                pairs = list(self.pairs(client, bench, images, labels))
            extra = median(s for s, _, _ in pairs) - median(d for _, d, _ in pairs)
            return extra * 1e3, {n for _, _, n in pairs}

        return Task(run=run, answer=lambda result: result[1], reading=lambda result: result[0])

    def pairs(
        self, client: Client, bench: AccuracyBench, images: UInt8Array, labels: UInt8Array
    ) -> Iterator[tuple[float, float, int]]:
        """(seconds by the service, seconds of the direct call, correct samples proven)."""
        for number in range(-1, self.sizes.jobs):  # the first pair makes and loads the keys
            begin = time.perf_counter()
            job = client.submit(client.body(int(time.time()) + number, self.sizes.samples))
            client.wait(job)
            between = time.perf_counter()
            # As a job does: the model is committed to, then proven.
            bench.__dict__.pop("commitment", None)
            direct = bench.prove(images, labels)
            end = time.perf_counter()
            envelope = Envelope.decode(client.fetch(job))
            if envelope is None or direct.statement.occasion.task_id != OCCASION.task_id:
                raise RuntimeError("the service published no proof")
            if number >= 0:
                yield between - begin, end - between, envelope.statement.claimed_correct

    # -- load ------------------------------------------------------------------------------------
    def under_load(self, read: Callable[[Loaded], float]) -> Task[Loaded]:
        def run() -> Loaded:
            if self._loaded is None:
                self._loaded = self.put_under_load()
            return self._loaded

        return Task(run=run, answer=Loaded.outcome, reading=read)

    def put_under_load(self) -> Loaded:
        """Reads and submissions at their rates, proofs under way on the same cores all the time."""
        n, now = SUBMITS_PER_S * self.sizes.load_s, int(time.time())
        n_beside = -(-PER_SECOND * self.sizes.load_s * self.sizes.samples // TEST_SAMPLES)
        with self.service() as client:
            client.wait(client.submit(client.body(now, self.sizes.samples)))  # makes the keys
            beside = [
                client.submit(client.body(now + i, self.sizes.samples, "high", TEST_SAMPLES))
                for i in range(1, 1 + n_beside)
            ]
            reads, submits = load(
                client.url,
                read_path=f"/v1/jobs/{beside[0]}",
                reads_per_s=READS_PER_S,
                submit_path="/v1/jobs",
                bodies=[client.body(now + i, 16, "low") for i in range(n)],
                submits_per_s=SUBMITS_PER_S,
            )
            last = require(Caller(client.url).ask("GET", f"/v1/jobs/{beside[-1]}"), 200)
        return Loaded(reads, submits, proven_beside=last["state"] != "done")

    # -- lies ------------------------------------------------------------------------------------
    def put_under_lies(self) -> tuple[list[Reply], set[int], set[int], set[str]]:
        """Replies to reads beside another caller's verifications, each of a container whose shards
        are all false; then the statuses of both, and the verdicts.

        An honest proof and a false container are judged before. Of what comes faster than it is
        judged, some is refused (429): how much is the machine's, so it is left out.
        """
        with self.service() as client:
            job = client.submit(client.body(int(time.time()), SHARD_SAMPLES))
            client.wait(job)
            path = f"/v1/jobs/{job}"
            circuit, honest = client.find_circuit(SHARD_SAMPLES), client.fetch(job)
            first = f"mnist:test[0:{SHARD_SAMPLES}]"
            whole = f"mnist:test[0:{TEST_SAMPLES}]"
            false = body_to_verify(forge_container(honest), circuit, whole)
            for body, verdict in (
                (body_to_verify(honest, circuit, first), "valid"),
                (false, "pairing_failed"),
            ):
                found = require(Caller(client.url).ask("POST", "/v1/verify", body), 200)
                if found["verdict"] != verdict:
                    raise RuntimeError(f"the verdict is {found['verdict']} instead of {verdict}")
            n = VERIFIES_PER_S * self.sizes.load_s
            reads, judged = load(
                client.url,
                read_path=path,
                reads_per_s=READS_PER_S,
                submit_path="/v1/verify",
                bodies=[false] * n,
                submits_per_s=VERIFIES_PER_S,
            )
        verdicts = {str(reply.json()["verdict"]) for reply in judged if reply.status == 200}
        return reads, {r.status for r in reads}, {r.status for r in judged} - {429}, verdicts

    @contextmanager
    def service(self) -> Iterator[Client]:
        if not MODEL.exists():
            raise Unavailable(f"{MODEL.name} is not here: run it in a checkout of the repository")
        with running_service() as url:
            yield Client.of(url, MODEL.read_bytes())


def forge_container(honest: bytes) -> bytes:
    """A proof for every shard of the test samples: the points of another one, so all are false."""
    samples = load_samples(DatasetRef.parse(f"mnist:test[0:{TEST_SAMPLES}]"), DATA)
    envelope = Envelope.decode(honest)
    if envelope is None:
        raise RuntimeError("the service published no proof")
    raws = []
    for index in range(N_SHARDS):
        cut = slice(index * SHARD_SAMPLES, (index + 1) * SHARD_SAMPLES)
        statement = replace(
            envelope.statement,
            shard_index=index,
            dataset_digest=shard_digest(samples.images[cut], samples.labels[cut]),
            claimed_correct=envelope.statement.claimed_correct - 1,  # else shard 0's would be true
        )
        raws.append(replace(envelope, statement=statement).encode())
    head = header(b"zkpotshd", 1) + len(raws).to_bytes(LENGTH_BYTES, "little")
    return head + encode_fields(raws)


def body_to_verify(proof: bytes, circuit: str, dataset: str) -> bytes:
    encoded = base64.b64encode(proof).decode("ascii")
    return json.dumps({"proof_base64": encoded, "circuit": circuit, "dataset": dataset}).encode()


def require(reply: Reply, status: int) -> Any:
    """The answer in JSON."""
    if reply.status != status:
        raise RuntimeError(f"status {reply.status} instead of {status}: {reply.body[:200]!r}")
    return reply.json()


def build_suite(*, quick: bool) -> Suite:
    return Suite(cases=Builder(QUICK if quick else FULL).cases())
