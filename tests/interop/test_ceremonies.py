"""Ceremonies that snarkjs and we hand to each other: either goes on where the other stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernels.backend import get_backend
from prover.formats.key_sections import read_sections
from tests.support.ceremonies import POWERS, write_chain
from tests.support.commands import refuse, succeed
from tests.support.foreign import patched, vector
from tests.support.known_powers import write_powers
from tests.support.snarkjs import SnarkJs
from tests.support.tiny_circuits import seeded

BEACON = ("0a0b0c0d", 10)


def hand_on(
    r1cs: Path, ptau: Path, snarkjs: SnarkJs, folder: Path, *options: str, is_first: bool
) -> Path:
    """A key with four shares, ours and snarkjs's in turn, which both verify.

    options  : of our verification
    is_first : whether we make the first key
    """
    keys = [folder / f"{i}_{is_first}.zkey" for i in range(5)]

    def ours(i: int) -> None:
        if i == 0:
            succeed("groth16", "setup", r1cs, keys[0], "--ptau", ptau)
        elif i < 4:
            succeed("groth16", "contribute", keys[i - 1], keys[i], "--name", f"ours {i}")
        else:
            succeed("groth16", "beacon", keys[3], keys[4], *BEACON, "--name", "ours, at the end")

    def theirs(i: int) -> None:
        if i == 0:
            assert snarkjs("groth16", "setup", r1cs, ptau, keys[0])
        elif i < 4:
            words = ("zkey", "contribute", keys[i - 1], keys[i], f"--name=theirs {i}", "-e=words")
            assert snarkjs(*words)
        else:
            assert snarkjs("zkey", "beacon", keys[3], keys[4], *BEACON, "-n=theirs, at the end")

    for i in range(5):
        (ours if (i % 2 == 0) == is_first else theirs)(i)
    found = succeed("groth16", "verify-key", r1cs, ptau, keys[4], *options)
    assert [one["beacon"] for one in found["contributions"]] == [False, False, False, True]
    assert snarkjs("zkey", "verify", r1cs, ptau, keys[4])
    return keys[4]


def refuse_altered(
    r1cs: Path, ptau: Path, key: Path, snarkjs: SnarkJs, folder: Path, *options: str
) -> None:
    """Neither takes a key whose last H is another point of it, or whose transcript is another."""
    raw, altered = key.read_bytes(), folder / "altered.zkey"
    h = read_sections(key, get_backend("cpu"), seeded(1)).h.data.tobytes()
    for section, offset, new in ((9, -64, h[:64]), (10, 64 + 4 + 3 * 64 + 128, bytes(64))):
        altered.write_bytes(patched(raw, section, offset, new))
        refuse("ceremony_invalid", "groth16", "verify-key", r1cs, ptau, altered, *options)
        assert not snarkjs("zkey", "verify", r1cs, ptau, altered)


@pytest.mark.slow
@pytest.mark.parametrize("is_first", [True, False])
def test_a_key_is_handed_on(is_first: bool, snarkjs: SnarkJs, tmp_path: Path) -> None:
    r1cs, ptau = vector("multiplier", ".r1cs"), POWERS["multiplier"]
    key = hand_on(r1cs, ptau, snarkjs, tmp_path, is_first=is_first)
    if is_first:
        refuse_altered(r1cs, ptau, key, snarkjs, tmp_path)


def make_powers(power: int, snarkjs: SnarkJs, folder: Path) -> list[Path]:
    """Powers that snarkjs begins, contributes to and prepares: as shared, and prepared."""
    begun, shared, prepared = (folder / f"{i}.ptau" for i in range(3))
    assert snarkjs("powersoftau", "new", "bn128", power, begun)
    assert snarkjs("powersoftau", "contribute", begun, shared, "--name=x", "-e=words")
    assert snarkjs("powersoftau", "prepare", "phase2", shared, prepared)
    return [shared, prepared]


@pytest.mark.soak
@pytest.mark.parametrize(
    ("power", "lg_n", "is_wide", "by_snarkjs"),
    [
        (10, 10, True, True),
        (12, 11, False, True),
        (13, 13, True, True),
        # From 2^15 on snarkjs hashes what is no power of tau (`prover.ceremony.garbage`). It takes
        # a quarter of an hour of one core to prepare 2^15 powers and twice that for 2^16, which
        # are prepared by us.
        (15, 15, False, True),
        (16, 15, False, False),
        (16, 16, True, False),
    ],
)
def test_keys_of_larger_circuits(
    power: int, lg_n: int, is_wide: bool, by_snarkjs: bool, snarkjs: SnarkJs, tmp_path: Path
) -> None:
    """One first key, byte by byte, of powers prepared or not; then shares of both, in turn."""
    r1cs = write_chain(tmp_path, (1 << lg_n) - 100, is_wide=is_wide)
    if by_snarkjs:
        files, options = make_powers(power, snarkjs, tmp_path), ()
    else:  # to which nobody contributed
        files, options = [write_powers(tmp_path / "known.ptau", power)], ("--no-powers",)
    keys = [tmp_path / f"first_{i}.zkey" for i in range(1 + len(files))]
    assert snarkjs("groth16", "setup", r1cs, files[-1], keys[0])
    for ptau, key in zip(files, keys[1:], strict=True):
        succeed("groth16", "setup", r1cs, key, "--ptau", ptau)
        assert key.read_bytes() == keys[0].read_bytes()
    for is_first in (True, False):
        last = hand_on(r1cs, files[-1], snarkjs, tmp_path, *options, is_first=is_first)
    refuse_altered(r1cs, files[-1], last, snarkjs, tmp_path, *options)
