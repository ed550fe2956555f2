"""Coefficients with exponents, and packs: against plain integers mod r."""

from __future__ import annotations

from itertools import pairwise, product
from random import Random

import numpy as np
import pytest

from kernels.array import SparseMatrix
from kernels.bn254 import R
from prover.circuit.constraints import System
from prover.circuit.csr import pack_rows, stack_rows
from prover.circuit.linear_form import MAX_EXPONENT, LinearForm
from prover.circuit.sizing.packing import (
    CAPACITY_BITS,
    Packing,
    PackingChoice,
    RequantBound,
    bound_logits,
    choose_packing,
)


def read_rows(m: SparseMatrix) -> list[dict[int, int]]:
    """Coefficients mod r, row by row."""
    wide = m.wide.to_ints()
    values = [wide[c - m.WIDE] if c >= m.WIDE else c % R for c in m.coeffs.tolist()]
    cols = m.cols.tolist()
    return [dict(zip(cols[i:j], values[i:j], strict=True)) for i, j in pairwise(m.indptr.tolist())]


def add_slowly(
    cols: list[list[int]], coeffs: list[list[int]], exponents: list[list[int]]
) -> list[dict[int, int]]:
    rows = []
    for own in zip(cols, coeffs, exponents, strict=True):
        sums: dict[int, int] = {}
        for col, c, e in zip(*own, strict=True):
            sums[col] = (sums.get(col, 0) + c * (1 << e)) % R
        rows.append({col: v for col, v in sorted(sums.items()) if v})
    return rows


@pytest.mark.parametrize("n_cols", [1, 3, 1000])
def test_rows_with_exponents_add_up_exactly(n_cols: int, rng: Random) -> None:
    """Ends of both ranges, opposite entries, and few columns so that they meet."""
    ends = [0, 1, -1, 3, 1 << 31, -(1 << 48), (1 << 62) - 1, 1 - (1 << 62)]
    shifts = [0, 1, 15, 16, 17, 61, 62, 64, 128, 251, MAX_EXPONENT]
    n, width = 60, 9
    cols = [[rng.randrange(n_cols) for _ in range(width)] for _ in range(n)]
    coeffs = [[rng.choice([*ends, rng.randrange(1 << 62)]) for _ in range(width)] for _ in cols]
    exponents = [[rng.choice(shifts) for _ in range(width)] for _ in cols]
    for row in range(0, n, 4):
        cols[row][1], coeffs[row][1], exponents[row][1] = cols[row][0], -coeffs[row][0], 0
        exponents[row][0] = 0
    terms = pack_rows(np.array(cols), np.array(coeffs), np.array(exponents, dtype=np.int16))
    m = stack_rows([terms], n_cols=n_cols)
    assert read_rows(m) == add_slowly(cols, coeffs, exponents)
    assert list(m.wide.to_ints()) == sorted(set(m.wide.to_ints()))
    assert not any(v < 1 << 62 or R - v < 1 << 62 for v in m.wide.to_ints())


def test_equal_coefficients_have_one_form() -> None:
    """4 2^61 = 1 2^63, and 2^252 four times is a power of two above r: one place each."""
    top = 4 * (1 << MAX_EXPONENT) % R
    cols = np.array([[1, 1, 1, 1], [1, 2, 2, 3]])
    coeffs = np.array([[1, 1, 1, 1], [4, 1, 0, 5]])
    exponents = np.array([[252, 252, 252, 252], [61, 63, 100, 0]], dtype=np.int16)
    m = stack_rows([pack_rows(cols, coeffs, exponents)], n_cols=4)
    assert m.wide.to_ints() == [1 << 63, top]
    assert m.coeffs.tolist() == [m.WIDE + 1, m.WIDE, m.WIDE, 5]


def test_blocks_share_one_ascending_table() -> None:
    def block(exponent: int) -> object:
        return pack_rows(np.array([[0]]), np.array([[1]]), np.array([[exponent]], dtype=np.int16))

    small = pack_rows(np.array([[0]]), np.array([[7]]))
    blocks = [block(200), small, block(100), block(200), block(3)]
    m = stack_rows(blocks, n_cols=1)  # type: ignore[arg-type]
    assert m.wide.to_ints() == [1 << 100, 1 << 200]
    assert m.coeffs.tolist() == [m.WIDE + 1, 7, m.WIDE, m.WIDE + 1, 8]


def list_terms(form: LinearForm) -> list[dict[int, int]]:
    """Every entry, flat: coefficients mod r of its wires."""
    wires, coeffs, exponents = (t.reshape(-1, t.shape[-1]).tolist() for t in form.terms())
    return add_slowly(wires, coeffs, exponents)


def test_forms_carry_their_exponents() -> None:
    system = System()
    a, b = system.advice("a", (2, 1)), system.advice("b", (3,))
    form = (a.shifted(np.array([10, 100, 252])) - b * 5) * 3
    plain = list_terms(form)
    assert plain[2] == {(2 << 40): 3 * (1 << 252) % R, (2 << 40) + 4: R - 15}
    assert list_terms(form.reshape((3, 2))) == plain == list_terms(form.flat())
    assert list_terms(form[1, 2].pad(0, 0)) == plain[5:]
    assert list_terms(form.pad(0, 1)) == [*plain, {}, {}, {}]
    assert list_terms(LinearForm.concat([form, form])) == plain * 2
    total = form.sum(1)
    assert list_terms(total)[0][2 << 40] == 3 * ((1 << 10) + (1 << 100) + (1 << 252)) % R
    assert list_terms(-total + total) == [{}, {}]
    with pytest.raises(OverflowError, match="exponent"):
        form.shifted(1)
    with pytest.raises(OverflowError, match="exponent"):
        b.shifted(-1)
    with pytest.raises(OverflowError, match="64 bits"):
        form.evaluate(lambda wires: wires)


