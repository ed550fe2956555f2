"""The two halves of a key, and the canonical bytes of the verifying half.

The verifying half is a few points, one more per public wire; its digest names the key in every
statement. It holds the digests of the circuit and of every other file of the key, so a statement
that names the key names all of them. `prover.keys.folder` keeps a key in a folder.

    verifying.key = "zkpotvky" | version, 2 bytes | fields as in `prover.wire.statement`: circuit
                    digest, card digest, proving digest, ceremony digest, number of challenges (8
                    bytes), G1 points alpha and public basis, G2 points beta, delta and delta_A,
                    G2 points C1 of each linked group and C2; all uncompressed

delta_A at infinity says that the circuit has no advice, no C1 and C2 that it has no linked group;
32 zero bytes for a digest say that the key has no such file.

Nothing in a key of one party can say who knew its trapdoor: those who did can prove anything under
it. Take it for what its digest is known to be, and for nothing that it says of itself. A key of a
ceremony names the transcript of it, from which anybody can tell (`prover.ceremony.own`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np

from kernels.array import G1Array, G2Array
from kernels.backend import FixedG1, FixedG2
from kernels.bn254 import G2
from kernels.cpu.words.fixed_msm import FixedBases
from kernels.numpy_types import UInt32Array
from kernels.pairing import PreparedG2, prepare_g2
from prover.circuit.r1cs import cut_groups
from prover.errors import KeyMismatch
from prover.wire.array_kinds import Points
from prover.wire.kinds import DIGEST_BYTES, Digest, Number
from prover.wire.records import WITH_NEXT, Document, header
from prover.wire.statement import MAX_LINKED

NO_FILE = bytes(DIGEST_BYTES)
"""The digest that stands for a file that the key has not."""
MAX_PUBLIC = (1 << 20) - 2  # wires, the constant one not counted
MAX_CHALLENGES = 64
_G2_GENERATOR = G2Array.from_ints([G2])

Wires = UInt32Array
G1Bases = G1Array | FixedG1
G2Bases = G2Array | FixedG2

_AnyG2 = Annotated[G2Array, Points(G2Array, compressed=False)]
_Alpha = Annotated[G1Array, Points(G1Array, compressed=False, identity=False)]
_RealG2 = Annotated[G2Array, Points(G2Array, compressed=False, identity=False)]
_Links = Points(G2Array, 0, MAX_LINKED + 1, compressed=False, identity=False)
_PublicG1 = Annotated[G1Array, Points(G1Array, 1, MAX_PUBLIC + 1, compressed=False)]


@dataclass(frozen=True, kw_only=True, eq=False)
class VerifyingKey(Document):
    """What a verifier needs (PROTOCOL section 3); every point array but `public` has length 1.

    public            : [K_k]_1 for the constant one and the public wires, length 1 + n_public
    delta_a           : infinity when the circuit has no advice group; D_A must then be infinity
    links             : C1 of each linked group, then C2: length n_linked + 1. Without groups length
                        0; D' and pi must then be infinity
    circuit_digest    : covers R1CS, tables and limb widths
    card_digest       : of circuit.json: architecture with multipliers, samples
    proving_digest    : of proving.key
    ceremony_digest   : of the transcript, where many parties made the key
    """

    HEADER: ClassVar[bytes] = header(b"zkpotvky", 5)
    NAME: ClassVar[str] = "verifying key"
    NEXT_STEP: ClassVar[str] = "fetch the key again, or run the setup again"
    circuit_digest: Digest
    card_digest: Digest
    proving_digest: Digest
    ceremony_digest: Digest
    n_challenges: Annotated[int, Number(0, MAX_CHALLENGES)]
    alpha: Annotated[_Alpha, WITH_NEXT]
    public: _PublicG1
    beta: Annotated[_RealG2, WITH_NEXT]
    delta: Annotated[_RealG2, WITH_NEXT]
    delta_a: _AnyG2
    links: Annotated[G2Array, _Links]

    def check_whole(self) -> None:
        self.require(len(self.links) != 1, "has one half of a link")

    @property
    def n_public(self) -> int:
        """Public wires, the constant one not counted."""
        return len(self.public) - 1

    @property
    def n_linked(self) -> int:
        """Linked groups."""
        return max(len(self.links) - 1, 0)

    @property
    def is_of_ceremony(self) -> bool:
        """Whether it names the transcript of one; that the transcript holds is for `finish`."""
        return self.ceremony_digest != NO_FILE

    @property
    def has_advice(self) -> bool:
        return bool(self.delta_a.data.any())

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of `encode()`: the key's name in statements."""
        return sha256(self.encode()).digest()

    @cached_property
    def fixed_lines(self) -> PreparedG2:
        """Pairing lines of beta, [1]_2, delta, delta_A and the links: the same in every check."""
        return prepare_g2(
            G2Array.concat([self.beta, _G2_GENERATOR, self.delta, self.delta_a, self.links])
        )

    @cached_property
    def public_bases(self) -> FixedBases:
        """`public` as bases of the sum that every check takes."""
        return FixedBases(self.public)

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
    LINK_BASES = "bases of the link, whose blinders come last"
    POINTS = "single points"

    @property
    def is_sum(self) -> bool:
        """Whether the array is the bases of a sum."""
        return self not in (Role.WIRES, Role.POINTS)

    @property
    def is_asked(self) -> bool:
        """Whether a prover asks of every point that it lies on its curve (`prover.keys.points`)."""
        return self in (Role.HIDING_BASES, Role.LINK_BASES, Role.POINTS)


