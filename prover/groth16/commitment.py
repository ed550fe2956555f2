"""The two commitments of a proof (PROTOCOL section 3).

    D_W   = sum_model  z_k [K_k/gamma]   + rho_W [eta_W/gamma]       PoK_W: the same times sigma_W
    D_A   = sum_advice z_k [K_k/delta_A] + rho_A [eta_A/delta_A]

A model commitment is made once and serves every shard; its blinding rho_W is a secret of the owner,
who stores it readable by nobody else. D_W is perfectly hiding: uniform in G1 whatever the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from kernels.array import FrArray, G1Array
from kernels.backend import Backend, Progress
from kernels.bn254 import R
from kernels.encoding import FR_BYTES
from prover.errors import KeyMismatch
from prover.keys.halves import ProvingKey
from prover.randomness import RandomBytes, draw_scalar
from prover.wire.array_kinds import Points
from prover.wire.kinds import Digest, Number
from prover.wire.records import Document, header

_INFINITY = G1Array.zeros(1)


_Point = Annotated[G1Array, Points(G1Array)]
_NEXT_STEP = "commit the model again"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCommitment(Document):
    """The public half: D_W and PoK_W under one key, each an array of length 1."""

    HEADER: ClassVar[bytes] = header(b"zkpotcmt", 1)
    NAME: ClassVar[str] = "commitment"
    NEXT_STEP: ClassVar[str] = _NEXT_STEP
    key_digest: Digest
    d_w: _Point
    pok_w: _Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Blinding(Document):
    """rho_W, the owner's secret behind one D_W. Never logged, never sent; its file is private."""

    HEADER: ClassVar[bytes] = header(b"zkpotrho", 1)
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
    """A fresh rho_W, uniform in F_r."""
    return Blinding(rho=draw_scalar(random_bytes))


def commit_model(
    key: ProvingKey,
    model: FrArray,
    blinding: Blinding,
    backend: Backend,
    progress: Progress | None = None,
) -> ModelCommitment:
    """D_W and PoK_W of the model wires, shape [n_model]. Raises KeyMismatch for another length.

    Of a circuit without a model group both are infinity.
    """
    if len(model) != key.n_model:
        raise KeyMismatch(f"{len(model)} model wires for a key of {key.n_model}")
    if key.n_model == 0:
        d_w = pok_w = _INFINITY
    else:
        scalars = backend.concat([model, FrArray.from_ints([blinding.rho])])
        d_w = backend.msm_g1(scalars, key.model, progress=progress)
        pok_w = backend.msm_g1(scalars, key.model_pok, progress=progress)
    return ModelCommitment(key_digest=key.verifying.digest, d_w=d_w, pok_w=pok_w)


def commit_advice(
    key: ProvingKey, advice: FrArray, rho_a: int, backend: Backend, progress: Progress | None = None
) -> G1Array:
    """D_A of the advice wires, shape [n_advice]; infinity for a circuit without them."""
    if len(advice) != key.n_advice:
        raise KeyMismatch(f"{len(advice)} advice wires for a key of {key.n_advice}")
    if key.n_advice == 0:
        return _INFINITY
    scalars = backend.concat([advice, FrArray.from_ints([rho_a])])
    return backend.msm_g1(scalars, key.advice, progress=progress)
