"""Pools. A sum of windows is a form over the wires that windows meet: it costs no row."""

from __future__ import annotations

from prover.circuit.linear_form import LinearForm
from prover.circuit.sliding import Sliding
from prover.model.planes import Window


def sum_windows(values: LinearForm, window: Window) -> LinearForm:
    """The sum of each window: LinearForm[N, C, H', W'] of values [N, C, H, W], without pads."""
    sliding = Sliding.of(window, values.shape[1:])
    rows, columns = sliding.rows.met.T, sliding.columns.met.T
    met = values[:, :, rows[:, None, :, None], columns[None, :, None, :]]
    return met.reshape((*met.shape[:4], window.area)).sum(4)
