"""The living definition itself: laws that hold by mathematics, and py_ecc as foreign arithmetic.

(`tests/conformance --backend=reference` judges it once more through the protocol.)
"""

import numpy as np
import pytest
from py_ecc import bn128
from py_ecc.fields import bn128_FQ2

from kernels.array import AffineG1, AffineG2, FrArray, FrMont, G1Array, G2Array
from kernels.backend import Backend, get_backend
from kernels.bn254 import G1, G2, P, R, root_of_unity
from kernels.errors import ShapeError
from kernels.reference import (
    Reference,
    add_fp2,
    add_g1,
    add_g2,
    invert_fp2,
    is_in_subgroup_g2,
    is_on_curve_g1,
    is_on_curve_g2,
    mul_fp2,
    mul_g1,
    mul_g2,
    negate_g1,
    negate_g2,
    sub_fp2,
)

EDGES = [0, 1, 2, 3, 1 << 64, 1 << 128, (R - 1) // 2, R - 2, R - 1]


def to_affine_g1(point: object) -> AffineG1 | None:
    """py_ecc's point, or None for infinity."""
    return None if point is None else tuple(int(c) for c in point)  # type: ignore[attr-defined,return-value]


def to_affine_g2(point: object) -> AffineG2 | None:
    if point is None:
        return None
    return tuple(tuple(int(c) for c in v.coeffs) for v in point)  # type: ignore[attr-defined,return-value]


def test_it_is_a_registered_backend() -> None:
    backend: Backend = Reference()
    assert isinstance(get_backend("reference"), Reference)
    assert backend.info().name == "reference"
    assert backend.info().n_threads == 1


def test_fp2_against_py_ecc() -> None:
    values = [(0, 0), (1, 0), (0, 1), (P - 1, P - 1), (3, P - 3), (12345, 678)]
    for a in values:
        for b in values:
            x, y = bn128_FQ2(a), bn128_FQ2(b)
            assert add_fp2(a, b) == tuple(int(c) for c in (x + y).coeffs)
            assert sub_fp2(a, b) == tuple(int(c) for c in (x - y).coeffs)
            assert mul_fp2(a, b) == tuple(int(c) for c in (x * y).coeffs)
        if any(a):
            assert mul_fp2(a, invert_fp2(a)) == (1, 0)
    with pytest.raises(ZeroDivisionError):
        invert_fp2((0, 0))


@pytest.mark.parametrize("k", EDGES)
def test_multiples_against_py_ecc(k: int) -> None:
    assert mul_g1(k, G1) == to_affine_g1(bn128.multiply(bn128.G1, k))
    assert mul_g2(k, G2) == to_affine_g2(bn128.multiply(bn128.G2, k))


def test_group_laws() -> None:
    p, q = mul_g1(5, G1), mul_g1(R - 3, G1)
    assert add_g1(p, q) == add_g1(q, p) == mul_g1(2, G1)
    assert add_g1(p, p) == mul_g1(10, G1)
    assert add_g1(p, negate_g1(p)) is None
    assert add_g1(p, None) == add_g1(None, p) == p
    assert mul_g1(-5, G1) == negate_g1(p)
    assert mul_g1(7, None) is None
    s, t = mul_g2(5, G2), mul_g2(R - 3, G2)
    assert add_g2(s, t) == add_g2(t, s) == mul_g2(2, G2)
    assert add_g2(s, s) == mul_g2(10, G2)
    assert add_g2(s, negate_g2(s)) is None
    assert add_g2(s, None) == add_g2(None, s) == s
    assert mul_g2(-5, G2) == negate_g2(s)


def test_predicates() -> None:
    assert is_on_curve_g1(None)
    assert is_on_curve_g1(G1)
    assert not is_on_curve_g1((1, 3))
    assert is_on_curve_g2(G2)
    assert not is_on_curve_g2((G2[0], G2[0]))
    assert is_in_subgroup_g2(None)
    assert is_in_subgroup_g2(mul_g2(9, G2))
    assert not is_in_subgroup_g2((G2[0], G2[0]))


def test_coordinates_not_below_p_are_refused() -> None:
    words = G1Array.from_ints([G1, G1]).data.copy()
    value = sum(int(w) << (64 * j) for j, w in enumerate(words[1, :4])) + P
    words[1, :4] = [value >> (64 * j) & (1 << 64) - 1 for j in range(4)]
    assert Reference().is_on_curve_g1(G1Array(words)).tolist() == [True, False]
    assert Reference().is_in_subgroup_g2(G2Array.zeros(1)).dtype == np.bool_


@pytest.mark.parametrize("shift", [1, 5, R - 1])
def test_transform_is_evaluation_by_powers(shift: int) -> None:
    a, w = [3, 0, R - 1, 7, 1 << 200, 11, 2, 5], root_of_unity(3)
    expected = [
        sum(c * pow(shift * pow(w, i, R), j, R) for j, c in enumerate(a)) % R for i in range(8)
    ]
    out = Reference().ntt(FrMont.from_ints(a), shift=shift)
    assert out.to_ints() == expected
    assert Reference().ntt(out, shift=shift, inverse=True).to_ints() == a


def test_foreign_fixed_bases_are_refused() -> None:
    class Foreign:
        n_bytes = 0

        def __len__(self) -> int:
            return 0

    with pytest.raises(TypeError, match="Foreign was prepared by another backend"):
        Reference().msm_g1(FrArray.zeros(0), Foreign())
    with pytest.raises(TypeError, match="Foreign was prepared by another backend"):
        Reference().msm_g2(FrArray.zeros(0), Foreign())


def test_three_axes_are_no_transform() -> None:
    with pytest.raises(ShapeError, match="expected"):
        Reference().ntt(FrMont.zeros(2, 2, 2))
    with pytest.raises(ValueError, match="shift is zero"):
        Reference().ntt(FrMont.zeros(2), shift=R)
