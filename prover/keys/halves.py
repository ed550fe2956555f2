"""The two halves of a key, and the canonical bytes of the verifying half.

The verifying half is a few points, one more per public wire; its digest names the key in every
statement. It holds the digests of the circuit and of every other file of the key, so a statement
that names the key names all of them. `prover.keys.folder` keeps a key in a folder.

    verifying.key = "zkpotvky" | version, 2 bytes | fields as in `prover.wire.statement`: circuit
                    digest, card digest, proving digest, commitment digest, number of challenges (8
                    bytes), G1 points: alpha, public basis; G2 points: beta, gamma, delta, delta_A,
    sigma_W uncompressed points; delta_A or sigma_W at infinity says that the circuit has no such
    group; 32 zero bytes for a digest say that the key has no such file.

Nothing in a key can say who made it, or who knew its trapdoor: those who did can prove anything
under it. Take a key for what its digest is known to be, and for nothing that it says of itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cached_property
from hashlib import sha256
from typing import Annotated, ClassVar, NamedTuple, Self

import numpy as np

from kernels.array import G1Array, G2Array
from kernels.backend import FixedG1, FixedG2
from kernels.bn254 import G2
from kernels.numpy_types import UInt32Array
from kernels.pairing import PreparedG2, prepare_g2
from prover.errors import KeyMismatch
from prover.wire.array_kinds import Points
from prover.wire.kinds import DIGEST_BYTES, Digest, Number
from prover.wire.records import WITH_NEXT, Document, header

NO_FILE = bytes(DIGEST_BYTES)
"""The digest that stands for a file that the key has not."""
MAX_PUBLIC = (1 << 20) - 2  # wires, the constant one not counted
MAX_CHALLENGES = 64

G2_GENERATOR = G2Array.from_ints([G2])

Wires = UInt32Array
G1Bases = G1Array | FixedG1
G2Bases = G2Array | FixedG2

_AnyG2 = Annotated[G2Array, Points(G2Array, compressed=False)]
_Alpha = Annotated[G1Array, Points(G1Array, compressed=False, identity=False)]
_RealG2 = Annotated[G2Array, Points(G2Array, compressed=False, identity=False)]
_PublicG1 = Annotated[G1Array, Points(G1Array, 1, MAX_PUBLIC + 1, compressed=False)]


@dataclass(frozen=True, kw_only=True, eq=False)
class VerifyingKey(Document):
    """What a verifier needs (PROTOCOL section 3); every point array but `public` has length 1.

    public            : [K_k/gamma]_1 for the constant one and the public wires, length 1 + n_public
    delta_a           : infinity when the circuit has no advice group; D_A must then be infinity
    sigma_w           : infinity when it has no model group; D_W and PoK_W must then be infinity
    circuit_digest    : covers R1CS, tables and limb widths
    card_digest       : of circuit.json: architecture with multipliers, samples
    proving_digest    : of proving.key
    commitment_digest : of commitment.key; NO_FILE of a circuit without a model group
    """

    HEADER: ClassVar[bytes] = header(b"zkpotvky", 2)
    NAME: ClassVar[str] = "verifying key"
    NEXT_STEP: ClassVar[str] = "fetch the key again, or run the setup again"
    circuit_digest: Digest
    card_digest: Digest
    proving_digest: Digest
    commitment_digest: Digest
    n_challenges: Annotated[int, Number(0, MAX_CHALLENGES)]
    alpha: Annotated[_Alpha, WITH_NEXT]
    public: _PublicG1
    beta: Annotated[_RealG2, WITH_NEXT]
    gamma: Annotated[_RealG2, WITH_NEXT]
    delta: Annotated[_RealG2, WITH_NEXT]
    delta_a: Annotated[_AnyG2, WITH_NEXT]
    sigma_w: _AnyG2

    @classmethod
    def plain(
        cls, *, alpha: G1Array, public: G1Array, beta: G2Array, gamma: G2Array, delta: G2Array
    ) -> Self:
        """A key of plain Groth16: no committed groups, no challenges, no files beside it."""
        return cls(
            circuit_digest=NO_FILE,
            card_digest=NO_FILE,
            proving_digest=NO_FILE,
            commitment_digest=NO_FILE,
            n_challenges=0,
            alpha=alpha,
            public=public,
            beta=beta,
            gamma=gamma,
            delta=delta,
            delta_a=G2Array.zeros(1),
            sigma_w=G2Array.zeros(1),
        )

    @property
    def n_public(self) -> int:
        """Public wires, the constant one not counted."""
        return len(self.public) - 1

    @property
    def has_model(self) -> bool:
        return bool(self.sigma_w.data.any())

    @property
    def has_advice(self) -> bool:
        return bool(self.delta_a.data.any())

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of `encode()`: the key's name in statements."""
        return sha256(self.encode()).digest()

    @cached_property
    def fixed_lines(self) -> PreparedG2:
        """Pairing lines of beta, gamma, delta, delta_A, sigma_W, G2: the same in every check."""
        return prepare_g2(
            G2Array.concat(
                [self.beta, self.gamma, self.delta, self.delta_a, self.sigma_w, G2_GENERATOR]
            )
        )

    def require_digest(self, expected: bytes | None) -> None:
        """KeyMismatch for another key than the expected one; None expects nothing."""
        if expected not in (None, self.digest):
            raise KeyMismatch(
                f"the digest of the key is {self.digest.hex()}",
                next_step=f"take the key whose digest is {expected.hex()}",
            )


