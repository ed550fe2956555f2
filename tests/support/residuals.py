"""What a compiled circuit says, row by row, against what PROTOCOL 4 says that it says.

All committed wires are random elements of the field, challenges too, and the verifier computes the
public wires from samples of its own. So every row that defines no wire leaves a residual, which is
compared to the one that nested loops over section 1 give (`definition`): two polynomials that
differ agree there with chance degree / r. That is stronger than any forged witness: whatever is
committed, the rows hold if and only if the errors of the definition, weighed, are zero.

What is left to arithmetic is asserted beside it: weights of errors are monomials that differ,
digits hold all that tables let an error be, and every wire and every row was accounted for.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from random import Random

import numpy as np

from kernels.array import FrArray
from kernels.backend import Backend
from kernels.bn254 import R
from prover.circuit.accuracy import AccuracyCircuit
from prover.circuit.witness import solve_private
from prover.model.network import Architecture
from tests.support.assignments import Tensor, draw_scalars
from tests.support.definition import list_clamps
from tests.support.rows import Rows, read_sides

MULTIPLIER_MAX = (1 << 15) - 1


@dataclass(eq=False, kw_only=True)
class Residuals(Rows):
    """An accuracy circuit at a random assignment, on samples that the verifier has."""

    accuracy: AccuracyCircuit
    images: Tensor
    labels: list[int]
    claimed: int
    multipliers: list[int]

    @classmethod
    def draw(cls, accuracy: AccuracyCircuit, rng: Random, backend: Backend) -> Residuals:
        """Slots without a sample, multipliers up to the greatest that the verifier takes."""
        layout, arch, r1cs = accuracy.public_layout, accuracy.architecture, accuracy.r1cs
        n = accuracy.n_samples
        n_real = rng.randint(max(1, n - 2), n)
        images = np.frombuffer(rng.randbytes(n_real * prod(arch.input_shape)), dtype=np.uint8)
        images = images.reshape((n_real, *arch.input_shape))
        labels = [rng.randrange(arch.n_classes) for _ in range(n_real)]
        claimed, challenges = rng.randint(0, n_real), draw_scalars(rng, len(layout.challenges))
        greatest = [min(m, MULTIPLIER_MAX) for m in accuracy.choices.max_multipliers]
        multipliers = [rng.choice([1, m, rng.randint(1, m)]) for m in greatest]
        public = layout.compute(
            claimed=claimed,
            multipliers=multipliers,
            images=images,
            labels=np.array(labels, dtype=np.uint8),
            challenges=challenges,
        )
        model, advice = (
            FrArray.from_ints([rng.randrange(R) for _ in range(count)])
            for count in (r1cs.n_linked, r1cs.n_advice)
        )
        z = solve_private(
            accuracy.circuit, public=public, model=model, advice=advice, backend=backend
        )
        x = np.zeros((n, *arch.input_shape), dtype=object)
        x[:n_real] = images.astype(object)

        wires, sides = read_sides(accuracy.circuit, z, backend)
        return cls(
            circuit=accuracy.circuit,
            table_bits=accuracy.choices.widths.table_bits,
            limbs="range",
            accuracy=accuracy,
            images=x,
            labels=labels,
            claimed=claimed,
            multipliers=multipliers,
            challenges=dict(zip(layout.challenges, challenges, strict=True)),
            z=wires,
            sides=sides,
        )

    @property
    def architecture(self) -> Architecture:
        return self.accuracy.architecture

    def require_tables(self) -> None:
        """Distinct public rows, and for each table the sum over the lookups with its challenge."""
        self.require_table("range table", "range", range(1 << self.table_bits))
        self.require_table("weight table", "weight", range(-127, 128))
        g = self.challenges.get("pair", 0)
        for k, (bits, low, high) in enumerate(list_clamps(self.architecture)):
            first = 1 << (bits - 1)
            pairs = [u + g * min(max(u - first, low), high) for u in range(1 << bits)]
            self.require_table(f"clamp table {k}", f"clamp {k}", pairs)
