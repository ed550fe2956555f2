"""How ranges are cut into limbs, and how wide the table of all limbs should be: numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def split_widths(bits: int, table_bits: int) -> tuple[int, ...]:
    """Limb widths of a range of `bits`, lowest first: the short limb is the LOWEST.

    Were the short limb on top and scaled, x = hi * 2^w + lo would hold with hi = j / 2^a for
    integers j that 2^a does not divide: hi * 2^w is an integer all the same, and x is not unique.
    """
    n_limbs = -(-bits // table_bits)
    return (bits - (n_limbs - 1) * table_bits, *([table_bits] * (n_limbs - 1)))


def fill_limbs(bits: int, table_bits: int) -> int:
    """The widest range with as many limbs: all of them full, so that none is scaled."""
    return -(-bits // table_bits) * table_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeDemand:
    """`count` values of `bits` bits each are to be range-checked."""

    what: str
    count: int
    bits: int
    exact: bool = False

    def count_lookups(self, table_bits: int) -> int:
        widths = split_widths(self.bits, table_bits)
        return self.count * (len(widths) + (self.exact and widths[0] < table_bits))


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthChoice:
    """The chosen table width, and the rows that each width would have cost: those of the table and
    of what `rows_of` names."""

    table_bits: int
    rows_by_bits: dict[int, int]
    rows_of: str = "its lookups"

    @classmethod
    def cheapest(cls, rows_by_bits: dict[int, int], *, rows_of: str = rows_of) -> WidthChoice:
        """The width with the fewest rows; the least on a tie."""
        table_bits = min(rows_by_bits, key=lambda bits: (rows_by_bits[bits], bits))
        return cls(table_bits=table_bits, rows_by_bits=rows_by_bits, rows_of=rows_of)

    @property
    def reason(self) -> str:
        best, alternatives = self.rows_by_bits[self.table_bits], []
        for bits in (self.table_bits - 1, self.table_bits + 1):
            if bits in self.rows_by_bits:
                alternatives.append(f"2^{bits} would cost {self.rows_by_bits[bits]}")
        text = f"a range table of 2^{self.table_bits} rows costs {best} rows with {self.rows_of}"
        return "; ".join([text, *alternatives])


def choose_table_bits(demands: Sequence[RangeDemand], *, max_bits: int = 16) -> WidthChoice:
    """The width with the fewest rows: 2^w for the table, one per limb; least w on a tie."""
    return WidthChoice.cheapest(
        {bits: count_table_rows(demands, bits) for bits in range(1, max_bits + 1)}
    )


def count_table_rows(demands: Sequence[RangeDemand], table_bits: int) -> int:
    """Rows of the table and of all lookups in it."""
    return (1 << table_bits) + sum(d.count_lookups(table_bits) for d in demands)
