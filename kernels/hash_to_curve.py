"""Bytes to a point of BN254's G1 of unknown discrete logarithm.

    hash_to_g1(m) = map(u_0) + map(u_1),    (u_0, u_1) = expand_message_xmd(m, tag), 48 bytes each

source : RFC 9380, the suite BN254G1_XMD:SHA-256_SVDW_RO_ as gnark-crypto has it: hash_to_field of
         section 5.2, the Shallue-van de Woestijne map of section 6.6.1 with Z = 1 (appendix H.1
         finds it), cofactor 1. The unit tests hold gnark-crypto's vectors.
cost   : about 0.4 ms, the powers of Python integers
Not constant-time: what is hashed here is public. `kernels.cpu.words.svdw` does the same for many.
"""

from __future__ import annotations

from hashlib import sha256

from kernels.array import AffineG1
from kernels.bn254 import B1, P
from kernels.encoding import sqrt_fp
from kernels.reference import add_g1

FIELD_BYTES = 48  # 254 + 128 bits, rounded up
_HASH_BYTES = 32  # b_in_bytes of RFC 9380
_BLOCK_BYTES = 64  # s_in_bytes: the input block of SHA-256
Z = 1


def expand_message_xmd(message: bytes, domain: bytes, n_bytes: int) -> bytes:
    """n_bytes uniform bytes from a message (RFC 9380, section 5.3.1, with SHA-256).

    Raises ValueError beyond the RFC's limits: 1 <= n_bytes <= 255 * 32, domain of 1 to 255 bytes.
    """
    n_blocks = -(-n_bytes // _HASH_BYTES)
    if not 1 <= n_blocks <= 255:
        raise ValueError(f"expand_message_xmd gives 1 to {255 * _HASH_BYTES} bytes, not {n_bytes}")
    if not 1 <= len(domain) <= 255:
        raise ValueError(f"a domain tag has 1 to 255 bytes, this one {len(domain)}")
    tag = domain + bytes([len(domain)])
    first = sha256(
        bytes(_BLOCK_BYTES) + message + n_bytes.to_bytes(2, "big") + b"\0" + tag
    ).digest()
    whole = int.from_bytes(first, "big")
    blocks = [sha256(first + b"\1" + tag).digest()]
    for i in range(2, n_blocks + 1):
        mixed = (whole ^ int.from_bytes(blocks[-1], "big")).to_bytes(_HASH_BYTES, "big")
        blocks.append(sha256(mixed + bytes([i]) + tag).digest())
    return b"".join(blocks)[:n_bytes]


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
C1 = _curve(Z)
C2 = -Z * pow(2, -1, P) % P
_C3_ROOT = _root(-C1 * 3 * Z * Z)
C3 = _C3_ROOT if _C3_ROOT % 2 == 0 else P - _C3_ROOT
C4 = -4 * C1 * pow(3 * Z * Z, -1, P) % P


def hash_to_field(message: bytes, tag: bytes) -> tuple[int, int]:
    """Two elements of F_p."""
    raw = expand_message_xmd(message, tag, 2 * FIELD_BYTES)
    first, second = raw[:FIELD_BYTES], raw[FIELD_BYTES:]
    return int.from_bytes(first, "big") % P, int.from_bytes(second, "big") % P


def map_to_g1(u: int) -> AffineG1:
    """A point of the curve for any u in F_p, deterministic."""
    t1 = u * u * C1 % P
    t2, t1 = (1 + t1) % P, (1 - t1) % P
    t3 = t1 * t2 % P
    t3 = pow(t3, -1, P) if t3 else 0  # inv0
    t4 = u * t1 * t3 * C3 % P
    x1, x2 = (C2 - t4) % P, (C2 + t4) % P
    x3 = (pow(t2 * t2 * t3 % P, 2, P) * C4 + Z) % P
    for x in (x1, x2, x3):  # one of the three is always on the curve
        y = sqrt_fp(_curve(x))
        if y is not None:
            return x, y if y % 2 == u % 2 else P - y
    raise AssertionError("none of three candidates lies on the curve")


def hash_to_g1(message: bytes, tag: bytes) -> AffineG1 | None:
    """A point of G1; None is infinity, whose chance is 1/r."""
    u0, u1 = hash_to_field(message, tag)
    return add_g1(map_to_g1(u0), map_to_g1(u1))
