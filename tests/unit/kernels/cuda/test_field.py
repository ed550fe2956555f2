"""The fields and points of the CUDA sources, by emulation, on every representative."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import pytest

from kernels import reference
from kernels.array import G1Array, G2Array, ints_from_words, words_from_ints
from kernels.bn254 import G1, G2, MONT_BITS, P, R
from kernels.cuda.launch.header import build_header
from kernels.cuda.launch.source import SOURCES
from tests.support.cuda_emulator import EmulatedDevice, EmulatedModule, load_probe
from tests.support.skips import or_skip

RADIX = 1 << MONT_BITS
OPERATIONS = ("add", "sub", "mul", "sqr", "negative", "twice", "canonical", "inverse")
IS_ZERO, IS_EQUAL = 8, 9


@pytest.fixture(scope="module")
def probe() -> EmulatedModule:
    or_skip(EmulatedDevice)
    return load_probe("cuda_probe")


def test_header_is_the_one_that_bn254_gives() -> None:
    assert (SOURCES / "constants.cuh").read_text() == build_header()


def representatives(modulus: int, rng: Random) -> list[int]:
    """Words below twice the modulus: edges of limbs and of the range, then random ones."""
    near = [c + d for c in (0, modulus, 2 * modulus) for d in range(-3, 4)]
    limbs = [(1 << 32 * k) + d for k in range(8) for d in (-1, 0, 1)]
    alternating = sum(0xFFFFFFFF << 64 * k for k in range(4))
    ones = [(1 << 253) - 1, alternating, alternating << 32, sum(1 << 32 * k for k in range(8))]
    edges = [v for v in near + limbs + ones if 0 <= v < 2 * modulus]
    return edges + [rng.randrange(2 * modulus) for _ in range(60)]


def pairs(modulus: int, rng: Random) -> tuple[list[int], list[int]]:
    values = representatives(modulus, rng)
    return [a for a in values for _ in values], [b for _ in values for b in values]


def run(probe: EmulatedModule, name: str, arrays: list[Any], *scalars: Any) -> Any:
    n = len(arrays[0])
    out = np.zeros_like(arrays[0])
    arguments = (out, *arrays, *scalars, np.uint64(n))
    probe.kernel(name)((3, 1, 1), (64, 1, 1), arguments)
    return out


def definition(operation: str, m: int) -> Callable[[int, int], int]:
    """On Montgomery words, mod m."""
    down = pow(RADIX, -1, m)
    return {
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b * down,
        "sqr": lambda a, b: a * a * down,
        "negative": lambda a, b: -a,
        "twice": lambda a, b: 2 * a,
        "canonical": lambda a, b: a,
        "inverse": lambda a, b: pow(a, m - 2, m) * RADIX * RADIX,
    }[operation]


@pytest.mark.parametrize(("kernel", "m"), [("fp_apply", P), ("fr_apply", R)], ids=["p", "r"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_field(probe: EmulatedModule, kernel: str, m: int, operation: str, rng: Random) -> None:
    left, right = pairs(m, rng)
    if operation == "inverse":  # 380 products each
        left = right = representatives(m, rng)
    arrays = [words_from_ints(left), words_from_ints(right)]
    out = ints_from_words(run(probe, kernel, arrays, np.uint32(OPERATIONS.index(operation))))
    bound = m if operation == "canonical" else 2 * m
    assert max(out) < bound
    expected = definition(operation, m)
    assert [v % m for v in out] == [expected(a, b) % m for a, b in zip(left, right, strict=True)]


def extreme_limbs(modulus: int) -> list[int]:
    """Every pattern of lowest and highest limbs, below twice the modulus: every carry there is."""
    extremes, top = (0, 1, 0xFFFFFFFF), 2 * modulus >> 224
    values = [0]
    for k in range(7):
        values = [v + (limb << 32 * k) for v in values for limb in extremes]
    return [v + (limb << 224) for v in values for limb in (0, top - 1)]


@pytest.mark.parametrize(("kernel", "m"), [("fp_apply", P), ("fr_apply", R)], ids=["p", "r"])
def test_products_of_extreme_limbs(probe: EmulatedModule, kernel: str, m: int, rng: Random) -> None:
    left = extreme_limbs(m)
    assert max(left) < 2 * m
    right = rng.sample(left, len(left))
    arrays = [words_from_ints(left), words_from_ints(right)]
    for operation in ("mul", "sqr", "add", "sub"):
        out = ints_from_words(run(probe, kernel, arrays, np.uint32(OPERATIONS.index(operation))))
        expected = definition(operation, m)
        assert max(out) < 2 * m
        assert all((v - expected(a, b)) % m == 0 for v, a, b in zip(out, left, right, strict=True))


@pytest.mark.parametrize(("kernel", "m"), [("fp_apply", P), ("fr_apply", R)], ids=["p", "r"])
def test_zero_and_equal_see_through_representatives(
    probe: EmulatedModule, kernel: str, m: int, rng: Random
) -> None:
    left, right = pairs(m, rng)
    left += [0, m, 0, m, 5, 5 + m]
    right += [m, 0, 0, m, 5 + m, 5]
    arrays = [words_from_ints(left), words_from_ints(right)]
    zero = ints_from_words(run(probe, kernel, arrays, np.uint32(IS_ZERO)))
    equal = ints_from_words(run(probe, kernel, arrays, np.uint32(IS_EQUAL)))
    assert [v != 0 for v in zero] == [a % m == 0 for a in left]
    assert [v != 0 for v in equal] == [(a - b) % m == 0 for a, b in zip(left, right, strict=True)]


def test_dot(probe: EmulatedModule, rng: Random) -> None:
    left, right = pairs(P, rng)
    top = [2 * P] * len(left)  # `lazy_negative` reaches 2p itself
    for c, d in ((left[::-1], right), (top, [2 * P - 1] * len(left)), (top, right)):
        lists = (left, right, c, d)
        out = ints_from_words(run(probe, "fp_dot", [words_from_ints(v) for v in lists]))
        down = pow(RADIX, -1, P)
        expected = [(a * b + x * y) * down % P for a, b, x, y in zip(*lists, strict=True)]
        assert max(out) < 2 * P
        assert [v % P for v in out] == expected


# -- F_p2 and points -------------------------------------------------------------------------------


def fp2_elements(rng: Random) -> list[tuple[int, int]]:
    """Pairs of representatives."""
    values = representatives(P, rng)
    chosen = [(a, b) for a in (0, 1, P - 1, P, 2 * P - 1) for b in (0, 1, P - 1, P, 2 * P - 1)]
    return chosen + [(rng.choice(values), rng.choice(values)) for _ in range(40)]


def fp2_words(elements: list[tuple[int, int]]) -> Any:
    return words_from_ints(v for e in elements for v in e).reshape(-1, 8)


def fp2_ints(words: Any) -> list[tuple[int, int]]:
    flat = ints_from_words(words.reshape(-1, 4))
    return list(zip(flat[0::2], flat[1::2], strict=True))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_fp2(probe: EmulatedModule, operation: str, rng: Random) -> None:
    elements = fp2_elements(rng)
    left = [a for a in elements for _ in elements]
    right = [b for _ in elements for b in elements]
    if operation == "inverse":
        left = right = elements
    arrays = [fp2_words(left), fp2_words(right)]
    out = fp2_ints(run(probe, "fp2_apply", arrays, np.uint32(OPERATIONS.index(operation))))
    assert max(max(v) for v in out) < (P if operation == "canonical" else 2 * P)
    plain = [[from_mont(v) for v in side] for side in (left, right)]
    expected = [fp2_definition(operation, a, b) for a, b in zip(*plain, strict=True)]
    assert [from_mont(v) for v in out] == expected


def from_mont(a: tuple[int, int]) -> tuple[int, int]:
    down = pow(RADIX, -1, P)
    return a[0] * down % P, a[1] * down % P


def fp2_definition(operation: str, a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    zero = (0, 0)
    return {
        "add": lambda: reference.add_fp2(a, b),
        "sub": lambda: reference.sub_fp2(a, b),
        "mul": lambda: reference.mul_fp2(a, b),
        "sqr": lambda: reference.mul_fp2(a, a),
        "negative": lambda: reference.sub_fp2(zero, a),
        "twice": lambda: reference.add_fp2(a, a),
        "canonical": lambda: a,
        "inverse": lambda: zero if a == zero else reference.invert_fp2(a),
    }[operation]()


POINT_OPERATIONS = ("add_mixed", "add", "twice", "negative")
GROUPS = [
    ("g1_apply", G1, G1Array, reference.add_g1, reference.mul_g1),
    ("g2_apply", G2, G2Array, reference.add_g2, reference.mul_g2),
]


def cases(multiple: Callable[[int], Any]) -> Iterator[tuple[Any, Any]]:
    """Pairs of points: distinct, equal, opposite, and either or both infinite."""
    points = [multiple(k) for k in (1, 2, 3, R - 1, R - 2, 12345)] + [None]
    for p in points:
        for q in points:
            yield p, q


@pytest.mark.parametrize("operation", POINT_OPERATIONS)
@pytest.mark.parametrize(("kernel", "generator", "array", "add", "mul"), GROUPS, ids=["g1", "g2"])
def test_points(
    probe: EmulatedModule,
    operation: str,
    kernel: str,
    generator: Any,
    array: Any,
    add: Any,
    mul: Any,
    rng: Random,
) -> None:
    p, q = zip(*cases(lambda k: mul(k, generator)), strict=True)
    width = array.WORDS // 2
    blinds = [
        words_from_ints(rng.randrange(1, P) for _ in range(len(p) * width // 4)).reshape(-1, width)
        for _ in range(2)
    ]
    arrays = [array.from_ints(p).data, array.from_ints(q).data, *blinds]
    out = run(probe, kernel, arrays, np.uint32(POINT_OPERATIONS.index(operation)))
    expected = {
        "add_mixed": add,
        "add": add,
        "twice": lambda a, b: add(a, a),
        "negative": lambda a, b: mul(-1, add(a, b)),
    }[operation]
    assert array(out).to_ints() == [expected(a, b) for a, b in zip(p, q, strict=True)]


def test_inputs_reach_both_copies_of_zero_and_the_ends_of_the_range(rng: Random) -> None:
    assert {0, P, 2 * P - 1, P - 1, P + 1} <= set(representatives(P, rng))
