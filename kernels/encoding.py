"""Canonical bytes of scalars and points: one value, one encoding; any bytes get a verdict.

Everything is little-endian. A coordinate takes 32 bytes and p < 2^254, so the two top bits of an
encoding's last byte are free; they are the flags.

    F_r                32   x, below r
    G1, compressed     32   x                  bit 7: y is the larger of y, -y   bit 6: infinity
    G1, uncompressed   64   x | y              bit 7: zero                       bit 6: infinity
    G2, compressed     64   x0 | x1            as G1
    G2, uncompressed  128   x0 | x1 | y0 | y1  as G1

The larger of y and -y: as integers below p; for y = y0 + y1*u compare y1 first, then y0. (y is
never zero: both curves have odd order.) Infinity is the flag alone, every other bit zero. The
compressed forms are, byte for byte, those of arkworks (`ark-serialize` 0.4, curve `ark-bn254`).

`decode_*` never raises for any bytes: it returns the array, or `Refused` with a `DecodeFault`.
Accepted bytes encode back to themselves. Infinity is accepted; who must not take it says so itself.
Nothing here needs a compiled kernel. `backend` speeds up the group checks of large arrays, `power`
the square roots of compressed points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

import numpy as np

from kernels.array import U64, AffineG1, AffineG2, FrArray, G1Array, G2Array, words_from_ints
from kernels.bn254 import B1, B2, XI, P, R, X
from kernels.numpy_types import BoolArray
from kernels.reference import (
    Fp2,
    add_fp2,
    add_g2,
    invert_fp2,
    is_on_curve_g1,
    is_on_curve_g2,
    mul_fp2,
    sub_fp2,
)

FR_BYTES = 32
G1_BYTES = 32  # compressed; twice as many uncompressed
G2_BYTES = 64  # compressed; twice as many uncompressed

_INFINITY = 1 << 6
_Y_IS_LARGER = 1 << 7
_FLAGS = _INFINITY | _Y_IS_LARGER

T = TypeVar("T")
Power = Callable[[int, int], int]
"""power(a, exponent) = a^exponent mod p, for 0 <= a < p."""


def power_mod_p(a: int, exponent: int) -> int:
    """a^exponent mod p by Python's integers; `kernels.cpu.words.power` has a quicker one."""
    return pow(a, exponent, P)


class GroupTests(Protocol):
    """Tests of membership in bulk: any backend, or the module `kernels.cpu.words.group`."""

    def is_on_curve_g1(self, points: G1Array) -> BoolArray: ...
    def is_in_subgroup_g2(self, points: G2Array) -> BoolArray: ...


class DecodeFault(StrEnum):
    """Why bytes are refused."""

    WRONG_LENGTH = "wrong_length"
    NON_CANONICAL = "non_canonical"  # not below the modulus, stray flag, infinity with a payload
    NOT_ON_CURVE = "not_on_curve"
    WRONG_SUBGROUP = "wrong_subgroup"  # on E', but not of order r


@dataclass(frozen=True, slots=True)
class Refused:
    """The first fault met and the index of its element (0 for WRONG_LENGTH).

    All elements are parsed before any is tested for its subgroup (and, uncompressed, its curve).
    """

    fault: DecodeFault
    index: int


# -- scalars ---------------------------------------------------------------------------------------


def encode_fr(scalars: FrArray) -> bytes:
    """32 bytes for each scalar."""
    return scalars.data.astype("<u8", copy=False).tobytes()


def decode_fr(raw: bytes, n: int) -> FrArray | Refused:
    """n scalars; NON_CANONICAL for one that is not below r."""
    if len(raw) != n * FR_BYTES:
        return Refused(DecodeFault.WRONG_LENGTH, 0)
    words = np.frombuffer(raw, dtype="<u8").reshape(n, 4).astype(np.uint64)
    below = _is_below(words, R)
    return FrArray(words) if below.all() else _first(below, DecodeFault.NON_CANONICAL)


# -- points ----------------------------------------------------------------------------------------


def encode_g1(points: G1Array, *, compressed: bool = True) -> bytes:
    """32 (compressed) or 64 bytes for each point; the points must lie on E."""
    coordinates = [p and ((p[0],), (p[1],)) for p in points.to_ints()]
    return b"".join(_encode(p, degree=1, compressed=compressed) for p in coordinates)


def encode_g2(points: G2Array, *, compressed: bool = True) -> bytes:
    """64 (compressed) or 128 bytes for each point; the points must lie on E'."""
    return b"".join(_encode(p, degree=2, compressed=compressed) for p in points.to_ints())


