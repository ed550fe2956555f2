"""Pools. A sum of windows is a form over the wires that windows meet: it costs no row."""

from __future__ import annotations

from prover.circuit.constraints import System
from prover.circuit.gadgets.lookup import RangeTable
from prover.circuit.linear_form import LinearForm
from prover.circuit.sizing.maxima import MOST_IN_A_ROW, list_windows
from prover.circuit.sizing.sliding import Sliding
from prover.model.planes import Window


def sum_windows(values: LinearForm, window: Window) -> LinearForm:
    """The sum of each window: LinearForm[N, C, H', W'] of values [N, C, H, W], without pads."""
    sliding = Sliding.of(window, values.shape[1:])
    rows, columns = sliding.rows.met.T, sliding.columns.met.T
    met = values[:, :, rows[:, None, :, None], columns[None, :, None, :]]
    return met.reshape((*met.shape[:4], window.area)).sum(4)


def require_maxima(
    system: System,
    label: str,
    *,
    values: LinearForm,
    maxima: LinearForm,
    window: Window,
    bits: int,
    ranges: RangeTable,
    why: str = "",
) -> None:
    """Every maximum is at least each number that its window meets, and one of them.

    values : LinearForm[N, C, H, W]; maxima : LinearForm[N, C, H', W']
    bits   : no two numbers of a window are 2^bits apart
    holds  : differences maximum - number are multiples of 2^-a in [0, 2^bits), a as `RangeTable`
             has it, and their product over the window is zero, so one of them is: the maximum is a
             number of the window, and no other exceeds it, where these are integers. Of quotients
             that are not: see `prover.circuit.compiler`. Places outside of the plane take no part.
    """
    sliding = Sliding.of(window, values.shape[1:])
    for windows in list_windows(sliding):
        rows, columns = windows.met_rows, windows.met_columns
        met = values[:, :, rows[:, None, :, None], columns[None, :, None, :]]
        met = met.reshape((*met.shape[:4], windows.n_places))
        own = maxima[:, :, windows.rows[:, None], windows.columns]
        differences = own[:, :, :, :, None] - met
        part = f"{label}/windows of {rows.shape[1]} x {columns.shape[1]}"
        if windows.n_places == 1:
            system.require(f"{part}/equal", c=_pick(differences, 0))
            continue
        ranges.require_range(f"{part}/difference", differences, bits, why=why)
        _require_zero_product(system, part, differences)


def _require_zero_product(system: System, label: str, factors: LinearForm) -> None:
    """The product over the last axis, of two factors at least, is zero."""
    loose: list[LinearForm] = []
    level = 0
    while factors.shape[-1] > MOST_IN_A_ROW:
        n = factors.shape[-1] // 2
        if factors.shape[-1] % 2:
            loose.append(_pick(factors, 2 * n))
        left, right = _pick(factors, slice(n)), _pick(factors, slice(n, 2 * n))
        factors = system.product(f"{label}/pairs {level}", left, right)
        level += 1
    chain = [_pick(factors, i) for i in range(factors.shape[-1])] + loose
    product = chain[0]
    # The running product on the A side: committed differences, which are small, on the B side.
    for i, factor in enumerate(chain[1:-1]):
        product = system.product(f"{label}/product {i}", product, factor)
    system.require(f"{label}/one is zero", a=product, b=chain[-1])


def _pick(form: LinearForm, index: int | slice) -> LinearForm:
    """Along the last of five axes."""
    return form[:, :, :, :, index]
