"""What a task may ask of updates: bounds around the global model, and the key to prove them under.

In the genesis: `bounds` as in the key's card, digests in hexadecimal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from consensus.errors import GenesisInvalid
from prover.circuit.norm.plan import require_norm
from prover.errors import ArchitectureInvalid, BoundsInvalid
from prover.keys.card import UpdateCard
from prover.model.network import Architecture
from prover.model.update import UpdateBounds
from prover.wire.kinds import DIGEST_BYTES

_DIGESTS = ("circuit_digest", "verifying_key_digest")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskNorm:
    """Bounds on updates of a task. Raises GenesisInvalid.

    verifying_key_digest : sha256 of the `verifying.key` whose card `make_card` makes
    """

    bounds: UpdateBounds
    circuit_digest: bytes
    verifying_key_digest: bytes

    def __post_init__(self) -> None:
        for name in _DIGESTS:
            if len(getattr(self, name)) != DIGEST_BYTES:
                raise GenesisInvalid(f"task.norm.{name}", f"has not {DIGEST_BYTES} bytes")

    def require_circuit(self, architecture: Architecture) -> None:
        """GenesisInvalid for a circuit that no key can be of."""
        try:
            require_norm(architecture, self.bounds)
        except ArchitectureInvalid as error:
            raise GenesisInvalid("task.norm", str(error)) from None

    def make_card(self, architecture: Architecture) -> UpdateCard:
        """The card that the verifying key must name."""
        return UpdateCard(
            architecture=architecture, bounds=self.bounds, circuit_digest=self.circuit_digest
        )

    def to_json(self) -> dict[str, Any]:
        digests = {name: getattr(self, name).hex() for name in _DIGESTS}
        return {"bounds": self.bounds.to_manifest(), **digests}

    @classmethod
    def from_json(cls, value: object) -> TaskNorm:
        """Inverse of `to_json`. GenesisInvalid for every other value."""
        if not isinstance(value, dict) or value.keys() != {"bounds", *_DIGESTS}:
            raise GenesisInvalid("task.norm", "is no object with exactly bounds and two digests")
        try:
            bounds = UpdateBounds.from_manifest(value["bounds"])
            digests = {name: bytes.fromhex(value[name]) for name in _DIGESTS}
        except (BoundsInvalid, TypeError, ValueError) as error:
            raise GenesisInvalid("task.norm", f"cannot be meant: {error}") from None
        return cls(bounds=bounds, **digests)
