"""Bytes and points of true proofs, bent: what anybody can try who has seen one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import R
from kernels.cpu.words.group import add_g1, mul_g1, neg_g1
from kernels.reference import add_g2, mul_g2, negate_g2
from prover.wire.envelope import Proof
from prover.wire.verdict import Verdict

G1_POINTS = ("a", "c", "own", "link", "d_a")


def decode_points(raw: bytes) -> Proof:
    """The points of a proof that is known to be well-formed."""
    proof = Proof.decode(raw)
    assert not isinstance(proof, Verdict), "a true proof decodes"
    return proof


def flip_bits(raw: bytes, n: int | None, generator: np.random.Generator) -> Iterator[bytes]:
    """The bytes with one bit flipped: n different bits, or each in turn for None."""
    n_bits = 8 * len(raw)
    order = range(n_bits) if n is None else generator.permutation(n_bits)[:n].tolist()
    for bit in order:
        bent = bytearray(raw)
        bent[bit // 8] ^= 1 << bit % 8
        yield bytes(bent)


def bend_points(raw: bytes) -> Iterator[bytes]:
    """The proof with one point negated, at infinity, or in place of another one."""
    proof = decode_points(raw)
    for name, before in zip(G1_POINTS, (G1_POINTS[-1], *G1_POINTS), strict=False):
        points: G1Array = getattr(proof, name)
        other: G1Array = getattr(proof, before)
        for bent in (neg_g1(points), G1Array.from_ints([None]), other):
            changed: dict[str, Any] = {name: bent}
            yield replace(proof, **changed).encode()
    yield replace(proof, b=G2Array.from_ints(map(negate_g2, proof.b.to_ints()))).encode()
    yield replace(proof, b=G2Array.from_ints([None])).encode()


def add_points(raw: bytes, other: bytes) -> bytes:
    """The sum of two proofs, point by point."""
    one, two = decode_points(raw), decode_points(other)
    sums = {name: add_g1(getattr(one, name), getattr(two, name)) for name in G1_POINTS}
    b = add_g2(*one.b.to_ints(), *two.b.to_ints())
    return replace(one, **sums, b=G2Array.from_ints([b])).encode()


def mix_points(raw: bytes, other: bytes) -> Iterator[bytes]:
    """The proof with another true proof's point in place of each, in turn."""
    one, two = decode_points(raw), decode_points(other)
    for name in (*G1_POINTS, "b"):
        yield replace(one, **{name: getattr(two, name)}).encode()


def randomize(raw: bytes, factor: int) -> bytes:
    """The same proof in other words: (x A, B / x, C), which says nothing new and is valid.

    factor : 1 < x < r
    source : Groth16 proofs are malleable so; statements are what counts
    """
    proof = decode_points(raw)
    (b,) = proof.b.to_ints()
    a = mul_g1(FrArray.from_ints([factor]), proof.a)
    return replace(proof, a=a, b=G2Array.from_ints([mul_g2(pow(factor, -1, R), b)])).encode()
