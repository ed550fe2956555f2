"""arkworks (Rust) through `zksnake`; one thread.

`zksnake` takes and returns Python integers, so the transforms carry that conversion in their time;
there is no way to hand it a buffer.
"""

from __future__ import annotations

from typing import Any

from zksnake._algebra import ec_bn254, polynomial_bn254

from bench.peers.interface import digest
from bench.registry import Task
from kernels.array import AffineG1, AffineG2, FrArray, FrMont, G1Array, G2Array


class Arkworks:
    """The `Peer` protocol over `ark-bn254`."""

    def msm_g1(self, scalars: FrArray, bases: G1Array) -> Task[Any]:
        points = [ec_bn254.PointG1(*xy) for xy in _finite(bases)]
        values = scalars.to_ints()
        return Task(
            run=lambda: ec_bn254.multiscalar_mul_g1(points, values),
            answer=lambda p: None if p.is_zero() else (p.x, p.y),
        )

    def msm_g2(self, scalars: FrArray, bases: G2Array) -> Task[Any]:
        points = [ec_bn254.PointG2(*x, *y) for x, y in _finite_g2(bases)]
        values = scalars.to_ints()
        return Task(
            run=lambda: ec_bn254.multiscalar_mul_g2(points, values),
            answer=lambda p: None if p.is_zero() else (tuple(p.x), tuple(p.y)),
        )

    def ntt(self, a: FrMont) -> Task[Any]:
        values = a.to_ints()
        return Task(run=lambda: polynomial_bn254.fft(values, len(values)), answer=digest)

    def pairing_check(self, g1: G1Array, g2: G2Array) -> Task[Any]:
        left = [ec_bn254.PointG1(*xy) for xy in _finite(g1)]
        right = [ec_bn254.PointG2(*x, *y) for x, y in _finite_g2(g2)]
        one = ec_bn254.pairing(left[0] * 0, right[0])
        doubled = [left[0] * 2, *left[1:]]

        def run(points: list[Any] = left) -> bool:
            return bool(ec_bn254.multi_pairing(points, right) == one)

        return Task(run=run, answer=lambda verdict: (verdict, run(doubled)))


def _finite(points: G1Array) -> list[AffineG1]:
    found = [p for p in points.to_ints() if p is not None]
    if len(found) != len(points):
        raise ValueError("zksnake takes no point at infinity")
    return found


def _finite_g2(points: G2Array) -> list[AffineG2]:
    found = [p for p in points.to_ints() if p is not None]
    if len(found) != len(points):
        raise ValueError("zksnake takes no point at infinity")
    return found
