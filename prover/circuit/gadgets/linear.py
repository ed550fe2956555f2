"""Linear layers by Freivalds' check: cost per activation, not per multiply-add (PROTOCOL 4.1).

Z = A W^T + 1 b^T over N samples is checked at one random s, drawn after A, W and Z are committed.
Errors are packed, p samples and po outputs into one element of the field (`packing.py`), so a
sample n has the weight w_n = s^(n div p) C^(n mod p), an output j the constant C^(p (j mod po)):
as a polynomial in s of degree below N / p, a sum of packs that are not all zero passes with chance
at most (N - 1)/r, for all outputs and layers at once. For every group of po outputs, with [X] for
sum_o C^(p o) X_o over its outputs o:

    sum_m s^m [sum_i C^i Z_(p m + i)]  =  sum_k P_k [W_k] + (sum_n w_n) [b],    P_k = sum_n w_n A_nk

Z is never a wire where it is requantized: m Z_nj = q_nj 2^s + rem_nj - 2^(s-1). What is in brackets
is linear in committed wires, inner sums too: only packs cost a row, and where all samples are in
one pack, sums over samples cost none. A convolution is the same with more weights (`conv.py`).
"""

from __future__ import annotations

from math import prod

import numpy as np

from prover.circuit.constraints import System
from prover.circuit.linear_form import LinearForm
from prover.circuit.sizing.packing import Packing


def build_weight_sum(
    system: System, label: str, *, powers: LinearForm, packing: Packing, n_samples: int
) -> LinearForm:
    """sum_n w_n, one wire: what a bias has for an input."""
    return system.total(label, packing.sum_weights(powers, n_samples))


def build_combinations(
    system: System, label: str, *, powers: LinearForm, activations: LinearForm, packing: Packing
) -> LinearForm:
    """sum_n w_n A_n, of the shape of one sample: wires, or a form where there is a single pack.

    powers : LinearForm[N]; activations : LinearForm[N, ...], linear in committed wires
    """
    packs = packing.pack_samples(activations)
    if packs.shape[0] == 1:
        return packs[0]
    # Full-size powers on the A side: they serve all products, which occur on the C side only.
    terms = system.product(
        f"{label}/term", _spread(powers, packs), packs, why="what a layer takes, once a pack"
    )
    return system.total(f"{label}/sum", terms.sum(0))


def build_outputs(
    system: System,
    label: str,
    *,
    inputs: LinearForm,
    weight_sum: LinearForm,
    weights: LinearForm,
    biases: LinearForm,
    packing: Packing,
    why: str = "",
) -> LinearForm:
    """sum_k P_k [W_k] + (sum of all weights) [b] for every group, as a form over private products.

    inputs : P, LinearForm[d_in]; weights : LinearForm[d_out, d_in]; biases : LinearForm[d_out]
    """
    grouped = packing.pack_outputs(weights, axis=0)
    products = system.product(f"{label}/weight term", inputs[None, :], grouped, why=why)
    shifted = system.product(f"{label}/bias term", weight_sum, packing.pack_outputs(biases, axis=0))
    return products.sum(1) + shifted


def sum_outputs(
    system: System,
    label: str,
    *,
    values: LinearForm,
    powers: LinearForm,
    packing: Packing,
    grid: LinearForm | None = None,
) -> LinearForm:
    """sum_m s^m [sum_i C^i values] for every group; over a plane, times the weights of positions.

    values : LinearForm[N, d_out] or [N, d_out, height, width], linear in committed wires
    grid   : x^i y^b of every row and block of columns; None where there is one position, or one
             pack of all
    """
    packs = packing.pack_samples(values)
    if len(values.shape) > 2:
        packs = packing.pack_columns(packs, axis=3)
    packs = packing.pack_outputs(packs, axis=1)
    if grid is None:
        packs = packs.reshape(packs.shape[:2])
    is_committed = packs.shape[0] == 1
    if is_committed:
        sums = packs[0]
    else:
        terms = system.product(f"{label}/term", _spread(powers, packs), packs)
        sums = terms.sum(0)
    if grid is None:
        return sums
    if is_committed:
        placed = system.product(f"{label}/placed", grid[None], sums)
    else:
        totals = system.total(f"{label}/sum", sums, why="keeps products off the A side")
        placed = system.product(f"{label}/placed", totals, grid[None])
    return placed.reshape((placed.shape[0], prod(placed.shape[1:]))).sum(1)


def require_requantized(
    system: System,
    label: str,
    *,
    outputs: LinearForm,
    multiplier: LinearForm,
    weight_sum: LinearForm,
    rounded: LinearForm,
    n_outputs: int,
    shift: int,
    packing: Packing,
) -> None:
    """rounded - 2^(s-1) (sum of all weights) = m * outputs for every group.

    rounded    : `sum_outputs` of q 2^s + rem
    multiplier : m of all outputs, whose sums are packed; or one each, LinearForm[d_out], over sums
                 that are not
    holds      : C is greater than every error, if weights, biases, activations, q and rem are in
                 their ranges and the multipliers are some that the packing holds for
    """
    total = system.total(f"{label}/output", outputs, why="keeps products off the A side")
    half = weight_sum[None] * np.full(n_outputs, 1 << (shift - 1), dtype=np.int64)
    right = rounded - packing.pack_outputs(half, axis=0)
    if multiplier.shape == ():
        system.require(f"{label}/equation", a=total, b=multiplier, c=right, why="m once per group")
        return
    scaled = system.product(f"{label}/scaled output", total, multiplier, why="m once per output")
    system.require(f"{label}/equation", c=right - packing.pack_outputs(scaled, axis=0))


def require_logits(system: System, label: str, *, outputs: LinearForm, summed: LinearForm) -> None:
    """summed = outputs for every group: the logits are the raw accumulators.

    summed : `sum_outputs` of logits, committed and bounded (`correctness.py`)
    holds  : C is greater than every error
    """
    system.require(f"{label}/equation", c=summed - outputs)


def _spread(powers: LinearForm, packs: LinearForm) -> LinearForm:
    """The power of every pack, along the first of its axes."""
    n, *others = packs.shape
    return powers[:n].reshape((n, *(1 for _ in others)))
