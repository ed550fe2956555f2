"""F_r, elementwise: every operation on every pair of edges, and its errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.array import FrArray, FrMont
from kernels.backend import Backend
from kernels.bn254 import R
from tests.conformance.inputs import EDGES, PROPERTY, mont, random_field

PAIRS = [(a, b) for a in EDGES for b in EDGES]
LEFT, RIGHT = [a for a, _ in PAIRS], [b for _, b in PAIRS]
LENGTHS = [0, 1, 2, 7, 8, 9, 63, 64, 65]


def test_it_says_what_it_uses(backend: Backend) -> None:
    info = backend.info()
    assert info.name
    assert info.lanes
    assert info.n_threads >= 1


@pytest.mark.parametrize("n", LENGTHS)
def test_forms_at_every_remainder_of_a_vector(backend: Backend, n: int) -> None:
    values = random_field(n)
    assert backend.to_mont(FrArray.from_ints(values)).equals(mont(values))
    assert backend.from_mont(mont(values)).equals(FrArray.from_ints(values))


def test_forms_of_edges(backend: Backend) -> None:
    assert backend.to_mont(FrArray.from_ints(EDGES)).equals(mont(EDGES))
    assert backend.from_mont(mont(EDGES)).equals(FrArray.from_ints(EDGES))
    # the edges as Montgomery words: x = edge / 2^256
    edges_as_words = FrMont(FrArray.from_ints(EDGES).data)
    assert backend.from_mont(edges_as_words).equals(FrArray.from_ints(edges_as_words.to_ints()))


@pytest.mark.parametrize("as_words", [False, True], ids=["values", "montgomery words"])
def test_ring_operations_on_all_pairs_of_edges(backend: Backend, as_words: bool) -> None:
    a, b = mont(LEFT), mont(RIGHT)
    if as_words:
        a, b = FrMont(FrArray.from_ints(LEFT).data), FrMont(FrArray.from_ints(RIGHT).data)
    pairs = list(zip(a.to_ints(), b.to_ints(), strict=True))
    assert backend.add(a, b).equals(mont([x + y for x, y in pairs]))
    assert backend.sub(a, b).equals(mont([x - y for x, y in pairs]))
    assert backend.mul(a, b).equals(mont([x * y for x, y in pairs]))
    assert backend.dot(a, b) == sum(x * y for x, y in pairs) % R


@pytest.mark.parametrize("n", LENGTHS)
def test_ring_operations_at_every_remainder_of_a_vector(backend: Backend, n: int) -> None:
    x, y = random_field(n, 1), random_field(n, 2)
    a, b = mont(x), mont(y)
    assert backend.add(a, b).equals(mont([u + v for u, v in zip(x, y, strict=True)]))
    assert backend.sub(a, b).equals(mont([u - v for u, v in zip(x, y, strict=True)]))
    assert backend.mul(a, b).equals(mont([u * v for u, v in zip(x, y, strict=True)]))
    assert backend.dot(a, b) == sum(u * v for u, v in zip(x, y, strict=True)) % R
    assert backend.scale(a, 3).equals(mont([3 * u for u in x]))
    assert backend.batch_inverse(a).equals(mont([pow(u, -1, R) for u in x]))


@pytest.mark.parametrize("factor", [0, 1, -1, 2, R - 1, R, R + 1, 1 << 300, -(1 << 300)])
def test_scale_takes_any_integer(backend: Backend, factor: int) -> None:
    assert backend.scale(mont(EDGES), factor).equals(mont([factor * v for v in EDGES]))


def test_batches_keep_their_shape(backend: Backend) -> None:
    x, y = random_field(12, 1), random_field(12, 2)
    a, b = mont(x, 3, 4), mont(y, 3, 4)
    assert backend.add(a, b).equals(mont([u + v for u, v in zip(x, y, strict=True)], 3, 4))
    assert backend.mul(a, b).equals(mont([u * v for u, v in zip(x, y, strict=True)], 3, 4))
    assert backend.scale(a, 5).equals(mont([5 * u for u in x], 3, 4))
    assert backend.from_mont(a).shape == (3, 4)
    assert backend.to_mont(backend.from_mont(a)).equals(a)


def test_inverses_of_edges(backend: Backend) -> None:
    values = [v for v in EDGES if v]
    assert backend.batch_inverse(mont(values)).equals(mont([pow(v, -1, R) for v in values]))


@pytest.mark.parametrize("n", [1, 2, 9, 70])
def test_inverse_of_zero_names_the_first_index(backend: Backend, n: int) -> None:
    for first in {0, n // 2, n - 1}:
        values = [v or 1 for v in random_field(n)]
        values[first] = values[-1] = 0
        with pytest.raises(ZeroDivisionError, match=rf"\b{first}\b"):
            backend.batch_inverse(mont(values))


@pytest.mark.parametrize("n", [0, 1, 2, 9, 65])
@pytest.mark.parametrize("base", [0, 1, 2, R - 1, R + 3, EDGES[20]])
def test_powers(backend: Backend, base: int, n: int) -> None:
    assert backend.powers(base, n).equals(mont([pow(base, i, R) for i in range(n)]))
    for first in (0, 7, R - 1):
        expected = mont([first * pow(base, i, R) for i in range(n)])
        assert backend.powers(base, n, first=first).equals(expected)


@pytest.mark.parametrize(
    ("m", "n"),
    [(1, 1), (2, 1), (5, 2), (8, 8), (9, 8), (300, 1), (300, 299), (1100, 512), (900, 7)],
)
@pytest.mark.parametrize("level", [0, 1, -1, R - 2, EDGES[20]])
def test_a_fold_has_the_values_at_the_roots_of_its_modulus(
    backend: Backend, m: int, n: int, level: int
) -> None:
    """By its definition; and a(X) - fold(X) is X^n - level times what division leaves."""
    x = random_field(m)
    folded = backend.fold(mont(x), n, level)
    expected = [sum(v * pow(level, q, R) for q, v in enumerate(x[i::n])) for i in range(n)]
    assert folded.equals(mont(expected))
    left = list(x)
    for i in reversed(range(n, m)):
        left[i - n] = (left[i - n] + level * left[i]) % R
    assert folded.equals(mont(left[:n]))


@pytest.mark.parametrize(("shape", "n"), [((3,), 0), ((3,), 4), ((2, 4), 2), ((0,), 1)])
def test_what_does_not_fold_is_refused(backend: Backend, shape: tuple[int, ...], n: int) -> None:
    with pytest.raises(ValueError, match="do not fold"):
        backend.fold(FrMont.zeros(*shape), n, 1)


def test_unequal_shapes_are_refused(backend: Backend) -> None:
    for a, b in [(mont([1, 2]), mont([1])), (mont([1, 2, 3, 4]), mont([1, 2, 3, 4], 2, 2))]:
        for operation in (backend.add, backend.sub, backend.mul, backend.dot):
            with pytest.raises(ValueError, match=r"\d"):
                operation(a, b)


def test_inputs_are_left_alone(backend: Backend) -> None:
    a, b = mont(random_field(20, 1)), mont(random_field(20, 2))
    canonical = FrArray.from_ints(random_field(20, 3))
    before = [v.data.copy() for v in (a, b, canonical)]
    backend.add(a, b), backend.sub(a, b), backend.mul(a, b), backend.dot(a, b)
    backend.scale(a, 3), backend.batch_inverse(a), backend.fold(a, 7, 3)
    backend.from_mont(a), backend.to_mont(canonical)
    for now, then in zip((a, b, canonical), before, strict=True):
        assert (now.data == then).all()


values = st.lists(st.one_of(st.sampled_from(EDGES), st.integers(0, R - 1)), min_size=1, max_size=70)


@PROPERTY
@given(st.data())
def test_ring_laws(backend: Backend, data: st.DataObject) -> None:
    x = data.draw(values)
    y = data.draw(st.lists(st.integers(0, R - 1), min_size=len(x), max_size=len(x)))
    a, b = mont(x), mont(y)
    assert backend.sub(backend.add(a, b), b).equals(a)
    assert backend.mul(a, b).equals(mont([u * v for u, v in zip(x, y, strict=True)]))
    assert backend.mul(a, b).equals(backend.mul(b, a))
    both = backend.mul(a, backend.add(a, b))
    assert both.equals(backend.add(backend.mul(a, a), backend.mul(a, b)))
    nonzero = mont([v or 1 for v in x])
    assert backend.mul(nonzero, backend.batch_inverse(nonzero)).equals(mont([1] * len(x)))


@pytest.mark.parametrize("n", [1, 33, 200])
def test_zeros_of_several_inversions_are_found_together(backend: Backend, n: int) -> None:
    values = random_field(n, seed=n) or [1]
    good = mont([v or 1 for v in values])
    for zeros in ([], [(1, 0)], [(0, n - 1), (1, 0)], [(2, n // 2), (2, n - 1)]):
        given = [good.data.copy() for _ in range(3)]
        for which, at in zeros:
            given[which][at] = 0
        for place in (backend.upload, lambda a: a):
            inverses = backend.inverses(3)
            found = [inverses.invert(place(FrMont(a))) for a in given]
            assert inverses.find_zero() == (zeros[0] if zeros else None)
            for k, result in enumerate(found):
                if k not in dict(zeros):
                    assert backend.download(result).equals(backend.batch_inverse(good))
    assert backend.inverses(0).find_zero() is None
    assert len(backend.inverses(1).invert(backend.upload(FrMont.zeros(0)))) == 0