class Quotient(Enum):
    """Which scalars the H query of a key takes (`prover.groth16.quotient`)."""

    SPLIT = "split"  # a~ o b~: the part of c is linear in the wires, and lies in the C query
    WHOLE = "whole"  # a~ o b~ - c~: keys of snarkjs, whose C query has the private wires only


class Role(Enum):
    """What an array of a proving key is for."""

    WIRES = "the wires of a query"
    BASES = "bases of a sum"
    HIDING_BASES = "bases of a sum that leaves the prover, blinded by the last of them"
    POINTS = "single points"


class KeyArray(NamedTuple):
    """An array of `ProvingKey`, as its field declares it.

    stage : what a setup calls it while it computes it; empty for wires
    """

    name: str
    role: Role
    points: type[G1Array] | type[G2Array]
    stage: str

    @property
    def width(self) -> int:
        """Words of an item."""
        return 1 if self.role is Role.WIRES else self.points.WORDS

    @property
    def dtype(self) -> str:
        """The type of its words, in memory and in its file."""
        return "<u4" if self.role is Role.WIRES else "<u8"

    @property
    def item_bytes(self) -> int:
        return self.width * np.dtype(self.dtype).itemsize


def _array(
    role: Role, stage: str = "", points: type[G1Array] | type[G2Array] = G1Array
) -> Mapping[str, tuple[Role, type[G1Array] | type[G2Array], str]]:
    return {"array": (role, points, stage)}


@dataclass(frozen=True, kw_only=True, eq=False)
class ProvingKey:
    """What a prover needs: queries over the wires where they are not zero.

    The last bases of a query are its constant terms, so one multi-exponentiation gives the point:

    a_wires, a        : [u_k]_1 for wires of A, then alpha, delta        scalars z, 1, a
    b_wires, b1, b2   : [v_k]_1, [v_k]_2 for wires of B, then beta, delta    scalars z, 1, b
    c_wires, c        : [K_k/delta + w_k Z/(2 delta)]_1 for private wires,
                        [w_k Z/(2 delta)]_1 for other wires of C         (the quotient's C part);
                        of a WHOLE quotient [K_k/delta]_1 for private wires
    h                 : [-L~_i(tau) Z(tau)/(2 delta)]_1, length 2^lg_n
    model, model_pok  : [K_k/gamma]_1, then [eta_W/gamma]_1; all times sigma_W    scalars z, rho_W
    advice            : [K_k/delta_A]_1, then [eta_A/delta_A]_1          scalars z, rho_A
    correction        : delta, [eta_W/delta]_1, [eta_A/delta]_1          length 3

    An absent group has no bases (length 0) and infinity in `correction`. Bases are arrays as they
    lie on disk, or what `prover.groth16.prove.prepare` makes of them.
    """

    verifying: VerifyingKey
    quotient: Quotient = Quotient.SPLIT
    lg_n: int
    n_wires: int
    n_model: int
    n_advice: int
    a_wires: Wires = field(metadata=_array(Role.WIRES))
    b_wires: Wires = field(metadata=_array(Role.WIRES))
    c_wires: Wires = field(metadata=_array(Role.WIRES))
    a: G1Bases = field(metadata=_array(Role.HIDING_BASES, "A query"))
    b1: G1Bases = field(metadata=_array(Role.BASES, "B query in G1"))
    b2: G2Bases = field(metadata=_array(Role.HIDING_BASES, "B query in G2", G2Array))
    c: G1Bases = field(metadata=_array(Role.BASES, "C query"))
    h: G1Bases = field(metadata=_array(Role.BASES, "quotient query"))
    model: G1Bases = field(metadata=_array(Role.HIDING_BASES, "model basis"))
    model_pok: G1Bases = field(metadata=_array(Role.HIDING_BASES, "model basis times sigma"))
    advice: G1Bases = field(metadata=_array(Role.HIDING_BASES, "advice basis"))
    correction: G1Array = field(metadata=_array(Role.POINTS, "corrections"))

    @property
    def n_public(self) -> int:
        return self.verifying.n_public

    @property
    def model_wires(self) -> slice:
        return slice(1 + self.n_public, 1 + self.n_public + self.n_model)

    @property
    def advice_wires(self) -> slice:
        start = self.model_wires.stop
        return slice(start, start + self.n_advice)


ARRAYS = tuple(
    KeyArray(f.name, *f.metadata["array"]) for f in fields(ProvingKey) if "array" in f.metadata
)
"""Every array of a proving key, in the order of its file."""
QUERIES = tuple(array for array in ARRAYS if array.role in (Role.BASES, Role.HIDING_BASES))
