"""Setup of CP-Groth16: from a circuit and a trapdoor to a key (PROTOCOL section 3).

`draw_trapdoor` takes fresh randomness; `setup` is then a pure function. This is the single-party
setup: whoever keeps the trapdoor can prove anything, and no key shows whether somebody did.

Everything is computed in the exponent first, by columns:

    u_k(tau) = sum_i A_ik L_i(tau)     the transposed matrix times the Lagrange values; v, w alike
    K_k      = beta u_k + alpha v_k + w_k

and then multiplied into the groups by fixed-base multiplications.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from kernels.array import FrArray, FrMont, G1Array, G2Array, SparseMatrix
from kernels.backend import Backend
from kernels.bn254 import G1, G2, R, root_of_unity
from prover.circuit.accuracy import AccuracyCircuit
from prover.circuit.constraints import check_independence
from prover.circuit.r1cs import R1CS
from prover.errors import TrapdoorInvalid
from prover.groth16.quotient import coset_shift
from prover.keys.card import KeyCard
from prover.keys.halves import NO_FILE, ProvingKey, VerifyingKey
from prover.keys.opening import CommitmentKey
from prover.keys.proving_file import compute_proving_digest
from prover.progress import StageProgress, silent
from prover.randomness import RandomBytes, draw_nonzero_scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Trapdoor:
    """The setup's secret scalars, each in [1, r). Forget them: they forge proofs."""

    tau: int
    alpha: int
    beta: int
    gamma: int
    delta: int
    delta_a: int
    eta_w: int
    eta_a: int
    sigma_w: int

    def __repr__(self) -> str:
        return "Trapdoor(hidden)"

    def check(self, lg_n: int) -> None:
        """Raises TrapdoorInvalid when a trapdoor point would be the identity, or Z(tau) = 0."""
        for field in fields(self):
            if getattr(self, field.name) % R == 0:
                raise TrapdoorInvalid(field.name)
        if pow(self.tau, 2 << lg_n, R) == 1:  # tau^2n = 1: on the domain or on its coset
            raise TrapdoorInvalid("tau")


def draw_trapdoor(random_bytes: RandomBytes) -> Trapdoor:
    """Fresh scalars, independent of each other. `random_bytes` must be cryptographic."""
    return Trapdoor(**{f.name: draw_nonzero_scalar(random_bytes) for f in fields(Trapdoor)})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """Per wire, at tau: the columns of A, B, C, and K = beta u + alpha v + w. Shape [n_wires]."""

    u: FrMont
    v: FrMont
    w: FrMont
    k: FrMont


def lagrange_at(tau: int, *, lg_n: int, shift: int, backend: Backend) -> FrMont:
    """L_i(tau) of the coset shift * H, shape [n], for tau outside of it.

    L_i(X) = x_i (X^n - s^n) / (n s^n (X - x_i)),    x_i = s w^i
    """
    n = 1 << lg_n
    points = backend.powers(root_of_unity(lg_n), n, first=shift)
    differences = backend.sub(backend.powers(1, n, first=tau), points)
    shift_n = pow(shift, n, R)
    factor = (pow(tau, n, R) - shift_n) * pow(n * shift_n, -1, R)
    return backend.scale(backend.mul(points, backend.batch_inverse(differences)), factor)


def compute_columns(r1cs: R1CS, trapdoor: Trapdoor, backend: Backend) -> Columns:
    """The column polynomials of every wire at tau. Cost: three sparse products, one inversion."""
    lagrange = lagrange_at(trapdoor.tau, lg_n=r1cs.lg_n, shift=1, backend=backend)
    rows = lagrange[: r1cs.n_rows]
    u, v, w = (backend.matvec(m.transposed(), rows) for m in (r1cs.a, r1cs.b, r1cs.c))
    mixed = backend.add(backend.scale(u, trapdoor.beta), backend.scale(v, trapdoor.alpha))
    return Columns(u=u, v=v, w=w, k=backend.add(mixed, w))


def compute_h_query(lg_n: int, trapdoor: Trapdoor, backend: Backend) -> FrMont:
    """-L~_i(tau) Z(tau) / (2 delta): the scalars of a~_i b~_i in C. Shape [n]."""
    lagrange = lagrange_at(trapdoor.tau, lg_n=lg_n, shift=coset_shift(lg_n), backend=backend)
    return backend.scale(lagrange, -_half_z_over_delta(lg_n, trapdoor))


