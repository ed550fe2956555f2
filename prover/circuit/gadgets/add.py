"""Additions: z = c_a a + c_b b is linear in committed wires, so its check needs no challenge."""

from __future__ import annotations

from prover.circuit.constraints import System
from prover.circuit.gadgets.activation import Quotient
from prover.circuit.linear_form import LinearForm
from prover.circuit.sizing.packing import Packing


def require_sums(
    system: System,
    label: str,
    *,
    sums: LinearForm,
    multiplier: LinearForm,
    quotient: Quotient,
    shift: int,
    packing: Packing,
    why: str = "",
) -> None:
    """m sums = q 2^s + rem - 2^(s-1) for every number, `packing.outputs` of them a row.

    sums  : z, LinearForm[N, ...], linear in committed wires that are integers of their ranges
    holds : C is greater than every error, so a sum of C^i times errors is zero if all are
    """
    rounded = quotient.scale_back(shift) - (1 << (shift - 1))
    system.require(
        f"{label}/equation",
        a=packing.pack_outputs(sums.flat(), axis=0),
        b=multiplier,
        c=packing.pack_outputs(rounded.flat(), axis=0),
        why=why,
    )
