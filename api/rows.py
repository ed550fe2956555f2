"""How large a circuit can become, without compiling it."""

from __future__ import annotations

import math

from prover.model import Architecture

_TABLES = 1 << 16
"""Rows of the lookup tables, whatever the model."""
_PER_PARAMETER = 3
"""Range checks of a weight or a bias."""
_PER_UNIT = 5
"""Requantization and activation of one unit, or the comparison of one class, per sample."""


def bound_rows(architecture: Architecture, n_samples: int) -> int:
    """At least as many rows as `compile_accuracy` makes; within a factor of two of large ones."""
    units = sum(math.prod(shape) for shape in architecture.shapes[1:])
    return _TABLES + _PER_PARAMETER * architecture.n_parameters + _PER_UNIT * units * n_samples
