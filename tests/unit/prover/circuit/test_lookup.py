"""Limb widths and the cost model that chooses them."""

from __future__ import annotations

import pytest

from prover.circuit.constraints import System
from prover.circuit.gadgets.lookup import RangeTable, build_integer_table
from prover.circuit.sizing.widths import RangeDemand, choose_table_bits, split_widths


@pytest.mark.parametrize(
    ("bits", "table_bits", "widths"),
    [(3, 8, (3,)), (8, 8, (8,)), (9, 8, (1, 8)), (25, 13, (12, 13)), (24, 5, (4, 5, 5, 5, 5))],
)
def test_short_limb_is_the_lowest(bits: int, table_bits: int, widths: tuple[int, ...]) -> None:
    assert split_widths(bits, table_bits) == widths
    assert sum(widths) == bits


def test_width_is_the_cheapest() -> None:
    """By hand: 2^w rows of the table, and one per limb."""
    demands = [
        RangeDemand(what="rem", count=1000, bits=10),
        RangeDemand(what="bias", count=10, bits=24, exact=True),
    ]
    choice = choose_table_bits(demands)
    assert choice.rows_by_bits[10] == 1024 + 1000 + 10 * 3 + 10
    assert choice.rows_by_bits[12] == 4096 + 1000 + 10 * 2  # 24 = 12 + 12: no short limb
    assert choice.table_bits == 10
    assert choice.rows_by_bits[choice.table_bits] == min(choice.rows_by_bits.values())
    assert "2^9 would cost 2552; 2^11 would cost 3088" in choice.reason


def test_predicted_rows_are_the_rows() -> None:
    for table_bits in (3, 4, 6):
        demands = [
            RangeDemand(what="a", count=7, bits=5),
            RangeDemand(what="b", count=2, bits=6, exact=True),
        ]
        system = System()
        ranges = RangeTable.build(system, "table", system.public("challenge"), table_bits)
        for d in demands:
            wires = system.advice(d.what, (d.count,))
            ranges.require_range(f"{d.what}/range", wires, d.bits, exact=d.exact)
        ranges.table.close()
        n_rows = system.build({}).r1cs.n_rows
        assert n_rows == choose_table_bits(demands).rows_by_bits[table_bits] + 1  # the sum


def test_unused_table_is_refused() -> None:
    system = System()
    table = build_integer_table(system, "t", system.public("challenge"), [1, 2])
    with pytest.raises(ValueError, match="never used"):
        table.close()