def _half_z_over_delta(lg_n: int, trapdoor: Trapdoor) -> int:
    z = pow(trapdoor.tau, 1 << lg_n, R) - 1
    return z * pow(2 * trapdoor.delta, -1, R) % R


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exponents:
    """Discrete logarithms of every point of `ProvingKey` and of the public basis, in its order."""

    a_wires: npt.NDArray[np.uint32]
    b_wires: npt.NDArray[np.uint32]
    c_wires: npt.NDArray[np.uint32]
    a: FrArray
    b: FrArray
    c: FrArray
    h: FrArray
    model: FrArray
    model_pok: FrArray
    advice: FrArray
    correction: FrArray
    public: FrArray


def compute_exponents(r1cs: R1CS, trapdoor: Trapdoor, backend: Backend) -> Exponents:
    """The key in the exponent. An absent group has an empty basis and zeros in `correction`."""
    t, columns = trapdoor, compute_columns(r1cs, trapdoor, backend)
    a_wires, b_wires = occurring_wires(r1cs.a), occurring_wires(r1cs.b)
    c_wires, c = _c_side(r1cs, columns, t, backend)
    delta_inverse = pow(t.delta, -1, R)
    model, model_pok, advice = FrArray.zeros(0), FrArray.zeros(0), FrArray.zeros(0)
    eta_w, eta_a = 0, 0
    if r1cs.n_model:
        basis, eta_w = columns.k[r1cs.model], t.eta_w * delta_inverse
        model = _group(basis, t.gamma, t.eta_w, 1, backend)
        model_pok = _group(basis, t.gamma, t.eta_w, t.sigma_w, backend)
    if r1cs.n_advice:
        eta_a = t.eta_a * delta_inverse
        advice = _group(columns.k[r1cs.advice], t.delta_a, t.eta_a, 1, backend)
    return Exponents(
        a_wires=a_wires,
        b_wires=b_wires,
        c_wires=c_wires,
        a=_append(backend.from_mont(_take(columns.u, a_wires)), t.alpha, t.delta),
        b=_append(backend.from_mont(_take(columns.v, b_wires)), t.beta, t.delta),
        c=c,
        h=backend.from_mont(compute_h_query(r1cs.lg_n, t, backend)),
        model=model,
        model_pok=model_pok,
        advice=advice,
        correction=FrArray.from_ints([t.delta, eta_w, eta_a]),
        public=backend.from_mont(backend.scale(columns.k[r1cs.public], pow(t.gamma, -1, R))),
    )


def _group(basis: FrMont, denominator: int, blinder: int, factor: int, backend: Backend) -> FrArray:
    """factor * (K_k | eta) / denominator: the basis of a commitment, its blinder last."""
    scale = factor * pow(denominator, -1, R)
    return _append(backend.from_mont(backend.scale(basis, scale)), blinder * scale)


def _c_side(
    r1cs: R1CS, columns: Columns, trapdoor: Trapdoor, backend: Backend
) -> tuple[npt.NDArray[np.uint32], FrArray]:
    """Wires and scalars of the C query: w_k Z/(2 delta), and for private wires also K_k/delta.

    The first part is the quotient's sum over c (`prover.groth16.quotient`), so it covers every wire
    of C, public and committed ones included. It gives nothing away: w_k Z/(2 delta) lies in the
    span of the h query, the w_k being polynomials of degree below n.
    """
    is_private = np.zeros(r1cs.n_wires, dtype=np.bool_)
    is_private[r1cs.private] = True
    wires = np.flatnonzero(_occurs(r1cs.c) | is_private).astype(np.uint32)
    folded = backend.scale(_take(columns.w, wires), _half_z_over_delta(r1cs.lg_n, trapdoor))
    own = backend.scale(_take(columns.k, wires), pow(trapdoor.delta, -1, R))
    own.data[~is_private[wires]] = 0
    return wires, backend.from_mont(backend.add(own, folded))


def _take(column: FrMont, wires: npt.NDArray[np.uint32]) -> FrMont:
    return FrMont(column.data[wires])


def _append(scalars: FrArray, *last: int) -> FrArray:
    return FrArray.concat([scalars, FrArray.from_ints(last)])


def _occurs(m: SparseMatrix) -> npt.NDArray[np.bool_]:
    return np.bincount(m.cols, minlength=m.n_cols) > 0


