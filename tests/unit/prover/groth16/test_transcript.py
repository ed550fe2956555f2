"""expand_message_xmd against RFC 9380, appendix K.1, and what the challenges depend on."""

from __future__ import annotations

import pytest

from kernels.bn254 import R
from prover.groth16.transcript import (
    CHALLENGE_BYTES,
    DOMAIN,
    MAX_CHALLENGES,
    compute_challenges,
    expand_message_xmd,
)

RFC_DOMAIN = b"QUUX-V01-CS02-with-expander-SHA256-128"
RFC_VECTORS = [  # (message, output length, output)
    (b"", 32, "68a985b87eb6b46952128911f2a4412bbc302a9d759667f87f7a21d803f07235"),
    (b"abc", 32, "d8ccab23b5985ccea865c6c97b6e5b8350e794e603b4b97902f53a8a0d605615"),
    (
        b"abcdef0123456789",
        32,
        "eff31487c770a893cfb36f912fbfcbff40d5661771ca4b2cb4eafe524333f5c1",
    ),
    (
        b"q128_" + b"q" * 128,
        32,
        "b23a1d2b4d97b2ef7785562a7e8bac7eed54ed6e97e29aa51bfe3f12ddad1ff9",
    ),
    (
        b"a512_" + b"a" * 512,
        32,
        "4623227bcc01293b8c130bf771da8c298dede7383243dc0993d2d94823958c4c",
    ),
    (
        b"",
        128,
        "af84c27ccfd45d41914fdff5df25293e221afc53d8ad2ac06d5e3e29485dadbee0d121587713a3e0dd4d5e69e93e"
        "b7cd4f5df4cd103e188cf60cb02edc3edf18eda8576c412b18ffb658e3dd6ec849469b979d444cf7b26911a08e63"
        "cf31f9dcc541708d3491184472c2c29bb749d4286b004ceb5ee6b9a7fa5b646c993f0ced",
    ),
]


@pytest.mark.parametrize(("message", "n_bytes", "expected"), RFC_VECTORS)
def test_expand_message_agrees_with_the_rfc(message: bytes, n_bytes: int, expected: str) -> None:
    assert expand_message_xmd(message, RFC_DOMAIN, n_bytes).hex() == expected


def test_the_output_length_is_hashed() -> None:
    short, long = (expand_message_xmd(b"m", DOMAIN, n) for n in (32, 33))
    assert short != long[:32]


@pytest.mark.parametrize(
    ("domain", "n_bytes"),
    [(DOMAIN, 0), (DOMAIN, -1), (DOMAIN, 255 * 32 + 1), (b"", 32), (b"d" * 256, 32)],
)
def test_limits_of_the_rfc(domain: bytes, n_bytes: int) -> None:
    with pytest.raises(ValueError, match=r"expand_message_xmd gives|domain tag has"):
        expand_message_xmd(b"m", domain, n_bytes)


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
