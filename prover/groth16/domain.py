"""The points that rows and a quotient are interpolated on: unions of cosets (PROTOCOL section 3).

A domain of n points has a coset of 2^k points for each one bit 2^k of n, the largest first. The
j-th of the rows' domain and of the quotient's are, with g the generator of F_r*,

    g^j <w>   and   g^j zeta <w>,       w of order 2^k, zeta a primitive 2^(k + 1)-th root of one

the roots of X^(2^k) - c and X^(2^k) + c with c = g^(j 2^k). All points are different: the ratio of
two of them is a root of one of order 2^m times g^i, and g^i is no such root for a small i > 0. Any
distinct points do for rows (Gennaro, Gentry, Parno, Raykova, Eurocrypt 2013); these are few, and
quick to change between, since a larger coset's X^N is constant on a smaller one:

    a(X) mod (X^m - c) from a(X) mod (X^2m - c^2), by one product and one sum for each coefficient
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from kernels.array import FrMont
from kernels.backend import Backend
from kernels.bn254 import GENERATOR, TWO_ADICITY, R, root_of_unity

MAX_LG_N = TWO_ADICITY - 1  # a quotient's points are multiples of a 2n-th root of one


@dataclass(frozen=True, slots=True)
class Coset:
    """shift * <w>, w of order n = 2^lg_n: the roots of X^n - level.

    start : place of its first point in the domain; the i-th one is shift * w^i
    """

    start: int
    lg_n: int
    shift: int

    @property
    def n(self) -> int:
        return 1 << self.lg_n

    @property
    def place(self) -> slice:
        return slice(self.start, self.start + self.n)

    @property
    def level(self) -> int:
        return pow(self.shift, self.n, R)

    def vanish_at(self, x: int) -> int:
        """x^n - level."""
        return (pow(x, self.n, R) - self.level) % R

    def vanish_on(self, smaller: Coset) -> int:
        """X^n - level, the same at every point of a coset that is not larger."""
        return (pow(smaller.level, self.n // smaller.n, R) - self.level) % R

    def raise_points(self, exponent: int, backend: Backend) -> FrMont:
        """x^exponent of every point, shape [n]."""
        base = pow(root_of_unity(self.lg_n), exponent, R)
        return backend.powers(base, self.n, first=pow(self.shift, exponent, R))


@dataclass(frozen=True)
class Domain:
    """n distinct points. Raises ValueError for n that none has: 1 to 2^27."""

    n: int
    of_quotient: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.n <= 1 << MAX_LG_N:
            raise ValueError(f"{self.n} rows: a domain has 1 to 2^{MAX_LG_N} points")

    @cached_property
    def cosets(self) -> tuple[Coset, ...]:
        """The largest first."""
        lengths = [lg for lg in reversed(range(self.n.bit_length())) if self.n >> lg & 1]
        found, start = [], 0
        for index, lg_n in enumerate(lengths):
            zeta = root_of_unity(lg_n + 1) if self.of_quotient else 1
            found.append(Coset(start, lg_n, pow(GENERATOR, index, R) * zeta % R))
            start += 1 << lg_n
        return tuple(found)

    def vanish_at(self, x: int) -> int:
        """Z(x), Z the polynomial of degree n that is zero on the domain alone."""
        value = 1
        for coset in self.cosets:
            value = value * coset.vanish_at(x) % R
        return value

    def vanish_on(self, points: Coset, backend: Backend) -> FrMont:
        """Z at every point of a coset, shape [n of the coset]."""
        return _multiply_all([_vanish(c, points, backend) for c in self.cosets], backend)

    def evaluate_lagrange(self, x: int, backend: Backend) -> FrMont:
        """L_i(x) for every point x_i, shape [n], x none of them.

        L_i(X) = Z(X) / (Z'(x_i) (X - x_i)), and on a coset Z'(x_i) is the product of the other
        cosets' polynomials and n level / x_i
        """
        return backend.concat([self._evaluate_on(coset, x, backend) for coset in self.cosets])

    def _evaluate_on(self, coset: Coset, x: int, backend: Backend) -> FrMont:
        points = coset.raise_points(1, backend)
        differences = backend.sub(backend.powers(1, coset.n, first=x), points)
        others = [_vanish(c, coset, backend) for c in self.cosets if c is not coset]
        inverse = backend.batch_inverse(_multiply_all([differences, *others], backend))
        factor = self.vanish_at(x) * pow(coset.n * coset.level, -1, R)
        return backend.scale(backend.mul(points, inverse), factor)


def _vanish(coset: Coset, points: Coset, backend: Backend) -> FrMont:
    """X^n - level of a coset at every point of another."""
    powers = points.raise_points(coset.n, backend)
    return backend.sub(powers, backend.powers(1, points.n, first=coset.level))


def _multiply_all(parts: Sequence[FrMont], backend: Backend) -> FrMont:
    product, *others = parts
    for part in others:
        product = backend.mul(product, part)
    return product
