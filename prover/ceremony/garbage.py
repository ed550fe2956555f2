"""The sum of a point and of bytes that are none, as snarkjs computes it.

Its circuit hash takes in, for large circuits, 64 bytes that lie behind the powers of tau in the
file: a point where the file has more powers than the circuit needs, else the head of the next
section and the beginning of its first point. The coordinates are then not below p, and what comes
of them is defined by its arithmetic alone: words of 256 bits, from which p is subtracted once.

Source: wasmcurves (npm, 0.2.2), src/build_f1m.js and build_curve_jacobian_a0.js (addAffine).
"""

from __future__ import annotations

from kernels.array import U64, G1Array, ints_from_words, words_from_ints
from kernels.bn254 import P
from kernels.cpu.words.group import add_g1

_SIZE = 1 << 256
_INVERSE = -pow(P, -1, _SIZE) % _SIZE


def subtract_garbage(words: U64, point: G1Array) -> G1Array:
    """words - point, uint64[1, 8] and a point of the curve: "affine" words, length 1."""
    x1, y1 = ints_from_words(words.reshape(2, 4))
    x2, y2 = ints_from_words(point.data.reshape(2, 4))
    y2 = _sub(0, y2)
    if x1 == 0 == y1:
        return _pack(x2, y2)
    if x1 == x2 and y1 == y2:
        point = G1Array(words)
        return add_g1(point, point)
    h, dy = _sub(x2, x1), _sub(y2, y1)
    i = _double(_double(_mul(h, h)))
    j, r, v = _mul(h, i), _double(dy), _mul(x1, i)
    x3 = _sub(_sub(_mul(r, r), j), _double(v))
    y3 = _sub(_mul(_sub(v, x3), r), _double(_mul(y1, j)))
    z = _double(h) * pow(_SIZE, -1, P) % P
    inverse = pow(z, -1, P) if z else 0
    return _pack(x3 * inverse**2 % P, y3 * inverse**3 % P)


def _pack(x: int, y: int) -> G1Array:
    return G1Array(words_from_ints([x, y]).reshape(1, 8))


def _add(a: int, b: int) -> int:
    total = a + b
    return (total - P) % _SIZE if total >= P else total


def _double(a: int) -> int:
    return _add(a, a)


def _sub(a: int, b: int) -> int:
    return a - b if a >= b else (a - b + P) % _SIZE


def _mul(a: int, b: int) -> int:
    """a b / 2^256, from which p is subtracted at most once."""
    product = a * b
    total = (product + product % _SIZE * _INVERSE % _SIZE * P) >> 256
    return (total - P) % _SIZE if total >= P else total
