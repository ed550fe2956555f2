"""A key in snarkjs's layout for any circuit, so that snarkjs proves and verifies under our setup.

Single-party: whoever keeps the trapdoor can prove anything. The file says so by having no
contribution (`prover.formats.zkey.write_zkey`).
"""

from __future__ import annotations

import numpy as np

from kernels.array import FrMont, G1Array, G2Array, SparseMatrix
from kernels.backend import Backend
from kernels.bn254 import G1, G2, R
from prover.circuit.r1cs import R1CS
from prover.formats.elements import Groth16Key
from prover.formats.zkey import Zkey
from prover.groth16.setup import Trapdoor, compute_columns, compute_h_query
from prover.progress import StageProgress, silent

MIN_ROWS = 2  # a domain of one point has no room for a quotient, and snarkjs knows none


def setup_zkey(
    circuit: R1CS,
    trapdoor: Trapdoor,
    backend: Backend,
    *,
    progress: StageProgress | None = None,
) -> Zkey:
    """The key of a circuit; every wire that is not public counts as private.

    Raises TrapdoorInvalid for a trapdoor that gives the identity or lies on the domain.
    cost   : 4 G1 multiples and 1 G2 multiple for each wire, 1 G1 multiple for each row
    """
    report = progress or silent

    def into_g1(stage: str, scalars: FrMont) -> G1Array:
        return backend.fixed_base_g1(
            backend.from_mont(scalars),
            G1Array.from_ints([G1]),
            progress=lambda i, n: report(stage, i, n),
        )

    def into_g2(stage: str, scalars: FrMont) -> G2Array:
        return backend.fixed_base_g2(
            backend.from_mont(scalars),
            G2Array.from_ints([G2]),
            progress=lambda i, n: report(stage, i, n),
        )

    padded = _append_public_rows(circuit)
    trapdoor.check(padded.lg_n)
    columns = compute_columns(padded, trapdoor, backend)
    n_ic = 1 + circuit.n_public
    g1 = into_g1("header", FrMont.from_ints([trapdoor.alpha, trapdoor.beta, trapdoor.delta]))
    g2 = into_g2("header", FrMont.from_ints([trapdoor.beta, trapdoor.gamma, trapdoor.delta]))
    ic = backend.scale(columns.k[:n_ic], pow(trapdoor.gamma, -1, R))
    c = backend.scale(columns.k[n_ic:], pow(trapdoor.delta, -1, R))
    return Zkey(
        n_wires=circuit.n_wires,
        lg_n=padded.lg_n,
        beta1=g1[1:2],
        delta1=g1[2:3],
        verifying=Groth16Key(
            alpha1=g1[0:1],
            beta2=g2[0:1],
            gamma2=g2[1:2],
            delta2=g2[2:3],
            ic=into_g1("public inputs", ic),
        ),
        matrix_a=_pad(padded.a, 1 << padded.lg_n),
        matrix_b=_pad(padded.b, 1 << padded.lg_n),
        a=into_g1("A query", columns.u),
        b1=into_g1("B query in G1", columns.v),
        b2=into_g2("B query in G2", columns.v),
        c=into_g1("C query", c),
        h=into_g1("quotient query", compute_h_query(padded.lg_n, trapdoor, backend)),
        contributions=b"",
    )


def _append_public_rows(circuit: R1CS) -> R1CS:
    """The circuit and, as snarkjs does, a row for each public wire where A has its only entry, 1.

    They make the public columns independent of all others; else a proof for some public inputs
    could be turned into one for others.
    """
    n_rows = max(circuit.n_rows + 1 + circuit.n_public, MIN_ROWS)
    wires = np.arange(1 + circuit.n_public, dtype=np.uint32)
    a = circuit.a
    indptr = np.concatenate([a.indptr, a.nnz + 1 + wires.astype(np.int64)])
    extended = SparseMatrix(
        indptr=indptr,
        cols=np.concatenate([a.cols, wires]),
        coeffs=np.concatenate([a.coeffs, np.ones(len(wires), dtype=np.int64)]),
        n_cols=a.n_cols,
        wide=a.wide,
    )
    return R1CS(
        n_public=circuit.n_public,
        n_model=circuit.n_model,
        n_advice=circuit.n_advice,
        n_private=circuit.n_private,
        a=_pad(extended, n_rows),
        b=_pad(circuit.b, n_rows),
        c=_pad(circuit.c, n_rows),
    )


def _pad(m: SparseMatrix, n_rows: int) -> SparseMatrix:
    """The same matrix with empty rows at the end, n_rows in all."""
    empty = np.full(n_rows - m.n_rows, m.nnz, dtype=np.int64)
    return SparseMatrix(
        indptr=np.concatenate([m.indptr, empty]),
        cols=m.cols,
        coeffs=m.coeffs,
        n_cols=m.n_cols,
        wide=m.wide,
    )
