"""Setup of CP-Groth16: from a circuit and a trapdoor to a key (PROTOCOL section 3).

`draw_trapdoor` takes fresh randomness; `setup` is then a pure function. This is the single-party
setup: whoever keeps the trapdoor can prove anything, and no key shows whether somebody did.

Everything is computed in the exponent first, by columns:

    u_k(tau) = sum_i A_ik L_i(tau)     the transposed matrix times the Lagrange values; v, w alike
    K_k      = beta u_k + alpha v_k + w_k

and then multiplied into the groups by fixed-base multiplications; the link alone also has parts
k1 h_i, multiples of points of unknown logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from kernels.array import FrArray, FrMont, SparseMatrix
from kernels.backend import Backend
from kernels.bn254 import R
from kernels.numpy_types import BoolArray
from prover.circuit.accuracy import AccuracyCircuit
from prover.circuit.constraints import check_independence
from prover.circuit.r1cs import R1CS, Factors
from prover.errors import TrapdoorInvalid
from prover.groth16.domain import Domain
from prover.groth16.key_points import Exponents, make_queries, make_verifying, to_plain
from prover.groth16.trapdoor import Trapdoor, draw_trapdoor
from prover.keys.card import KeyCard
from prover.keys.halves import NO_FILE, ProvingKey, Quotient, VerifyingKey, Wires
from prover.keys.plain import PlainProvingKey
from prover.keys.proving_file import compute_proving_digest
from prover.keys.streamed import Keep, keep_in_memory
from prover.progress import StageProgress, silent
from prover.randomness import RandomBytes

MIN_PLAIN_ROWS = 2  # a domain of one point has no room for a quotient, and snarkjs knows none


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """Per wire, at tau: the columns of A, B, C, and K = beta u + alpha v + w. Shape [n_wires].

    folded : -sum_i w_k(x_i) h_i over the quotient's points, h of `compute_h_query`
    """

    u: FrMont
    v: FrMont
    w: FrMont
    k: FrMont
    folded: FrMont


def compute_columns(r1cs: R1CS, trapdoor: Trapdoor, backend: Backend) -> Columns:
    """The column polynomials of every wire at tau. Cost: four sparse products, one inversion."""
    domain = Domain(r1cs.domain)
    lagrange = domain.evaluate_lagrange(trapdoor.tau, backend)
    rows, c = lagrange[: r1cs.n_rows], r1cs.c.transposed()
    u, v = (backend.matvec(m.transposed(), rows) for m in (r1cs.a, r1cs.b))
    w = backend.matvec(c, rows)
    fold = backend.mul(lagrange, _compare(domain, trapdoor.tau, backend))[: r1cs.n_rows]
    mixed = backend.add(backend.scale(u, trapdoor.beta), backend.scale(v, trapdoor.alpha))
    folded = backend.scale(backend.matvec(c, fold), -pow(trapdoor.delta, -1, R))
    return Columns(u=u, v=v, w=w, k=backend.add(mixed, w), folded=folded)


def _compare(rows: Domain, tau: int, backend: Backend) -> FrMont:
    """1 - Z~(tau) / Z~(r_i) for the rows' points r_i, Z~ zero on the quotient's: shape [n].

    With it sum_j L_i(x_j) L~_j(tau) Z(tau) / Z(x_j) is L_i(tau) (1 - Z~(tau) / Z~(r_i)): both L_i
    and the interpolation of 1 / (X - r_i) at the x_j have closed forms.
    """
    points = Domain(rows.n, of_quotient=True)
    values = backend.concat([points.vanish_on(coset, backend) for coset in rows.cosets])
    ratios = backend.scale(backend.batch_inverse(values), points.vanish_at(tau))
    return backend.sub(backend.powers(1, rows.n), ratios)


def compute_h_query(n: int, trapdoor: Trapdoor, backend: Backend) -> FrMont:
    """L~_i(tau) Z(tau) / (Z(x_i) delta): the scalars of a~_i b~_i in C. Shape [n]."""
    rows, points = Domain(n), Domain(n, of_quotient=True)
    values = backend.concat([rows.vanish_on(coset, backend) for coset in points.cosets])
    lagrange = points.evaluate_lagrange(trapdoor.tau, backend)
    factor = rows.vanish_at(trapdoor.tau) * pow(trapdoor.delta, -1, R)
    return backend.scale(backend.mul(lagrange, backend.batch_inverse(values)), factor)


def compute_exponents(
    r1cs: R1CS, trapdoor: Trapdoor, backend: Backend, quotient: Quotient = Quotient.SPLIT
) -> Exponents:
    """The key in the exponent. Without advice its basis is empty and its correction zero."""
    t, columns = trapdoor, compute_columns(r1cs, trapdoor, backend)
    a_wires, b_wires = occurring_wires(r1cs.a), occurring_wires(r1cs.b)
    c_wires, c = _c_side(r1cs, columns, t, backend, quotient)
    b = _append(backend.from_mont(columns.v[b_wires]), t.beta, t.delta)
    delta_inverse = pow(t.delta, -1, R)
    advice, eta_a = FrArray.zeros(0), 0
    if r1cs.n_advice:
        eta_a = t.eta_a * delta_inverse
        advice = _divide(columns.k[r1cs.advice], t.delta_a, t.eta_a, backend)
    blinders = t.blinders
    return Exponents(
        wires={"a_wires": a_wires, "b_wires": b_wires, "c_wires": c_wires},
        points={
            "a": _append(backend.from_mont(columns.u[a_wires]), t.alpha, t.delta),
            "b1": b,
            "b2": b,
            "c": c,
            "h": backend.from_mont(compute_h_query(r1cs.domain, t, backend)),
            "advice": advice,
            "basis": _append(backend.from_mont(columns.k[r1cs.linked_wires]), *blinders),
            "correction": FrArray.from_ints(
                [t.delta, eta_a, *(eta * delta_inverse for eta in blinders)]
            ),
        },
        public=backend.from_mont(columns.k[r1cs.public]),
    )


def _divide(basis: FrMont, denominator: int, blinder: int, backend: Backend) -> FrArray:
    """(K_k | eta) / denominator: the basis of a commitment, its blinder last."""
    scale = pow(denominator, -1, R)
    return _append(backend.from_mont(backend.scale(basis, scale)), blinder * scale)


def _c_side(
    r1cs: R1CS, columns: Columns, trapdoor: Trapdoor, backend: Backend, quotient: Quotient
) -> tuple[Wires, FrArray]:
    """Wires and scalars of the C query: K_k/delta for private wires, and of a SPLIT quotient also
    the folded column of every wire of C, public and committed ones included.

    The second part is the quotient's sum over c (`prover.groth16.quotient`). It gives nothing away:
    it is a sum of multiples of the h query that everybody can compute.
    """
    is_private = np.zeros(r1cs.n_wires, dtype=np.bool_)
    is_private[r1cs.private] = True
    is_split = quotient is Quotient.SPLIT
    wires = np.flatnonzero(_occurs(r1cs.c) & is_split | is_private).astype(np.uint32)
    own = backend.scale(columns.k[wires], pow(trapdoor.delta, -1, R))
    own.data[~is_private[wires]] = 0
    if is_split:
        own = backend.add(own, columns.folded[wires])
    return wires, backend.from_mont(own)


def _append(scalars: FrArray, *last: int) -> FrArray:
    return FrArray.concat([scalars, FrArray.from_ints(last)])


def _occurs(m: SparseMatrix) -> BoolArray:
    return np.bincount(m.cols, minlength=m.n_cols) > 0


def occurring_wires(m: SparseMatrix) -> Wires:
    """The wires with an entry in the matrix, ascending."""
    return np.flatnonzero(_occurs(m)).astype(np.uint32)


def setup_accuracy(
    accuracy: AccuracyCircuit,
    *,
    random_bytes: RandomBytes,
    backend: Backend,
    progress: StageProgress | None = None,
    keep: Keep = keep_in_memory,
) -> ProvingKey:
    """A key of a compiled statement: `setup` with a trapdoor that is drawn and forgotten here.

    keep : see `setup`
    """
    return setup(
        accuracy.r1cs,
        circuit_digest=accuracy.digest,
        card_digest=KeyCard.of(accuracy).digest,
        n_challenges=accuracy.n_challenges,
        trapdoor=draw_trapdoor(random_bytes, n_linked=len(accuracy.r1cs.linked)),
        backend=backend,
        progress=progress,
        keep=keep,
    )


def setup(
    r1cs: R1CS,
    *,
    circuit_digest: bytes,
    n_challenges: int,
    trapdoor: Trapdoor,
    backend: Backend,
    card_digest: bytes = NO_FILE,
    progress: StageProgress | None = None,
    keep: Keep = keep_in_memory,
) -> ProvingKey:
    """The key of a circuit; its verifying half is `.verifying`, and names all its files.

    circuit_digest : 32 bytes, names the circuit in the verifying key
    n_challenges   : how many challenges the transcript gives between advice and private wires
    card_digest    : of the card of an accuracy circuit, which is kept beside the key
    keep           : where the bases go, of which memory may have no room for all
    Raises TrapdoorInvalid, and what `check_independence` raises for a circuit whose columns are
    dependent within the linked groups, or for public wires modulo the rest.
    cost           : about 4 G1 multiples per wire, 1 per row, 1 G2 multiple per wire of B, and for
                     each linked wire one of a point that is not fixed, about 12 us a thread
    """
    report = progress or silent
    points, queries = _make_halves(r1cs, trapdoor, backend, Quotient.SPLIT, report, keep)
    verifying = replace(
        points,
        circuit_digest=circuit_digest,
        card_digest=card_digest,
        n_challenges=n_challenges,
    )
    return pin_files(ProvingKey(verifying=verifying, **queries))


def setup_plain(
    circuit: R1CS, *, trapdoor: Trapdoor, backend: Backend, progress: StageProgress | None = None
) -> tuple[PlainProvingKey, Factors]:
    """A key of plain Groth16 with a WHOLE quotient, as snarkjs's are, and the rows it is for.

    Every wire that is not public counts as private. Cost and errors are those of `setup`.
    """
    padded = append_public_rows(circuit)
    report = progress or silent
    points, queries = _make_halves(
        padded, trapdoor, backend, Quotient.WHOLE, report, keep_in_memory
    )
    return PlainProvingKey(verifying=to_plain(points), **queries), padded


def append_public_rows(circuit: R1CS) -> R1CS:
    """The circuit and, as snarkjs does, a row for each public wire where A has its only entry, 1.

    They make the public columns independent of all others; else a proof for some public inputs
    could be turned into one for others. Empty rows follow up to the next power of two.
    """
    n_public = 1 + circuit.n_public
    n_rows = 1 << (max(circuit.n_rows + n_public, MIN_PLAIN_ROWS) - 1).bit_length()
    wires = np.arange(n_public, dtype=np.uint32)
    a = circuit.a
    extended = SparseMatrix(
        indptr=np.concatenate([a.indptr, a.nnz + 1 + wires.astype(np.int64)]),
        cols=np.concatenate([a.cols, wires]),
        coeffs=np.concatenate([a.coeffs, np.ones(n_public, dtype=np.int64)]),
        n_cols=a.n_cols,
        wide=a.wide,
    )
    return R1CS(
        n_public=circuit.n_public,
        linked=(),
        n_advice=0,
        n_private=circuit.n_wires - n_public,
        a=_pad(extended, n_rows),
        b=_pad(circuit.b, n_rows),
        c=_pad(circuit.c, n_rows),
    )


def _pad(m: SparseMatrix, n_rows: int) -> SparseMatrix:
    """The same matrix with empty rows at the end, n_rows in all."""
    empty = np.full(n_rows - m.n_rows, m.nnz, dtype=np.int64)
    return replace(m, indptr=np.concatenate([m.indptr, empty]))


def _make_halves(
    r1cs: R1CS,
    trapdoor: Trapdoor,
    backend: Backend,
    quotient: Quotient,
    report: StageProgress,
    keep: Keep,
) -> tuple[VerifyingKey, dict[str, Any]]:
    """The points of both halves; the verifying half names no circuit and no file yet."""
    check_independence(r1cs)
    trapdoor.check(r1cs.domain)
    if len(trapdoor.groups) != len(r1cs.linked):
        raise TrapdoorInvalid("groups")
    report("columns", 0, 1)
    exponents = compute_exponents(r1cs, trapdoor, backend, quotient)
    report("columns", 1, 1)
    public = partial(report, "public basis")
    verifying = make_verifying(r1cs, exponents, trapdoor, backend, public)
    queries = make_queries(
        r1cs,
        exponents,
        trapdoor,
        quotient=quotient,
        backend=backend,
        report=report,
        keep=keep,
    )
    return verifying, queries


def pin_files(key: ProvingKey) -> ProvingKey:
    """The key with a verifying half that names its own proving half."""
    verifying = replace(key.verifying, proving_digest=compute_proving_digest(key))
    return replace(key, verifying=verifying)
