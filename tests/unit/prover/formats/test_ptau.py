"""`.ptau`: what a circuit needs of it, and refusals that name the section."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from kernels.array import G2Array
from kernels.bn254 import G1, G2, R
from prover.errors import FormatError
from prover.formats.ptau import NAMES, read_powers
from tests.support.ceremonies import POWERS
from tests.support.foreign import patched, replaced, take_apart

RAW = {name: path.read_bytes() for name, path in POWERS.items()}


def body(name: str, section: int) -> bytes:
    return dict(take_apart(RAW[name])[1])[section]


def write(folder: Path, raw: bytes) -> Path:
    path = folder / "p.ptau"
    path.write_bytes(raw)
    return path


def test_powers_of_the_files() -> None:
    for name, lg_n, n_tau in (("multiplier", 2, 8), ("multiplier", 3, 15), ("mixed", 6, 127)):
        powers = read_powers(POWERS[name], lg_n)
        assert (powers.n, powers.n_tau, len(powers.tau_1)) == (1 << lg_n, n_tau, 2 << lg_n)
        assert powers.tau_1.data[:n_tau].tobytes() == body(name, 2)[: 64 * n_tau]
        assert not powers.tau_1.data[n_tau:].any()
        assert powers.tau_1[:1].to_ints() == [G1]
        assert powers.tau_2[:1].to_ints() == [G2]
        assert (powers.prepared is None) == (name == "mixed")


def test_lagrange_bases_are_those_of_the_domain() -> None:
    prepared = read_powers(POWERS["multiplier"], 2).prepared
    assert prepared is not None
    for points, section, size in (
        (prepared.tau_1, 12, 64),
        (prepared.tau_2, 13, 128),
        (prepared.alpha_1, 14, 64),
        (prepared.beta_1, 15, 64),
    ):
        raw = body("multiplier", section)[3 * size : 7 * size]  # behind those of 1 and 2 points
        assert points.data.tobytes() == raw
    doubled = body("multiplier", 12)[7 * 64 : 15 * 64]
    odd = np.frombuffer(doubled, np.uint64).reshape(8, 8)[1::2]
    assert prepared.odd.data.tolist() == odd.tolist()


def test_what_lies_behind_the_powers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A point where there are more, else the head of section 3 and the first words of G2."""
    assert read_powers(POWERS["mixed"], 6).behind is None
    monkeypatch.setattr("prover.formats.ptau.HASHED_AT_ONCE", 1)
    inside = read_powers(POWERS["multiplier"], 2).behind
    assert inside is not None
    assert inside.tobytes() == body("multiplier", 2)[7 * 64 : 8 * 64]
    outside = read_powers(POWERS["mixed"], 6).behind
    assert outside is not None
    generator = G2Array.from_ints([G2]).data.tobytes()
    assert outside.tobytes() == struct.pack("<IQ", 3, 64 * 128) + generator[:52]


@pytest.mark.parametrize("section", [*range(1, 8), 12, 13, 14, 15])
def test_a_section_that_is_too_short_is_named(section: int, tmp_path: Path) -> None:
    raw = RAW["multiplier"]
    at_least = 4 if section == 7 else 1
    cut = body("multiplier", section)[: -at_least if section != 7 else 3]
    path = write(tmp_path, replaced(raw, section, cut))
    with pytest.raises(FormatError) as refused:
        read_powers(path, 2)
    assert refused.value.where == f"p.ptau, section {section}"
    if section in NAMES:
        assert NAMES[section] in refused.value.what
    path = write(tmp_path, replaced(raw, section, None))
    with pytest.raises(FormatError, match=f"section {section} is missing"):
        read_powers(path, 2)


def test_a_file_that_ends_too_early(tmp_path: Path) -> None:
    for n in (0, 11, 20, 200, len(RAW["mixed"]) - 1):
        with pytest.raises(FormatError):
            read_powers(write(tmp_path, RAW["mixed"][:n]), 6)


@pytest.mark.parametrize(
    ("offset", "new", "what"),
    [
        (0, struct.pack("<I", 48), "not BN254"),
        (4, R.to_bytes(32, "little"), "not BN254"),
        (36, struct.pack("<I", 0), "powers 0 of 3 cannot be"),
        (36, struct.pack("<II", 29, 29), "powers 29 of 29 cannot be"),
        (40, struct.pack("<I", 2), "powers 3 of 2 cannot be"),
        (40, struct.pack("<I", 29), "powers 3 of 29 cannot be"),
        (40, struct.pack("<I", (1 << 32) - 1), "cannot be"),  # nor to hash for as long
        (36, struct.pack("<II", 28, 28), "take"),  # sizes of a header are no reason to allocate
    ],
)
def test_headers_that_are_refused(offset: int, new: bytes, what: str, tmp_path: Path) -> None:
    path = write(tmp_path, patched(RAW["multiplier"], 1, offset, new))
    with pytest.raises(FormatError, match=what):
        read_powers(path, 2)


def test_too_few_powers() -> None:
    with pytest.raises(FormatError, match=r"powers for 2\^3 rows, and the circuit has 2\^4"):
        read_powers(POWERS["multiplier"], 4)
