"""The quotient in four transforms instead of seven (PROTOCOL section 3).

    h(X) = (a(X) b(X) - c(X)) / Z(X),   Z(X) = X^n - 1

is needed as [h(tau) Z(tau) / delta]_1 only. On the coset zeta * H, zeta a primitive 2n-th root of
one, Z is the constant zeta^n - 1 = -2, and deg h <= n - 2, so with the coset's Lagrange basis L~

    h(tau) = -1/2 sum_i (a~_i b~_i - c~_i) L~_i(tau),      sum_i c~_i L~_i(tau) = c(tau).

The factor -1/2 and the whole sum over c are linear in the witness and live in the key
(`prover.groth16.setup`). What remains at proof time are the products a~_i b~_i: two transforms each
for a and b, none for c.
"""

from __future__ import annotations

from kernels.array import FrArray, FrMont
from kernels.backend import Backend, Progress
from kernels.bn254 import TWO_ADICITY, root_of_unity

MAX_LG_N = TWO_ADICITY - 1  # the coset's shift is a 2n-th root of one


def coset_shift(lg_n: int) -> int:
    """zeta, a primitive 2n-th root of one for n = 2^lg_n: zeta^n = -1."""
    if not 0 <= lg_n <= MAX_LG_N:
        raise ValueError(f"2^{lg_n} rows: a domain has 2^0 to 2^{MAX_LG_N}")
    return root_of_unity(lg_n + 1)


def compute_quotient_scalars(
    a_rows: FrMont,
    b_rows: FrMont,
    *,
    lg_n: int,
    backend: Backend,
    progress: Progress | None = None,
) -> FrArray:
    """a~ o b~: the scalars of the H query.

    a_rows, b_rows : A z and B z, shape [m], m <= n = 2^lg_n (rows beyond m are zero)
    returns        : shape [n]
    cost           : 2 inverse and 2 forward transforms of size n, n products
    """
    stacked = backend.stack([a_rows, b_rows], 1 << lg_n)
    coefficients = backend.ntt(stacked, inverse=True, progress=_half(progress, 0))
    moved = backend.ntt(coefficients, shift=coset_shift(lg_n), progress=_half(progress, 1))
    return backend.from_mont(backend.mul(FrMont(moved.data[0]), FrMont(moved.data[1])))


def _half(progress: Progress | None, index: int) -> Progress | None:
    """The progress of the index-th of two equal parts."""
    if progress is None:
        return None
    outer = progress
    return lambda done, total: outer(index * total + done, 2 * total)
