"""Values of polynomials, from the points of a circuit's rows to those of its quotient.

On the cosets of a domain, the largest first, of n_0 >= n_1 >= ... points and levels c_0, c_1, ...,

    a(X) = a_0(X) + (X^n_0 - c_0) (a_1(X) + (X^n_1 - c_1) (a_2(X) + ...)),      deg a_j < n_j

is Newton's form. X^n_i is constant on coset j > i, so a_j comes from an inverse transform of the
values there, less what stands before, folded: mod X^n_j - c_j. Multiplied out, the coefficients of
a are folded for each coset of the other domain, and transformed.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernels.array import FrMont
from kernels.backend import Backend, Progress
from kernels.bn254 import R
from prover.groth16.domain import Coset, Domain


def extend(
    vectors: Sequence[FrMont], n: int, backend: Backend, progress: Progress | None = None
) -> list[FrMont]:
    """The values at the points of the quotient of polynomials of degree below n, by those at rows.

    vectors : shape [m] each, m <= n; values beyond m are zero
    returns : shape [n] each
    cost    : an inverse and a forward transform of every coset; where there are several, about
              three products and sums for each value
    """
    rows, quotient = Domain(n), Domain(n, of_quotient=True)
    forms: list[list[FrMont]] = [[] for _ in vectors]
    for coset in rows.cosets:
        stacked = backend.stack([v[coset.place] for v in vectors], coset.n)
        report = _shift(progress, coset.start, coset.n, 2 * n)
        values = backend.ntt(stacked, inverse=True, shift=coset.shift, progress=report)
        for form, own in zip(forms, values.data, strict=True):
            form.append(_reduce(FrMont(own), form, rows.cosets, coset, backend))
    coefficients = [_multiply_out(form, rows.cosets, backend) for form in forms]
    parts: list[list[FrMont]] = [[] for _ in vectors]
    for coset in quotient.cosets:
        stacked = backend.stack([_fold(c, coset, backend) for c in coefficients], coset.n)
        report = _shift(progress, n + coset.start, coset.n, 2 * n)
        values = backend.ntt(stacked, shift=coset.shift, progress=report)
        for part, own in zip(parts, values.data, strict=True):
            part.append(FrMont(own))
    return [part[0] if len(part) == 1 else backend.concat(part) for part in parts]


def _fold(a: FrMont, coset: Coset, backend: Backend) -> FrMont:
    """The polynomial of n coefficients with a's values on a coset; a : n coefficients or more."""
    return a if len(a) == coset.n else backend.fold(a, coset.n, coset.level)


def _reduce(
    values: FrMont, form: Sequence[FrMont], cosets: Sequence[Coset], coset: Coset, backend: Backend
) -> FrMont:
    """a_j, from the polynomial that has a's values on the j-th coset."""
    for before, larger in zip(form, cosets, strict=False):
        factor = pow(larger.vanish_on(coset), -1, R)
        values = backend.scale(backend.sub(values, _fold(before, coset, backend)), factor)
    return values


def _multiply_out(form: Sequence[FrMont], cosets: Sequence[Coset], backend: Backend) -> FrMont:
    """The coefficients of Newton's form, shape [n].

    holds : a part is no longer than the coset before it, so X^n_j a and -c_j a do not overlap
    """
    *others, a = form
    for own, coset in zip(reversed(others), reversed(cosets[: len(others)]), strict=True):
        low = backend.sub(own[: len(a)], backend.scale(a, coset.level))
        a = backend.concat([low, own[len(a) :], a])
    return a


def _shift(progress: Progress | None, start: int, n: int, total: int) -> Progress | None:
    """The progress of one transform among several, in points."""
    if progress is None:
        return None
    outer = progress
    return lambda done, of: outer(start + n * done // of, total)
