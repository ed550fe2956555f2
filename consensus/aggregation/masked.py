"""A masked update: a client's weighted model under all its masks (Bonawitz round 2).

    y_i = c_i (W_i | rho_i) + PRG(b_i) + sum over neighbours j in S of sign(i, j) PRG(s_ij)

sign is 1 for a neighbour behind in graph order, -1 for one before, so a pair's mask cancels in the
sum. The blinding is summed with the weights, so that a sum opens the sum of the commitments.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from consensus.aggregation.circle import Circle
from consensus.aggregation.masks import Masker
from consensus.aggregation.secrets import OwnSecrets, agree_pair_seed, derive_self_seed
from kernels.array import FrArray
from kernels.bn254 import R
from kernels.encoding import FR_BYTES
from kernels.integers import to_scalars
from kernels.numpy_types import Int64Array
from prover.wire.array_kinds import Scalars
from prover.wire.records import Record, header

MAX_PAYLOAD_BYTES = 1 << 28
"""As much as a blob may have."""
MAX_PARAMETERS = MAX_PAYLOAD_BYTES // FR_BYTES - 2
"""Of a model that can be masked: with its blinding and the header it fits a blob."""
_LOWEST = R & ((1 << 64) - 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Masked(Record):
    """A masked update: the parameters in canonical order, then the blinding."""

    HEADER: ClassVar[bytes] = header(b"zkpotmsk", 1)
    MAX_BYTES: ClassVar[int] = MAX_PAYLOAD_BYTES
    scalars: Annotated[FrArray, Scalars(2, MAX_PARAMETERS + 1)]


def find_fault(masked: Masked, circle: Circle, sender: bytes, accepted: Set[bytes]) -> str | None:
    """Why a masked update does not count; None when it does. accepted : the frozen set S"""
    if sender not in accepted:
        return "is by a client whose proof was not accepted"
    if len(masked.scalars) != circle.n_elements:
        return f"has not {circle.n_elements} scalars"
    return None


def weigh(parameters: Int64Array, rho: int, weight: int) -> FrArray:
    """c (W | rho) mod r. parameters : int64[n_p], of which c times each is below 2^62"""
    blinding = FrArray.from_ints([weight * rho])
    return FrArray.concat([to_scalars(parameters * weight), blinding])


def mask(
    vector: FrArray,
    circle: Circle,
    sender: bytes,
    secrets: OwnSecrets,
    accepted: Set[bytes],
    masker: Masker,
) -> Masked:
    """The masked update of a weighted vector, shape [n_elements]."""
    seeds = [(1, derive_self_seed(secrets.self_secret, circle.place))]
    for other in circle.list_neighbours(sender, frozenset(accepted)):
        seed = agree_pair_seed(circle, sender, secrets.mask_private, other)
        seeds.append((circle.graph.find_sign(sender, other), seed))
    return Masked(scalars=masker.add(vector, masker.sum_streams(seeds, circle.n_elements)))


def read_signed(scalars: FrArray) -> Int64Array | None:
    """Scalars as the integers below 2^62 in size that they stand for; None where one is greater.

    holds : as in `kernels.integers.to_scalars`, r - |x| borrows from no word but the lowest
    """
    words = scalars.data
    modulus = np.array([R >> (64 * i) & ((1 << 64) - 1) for i in range(4)], dtype=np.uint64)
    positive = (words[:, 1:] == 0).all(axis=1)
    negative = (words[:, 1:] == modulus[1:]).all(axis=1)
    size = np.where(negative, np.uint64(_LOWEST) - words[:, 0], words[:, 0])
    if not ((positive | negative) & (size < np.uint64(1 << 62))).all():
        return None
    signed: Int64Array = np.where(negative, -size.astype(np.int64), size.astype(np.int64))
    return signed
