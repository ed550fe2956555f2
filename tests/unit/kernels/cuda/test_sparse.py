"""Sparse products on the emulated device: segments, matrices that do not fit, matrices kept.

Values are judged by tests/conformance.
"""

from __future__ import annotations

import numpy as np
import pytest

from kernels.array import FrMont, SparseMatrix
from kernels.bn254 import R
from kernels.cuda.sparse import KEPT, SEGMENT, CudaSparse, cut_segments, plan_segments
from kernels.errors import DoesNotFit
from tests.conformance.inputs import mont, random_field
from tests.support.cuda_emulator import EmulatedDevice
from tests.support.metered_device import MeteredDevice
from tests.support.skips import or_skip

Rows = list[list[tuple[int, int]]]


def open_sparse(memory_bytes: int = 1 << 30) -> CudaSparse:
    return CudaSparse(or_skip(EmulatedDevice, memory_bytes=memory_bytes))


def build(rows: Rows, n_cols: int) -> SparseMatrix:
    entries = [entry for row in rows for entry in row]
    return SparseMatrix(
        indptr=np.cumsum([0, *map(len, rows)], dtype=np.int64),
        cols=np.array([col for col, _ in entries], dtype=np.uint32),
        coeffs=np.array([c for _, c in entries], dtype=np.int64),
        n_cols=n_cols,
        wide=FrMont.zeros(0),
    )


def product(rows: Rows, z: list[int]) -> FrMont:
    return mont([sum(c * z[col] for col, c in row) % R for row in rows])


LONG: Rows = [
    [(i % 5, (-1) ** i * (SparseMatrix.WIDE - 1)) for i in range(SEGMENT**2 + 100)],
    [],
    [(1, SparseMatrix.WIDE - 1)] * (SEGMENT + 1),
    [(4, 1 - SparseMatrix.WIDE)] * SEGMENT,
]


@pytest.mark.parametrize("lengths", [[0], [1], [64], [65], [0, 64, 0, 129, 1], [5000, 0, 3], [300_000]])  # fmt: skip  # noqa: E501
def test_segments_cover_every_entry_once(lengths: list[int]) -> None:
    indptr = np.cumsum([0, *lengths])
    levels = plan_segments(indptr)
    assert len(levels[-1]) == len(lengths) + 1
    below = int(indptr[-1])
    for starts in levels:
        sizes = np.diff(starts)
        assert starts[0] == 0
        assert starts[-1] == below
        assert sizes.min() >= 0
        assert sizes.max() <= SEGMENT
        below = len(starts) - 1
    assert set(indptr.tolist()) <= set(levels[0].tolist())  # no segment crosses a row


def test_pieces_respect_their_bound() -> None:
    starts = plan_segments(np.array([0, 10, 10, 300, 301, 301, 450]))[0]
    for most in (SEGMENT, 65, 100, 1000):
        pieces = cut_segments(starts, most)
        assert pieces[0][0] == 0
        assert pieces[-1][1] == len(starts) - 1
        assert [b for _, b in pieces[:-1]] == [a for a, _ in pieces[1:]]
        assert all(starts[b] - starts[a] <= most for a, b in pieces)


def multiply(sparse: CudaSparse, m: SparseMatrix, z: FrMont) -> FrMont:
    vector = sparse.device.asarray(z.data)
    return FrMont(sparse.device.to_host(sparse.multiply(m, vector, ((0, m.n_rows),))))


def test_extreme_sums_over_long_rows() -> None:
    z = [R - 1] * 5
    assert multiply(open_sparse(), build(LONG, 5), mont(z)).equals(product(LONG, z))


@pytest.mark.parametrize("memory_bytes", [1 << 30, 20_000], ids=["kept", "travelling"])
def test_some_rows_of_a_long_product(memory_bytes: int) -> None:
    sparse, z = open_sparse(memory_bytes), random_field(5)
    rows: Rows = [[], *LONG, [], [(0, 1)]]
    matrix, whole = build(rows, 5), product(rows, z).data
    vector = sparse.device.asarray(mont(z).data)
    for ranges in (((0, 2), (3, 7)), ((2, 3), (0, 1), (5, 6), (1, 2)), ((6, 7), (4, 4), (2, 3))):
        expected = np.concatenate([whole[first:last] for first, last in ranges])
        for _ in range(2):
            found = sparse.multiply(matrix, vector, ranges)
            assert (sparse.device.to_host(found) == expected).all()


def test_a_matrix_larger_than_the_device() -> None:
    sparse, z = open_sparse(20_000), random_field(5)
    matrix = build(LONG, 5)
    assert matrix.nnz * 12 > 20_000
    for _ in range(2):
        assert multiply(sparse, matrix, mont(z)).equals(product(LONG, z))


def test_pieces_of_a_matrix_stay_within_the_memory_that_is_free() -> None:
    open_sparse()  # or skip
    matrix, z = build([[(1, k)] * 70 for k in range(1, 60)], 5), mont(random_field(5))
    for memory in (20_000, 25_000, 40_000):
        device = MeteredDevice(memory_bytes=memory)
        sparse = CudaSparse(device)
        assert matrix.nnz * 12 > memory
        multiply(sparse, matrix, z)
        assert memory // 2 < device.peak <= memory


def test_a_vector_larger_than_the_device() -> None:
    with pytest.raises(DoesNotFit, match="sparse product") as refusal:
        multiply(open_sparse(5000), build([[(0, 1)]] * 1000, 1000), FrMont.zeros(1000))
    assert refusal.value.needed > refusal.value.granted == 5000


def test_kept_matrices_are_not_confused() -> None:
    """More matrices than are kept, each used again after the others; z changes every time."""
    sparse = open_sparse()
    all_rows: list[Rows] = [[[(0, k), (1, -k)], [(2, 1)] * k] for k in range(1, KEPT + 3)]
    matrices = [build(rows, 3) for rows in all_rows]
    for turn in range(2):
        for k, (rows, matrix) in enumerate(zip(all_rows, matrices, strict=True)):
            z = random_field(3, seed=10 * turn + k)
            assert multiply(sparse, matrix, mont(z)).equals(product(rows, z))
