"""Bytes to a point of BN254's G1 of unknown discrete logarithm.

    hash_to_g1(m) = map(u_0) + map(u_1),    (u_0, u_1) = expand_message_xmd(m, tag), 48 bytes each

source : RFC 9380, the suite BN254G1_XMD:SHA-256_SVDW_RO_ as gnark-crypto has it: hash_to_field of
         section 5.2, the Shallue-van de Woestijne map of section 6.6.1 with Z = 1 (appendix H.1
         finds it), cofactor 1. The unit tests hold gnark-crypto's vectors.
cost   : about 0.4 ms, the powers of Python integers
Not constant-time: what is hashed here is public.
"""

from __future__ import annotations

from kernels.array import AffineG1
from kernels.bn254 import B1, P
from kernels.encoding import sqrt_fp
from kernels.reference import add_g1
from prover.groth16.transcript import expand_message_xmd

_FIELD_BYTES = 48  # 254 + 128 bits, rounded up
_Z = 1


def _curve(x: int) -> int:
    """g(x) = x^3 + 3."""
    return (x * x * x + B1) % P


def _root(a: int) -> int:
    """The square root of a square."""
    root = sqrt_fp(a % P)
    assert root is not None, "a constant of the map is no square"
    return root


# The constants of section 6.6.1 for A = 0: c1 = g(Z), c2 = -Z/2, c3 = sqrt(-g(Z) 3 Z^2) with even
# sgn0, c4 = -4 g(Z) / (3 Z^2).
_C1 = _curve(_Z)
_C2 = -_Z * pow(2, -1, P) % P
_C3_ROOT = _root(-_C1 * 3 * _Z * _Z)
_C3 = _C3_ROOT if _C3_ROOT % 2 == 0 else P - _C3_ROOT
_C4 = -4 * _C1 * pow(3 * _Z * _Z, -1, P) % P


def hash_to_field(message: bytes, tag: bytes) -> tuple[int, int]:
    """Two elements of F_p."""
    raw = expand_message_xmd(message, tag, 2 * _FIELD_BYTES)
    first, second = raw[:_FIELD_BYTES], raw[_FIELD_BYTES:]
    return int.from_bytes(first, "big") % P, int.from_bytes(second, "big") % P


def map_to_g1(u: int) -> AffineG1:
    """A point of the curve for any u in F_p, deterministic."""
    t1 = u * u * _C1 % P
    t2, t1 = (1 + t1) % P, (1 - t1) % P
    t3 = t1 * t2 % P
    t3 = pow(t3, -1, P) if t3 else 0  # inv0
    t4 = u * t1 * t3 * _C3 % P
    x1, x2 = (_C2 - t4) % P, (_C2 + t4) % P
    x3 = (pow(t2 * t2 * t3 % P, 2, P) * _C4 + _Z) % P
    for x in (x1, x2, x3):  # one of the three is always on the curve
        y = sqrt_fp(_curve(x))
        if y is not None:
            return x, y if y % 2 == u % 2 else P - y
    raise AssertionError("none of three candidates lies on the curve")


def hash_to_g1(message: bytes, tag: bytes) -> AffineG1 | None:
    """A point of G1; None is infinity, whose chance is 1/r."""
    u0, u1 = hash_to_field(message, tag)
    return add_g1(map_to_g1(u0), map_to_g1(u1))
