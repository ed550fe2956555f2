"""The two commitments of a proof (PROTOCOL section 3).

    D_W   = sum_model  z_k [K_k/gamma]   + rho_W [eta_W/gamma]       PoK_W: the same times sigma_W
    D_A   = sum_advice z_k [K_k/delta_A] + rho_A [eta_A/delta_A]

A model commitment is made once and serves every shard; its blinding rho_W is a secret of the owner,
who stores it readable by nobody else. D_W is perfectly hiding: uniform in G1 whatever the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kernels.array import FrArray, G1Array
from kernels.backend import Backend, Progress
from kernels.encoding import Refused, decode_fr, decode_g1, encode_fr, encode_g1
from prover.errors import FormatError, KeyMismatch
from prover.keys.halves import ProvingKey
from prover.randomness import RandomBytes, draw_scalar
from prover.wire.statement import decode_fields, encode_fields

MAGIC = b"zkpotcmt"
BLINDING_MAGIC = b"zkpotrho"
VERSION = 1
_INFINITY = G1Array.zeros(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCommitment:
    """The public half: D_W and PoK_W under one key, each an array of length 1."""

    key_digest: bytes
    d_w: G1Array
    pok_w: G1Array

    def encode(self) -> bytes:
        """Magic, version, then length-prefixed key digest, D_W and PoK_W (compressed)."""
        points = encode_fields((self.key_digest, encode_g1(self.d_w), encode_g1(self.pok_w)))
        return MAGIC + VERSION.to_bytes(2, "little") + points

    @classmethod
    def decode(cls, raw: bytes, *, where: str = "commitment") -> ModelCommitment:
        """Inverse of `encode`. Raises FormatError for every other byte string."""
        fields = _decode(raw, MAGIC, n_fields=3)
        if fields is None or len(fields[0]) != 32:
            raise _malformed("it is no model commitment of version 1", where)
        points = decode_g1(fields[1] + fields[2], 2)
        if isinstance(points, Refused) or len(fields[1]) != len(fields[2]):
            raise _malformed("a point is not canonical or not on the curve", where)
        return cls(key_digest=fields[0], d_w=points[0:1], pok_w=points[1:2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Blinding:
    """rho_W, the owner's secret behind one D_W. Never logged, never sent."""

    rho: int = field(repr=False)

    def encode(self) -> bytes:
        """For a file that only the owner can read."""
        return (
            BLINDING_MAGIC
            + VERSION.to_bytes(2, "little")
            + encode_fields((encode_fr(FrArray.from_ints([self.rho])),))
        )

    @classmethod
    def decode(cls, raw: bytes, *, where: str = "blinding") -> Blinding:
        """Inverse of `encode`. Raises FormatError for every other byte string."""
        fields = _decode(raw, BLINDING_MAGIC, n_fields=1)
        rho = None if fields is None else decode_fr(fields[0], 1)
        if rho is None or isinstance(rho, Refused):
            raise _malformed("it is no blinding of version 1", where)
        return cls(rho=rho.to_ints()[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretCommitment:
    """A commitment with the blinding behind it: what its owner hands to a prover it trusts."""

    public: ModelCommitment
    blinding: Blinding

    def encode(self) -> bytes:
        """Both, length-prefixed. For eyes that may see the blinding."""
        return encode_fields((self.public.encode(), self.blinding.encode()))

    @classmethod
    def decode(cls, raw: bytes, *, where: str = "secret commitment") -> SecretCommitment:
        """Inverse of `encode`. Raises FormatError for every other byte string."""
        fields = decode_fields(raw, n_fields=2)
        if fields is None:
            raise _malformed("it is no commitment with its blinding", where)
        return cls(
            public=ModelCommitment.decode(fields[0], where=where),
            blinding=Blinding.decode(fields[1], where=where),
        )


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


def _decode(raw: bytes, magic: bytes, *, n_fields: int) -> list[bytes] | None:
    header = magic + VERSION.to_bytes(2, "little")
    return decode_fields(raw[len(header) :], n_fields=n_fields) if raw.startswith(header) else None


def _malformed(what: str, where: str) -> FormatError:
    return FormatError(what, where=where, next_step="commit the model again")
