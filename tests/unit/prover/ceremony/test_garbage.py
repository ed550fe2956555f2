"""The sum with bytes that are no point, as wasmcurves 0.2.2 computes it."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from kernels.array import U64, G1Array
from kernels.cpu.words.group import add_g1, neg_g1
from prover.ceremony.garbage import subtract_garbage
from prover.ceremony.transcript import encode_big_endian
from tests.support.ceremonies import begin

# What lies behind 2^16 - 1 powers of tau in G1: the head of the next section and the first words
# of the generator of G2. Then points of that file, and g1m_subAffine of both, uncompressed.
BEHIND = (
    "0300000000004000000000002620bc02d1b5838e72017b493519ebdcdf1a8197"
    "4726b8fb3b5096af4138571940614ca87d73b4afc4d802585add4360862fa052"
)
DIFFERENCES = [
    (
        "1c965379faab5d444b9b14131b61c516b27c9ea4c20a5ebe65083dfdfa409c12"
        "3836822ac9617c5d6646207fde4dd003c007bfa4af9b39a19628ad62a2c7400a",
        "0d34799ef73f38652b1aab77c6b0584bebb9581c6084dad9decb8c9922571db7"
        "1ee80468f9d2f38c0bd7c77968a22d87798e320ec500d00a9c9d4ebfa0806e53",
    ),
    (
        "a4ee4098f21e1267bbd06e44674b1ade921e0d7fb8797b190d338fcf95358027"
        "cda55425bba54fd985d43197425c7938518998161450d56d60ec32a1ccd6a620",
        "2b1e4bdac8a02bee9daedf8efdfb8f88d558d72300aa7e0a6cac331a68079740"
        "19e3026e11dac44ecc57771b796b5d2a83a2b1c51e56e43e2da0294b8292b988",
    ),
    (
        "2c1c6b1baef531f351ac41548f9da64ad2644eab0cffa99977c17933258f2606"
        "e28016285f1b9d2b67a4b2914f730fef30285a17a0290f946fd33558b6bfeb2e",
        "1310d96bc4d4532df44a85bdafed5ff87afec56ed5d50517df77825ed7faa6a1"
        "2186a87ca6680a3bd596c0fd261859575469e86cbb0ff5274d8627f68881806f",
    ),
]


def words(text: str) -> U64:
    return np.frombuffer(bytes.fromhex(text), dtype="<u8").astype(np.uint64).reshape(1, 8)


@pytest.mark.parametrize(("point", "expected"), DIFFERENCES)
def test_differences_are_those_of_wasmcurves(point: str, expected: str) -> None:
    found = subtract_garbage(words(BEHIND), G1Array(words(point)))
    assert encode_big_endian(found).hex() == expected


@pytest.mark.parametrize("index", range(3))
def test_garbage_that_is_a_point_is_subtracted_as_one(index: int, rng: Random) -> None:
    points = begin("multiplier").powers.tau_1
    first = points[index + 1 : index + 2]
    second = points[index + 2 + rng.randrange(3) :][:1]
    assert subtract_garbage(first.data, second).equals(add_g1(first, neg_g1(second)))


def test_garbage_that_is_the_negative_doubles_it() -> None:
    """A file may hold any words there: who knows tau has the negative of a power begin like the
    head of a section."""
    point = begin("multiplier").powers.tau_1[1:2]
    negative = neg_g1(point)
    assert subtract_garbage(negative.data, point).equals(add_g1(negative, negative))


def test_garbage_of_zeros_is_infinity() -> None:
    point = begin("multiplier").powers.tau_1[1:2]
    none = np.zeros((1, 8), dtype=np.uint64)
    assert subtract_garbage(none, point).equals(neg_g1(point))
