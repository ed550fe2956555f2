"""Softmax and cross-entropy, about 17 rows a class (PROTOCOL 4.6; `prover.training.loss`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prover.circuit.constraints import System
from prover.circuit.gadgets.lookup import Table
from prover.circuit.linear_form import LinearForm
from prover.circuit.training.plan import StepPlan
from prover.circuit.training.range_tables import Ranges
from prover.training.loss import TABLE_ROWS

PART = "loss"


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Which samples are real, and of which class.

    hit : LinearForm[B, classes], bits; real : LinearForm[B], bits, their sums
    """

    hit: LinearForm
    real: LinearForm


def build_labels(system: System, *, y: LinearForm, n_classes: int, n_real: LinearForm) -> Labels:
    """Indicators of committed labels: y = label + 1, and 0 for padding.

    n_real : public, how many samples are no padding
    holds  : hits are bits and so is their sum, so at most one is 1, and y = sum (c + 1) hit_c says
             which one: padding has none. All follow from y, which is committed with the batch, so
             nobody chooses at proof time which samples count.
    """
    hit = system.advice(f"{PART}/labels/hit", (y.shape[0], n_classes))
    real = hit.sum(1)
    system.require(f"{PART}/labels/hit is boolean", a=hit, b=hit - 1)
    system.require(f"{PART}/labels/one hit at most", a=real, b=real - 1)
    classes = np.arange(1, n_classes + 1, dtype=np.int64)
    system.require(
        f"{PART}/labels/hit is the label",
        c=(hit * classes).sum(1) - y,
        why="which samples are real is committed with the batch",
    )
    system.require(f"{PART}/labels/count", c=real.sum(0) - n_real)
    return Labels(hit, real)


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """logits, delta : LinearForm[B, classes], linear in committed wires."""

    logits: LinearForm
    delta: LinearForm


def build_loss(
    system: System,
    plan: StepPlan,
    *,
    labels: Labels,
    ranges: Ranges,
    exponentials: Table,
    point: LinearForm,
) -> Loss:
    """Errors of the logits, from logits that are for the last layer to say.

    exponentials : rows (t, T[t]), looked up as t + point T
    holds        : all advice is of exact ranges, hence integers, too small to wrap.
                   d_c = (step + excess) 2^(s_z) + rem is one division with remainder, d_c >= 0, and
                   the product of all d_c of a sample is zero: so top is the greatest of the
                   z = top - d. excess (255 - step) = 0 saturates. S >= T[0] > 0, as some d_c is 0;
                   so 0 <= p_rem < 2 S makes (p, p_rem) the one result of the division by 2 S, hence
                   0 <= p <= 2^e, and delta follows from it.
    """
    recipe, bits = plan.recipe, plan.loss_bits
    shape = (recipe.batch_size, recipe.widths[-1])
    top = system.advice(f"{PART}/softmax/top", shape[:1])
    step, excess, rem, share, p, p_rem = (
        system.advice(f"{PART}/softmax/{name}", shape)
        for name in ("step", "excess", "rem", "share", "p", "p_rem")
    )
    logits_part, table_part, quotient_part = (
        f"{PART}/{name}" for name in ("distance", "exponential", "probability")
    )
    ranges.require(
        f"{logits_part}/top", top + (1 << (bits.top - 1)), bits.top, why="bounds the logits"
    )
    ranges.require(
        f"{logits_part}/rem", rem, recipe.logit_shift, why="0 <= rem < 2^shift of a distance"
    )
    ranges.require(f"{logits_part}/excess", excess, bits.excess, why="beyond the table")
    distance = (step + excess) * (1 << recipe.logit_shift) + rem
    _require_zero_product(system, f"{logits_part}/product", distance)
    system.require(
        f"{table_part}/saturation", a=excess, b=LinearForm.constant(TABLE_ROWS - 1) - step
    )
    part = system.product(f"{table_part}/second", point, share)
    exponentials.lookup(f"{table_part}/row", step + part, index=step, why="E = T[step]")
    total = share.sum(1)[:, None]
    ranges.require(f"{quotient_part}/p", p, bits.p, why="probabilities are integers")
    system.require(
        f"{quotient_part}/division",
        a=total * 2,
        b=p,
        c=share * (1 << (recipe.loss_bits + 1)) + total - p_rem,
        why="2^(e+1) E + S = 2 S p + rem",
    )
    ranges.require(f"{quotient_part}/rem", p_rem, bits.p_rem, why="0 <= rem < 2 S")
    ranges.require(
        f"{quotient_part}/rem below", total * 2 - 1 - p_rem, bits.p_rem, why="0 <= rem < 2 S"
    )
    delta = system.advice(f"{PART}/error/delta", shape)
    system.require(
        f"{PART}/error/of real samples",
        a=labels.real[:, None],
        b=p,
        c=delta + labels.hit * (1 << recipe.loss_bits),
        why="padding has none",
    )
    return Loss(logits=top[:, None] - distance, delta=delta)


def _require_zero_product(system: System, label: str, factors: LinearForm) -> None:
    """The product over the last of two axes is zero."""
    n = factors.shape[1]
    product = factors[:, 0]
    # The running product on the A side: committed factors, which are small, on the B side.
    for i in range(1, n - 1):
        product = system.product(f"{label} {i}", product, factors[:, i])
    system.require(f"{label} is zero", a=product, b=factors[:, n - 1], why="the greatest is one")
