"""Models and samples that callers upload, by owner, in memory and for a limited time."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from api.problems import ApiProblem
from api.schemas import DatasetReceipt, ModelReceipt
from federated.data import DatasetRef, load_samples
from federated.errors import FederatedError
from prover.dataset import shard_digest
from prover.model import QuantizedModel
from prover.model_bytes import decode_model
from prover.public_inputs import UInt8Array

TIME_TO_LIVE_S = 24 * 3600.0
MAX_BYTES = 1 << 30
"""Of all uploads together; more is refused until some expire."""


@dataclass(frozen=True, slots=True)
class Files:
    """Private files of one Groth16 job."""

    zkey: Path
    witness: Path
    digest: str

    def delete(self) -> None:
        shutil.rmtree(self.zkey.parent, ignore_errors=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    value: Any
    n_bytes: int
    expires_at: float


class Uploads:
    """What `put_*` stores only its owner gets back, and nobody after the time to live."""

    def __init__(self, data_dir: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._data_dir, self._clock = data_dir, clock
        self._kept: dict[tuple[str, str, str], _Kept] = {}
        self._lock = Lock()

    def put_model(self, owner: str, raw: bytes) -> ModelReceipt:
        """Raises ModelFormatError, ApiProblem."""
        model = decode_model(raw)
        digest = hashlib.sha256(raw).hexdigest()
        expires_at = self._keep((owner, "model", digest), model, len(raw))
        return ModelReceipt(
            id=digest,
            architecture=model.architecture.name,
            n_parameters=model.architecture.n_parameters,
            n_bytes=len(raw),
            expires_at=expires_at,
        )

    def put_dataset(self, owner: str, raw: bytes) -> DatasetReceipt:
        """A safetensors file of `images` uint8[N, ...] and `labels` uint8[N]. Raises ApiProblem."""
        images, labels = _parse_samples(raw)
        digest = hashlib.sha256(raw).hexdigest()
        expires_at = self._keep((owner, "dataset", digest), (images, labels), len(raw))
        return DatasetReceipt(
            id=digest,
            n_samples=len(labels),
            n_bytes=len(raw),
            digest=shard_digest(images, labels).hex(),
            expires_at=expires_at,
        )

    def get_model(self, owner: str, digest: str) -> QuantizedModel:
        """ApiProblem not_found."""
        model = self._get((owner, "model", digest))
        if not isinstance(model, QuantizedModel):
            raise ApiProblem("not_found", "no model of yours has this id; models expire")
        return model

    def get_samples(self, owner: str, name: str) -> tuple[UInt8Array, UInt8Array]:
        """Of an uploaded set by its id, or of a built-in one by name. Raises ApiProblem."""
        found = self._get((owner, "dataset", name))
        if found is not None:
            images, labels = found
            return images, labels
        if ":" not in name:
            raise ApiProblem("not_found", "no samples of yours have this id; they expire")
        try:
            samples = load_samples(DatasetRef.parse(name), self._data_dir)
        except FederatedError as error:
            raise ApiProblem("bad_dataset", str(error)) from None
        return samples.images, samples.labels

    def keep_files(self, zkey: Path, witness: Path) -> Files:
        """Copies of both, in a folder that only this user can read."""
        folder = Path(tempfile.mkdtemp(prefix="zkpot-job-"))  # mode 0700
        digest = hashlib.sha256()
        for path in (zkey, witness):
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
            shutil.copyfile(path, folder / path.name)
        return Files(folder / zkey.name, folder / witness.name, digest.hexdigest())

    def _keep(self, name: tuple[str, str, str], value: Any, n_bytes: int) -> float:
        with self._lock:
            self._expire()
            used = sum(kept.n_bytes for other, kept in self._kept.items() if other != name)
            if used + n_bytes > MAX_BYTES:
                raise ApiProblem(
                    "queue_full", "the store of uploads is full", headers={"Retry-After": "60"}
                )
            kept = _Kept(value, n_bytes, self._clock() + TIME_TO_LIVE_S)
            self._kept[name] = kept
            return kept.expires_at

    def _get(self, name: tuple[str, str, str]) -> Any:
        with self._lock:
            self._expire()
            kept = self._kept.get(name)
            return None if kept is None else kept.value

    def _expire(self) -> None:
        now = self._clock()
        for name in [name for name, kept in self._kept.items() if kept.expires_at <= now]:
            del self._kept[name]


def _parse_samples(raw: bytes) -> tuple[UInt8Array, UInt8Array]:
    try:
        tensors = load_safetensors(raw)
    except (SafetensorError, ValueError, KeyError):  # KeyError: a dtype that numpy has not
        raise ApiProblem("bad_dataset", "the bytes are no safetensors file") from None
    if set(tensors) != {"images", "labels"}:
        raise ApiProblem("bad_dataset", "the tensors are not `images` and `labels`")
    images, labels = tensors["images"], tensors["labels"]
    fits = images.ndim >= 2 and labels.shape == images.shape[:1] and images.size > 0
    if not fits or images.dtype != np.uint8 or labels.dtype != np.uint8:
        raise ApiProblem("bad_dataset", "images are uint8[N, ...] and labels uint8[N], N >= 1")
    return images, labels
