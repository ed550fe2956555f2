"""F_p and F_r on 64-bit words against Python integers, in both lowerings of the product."""

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.array import ints_from_words, words_from_ints
from kernels.bn254 import MONT_BITS, XI, P, R
from kernels.cpu.compile.emit import Emitter, Routine
from kernels.cpu.compile.jit import kernel
from kernels.cpu.words import scalar64, tower
from kernels.cpu.words.scalar64 import Field, FieldRoutines

RADIX = 1 << MONT_BITS
EDGES = [0, 1, 2, 3, 5, 1 << 31, (1 << 31) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, 1 << 128, 1 << 192]
MODULI = {"fp": P, "fr": R}

Binary = Callable[[int, int, int], None]
Unary = Callable[[int, int], None]


def elements(modulus: int) -> st.SearchStrategy[int]:
    """Words of an element: any residue, and those where a carry or borrow goes wrong."""
    edges = {v % modulus for e in [*EDGES, RADIX, RADIX**2] for v in (e, -e, e - 1)}
    return st.sampled_from(sorted(edges)) | st.integers(0, modulus - 1)


def binary(routine: Routine) -> Binary:
    call = routine.intrinsic()

    @kernel(signature="void(uintp, uintp, uintp)", key=routine.name)
    def run(out: int, a: int, b: int) -> None:
        call(out, a, b)

    return run


def unary(routine: Routine) -> Unary:
    call = routine.intrinsic()

    @kernel(signature="void(uintp, uintp)", key=routine.name)
    def run(out: int, a: int) -> None:
        call(out, a)

    return run


LOWERINGS = {
    f"{name}-{'x86' if assembly else 'ir'}": FieldRoutines(Field(name, modulus, assembly))
    for name, modulus in MODULI.items()
    for assembly in ({False, scalar64.has_mulx()})
}


@pytest.fixture(params=sorted(LOWERINGS), scope="module")
def field(request: pytest.FixtureRequest) -> FieldRoutines:
    return LOWERINGS[request.param]


def apply(run: Callable[..., None], *operands: int, n_words: int = 4) -> int:
    words = [words_from_ints([v], n_words) for v in operands]
    out = np.full((1, n_words), 0xDEAD, dtype=np.uint64)
    run(out.ctypes.data, *(w.ctypes.data for w in words))
    return ints_from_words(out)[0]


def test_ring_operations_agree_with_integers(field: FieldRoutines) -> None:
    q = field.field.modulus
    mul, add, sub = binary(field.mul), binary(field.add), binary(field.sub)
    sqr, neg = unary(field.sqr), unary(field.neg)
    inverse_radix = pow(RADIX, -1, q)

    @given(elements(q), elements(q))
    def check(a: int, b: int) -> None:
        assert apply(mul, a, b) == a * b * inverse_radix % q
        assert apply(sqr, a) == a * a * inverse_radix % q
        assert apply(add, a, b) == (a + b) % q
        assert apply(sub, a, b) == (a - b) % q
        assert apply(neg, a) == -a % q

    check()


def test_forms_are_inverse_to_each_other(field: FieldRoutines) -> None:
    q = field.field.modulus
    into, out_of = unary(field.to_mont), unary(field.from_mont)

    @given(elements(q))
    def check(a: int) -> None:
        assert apply(into, a) == a * RADIX % q
        assert apply(out_of, a * RADIX % q) == a

    check()


def test_sums_of_products_at_their_stated_bound(field: FieldRoutines) -> None:
    """Two lazy factors at their largest: 2 * (2q - 1) * (q - 1) < 5 q^2, reduced once."""
    q = field.field.modulus

    def body(e: Emitter, out: Any, a: Any, b: Any) -> None:
        e.store(out, scalar64.products(e, field.field, [(a, b), (a, b)]))

    run = binary(Routine(f"test.{field.tag}.twice", "ppp", body))
    largest = 2 * q - 1
    for a, b in ((largest, q - 1), (q - 1, largest), (largest, 0), (1, 1), (q, q)):
        assert apply(run, a, b) == 2 * a * b * pow(RADIX, -1, q) % q


@pytest.mark.parametrize("name", sorted(MODULI))
def test_inverse(name: str, rng: Random) -> None:
    q = MODULI[name]
    run = {"fp": scalar64.fp_inverse, "fr": scalar64.fr_inverse}[name]
    edges = [v % q for e in EDGES for v in (e, -e, e - 1)]
    powers = [1 << k for k in range(254)]
    values = [*edges, *powers, *(rng.randrange(1 << rng.randrange(1, 254)) for _ in range(500))]
    assert apply(run, 0) == 0
    for a in values:
        if a % q:
            assert apply(run, a % q) == pow(a, -1, q) * RADIX**2 % q


