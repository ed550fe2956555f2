"""The first key of a circuit is, byte by byte, that of snarkjs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from prover.formats.key_sections import SETUP_ORDER, write_sections
from tests.support.ceremonies import begin
from tests.support.foreign import take_apart, vector

# SHA-256 of what `snarkjs groth16 setup mixed.r1cs` makes of the prepared powers.
MIXED = "bb80fefc0f039e2fe622c8242d954e327512ce49c61e0d1b63f6ec3ac48ff11e"


def test_of_powers_that_are_prepared(tmp_path: Path) -> None:
    path = tmp_path / "k.zkey"
    write_sections(path, begin("multiplier").initial, SETUP_ORDER)
    theirs = vector("multiplier", "_0.zkey").read_bytes()
    for (section, ours), (number, body) in zip(
        take_apart(path.read_bytes())[1], take_apart(theirs)[1], strict=True
    ):
        assert (section, ours) == (number, body)
    assert path.read_bytes() == theirs


def test_of_powers_that_are_not(tmp_path: Path) -> None:
    path = tmp_path / "k.zkey"
    write_sections(path, begin("mixed").initial, SETUP_ORDER)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == MIXED


@pytest.mark.parametrize(("circuit", "counts"), [("multiplier", (4, 1, 4)), ("mixed", (41, 5, 64))])
def test_counts(circuit: str, counts: tuple[int, int, int]) -> None:
    assert begin(circuit).initial.counts == counts
