"""Pedersen commitments to vectors of wires, under bases that no key knows.

    D = rho h_0 + sum_k w_k h_(k+1)         w in the order of the model's wires

D is uniform in G1 whatever w is: perfectly hiding. Who opens one D to two vectors has a relation
between the bases: binding under discrete logarithms. rho is a secret of the owner, who stores it
readable by nobody else: it opens D, and sums of commitments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np

from kernels.array import FrArray, G1Array
from kernels.backend import Backend
from kernels.bn254 import R
from kernels.cpu.words.small_msm import small_msm_g1
from kernels.encoding import FR_BYTES
from kernels.integers import MAX_SMALL, to_scalars
from kernels.numpy_types import Int64Array
from prover.errors import ShapeMismatch
from prover.model.network import QuantizedModel
from prover.pedersen.bases import load_bases
from prover.progress import StageProgress, silent
from prover.randomness import RandomBytes, draw_scalar
from prover.wire.array_kinds import Points
from prover.wire.kinds import Number
from prover.wire.records import Document, header

_NEXT_STEP = "commit the model again"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCommitment(Document):
    """The public half: D, an array of length 1. It names no key and serves every circuit."""

    HEADER: ClassVar[bytes] = header(b"zkpotcmt", 2)
    NAME: ClassVar[str] = "commitment"
    NEXT_STEP: ClassVar[str] = _NEXT_STEP
    d: Annotated[G1Array, Points(G1Array)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blinding(Document):
    """rho, the owner's secret behind one D. Never logged, never sent; its file is private."""

    HEADER: ClassVar[bytes] = header(b"zkpotrho", 2)
    NAME: ClassVar[str] = "blinding"
    NEXT_STEP: ClassVar[str] = _NEXT_STEP
    rho: Annotated[int, Number(0, R - 1, width=FR_BYTES)] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretCommitment(Document):
    """A commitment with the blinding behind it: what its owner hands to a prover it trusts."""

    NAME: ClassVar[str] = "secret commitment"
    NEXT_STEP: ClassVar[str] = _NEXT_STEP
    public: ModelCommitment
    blinding: Blinding


def draw_blinding(random_bytes: RandomBytes) -> Blinding:
    """A fresh rho, uniform in F_r."""
    return Blinding(rho=draw_scalar(random_bytes))


class Committer:
    """Commits to vectors of up to n_wires values, on one backend.

    memory : 65 bytes for each wire, 6.3 MiB for an mlp-784-128-10. Window multiples are not kept:
             a weight has 8 bits, so it is one digit and one addition with them or without
    Raises ValueError for n_wires < 1.
    """

    def __init__(self, n_wires: int, backend: Backend, progress: StageProgress = silent) -> None:
        if n_wires < 1:
            raise ValueError(f"a commitment to {n_wires} wires")
        bases = load_bases(n_wires, progress)
        self.n_wires = n_wires
        self._backend = backend
        self._wires = backend.fix_g1(bases[1:])
        self._blinding_base = G1Array(bases.data[:1].copy())  # a view would keep them all

    @property
    def n_bytes(self) -> int:
        """Memory of the prepared bases, where the backend computes."""
        return self._wires.n_bytes

    def commit(self, values: Int64Array | FrArray, rho: int) -> G1Array:
        """D of int64[n] of any sign, or of n scalars, 1 <= n <= n_wires, as an array of length 1.

        A shorter vector has the commitment that a committer of its length gives it. Raises
        ShapeMismatch for another dtype, shape or length, ValueError for a scalar or a rho that is
        not below r.

        holds : rho, the only scalar of full width, is summed apart: beside it small values would
                have to be cut into as many digits
        """
        if not 0 <= rho < R:
            raise ValueError("a blinding is a scalar below r")
        scalars = self._fill(_find_scalars(values))
        of_wires = self._backend.msm_g1(scalars, self._wires)
        blinded = FrArray.from_ints([1, rho])
        return small_msm_g1(blinded, G1Array.concat([of_wires, self._blinding_base]))

    def _fill(self, scalars: FrArray) -> FrArray:
        """Zeros behind, up to n_wires."""
        n = len(scalars)
        if len(scalars.shape) != 1 or not 1 <= n <= self.n_wires:
            raise ShapeMismatch(
                f"a commitment to 1 to {self.n_wires} values, got shape {list(scalars.shape)}"
            )
        if n == self.n_wires:
            return scalars
        return self._backend.concat([scalars, FrArray.zeros(self.n_wires - n)])


def _find_scalars(values: Int64Array | FrArray) -> FrArray:
    if isinstance(values, FrArray):
        return values
    if values.dtype != np.int64 or values.ndim != 1:
        raise ShapeMismatch(
            f"a commitment takes int64[n] or scalars, got {values.dtype}{list(values.shape)}"
        )
    is_small = len(values) == 0 or (values.max() < MAX_SMALL and values.min() > -MAX_SMALL)
    return to_scalars(values) if is_small else FrArray.from_ints(values.tolist())


def commit_model(
    model: QuantizedModel, blinding: Blinding, committer: Committer
) -> ModelCommitment:
    """D of a model's wires, whatever circuits it will be proven in.

    Raises ShapeMismatch when the model has more wires than the committer bases.
    """
    return ModelCommitment(d=committer.commit(model.wires, blinding.rho))
