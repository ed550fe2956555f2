"""A few processes that verify: however much is asked of them, other requests get their answers.

In the API's own process verifications would take turns with everything else it does. Processes are
started when they are first needed, give way to the API, and end with it: their input is closed.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from queue import Empty, LifoQueue
from threading import Lock, Timer
from typing import Any

from pydantic import ValidationError

from api.http.problems import KINDS, ApiProblem
from api.http.schemas import VerifyAnswer, VerifyRequest
from api.http.verifier import read_frame, send_frame
from api.settings import Settings

VERIFIERS = 2
VERIFY_S = 120.0
"""A process that takes longer is stuck: a container of all shards there may be takes a tenth."""
RETRY_S = 5


class VerifierPool:
    """Verifies for callers, from any thread; at most `size` at a time, the others wait."""

    def __init__(
        self,
        argv: list[str],
        *,
        environment: dict[str, str] | None = None,
        size: int = VERIFIERS,
        limit_s: float = VERIFY_S,
    ) -> None:
        """argv, environment : of `api.http.verifier`, see `of`"""
        self._argv, self._environment, self._limit_s = argv, environment, limit_s
        self._idle: LifoQueue[subprocess.Popen[bytes] | None] = LifoQueue()
        for _ in range(size):
            self._idle.put(None)
        self._started: set[subprocess.Popen[bytes]] = set()
        self._lock, self._closed = Lock(), False

    @classmethod
    def of(cls, settings: Settings) -> VerifierPool:
        """A pool for the settings' store and keys."""
        argv = [sys.executable, "-m", "api.http.verifier"]
        return cls(argv, environment=settings.write_environment())

    def verify(self, owner: str, request: VerifyRequest) -> VerifyAnswer:
        """The verdict. Raises ApiProblem; `unavailable` when the process ends under way."""
        process = self._idle.get()
        try:
            if process is not None and process.poll() is not None:
                self._drop(process)
                process = None
            process = process or self._start()
            found = self._ask(process, {"owner": owner, "request": request.model_dump()})
            if found is None:
                self._drop(process)
                process = None
        finally:
            self._idle.put(process)
        if not isinstance(found, dict):
            raise ApiProblem(
                "unavailable", "the verification broke off", headers={"Retry-After": str(RETRY_S)}
            )
        return _read_answer(found)

    def close(self) -> None:
        """Ends all processes; verifications under way break off."""
        with self._lock:
            self._closed = True
            for process in self._started:
                process.kill()
                process.wait()
        idle = []
        with suppress(Empty):
            while True:  # those in use are dropped by who uses them
                idle.append(self._idle.get_nowait())
        for found in idle:
            if found is not None:
                self._drop(found)
            self._idle.put(None)  # who waits is told that the service stops

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise ApiProblem("unavailable", "the service stops")
            process = subprocess.Popen(
                self._argv,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=-1,
            )
            self._started.add(process)
            return process

    def _drop(self, process: subprocess.Popen[bytes]) -> None:
        """Ends a process that is in no other thread's hands."""
        with self._lock:
            self._started.discard(process)
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):  # a request that it never read
                    stream.close()

    def _ask(self, process: subprocess.Popen[bytes], asked: object) -> object:
        """None when the process ends, or is ended for being late."""
        assert process.stdin is not None
        assert process.stdout is not None
        late = Timer(self._limit_s, process.kill)
        late.daemon = True
        late.start()
        found = None
        with suppress(OSError):
            send_frame(process.stdin, asked)
            found = read_frame(process.stdout)
        late.cancel()
        return found


def _read_answer(found: dict[str, Any]) -> VerifyAnswer:
    try:
        if "answer" in found:
            return VerifyAnswer.model_validate(found["answer"])
        code = found["code"] if found["code"] in KINDS else "internal"
        raise ApiProblem(
            code, found["detail"], next_step=found["next_step"], headers=found["headers"]
        )
    except (ValidationError, KeyError):
        raise ApiProblem("internal") from None
