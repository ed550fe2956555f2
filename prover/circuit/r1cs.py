"""R1CS: A z o B z = C z with wires ordered (1 | public | model | advice | private)."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.array import SparseMatrix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factors:
    """A and B of an R1CS and the sizes of its wire groups: all that a prover needs of a circuit.

    Wire 0 is the constant one. `n_public` counts the statement wires after it; the groups follow
    each other without gaps. A plain Groth16 circuit has n_model = n_advice = 0.
    """

    n_public: int
    n_model: int
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

    @property
    def matrices(self) -> tuple[SparseMatrix, ...]:
        """All that there are, in the order of their names."""
        return self.a, self.b

    @property
    def n_wires(self) -> int:
        return 1 + self.n_public + self.n_model + self.n_advice + self.n_private

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
    def model(self) -> slice:
        return slice(1 + self.n_public, 1 + self.n_public + self.n_model)

    @property
    def advice(self) -> slice:
        start = 1 + self.n_public + self.n_model
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
