"""Products of matrices of a training step, each checked at one random point (PROTOCOL 4.1, 4.6).

forward    z = W a + beta W_b       all samples together, weighed by powers of the point s
backward   v = delta W              likewise
gradient   M - M' = c delta^T a     inputs weighed by powers of s, one equation per output
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from prover.circuit.constraints import System
from prover.circuit.gadgets.linear import (
    build_combinations,
    build_outputs,
    build_weight_sum,
    sum_outputs,
)
from prover.circuit.linear_form import LinearForm
from prover.circuit.sizing.packing import Packing


@dataclass(slots=True, kw_only=True, eq=False)
class Samples:
    """Weights of samples, shared by all products that pack them alike.

    powers : 1, s, s^2, ..., one for each pack of samples
    """

    system: System
    n: int
    powers: LinearForm
    _sums: dict[tuple[int, int], LinearForm] = field(default_factory=dict)

    def sum_weights(self, packing: Packing) -> LinearForm:
        """sum_n w_n, one wire for each way to pack."""
        kind = packing.samples, packing.bits if packing.samples > 1 else 0
        if kind not in self._sums:
            label = f"samples/weights/sum, {kind[0]} a pack of {kind[1]} bits each"
            self._sums[kind] = build_weight_sum(
                self.system, label, powers=self.powers, packing=packing, n_samples=self.n
            )
        return self._sums[kind]


def require_product(
    samples: Samples,
    label: str,
    *,
    inputs: LinearForm,
    weights: LinearForm,
    biases: LinearForm | None,
    outputs: LinearForm,
    less: int = 0,
    packing: Packing,
    why: str = "",
) -> None:
    """outputs - less = inputs weights^T + biases, for every sample and output.

    inputs  : LinearForm[N, d_in]; weights : LinearForm[d_out, d_in]; biases : LinearForm[d_out]
    outputs : LinearForm[N, d_out]; all linear in committed wires
    less    : a constant of every output, such as half of what it is rounded by
    holds   : all are integers of their ranges, so an error is an integer, and less than the limit
              of the packing in absolute value. One that is not zero passes at a random s with
              chance at most (N - 1)/r (`gadgets/linear.py`).
    """
    system, n_outputs = samples.system, outputs.shape[1]
    weight_sum = samples.sum_weights(packing)
    combined = build_combinations(
        system, f"{label} inputs", powers=samples.powers, activations=inputs, packing=packing
    )
    if biases is None:
        grouped = packing.pack_outputs(weights, axis=0)
        found = system.product(f"{label}/weight term", combined[None, :], grouped, why=why).sum(1)
    else:
        found = build_outputs(
            system,
            label,
            inputs=combined,
            weight_sum=weight_sum,
            weights=weights,
            biases=biases,
            packing=packing,
            why=why,
        )
    summed = sum_outputs(
        system, f"{label} outputs", values=outputs, powers=samples.powers, packing=packing
    )
    constant = weight_sum[None] * np.full(n_outputs, less, dtype=np.int64)
    system.require(f"{label}/equation", c=summed - packing.pack_outputs(constant, axis=0) - found)


def require_gradient(
    system: System,
    label: str,
    *,
    powers: LinearForm,
    inputs: LinearForm,
    bias_input: int,
    deltas: LinearForm,
    weight_changes: LinearForm,
    bias_changes: LinearForm,
    rate: int,
) -> None:
    """M - M' = c sum_n delta_n a_n for every weight, with a = beta for a bias.

    powers         : 1, s, s^2, ... of LinearForm[at least d_in + 1]
    inputs         : a, LinearForm[N, d_in]; deltas : LinearForm[N, d_out]
    weight_changes : M - M', LinearForm[d_out, d_in]; bias_changes : LinearForm[d_out]
    holds          : for each output, both sides are polynomials in s of degree d_in whose
                     coefficients are committed; where they differ, they agree at a random s with
                     chance at most d_in/r. Equal mod r they are equal: c G is an integer far below
                     r, and M' is whatever M - c G is.
    """
    d_in = inputs.shape[1]
    weights = system.product(
        f"{label}/change term",
        powers[None, :d_in],
        weight_changes,
        why="the whole gradient, once a weight, whatever the batch",
    )
    biases = system.product(f"{label}/bias term", powers[d_in], bias_changes)
    seen = system.product(
        f"{label} inputs/term", powers[None, :d_in], inputs, why="what a layer takes, by powers"
    )
    constant = powers[d_in] * bias_input
    totals = system.total(f"{label} inputs/sum", seen.sum(1) + constant)
    moved = system.product(
        f"{label} errors/term", totals[:, None], deltas, why="errors times what was taken"
    )
    system.require(f"{label}/equation", c=weights.sum(1) + biases - moved.sum(0) * rate)