def decode_g1(
    raw: bytes,
    n: int,
    *,
    compressed: bool = True,
    backend: GroupTests | None = None,
    power: Power = power_mod_p,
) -> G1Array | Refused:
    """n points of G1 = E(F_p), whose order is prime.

    cost : a square root each if compressed, else two coordinate conversions
    """
    parsed = (
        _parse(raw, n, G1_BYTES, lambda one: _parse_g1_compressed(one, power))
        if compressed
        else _parse(raw, n, 2 * G1_BYTES, _parse_g1)
    )
    if isinstance(parsed, Refused):
        return parsed
    points = G1Array.from_ints(parsed)
    if compressed:
        return points  # y is a root of x^3 + 3
    if backend is not None:
        valid = backend.is_on_curve_g1(points)
    else:
        valid = np.array([is_on_curve_g1(p) for p in parsed], dtype=np.bool_)
    return points if valid.all() else _first(valid, DecodeFault.NOT_ON_CURVE)


def decode_g2(
    raw: bytes,
    n: int,
    *,
    compressed: bool = True,
    backend: GroupTests | None = None,
    power: Power = power_mod_p,
) -> G2Array | Refused:
    """n points of G2, the subgroup of order r in E'(F_p2).

    cost : about a millisecond each without a backend, mostly the subgroup test
    """
    parsed = (
        _parse(raw, n, G2_BYTES, lambda one: _parse_g2_compressed(one, power))
        if compressed
        else _parse(raw, n, 2 * G2_BYTES, _parse_g2)
    )
    if isinstance(parsed, Refused):
        return parsed
    points = G2Array.from_ints(parsed)
    if backend is not None:
        valid = backend.is_in_subgroup_g2(points)
    else:
        valid = np.array([is_in_subgroup_g2(p) for p in parsed], dtype=np.bool_)
    if valid.all():
        return points
    index = int(np.argmin(valid))
    on_curve = is_on_curve_g2(parsed[index])
    return Refused(DecodeFault.WRONG_SUBGROUP if on_curve else DecodeFault.NOT_ON_CURVE, index)


def _is_below(words: U64, modulus: int) -> BoolArray:
    """Per row of uint64[n, 4]: the little-endian number is below the modulus."""
    bound = words_from_ints([modulus])[0]
    below = np.zeros(len(words), dtype=np.bool_)
    for j in range(4):  # from the low word up: a higher word that differs decides
        below = np.where(words[:, j] == bound[j], below, words[:, j] < bound[j])
    return below


def _first(valid: BoolArray, fault: DecodeFault) -> Refused:
    return Refused(fault, int(np.argmin(valid)))


def _is_larger(y: Sequence[int]) -> bool:
    """y > -y, the last coefficient compared first."""
    top = next(c for c in reversed(y) if c)
    return 2 * top > P


def _encode(
    point: tuple[Sequence[int], Sequence[int]] | None, *, degree: int, compressed: bool
) -> bytes:
    """One point whose coordinates have `degree` coefficients each."""
    if point is None:
        return bytes(32 * degree * (1 if compressed else 2) - 1) + bytes([_INFINITY])
    x, y = point
    out = bytearray().join(c.to_bytes(32, "little") for c in (x if compressed else (*x, *y)))
    if compressed and _is_larger(y):
        out[-1] |= _Y_IS_LARGER
    return bytes(out)


# -- parsing: one point ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fields:
    """Canonical coordinates of a point that is not infinity, and its sign flag."""

    coordinates: list[int]
    y_is_larger: bool


def _parse(
    raw: bytes, n: int, n_bytes: int, parse: Callable[[bytes], T | DecodeFault]
) -> list[T] | Refused:
    """n points of n_bytes each."""
    if len(raw) != n * n_bytes:
        return Refused(DecodeFault.WRONG_LENGTH, 0)
    points: list[T] = []
    for i in range(n):
        point = parse(raw[i * n_bytes : (i + 1) * n_bytes])
        if isinstance(point, DecodeFault):
            return Refused(point, i)
        points.append(point)
    return points


def _split(raw: bytes) -> _Fields | DecodeFault | None:
    """Flags and coordinates; None is infinity."""
    flags = raw[-1] & _FLAGS
    body = raw[:-1] + bytes([raw[-1] & ~_FLAGS])
    coordinates = [int.from_bytes(body[i : i + 32], "little") for i in range(0, len(body), 32)]
    if flags & _INFINITY:
        return DecodeFault.NON_CANONICAL if any(body) or flags & _Y_IS_LARGER else None
    if any(c >= P for c in coordinates):
        return DecodeFault.NON_CANONICAL
    return _Fields(coordinates, bool(flags & _Y_IS_LARGER))


