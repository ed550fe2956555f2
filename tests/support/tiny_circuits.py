"""Small circuits with known witnesses, and a whole toy statement, for tests of the proof system."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from random import Random

import numpy as np

from kernels.array import FrArray, FrMont, SparseMatrix
from kernels.bn254 import R
from prover.circuit.r1cs import R1CS
from prover.wire.statement import Statement
from tests.support.statements import make_statement

Row = dict[int, int]


def seeded(seed: int) -> Callable[[int], bytes]:
    """A reproducible source of bytes. For tests only: nothing about it is secret."""
    return Random(seed).randbytes


def sparse(rows: Sequence[Row], *, n_cols: int) -> SparseMatrix:
    """CSR matrix of rows {column: coefficient}; large coefficients go to the wide table."""
    cols: list[int] = []
    coeffs: list[int] = []
    wide: list[int] = []
    indptr = [0]
    for row in rows:
        for col, coeff in sorted(row.items()):
            cols.append(col)
            if abs(coeff) < SparseMatrix.WIDE:
                coeffs.append(coeff)
            else:
                coeffs.append(SparseMatrix.WIDE + len(wide))
                wide.append(coeff)
        indptr.append(len(cols))
    return SparseMatrix(
        indptr=np.array(indptr, dtype=np.int64),
        cols=np.array(cols, dtype=np.uint32),
        coeffs=np.array(coeffs, dtype=np.int64),
        n_cols=n_cols,
        wide=FrMont.from_ints(wide),
    )


def build_r1cs(
    rows: Sequence[tuple[Row, Row, Row]],
    *,
    n_public: int,
    linked: tuple[int, ...] = (),
    n_advice: int = 0,
    n_private: int,
) -> R1CS:
    n_cols = 1 + n_public + sum(linked) + n_advice + n_private
    a, b, c = (sparse([row[i] for row in rows], n_cols=n_cols) for i in range(3))
    return R1CS(
        n_public=n_public, linked=linked, n_advice=n_advice, n_private=n_private, a=a, b=b, c=c
    )


def is_satisfied(r1cs: R1CS, wires: Sequence[int]) -> bool:
    """A z o B z = C z, row by row."""

    def products(m: SparseMatrix) -> list[int]:
        wide = m.wide.to_ints()
        totals = [0] * m.n_rows
        for row in range(m.n_rows):
            for i in range(int(m.indptr[row]), int(m.indptr[row + 1])):
                c = int(m.coeffs[i])
                c = wide[c - m.WIDE] if c >= m.WIDE else c
                totals[row] += c * wires[int(m.cols[i])]
        return totals

    a, b, c = products(r1cs.a), products(r1cs.b), products(r1cs.c)
    return all((x * y - z) % R == 0 for x, y, z in zip(a, b, c, strict=True))


# -- plain Groth16: x -> x^2 + x, again and again --------------------------------------------------


def build_chain(n_steps: int) -> R1CS:
    """Public: the last value. Private: the start and the values between."""
    start, last = 2, 1
    names = [start, *range(3, 2 + n_steps), last]
    # (x)(x + 1) = next: x^2 + x in one row
    rows: list[tuple[Row, Row, Row]] = [
        ({names[i]: 1}, {names[i]: 1, 0: 1}, {names[i + 1]: 1}) for i in range(n_steps)
    ]
    rows.append(({last: 1}, {}, {}))
    return build_r1cs(rows, n_public=1, n_private=n_steps)


def solve_chain(n_steps: int, x: int) -> list[int]:
    values = [x]
    for _ in range(n_steps):
        values.append((values[-1] * values[-1] + values[-1]) % R)
    return [1, values[-1], *values[:-1]]


# -- a toy of the real statement: one linear layer over a public dataset ---------------------------


class ToyWires:
    """0 one | 1 k, 2 s, 3 P0, 4 P1 | 5 w0, 6 w1 | 7 z0, 8 z1 | 9 s*z1, 10 P0*w0, 11 P1*w1"""

    K, S, P0, P1, W0, W1, Z0, Z1, SZ1, PW0, PW1 = range(1, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyCircuit:
    """k = z_0 + z_1 for z_n = sum_k A_nk w_k over a public 2 x 2 dataset A and private bits w.

    The dataset is not in the circuit: P_k = A_0k + s A_1k are public wires, s a challenge drawn
    after w (linked) and z (advice) are committed.
    """

    dataset: tuple[tuple[int, int], tuple[int, int]] = ((3, 5), (2, 7))
    n_challenges: int = 1

    @property
    def r1cs(self) -> R1CS:
        t = ToyWires
        rows: list[tuple[Row, Row, Row]] = [
            ({t.W0: 1}, {t.W0: 1, 0: -1}, {}),  # w0 is a bit
            ({t.W1: 1}, {t.W1: 1, 0: -1}, {}),
            ({t.S: 1}, {t.Z1: 1}, {t.SZ1: 1}),
            ({t.P0: 1}, {t.W0: 1}, {t.PW0: 1}),
            ({t.P1: 1}, {t.W1: 1}, {t.PW1: 1}),
            ({}, {}, {t.Z0: 1, t.SZ1: 1, t.PW0: -1, t.PW1: -1}),
            ({}, {}, {t.K: 1, t.Z0: -1, t.Z1: -1}),
            ({t.K: 1}, {}, {}),
            ({t.S: 1}, {}, {}),
            ({t.P0: 1}, {}, {}),
            ({t.P1: 1}, {}, {}),
        ]
        return build_r1cs(rows, n_public=4, linked=(2,), n_advice=2, n_private=3)

    @property
    def digest(self) -> bytes:
        return sha256(b"toy circuit").digest()

    @property
    def dataset_digest(self) -> bytes:
        return sha256(repr(self.dataset).encode()).digest()

    def combine(self, s: int) -> tuple[int, int]:
        a, b = self.dataset
        return (a[0] + s * b[0]) % R, (a[1] + s * b[1]) % R

    def public_inputs(self, statement: Statement, challenges: list[int]) -> FrArray | None:
        """What the verifier computes; None for a statement about another dataset."""
        if statement.dataset_digest != self.dataset_digest or statement.multipliers != (1,):
            return None
        return FrArray.from_ints(
            [statement.claimed_correct, challenges[0], *self.combine(challenges[0])]
        )

    def solve_advice(self, model: Sequence[int]) -> list[int]:
        return [sum(a * w for a, w in zip(row, model, strict=True)) for row in self.dataset]

    def solve_private(
        self, public: Sequence[int], model: Sequence[int], advice: Sequence[int]
    ) -> list[int]:
        _, s, p0, p1 = public
        return [s * advice[1] % R, p0 * model[0] % R, p1 * model[1] % R]

    def statement(
        self, *, key_digest: bytes, commitments: tuple[bytes, ...], claimed: int
    ) -> Statement:
        return make_statement(
            chain_id=b"chain",
            task_id=b"task",
            round_index=3,
            commit_height=17,
            client_key=bytes(range(32)),
            verifying_key_digest=key_digest,
            shard_index=0,
            n_real=1000,
            dataset_digest=self.dataset_digest,
            multipliers=(1,),
            claimed_correct=claimed,
            commitments=commitments,
        )
