"""What a proof is about: one frozen record with one canonical encoding, hashed whole.

Its first field is the version of the protocol, 8 bytes like every number; multipliers take 2 bytes
each. The fields of the occasion stand in the statement's own list.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Annotated, ClassVar

from prover.wire.kinds import NUMBER_BYTES, Bytes, Count, Digest, Number, Packed, PointBytes
from prover.wire.records import BARE, Record, encode_fields

PROTOCOL_VERSION = 2
MAX_NAME_BYTES = 64  # chain id, task id, client public key
MAX_MULTIPLIERS = 1024
MAX_LINKED = 16  # commitments that a statement is about
MAX_MULTIPLIER = 1 << 15  # exclusive

Name = Annotated[bytes, Bytes(1, MAX_NAME_BYTES)]
Multiplier = Annotated[int, Number(1, MAX_MULTIPLIER - 1, width=2)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion(Record):
    """Where a proof counts: the part of its statement that neither model nor data decide."""

    chain_id: Name
    task_id: Name
    round_index: Count
    commit_height: Count
    client_key: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement(Record):
    """The model behind D_W classifies at least `claimed_correct` of the shard's `n_real` samples.

    verifying_key_digest : covers the circuit, its tables and limb widths
    dataset_digest       : over the shard's samples AND labels
    multipliers          : requantization factors m of the task
    commitments          : compressed, of each linked group of the circuit; here D_W alone
    """

    HEADER: ClassVar[bytes] = encode_fields([PROTOCOL_VERSION.to_bytes(NUMBER_BYTES, "little")])
    occasion: Annotated[Occasion, BARE]
    verifying_key_digest: Digest
    shard_index: Count
    n_real: Count
    dataset_digest: Digest
    multipliers: Annotated[tuple[Multiplier, ...], Packed(0, MAX_MULTIPLIERS)]
    claimed_correct: Count
    commitments: Annotated[tuple[PointBytes, ...], Packed(0, MAX_LINKED)]

    def check_whole(self) -> None:
        self.require(self.claimed_correct <= self.n_real, "claims more than n_real")

    def find_difference(self, other: Statement, *, but: Set[str] = frozenset()) -> str | None:
        """The first field, of the occasion or its own, in which another statement differs; those
        of these names may."""
        mine, theirs = self.list_values(), other.list_values()
        return next((name for name in mine if mine[name] != theirs[name] and name not in but), None)
