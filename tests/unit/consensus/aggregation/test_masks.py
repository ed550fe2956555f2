"""Streams and their sums against AES by itself and Python's integers."""

from random import Random

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from consensus.aggregation.masks import Masker, expand
from kernels.array import FrArray
from kernels.backend import get_backend
from kernels.bn254 import R
from kernels.cpu.backend import CpuBackend


def compute_stream(seed: bytes, n: int) -> list[int]:
    raw = Cipher(AES(seed), CTR(bytes(16))).encryptor().update(bytes(48 * n))
    return [int.from_bytes(raw[48 * i : 48 * i + 48], "little") % R for i in range(n)]


def test_a_stream_is_aes_in_counter_mode(rng: Random) -> None:
    seed = rng.randbytes(32)
    assert expand(seed, 5).to_ints() == compute_stream(seed, 5)
    assert len(expand(seed, 0)) == 0


def test_a_stream_is_pinned() -> None:
    assert expand(bytes(32), 1).to_ints() == [PINNED]


PINNED = (
    int.from_bytes(
        bytes.fromhex(
            "dc95c078a2408989ad48a21492842087530f8afbc74536b9a963b4f1c4cb738b"
            "cea7403d4d606b6e074ec5d3baf39d18"
        ),
        "little",
    )
    % R
)
"""The first 48 bytes of AES-256-CTR under the zero key, as in NIST's vectors of the zero block."""


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 1024, 2500])
def test_a_sum_does_not_depend_on_threads(threads: int, n: int, rng: Random) -> None:
    seeds = [(rng.choice((1, -1)), rng.randbytes(32)) for _ in range(9)]
    streams = [(sign, compute_stream(seed, n)) for sign, seed in seeds]
    expected = [sum(sign * s[i] for sign, s in streams) % R for i in range(n)]
    found = Masker(CpuBackend(threads=threads)).sum_streams(seeds, n)
    assert found.to_ints() == expected


def test_arithmetic_of_vectors(rng: Random) -> None:
    masker = Masker(get_backend("cpu"))
    assert masker.sum_streams([], 3).to_ints() == [0, 0, 0]
    x, y = ([rng.randrange(R) for _ in range(20)] for _ in range(2))
    a, b = FrArray.from_ints(x), FrArray.from_ints(y)
    assert masker.add(a, b).to_ints() == [(u + v) % R for u, v in zip(x, y, strict=True)]
    assert masker.scale(a, 1 << 127).to_ints() == [(u << 127) % R for u in x]
