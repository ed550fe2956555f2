"""Shamir's sharing of secrets over F_r, many values at once (CACM 22, 1979)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.array import FrArray, FrMont
from kernels.backend import Backend


def evaluate(coefficients: FrArray, points: Sequence[int], backend: Backend) -> FrArray:
    """A polynomial at points: the shares of its constant coefficient.

    coefficients : shape [t], the secret first; any t - 1 values tell nothing about it when the
                   others are uniform and no point is zero
    returns      : shape [len(points)], by Horner's rule
    """
    x = FrMont.from_ints(points)
    c = backend.to_mont(coefficients).data
    value = FrMont(np.repeat(c[-1:], len(x), axis=0))
    for k in range(len(c) - 2, -1, -1):
        repeated = FrMont(np.repeat(c[k : k + 1], len(x), axis=0))
        value = backend.add(backend.mul(value, x), repeated)
    return backend.from_mont(value)


def recover(points: Sequence[Sequence[int]], shares: FrArray, backend: Backend) -> list[int]:
    """The secrets behind t shares each: Lagrange's interpolation at zero.

    points : m rows of t points, distinct in a row, none zero mod r
    shares : shape [m t], row by row
    cost   : 3 m t^2 multiplications, in t calls of the backend
    """
    m, t = len(points), len(points[0]) if points else 0
    if not m:
        return []
    x = FrMont.from_ints([p for row in points for p in row]).data.reshape(m, t, 4)
    one = FrMont.from_ints([1]).data
    above = below = FrMont(np.repeat(one, m * t, axis=0))
    for shift in range(1, t):  # prod over the other points y of the row of y / (y - x)
        others = FrMont(np.roll(x, shift, axis=1).reshape(m * t, 4))
        above = backend.mul(above, others)
        below = backend.mul(below, backend.sub(others, FrMont(x.reshape(m * t, 4))))
    weights = backend.mul(above, backend.batch_inverse(below))
    terms = backend.mul(weights, backend.to_mont(shares)).data.reshape(m, t, 4)
    total = FrMont(np.ascontiguousarray(terms[:, 0]))
    for k in range(1, t):
        total = backend.add(total, FrMont(np.ascontiguousarray(terms[:, k])))
    return backend.from_mont(total).to_ints()