def _split_uncompressed(raw: bytes) -> list[int] | DecodeFault | None:
    """Coordinates; (0, 0) is refused here, because in an array it would mean infinity."""
    fields = _split(raw)
    if not isinstance(fields, _Fields):
        return fields
    if fields.y_is_larger:
        return DecodeFault.NON_CANONICAL
    return fields.coordinates if any(fields.coordinates) else DecodeFault.NOT_ON_CURVE


def _parse_g1(raw: bytes) -> AffineG1 | DecodeFault | None:
    fields = _split_uncompressed(raw)
    return (fields[0], fields[1]) if isinstance(fields, list) else fields


def _parse_g2(raw: bytes) -> AffineG2 | DecodeFault | None:
    fields = _split_uncompressed(raw)
    if not isinstance(fields, list):
        return fields
    return (fields[0], fields[1]), (fields[2], fields[3])


def _parse_g1_compressed(raw: bytes, power: Power) -> AffineG1 | DecodeFault | None:
    fields = _split(raw)
    if not isinstance(fields, _Fields):
        return fields
    (x,) = fields.coordinates
    y = sqrt_fp((x * x * x + B1) % P, power)
    if y is None:
        return DecodeFault.NOT_ON_CURVE
    return x, y if _is_larger((y,)) == fields.y_is_larger else P - y


def _parse_g2_compressed(raw: bytes, power: Power) -> AffineG2 | DecodeFault | None:
    fields = _split(raw)
    if not isinstance(fields, _Fields):
        return fields
    x = (fields.coordinates[0], fields.coordinates[1])
    y = sqrt_fp2(add_fp2(mul_fp2(mul_fp2(x, x), x), B2), power)
    if y is None:
        return DecodeFault.NOT_ON_CURVE
    return x, y if _is_larger(y) == fields.y_is_larger else sub_fp2((0, 0), y)


# -- square roots and the subgroup -----------------------------------------------------------------


