"""Opening model commitments: D_W = Com(model; rho_W), shown to whoever holds the commitment key.

    commitment.key = "zkpotcom" | version, 2 bytes | bases
    bases          = [K_k/gamma]_1 of every model wire, then the blinder [eta_W/gamma]_1; each
                     x | y, 32 bytes little-endian, times 2^256 mod p (as in proving.key)

Its sha256 stands in verifying.key: bases in another order would open D_W as another model. Who
opens a commitment shows its model: this is for rounds whose updates travel in the clear. Needs
neither the circuit nor the proving half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Annotated, ClassVar

import numpy as np

from kernels.array import FrArray, G1Array
from kernels.cpu.words.group import is_on_curve_g1
from kernels.cpu.words.small_msm import small_msm_g1
from kernels.encoding import Refused, decode_g1
from kernels.numpy_types import Int64Array
from prover.errors import FieldInvalid, KeyMismatch
from prover.keys.halves import ProvingKey
from prover.model.layers import BIAS_MIN
from prover.randomness import RandomBytes, draw_weight
from prover.wire.records import BARE, Document, Kind, header

_POINT_BYTES = 64
_OFFSET = -BIAS_MIN  # added to every wire, so that no scalar is negative
_LIMB_BITS = 16
_N_LIMBS = 8  # of a weight of 128 bits
_CHUNK = 1 << 13  # points in one sum: bounds its memory to 13 MB


class Bases(Kind[G1Array]):
    """Two or more points as they lie in memory, the last of them not the identity."""

    base = G1Array

    def find_fault(self, value: G1Array) -> str | None:
        return None if len(value) >= 2 else "are fewer than two"

    def encode(self, value: G1Array) -> bytes:
        return value.data.astype("<u8", copy=False).tobytes()

    def decode(self, raw: bytes) -> G1Array:
        if len(raw) % _POINT_BYTES or not raw:
            raise FieldInvalid("are no whole number of points")
        words = np.frombuffer(raw, dtype="<u8").astype(np.uint64)
        bases = G1Array(words.reshape(-1, G1Array.WORDS))
        if not is_on_curve_g1(bases).all():
            raise FieldInvalid("are not all canonical and on the curve")
        if not bases.data[-1].any():
            raise FieldInvalid("whose blinder is the identity: D_W would show the model")
        return bases


@dataclass(frozen=True, kw_only=True, eq=False)
class CommitmentKey(Document):
    """The bases of D_W under one key; the blinder's comes last."""

    HEADER: ClassVar[bytes] = header(b"zkpotcom", 2)
    NAME: ClassVar[str] = "commitment key"
    NEXT_STEP: ClassVar[str] = "fetch the key again, or run setup again"
    bases: Annotated[G1Array, Bases(), BARE]

    @classmethod
    def of(cls, key: ProvingKey) -> CommitmentKey:
        """The part of a key that commits, from a key as it lies on disk or in memory.

        Raises KeyMismatch for a key without a model group; TypeError for one prepared for a device.
        """
        if not key.n_model:
            raise KeyMismatch("a key without model wires commits to nothing")
        if not isinstance(key.model, G1Array):
            raise TypeError("the model bases are prepared for a device; take them before that")
        return cls(bases=key.model)

    @property
    def n_model(self) -> int:
        return len(self.bases) - 1

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of `encode()`."""
        return sha256(self.encode()).digest()

    @cached_property
    def total(self) -> G1Array:
        """Sum of the model bases, array of length 1."""
        return _sum(FrArray.from_ints([1] * self.n_model), self.bases[: self.n_model])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opening:
    """A claim: `d_w` (compressed) commits to these wires (`QuantizedModel.wires`, int64[n_model])
    with this blinding.
    """

    d_w: bytes
    wires: Int64Array = field(repr=False)
    rho: int = field(repr=False)


def judge_openings(
    openings: Sequence[Opening], *, key: CommitmentKey, random_bytes: RandomBytes
) -> list[bool]:
    """Which openings are right: all in one sum; if it fails, each half by itself, fresh weights."""
    if not openings or openings_hold(openings, key=key, random_bytes=random_bytes):
        return [True] * len(openings)
    if len(openings) == 1:
        return [False]
    middle = len(openings) // 2
    return judge_openings(openings[:middle], key=key, random_bytes=random_bytes) + judge_openings(
        openings[middle:], key=key, random_bytes=random_bytes
    )


def openings_hold(
    openings: Sequence[Opening], *, key: CommitmentKey, random_bytes: RandomBytes
) -> bool:
    """Whether all are right; a wrong one passes with probability below 2^-127.

    With a weight t_i of 128 bits for each, of the verifier's own drawing, and wires w_ik + 2^23:

        sum_k (sum_i t_i (w_ik + 2^23)) K_k + (sum_i t_i rho_i) H
            = sum_i t_i D_i + 2^23 (sum_i t_i) (sum_k K_k)

    A plain sum would not do: two clients could swap their models. Points that are none are wrong.
    """
    points = decode_g1(b"".join(o.d_w for o in openings), len(openings))
    if isinstance(points, Refused) or any(o.wires.shape != (key.n_model,) for o in openings):
        return False
    t = [draw_weight(random_bytes) for _ in openings]
    scalars = FrArray.concat(
        [
            _combine(openings, t),
            FrArray.from_ints([sum(x * o.rho for x, o in zip(t, openings, strict=True))]),
            FrArray.from_ints([-_OFFSET * sum(t), *(-x for x in t)]),
        ]
    )
    total = _sum(scalars, G1Array.concat([key.bases, key.total, points]))
    return not total.data.any()


def _combine(openings: Sequence[Opening], weights: Sequence[int]) -> FrArray:
    """sum_i t_i (w_ik + 2^23) for every wire k, below 2^(152 + lg n).

    holds : a weight's limb of 16 bits times a shifted wire of 24 is below 2^40, so that 2^22
            openings fit into int64
    """
    sums = np.zeros((_N_LIMBS, len(openings[0].wires)), dtype=np.int64)
    for opening, weight in zip(openings, weights, strict=True):
        shifted = opening.wires + _OFFSET
        for j in range(_N_LIMBS):
            sums[j] += (weight >> (_LIMB_BITS * j) & 0xFFFF) * shifted
    digits = np.zeros((sums.shape[1], 16), dtype="<u2")
    carry = np.zeros(sums.shape[1], dtype=np.int64)
    for j in range(digits.shape[1]):
        carry += sums[j] if j < _N_LIMBS else 0
        digits[:, j] = carry & 0xFFFF
        carry >>= _LIMB_BITS
    return FrArray(digits.view("<u8").astype(np.uint64))


def _sum(scalars: FrArray, points: G1Array) -> G1Array:
    """A multi-exponentiation of any length in bounded memory, array of length 1."""
    chunks = [slice(i, i + _CHUNK) for i in range(0, len(points), _CHUNK)]
    parts = G1Array.concat([small_msm_g1(scalars[c], points[c]) for c in chunks])
    if len(parts) == 1:
        return parts
    return small_msm_g1(FrArray.from_ints([1] * len(parts)), parts)
