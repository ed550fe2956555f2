"""What a strategy asks of every client in a round, and the occasion that a proof is then bound to.

chain id       32 random bytes of the strategy, new in every round: no proof was made before
task id        digest of the task: its key, samples, threshold and scales
round index    the server's round
client key     the id of the node, 8 bytes little-endian
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from integrations.errors import TicketInvalid
from prover.wire.statement import Occasion

NONCE_BYTES = 32
NODE_BYTES = 8


class Mode(StrEnum):
    """How a model travels. OPEN : as integers, with the blinding of its commitment; the server
    opens it. MASKED : under the masks of SecAgg+, which the sum alone leaves."""

    OPEN = "open"
    MASKED = "masked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """Of one round, the same for all clients. nonce, task : 32 bytes each"""

    round_index: int
    nonce: bytes
    task: bytes
    mode: Mode

    def to_values(self) -> dict[str, int | bytes | str]:
        """Its fields, of types that Flower's records carry."""
        return {
            "round": self.round_index,
            "nonce": self.nonce,
            "task": self.task,
            "mode": self.mode.value,
        }

    @classmethod
    def of_values(cls, values: Mapping[str, object]) -> Ticket:
        """Inverse of `to_values`. Raises TicketInvalid for anything else that a server may send."""
        round_index, nonce, task = (values.get(name) for name in ("round", "nonce", "task"))
        modes = [mode for mode in Mode if mode.value == values.get("mode")]
        if (
            isinstance(round_index, int)
            and 0 <= round_index < 1 << 63
            and isinstance(nonce, bytes)
            and isinstance(task, bytes)
            and len(nonce) == len(task) == NONCE_BYTES
            and modes
        ):
            return cls(round_index=round_index, nonce=nonce, task=task, mode=modes[0])
        raise TicketInvalid(
            "what the server asks for is not understood: both sides need the same zkpot"
        )

    def get_occasion(self, node: int) -> Occasion:
        """Where a proof of this node counts, and nowhere else."""
        return Occasion(
            chain_id=self.nonce,
            task_id=self.task,
            round_index=self.round_index,
            commit_height=0,
            client_key=(node % (1 << 8 * NODE_BYTES)).to_bytes(NODE_BYTES, "little"),
        )
