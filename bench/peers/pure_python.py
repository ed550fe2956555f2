"""py_ecc: plain Python integers, for scale; only sizes that take seconds."""

from __future__ import annotations

from typing import Any

from py_ecc import optimized_bn128 as curve

from bench.errors import Unavailable
from bench.registry import Task
from kernels.array import FrArray, FrMont, G1Array, G2Array

MAX_POINTS = 1 << 8


class PyEcc:
    """The `Peer` protocol over `py_ecc.optimized_bn128`: one multiplication per point."""

    def msm_g1(self, scalars: FrArray, bases: G1Array) -> Task[Any]:
        _refuse_large(len(scalars))
        return _sum_of_products(scalars, _points_g1(bases), curve.Z1)

    def msm_g2(self, scalars: FrArray, bases: G2Array) -> Task[Any]:
        _refuse_large(len(scalars))
        return _sum_of_products(scalars, _points_g2(bases), curve.Z2)

    def ntt(self, a: FrMont) -> Task[Any]:
        raise Unavailable("has no NTT")

    def pairing_check(self, g1: G1Array, g2: G2Array) -> Task[Any]:
        left, right = _points_g1(g1), _points_g2(g2)
        doubled = [curve.double(left[0]), *left[1:]]

        def run(points: list[Any] = left) -> bool:
            product = curve.FQ12.one()
            for p, q in zip(points, right, strict=True):
                product *= curve.pairing(q, p, final_exponentiate=False)
            exponent = (curve.field_modulus**12 - 1) // curve.curve_order
            return bool(product**exponent == curve.FQ12.one())

        return Task(run=run, answer=lambda verdict: (verdict, run(doubled)))


def _refuse_large(n: int) -> None:
    if n > MAX_POINTS:
        raise Unavailable(f"takes too long past {MAX_POINTS} points")


def _points_g1(points: G1Array) -> list[Any]:
    return [
        curve.Z1 if p is None else (curve.FQ(p[0]), curve.FQ(p[1]), curve.FQ.one())
        for p in points.to_ints()
    ]


def _points_g2(points: G2Array) -> list[Any]:
    return [
        curve.Z2 if p is None else (curve.FQ2(p[0]), curve.FQ2(p[1]), curve.FQ2.one())
        for p in points.to_ints()
    ]


def _sum_of_products(scalars: FrArray, points: list[Any], zero: Any) -> Task[Any]:
    values = scalars.to_ints()

    def run() -> Any:
        total = zero
        for s, p in zip(values, points, strict=True):
            total = curve.add(total, curve.multiply(p, s))
        return total

    return Task(run=run, answer=_affine)


def _affine(point: Any) -> Any:
    if curve.is_inf(point):
        return None
    x, y = curve.normalize(point)
    if isinstance(x, curve.FQ2):
        return tuple(int(c) for c in x.coeffs), tuple(int(c) for c in y.coeffs)
    return int(x), int(y)