class KeyArray(NamedTuple):
    """An array of a proving key, as its field declares it.

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

    def of(self, key: Queries) -> Any:
        """The array in this key."""
        return getattr(key, self.name)


def _array(
    role: Role, stage: str = "", points: type[G1Array] | type[G2Array] = G1Array
) -> Mapping[str, tuple[Role, type[G1Array] | type[G2Array], str]]:
    return {"array": (role, points, stage)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Queries(ABC):
    """What a prover needs: queries over the wires where they are not zero.

    The last bases of a query are its constant terms, so one multi-exponentiation gives the point:

    a_wires, a        : [u_k]_1 for wires of A, then alpha, delta        scalars z, 1, a
    b_wires, b1, b2   : [v_k]_1, [v_k]_2 for wires of B, then beta, delta    scalars z, 1, b
    c_wires, c        : [K_k/delta + w*_k]_1 for private wires, [w*_k]_1 for other wires of
                        C, w*_k = -sum_i w_k(x_i) h_i                    (the quotient's C part);
                        of a WHOLE quotient [K_k/delta]_1 for private wires
    h                 : [L~_i(tau) Z(tau)/(Z(x_i) delta)]_1 of the quotient's points x_i, length
                        `domain`
    advice            : [K_k/delta_A]_1, then [eta_A/delta_A]_1          scalars z, rho_A
    basis             : [K_i]_1 for the wires of all linked groups, then eta_g of each group, then
                        eta                              scalars w, rho of each group, rho'; sum D'
    link              : k1_g h_i + k2 [K_i]_1 for the wires, i counted from 1 in each group g, then
                        k1_g h_0 + k2 eta_g of each group, then k2 eta     the same scalars; sum pi
    correction        : delta, [eta_A/delta]_1, [eta_g/delta]_1 of each group, [eta/delta]_1
    linked            : wires of each linked group

    The two parts of a base of the link are nowhere apart: who has both links any two vectors. A
    circuit without advice or linked groups has no bases for them (length 0); `correction` has
    infinity for the advice, and nothing for the link. Bases are arrays as they lie on disk, or what
    `prover.groth16.prove.prepare` makes of them.
    """

    quotient: Quotient = Quotient.SPLIT
    domain: int
    n_wires: int
    n_advice: int
    linked: tuple[int, ...]
    a_wires: Wires = field(metadata=_array(Role.WIRES))
    b_wires: Wires = field(metadata=_array(Role.WIRES))
    c_wires: Wires = field(metadata=_array(Role.WIRES))
    a: G1Bases = field(metadata=_array(Role.HIDING_BASES, "A query"))
    b1: G1Bases = field(metadata=_array(Role.BASES, "B query in G1"))
    b2: G2Bases = field(metadata=_array(Role.HIDING_BASES, "B query in G2", G2Array))
    c: G1Bases = field(metadata=_array(Role.BASES, "C query"))
    h: G1Bases = field(metadata=_array(Role.BASES, "quotient query"))
    advice: G1Bases = field(metadata=_array(Role.HIDING_BASES, "advice basis"))
    basis: G1Bases = field(metadata=_array(Role.HIDING_BASES, "linked basis"))
    link: G1Bases = field(metadata=_array(Role.LINK_BASES, "link"))
    correction: G1Array = field(metadata=_array(Role.POINTS, "corrections"))

    @property
    @abstractmethod
    def n_public(self) -> int:
        """Public wires, the constant one not counted."""

    @property
    def linked_groups(self) -> list[slice]:
        """The wires of each linked group."""
        return cut_groups(self.linked, first=1 + self.n_public)

    @property
    def advice_wires(self) -> slice:
        start = 1 + self.n_public + sum(self.linked)
        return slice(start, start + self.n_advice)


@dataclass(frozen=True, kw_only=True, eq=False)
class ProvingKey(Queries):
    """Both halves of a key of ours."""

    verifying: VerifyingKey

    @property
    def n_public(self) -> int:
        return self.verifying.n_public


def count_links(linked: Sequence[int]) -> int:
    """Bases of `Queries.basis` and of `Queries.link`, for linked groups of so many wires."""
    return sum(linked) + count_blinders(len(linked))


def count_blinders(n_groups: int) -> int:
    """How many of these come last: one of each group, and one of the proof."""
    return n_groups + 1 if n_groups else 0


ARRAYS = tuple(
    KeyArray(f.name, *f.metadata["array"]) for f in fields(Queries) if "array" in f.metadata
)
"""The arrays of a proving key, in the order of its file."""


def list_bases(key: Queries) -> list[G1Bases | G2Bases]:
    """Every array of bases of a key, as they are or prepared."""
    return [array.of(key) for array in ARRAYS if array.role.is_sum]
