"""F_r elementwise on the CPU against Python integers, on one thread and on several."""

from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from kernels.array import FrArray, FrMont
from kernels.bn254 import R
from kernels.cpu.pool import Pool
from kernels.cpu.scalars import pointwise

EDGES = [0, 1, 2, R - 1, R - 2, (R - 1) // 2, (R + 1) // 2, 1 << 253, (1 << 253) - 1]
EDGES += [v for e in (63, 64, 128, 192) for v in ((1 << e) - 1, 1 << e)]
PAIRS = [(a, b) for a in EDGES for b in EDGES]
LONG = 3 * pointwise.MIN_RANGE + 5  # so that each of three threads has a part


@pytest.fixture(params=[1, 2, 3], scope="module")
def pool(request: pytest.FixtureRequest) -> Pool:
    return Pool(request.param, grain_ns=1)


def words(values: list[int]) -> FrMont:
    """Elements whose stored words, not values, are the given ones."""
    return FrMont(FrArray.from_ints(values).data)


def field(rng: Random, n: int) -> list[int]:
    return [rng.randrange(R) for _ in range(n)]


@pytest.mark.parametrize("build", [FrMont.from_ints, words], ids=["values", "words"])
def test_ring_operations_on_edges(pool: Pool, build: Callable[[list[int]], FrMont]) -> None:
    a, b = build([x for x, _ in PAIRS]), build([y for _, y in PAIRS])
    pairs = list(zip(a.to_ints(), b.to_ints(), strict=True))
    assert pointwise.add(pool, a, b).equals(FrMont.from_ints(x + y for x, y in pairs))
    assert pointwise.sub(pool, a, b).equals(FrMont.from_ints(x - y for x, y in pairs))
    assert pointwise.mul(pool, a, b).equals(FrMont.from_ints(x * y for x, y in pairs))
    assert pointwise.dot(pool, a, b) == sum(x * y for x, y in pairs) % R


@pytest.mark.parametrize("n", [1, pointwise.MIN_RANGE, LONG])
def test_ring_operations_at_any_split(pool: Pool, n: int, rng: Random) -> None:
    x, y = field(rng, n), field(rng, n)
    a, b = FrMont.from_ints(x), FrMont.from_ints(y)
    pairs = list(zip(x, y, strict=True))
    assert pointwise.add(pool, a, b).equals(FrMont.from_ints(u + v for u, v in pairs))
    assert pointwise.sub(pool, a, b).equals(FrMont.from_ints(u - v for u, v in pairs))
    assert pointwise.mul(pool, a, b).equals(FrMont.from_ints(u * v for u, v in pairs))
    assert pointwise.dot(pool, a, b) == sum(u * v for u, v in pairs) % R


@pytest.mark.parametrize("factor", [0, 1, -1, R - 1, R, 1 << 300, -(1 << 300)])
def test_scale_takes_any_integer(pool: Pool, factor: int) -> None:
    expected = FrMont.from_ints(factor * v for v in EDGES)
    assert pointwise.scale(pool, FrMont.from_ints(EDGES), factor).equals(expected)


def test_forms(pool: Pool, rng: Random) -> None:
    for values in (EDGES, field(rng, LONG)):
        canonical, mont = FrArray.from_ints(values), FrMont.from_ints(values)
        assert pointwise.to_mont(pool, canonical).equals(mont)
        assert pointwise.from_mont(pool, mont).equals(canonical)
    assert pointwise.from_mont(pool, words(EDGES)).to_ints() == words(EDGES).to_ints()


@pytest.mark.parametrize("n", [1, 2, LONG, 3 * pointwise.INVERSION_CHUNK + 1])
def test_inverses(pool: Pool, n: int, rng: Random) -> None:
    values = [v for v in EDGES if v] + [1 + rng.randrange(R - 1) for _ in range(n)]
    a = FrMont.from_ints(values[-n:])
    inverse = pointwise.batch_inverse(pool, a)
    ones = FrMont.from_ints([1] * n)
    assert FrMont.from_ints(
        x * y for x, y in zip(a.to_ints(), inverse.to_ints(), strict=True)
    ).equals(ones)
    assert inverse.to_ints()[0] == pow(values[-n], -1, R)


def test_inverses_of_edges(pool: Pool) -> None:
    values = [v for v in EDGES if v]
    expected = FrMont.from_ints(pow(v, -1, R) for v in values)
    assert pointwise.batch_inverse(pool, FrMont.from_ints(values)).equals(expected)


CHUNK = pointwise.INVERSION_CHUNK
LAST = 2 * CHUNK + 9


@pytest.mark.parametrize(
    "zeros", [[0], [1], [CHUNK - 1], [CHUNK], [LAST], [CHUNK + 1, LAST], [0, 5, LAST]]
)
def test_the_first_zero_is_named(pool: Pool, zeros: list[int]) -> None:
    a = FrMont.from_ints([7]).data.repeat(LAST + 1, axis=0)
    a[zeros] = 0
    with pytest.raises(ZeroDivisionError, match=rf"element {zeros[0]} is zero"):
        pointwise.batch_inverse(pool, FrMont(a))
    with pytest.raises(ZeroDivisionError, match=rf"element {zeros[0]} is zero"):
        pointwise.batch_inverse(pool, FrMont(a.reshape(2, -1, 4)))


@pytest.mark.parametrize("base", [0, 1, 3, R - 1, R + 5, -2])
@pytest.mark.parametrize("n", [0, 1, 2, LONG])
def test_powers(pool: Pool, base: int, n: int) -> None:
    for first in (1, 0, -1, R + 11):
        expected, value = [], first % R
        for _ in range(n):
            expected.append(value)
            value = value * base % R
        assert pointwise.powers(pool, base, n, first).equals(FrMont.from_ints(expected))


def test_a_negative_number_of_powers_is_refused(pool: Pool) -> None:
    with pytest.raises(ValueError, match="-1"):
        pointwise.powers(pool, 2, -1)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_nothing(pool: Pool, shape: tuple[int, ...]) -> None:
    a = FrMont.zeros(*shape)
    for result in (
        pointwise.add(pool, a, a),
        pointwise.sub(pool, a, a),
        pointwise.mul(pool, a, a),
        pointwise.scale(pool, a, 3),
        pointwise.batch_inverse(pool, a),
        pointwise.to_mont(pool, FrArray(a.data)),
    ):
        assert result.equals(a)
    assert pointwise.from_mont(pool, a).equals(FrArray(a.data))
    assert pointwise.dot(pool, a, a) == 0


def test_leading_dimensions(pool: Pool, rng: Random) -> None:
    x, y = field(rng, 24), field(rng, 24)
    a, b = (FrMont(FrMont.from_ints(v).data.reshape(2, 3, 4, 4)) for v in (x, y))
    pairs = list(zip(x, y, strict=True))
    for result, expected in (
        (pointwise.add(pool, a, b), [u + v for u, v in pairs]),
        (pointwise.mul(pool, a, b), [u * v for u, v in pairs]),
        (pointwise.scale(pool, a, 5), [5 * u for u in x]),
        (pointwise.batch_inverse(pool, a), [pow(u, -1, R) for u in x]),
    ):
        assert result.shape == (2, 3, 4)
        assert result.to_ints() == [v % R for v in expected]
    assert pointwise.dot(pool, a, b) == sum(u * v for u, v in pairs) % R


def test_unequal_shapes_are_refused(pool: Pool) -> None:
    a = FrMont.from_ints([1, 2, 3, 4])
    for other in (a[:3], FrMont(a.data.reshape(2, 2, 4)), FrMont.zeros(0)):
        for operation in (pointwise.add, pointwise.sub, pointwise.mul, pointwise.dot):
            with pytest.raises(ValueError, match="shapes differ"):
                operation(pool, a, other)


def test_operands_may_be_read_only_and_stay_as_they_are(pool: Pool, rng: Random) -> None:
    a = FrMont.from_ints(field(rng, 20))
    before = a.data.copy()
    a.data.flags.writeable = False
    results = [operation(pool, a, a) for operation in (pointwise.add, pointwise.mul)]
    results += [pointwise.scale(pool, a, 3), pointwise.batch_inverse(pool, a)]
    assert all(result.data.flags.writeable for result in results)
    assert np.array_equal(a.data, before)
