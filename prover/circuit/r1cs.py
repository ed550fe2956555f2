"""R1CS: A z o B z = C z with wires (1 | public | linked groups | advice | private)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from kernels.array import SparseMatrix


def cut_groups(sizes: Sequence[int], *, first: int = 0) -> list[slice]:
    """Where groups of these sizes lie, one after the other from `first` on."""
    ends = [*accumulate(sizes, initial=first)]
    return [slice(start, stop) for start, stop in pairwise(ends)]


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
    def lg_n(self) -> int:
        """log2 of the evaluation domain: the smallest with 2^lg_n >= max(n_rows, 1)."""
        return max(self.n_rows - 1, 0).bit_length()

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
