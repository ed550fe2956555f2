"""Scalars on the host or where the backend computes: the same results, and they stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest

from kernels.array import FrArray, FrMont, G1Array, G2Array
from kernels.backend import Backend
from kernels.bn254 import G1, G2, GENERATOR, R
from kernels.errors import ShapeError
from kernels.integers import HOST, MAX_SMALL, IntegerRows, Rounding, to_scalars
from kernels.planes import Sliding
from kernels.reference import mul_g1, mul_g2
from tests.conformance.inputs import mont, random_field
from tests.support.tiny_circuits import sparse

TOP = MAX_SMALL - 1


class Key:
    """What a task is done for."""


def same(backend: Backend, found: FrMont | FrArray, expected: FrMont | FrArray) -> bool:
    """The words agree, once on the host."""
    return backend.download(found).equals(expected)


def test_there_and_back(backend: Backend) -> None:
    for a in (mont(random_field(5)), FrArray.from_ints([0, 1, R - 1]), FrMont.zeros(0)):
        there = backend.upload(a)
        assert type(there) is type(a)
        assert there.shape == a.shape
        assert backend.upload(there).data is there.data
        assert same(backend, there, a)
        assert backend.download(a) is a


def test_every_operation_where_its_inputs_are(backend: Backend) -> None:
    a, b = mont(random_field(9, seed=1)), mont(random_field(9, seed=2))
    x, y = backend.upload(a), backend.upload(b)
    assert same(backend, backend.add(x, y), backend.add(a, b))
    assert same(backend, backend.sub(x, y), backend.sub(a, b))
    assert same(backend, backend.mul(x, y), backend.mul(a, b))
    assert same(backend, backend.mul(x, b), backend.mul(a, b))
    assert same(backend, backend.mul(a, y), backend.mul(a, b))
    assert same(backend, backend.scale(x, -7), backend.scale(a, -7))
    assert same(backend, backend.batch_inverse(x), backend.batch_inverse(a))
    assert same(backend, backend.fold(x, 4, 5), backend.fold(a, 4, 5))
    assert same(backend, backend.from_mont(x), backend.from_mont(a))
    assert same(backend, backend.to_mont(backend.from_mont(x)), a)
    assert backend.dot(x, y) == backend.dot(a, b)
    for result in (backend.mul(x, y), backend.from_mont(x), backend.batch_inverse(x)):
        assert type(result.data) is type(x.data)  # it has not moved


@pytest.mark.parametrize("shape", [(8,), (3, 16), (0, 4), (2, 1)])
def test_transforms_where_their_input_is(backend: Backend, shape: tuple[int, ...]) -> None:
    n = int(np.prod(shape))
    a = FrMont(mont(random_field(max(n, 1))).data[:n].reshape(*shape, 4))
    x = backend.upload(a)
    for inverse in (False, True):
        moved = backend.ntt(x, inverse=inverse, shift=GENERATOR)
        assert same(backend, moved, backend.ntt(a, inverse=inverse, shift=GENERATOR))
        assert type(moved.data) is type(x.data)
    assert same(backend, x, a)  # left as it was


def test_pieces_of_both_kinds_become_one(backend: Backend) -> None:
    parts = [FrArray.from_ints(random_field(n, seed=n)) for n in (3, 0, 4)]
    whole = FrArray.concat(parts)
    mixed = [parts[0], backend.upload(parts[1]), backend.upload(parts[2])]
    assert same(backend, backend.concat(mixed), whole)
    assert same(backend, backend.concat(parts), whole)
    index = np.array([6, 0, 0, 3], dtype=np.uint32)
    for a in (whole, backend.upload(whole)):
        for _ in range(2):  # an index is kept
            assert same(backend, backend.take(a, index), FrArray(whole.data[index]))
        assert len(backend.take(a, index[:0])) == 0


def test_an_index_past_the_end_is_refused(backend: Backend) -> None:
    a, index = FrArray.from_ints(range(5)), np.array([0, 5], dtype=np.uint32)
    for where in (a, backend.upload(a)):
        with pytest.raises(IndexError):
            backend.take(where, index)
    assert len(backend.take(backend.upload(a[:0]), index[:0])) == 0
    with pytest.raises(IndexError):
        backend.take(backend.upload(a[:0]), index)


def test_an_index_that_is_gone_is_not_taken_for_its_successor(backend: Backend) -> None:
    """Kept copies are found by identity, which a new array may inherit from a dead one."""
    a, seen = backend.upload(FrArray.from_ints(range(50))), set[int]()
    for k in range(50):
        index = np.array([k, 49 - k], dtype=np.uint32)
        seen.add(id(index))
        assert backend.download(backend.take(a, index)).to_ints() == [k, 49 - k]
        del index  # nobody else has it: it dies here, in no cycle
    assert len(seen) < 50  # some did inherit


def test_rows_with_zeros_behind(backend: Backend) -> None:
    a, b = mont(random_field(3)), mont(random_field(5))
    expected = FrMont.zeros(2, 8)
    expected.data[0, :3], expected.data[1, :5] = a.data, b.data
    assert same(backend, backend.stack([a, b], 8), expected)
    assert same(backend, backend.stack([backend.upload(a), b], 8), expected)


def test_some_rows_of_a_product(backend: Backend) -> None:
    rows = [{0: 1, 2: -5}, {}, {1: R - 3}, {0: 7, 1: 1, 2: 1}, {2: TOP}]
    m, z = sparse(rows, n_cols=3), mont(random_field(3))
    whole = backend.matvec(m, z)
    for first, last in ((0, 5), (1, 4), (2, 3), (4, 5), (3, 3)):
        expected = FrMont(whole.data[first:last].reshape(-1, 4))
        for vector in (z, backend.upload(z)):
            found = backend.matvec(m, vector, rows=[(first, last)])
            assert same(backend, found, expected)
    for ranges in (((0, 2), (3, 5)), ((3, 5), (1, 3)), ((4, 5), (2, 2), (0, 1)), ()):
        parts = [whole.data[first:last].reshape(-1, 4) for first, last in ranges]
        expected = FrMont(np.concatenate([FrMont.zeros(0).data, *parts]))
        assert same(backend, backend.matvec(m, z, rows=ranges), expected)
    with pytest.raises(ShapeError):
        backend.matvec(m, backend.upload(mont(random_field(4))))


def test_rows_of_small_integers(backend: Backend, rng: Random) -> None:
    integers = backend.integers
    values = np.array([rng.choice((-1, 1)) * rng.randrange(1, 1000) for _ in range(9)])
    lengths = [3, 0, 1, 1, 40, 0]
    columns = np.array([rng.randrange(9) for _ in range(sum(lengths))], dtype=np.uint32)
    factors = np.array([rng.randrange(-(1 << 40), 1 << 40) for _ in range(sum(lengths))])
    factors[3:5] = values[columns[3:5]] * np.array([-1, 1])  # a sum below 0, and one above
    starts = np.concatenate([[0], np.cumsum(lengths)])
    rows = IntegerRows(starts=starts, columns=columns, coefficients=factors)
    expected = [
        sum(int(f) * int(values[c]) for c, f in zip(columns[a:b], factors[a:b], strict=True))
        for a, b in pairwise(starts)
    ]
    with integers.active():
        for _ in range(2):
            found = integers.to_scalars(integers.combine(integers.upload(values), rows))
            assert backend.download(found).to_ints() == [x % R for x in expected]
    assert min(expected) < 0 < max(expected)


def test_values_are_put_where_they_belong(backend: Backend) -> None:
    values, places = mont(random_field(3)), np.array([4, 0, 2], dtype=np.uint32)
    expected = FrMont.zeros(6)
    expected.data[places] = values.data
    for move in (lambda a: a, backend.upload):
        target = move(FrMont.zeros(6))
        backend.put(target, places, move(values))
        assert same(backend, target, expected)
        with pytest.raises(IndexError):
            backend.put(target, places + np.uint32(2), move(values))
        with pytest.raises(ShapeError):
            backend.put(target, places[:2], move(values))


@pytest.mark.parametrize("prepared", [False, True])
def test_sums_of_uploaded_scalars(backend: Backend, prepared: bool, rng: Random) -> None:
    factors = [rng.randrange(R) for _ in range(6)]
    scalars = [0, 1, R - 1, 5, rng.randrange(R), rng.randrange(R)]
    total = sum(s * f for s, f in zip(scalars, factors, strict=True)) % R
    there = backend.upload(FrArray.from_ints(scalars))
    g1 = G1Array.from_ints([mul_g1(f, G1) for f in factors])
    g2 = G2Array.from_ints([mul_g2(f, G2) for f in factors])
    one = backend.msm_g1(there, backend.fix_g1(g1) if prepared else g1)
    two = backend.msm_g2(there, backend.fix_g2(g2) if prepared else g2)
    assert one.to_ints() == [mul_g1(total, G1)]
    assert two.to_ints() == [mul_g2(total, G2)]


@pytest.mark.parametrize("prepared", [False, True])
def test_sums_of_scalars_on_their_way(backend: Backend, prepared: bool) -> None:
    values, more = random_field(7), [1, R - 2]
    for index in ([0, 2, 3, 6], [6, 0, 0], []):
        scalars = [*(values[i] for i in index), *more]
        bases = G1Array.from_ints([mul_g1(k + 2, G1) for k in range(len(scalars))])
        there, found = backend.upload_summing(
            FrArray.from_ints(values),
            np.array(index, dtype=np.uint32),
            FrArray.from_ints(more),
            backend.fix_g1(bases) if prepared else bases,
        )
        assert same(backend, there, FrArray.from_ints(values))
        assert type(there.data) is type(backend.upload(there).data)
        total = sum(s * (k + 2) for k, s in enumerate(scalars)) % R
        assert found.to_ints() == [mul_g1(total, G1)]


def test_no_scalars_on_their_way(backend: Backend) -> None:
    nothing, values = np.zeros(0, dtype=np.uint32), FrArray.from_ints(range(5))
    for a in (values, values[:0]):
        there, found = backend.upload_summing(a, nothing, values[:0], G1Array.zeros(0))
        assert same(backend, there, a)
        assert found.to_ints() == [None]
    with pytest.raises(IndexError):
        backend.upload_summing(
            values, np.array([0, 5], dtype=np.uint32), values[:0], G1Array.zeros(2)
        )


# -- integers of a witness -------------------------------------------------------------------------


def host(backend: Backend, array: np.ndarray) -> np.ndarray:
    """An integer array of the backend on the host, by way of its scalars."""
    values = backend.download(backend.integers.to_scalars(array.reshape(-1))).to_ints()
    signed = [v if v < R // 2 else v - R for v in values]
    return np.array(signed, dtype=np.int64).reshape(array.shape)


def test_layers(backend: Backend) -> None:
    rng, integers = np.random.default_rng(1), backend.integers
    x = rng.integers(0, 256, (5, 7), dtype=np.uint8)
    weight = rng.integers(-127, 128, (3, 7), dtype=np.int8)
    bias = rng.integers(-(1 << 22), 1 << 22, 3, dtype=np.int32)
    z = HOST.multiply(x, weight, bias)
    assert (z == x.astype(object) @ weight.T.astype(object) + bias).all()
    with integers.active():
        there = integers.multiply(*map(integers.upload, (x, weight, bias)))
        assert (host(backend, there) == z).all()
        for how in (
            Rounding(shift=10, multipliers=(37,), least=0, greatest=255),
            Rounding(shift=1, multipliers=(1,), least=-128, greatest=127),
            Rounding(shift=3, multipliers=(1, 5, 2), least=-9, greatest=9),
        ):
            q, rem, y = HOST.requantize(z, how)
            t = z * np.array(how.multipliers) + (1 << how.shift - 1)
            assert (q * (1 << how.shift) + rem == t).all()
            assert ((rem >= 0) & (rem < 1 << how.shift)).all()
            assert (y == np.minimum(np.maximum(q, how.least), how.greatest)).all()
            assert (q < 0).any()
            found = integers.requantize(there, how)
            for mine, theirs in zip(found, (q, rem, y), strict=True):
                assert (host(backend, mine) == theirs).all()
        rows = integers.spread(there, 8)
        assert (host(backend, rows) == z[[0, 1, 2, 3, 4, 4, 4, 4]]).all()
        assert integers.spread(rows, 8) is rows


WINDOWS = [
    Sliding(kernel=(1, 1)),
    Sliding(kernel=(3, 2), stride=(2, 1), pads=(2, 0, 1, 1)),
    Sliding(kernel=(2, 4), stride=(3, 2), pads=(0, 3, 1, 0)),
]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_layers_of_planes(backend: Backend, window: Sliding, dtype: type[np.generic]) -> None:
    """Against what every window sees, number by number."""
    rng, integers = np.random.default_rng(2), backend.integers
    x = rng.integers(0 if dtype is np.uint8 else -99, 256, (3, 2, 4, 5)).astype(dtype)
    weight = rng.integers(-127, 128, (4, 2, *window.kernel), dtype=np.int8)
    bias = rng.integers(-(1 << 22), 1 << 22, 4, dtype=np.int32)
    top, left, bottom, right = window.pads
    border = (0, 0), (0, 0), (top, bottom), (left, right)
    height, width = window.slide((4, 5))

    def see(padded: np.ndarray, join: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        (down, across), (tall, wide) = window.stride, window.kernel
        seen = [
            join(padded[:, :, i * down : i * down + tall, j * across : j * across + wide])
            for i, j in np.ndindex(height, width)
        ]
        return np.stack(seen, axis=-1).reshape(*seen[0].shape, height, width)

    with integers.active():
        there, *tensors = map(integers.upload, (x, weight, bias))
        for pads in ((), (7, 200)):
            padded = np.pad(x.astype(np.int64), border)
            beyond = np.pad(np.ones(x.shape, np.bool_), border)
            padded = np.where(beyond, padded, np.array(pads or (0, 0)).reshape(2, 1, 1))
            z = see(padded, lambda part: np.einsum("ncij,ocij->no", part, weight) + bias)
            found = integers.convolve(there, *tensors, window, pads)
            assert (host(backend, found) == z).all()
        if dtype is np.int64:
            for start, greatest in ((0, False), (-(1 << 50), True)):
                padded = np.pad(x, border, constant_values=start)  # type: ignore[arg-type]
                join = (lambda a: a.max(axis=(2, 3))) if greatest else lambda a: a.sum(axis=(2, 3))
                pooled = integers.pool(there, window, greatest=greatest)
                assert (host(backend, pooled) == see(padded, join)).all()
            mixed = integers.mix([there, there], [(3,), (-5, 7)])
            by_channel = np.array([-2, 10]).reshape(2, 1, 1)
            assert (host(backend, mixed) == x.astype(np.int64) * by_channel).all()


def test_lookups_and_scalars(backend: Backend) -> None:
    integers = backend.integers
    index = np.array([0, 4, 1, 1, -1, 5, 4, 4], dtype=np.int64)
    edges = np.array([0, 1, -1, TOP, -TOP, 1 << 40], dtype=np.int64)
    with integers.active():
        parts = integers.upload(index[:3]), integers.upload(index[3:])
        counts = integers.count_lookups(parts, 5)
        assert host(backend, counts).tolist() == [1, 2, 0, 0, 3]
        scalars = integers.to_scalars(integers.upload(edges))
        assert same(backend, scalars, FrArray.from_ints(int(v) for v in edges))
        assert to_scalars(edges).equals(FrArray.from_ints(int(v) for v in edges))
        zeros = integers.zeros((2, 3))
        zeros += integers.keep(np.arange(3))
        assert host(backend, zeros).tolist() == [[0, 1, 2]] * 2
        integers.write(zeros.reshape(-1)[1:3], 9)
        integers.write(zeros.reshape(-1)[3:5], integers.upload(np.array([[-4], [5]], np.int32)))
        assert host(backend, zeros).tolist() == [[0, 9, 9], [-4, 5, 2]]
        counters, limits = integers.counters(3), np.array([1, 4, 5, 1, 9, 5, 5, 5])
        integers.count_outside(integers.upload(index), limits, counters[1:2])
        assert integers.read(counters) == [0, 4, 0]


def test_a_phase_of_integers_is_done_for_other_values(backend: Backend) -> None:
    """The same work again and again: replayed or not, it is of the values at hand."""
    integers, key = backend.integers, Key()
    rng = np.random.default_rng(3)

    def work(given: Sequence[Any]) -> tuple[Any, Any]:
        x, weight, bias = given
        counter, z = integers.counters(1), integers.multiply(x, weight, bias)
        integers.count_outside(z.reshape(-1), limits, counter)
        return z, counter

    limits = np.full(15, 1 << 20)
    for _ in range(4):
        x = rng.integers(0, 256, (5, 7), dtype=np.uint8)
        weight = rng.integers(-127, 128, (3, 7), dtype=np.int8)
        bias = rng.integers(-9, 9, 3, dtype=np.int32)
        with integers.active(key):
            z, counter = integers.replay("layer", [x, weight, bias], work)
            expected = HOST.multiply(x, weight, bias)
            assert (host(backend, z) == expected).all()
            assert integers.read(counter) == [(expected < 0).sum()]
            assert (expected < 0).any()
