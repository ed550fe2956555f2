"""`circuit.json` of a key: which circuit the key is for, in public words.

A key names its circuit by a digest only. The card says what was compiled, so that a verifier can
compute the public wires and a prover can compile the circuit again:

    architecture    manifest of `Architecture`, with the task's multipliers
    circuit_digest  hexadecimal, as in verifying.key
    n_samples       samples of an accuracy circuit
    bounds          manifest of `UpdateBounds`, of a circuit of bounds on updates
    training, export  numbers of a recipe (`prover.keys.training_card`); one of the four
    version         3

One canonical JSON encoding (sorted keys, no spaces) and a line end. Its sha256 stands in
verifying.key: who has compared the digest of a key has compared its card. That the circuit digest
is the described circuit's is the word of who made the key, as is all of it, until the circuit is
compiled (`prover.pipeline.compile_for_key`).
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from prover.circuit.norm.plan import NormPlan, plan_norm, require_norm
from prover.circuit.public_inputs import PublicLayout
from prover.circuit.sizes import require_circuit
from prover.errors import ArchitectureInvalid, FormatError, KeyMismatch
from prover.keys.halves import VerifyingKey
from prover.model.network import Architecture, canonical_json
from prover.model.update import UpdateBounds
from prover.wire.kinds import DIGEST_BYTES

if TYPE_CHECKING:
    from prover.circuit.accuracy import AccuracyCircuit
    from prover.circuit.norm.circuit import NormCircuit

VERSION = 3
MAX_CARD_BYTES = 1 << 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Card(ABC):
    """What every card says; a kind of circuit adds one field of its own.

    FIELD : its name; WORDS : what it says, for people
    N_LINKED : commitments that a statement of the circuit is about
    """

    FIELD: ClassVar[str]
    WORDS: ClassVar[str]
    N_LINKED: ClassVar[int] = 1
    architecture: Architecture
    circuit_digest: bytes

    @property
    @abstractmethod
    def public_sizes(self) -> tuple[int, int]:
        """Public wires, without the constant one, and challenges of the circuit."""

    @abstractmethod
    def require_circuit(self) -> None:
        """ArchitectureInvalid for a circuit that no key can be of; none is compiled."""

    @abstractmethod
    def to_field(self) -> object:
        """JSON value of the card's own field."""

    @classmethod
    @abstractmethod
    def from_field(cls, architecture: Architecture, circuit_digest: bytes, value: Any) -> Self:
        """The card with this value in its own field. Raises ValueError, TypeError."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of `encode()`. Unlike the circuit's digest it covers the multipliers."""
        return hashlib.sha256(self.encode()).digest()

    def require_key(self, key: VerifyingKey) -> None:
        """KeyMismatch unless this is the card that the key names, and fits its points.

        holds : sizes of the card's public layout are the key's, so verification cannot fail by them
        """
        if self.digest != key.card_digest:
            raise KeyMismatch(f"the key names another architecture, or {self.WORDS}")
        has_groups = key.n_linked == self.N_LINKED and key.has_advice
        if (
            self.circuit_digest != key.circuit_digest
            or self.public_sizes != (key.n_public, key.n_challenges)
            or not has_groups
        ):
            raise KeyMismatch("the key contradicts itself: it names a circuit that it is not for")

    def encode(self) -> bytes:
        value = {
            "architecture": self.architecture.to_manifest(),
            "circuit_digest": self.circuit_digest.hex(),
            self.FIELD: self.to_field(),
            "version": VERSION,
        }
        return canonical_json(value) + b"\n"

    @classmethod
    def decode(cls, raw: bytes, *, where: str = "circuit.json") -> Self:
        """Inverse of `encode`. Raises FormatError for every other byte string."""
        fields = {"architecture", "circuit_digest", cls.FIELD, "version"}
        try:
            value = json.loads(raw.decode("ascii")) if len(raw) <= MAX_CARD_BYTES else None
            if not isinstance(value, dict) or set(value) != fields:
                raise ValueError("other fields")
            if value["version"] != VERSION:
                raise ValueError("another version")
            card = cls.from_field(
                Architecture.from_manifest(value["architecture"]),
                bytes.fromhex(value["circuit_digest"]),
                value[cls.FIELD],
            )
            if card.encode() != raw or len(card.circuit_digest) != DIGEST_BYTES:
                raise ValueError("not canonical")
            card.require_circuit()
        except (ArchitectureInvalid, ValueError, TypeError, RecursionError):
            raise FormatError(
                f"it is no card of version {VERSION} with {cls.FIELD}",
                where=where,
                next_step="fetch the key again, or run the setup again",
            ) from None
        return card


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCard(Card):
    """What a key of an accuracy circuit is for."""

    FIELD: ClassVar[str] = "n_samples"
    WORDS: ClassVar[str] = "another number of samples"
    n_samples: int

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
    def public_sizes(self) -> tuple[int, int]:
        return self.layout.n_public, len(self.layout.challenges)

    def require_circuit(self) -> None:
        require_circuit(self.architecture, self.n_samples)

    def to_field(self) -> object:
        return self.n_samples

    @classmethod
    def from_field(cls, architecture: Architecture, circuit_digest: bytes, value: Any) -> Self:
        if type(value) is not int:
            raise TypeError("no number of samples")
        return cls(architecture=architecture, circuit_digest=circuit_digest, n_samples=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateCard(Card):
    """What a key of a circuit of bounds on updates is for."""

    FIELD: ClassVar[str] = "bounds"
    WORDS: ClassVar[str] = "other bounds on updates"
    bounds: UpdateBounds

    @classmethod
    def of(cls, norm: NormCircuit) -> UpdateCard:
        """The card of every key of this circuit under its architecture's multipliers."""
        return cls(architecture=norm.architecture, bounds=norm.bounds, circuit_digest=norm.digest)

    @property
    def plan(self) -> NormPlan:
        """Tables, challenges and public wires."""
        return plan_norm(self.architecture, self.bounds)

    @property
    def public_sizes(self) -> tuple[int, int]:
        n_challenges = len(self.plan.challenges)
        return n_challenges, n_challenges

    def require_circuit(self) -> None:
        require_norm(self.architecture, self.bounds)

    def to_field(self) -> object:
        return self.bounds.to_manifest()

    @classmethod
    def from_field(cls, architecture: Architecture, circuit_digest: bytes, value: Any) -> Self:
        bounds = UpdateBounds.from_manifest(value)
        return cls(architecture=architecture, circuit_digest=circuit_digest, bounds=bounds)
