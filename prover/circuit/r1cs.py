"""R1CS: A z o B z = C z with wires (1 | public | linked groups | advice | private)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from kernels.array import SparseMatrix

MAX_COSETS = 3
LEAST_COSET = 1 << 13


def cut_groups(sizes: Sequence[int], *, first: int = 0) -> list[slice]:
    """Where groups of these sizes lie, one after the other from `first` on."""
    ends = [*accumulate(sizes, initial=first)]
    return [slice(start, stop) for start, stop in pairwise(ends)]


def choose_domain(n_rows: int) -> int:
    """How many points rows are interpolated on: n_rows, or some more.

    A sum of MAX_COSETS powers of two or fewer (`prover.groth16.domain`), none of several less than
    LEAST_COSET; the least number of this form, above 2^16 at most 8/7 of n_rows. So small domains
    are powers of two.
    """
    taken, left = 0, max(n_rows, 1)
    for _ in range(MAX_COSETS - 1):
        greatest = 1 << (left.bit_length() - 1)
        if greatest < LEAST_COSET or greatest == left:
            break
        taken, left = taken + greatest, left - greatest
    least = LEAST_COSET if taken else 1
    return taken + max(1 << (left - 1).bit_length(), least)


def choose_power(n_rows: int) -> int:
    """The least power of two that is no less: the points of a key of a ceremony, whose powers of
    tau have Lagrange bases of one coset only."""
    return 1 << (max(n_rows, 1) - 1).bit_length()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factors:
    """A and B of an R1CS and the sizes of its wire groups: all that a prover needs of a circuit.

    Wire 0 is the constant one. `n_public` counts the statement wires after it; the groups follow
    each other without gaps. `linked` are the sizes of the groups that have a commitment of their
    own, known before the proof (PROTOCOL section 3), none of them empty. A plain Groth16 circuit
    has no such group and n_advice = 0.
    """

    n_public: int
    linked: tuple[int, ...]
    n_advice: int
    n_private: int
    a: SparseMatrix
    b: SparseMatrix

    def __post_init__(self) -> None:
        shapes = {(m.n_rows, m.n_cols) for m in self.matrices}
        if len(shapes) != 1:
            raise ValueError(f"R1CS: the matrices differ in shape: {sorted(shapes)}")
        if self.a.n_cols != self.n_wires:
            raise ValueError(f"R1CS: matrices have {self.a.n_cols} columns, {self.n_wires} wires")
        if any(size < 1 for size in self.linked):
            raise ValueError(f"R1CS: a linked group without wires: {list(self.linked)}")

    @property
    def matrices(self) -> tuple[SparseMatrix, ...]:
        """All that there are, in the order of their names."""
        return self.a, self.b

    @property
    def n_wires(self) -> int:
        return 1 + self.n_public + self.n_linked + self.n_advice + self.n_private

    @property
    def n_linked(self) -> int:
        """Wires of all linked groups."""
        return sum(self.linked)

    @property
    def n_rows(self) -> int:
        return self.a.n_rows

    @property
    def domain(self) -> int:
        """Points of the evaluation domain, see `choose_domain`."""
        return choose_domain(self.n_rows)

    @property
    def domains(self) -> tuple[int, int]:
        """Points that keys of this circuit may have: `domain`, and of a ceremony."""
        return self.domain, choose_power(self.n_rows)

    @property
    def public(self) -> slice:
        """The constant one and the statement wires."""
        return slice(0, 1 + self.n_public)

    @property
    def linked_wires(self) -> slice:
        """The wires of all linked groups."""
        return slice(1 + self.n_public, 1 + self.n_public + self.n_linked)

    @property
    def linked_groups(self) -> list[slice]:
        """The wires of each linked group."""
        return cut_groups(self.linked, first=1 + self.n_public)

    @property
    def advice(self) -> slice:
        start = self.linked_wires.stop
        return slice(start, start + self.n_advice)

    @property
    def private(self) -> slice:
        return slice(self.n_wires - self.n_private, self.n_wires)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class R1CS(Factors):
    """Three sparse matrices over F_r and the sizes of the wire groups (PROTOCOL section 3)."""

    c: SparseMatrix

    @property
    def matrices(self) -> tuple[SparseMatrix, ...]:
        return self.a, self.b, self.c
