"""Test sets larger than a circuit: how they are split, the container of their proofs, their check.

    container = "zkpotshd" | version, 2 bytes | n, 4 bytes | n times: length, 4 bytes | envelope

Numbers are little-endian. Envelopes stand in the order of their shard index, 0 to n - 1, all about
one model commitment and one occasion; `find_fault` demands it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar

from kernels.numpy_types import UInt8Array
from prover.circuit.public_inputs import PublicLayout, ShardInputs
from prover.wire.envelope import MAX_ENVELOPE_BYTES
from prover.wire.kinds import Bytes, Counted
from prover.wire.records import BARE, Record, header
from prover.wire.statement import Statement

MAGIC = b"zkpotshd"
MAX_SHARDS = 1 << 12
MAX_CONTAINER_BYTES = 14 + MAX_SHARDS * (4 + MAX_ENVELOPE_BYTES)

_OWN_FIELDS = {"shard_index", "n_real", "dataset_digest", "claimed_correct"}
_EnvelopeBytes = Annotated[bytes, Bytes(0, MAX_ENVELOPE_BYTES)]


@dataclass(frozen=True, slots=True)
class Container(Record):
    """Envelopes of all shards of one test set; their bytes are not judged here."""

    HEADER: ClassVar[bytes] = header(MAGIC, 2)
    envelopes: Annotated[tuple[_EnvelopeBytes, ...], Counted(1, MAX_SHARDS), BARE]


def count_shards(n_total: int, n_samples: int) -> int:
    """How many shards `split_range` makes: few bytes of samples can make a great many."""
    return -(-n_total // n_samples)


def split_range(n_total: int, n_samples: int) -> list[slice]:
    """The fewest shards of at most n_samples each, sizes differing by at most one.

    Even sizes, since a short last shard would tell more about its single samples.
    """
    n_shards = count_shards(n_total, n_samples)
    cuts = [i * n_total // n_shards for i in range(n_shards + 1)]
    return [slice(a, b) for a, b in pairwise(cuts)]


def split_shards(layout: PublicLayout, images: UInt8Array, labels: UInt8Array) -> list[ShardInputs]:
    """The shards of a test set, in the order of their index. Raises ShapeMismatch."""
    return [
        ShardInputs.of(layout, images[part], labels[part])
        for part in split_range(len(labels), layout.n_samples)
    ]


def find_fault(statements: Sequence[Statement], n_shards: int) -> str | None:
    """Why these statements, in their order, do not cover shards 0 to n_shards - 1; None if they do.

    They must also agree on everything that shards share, the model commitment above all: otherwise
    every shard could be proven with the model that suits it best.
    cost : in proportion to the statements, however many shards there should be
    """
    indices = [s.shard_index for s in statements]
    twice = [i for i, times in Counter(indices).items() if times > 1]
    if twice:
        return f"shard {min(twice)} occurs more than once"
    present = {i for i in indices if i < n_shards}
    if len(present) < n_shards:
        first = next(i for i in range(n_shards) if i not in present)
        return f"shard {first} of {n_shards} is missing ({n_shards - len(present)} in all)"
    if len(indices) > n_shards:
        return f"there are proofs for {len(indices)} shards, the dataset makes {n_shards}"
    if indices != sorted(indices):
        return "the shards are not in the order of their index"
    for other in statements[1:]:
        name = statements[0].find_difference(other, but=_OWN_FIELDS)
        if name is not None:
            return f"the shards differ in {name}"
    return None