def sqrt_fp(a: int, power: Power = power_mod_p) -> int | None:
    """A square root mod p, or None. p = 3 mod 4, so a^((p + 1)/4) is one if any exists."""
    root = power(a, (P + 1) // 4)
    return root if root * root % P == a else None


def sqrt_fp2(a: Fp2, power: Power = power_mod_p) -> Fp2 | None:
    """A square root in F_p2, or None.

    source : the complex method (eprint 2012/685, algorithm 8), with two powers in F_p
    holds  : (s + t*u)^2 = a means s^2 - t^2 = a0 and 2st = a1, so with n = sqrt(a0^2 + a1^2) either
             d = (a0 + n)/2 is s^2, or, -1 being no square and d * (a0 - n)/2 = -(a1/2)^2, d = -t^2.
             Let q = d^((p - 3)/4), e = q*d and q*e = d^((p - 1)/2) = +-1. If +1: s = e and
             1/s = q. If -1: t = e and 1/t = -q.
    """
    a0, a1 = a
    norm_root = sqrt_fp((a0 * a0 + a1 * a1) % P, power)
    if norm_root is None:
        return None
    half = (P + 1) // 2
    d = (a0 + norm_root) * half % P or (a0 - norm_root) * half % P  # both zero only for a = 0
    q = power(d, (P - 3) // 4)
    e = q * d % P
    root = (e, a1 * half * q % P) if e * q % P == 1 else (-a1 * half * q % P, e)
    return root if mul_fp2(root, root) == a else None


def is_in_subgroup_g2(point: AffineG2 | None) -> bool:
    """Whether points are on E' and of order r (or infinity): [x + 1]Q + psi([x]Q) + psi^2([x]Q) =
    psi^3([2x]Q).

    psi    : (X, Y) -> (xi^((p - 1)/3) conj X, xi^((p - 1)/2) conj Y), Frobenius seen on the twist
    source : eprint 2022/348, sections 3 and 5.1
    holds  : psi^2 - [t]psi + [p] = 0 on E'. Let f(T) = (x + 1) + xT + xT^2 - 2xT^3 and N its norm
             in Z[T]/(T^2 - tT + p). On G2 psi is multiplication by p and f(p) = 0 mod r, so members
             pass. Who passes is killed by f(psi), hence by N, and by #E'(F_p2) = r*h, hence by
             gcd(N, r*h). r divides N, gcd(N, h) = 1 and r does not divide h: the gcd is r, and E'
             has only one subgroup of order r. (The unit tests recompute these numbers.)
    cost   : 63 doublings and 23 additions
    """
    if point is None:
        return True
    if not is_on_curve_g2(point):
        return False
    multiple = _mul_by_x(point)
    doubled = add_g2(multiple, multiple)
    left = add_g2(add_g2(multiple, point), _psi(add_g2(multiple, _psi(multiple))))
    return left == _psi(_psi(_psi(doubled)))


def _pow_fp2(a: Fp2, exponent: int) -> Fp2:
    result = (1, 0)
    for bit in bin(exponent)[2:]:
        result = mul_fp2(result, result)
        if bit == "1":
            result = mul_fp2(result, a)
    return result


_PSI_X = _pow_fp2(XI, (P - 1) // 3)
_PSI_Y = _pow_fp2(XI, (P - 1) // 2)


def _psi(point: AffineG2 | None) -> AffineG2 | None:
    if point is None:
        return None
    (x0, x1), (y0, y1) = point
    return mul_fp2(_PSI_X, (x0, P - x1)), mul_fp2(_PSI_Y, (y0, P - y1))


_Jacobian = tuple[Fp2, Fp2, Fp2]  # (X, Y, Z) is (X/Z^2, Y/Z^3); Z = 0 is infinity


def _signed_digits(k: int) -> list[int]:
    """Non-adjacent form, least digit first: sum d_i 2^i = k, no two neighbours nonzero."""
    digits = []
    while k:
        digit = 2 - k % 4 if k & 1 else 0
        digits.append(digit)
        k = (k - digit) // 2
    return digits


_X_DIGITS = _signed_digits(X)[::-1]


def _mul_by_x(point: AffineG2) -> AffineG2 | None:
    """[x]Q for any Q on E' (of any order)."""
    x, y = point
    addend = {1: point, -1: (x, sub_fp2((0, 0), y))}
    total: _Jacobian = (x, y, (1, 0))
    for digit in _X_DIGITS[1:]:
        total = _double(total)
        if digit:
            total = _add_affine(total, addend[digit])
    if total[2] == (0, 0):
        return None
    z_inverse = invert_fp2(total[2])
    z2 = mul_fp2(z_inverse, z_inverse)
    return mul_fp2(total[0], z2), mul_fp2(total[1], mul_fp2(z2, z_inverse))


def _double(p: _Jacobian) -> _Jacobian:
    """dbl-2009-l of the Explicit-Formulas Database (a = 0), lazily reduced; right for infinity."""
    (x0, x1), (y0, y1), (z0, z1) = p
    a0, a1 = (x0 + x1) * (x0 - x1) % P, 2 * x0 * x1 % P  # X^2
    b0, b1 = (y0 + y1) * (y0 - y1) % P, 2 * y0 * y1 % P  # Y^2
    d0, d1 = 4 * (x0 * b0 - x1 * b1) % P, 4 * (x0 * b1 + x1 * b0) % P  # 4 X Y^2
    e0, e1 = 3 * a0, 3 * a1
    f0 = ((e0 + e1) * (e0 - e1) - 2 * d0) % P
    f1 = (2 * e0 * e1 - 2 * d1) % P
    g0, g1 = d0 - f0, d1 - f1
    h0 = (e0 * g0 - e1 * g1 - 8 * (b0 + b1) * (b0 - b1)) % P
    h1 = (e0 * g1 + e1 * g0 - 16 * b0 * b1) % P
    return (f0, f1), (h0, h1), (2 * (y0 * z0 - y1 * z1) % P, 2 * (y0 * z1 + y1 * z0) % P)


def _add_affine(p: _Jacobian, q: AffineG2) -> _Jacobian:
    """p + q, every case: p infinite, p = q, p = -q."""
    x1, y1, z1 = p
    if z1 == (0, 0):
        return q[0], q[1], (1, 0)
    z_square = mul_fp2(z1, z1)
    h = sub_fp2(mul_fp2(q[0], z_square), x1)
    s = sub_fp2(mul_fp2(q[1], mul_fp2(z_square, z1)), y1)
    if h == (0, 0):
        return _double(p) if s == (0, 0) else ((1, 0), (1, 0), (0, 0))
    h_square = mul_fp2(h, h)
    h_cube = mul_fp2(h_square, h)
    v = mul_fp2(x1, h_square)
    x3 = sub_fp2(sub_fp2(mul_fp2(s, s), h_cube), add_fp2(v, v))
    y3 = sub_fp2(mul_fp2(s, sub_fp2(v, x3)), mul_fp2(y1, h_cube))
    return x3, y3, mul_fp2(z1, h)