def test_operands_may_coincide(rng: Random) -> None:
    a = rng.randrange(P)
    word = words_from_ints([a])
    binary(scalar64.FP.mul)(word.ctypes.data, word.ctypes.data, word.ctypes.data)
    assert ints_from_words(word)[0] == a * a * pow(RADIX, -1, P) % P
    scalar64.fp_inverse(word.ctypes.data, word.ctypes.data)
    assert ints_from_words(word)[0] == pow(a, -2, P) * RADIX**3 % P


# -- the tower, through its defining relations -----------------------------------------------------

Tower = list[int]


def tower_words(coordinates: Tower) -> Any:
    return words_from_ints(v * RADIX % P for v in coordinates)


def tower_apply(run: Callable[..., None], *operands: Tower) -> Tower:
    words = [tower_words(v) for v in operands]
    out = np.zeros_like(words[0])
    run(out.ctypes.data, *(w.ctypes.data for w in words))
    return [v * pow(RADIX, -1, P) % P for v in ints_from_words(out)]


def schoolbook(a: Tower, b: Tower) -> Tower:
    """Product in F_p[w] / (w^12 - 18 w^6 + 82) = F_p12, from and to the tower's coordinates."""
    x, y = to_powers(a), to_powers(b)
    wide = [0] * 23
    for i, s in enumerate(x):
        for j, t in enumerate(y):
            wide[i + j] += s * t
    for n in range(22, 11, -1):
        wide[n - 6] += 18 * wide[n]
        wide[n - 12] -= 82 * wide[n]
    return from_powers([v % P for v in wide[:12]])


def to_powers(a: Tower) -> Tower:
    """Coefficients of w^0 ... w^11, by u = w^6 - 9 and v = w^2."""
    out = [0] * 12
    for i in range(2):
        for j in range(3):
            real, imaginary = a[6 * i + 2 * j : 6 * i + 2 * j + 2]
            out[2 * j + i] = (real - XI[0] * imaginary) % P
            out[2 * j + i + 6] = imaginary
    return out


def from_powers(c: Tower) -> Tower:
    out = [0] * 12
    for i in range(2):
        for j in range(3):
            low, high = c[2 * j + i], c[2 * j + i + 6]
            out[6 * i + 2 * j : 6 * i + 2 * j + 2] = [(low + XI[0] * high) % P, high]
    return out


def element(rng: Random, n: int = 12) -> Tower:
    return [rng.choice([0, 1, P - 1, rng.randrange(P), rng.randrange(P)]) for _ in range(n)]


ONE = [1] + [0] * 11


def test_product_and_square_in_fp12(rng: Random) -> None:
    mul, sqr = binary(tower.FP12_MUL), unary(tower.FP12_SQR)
    for _ in range(30):
        a, b = element(rng), element(rng)
        assert tower_apply(mul, a, b) == schoolbook(a, b)
        assert tower_apply(sqr, a) == schoolbook(a, a)


def test_product_with_a_line(rng: Random) -> None:
    run = unary(tower.FP12_MUL_LINE)
    for _ in range(10):
        f, line = element(rng), element(rng, 6)
        full = line[:2] + [0] * 4 + line[2:] + [0] * 2  # 1, w, v w
        state, words = tower_words(f), tower_words(line)
        run(state.ctypes.data, words.ctypes.data)
        product = [v * pow(RADIX, -1, P) % P for v in ints_from_words(state)]
        assert product == schoolbook(f, full)


@pytest.mark.parametrize(("name", "n"), [("fp2", 2), ("fp6", 6), ("fp12", 12)])
def test_inverses_in_the_tower(name: str, n: int, rng: Random) -> None:
    run = getattr(tower, f"{name}_inverse")
    for _ in range(5):
        a = element(rng, n)
        a[0] += not any(a)  # zero has no inverse
        inverse = tower_apply(run, a)
        pad = [0] * (12 - n)
        assert schoolbook(a + pad, inverse + pad) == ONE
    assert tower_apply(run, [0] * n) == [0] * n


def power(a: Tower, exponent: int) -> Tower:
    result = ONE
    for bit in f"{exponent:b}":
        result = schoolbook(result, result)
        result = schoolbook(result, a) if bit == "1" else result
    return result


def test_frobenius_is_the_power(rng: Random) -> None:
    a = element(rng)
    expected = a
    for k in (1, 2, 3):
        expected = power(expected, P)
        assert tower_apply(unary(tower.FP12_FROBENIUS[k - 1]), a) == expected


def test_cyclotomic_square(rng: Random) -> None:
    """On f^((p^6 - 1)(p^2 + 1)) the short squaring is the square, and the conjugate the inverse."""
    mul, conj = binary(tower.FP12_MUL), unary(tower.FP12_CONJ)
    a = element(rng)
    b = tower_apply(mul, tower_apply(conj, a), tower_apply(tower.fp12_inverse, a))
    c = tower_apply(mul, tower_apply(unary(tower.FP12_FROBENIUS[1]), b), b)
    assert tower_apply(unary(tower.FP12_CYCLOTOMIC_SQR), c) == schoolbook(c, c) != ONE
    assert schoolbook(c, tower_apply(conj, c)) == ONE
