"""Proving and verifying with foreign Groth16 keys.

    A = alpha + sum z_k A_k + a delta               B = beta + sum z_k B_k + b delta, in G1 and G2
    C = sum_private z_k C_k + sum_i (a~_i b~_i - c~_i) H_i + b A + a B - a b delta
    e(A, B) = e(alpha, beta) e(sum_public z_k IC_k, gamma) e(C, delta)

a~, b~, c~ are A z, B z and their product row by row, moved from H to its odd coset. The key has no
matrix C, so C z is taken to be what a satisfied circuit makes it; a witness that satisfies no
circuit of this key gives a proof that does not verify, and is not returned.

Source: Groth16 (eprint 2016/260); snarkjs 0.7.6, src/groth16_prove.js and groth16_verify.js.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kernels.array import FrArray, FrMont, G1Array, G2Array, SparseMatrix
from kernels.backend import Backend, FixedG1, FixedG2
from kernels.cpu.words.group import neg_g1
from kernels.cpu.words.small_msm import small_msm_g1
from kernels.pairing import pairing_product_is_one
from prover.errors import KeyMismatch, SelfCheckFailed
from prover.formats.elements import Groth16Key, Groth16Proof, is_infinity
from prover.formats.zkey import Zkey
from prover.groth16.quotient import coset_shift
from prover.progress import StageProgress, silent
from prover.randomness import RandomBytes, draw_scalar
from prover.wire.verdict import Verdict

Wires = npt.NDArray[np.intp]

_OF_ONE_CIRCUIT = "use the .zkey and the .wtns of one circuit"
_SOLVE_AGAIN = (
    "the witness most likely solves another circuit than this key's, or none: make it again "
    "(`snarkjs wtns calculate`), compare it with the circuit (`snarkjs wtns check`), or prove "
    "again on another device"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _QueryG1:
    """Bases in G1 of the wires that have one, then constant terms."""

    wires: Wires
    bases: FixedG1


@dataclass(frozen=True, slots=True, kw_only=True)
class _QueryG2:
    wires: Wires
    bases: FixedG2


class ForeignProver:
    """A foreign key prepared on a backend, for many proofs.

    Wires whose base is infinity take no part: circom circuits have many on the B side.
    """

    def __init__(self, key: Zkey, backend: Backend, *, max_bytes: int | None = None) -> None:
        """max_bytes : for each query, how much precomputation may take (default: none)"""
        self._backend, self._max_bytes = backend, max_bytes
        self.verifying: Groth16Key = key.verifying
        self.n_wires = key.n_wires
        self._lg_n = key.lg_n
        self._matrix_a: SparseMatrix = key.matrix_a
        self._matrix_b: SparseMatrix = key.matrix_b
        self._delta1 = key.delta1
        self._a = self._fix_g1(key.a, [key.verifying.alpha1, key.delta1])
        self._b1 = self._fix_g1(key.b1, [key.beta1, key.delta1])
        self._b2 = self._fix_g2(key.b2, [key.verifying.beta2, key.verifying.delta2])
        self._c = self._fix_g1(key.c, [], first_wire=1 + key.n_public)
        self._h = backend.fix_g1(key.h, max_bytes=max_bytes)

    def prove(
        self,
        witness: FrArray,
        random_bytes: RandomBytes,
        *,
        progress: StageProgress | None = None,
    ) -> Groth16Proof:
        """A proof for all wires of the circuit, [n_wires], verified before it is returned.

        random_bytes : cryptographic; zero knowledge rests on it
        raises       : KeyMismatch for a witness of another circuit; SelfCheckFailed when the proof
                       does not verify, which is what a wrong witness leads to
        cost         : two sparse products, six transforms, four MSMs in G1 and one in G2
        """
        if witness.shape != (self.n_wires,):
            raise KeyMismatch(
                f"a witness of shape {list(witness.shape)} for {self.n_wires} wires",
                next_step=_OF_ONE_CIRCUIT,
            )
        if witness.data[0].tolist() != [1, 0, 0, 0]:
            raise KeyMismatch(
                "wire 0 of the witness is not the constant one", next_step=_OF_ONE_CIRCUIT
            )
        proof = self._compute(witness, random_bytes, progress or silent)
        public = witness[1 : 1 + self.verifying.n_public]
        verdict = verify_foreign(self.verifying, public, proof)
        if verdict is not Verdict.VALID:
            raise SelfCheckFailed(verdict.value, next_step=_SOLVE_AGAIN)
        return proof

    def _compute(
        self, witness: FrArray, random_bytes: RandomBytes, report: StageProgress
    ) -> Groth16Proof:
        backend = self._backend
        h_scalars = self._compute_h_scalars(witness, report)
        a, b = draw_scalar(random_bytes), draw_scalar(random_bytes)
        point_a = backend.msm_g1(
            _gather(witness, self._a.wires, 1, a),
            self._a.bases,
            progress=lambda i, n: report("A", i, n),
        )
        point_b1 = backend.msm_g1(
            _gather(witness, self._b1.wires, 1, b),
            self._b1.bases,
            progress=lambda i, n: report("B in G1", i, n),
        )
        point_b2 = backend.msm_g2(
            _gather(witness, self._b2.wires, 1, b),
            self._b2.bases,
            progress=lambda i, n: report("B in G2", i, n),
        )
        own = backend.msm_g1(
            _gather(witness, self._c.wires),
            self._c.bases,
            progress=lambda i, n: report("C", i, n),
        )
        quotient = backend.msm_g1(
            h_scalars, self._h, progress=lambda i, n: report("C quotient", i, n)
        )
        point_c = backend.msm_g1(
            FrArray.from_ints([1, 1, b, a, -a * b]),
            G1Array.concat([own, quotient, point_a, point_b1, self._delta1]),
        )
        return Groth16Proof(a=point_a, b=point_b2, c=point_c)

    def _compute_h_scalars(self, witness: FrArray, report: StageProgress) -> FrArray:
        """a~ o b~ - c~ on the odd coset: [n]."""
        backend = self._backend
        report("products", 0, 2)
        z = backend.to_mont(witness)
        rows = FrMont.zeros(3, 1 << self._lg_n)
        rows.data[0] = backend.matvec(self._matrix_a, z).data
        report("products", 1, 2)
        rows.data[1] = backend.matvec(self._matrix_b, z).data
        report("products", 2, 2)
        rows.data[2] = backend.mul(FrMont(rows.data[0]), FrMont(rows.data[1])).data
        coefficients = backend.ntt(
            rows, inverse=True, progress=lambda i, n: report("transforms", i, 2 * n)
        )
        moved = backend.ntt(
            coefficients,
            shift=coset_shift(self._lg_n),
            progress=lambda i, n: report("transforms", n + i, 2 * n),
        )
        a, b, c = (FrMont(row) for row in moved.data)
        return backend.from_mont(backend.sub(backend.mul(a, b), c))

    def _fix_g1(
        self, points: G1Array, constants: list[G1Array], *, first_wire: int = 0
    ) -> _QueryG1:
        finite = np.flatnonzero(~is_infinity(points))
        bases = G1Array.concat([points[finite], *constants])
        return _QueryG1(
            wires=first_wire + finite,
            bases=self._backend.fix_g1(bases, max_bytes=self._max_bytes),
        )

    def _fix_g2(self, points: G2Array, constants: list[G2Array]) -> _QueryG2:
        finite = np.flatnonzero(~is_infinity(points))
        bases = G2Array.concat([points[finite], *constants])
        return _QueryG2(wires=finite, bases=self._backend.fix_g2(bases, max_bytes=self._max_bytes))


def prove_foreign(
    key: Zkey,
    witness: FrArray,
    random_bytes: RandomBytes,
    backend: Backend,
    *,
    progress: StageProgress | None = None,
) -> Groth16Proof:
    """One proof; see `ForeignProver.prove`. For many, keep a `ForeignProver`."""
    return ForeignProver(key, backend).prove(witness, random_bytes, progress=progress)


def verify_foreign(key: Groth16Key, public: FrArray, proof: Groth16Proof) -> Verdict:
    """VALID, WRONG_STATEMENT (another number of public inputs), or PAIRING_FAILED.

    The arguments come from the readers of this package, which refuse points outside their groups
    and scalars that are not canonical. It runs on any CPU, whatever device proved.
    """
    if public.shape != (key.n_public,):
        return Verdict.WRONG_STATEMENT
    statement = small_msm_g1(FrArray.concat([FrArray.from_ints([1]), public]), key.ic)
    g1 = G1Array.concat([neg_g1(proof.a), key.alpha1, statement, proof.c])
    g2 = G2Array.concat([proof.b, key.beta2, key.gamma2, key.delta2])
    return Verdict.VALID if pairing_product_is_one(g1, g2) else Verdict.PAIRING_FAILED


def _gather(witness: FrArray, wires: Wires, *constants: int) -> FrArray:
    """The scalars of a query: its wires' values, then its constant terms."""
    return FrArray.concat([FrArray(witness.data[wires]), FrArray.from_ints(constants)])
