"""Linear layers by Freivalds' check: cost per activation, not per multiply-add (PROTOCOL 4.1).

Z = A W^T + 1 b^T over N samples is checked at one random s, drawn after A, W and Z are committed:
with weights s^n each column is a polynomial in s of degree below N, so a wrong Z passes with chance
at most (N - 1)/r, for all columns and layers at once.

    sum_n s^n Z_nj  =  sum_k P_k W_jk + (sum_n s^n) b_j,        P_k = sum_n s^n A_nk

Z is never a wire where it is requantized: m Z_nj = q_nj 2^s + rem_nj - 2^(s-1).
"""

from __future__ import annotations

from prover.circuit.constraints import System
from prover.circuit.gadgets.activation import Activation
from prover.circuit.linear_form import LinearForm


def build_combinations(
    system: System, label: str, powers: LinearForm, activations: LinearForm
) -> LinearForm:
    """P_k = sum_n s^n A_nk, one wire per k.

    powers : LinearForm[N]; activations : LinearForm[N, d], committed
    """
    # Full-size powers on the A side: N of them serve all products, which occur on the C side only.
    terms = system.product(f"{label}/term", powers[:, None], activations)
    return system.total(f"{label}/sum", terms.sum(0))


def build_outputs(
    system: System,
    label: str,
    *,
    inputs: LinearForm,
    power_sum: LinearForm,
    weights: LinearForm,
    biases: LinearForm,
) -> LinearForm:
    """sum_k P_k W_jk + (sum_n s^n) b_j for every j, as a form over private products.

    inputs : P, LinearForm[d_in]; weights : LinearForm[d_out, d_in]; biases : LinearForm[d_out]
    The product rows also give every weight and bias a place of its own on the B side, which is what
    the model commitment needs to be binding (`check_independence`).
    """
    products = system.product(f"{label}/weight term", inputs[None, :], weights)
    shifted = system.product(f"{label}/bias term", power_sum, biases)
    return products.sum(1) + shifted


def require_requantized(
    system: System,
    label: str,
    *,
    outputs: LinearForm,
    multiplier: LinearForm,
    powers: LinearForm,
    power_sum: LinearForm,
    activation: Activation,
    shift: int,
) -> None:
    """sum_n s^n (q_nj 2^s + rem_nj - 2^(s-1)) = m * outputs_j for every j.

    holds : both sides are below 2^48 for every n when weights, biases, activations, q and rem are
            in their ranges, so equality mod r is equality of integers
    """
    scaled = activation.q * (1 << shift) + activation.rem
    terms = system.product(f"{label}/output term", powers[:, None], scaled)
    total = system.total(f"{label}/output", outputs, why="keeps products off the A side")
    right = terms.sum(0) - power_sum * (1 << (shift - 1))
    system.require(f"{label}/equation", a=total, b=multiplier, c=right, why="m once per output")


def require_logits(
    system: System, label: str, *, outputs: LinearForm, powers: LinearForm, logits: LinearForm
) -> None:
    """sum_n s^n logit_nj = outputs_j for every j: the logits are the raw accumulators.

    logits : LinearForm[N, d_out], committed; the equation alone determines them
    """
    terms = system.product(f"{label}/output term", powers[:, None], logits)
    system.require(f"{label}/equation", c=terms.sum(0) - outputs)
