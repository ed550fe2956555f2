"""Linear layers by Freivalds' check: cost per activation, not per multiply-add (PROTOCOL 4.1).

Z = A W^T + 1 b^T over N samples is checked at one random s, drawn after A, W and Z are committed.
Errors are packed, p samples and po outputs into one element of the field (`packing.py`), so a
sample n has the weight w_n = s^(n div p) C^(n mod p), an output j the constant C^(p (j mod po)):
as a polynomial in s of degree below N / p, a sum of packs that are not all zero passes with chance
at most (N - 1)/r, for all outputs and layers at once. For every group of po outputs, with [X] for
sum_o C^(p o) X_o over its outputs o:

    sum_m s^m [sum_i C^i Z_(p m + i)]  =  sum_k P_k [W_k] + (sum_n w_n) [b],    P_k = sum_n w_n A_nk

Z is never a wire where it is requantized: m Z_nj = q_nj 2^s + rem_nj - 2^(s-1). What is in brackets
is linear in committed wires, inner sums too: only packs cost a row.
"""

from __future__ import annotations

import numpy as np

from prover.circuit.constraints import System
from prover.circuit.gadgets.activation import Activation
from prover.circuit.gadgets.packing import Packing
from prover.circuit.linear_form import LinearForm


def build_weight_sum(
    system: System, label: str, *, powers: LinearForm, packing: Packing, n_samples: int
) -> LinearForm:
    """sum_n w_n, one wire: what a bias has for an input."""
    return system.total(label, packing.sum_weights(powers, n_samples))


def build_combinations(
    system: System, label: str, *, powers: LinearForm, activations: LinearForm, packing: Packing
) -> LinearForm:
    """P_k = sum_n w_n A_nk, one wire per k.

    powers : LinearForm[N]; activations : LinearForm[N, d], committed
    """
    # Full-size powers on the A side: they serve all products, which occur on the C side only.
    packs = packing.pack_samples(activations)
    terms = system.product(f"{label}/term", powers[: packs.shape[0], None], packs)
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
) -> LinearForm:
    """sum_k P_k [W_k] + (sum_n w_n) [b] for every group, as a form over private products.

    inputs : P, LinearForm[d_in]; weights : LinearForm[d_out, d_in]; biases : LinearForm[d_out]
    """
    grouped = packing.pack_outputs(weights, axis=0)
    products = system.product(f"{label}/weight term", inputs[None, :], grouped)
    shifted = system.product(f"{label}/bias term", weight_sum, packing.pack_outputs(biases, axis=0))
    return products.sum(1) + shifted


def require_requantized(
    system: System,
    label: str,
    *,
    outputs: LinearForm,
    multiplier: LinearForm,
    powers: LinearForm,
    weight_sum: LinearForm,
    activation: Activation,
    shift: int,
    packing: Packing,
    why: str = "",
) -> None:
    """sum_m s^m [sum_i C^i (q 2^s + rem - 2^(s-1))] = m * outputs for every group.

    holds : C is greater than every error, if weights, biases, activations, q and rem are in their
            ranges and the multiplier is one that the packing holds for
    """
    terms = _build_terms(
        system, label, powers, activation.q * (1 << shift) + activation.rem, packing, why
    )
    total = system.total(f"{label}/output", outputs, why="keeps products off the A side")
    half = weight_sum[None] * np.full(activation.q.shape[1], 1 << (shift - 1), dtype=np.int64)
    right = terms.sum(0) - packing.pack_outputs(half, axis=0)
    system.require(f"{label}/equation", a=total, b=multiplier, c=right, why="m once per group")


def require_logits(
    system: System,
    label: str,
    *,
    outputs: LinearForm,
    powers: LinearForm,
    logits: LinearForm,
    packing: Packing,
    why: str = "",
) -> None:
    """sum_m s^m [sum_i C^i logit] = outputs for every group: the logits are the raw accumulators.

    logits : LinearForm[N, d_out], committed and bounded (`correctness.py`)
    holds  : C is greater than every error
    """
    terms = _build_terms(system, label, powers, logits, packing, why)
    system.require(f"{label}/equation", c=terms.sum(0) - outputs)


def _build_terms(
    system: System, label: str, powers: LinearForm, values: LinearForm, packing: Packing, why: str
) -> LinearForm:
    """s^m [sum_i C^i values], of shape (packs, groups)."""
    packs = packing.pack_outputs(packing.pack_samples(values), axis=1)
    return system.product(f"{label}/output term", powers[: packs.shape[0], None], packs, why=why)
