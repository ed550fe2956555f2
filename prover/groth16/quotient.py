"""The quotient of a proof, with the part of c in the key or in the proof (PROTOCOL section 3).

    h(X) = (a(X) b(X) - c(X)) / Z(X),   Z(X) zero on the n rows

is needed as [h(tau) Z(tau) / delta]_1 only. deg h <= n - 2, so with the Lagrange basis L~ of n
other points x_i

    h(tau) = sum_i (a~_i b~_i - c~_i) / Z(x_i) L~_i(tau),      a~_i = a(x_i), likewise b~, c~.

The factors 1 / Z(x_i) live in the key. A WHOLE quotient, as in keys of snarkjs, is this sum: values
of a, b and c at the x_i. The sum over c is linear in the witness, so it can live in the key too
(`prover.groth16.setup`). What then remains at proof time, of a SPLIT quotient as in our keys, are
the products a~_i b~_i: two transforms each for a and b, none for c.
"""

from __future__ import annotations

from kernels.array import FrArray, FrMont
from kernels.backend import Backend, Progress
from prover.groth16.extension import extend
from prover.keys.halves import Quotient


def compute_quotient_scalars(
    a_rows: FrMont,
    b_rows: FrMont,
    *,
    quotient: Quotient,
    n: int,
    backend: Backend,
    progress: Progress | None = None,
) -> FrArray:
    """The scalars of the H query: a~ o b~, of a WHOLE quotient less c~.

    a_rows, b_rows : A z and B z, shape [m], m <= n, the points of the domain (rows beyond are zero)
    returns        : shape [n]
    cost           : `extend` of two vectors, n products; WHOLE: of three
    C z is taken to be what it is for a witness that satisfies the circuit, A z o B z.
    """
    rows = [a_rows, b_rows]
    if quotient is Quotient.WHOLE:
        rows.append(backend.mul(a_rows, b_rows))
    a, b, *c = extend(rows, n, backend, progress)
    product = backend.mul(a, b)
    return backend.from_mont(backend.sub(product, c[0]) if c else product)
