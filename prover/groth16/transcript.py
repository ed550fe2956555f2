"""Fiat-Shamir: the challenges, from everything that was fixed before them.

    challenges = expand_message_xmd(statement bytes | PoK_W | D_A, domain tag)  48 bytes each, mod r

D_W is inside the statement. The statement encoding delimits itself and the points have fixed
length, so no two different inputs give the same message.
"""

from __future__ import annotations

from kernels.bn254 import R
from kernels.hash_to_curve import expand_message_xmd

DOMAIN = b"zkpot-v1-cp-groth16-bn254-sha256-challenge"
CHALLENGE_BYTES = 48  # 254 + 128 bits: the bias of the reduction mod r is below 2^-128
POINT_BYTES = 32
MAX_CHALLENGES = 255 * 32 // CHALLENGE_BYTES  # what expand_message_xmd gives from one message


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
