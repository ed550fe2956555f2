"""`circuit.json` of a key: which circuit the key is for, in public words.

A key names its circuit by a digest only. The card says what was compiled, so that a verifier can
compute the public wires and a prover can compile the circuit again:

    architecture    manifest of `Architecture`, with the task's multipliers
    circuit_digest  hexadecimal, as in verifying.key
    n_samples       samples of the circuit
    version         3

One canonical JSON encoding (sorted keys, no spaces) and a line end. Its sha256 stands in
verifying.key: who has compared the digest of a key has compared its card. That the circuit digest
is the described circuit's is the word of who made the key, as is all of it, until the circuit is
compiled (`prover.pipeline.compile_for_key`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prover.circuit.public_inputs import PublicLayout
from prover.circuit.sizes import require_circuit
from prover.errors import ArchitectureInvalid, FormatError, KeyMismatch
from prover.keys.halves import VerifyingKey
from prover.model.network import Architecture, canonical_json
from prover.wire.kinds import DIGEST_BYTES

if TYPE_CHECKING:
    from prover.circuit.accuracy import AccuracyCircuit

VERSION = 3
MAX_CARD_BYTES = 1 << 17
_FIELDS = {"architecture", "circuit_digest", "n_samples", "version"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCard:
    """What a key is for."""

    architecture: Architecture
    n_samples: int
    circuit_digest: bytes

    @classmethod
    def of(cls, accuracy: AccuracyCircuit) -> KeyCard:
        """The card of every key of this circuit under its architecture's multipliers."""
        return cls(
            architecture=accuracy.architecture,
            n_samples=accuracy.n_samples,
            circuit_digest=accuracy.digest,
        )

    @property
    def layout(self) -> PublicLayout:
        """Labels and shapes of the public wires."""
        return PublicLayout(self.architecture, self.n_samples)

    @property
    def digest(self) -> bytes:
        """SHA-256 of `encode()`. Unlike the circuit's digest it covers the multipliers."""
        return hashlib.sha256(self.encode()).digest()

    def require_key(self, key: VerifyingKey) -> None:
        """KeyMismatch unless this is the card that the key names, and fits its points.

        holds : sizes of the card's public layout are the key's, so verification cannot fail by them
        """
        if self.digest != key.card_digest:
            raise KeyMismatch("the key names another architecture, or another number of samples")
        layout, has_groups = self.layout, key.n_linked == 1 and key.has_advice
        sizes = (layout.n_public, len(layout.challenges))
        if (
            self.circuit_digest != key.circuit_digest
            or sizes != (key.n_public, key.n_challenges)
            or not has_groups
        ):
            raise KeyMismatch("the key contradicts itself: it names a circuit that it is not for")

    def encode(self) -> bytes:
        value = {
            "architecture": self.architecture.to_manifest(),
            "circuit_digest": self.circuit_digest.hex(),
            "n_samples": self.n_samples,
            "version": VERSION,
        }
        return canonical_json(value) + b"\n"

    @classmethod
    def decode(cls, raw: bytes, *, where: str = "circuit.json") -> KeyCard:
        """Inverse of `encode`. Raises FormatError for every other byte string."""
        try:
            value = json.loads(raw.decode("ascii")) if len(raw) <= MAX_CARD_BYTES else None
            if not isinstance(value, dict) or set(value) != _FIELDS:
                raise ValueError("other fields")
            if type(value["n_samples"]) is not int or value["version"] != VERSION:
                raise ValueError("another version")
            card = cls(
                architecture=Architecture.from_manifest(value["architecture"]),
                n_samples=value["n_samples"],
                circuit_digest=bytes.fromhex(value["circuit_digest"]),
            )
            if card.encode() != raw or len(card.circuit_digest) != DIGEST_BYTES:
                raise ValueError("not canonical")
            require_circuit(card.architecture, card.n_samples)  # one that a key can be of
        except (ArchitectureInvalid, ValueError, TypeError, RecursionError):
            raise FormatError(
                f"it is no card of version {VERSION}",
                where=where,
                next_step="fetch the key again, or run the setup again",
            ) from None
        return card
