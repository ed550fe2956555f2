"""Fiat-Shamir: the challenges, from everything that was fixed before them.

    challenges = expand_message_xmd(statement | D' | pi | D_A, domain tag)

48 bytes each, mod r. The commitments that the groups are linked to are inside the statement, which
delimits itself; the points have fixed length, so no two inputs give the same message.
"""

from __future__ import annotations

from kernels.bn254 import R
from kernels.hash_to_curve import expand_message_xmd

DOMAIN = b"zkpot-v3-cp-groth16-bn254-sha256-challenge"
CHALLENGE_BYTES = 48  # 254 + 128 bits: the bias of the reduction mod r is below 2^-128
MAX_CHALLENGES = 255 * 32 // CHALLENGE_BYTES  # what expand_message_xmd gives from one message


def compute_challenges(statement: bytes, *, committed: bytes, n_challenges: int) -> list[int]:
    """The challenges of one proof, each in [0, r).

    statement : `Statement.encode()`, which holds the commitments
    committed : `prover.wire.envelope.encode_committed`: D', pi and D_A
    """
    if n_challenges == 0:
        return []
    uniform = expand_message_xmd(statement + committed, DOMAIN, CHALLENGE_BYTES * n_challenges)
    return [
        int.from_bytes(uniform[i : i + CHALLENGE_BYTES], "big") % R
        for i in range(0, len(uniform), CHALLENGE_BYTES)
    ]
