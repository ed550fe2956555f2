"""Fiat-Shamir: the challenges, from everything that was fixed before them.

    challenges = expand_message_xmd(statement bytes | PoK_W | D_A, domain tag)  48 bytes each, mod r

D_W is inside the statement. The statement encoding delimits itself and the points have fixed
length, so no two different inputs give the same message.
"""

from __future__ import annotations

from hashlib import sha256

from kernels.bn254 import R

DOMAIN = b"zkpot-v1-cp-groth16-bn254-sha256-challenge"
CHALLENGE_BYTES = 48  # 254 + 128 bits: the bias of the reduction mod r is below 2^-128
POINT_BYTES = 32

_HASH_BYTES = 32  # b_in_bytes of RFC 9380
_BLOCK_BYTES = 64  # s_in_bytes: the input block of SHA-256
MAX_CHALLENGES = 255 * _HASH_BYTES // CHALLENGE_BYTES


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
    blocks = [sha256(first + b"\1" + tag).digest()]
    for i in range(2, n_blocks + 1):
        mixed = bytes(x ^ y for x, y in zip(first, blocks[-1], strict=True))
        blocks.append(sha256(mixed + bytes([i]) + tag).digest())
    return b"".join(blocks)[:n_bytes]


def compute_challenges(
    statement: bytes, *, pok_w: bytes, d_a: bytes, n_challenges: int
) -> list[int]:
    """The challenges of one proof, each in [0, r).

    statement   : `Statement.encode()`, which holds D_W
    pok_w, d_a  : compressed points, 32 bytes each
    """
    if len(pok_w) != POINT_BYTES or len(d_a) != POINT_BYTES:
        raise ValueError(f"PoK_W and D_A are {POINT_BYTES} bytes each: {len(pok_w)}, {len(d_a)}")
    if n_challenges == 0:
        return []
    uniform = expand_message_xmd(statement + pok_w + d_a, DOMAIN, CHALLENGE_BYTES * n_challenges)
    return [
        int.from_bytes(uniform[i : i + CHALLENGE_BYTES], "big") % R
        for i in range(0, len(uniform), CHALLENGE_BYTES)
    ]