def occurring_wires(m: SparseMatrix) -> npt.NDArray[np.uint32]:
    """The wires with an entry in the matrix, ascending."""
    return np.flatnonzero(_occurs(m)).astype(np.uint32)


def setup_accuracy(
    accuracy: AccuracyCircuit,
    *,
    random_bytes: RandomBytes,
    backend: Backend,
    progress: StageProgress | None = None,
) -> ProvingKey:
    """A key of a compiled statement: `setup` with a trapdoor that is drawn and forgotten here."""
    return setup(
        accuracy.r1cs,
        circuit_digest=accuracy.digest,
        card_digest=KeyCard.of(accuracy).digest,
        n_challenges=accuracy.n_challenges,
        trapdoor=draw_trapdoor(random_bytes),
        backend=backend,
        progress=progress,
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
) -> ProvingKey:
    """The key of a circuit; its verifying half is `.verifying`.

    circuit_digest : 32 bytes, names the circuit in the verifying key
    n_challenges   : how many challenges the transcript gives between advice and private wires
    card_digest    : of the card of an accuracy circuit, which is kept beside the key
    Raises TrapdoorInvalid, and what `check_independence` raises for a circuit whose columns are
    dependent within the model group, or for public wires modulo the rest.
    cost           : about 4 G1 multiples per wire, 1 per row, 1 G2 multiple per wire of B
    """
    check_independence(r1cs)
    trapdoor.check(r1cs.lg_n)
    report = progress or silent
    report("columns", 0, 1)
    e = compute_exponents(r1cs, trapdoor, backend)
    report("columns", 1, 1)
    g1, g2 = G1Array.from_ints([G1]), G2Array.from_ints([G2])

    def multiply(stage: str, scalars: FrArray) -> G1Array:
        return backend.fixed_base_g1(
            scalars, g1, progress=lambda done, total: report(stage, done, total)
        )

    key = ProvingKey(
        verifying=_verifying_half(
            r1cs,
            trapdoor,
            backend,
            public=multiply("public basis", e.public),
            circuit_digest=circuit_digest,
            card_digest=card_digest,
            n_challenges=n_challenges,
        ),
        lg_n=r1cs.lg_n,
        n_wires=r1cs.n_wires,
        n_model=r1cs.n_model,
        n_advice=r1cs.n_advice,
        a_wires=e.a_wires,
        b_wires=e.b_wires,
        c_wires=e.c_wires,
        a=multiply("A query", e.a),
        b1=multiply("B query in G1", e.b),
        b2=backend.fixed_base_g2(
            e.b, g2, progress=lambda done, total: report("B query in G2", done, total)
        ),
        c=multiply("C query", e.c),
        h=multiply("quotient query", e.h),
        model=multiply("model basis", e.model),
        model_pok=multiply("model basis times sigma", e.model_pok),
        advice=multiply("advice basis", e.advice),
        correction=multiply("corrections", e.correction),
    )
    return pin_files(key)


def pin_files(key: ProvingKey) -> ProvingKey:
    """The key with a verifying half that names its own proving half and commitment key."""
    verifying = replace(
        key.verifying,
        proving_digest=compute_proving_digest(key),
        commitment_digest=CommitmentKey.of(key).digest if key.n_model else NO_FILE,
    )
    return replace(key, verifying=verifying)


def _verifying_half(
    r1cs: R1CS,
    trapdoor: Trapdoor,
    backend: Backend,
    *,
    public: G1Array,
    circuit_digest: bytes,
    card_digest: bytes,
    n_challenges: int,
) -> VerifyingKey:
    """The verifying half, the digests of its other files still to be filled in."""
    t = trapdoor
    delta_a = t.delta_a if r1cs.n_advice else 0
    sigma_w = t.sigma_w if r1cs.n_model else 0
    g2 = backend.fixed_base_g2(
        FrArray.from_ints([t.beta, t.gamma, t.delta, delta_a, sigma_w]), G2Array.from_ints([G2])
    )
    return VerifyingKey(
        circuit_digest=circuit_digest,
        card_digest=card_digest,
        proving_digest=NO_FILE,
        commitment_digest=NO_FILE,
        n_challenges=n_challenges,
        alpha=backend.fixed_base_g1(FrArray.from_ints([t.alpha]), G1Array.from_ints([G1])),
        public=public,
        beta=g2[0:1],
        gamma=g2[1:2],
        delta=g2[2:3],
        delta_a=g2[3:4],
        sigma_w=g2[4:5],
    )