@pytest.mark.parametrize(("p", "po"), [(1, 1), (3, 1), (1, 2), (2, 3), (5, 4)])
def test_packs_weigh_every_sample_and_output_apart(p: int, po: int) -> None:
    """Short packs at both ends, an axis in between; weights of the verifier are the same."""
    n, d, bits = 5, 4, 12
    packing = Packing(samples=p, outputs=po, bits=bits)
    wires = System().advice("x", (n, 2, d))
    packed = packing.pack_outputs(packing.pack_samples(wires), axis=2)
    assert packed.shape == (packing.count_packs(n), 2, packing.count_groups(d))
    places = wires.terms()[0][..., 0]
    expected: list[dict[int, int]] = [{} for _ in range(int(np.prod(packed.shape)))]
    for (i, k, o), wire in np.ndenumerate(places):
        at = np.ravel_multi_index((i // p, k, o // po), packed.shape)
        expected[at][int(wire)] = 1 << (bits * (i % p + p * (o % po)))
    assert list_terms(packed) == expected

    s = 3**50
    system = System()
    powers = system.powers("p/p/p", system.public("s"), max(2, packing.count_packs(n)))
    (total,) = list_terms(packing.sum_weights(powers, n)[None])
    values = {0: 1, 1: s, **{(3 << 40) + i: pow(s, i + 2, R) for i in range(n)}}
    weights = packing.compute_weights(s, n)
    assert sum(v * values[w] for w, v in total.items()) % R == sum(weights) % R
    assert weights[-1] == pow(s, (n - 1) // p, R) * (1 << bits * ((n - 1) % p)) % R


def test_a_pack_fits_into_the_field() -> None:
    assert 1 << CAPACITY_BITS < R
    Packing(samples=11, outputs=1, bits=23)
    for wrong in (
        {"samples": 11, "bits": 24},
        {"samples": 2, "outputs": 2, "bits": 64},
        {"samples": 0},
        {"outputs": 0},
        {"bits": 0},
    ):
        with pytest.raises(ValueError, match="pack"):
            Packing(**wrong)


@pytest.mark.parametrize(("shift", "q_bits", "a"), [(1, 9, 0), (10, 15, 3), (24, 9, 2)])
def test_bound_of_requantization_is_reached_and_not_passed(shift: int, q_bits: int, a: int) -> None:
    """Over the ends of q, of rem in steps of 2^-a, and of z; the bound is at most one step off."""
    q_range = -(1 << (q_bits - 1)), (1 << (q_bits - 1)) - 1
    bound = RequantBound(accumulator=1000, shift=shift, q_range=q_range, fraction_bits=a)
    for m in (1, 7):
        rems = (0, ((1 << (shift + a)) - 1))
        greatest = max(
            abs(((q << shift) - (1 << (shift - 1)) - m * z << a) + rem)
            for q in q_range
            for rem in rems
            for z in (-1000, 1000)
        )
        assert greatest <= bound.compute(m) <= greatest + (1 << (shift + a))
        limit = bound.compute(m) + 1
        assert bound.find_multiplier(limit) == m
        assert bound.find_multiplier(limit - 1) == m - 1


def test_bound_of_logits() -> None:
    v, w, z = 5, 4, 100
    reached = max(
        abs(level - 1 + (hit << w) - margin) + z
        for level in (-(1 << (v - 1)), (1 << (v - 1)) - 1)
        for hit in (0, 1)
        for margin in (0, (1 << w) - 1)
    )
    assert reached <= bound_logits(accumulator=z, level_bits=v, margin_bits=w) <= reached + 2


def test_choice_is_the_cheapest_and_says_why() -> None:
    def rows(p: int, pw: int, po: int) -> int:
        packs, groups = -(-1000 // p), -(-10 // po)
        return packs * -(-30 // pw) * groups + packs * 50 * (1 + 2 * (pw > 1)) + 500 * groups

    def choose(n_samples: int, n_columns: int) -> PackingChoice:
        return choose_packing(28, rows, n_samples=n_samples, n_columns=n_columns, n_outputs=10)

    for n_columns in (1, 2, 30):
        choice = choose(1000, n_columns)
        best = min(
            (rows(p, pw, po), p, pw)
            for p, pw, po in product(range(1, 10), repeat=3)
            if p * pw * po <= 253 // 28 and pw <= n_columns
        )
        packing = choice.packing
        assert (choice.n_rows, packing.samples, packing.columns) == best
        assert packing.bits == 253 // (packing.samples * packing.columns * packing.outputs) >= 28
        assert f"{choice.n_rows} rows, not {rows(1, 1, 1)}" in choice.reason
        assert ("columns" in choice.reason) == (packing.columns > 1)
    first = choose(1, 1).packing
    assert (first.samples, first.outputs) == (1, 5)  # two groups, as nine outputs would make
    alone = choose_packing(201, rows, n_samples=1000, n_outputs=10)
    assert alone.packing == Packing()
    assert "no row" in alone.reason
