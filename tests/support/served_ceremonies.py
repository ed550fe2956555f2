"""A tiny ceremony that is served: its folder, its desk by a clock of the test's, and guests."""

from __future__ import annotations

import base64
import shutil
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import structlog
from httpx2 import Response
from starlette.testclient import TestClient

from api.ceremony.app import build_app
from api.ceremony.desk import Desk
from api.ceremony.queue import Limits
from api.console.ceremony.folder import CeremonyFolder
from api.http.auth import KeyRing
from kernels.files import write_whole
from prover.ceremony.own.contribute import Origin, contribute
from prover.ceremony.own.record import Transcript
from prover.keys.card import KeyCard
from prover.keys.folder import CARD_NAME, TRANSCRIPT_NAME
from prover.model.layers import Requant
from prover.model.network import Architecture
from tests.support.own_ceremonies import Ceremony
from tests.support.tiny_circuits import seeded
from tests.support.toy_protocol import BACKEND, TOY

CARD = KeyCard(
    architecture=Architecture.mlp([4, 3, 2], requant=Requant(shift=14, q_bits=10)),
    n_samples=1,
    circuit_digest=TOY.digest,
)
"""A card that names the toy's circuit, which no card describes: nothing here compiles it."""
LIMITS = Limits(turn_s=100.0, longest_turns=3, seen_s=20.0, n_active=4, n_per_caller=3, n_ended=4)
RATES = dict.fromkeys(("read", "hold", "join", "guess"), "10000/second")
BASE_URL = "http://localhost"


class Clock:
    """Stands still unless a test moves it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def begin(folder: Path) -> Path:
    """A ceremony to which nobody contributed."""
    ceremony = Ceremony(folder)
    write_whole(folder / CARD_NAME, [CARD.encode()])
    write_whole(folder / TRANSCRIPT_NAME, [ceremony.transcript.encode()])
    return folder


def open_desk(folder: Path, clock: Clock, limits: Limits = LIMITS, seed: int = 1) -> Desk:
    return Desk(
        folder,
        limits=limits,
        backend=BACKEND,
        clock=clock,
        random_bytes=Random(seed).randbytes,
        log=structlog.wrap_logger(None, processors=[_drop]),
    )


def _drop(logger: object, method: str, event: Any) -> Any:
    raise structlog.DropEvent


def ask(
    desk: Desk, *, keys: KeyRing | None = None, rates: dict[str, str] | None = None
) -> TestClient:
    app = build_app(desk, keys=keys or KeyRing(), rates={**RATES, **(rates or {})})
    return TestClient(app, base_url=BASE_URL, raise_server_exceptions=False)


@dataclass(frozen=True, slots=True)
class Made:
    """A contribution: its record, the state behind it and its place."""

    record: bytes
    state: bytes
    place: str
    transcript: Transcript


_MADE: dict[tuple[bytes, int, str], Made] = {}
"""Contributions by what they are behind, seed and name: those of one test serve all."""


def make(folder: Path, seed: int, name: str = "") -> Made:
    """By the book, behind what is in the folder, which stays as it is."""
    key = ((folder / TRANSCRIPT_NAME).read_bytes(), seed, name)
    if key not in _MADE:
        _MADE[key] = _make(folder, seed, name)
    return _MADE[key]


def _make(folder: Path, seed: int, name: str) -> Made:
    ceremony = CeremonyFolder.load(folder)
    with TemporaryDirectory() as scratch:
        out = Path(scratch) / "state"
        after = contribute(
            ceremony.first,
            ceremony.last,
            ceremony.transcript,
            Origin(name=name),
            out,
            random_bytes=seeded(seed),
            backend=BACKEND,
        )
        raw = out.read_bytes()
    record = after.contributions[-1].encode()
    return Made(record=record, state=raw, place=after.place.hex(), transcript=after)


def copy_folder(folder: Path, goal: Path) -> Path:
    return Path(shutil.copytree(folder, goal))


@dataclass(slots=True)
class Guest:
    """Who holds a ticket."""

    http: TestClient
    id: str
    token: str
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def join(cls, http: TestClient, name: str = "", headers: dict[str, str] | None = None) -> Guest:
        answer = http.post("/v1/ceremony/tickets", json={"name": name}, headers=headers or {})
        assert answer.status_code == 201, answer.text
        found = answer.json()
        token = found["token"]
        return cls(http, found["ticket"]["id"], token, {"Authorization": f"Bearer {token}"})

    @property
    def path(self) -> str:
        return f"/v1/ceremony/tickets/{self.id}"

    def see(self) -> dict[str, Any]:
        answer = self.http.get(self.path, headers=self.headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    @property
    def stage(self) -> str:
        return str(self.see()["stage"])

    def head(self) -> Response:
        headers = self.headers | {"Tus-Resumable": "1.0.0"}
        return self.http.head(f"{self.path}/upload", headers=headers)

    def patch(self, offset: object, chunk: bytes, **more: str | bytes) -> Response:
        """more : headers, with _ in place of -"""
        headers: dict[str, str | bytes] = {
            **self.headers,
            "Tus-Resumable": "1.0.0",
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": str(offset),
        }
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        return self.http.patch(f"{self.path}/upload", content=chunk, headers=headers)

    def send(self, state: bytes) -> None:
        """A whole state."""
        answer = self.patch(0, state, Upload_Checksum=checksum(state))
        assert answer.status_code == 204, answer.text

    def hand_in(self, record: bytes) -> Response:
        return self.http.post(f"{self.path}/contribution", content=record, headers=self.headers)

    def contribute(self, made: Made) -> None:
        self.send(made.state)
        assert self.hand_in(made.record).status_code == 202


def checksum(chunk: bytes, name: str = "sha256") -> str:
    return f"{name} {base64.b64encode(sha256(chunk).digest()).decode()}"
