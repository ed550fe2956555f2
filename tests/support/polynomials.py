"""Polynomials over F_r by the book: plain integers, term by term."""

from __future__ import annotations

from kernels.bn254 import R, root_of_unity
from prover.groth16.domain import Domain


def interpolate_at(values: list[int], points: list[int], x: int) -> int:
    """Lagrange's formula, term by term."""
    total = 0
    for i, (xi, y) in enumerate(zip(points, values, strict=True)):
        for j, xj in enumerate(points):
            if i != j:
                y = y * (x - xj) * pow(xi - xj, -1, R) % R
        total += y
    return total % R


def evaluate(coefficients: list[int], x: int) -> int:
    """sum c_i x^i mod r."""
    return sum(c * pow(x, i, R) for i, c in enumerate(coefficients)) % R


def list_points(domain: Domain) -> list[int]:
    """Every point of a domain, in its order."""
    return [
        coset.shift * pow(root_of_unity(coset.lg_n), i, R) % R
        for coset in domain.cosets
        for i in range(coset.n)
    ]
