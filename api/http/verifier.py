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
from typing import IO

from api.http.circuits import load_circuit
from api.http.problems import ApiProblem, as_problem
from api.http.schemas import VerifyAnswer, VerifyRequest
from api.http.service_refusals import refusing_callers
from api.http.views import view_statement, view_training
from api.process.scratch import ensure_scratch
from api.process.streams import outlast_errors, outlast_output
from api.settings import Settings
from api.store.keyshelf import KeyShelf
from api.store.opening import open_shelf, open_store
from api.store.uploads import UploadStore
from prover.circuit.training.inputs import ExportInputs, StepInputs
from prover.errors import ProverError
from prover.groth16.verify_training import verify_exports, verify_steps
from prover.judging import REASONS, Proven, judge_file
from prover.keys.card import Card, KeyCard
from prover.keys.halves import VerifyingKey
from prover.keys.training_card import ExportCard, StepCard
from prover.wire.verdict import Verdict
from prover.wire.wording import NOT_PROVEN, OF_TRAINING_NOT_PROVEN

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
        if isinstance(card, KeyCard):
            return self._verify_accuracy(owner, request.dataset, raw, key, card)
        return _verify_training(raw, key, card)

    def _verify_accuracy(
        self, owner: str, dataset: str | None, raw: bytes, key: VerifyingKey, card: KeyCard
    ) -> VerifyAnswer:
        if dataset is None:
            raise ApiProblem(
                "invalid_request", "a proof of accuracy is about samples: give dataset"
            )
        with refusing_callers():
            images, labels = self._store.load_samples(owner, dataset)
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


def _verify_training(raw: bytes, key: VerifyingKey, card: Card) -> VerifyAnswer:
    """The verdict on one envelope of a step, or of an export, as the card says."""
    verdict = _judge_training(raw, key, card)
    if verdict is not Verdict.VALID:
        return VerifyAnswer(verdict=verdict.value, reason=REASONS[verdict])
    return VerifyAnswer(
        verdict=verdict.value,
        architecture=card.architecture.name,
        not_proven=list(OF_TRAINING_NOT_PROVEN),
        training=view_training(raw),
    )


def _judge_training(raw: bytes, key: VerifyingKey, card: Card) -> Verdict:
    if isinstance(card, StepCard):
        steps = StepInputs(plan=card.plan)
        return verify_steps([raw], key=key, inputs=steps, random_bytes=secrets.token_bytes)[0]
    assert isinstance(card, ExportCard), "the service keeps keys of three kinds"
    exports = ExportInputs(plan=card.plan)
    return verify_exports([raw], key=key, inputs=exports, random_bytes=secrets.token_bytes)[0]


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
