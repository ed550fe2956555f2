"""Rows of any compiled circuit at a random assignment: what they demand, and which were asked for.

All committed wires are random elements of the field, challenges too. So every row that defines no
wire leaves a residual, and two polynomials that differ agree there with chance degree / r.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from kernels.array import FrMont, SparseMatrix
from kernels.backend import Backend
from kernels.bn254 import R
from prover.circuit.constraints import Circuit, Group, RowBlock, Rule
from tests.support.assignments import Tensor


@dataclass(eq=False, kw_only=True)
class Rows:
    """A circuit at a random assignment, and which parts of it were asked for.

    table_bits : of the range table whose limbs serve ranges; limbs: its name
    challenges : by name; z : all wires; sides : A z, B z, C z
    asked      : labels of rows and wires; lookups : labels, by their table
    """

    circuit: Circuit
    table_bits: int
    limbs: str
    challenges: dict[str, int]
    z: list[int]
    sides: list[list[int]]
    asked: set[str] = field(default_factory=set)
    lookups: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows = {block.label: block for block in self.circuit.row_blocks}

    def wires(self, label: str) -> Tensor:
        """Values of committed wires, of a linked group or advice."""
        block = self.circuit.wire_blocks[label]
        assert block.group in (Group.LINKED, Group.ADVICE), label
        self.asked.add(label)
        return self._shape(self.z[self.circuit.columns(block)], block.shape)

    def has_wires(self, label: str) -> bool:
        return label in self.circuit.wire_blocks

    def residual(self, label: str) -> Tensor:
        """A z o B z - C z of rows that define nothing: never zero, or they would demand nothing."""
        block = self.rows[label]
        assert block.rule is None, label
        self.asked.add(label)
        a, b, c = (side[block.start : block.stop] for side in self.sides)
        found = [(x * y - w) % R for x, y, w in zip(a, b, c, strict=True)]
        assert all(found), label
        return self._shape(found, block.shape)

    def looked_up(self, label: str, table: str, products: Sequence[str] = ()) -> Tensor:
        """f of rows 1 / (X + f): linear in committed wires, but for products g y of a pair.

        products : labels of the wires that are such products
        """
        block, side = self.rows[label], self.circuit.r1cs.b
        assert block.rule is Rule.QUOTIENT, label
        self.asked.add(label)
        self.lookups.setdefault(table, []).append(label)
        assert set(self.sides[2][block.start : block.stop]) == {1}
        private = set(self._columns(side, block)) & set(self._private(None))
        known = {column for name in products for column in self._private(name)}
        assert private <= known, f"{label} looks up what is not committed"
        x = self._root(table)
        return self._shape([(v - x) % R for v in self._values(label)], block.shape)

    def require_range(
        self, label: str, value: Tensor, bits: int, *, exact: bool, table: int | None = None
    ) -> int:
        """The value is in a range: limbs of it are what is looked up.

        table   : bits of a table of its own; None: limbs are of the shared one
        returns : a, if multiples of 2^-a pass
        """
        require_equal(label, self.read_range(label, bits, table), value)
        name, table_bits = self._find_table(table)
        a = -bits % table_bits
        assert (f"{label}/whole" in self.rows) == (exact and a > 0)
        if not exact or not a:
            return a
        scaled = self._values(f"{label}/low")
        low = np.array([(v - self._root(name)) * pow(2, -a, R) for v in scaled])
        require_equal(label, self.looked_up(f"{label}/whole", name).reshape(-1), low)
        return 0

    def read_range(self, label: str, bits: int, table: int | None = None) -> Tensor:
        """The only value, of so many bits, that limbs looked up in the range table admit.

        The lowest limb is scaled, so that it fills the table; others are of all its bits.
        """
        name, table_bits = self._find_table(table)
        n_limbs = -(-bits // table_bits)
        lowest = bits - (n_limbs - 1) * table_bits
        value = self.looked_up(f"{label}/low", name) * pow(2, lowest - table_bits, R)
        if n_limbs > 1:
            limbs = self.wires(f"{label}/limbs")
            assert limbs.shape == (*value.shape, n_limbs - 1)
            require_equal(label, self.looked_up(f"{label}/high", name), limbs)
            for i in range(n_limbs - 1):
                value = value + limbs[..., i] * 2 ** (lowest + i * table_bits)
        found: Tensor = value % R
        return found

    def require_table(self, label: str, table: str, values: Iterable[int]) -> None:
        """Its public rows, and the sum over all of its lookups."""
        block = self.rows[f"{label}/row"]
        self.asked.add(block.label)
        x = self._root(table)
        assert self.sides[1][block.start : block.stop] == [(x + v) % R for v in values]
        counts = self.wires(f"{label}/multiplicity").tolist()
        assert self.sides[2][block.start : block.stop] == counts
        found = sum(sum(self._defined(self.rows[name])) for name in self.lookups.pop(table))
        shares = sum(self._defined(block))
        require_equal(label, self.residual(f"{label}/sum"), np.array(shares - found, dtype=object))

    def require_nothing_else(self) -> None:
        """No lookup, no row that demands, and no committed wire was left out."""
        assert not self.lookups
        shares = ("positions/",)  # inverses of challenges are quotients, but no lookups
        demands = [
            block.label
            for block in self.circuit.row_blocks
            if block.rule is None
            or (block.rule is Rule.QUOTIENT and not block.label.startswith(shares))
        ]
        wires = self.circuit.wire_blocks.values()
        committed = [b.label for b in wires if b.group in (Group.LINKED, Group.ADVICE)]
        assert [label for label in (*demands, *committed) if label not in self.asked] == []

    def _find_table(self, own: int | None) -> tuple[str, int]:
        """Name and bits of a range's table."""
        return (self.limbs, self.table_bits) if own is None else (f"range {own}", own)

    def _root(self, table: str) -> int:
        """X of a table: all of a circuit share one, or each has a challenge of its name."""
        own = self.challenges.get("lookup")
        return self.challenges[table] if own is None else own

    def _values(self, label: str) -> list[int]:
        """X + f of a block of lookups."""
        block = self.rows[label]
        return self.sides[1][block.start : block.stop]

    def _shape(self, values: list[int], shape: tuple[int, ...]) -> Tensor:
        return np.array(values, dtype=object).reshape(shape)

    def _defined(self, block: RowBlock) -> list[int]:
        assert block.defines is not None
        return self.z[self.circuit.columns(block.defines)]

    def _private(self, label: str | None) -> range:
        """Columns of all private wires, or of a block of them; none where there is no such."""
        r1cs = self.circuit.r1cs
        if label is None:
            return range(r1cs.private.start, r1cs.private.stop)
        block = self.circuit.wire_blocks.get(label)
        columns = slice(0, 0) if block is None else self.circuit.columns(block)
        return range(columns.start, columns.stop)

    def _columns(self, matrix: SparseMatrix, block: RowBlock) -> list[int]:
        found: list[int] = matrix.cols[
            matrix.indptr[block.start] : matrix.indptr[block.stop]
        ].tolist()
        return found


def require_equal(what: str, found: Tensor, expected: Tensor) -> None:
    """Of the same shape, and equal mod r."""
    assert found.shape == expected.shape, what
    assert bool(np.all(found % R == expected % R)), what


def read_sides(circuit: Circuit, z: FrMont, backend: Backend) -> tuple[list[int], list[list[int]]]:
    """z, and A z, B z, C z, as integers."""

    def read(values: FrMont) -> list[int]:
        return backend.download(backend.from_mont(values)).to_ints()

    return read(z), [read(backend.matvec(m, z)) for m in circuit.r1cs.matrices]
