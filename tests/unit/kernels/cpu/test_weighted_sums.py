"""Weighted sums mod r against Python's integers, up to what lanes can hold."""

from random import Random

import numpy as np
import pytest

from kernels.array import FrArray
from kernels.bn254 import R
from kernels.cpu.words import weighted_sums
from kernels.cpu.words.weighted_sums import compute_powers, gather_sums, sum_bytes, sum_scaled
from kernels.errors import ShapeError

EDGES = [0, 1, 2, R - 1, R - 2, (1 << 64) - 1, 1 << 64, 1 << 253, (1 << 128) - 1, R >> 1]


def draw(rng: Random, n: int) -> list[int]:
    return [rng.choice(EDGES) if rng.random() < 0.5 else rng.randrange(R) for _ in range(n)]


@pytest.mark.parametrize("base", EDGES)
def test_powers(base: int) -> None:
    for n in (0, 1, 2, 5):
        assert compute_powers(base, n).to_ints() == [pow(base, i, R) for i in range(n)]


@pytest.mark.parametrize("n_vectors", [1, 2, 7])
@pytest.mark.parametrize("n", [0, 1, 12])
def test_scaled(n: int, n_vectors: int, rng: Random) -> None:
    vectors = [draw(rng, n) for _ in range(n_vectors)]
    scales = draw(rng, n_vectors)
    expected = [sum(t * v[k] for t, v in zip(scales, vectors, strict=True)) % R for k in range(n)]
    assert sum_scaled([FrArray.from_ints(v) for v in vectors], scales).to_ints() == expected


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 8, 1030])
@pytest.mark.parametrize("d", [0, 1, 7, 127, 128, 129, 300])
def test_bytes(n: int, d: int, rng: Random) -> None:
    """Around the rows and columns that are taken at a time; half of all bytes at their greatest."""
    rows = np.random.default_rng(n).integers(0, 256, (n, d), dtype=np.uint8)
    rows[:, : d // 2] = 255
    weights = draw(rng, n)
    sums = [0] * d
    for weight, row in zip(weights, rows.tolist(), strict=True):
        sums = [total + weight * x for total, x in zip(sums, row, strict=True)]
    assert sum_bytes(rows, FrArray.from_ints(weights)).to_ints() == [x % R for x in sums]


def test_bytes_of_any_layout() -> None:
    """Slices are no longer in C order, and what is digested cannot be written to."""
    rows = np.arange(48, dtype=np.uint8).reshape(6, 8)
    rows.flags.writeable = False
    weights = FrArray.from_ints([R - 1, 5, 1 << 200])
    weights.data.flags.writeable = False
    part = rows[::2, 1:7:2]
    expected = sum_bytes(part.copy(), FrArray.from_ints([R - 1, 5, 1 << 200]))
    assert sum_bytes(part, weights).equals(expected)


def test_lanes_hold_the_most_rows() -> None:
    """The greatest limbs and bytes, as many rows as there may be: the sum fits a signed lane."""
    assert ((1 << 32) - 1) * 255 * weighted_sums.MAX_ROWS < 1 << 62
    few = np.full((1 << 16, 1), 255, dtype=np.uint8)
    weights = FrArray(np.full((1 << 16, 4), (1 << 64) - 1, dtype=np.uint64))  # beyond r: on purpose
    expected = 255 * ((1 << 256) - 1) * (1 << 16) % R
    assert sum_bytes(few, weights).to_ints() == [expected]
    rows = np.broadcast_to(np.uint8(0), (weighted_sums.MAX_ROWS + 1, 1))
    with pytest.raises(ShapeError, match="sum_bytes"):
        sum_bytes(rows, FrArray.zeros(len(rows)))


@pytest.mark.parametrize("n_inner", [1, 4])
@pytest.mark.parametrize("shape", [(3, 2, 5), (1, 1, 1), (2, 0, 3), (2, 3, 0)])
def test_gathered(shape: tuple[int, int, int], n_inner: int, rng: Random) -> None:
    n_outer, n_sums, n_terms = shape
    n = 6
    values = draw(rng, n_outer * n * n_inner)
    index = np.array(
        [[rng.choice((0, n - 1, rng.randrange(n))) for _ in range(n_terms)] for _ in range(n_sums)],
        dtype=np.int64,
    ).reshape(n_sums, n_terms)
    weights = draw(rng, n_terms)
    array = FrArray(FrArray.from_ints(values).data.reshape(n_outer, n, n_inner, 4))
    found = gather_sums(array, index, FrArray.from_ints(weights))
    assert found.shape == (n_outer, n_sums, n_inner)
    expected = [
        sum(
            w * values[(a * n + at) * n_inner + b]
            for w, at in zip(weights, index[r].tolist(), strict=True)
        )
        % R
        for a in range(n_outer)
        for r in range(n_sums)
        for b in range(n_inner)
    ]
    assert FrArray(found.data.reshape(-1, 4)).to_ints() == expected


def test_gathering_in_any_layout() -> None:
    values = FrArray.from_ints(range(8))
    values = FrArray(values.data.reshape(1, 8, 1, 4))
    index = np.arange(12, dtype=np.int64).reshape(2, 6)[:, ::3] % 8
    found = gather_sums(values, index, FrArray.from_ints([10, 100]))
    assert found.data[0, :, 0, 0].tolist() == [0 * 10 + 3 * 100, 6 * 10 + 1 * 100]


def test_what_does_not_fit_is_refused() -> None:
    two, three = FrArray.from_ints([1, 2]), FrArray.from_ints([1, 2, 3])
    cube = FrArray.zeros(1, 2, 1)
    inside, outside = np.array([[0, 1]]), np.array([[0, 2]])
    for call in (
        lambda: sum_scaled([], []),
        lambda: sum_scaled([two, three], [1, 1]),
        lambda: sum_scaled([two], [1, 1]),
        lambda: sum_scaled([cube], [1]),
        lambda: sum_bytes(np.zeros((3, 2), dtype=np.uint8), two),
        lambda: sum_bytes(np.zeros(2, dtype=np.uint8), two),
        lambda: gather_sums(two, inside, two),
        lambda: gather_sums(cube, inside, three),
        lambda: gather_sums(cube, inside[0], two),
        lambda: gather_sums(cube, outside, two),
        lambda: gather_sums(cube, inside - 1, two),
    ):
        with pytest.raises(ShapeError):
            call()
