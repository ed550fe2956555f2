"""One proof job from its inputs to bytes, for whoever runs it: the work itself, no queue."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.keystore import KeyStore
from api.schemas import StatementFields
from api.shards import Container, split_shards
from kernels.backend import Backend
from prover.commitment import draw_blinding
from prover.formats.json_io import write_proof, write_public
from prover.formats.snarkjs import ForeignProver
from prover.formats.wtns import read_wtns
from prover.formats.zkey import read_zkey
from prover.model import QuantizedModel
from prover.pipeline import Occasion, commit_job, prove_job
from prover.public_inputs import UInt8Array
from prover.randomness import RandomBytes

STAGES = ("witness 1", "commit", "challenges", "witness 2", "prove", "verify")

Report = Callable[[str, int, int, int, float], None]
"""report(stage, done, total, shard, fraction of the whole job)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a job publishes."""

    raw: bytes
    circuit: str | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prover:
    """A device, its keys and its source of randomness."""

    backend: Backend
    keys: KeyStore
    random_bytes: RandomBytes

    def prove_accuracy(
        self,
        model: QuantizedModel,
        images: UInt8Array,
        labels: UInt8Array,
        *,
        n_samples: int,
        fields: StatementFields,
        report: Report,
    ) -> Made:
        """An envelope, or a container when the samples make several shards.

        Every shard is verified by `prove_job` before it counts. Raises ProverError, OSError, and
        whatever `report` raises to stop the job.
        """
        started = time.perf_counter()
        progress = _Shares(report, n_shards=1)
        warm = self.keys.get(model.architecture, n_samples, progress)
        blinding = draw_blinding(self.random_bytes)
        commitment = commit_job(warm.accuracy, warm.key, model, blinding, backend=self.backend)
        parts = split_shards(warm.accuracy.public_layout, images, labels)
        progress = _Shares(report, n_shards=len(parts))
        envelopes = []
        for index, part in enumerate(parts):
            progress.shard = index
            done = prove_job(
                warm.accuracy,
                warm.prepared,
                model,
                images=part.images,
                labels=part.labels,
                occasion=_occasion(fields, index),
                commitment=commitment,
                blinding=blinding,
                random_bytes=self.random_bytes,
                backend=self.backend,
                clock=time.perf_counter,
                progress=progress,
            )
            envelopes.append(done.envelope)
        raw = envelopes[0] if len(envelopes) == 1 else Container(tuple(envelopes)).encode()
        return Made(
            raw=raw,
            circuit=warm.accuracy.digest.hex(),
            seconds=time.perf_counter() - started,
        )

    def prove_groth16(self, zkey: Path, witness: Path, *, report: Report) -> Made:
        """{"proof": ..., "public": ...} as snarkjs writes both. Raises ProverError, OSError."""
        started = time.perf_counter()
        progress = _Shares(report, n_shards=1)
        progress("read", 0, 1)
        wires = read_wtns(witness)
        key = read_zkey(zkey, self.backend, random_bytes=self.random_bytes)
        progress("read", 1, 1)
        made = ForeignProver(key, self.backend).prove(wires, self.random_bytes, progress=progress)
        with tempfile.TemporaryDirectory(prefix="zkpot-") as folder:
            proof, public = Path(folder, "proof.json"), Path(folder, "public.json")
            write_proof(proof, made)
            write_public(public, wires[1 : 1 + key.n_public])
            both: dict[str, Any] = {p.stem: json.loads(p.read_bytes()) for p in (proof, public)}
        return Made(
            raw=json.dumps(both).encode("ascii"),
            circuit=None,
            seconds=time.perf_counter() - started,
        )


class _Shares:
    """Stage progress of one shard as progress of the job; its fraction never decreases."""

    def __init__(self, report: Report, *, n_shards: int) -> None:
        self._report, self._n_shards = report, n_shards
        self.shard = 0
        self._fraction = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage in STAGES:
            at = (STAGES.index(stage) + done / max(1, total)) / len(STAGES)
            self._fraction = max(self._fraction, (self.shard + at) / self._n_shards)
        self._report(stage, done, total, self.shard, self._fraction)


def _occasion(fields: StatementFields, shard: int) -> Occasion:
    return Occasion(
        chain_id=fields.chain_id.encode("ascii"),
        task_id=fields.task_id.encode("ascii"),
        round_index=fields.round_index,
        commit_height=fields.commit_height,
        client_key=bytes.fromhex(fields.client_key),
        shard_index=shard,
    )
