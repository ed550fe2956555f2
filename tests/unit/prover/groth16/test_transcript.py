"""What the challenges of a proof depend on."""

from __future__ import annotations

import pytest

from kernels.bn254 import R
from kernels.hash_to_curve import expand_message_xmd
from prover.groth16.transcript import (
    CHALLENGE_BYTES,
    DOMAIN,
    MAX_CHALLENGES,
    compute_challenges,
)


def test_challenges_are_48_uniform_bytes_each() -> None:
    statement, committed = b"statement", bytes(range(96))
    challenges = compute_challenges(statement, committed=committed, n_challenges=3)
    uniform = expand_message_xmd(statement + committed, DOMAIN, 3 * CHALLENGE_BYTES)
    assert challenges == [int.from_bytes(uniform[i : i + 48], "big") % R for i in (0, 48, 96)]
    assert len(set(challenges)) == 3


def test_every_input_moves_every_challenge() -> None:
    """D', pi and D_A among them."""
    base = (b"statement", *(bytes(32) for _ in range(3)))
    seen = set()
    for i in range(-1, 4):
        parts = list(base)
        if i >= 0:
            parts[i] = bytes([parts[i][0] ^ 1]) + parts[i][1:]
        committed = b"".join(parts[1:])
        seen |= set(compute_challenges(parts[0], committed=committed, n_challenges=2))
    assert len(seen) == 10


def test_a_circuit_without_challenges_gets_none() -> None:
    assert compute_challenges(b"s", committed=bytes(96), n_challenges=0) == []


def test_the_largest_number_of_challenges() -> None:
    many = compute_challenges(b"s", committed=bytes(96), n_challenges=MAX_CHALLENGES)
    assert len(many) == MAX_CHALLENGES
    with pytest.raises(ValueError, match="expand_message_xmd gives"):
        compute_challenges(b"s", committed=bytes(96), n_challenges=MAX_CHALLENGES + 1)
