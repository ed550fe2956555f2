"""Development keys on disk by circuit, made on first use, and the last ones kept ready to prove.

DIRECTORY/<circuit digest>/{verifying.key, proving.key, circuit.json}
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from api.files import write_public
from api.key_card import CARD_NAME, KeyCard, load_verifying_half
from kernels.backend import Backend
from prover.accuracy import AccuracyCircuit, compile_accuracy
from prover.errors import FormatError, KeyMismatch
from prover.keyfile import VERIFYING_NAME, load_proving_key, save_key
from prover.keys import KeyOrigin, ProvingKey
from prover.model import Architecture
from prover.progress import StageProgress
from prover.prove import prepare
from prover.randomness import RandomBytes
from prover.setup import draw_trapdoor
from prover.setup import setup as compute_key

PUBLIC_FILES = (VERIFYING_NAME, CARD_NAME)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WarmKey:
    """A circuit and its key: as it was read, and with its bases prepared for the device."""

    accuracy: AccuracyCircuit
    key: ProvingKey
    prepared: ProvingKey


class KeyStore:
    """Keys of one folder. `get` is for one thread; the other methods are for any."""

    def __init__(
        self, directory: Path, *, backend: Backend, random_bytes: RandomBytes, n_warm: int = 2
    ) -> None:
        self._directory = directory
        self._backend, self._random_bytes, self._n_warm = backend, random_bytes, n_warm
        self._warm: OrderedDict[tuple[bytes, int], WarmKey] = OrderedDict()
        self._lock = Lock()

    def get(self, architecture: Architecture, n_samples: int, report: StageProgress) -> WarmKey:
        """The key of a circuit, made when there is none yet. Raises ProverError, OSError."""
        name = (architecture.digest, n_samples)
        with self._lock:
            if name in self._warm:
                self._warm.move_to_end(name)
                return self._warm[name]
        warm = self._load_or_make(architecture, n_samples, report)
        with self._lock:
            self._warm[name] = warm
            while len(self._warm) > self._n_warm:
                self._warm.popitem(last=False)
        return warm

    def list_cards(self) -> dict[str, KeyCard]:
        """Usable keys by the digest of their circuit; a folder that is no key is passed over."""
        cards = {}
        for folder in sorted(self._directory.glob("*")):
            try:
                if _DIGEST.fullmatch(folder.name):
                    cards[folder.name] = load_verifying_half(folder)[1]
            except (FormatError, KeyMismatch, OSError):
                continue  # half made, or by another version
        return cards

    def read(self, digest: str, name: str) -> bytes | None:
        """A public file of a key; None when there is none."""
        if name not in PUBLIC_FILES or not _DIGEST.fullmatch(digest):
            return None
        try:
            return (self._directory / digest / name).read_bytes()
        except FileNotFoundError:
            return None

    def _load_or_make(
        self, architecture: Architecture, n_samples: int, report: StageProgress
    ) -> WarmKey:
        report("circuit", 0, 1)
        accuracy = compile_accuracy(architecture, n_samples)
        report("circuit", 1, 1)
        folder = self._directory / accuracy.digest.hex()
        if not (folder / VERIFYING_NAME).exists():
            self._make(architecture, accuracy, folder, report)
        key = load_proving_key(folder)
        return WarmKey(accuracy=accuracy, key=key, prepared=prepare(key, self._backend))

    def _make(
        self,
        architecture: Architecture,
        accuracy: AccuracyCircuit,
        folder: Path,
        report: StageProgress,
    ) -> None:
        key = compute_key(
            accuracy.r1cs,
            circuit_digest=accuracy.digest,
            n_challenges=accuracy.n_challenges,
            trapdoor=draw_trapdoor(self._random_bytes),
            backend=self._backend,
            progress=report,
        )
        card = KeyCard(
            architecture=architecture,
            n_samples=accuracy.public_layout.n_samples,
            circuit_digest=accuracy.digest,
            origin=KeyOrigin.DEVELOPMENT,
        )
        folder.mkdir(parents=True, exist_ok=True)
        write_public(folder / CARD_NAME, card.encode())
        save_key(key, folder)
