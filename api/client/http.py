"""A small typed client of the HTTP service.

with Client.connect("http://127.0.0.1:8000") as zkpot:
    model = zkpot.upload_model(Path("model.zkq").read_bytes())
    job = zkpot.submit(JobRequest(model_id=model.id, dataset="mnist:test[0:64]", n_samples=64))
    for event in zkpot.follow(job.id):
        print(event.data)
    proof = zkpot.fetch_proof(job.id)
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from api.errors import ApiError, ServiceGone
from api.http.problems import Problem
from api.http.schemas import (
    CircuitList,
    CommitmentReceipt,
    DatasetReceipt,
    Job,
    JobList,
    JobRequest,
    ModelReceipt,
    ProofView,
    VerifyAnswer,
    VerifyRequest,
)
from api.queue.jobs import JobEvent, Priority
from federated.proxies import find_proxy

OCTETS = "application/octet-stream"
_TIMEOUT_S = 30.0
_UPLOAD_S = 600.0
"""Of one that is large, until the service has looked through it."""
_RECONNECT_S = 0.5
PATIENCE_S = 300.0
"""A service that is started again, on a busy machine too, answers sooner."""
_MAX_TOLD = 2000
"""Characters of a refusal."""
_A = TypeVar("_A", bound=BaseModel)


class ServiceRefused(ApiError):
    """The service answered with a problem; `problem.next_step` says what to do."""

    code = "service_refused"

    def __init__(self, problem: Problem, retry_after_s: float | None = None) -> None:
        self.problem, self.retry_after_s = problem, retry_after_s
        parts = (problem.title, problem.detail, problem.next_step)
        told = f"{problem.code}: " + "; ".join(p for p in parts if p)
        super().__init__(_show(told))


class Client:
    """Calls of one service with one API key. Raises ServiceRefused, httpx2.HTTPError; who waits for
    a job, ServiceGone."""

    def __init__(
        self,
        http: httpx2.Client,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._sleep, self._clock = sleep, clock

    @classmethod
    def connect(cls, url: str, *, key: str | None = None) -> Self:
        """Directly to this machine, else as the environment says. Raises ProxyUnusable."""
        return cls(connect(url, key=key))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def upload_model(self, raw: bytes) -> ModelReceipt:
        """Stores the bytes of a .zkq file for this key's owner, until their time to live ends."""
        return self._post_bytes("/v1/models", raw, ModelReceipt)

    def upload_dataset(self, raw: bytes) -> DatasetReceipt:
        """Stores a safetensors file of `images` uint8[N, ...] and `labels` uint8[N]."""
        return self._post_bytes("/v1/datasets", raw, DatasetReceipt)

    def upload_commitment(self, raw: bytes) -> CommitmentReceipt:
        """Stores a commitment with its blinding, for jobs that name its id."""
        return self._post_bytes("/v1/commitments", raw, CommitmentReceipt)

    def submit(self, request: JobRequest, *, idempotency_key: str | None = None) -> Job:
        """The same request with the same idempotency key is one job, however often it is sent."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        body = request.model_dump(mode="json", exclude_none=True)
        return self._ask("POST", "/v1/jobs", Job, json=body, headers=headers)

    def submit_training(
        self,
        order: BinaryIO,
        *,
        priority: Priority = Priority.NORMAL,
        deadline_s: int | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Proofs of steps and of their export: `fetch_proof` gives a `TrainingProofs`.

        order : a file that `federated.provable.orders.write_order` has written, from its start
        """
        order.seek(0)
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        fields = {"priority": priority.value}
        if deadline_s is not None:
            fields["deadline_s"] = str(deadline_s)
        return self._ask(
            "POST",
            "/v1/jobs/training",
            Job,
            files={"order": ("order", order, OCTETS)},
            data=fields,
            headers=headers,
            timeout=_UPLOAD_S,
        )

    def job(self, job_id: str) -> Job:
        return self._ask("GET", f"/v1/jobs/{job_id}", Job)

    def jobs(self, *, limit: int = 50, before: str | None = None) -> JobList:
        """Newest first; `before` is the `next` of an earlier list."""
        query = {"limit": limit, **({"before": before} if before else {})}
        return self._ask("GET", "/v1/jobs", JobList, params=query)

    def cancel(self, job_id: str) -> Job:
        return self._ask("DELETE", f"/v1/jobs/{job_id}", Job)

    def fetch_proof(self, job_id: str) -> bytes:
        """The bytes that `zkpot verify` reads."""
        answer = self._http.get(f"/v1/jobs/{job_id}/proof", headers={"Accept": OCTETS})
        return _checked(answer).content

    def describe_proof(self, job_id: str) -> ProofView:
        return self._ask("GET", f"/v1/jobs/{job_id}/proof", ProofView)

    def circuits(self) -> CircuitList:
        return self._ask("GET", "/v1/circuits", CircuitList)

    def fetch(self, path: str) -> bytes:
        """A file that an answer names by path, such as a verifying key."""
        return _checked(self._http.get(path)).content

    def verify(self, proof: bytes, *, circuit: str, dataset: str | None = None) -> VerifyAnswer:
        """dataset : of a proof of accuracy; proofs of a step or an export are about none"""
        request = VerifyRequest(
            proof_base64=base64.b64encode(proof).decode("ascii"), circuit=circuit, dataset=dataset
        )
        return self._ask("POST", "/v1/verify", VerifyAnswer, json=request.model_dump())

    def follow(
        self, job_id: str, *, last_event_id: str = "", patience_s: float = PATIENCE_S
    ) -> Iterator[JobEvent]:
        """Events until the job ends, over as many connections as that takes.

        patience_s : how long to look for a service that does not answer. Raises ServiceGone.
        """
        heard_at = self._clock()
        while True:
            headers = {"Accept": "text/event-stream"}
            if last_event_id:
                headers["Last-Event-ID"] = last_event_id
            try:
                path = f"/v1/jobs/{job_id}/events"
                with self._http.stream("GET", path, headers=headers) as answer:
                    heard_at = self._clock()
                    if answer.status_code != httpx2.codes.OK:
                        answer.read()
                    for event in parse_events(_checked(answer).iter_lines()):
                        last_event_id, heard_at = event.id or last_event_id, self._clock()
                        yield event
                        if event.type == "end":
                            return
            except httpx2.TransportError as error:
                # The connection broke: the next one resumes behind the last event.
                silence_s = self._clock() - heard_at
                if silence_s > patience_s:
                    raise ServiceGone(silence_s) from error
            self._sleep(_RECONNECT_S)

    def wait(self, job_id: str, *, patience_s: float = PATIENCE_S) -> Job:
        """The job once it has ended, well or not. Raises ServiceGone as `follow` does."""
        for _ in self.follow(job_id, patience_s=patience_s):
            pass
        return self.job(job_id)

    def _post_bytes(self, path: str, raw: bytes, answer: type[_A]) -> _A:
        return self._ask("POST", path, answer, content=raw, headers={"Content-Type": OCTETS})

    def _ask(self, method: str, path: str, answer: type[_A], **options: Any) -> _A:
        headers = {"Accept": "application/json", **options.pop("headers", {})}
        got = _checked(self._http.request(method, path, headers=headers, **options))
        return answer.model_validate_json(got.content)


