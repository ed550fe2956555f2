"""The quotient of a proof, with the part of c in the key or in the proof (PROTOCOL section 3).

    h(X) = (a(X) b(X) - c(X)) / Z(X),   Z(X) = X^n - 1

is needed as [h(tau) Z(tau) / delta]_1 only. On the coset zeta * H, zeta a primitive 2n-th root of
one, Z is the constant zeta^n - 1 = -2, and deg h <= n - 2, so with the coset's Lagrange basis L~

    h(tau) = -1/2 sum_i (a~_i b~_i - c~_i) L~_i(tau),      sum_i c~_i L~_i(tau) = c(tau).

The factor -1/2 lives in the key. A WHOLE quotient, as in keys of snarkjs, is this sum: two
transforms each for a, b and c. The sum over c is linear in the witness, so it can live in the key
too (`prover.groth16.setup`). What then remains at proof time, of a SPLIT quotient as in our keys,
are the products a~_i b~_i: two transforms each for a and b, none for c.
"""

from __future__ import annotations

from kernels.array import FrArray, FrMont
from kernels.backend import Backend, Progress
from kernels.bn254 import TWO_ADICITY, root_of_unity
from prover.keys.halves import Quotient

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
    quotient: Quotient,
    lg_n: int,
    backend: Backend,
    progress: Progress | None = None,
) -> FrArray:
    """The scalars of the H query: a~ o b~, of a WHOLE quotient less c~.

    a_rows, b_rows : A z and B z, shape [m], m <= n = 2^lg_n (rows beyond m are zero)
    returns        : shape [n]
    cost           : 2 inverse and 2 forward transforms of size n, n products; WHOLE: 3 and 3
    C z is taken to be what it is for a witness that satisfies the circuit, A z o B z.
    """
    rows = [a_rows, b_rows]
    if quotient is Quotient.WHOLE:
        rows.append(backend.mul(a_rows, b_rows))
    coefficients = backend.ntt(
        backend.stack(rows, 1 << lg_n), inverse=True, progress=_half(progress, 0)
    )
    moved = backend.ntt(coefficients, shift=coset_shift(lg_n), progress=_half(progress, 1))
    a, b, *c = (FrMont(row) for row in moved.data)
    product = backend.mul(a, b)
    return backend.from_mont(backend.sub(product, c[0]) if c else product)


def _half(progress: Progress | None, index: int) -> Progress | None:
    """The progress of the index-th of two equal parts."""
    if progress is None:
        return None
    outer = progress
    return lambda done, total: outer(index * total + done, 2 * total)
