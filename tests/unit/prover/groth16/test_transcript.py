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
    statement, pok_w, d_a = b"statement", bytes(range(32)), bytes(range(32, 64))
    challenges = compute_challenges(statement, pok_w=pok_w, d_a=d_a, n_challenges=3)
    uniform = expand_message_xmd(statement + pok_w + d_a, DOMAIN, 3 * CHALLENGE_BYTES)
    assert challenges == [int.from_bytes(uniform[i : i + 48], "big") % R for i in (0, 48, 96)]
    assert len(set(challenges)) == 3


def test_every_input_moves_every_challenge() -> None:
    base = (b"statement", bytes(32), bytes(32))
    seen = set()
    for i in range(-1, 3):
        parts = list(base)
        if i >= 0:
            parts[i] = bytes([parts[i][0] ^ 1]) + parts[i][1:]
        seen |= set(compute_challenges(parts[0], pok_w=parts[1], d_a=parts[2], n_challenges=2))
    assert len(seen) == 8


def test_a_circuit_without_challenges_gets_none() -> None:
    assert compute_challenges(b"s", pok_w=bytes(32), d_a=bytes(32), n_challenges=0) == []


def test_points_have_fixed_length_so_inputs_cannot_run_together() -> None:
    with pytest.raises(ValueError, match="32 bytes each"):
        compute_challenges(b"s", pok_w=bytes(31), d_a=bytes(33), n_challenges=1)


def test_the_largest_number_of_challenges() -> None:
    many = compute_challenges(b"s", pok_w=bytes(32), d_a=bytes(32), n_challenges=MAX_CHALLENGES)
    assert len(many) == MAX_CHALLENGES
    with pytest.raises(ValueError, match="expand_message_xmd gives"):
        compute_challenges(b"s", pok_w=bytes(32), d_a=bytes(32), n_challenges=MAX_CHALLENGES + 1)
