"""Verifications asked for by callers, in a process of their own: see `api.http.verifier_pool`.

    parent --> length, 4 bytes little-endian | JSON of {owner, request}
    parent <-- length, 4 bytes little-endian | JSON of {answer} or of a problem

One request at a time, until the parent closes its end.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
import signal
import sys
from contextlib import suppress
from typing import IO

from api.http.problems import ApiProblem, as_problem
from api.http.schemas import VerifyAnswer, VerifyRequest
from api.http.service_refusals import refusing_callers
from api.http.views import view_statement
from api.process.scratch import ensure_scratch
from api.process.streams import outlast_errors, outlast_output
from api.settings import Settings
from api.store.keyfolder import load_half
from api.store.keyshelf import KeyShelf
from api.store.opening import open_shelf, open_store
from api.store.uploads import UploadStore
from prover.errors import FormatError, KeyMismatch, ProverError
from prover.judging import Proven, judge_file
from prover.keys.card import KeyCard
from prover.keys.halves import VerifyingKey
from prover.wire.wording import NOT_PROVEN

NICENESS = 10
"""On processors that all share, a verification takes what the answers to callers leave."""
MAX_FRAME_BYTES = 1 << 24
_LENGTH_BYTES = 4


class Verifier:
    """Judges proofs by the keys and samples of one data directory."""

    def __init__(self, store: UploadStore, keys: KeyShelf) -> None:
        self._store, self._keys = store, keys

    def verify(self, owner: str, request: VerifyRequest) -> VerifyAnswer:
        """The verdict on any bytes. Raises ApiProblem, ProverError."""
        try:
            raw = base64.b64decode(request.proof_base64, validate=True)
        except (binascii.Error, ValueError):
            raise ApiProblem(
                "invalid_request", "proof_base64 is no base64", next_step="encode the proof's bytes"
            ) from None
        key, card = load_circuit(self._keys, request.circuit)
        with refusing_callers():
            images, labels = self._store.load_samples(owner, request.dataset)
        outcome = judge_file(
            raw,
            key=key,
            layout=card.layout,
            images=images,
            labels=labels,
            expected={},
            random_bytes=secrets.token_bytes,
        )
        if not isinstance(outcome, Proven):
            return VerifyAnswer(verdict=outcome.code, reason=outcome.reason)
        return VerifyAnswer(
            verdict="valid",
            architecture=card.architecture.name,
            not_proven=list(NOT_PROVEN),
            n_real=outcome.n_samples,
            claimed_correct=outcome.n_correct,
            statements=[view_statement(s) for s in outcome.statements],
        )


def load_circuit(keys: KeyShelf, circuit: str) -> tuple[VerifyingKey, KeyCard]:
    """The verifying half of a key by its card. ApiProblem not_found, unavailable.

    One that was altered, or is half made, is none.
    """
    with refusing_callers(), suppress(FormatError, KeyMismatch):
        return load_half(keys.find(circuit))
    raise ApiProblem("not_found", "no circuit here has this digest")


def send_frame(stream: IO[bytes], value: object) -> None:
    """Raises OSError."""
    raw = json.dumps(value).encode("ascii")
    stream.write(len(raw).to_bytes(_LENGTH_BYTES, "little") + raw)
    stream.flush()


def read_frame(stream: IO[bytes]) -> object:
    """What `send_frame` sent; None when the other end is closed, or sent what is no frame."""
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
    raw = stream.read(length) if length <= MAX_FRAME_BYTES else b""
    if not raw or len(raw) < length:
        return None
    return json.loads(raw)


def answer(verifier: Verifier, asked: dict[str, object]) -> dict[str, object]:
    """The frame that answers one request."""
    try:
        request = VerifyRequest.model_validate(asked["request"])
        return {"answer": verifier.verify(str(asked["owner"]), request).model_dump(mode="json")}
    except ApiProblem as error:
        problem = error
    except ProverError as error:
        problem = as_problem(error)
    except Exception:  # its text may name what the caller sent
        problem = ApiProblem("internal")
    names = ("code", "detail", "next_step", "headers")
    return {name: getattr(problem, name) for name in names}


def main() -> None:
    """Answers the parent's requests until it closes its end; the settings are the environment's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at a terminal it is for the parent
    os.nice(NICENESS)
    outlast_errors()
    outlast_output()
    ensure_scratch()
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints is no answer
    settings = Settings.from_environment()
    verifier = Verifier(open_store(settings), open_shelf(settings))
    while isinstance(asked := read_frame(requests), dict):
        send_frame(answers, answer(verifier, asked))


if __name__ == "__main__":
    main()
