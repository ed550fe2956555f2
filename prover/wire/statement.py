"""What a proof is about: one frozen value with one canonical encoding, hashed whole.

Every field is written as a 4-byte little-endian length and its bytes, in the order of the class;
numbers are 8 bytes little-endian, the multipliers 2 bytes each. So the encoding delimits itself,
and one statement has exactly one encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PROTOCOL_VERSION = 1
DIGEST_BYTES = 32
POINT_BYTES = 32
MAX_NAME_BYTES = 64  # chain id, task id, client public key
MAX_MULTIPLIERS = 1024
MAX_MULTIPLIER = 1 << 15  # exclusive
MAX_NUMBER = 1 << 63  # exclusive

_LENGTH_BYTES = 4
_NUMBER_BYTES = 8
_MULTIPLIER_BYTES = 2


class StatementError(ValueError):
    """A field of a statement is outside its range; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The model behind `d_w` classifies at least `claimed_correct` of the shard's `n_real` samples.

    chain_id, task_id, client_key : 1 to 64 bytes each
    verifying_key_digest          : 32 bytes; covers the circuit, its tables and limb widths
    dataset_digest                : 32 bytes over the shard's samples AND labels
    multipliers                   : requantization factors m of the task, each in [1, 2^15)
    d_w                           : the model commitment, compressed, 32 bytes (not decoded here)
    """

    chain_id: bytes
    task_id: bytes
    round_index: int
    commit_height: int
    client_key: bytes
    verifying_key_digest: bytes
    shard_index: int
    n_real: int
    dataset_digest: bytes
    multipliers: tuple[int, ...]
    claimed_correct: int
    d_w: bytes

    def __post_init__(self) -> None:
        for name in ("chain_id", "task_id", "client_key"):
            if not 1 <= len(getattr(self, name)) <= MAX_NAME_BYTES:
                raise StatementError(f"{name} has 1 to {MAX_NAME_BYTES} bytes")
        for name in ("verifying_key_digest", "dataset_digest", "d_w"):
            if len(getattr(self, name)) != DIGEST_BYTES:
                raise StatementError(f"{name} has {DIGEST_BYTES} bytes")
        for name in ("round_index", "commit_height", "shard_index", "n_real", "claimed_correct"):
            if not 0 <= getattr(self, name) < MAX_NUMBER:
                raise StatementError(f"{name} is not in [0, 2^63)")
        if not 0 <= self.claimed_correct <= self.n_real:
            raise StatementError("claimed_correct is more than n_real")
        if len(self.multipliers) > MAX_MULTIPLIERS:
            raise StatementError(f"more than {MAX_MULTIPLIERS} multipliers")
        if not all(1 <= m < MAX_MULTIPLIER for m in self.multipliers):
            raise StatementError("a multiplier is not in [1, 2^15)")

    def encode(self) -> bytes:
        """The canonical bytes: what the transcript hashes and the envelope carries."""
        multipliers = b"".join(m.to_bytes(_MULTIPLIER_BYTES, "little") for m in self.multipliers)
        return encode_fields(
            (
                _number(PROTOCOL_VERSION),
                self.chain_id,
                self.task_id,
                _number(self.round_index),
                _number(self.commit_height),
                self.client_key,
                self.verifying_key_digest,
                _number(self.shard_index),
                _number(self.n_real),
                self.dataset_digest,
                multipliers,
                _number(self.claimed_correct),
                self.d_w,
            )
        )

    @classmethod
    def decode(cls, raw: bytes) -> Statement | None:
        """Inverse of `encode`; None for every other byte string."""
        fields = decode_fields(raw, n_fields=13)
        if fields is None or fields[0] != _number(PROTOCOL_VERSION):
            return None
        if any(len(fields[i]) != _NUMBER_BYTES for i in (3, 4, 7, 8, 11)):
            return None
        if len(fields[10]) % _MULTIPLIER_BYTES:
            return None
        try:
            return cls(
                chain_id=fields[1],
                task_id=fields[2],
                round_index=_from_little(fields[3]),
                commit_height=_from_little(fields[4]),
                client_key=fields[5],
                verifying_key_digest=fields[6],
                shard_index=_from_little(fields[7]),
                n_real=_from_little(fields[8]),
                dataset_digest=fields[9],
                multipliers=tuple(
                    _from_little(fields[10][i : i + _MULTIPLIER_BYTES])
                    for i in range(0, len(fields[10]), _MULTIPLIER_BYTES)
                ),
                claimed_correct=_from_little(fields[11]),
                d_w=fields[12],
            )
        except StatementError:
            return None


def encode_fields(fields: Sequence[bytes]) -> bytes:
    """Each field as its 4-byte little-endian length and its bytes."""
    return b"".join(len(f).to_bytes(_LENGTH_BYTES, "little") + f for f in fields)


def decode_fields(raw: bytes, *, n_fields: int) -> list[bytes] | None:
    """Inverse of `encode_fields` for exactly n_fields; None when `raw` is anything else."""
    fields, at = [], 0
    for _ in range(n_fields):
        start = at + _LENGTH_BYTES
        end = start + _from_little(raw[at:start])
        if start > len(raw) or end > len(raw):
            return None
        fields.append(raw[start:end])
        at = end
    return fields if at == len(raw) else None


def _number(value: int) -> bytes:
    return value.to_bytes(_NUMBER_BYTES, "little")


def _from_little(raw: bytes) -> int:
    return int.from_bytes(raw, "little")