def connect(url: str, *, key: str | None = None) -> httpx2.Client:
    """Connections directly to this machine, else as the environment says. Raises ProxyUnusable."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    proxy = find_proxy(url)
    if proxy is not None:
        return httpx2.Client(base_url=url, headers=headers, timeout=_TIMEOUT_S, proxy=proxy)
    # The environment's certificates count, its proxies do not.
    trusted = httpx2.create_ssl_context() if url.startswith("https:") else True
    return httpx2.Client(
        base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=False, verify=trusted
    )


def parse_events(lines: Iterable[str]) -> Iterator[JobEvent]:
    """Events of a `text/event-stream`; comments and events without data are passed over."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if "data" in fields:
                data = json.loads(fields["data"])
                yield JobEvent(fields.get("id", ""), fields.get("event", "message"), data)
            fields = {}
            continue
        name, _, value = line.partition(":")
        if name in ("id", "event", "data"):
            fields[name] = fields.get(name, "") + value.removeprefix(" ")


def _show(text: str) -> str:
    """A line for a terminal, which obeys control characters: who answers may be anybody."""
    return "".join(c if c.isprintable() else "?" for c in text[:_MAX_TOLD])


def _checked(answer: httpx2.Response) -> httpx2.Response:
    """The answer itself when it is a success."""
    if answer.is_success:
        return answer
    raise read_refusal(answer)


def read_refusal(answer: httpx2.Response) -> ServiceRefused:
    """What a service that refused, whose answer was read, said."""
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        problem = Problem(
            type="about:blank",
            title=f"status {answer.status_code}",
            status=answer.status_code,
            code="unknown",
            next_step="ask who runs the service",
        )
    wait = answer.headers.get("Retry-After", "")
    return ServiceRefused(problem, float(wait) if wait.isascii() and wait.isdigit() else None)
