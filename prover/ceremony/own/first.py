"""The first key of a circuit of ours, from powers of tau: every secret of phase 2 is one, or zero.

With L_i the Lagrange basis of the n rows, n a power of two, and L' that of 2n points,

    u_k = sum_i A_ik L_i      v_k, w_k alike           K_k = beta u_k + alpha v_k + w_k
    h_i = L'_(2i+1)           L_i Z = 2 L'_(2i) - 2 L_i, so
    w*_k = w_k Z / 2 = sum_i C_ik (L'_(2i) - L_i)      K_k + w*_k = sum_i (beta A_ik L_i
                                                                 + alpha B_ik L_i + C_ik L'_(2i))

gamma is one and stays so: K_k is a sum of powers of tau, so [K_k]_1 tells nothing that these do not
(PROTOCOL section 3). delta = delta_A = 1, k1 = k2 = 0: the bases of the link are infinity, which no
key may be. The blinders eta are hashed to the curve. No randomness: all make the same file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.array import FrArray, G1Array, G2Array, SparseMatrix
from kernels.backend import Backend
from kernels.cpu.backend import CpuBackend
from kernels.cpu.words.group import add_g1, neg_g1
from kernels.cpu.words.point_rows import PointRows
from kernels.numpy_types import BoolArray
from prover.ceremony.own.blinders import derive_blinders
from prover.ceremony.ratios import G1_GENERATOR, G2_GENERATOR
from prover.circuit.constraints import check_independence
from prover.circuit.r1cs import R1CS, choose_power
from prover.errors import CeremonyInvalid
from prover.formats.coefficients import list_rows, list_values
from prover.formats.ptau import Powers, Prepared
from prover.groth16.setup import occurring_wires
from prover.keys.halves import ARRAYS, Wires
from prover.keys.proving_file import Counts, Part
from prover.progress import StageProgress, silent


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FirstKey:
    """The arrays of the file, and [K_k]_1 of the public wires, which verifiers have.

    arrays : by name
    """

    counts: Counts
    arrays: dict[str, Any]
    public: G1Array

    def list_parts(self) -> list[Part]:
        """As `prover.keys.proving_file.list_file` takes them."""
        parts: list[Part] = []
        for array in ARRAYS:
            value = self.arrays[array.name]
            words = value.data if isinstance(value, G1Array | G2Array) else value
            parts.append((array, len(value), [words.astype(array.dtype, copy=False)]))
        return parts


def make_first(
    r1cs: R1CS,
    powers: Powers,
    prepared: Prepared,
    backend: Backend,
    progress: StageProgress = silent,
) -> FirstKey:
    """The first key, under which **anybody** can forge proofs.

    powers, prepared : tested, read `doubled`, of `choose_power` of the rows
    raises : CeremonyInvalid for a circuit without advice or linked wires, and what
             `check_independence` raises
    cost   : an addition for each coefficient +-1, a doubling for each bit of longer ones
    """
    n = choose_power(r1cs.n_rows)
    if powers.n != n or prepared.even is None:
        raise ValueError(f"powers of {powers.n} points for a circuit of {n}, or not doubled")
    if not (r1cs.n_advice and r1cs.linked):
        raise CeremonyInvalid("the circuit has no advice, or no linked wires")
    check_independence(r1cs)
    sums = _Sums(r1cs, prepared, backend)
    progress("queries", 0, 5)
    a_wires, b_wires = occurring_wires(r1cs.a), occurring_wires(r1cs.b)
    a = sums.of([(r1cs.a, 0)], a_wires, prepared.tau_1)
    progress("queries", 1, 5)
    b1 = sums.of([(r1cs.b, 0)], b_wires, prepared.tau_1)
    progress("queries", 2, 5)
    b2 = CpuBackend().sum_rows_g2(sums.gather([(r1cs.b, 0)], b_wires), prepared.tau_2)
    progress("queries", 3, 5)
    k = sums.of_committed()
    progress("queries", 4, 5)
    c_wires, c = sums.of_c_side()
    progress("queries", 5, 5)
    eta = derive_blinders(len(r1cs.linked))
    basis = G1Array.concat([k[r1cs.linked_wires], eta[1:]])
    arrays: dict[str, Any] = {
        "a_wires": a_wires,
        "b_wires": b_wires,
        "c_wires": c_wires,
        "a": G1Array.concat([a, powers.alpha_1[:1], G1_GENERATOR]),
        "b1": G1Array.concat([b1, powers.beta_1[:1], G1_GENERATOR]),
        "b2": G2Array.concat([b2, powers.beta_2, G2_GENERATOR]),
        "c": c,
        "h": prepared.odd,
        "advice": G1Array.concat([k[r1cs.advice], eta[:1]]),
        "basis": basis,
        "link": G1Array.zeros(len(basis)),
        "correction": G1Array.concat([G1_GENERATOR, eta]),
    }
    return FirstKey(
        counts=Counts(domain=n, n_wires=r1cs.n_wires, n_advice=r1cs.n_advice, linked=r1cs.linked),
        arrays=arrays,
        public=k[r1cs.public],
    )


class _Sums:
    """Sums of Lagrange points for wires, over the rows of a circuit."""

    def __init__(self, r1cs: R1CS, prepared: Prepared, backend: Backend) -> None:
        self._r1cs, self._prepared, self._backend = r1cs, prepared, backend
        self._entries = {id(m): _Entries.of(m, backend) for m in r1cs.matrices}

    def of(
        self, parts: Sequence[tuple[SparseMatrix, int]], wires: Wires, bases: G1Array
    ) -> G1Array:
        return CpuBackend().sum_rows_g1(self.gather(parts, wires), bases)

    def of_committed(self) -> G1Array:
        """K_k of the wires before the private ones."""
        r1cs, p = self._r1cs, self._prepared
        wires = np.arange(r1cs.private.start, dtype=np.uint32)
        bases = G1Array.concat([p.beta_1, p.alpha_1, p.tau_1])
        return self.of(self._side_by_side(), wires, bases)

    def of_c_side(self) -> tuple[Wires, G1Array]:
        """The C query: K_k + w*_k of private wires, w*_k of other wires of C; ascending."""
        r1cs, p = self._r1cs, self._prepared
        assert p.even is not None
        used = occurring_wires(r1cs.c)
        others = used[used < r1cs.private.start]
        private = np.arange(r1cs.private.start, r1cs.n_wires, dtype=np.uint32)
        of_others = self.of([(r1cs.c, 0)], others, add_g1(p.even, neg_g1(p.tau_1)))
        bases = G1Array.concat([p.beta_1, p.alpha_1, p.even])
        of_private = self.of(self._side_by_side(), private, bases)
        return np.concatenate([others, private]), G1Array.concat([of_others, of_private])

    def _side_by_side(self) -> list[tuple[SparseMatrix, int]]:
        n = len(self._prepared.tau_1)
        return [(m, i * n) for i, m in enumerate(self._r1cs.matrices)]

    def gather(self, parts: Sequence[tuple[SparseMatrix, int]], wires: Wires) -> PointRows:
        """The columns of these wires as rows; the rows of each matrix begin at its column."""
        is_wanted = np.zeros(self._r1cs.n_wires, dtype=np.bool_)
        is_wanted[wires] = True
        picked = [self._entries[id(m)].pick(is_wanted, first) for m, first in parts]
        of, columns, values = (np.concatenate(x) for x in zip(*picked, strict=True))
        order = np.argsort(of, kind="stable")
        counts = np.bincount(of, minlength=self._r1cs.n_wires)[wires]
        starts = np.zeros(len(wires) + 1, dtype=np.int64)
        np.cumsum(counts, out=starts[1:])
        return PointRows(starts, columns[order], FrArray(values[order]))


@dataclass(frozen=True, slots=True, eq=False)
class _Entries:
    """The entries of a matrix: wire, row and coefficient of each."""

    wires: Wires
    rows: Wires
    values: FrArray

    @classmethod
    def of(cls, m: SparseMatrix, backend: Backend) -> _Entries:
        return cls(m.cols, list_rows(m), list_values(m, backend))

    def pick(self, is_wanted: BoolArray, first: int) -> tuple[Wires, Wires, Any]:
        """Those of some wires, their rows moved up."""
        own = np.flatnonzero(is_wanted[self.wires])
        return self.wires[own], self.rows[own] + np.uint32(first), self.values.data[own]
