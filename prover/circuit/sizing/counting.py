"""Counts of a circuit while its gadgets are added: what `System` makes, in additions only."""

from __future__ import annotations

from dataclasses import dataclass, field

from prover.circuit.sizing.widths import split_widths


@dataclass(slots=True, kw_only=True)
class Counts:
    """Rows, wires and entries so far; `a`, `b` and `c` of a block are entries per row.

    table_bits : of the shared range table, which lookups know as "range"
    """

    table_bits: int
    n_rows: int = 0
    n_model: int = 0
    n_advice: int = 0
    n_private: int = 0
    n_private_in_a: int = 0
    nnz: list[int] = field(default_factory=lambda: [0, 0, 0])
    lookups: dict[object, int] = field(default_factory=dict)
    tables: dict[str, int] = field(default_factory=dict)

    def state(self, n: int, *, a: int = 0, b: int = 0, c: int = 0) -> None:
        """n rows, with so many entries each."""
        self.n_rows += n
        for side, entries in enumerate((a, b, c)):
            self.nnz[side] += n * entries

    def define(self, n: int, *, a: int = 0, b: int = 0, c: int = 0, in_a: bool = False) -> None:
        """n rows that define a private wire each; `in_a`: it has an entry in A, here or later."""
        self.state(n, a=a, b=b, c=c)
        self.n_private += n
        self.n_private_in_a += n * in_a

    def look_up(self, table: object, n: int, *, terms: int) -> None:
        """1 / (X + value), a value of so many terms."""
        self.define(n, a=1, b=1 + terms, c=1, in_a=True)
        self.lookups[table] = self.lookups.get(table, 0) + n

    def require_range(self, n: int, bits: int, *, terms: int, exact: bool = False) -> None:
        """n values of so many terms each in [0, 2^bits)."""
        widths = split_widths(bits, self.table_bits)
        n_high = len(widths) - 1
        self.n_advice += n * n_high
        self.look_up("range", n * n_high, terms=1)
        self.look_up("range", n, terms=terms + n_high)
        if exact and widths[0] < self.table_bits:
            self.look_up("range", n, terms=terms + n_high)

    def close(self, name: str, table: object, n_rows: int, *, terms: int) -> None:
        """Multiplicities over X + row, all rows together of so many terms, and the one sum."""
        self.tables[name] = n_rows
        self.n_advice += n_rows
        self.define(n_rows, a=1, b=1, c=1, in_a=True)
        self.nnz[1] += terms
        self.state(1, c=self.lookups[table] + n_rows)
