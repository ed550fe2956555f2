"""The contract's hash to a curve: the points of gnark-crypto's vectors, and of ours."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest

from kernels.bn254 import P
from kernels.hash_to_curve import C1, C2, C3, C4, Z, hash_to_field, hash_to_g1, map_to_g1
from kernels.reference import add_g1
from tests.support.contracts import Deployed, World
from tests.support.hash_vectors import TAG, VECTORS
from tests.support.shown_blocks import count_candidates


@pytest.fixture
def harness(world: World) -> Deployed:
    return world.deploy("MapHarness")


def test_constants(root: Path) -> None:
    text = (root / "contracts" / "HashToCurve.sol").read_text()
    found = dict(re.findall(r"uint256 \w+ constant (\w+) = (0x[0-9a-f]+|\d+);", text))
    expected = {"P": P, "WORD": 2**256 % P, "Z": Z, "C1": C1, "C2": C2, "C3": C3, "C4": C4}
    assert {name: int(value, 0) for name, value in found.items()} == expected


def test_vectors_of_gnark_crypto(world: World, harness: Deployed) -> None:
    for message, u, _, _, point in VECTORS:
        assert world.send(harness, "hashToField", message, TAG) == list(u), message
        assert world.send(harness, "hashToG1", message, TAG) == list(point), message


def test_any_message_and_tag(world: World, harness: Deployed, rng: Random) -> None:
    tried = set()
    for n_message in (0, 1, 31, 32, 55, 64, 161, 300, *range(100, 132)):
        message, tag = rng.randbytes(n_message), rng.randbytes(rng.randrange(1, 256))
        fields = hash_to_field(message, tag)
        assert world.send(harness, "hashToField", message, tag) == list(fields)
        assert world.send(harness, "hashToG1", message, tag) == list(hash_to_g1(message, tag) or ())
        tried |= {(i, count_candidates(u)) for i, u in enumerate(fields)}
    assert tried == {(i, n) for i in (0, 1) for n in (1, 2, 3)}, "some candidate was never taken"


@pytest.mark.soak
def test_many_messages(world: World, harness: Deployed, rng: Random) -> None:
    for _ in range(5_000):
        message, tag = rng.randbytes(rng.randrange(400)), rng.randbytes(rng.randrange(1, 256))
        assert world.send(harness, "hashToG1", message, tag) == list(hash_to_g1(message, tag) or ())


def test_values_without_an_inverse_and_equal_ones(world: World, harness: Deployed) -> None:
    half = (P + 1) // 2  # 1 - 4 u^2 = 0
    some = 0x1234567890ABCDEF
    values = (0, 1, half, P - half, some, P - some, P - 1)
    for u0 in values:
        for u1 in values:
            sum_ = add_g1(map_to_g1(u0), map_to_g1(u1)) or (0, 0)
            assert world.send(harness, "mapToG1", u0, u1) == list(sum_), (u0, u1)
