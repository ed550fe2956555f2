"""Counting correct samples, with padding (PROTOCOL 4.3): 35 rows per sample at 10 classes."""

from __future__ import annotations

import numpy as np

from prover.circuit.constraints import System
from prover.circuit.gadgets.lookup import RangeTable
from prover.circuit.linear_form import LinearForm


def build_correctness(
    system: System,
    label: str,
    *,
    logits: LinearForm,
    powers: LinearForm,
    label_sum: LinearForm,
    claimed: LinearForm,
    margin_bits: int,
    level_bits: int,
    ranges: RangeTable,
) -> None:
    """At least `claimed` of the samples have logit[label] > logit[c] for every other class c.

    logits    : LinearForm[N, C], committed; that they are the accumulators is for the linear layer
                to say, which asks that they be bounded
    margin_bits, level_bits : w and v; without a row more where they are full limbs of the table
    label_sum : public wire sum_n s^n y_n, y_n = label + 1, or 0 for padding; from the verifier's
                labels
    claimed   : public wire k
    advice    : y_n; e_nc, 1 when sample n is counted for class c; l_n, a level between the logits
    holds     : the sum over s^n pins y_n. b_n = sum_c e_nc is boolean, so at most one e_nc is 1,
                and b_n y_n = sum_c (c + 1) e_nc makes it the label's class (never so for y_n = 0).
                Then the margins say l_n <= logit[label], and l_n >= logit_c + 1 for the others.
                A sample that is not counted asks of its logits only to lie within 2^w.
    bounds    : levels and margins are integers of their ranges whatever else holds, and hits are
                bits: so logits are integers from -2^(v-1) - 2^w to 2^(v-1) + 2^w.
    """
    n, n_classes = logits.shape
    y = system.advice(f"{label}/label", (n,))
    hit = system.advice(f"{label}/hit", (n, n_classes))
    level = system.advice(f"{label}/level", (n,))
    counted = hit.sum(1)

    system.require(f"{label}/hit is boolean", a=hit, b=hit - 1)
    system.require(f"{label}/one hit at most", a=counted, b=counted - 1)
    classes = np.arange(1, n_classes + 1, dtype=np.int64)
    system.require(f"{label}/hit is the label", a=counted, b=y, c=(hit * classes).sum(1))
    terms = system.product(f"{label}/label term", powers, y)
    system.require(f"{label}/labels", c=terms.sum(0) - label_sum, why="labels are the verifier's")
    margins = level[:, None] - logits - 1 + hit * (1 << margin_bits)
    ranges.require_range(
        f"{label}/margin", margins, margin_bits, exact=True, why="the level splits the logits"
    )
    ranges.require_range(
        f"{label}/level range",
        level + (1 << (level_bits - 1)),
        level_bits,
        exact=True,
        why="bounded levels bound the logits, which are packed",
    )
    system.require(f"{label}/count", c=counted.sum(0) - claimed)
