"""One step of integer SGD: the definition, in exact integers (PROTOCOL 4.6).

    weights    W = (M + 2^(u-1)) >> u                              of each master weight
    forward    z = W a + beta W_b,  q = (z + 2^(s-1)) >> s,  a = clamp(q, 0, 255)
    loss       delta of the logits                                 `prover.training.loss`
    backward   v = delta W,  w = (v + 2^(s_b-1)) >> s_b,  delta = w where 0 < q < 255, else 0
    gradient   G_ij = sum_n delta_ni a_nj                          of a bias: beta sum_n delta_ni
    update     M' = M - c G

Nothing is rounded but what is shown, so two machines never differ. Matrices are multiplied as
doubles: exact, since a recipe keeps all sums below 2^53.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.integers import exact_matmul
from kernels.numpy_types import Int64Array, UInt8Array
from prover.errors import RangeExceeded
from prover.model.layers import RELU_RANGE
from prover.training.batch import Batch, make_batch
from prover.training.loss import LossTrace, compute_loss
from prover.training.masters import Tensors, require_masters, round_masters, split_masters
from prover.training.recipe import TrainingRecipe

_SMALLER = "take a smaller rate, more master bits, or another batch"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class HiddenTrace:
    """A hidden layer at work on B samples, int64[B, n_out] each.

    q, rem : z + 2^(s-1) = q 2^s + rem; a : what is handed on; gate : where a follows q
    w, w_rem : v + 2^(s_b-1) = w 2^(s_b) + w_rem of what comes back; delta = gate w
    """

    q: Int64Array
    rem: Int64Array
    a: Int64Array
    gate: Int64Array
    w: Int64Array
    w_rem: Int64Array
    delta: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepTrace:
    """All numbers of a step: what a witness needs. Private.

    before, after : masters, int64[n_parameters]; weights : W in their order
    logits        : int64[B, classes], of W
    """

    before: Int64Array
    after: Int64Array
    weights: Int64Array
    batch: Batch
    hidden: tuple[HiddenTrace, ...]
    logits: Int64Array
    loss: LossTrace


def train_step(
    recipe: TrainingRecipe, masters: Int64Array, images: UInt8Array, labels: UInt8Array
) -> StepTrace:
    """One step from masters int64[n_parameters] on n <= B samples; `.after` are the new masters.

    images, labels : uint8[n, n_in], uint8[n]
    raises         : ShapeMismatch; RangeExceeded, for the owner's eyes, when masters, a quotient,
                     an error or the new masters leave their range, with layer, bound and remedy
    cost           : three products of matrices a hidden layer, two of the first and the last
    """
    batch = make_batch(recipe, images, labels)
    require_masters(recipe, masters)
    weights = round_masters(recipe, masters)
    layers = split_masters(recipe, weights)
    forward, logits = _go_forward(recipe, layers, batch.images)
    hit: Int64Array = (batch.y[:, None] == np.arange(1, recipe.widths[-1] + 1)).astype(np.int64)
    loss = compute_loss(recipe, logits, hit)
    hidden = _go_back(recipe, layers, forward, loss.delta)
    inputs: list[npt.NDArray[Any]] = [batch.images, *(trace.a for trace in hidden)]
    deltas = [*(trace.delta for trace in hidden), loss.delta]
    change = np.concatenate(
        [
            part
            for x, delta in zip(inputs, deltas, strict=True)
            for part in _sum_up(recipe, x, delta)
        ]
    )
    after = masters - recipe.rate * change
    require_masters(recipe, after, quantity="master weight after the step", next_step=_SMALLER)
    return StepTrace(
        before=masters,
        after=after,
        weights=weights,
        batch=batch,
        hidden=hidden,
        logits=logits,
        loss=loss,
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Forward:
    """A hidden layer on the way forward, as in `HiddenTrace`."""

    q: Int64Array
    rem: Int64Array
    a: Int64Array


def _go_forward(
    recipe: TrainingRecipe, layers: Sequence[Tensors], images: UInt8Array
) -> tuple[list[_Forward], Int64Array]:
    """Hidden layers, and the logits."""
    x: npt.NDArray[Any] = images
    found: list[_Forward] = []
    for layer, (w, b) in enumerate(layers):
        z = exact_matmul(x, w) + recipe.bias_input * b
        if layer == recipe.n_layers - 1:
            return found, z
        requant = recipe.hidden[layer]
        t = z + (1 << (requant.shift - 1))
        q = t >> requant.shift
        _require_range(
            layer, "quotient", q, requant.q_range, "take more q_bits, or smaller weights"
        )
        x = np.clip(q, *requant.y_range)
        found.append(_Forward(q, t - (q << requant.shift), x))
    raise AssertionError("a network has a last layer")


def _go_back(
    recipe: TrainingRecipe,
    layers: Sequence[Tensors],
    forward: Sequence[_Forward],
    delta: Int64Array,
) -> tuple[HiddenTrace, ...]:
    """Hidden layers with their errors, from those of the logits."""
    shift, most = recipe.backward_shift, 1 << (recipe.error_bits - 1)
    found: list[HiddenTrace] = []
    for layer in reversed(range(len(forward))):
        x, (weights, _) = forward[layer], layers[layer + 1]
        v = exact_matmul(delta, weights.T) + (1 << (shift - 1))
        w = v >> shift
        _require_range(layer, "error", w, (-most, most - 1), "take more error bits")
        gate = ((x.q > RELU_RANGE[0]) & (x.q < RELU_RANGE[1])).astype(np.int64)
        delta = gate * w
        found.append(
            HiddenTrace(
                q=x.q, rem=x.rem, a=x.a, gate=gate, w=w, w_rem=v - (w << shift), delta=delta
            )
        )
    return tuple(reversed(found))


def _sum_up(
    recipe: TrainingRecipe, x: npt.NDArray[Any], delta: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """G of the weights of a layer, flat, and of its biases.

    x : what it takes, [B, n_in]; delta : int64[B, n_out]
    """
    return exact_matmul(delta.T, x.T).reshape(-1), recipe.bias_input * delta.sum(axis=0)


def _require_range(
    layer: int, quantity: str, values: Int64Array, bound: tuple[int, int], next_step: str
) -> None:
    """RangeExceeded where a value leaves its bound."""
    for value in (int(values.min()), int(values.max())):
        if not bound[0] <= value <= bound[1]:
            raise RangeExceeded(
                layer=layer, quantity=quantity, value=value, bound=bound, next_step=next_step
            )
