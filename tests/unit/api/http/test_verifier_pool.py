"""The processes that verify: their answers are verdicts or problems, their end is named."""

from __future__ import annotations

import base64
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest

from api.http.problems import KINDS, ApiProblem
from api.http.schemas import VerifyRequest
from api.http.verifier import MAX_FRAME_BYTES, Verifier, answer, read_frame, send_frame
from api.http.verifier_pool import VerifierPool
from api.settings import Settings

ASKED = VerifyRequest(proof_base64="", circuit="0" * 64, dataset="mnist:test[0:16]")
ECHO = """
import os, sys
from api.http.verifier import read_frame, send_frame
while read_frame(sys.stdin.buffer):
    send_frame(sys.stdout.buffer, {"answer": {"verdict": "valid", "reason": str(os.getpid())}})
"""
ENDS = "import sys; sys.stdin.buffer.read(4); sys.exit(1)"
HANGS = "import sys; sys.stdin.buffer.read()"


def pool_of(program: str, **options: float) -> VerifierPool:
    return VerifierPool([sys.executable, "-c", program], **options)  # type: ignore[arg-type]


def test_the_process_answers_with_problems(tmp_path: Path) -> None:
    with closing(VerifierPool.of(Settings(data_dir=tmp_path))) as pool:
        for change, code in (
            ({}, "not_found"),
            ({"proof_base64": "?"}, "invalid_request"),
        ):
            with pytest.raises(ApiProblem) as refused:
                pool.verify("alice", ASKED.model_copy(update=change))
            assert refused.value.code == code


def test_a_process_is_kept_and_replaced_when_it_has_ended() -> None:
    with closing(pool_of(ECHO, size=1)) as pool:
        first, second = (pool.verify("alice", ASKED).reason for _ in range(2))
        assert first == second
        os.kill(int(first or ""), signal.SIGKILL)
        os.waitid(os.P_PID, int(first or ""), os.WEXITED | os.WNOWAIT)  # it has ended
        assert pool.verify("alice", ASKED).reason not in (None, first)


@pytest.mark.parametrize(("program", "limit_s"), [(ENDS, 60.0), (HANGS, 0.05)])
def test_a_process_that_ends_or_hangs_is_named_and_harms_no_other(
    program: str, limit_s: float
) -> None:
    with closing(pool_of(program, size=1, limit_s=limit_s)) as pool:
        for _ in range(2):
            with pytest.raises(ApiProblem, match="broke off") as refused:
                pool.verify("alice", ASKED)
            assert refused.value.code == "unavailable"
            assert int(refused.value.headers["Retry-After"]) >= 1


def test_closing_ends_what_is_under_way() -> None:
    pool = pool_of(HANGS, size=1, limit_s=60.0)
    with ThreadPoolExecutor(3) as threads:  # two of them wait for the only process
        asked = [threads.submit(pool.verify, "alice", ASKED) for _ in range(3)]
        while not pool._started:
            pass
        pool.close()
        for one in asked:
            with pytest.raises(ApiProblem):
                one.result(timeout=30)
    with pytest.raises(ApiProblem, match="stops"):
        pool.verify("alice", ASKED)


def test_errors_without_a_name_show_nothing(tmp_path: Path) -> None:
    class Broken(Verifier):
        def verify(self, owner: str, request: VerifyRequest) -> None:  # type: ignore[override]
            raise RuntimeError("what the caller sent")

    raw = base64.b64encode(b"x").decode()
    asked = {"owner": "alice", "request": {**ASKED.model_dump(), "proof_base64": raw}}
    assert answer(Broken(None, tmp_path), asked) == {  # type: ignore[arg-type]
        "code": "internal",
        "detail": "",
        "next_step": KINDS["internal"].next_step,
        "headers": {},
    }
    assert answer(Broken(None, tmp_path), {})["code"] == "internal"  # type: ignore[arg-type]


def test_frames() -> None:
    stream = BytesIO()
    send_frame(stream, {"a": 1})
    raw = stream.getvalue()
    assert read_frame(BytesIO(raw)) == {"a": 1}
    for cut in range(len(raw)):
        assert read_frame(BytesIO(raw[:cut])) is None
    assert read_frame(BytesIO((MAX_FRAME_BYTES + 1).to_bytes(4, "little"))) is None
