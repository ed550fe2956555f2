"""Softmax and cross-entropy in integers, by one table.

d_c = max_j z_j - z_c          t_c = min(d_c >> s_z, 255)          E_c = T[t_c],  S = sum E_c
p_c = (2^(e+1) E_c + S) // (2 S)                    2^e E_c / S, rounded, a half up
delta_c = p_c - 2^e [c = label]                     0 of padding
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import numpy as np

from kernels.numpy_types import Int64Array
from prover.training.recipe import TrainingRecipe

TABLE_ROWS = 256
STEPS = 16  # of the table to one unit of the exponent
EXP_BITS = 12
EXP_TABLE: Int64Array = np.array(
    [round((1 << EXP_BITS) * exp(-t / STEPS)) for t in range(TABLE_ROWS)], dtype=np.int64
)
"""T[t] = round(2^12 exp(-t/16)): 4096 at 0, and 0 at the end, where differences saturate."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class LossTrace:
    """All numbers of the loss, int64: `top` and `total` [B], the others [B, classes].

    top, step, excess, rem : z = top - ((step + excess) 2^(s_z) + rem), step the table's row and
                             excess what is beyond its last one
    share                  : E; total : S, their sum
    p, p_rem               : 2^(e+1) E + S = 2 S p + p_rem, 0 <= p_rem < 2 S
    hit                    : 1 at the label of a real sample
    delta                  : the error of the logits
    """

    top: Int64Array
    step: Int64Array
    excess: Int64Array
    rem: Int64Array
    share: Int64Array
    total: Int64Array
    p: Int64Array
    p_rem: Int64Array
    hit: Int64Array
    delta: Int64Array


def compute_loss(recipe: TrainingRecipe, logits: Int64Array, hit: Int64Array) -> LossTrace:
    """The errors of logits, int64[B, classes], against labels.

    hit   : int64[B, classes], 1 at the label of a real sample; 0 all over of padding
    holds : S >= 4096, since the greatest logit has E = T[0]; 2 S p < 2^34
    """
    top = logits.max(axis=1)
    distance = top[:, None] - logits
    far = distance >> recipe.logit_shift
    step = np.minimum(far, TABLE_ROWS - 1)
    share = EXP_TABLE[step]
    total = share.sum(axis=1)
    raised = (share << (recipe.loss_bits + 1)) + total[:, None]
    p = raised // (2 * total[:, None])
    return LossTrace(
        top=top,
        step=step,
        excess=far - step,
        rem=distance - (far << recipe.logit_shift),
        share=share,
        total=total,
        p=p,
        p_rem=raised - 2 * total[:, None] * p,
        hit=hit,
        delta=p * hit.sum(axis=1)[:, None] - (hit << recipe.loss_bits),
    )
