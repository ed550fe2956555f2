"""Keys that many made: shares go in, proofs hold, and the first wrong thing is named."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels.array import FrArray, G1Array
from kernels.backend import Backend, get_backend
from kernels.bn254 import R
from prover.ceremony import transcript
from prover.ceremony.chain import require_chain
from prover.ceremony.contribute import contribute, contribute_beacon
from prover.ceremony.initial import count_rows, make_initial
from prover.ceremony.phase1 import require_powers
from prover.ceremony.ratios import G2_GENERATOR
from prover.ceremony.transcript import compute_transcript
from prover.errors import CeremonyInvalid, FieldInvalid
from prover.foreign import prove_foreign
from prover.formats.contributions import Ceremony, Contribution
from prover.formats.key_sections import UNCHANGED, KeySections, read_sections, write_sections
from prover.formats.ptau import read_powers
from prover.formats.r1cs import read_r1cs
from prover.formats.wtns import read_wtns
from prover.formats.zkey import read_zkey
from prover.groth16.plain import verify_plain
from prover.randomness import RandomBytes
from prover.wire.verdict import Verdict
from tests.support.ceremonies import BEACON, EXPONENT, POWERS, begin, read_finished
from tests.support.foreign import patched, take_apart, vector
from tests.support.tiny_circuits import seeded


@pytest.fixture(scope="module")
def backend() -> Backend:
    return get_backend("cpu")


@pytest.fixture(scope="module")
def shared(backend: Backend) -> KeySections:
    """The key of `mixed` with two shares and a beacon."""
    key = contribute(begin("mixed").initial, "one", random_bytes=seeded(6), backend=backend)
    key = contribute(key, "", random_bytes=seeded(7), backend=backend)
    return contribute_beacon(key, "the end", BEACON, EXPONENT, backend=backend)


def require(key: KeySections, circuit: str, backend: Backend, **limits: int) -> None:
    require_chain(key, begin(circuit).initial, random_bytes=seeded(8), backend=backend, **limits)


def find_fault(key: KeySections, circuit: str, backend: Backend, **limits: int) -> str:
    with pytest.raises(CeremonyInvalid) as refused:
        require(key, circuit, backend, **limits)
    return refused.value.what


def with_contributions(key: KeySections, *contributions: Contribution) -> KeySections:
    ceremony = Ceremony(circuit_hash=key.ceremony.circuit_hash, contributions=tuple(contributions))
    return replace(key, ceremony=ceremony)


def by(contribution: Contribution, **changes: Any) -> Contribution:
    """The contribution of another origin."""
    return replace(contribution, origin=replace(contribution.origin, **changes))


def double(points: G1Array, backend: Backend) -> G1Array:
    return backend.msm_g1(FrArray.from_ints([2]), points)


def swap(points: G1Array) -> G1Array:
    index = np.arange(len(points))
    index[[0, 1]] = index[[1, 0]]
    return points[index]


def test_the_key_that_snarkjs_made_is_valid(backend: Backend) -> None:
    require(read_finished(), "multiplier", backend)


def test_a_key_of_many_is_valid_and_comes_back(
    shared: KeySections, backend: Backend, tmp_path: Path
) -> None:
    require(shared, "mixed", backend)
    path = tmp_path / "k.zkey"
    write_sections(path, shared)
    assert [section for section, _ in take_apart(path.read_bytes())[1]] == list(range(1, 11))
    read = read_sections(path, backend, seeded(9))
    require(read, "mixed", backend)
    assert [c.origin.name for c in read.ceremony.contributions] == [b"one", None, b"the end"]


def test_a_circuit_without_private_wires(backend: Backend, tmp_path: Path) -> None:
    """Its C is empty."""
    path = tmp_path / "c.r1cs"
    path.write_bytes(
        patched(vector("multiplier", ".r1cs").read_bytes(), 1, 40, struct.pack("<III", 3, 0, 0))
    )
    circuit = read_r1cs(path, backend)
    powers = read_powers(POWERS["multiplier"], count_rows(circuit))
    prepared = require_powers(powers, backend, seeded(1))
    first = make_initial(circuit, powers, prepared, backend)
    write_sections(path, contribute(first, "", random_bytes=seeded(14), backend=backend))
    read = read_sections(path, backend, seeded(9))
    assert len(read.c) == 0
    require_chain(read, first, random_bytes=seeded(8), backend=backend)


def test_shares_are_not_seen_in_what_they_leave(shared: KeySections, backend: Backend) -> None:
    """Two from one key differ in every point; the same randomness gives the same key."""
    first = begin("mixed").initial
    again = [contribute(first, "one", random_bytes=seeded(n), backend=backend) for n in (6, 6, 60)]
    assert again[0].ceremony.encode() == again[1].ceremony.encode()
    for name in ("delta_1", "c", "h"):
        assert getattr(again[0], name).equals(getattr(again[1], name))
        assert not getattr(again[0], name).equals(getattr(again[2], name))
        assert not getattr(again[0], name).equals(getattr(shared, name))


def test_proofs_under_the_key_hold(shared: KeySections, backend: Backend, tmp_path: Path) -> None:
    path = tmp_path / "k.zkey"
    write_sections(path, shared)
    witness = read_wtns(vector("mixed", ".wtns"))
    key = read_zkey(path, backend)
    proof = prove_foreign(key, witness, random_bytes=seeded(10), backend=backend)
    public = witness[1:6]
    assert verify_plain(shared.verifying, public, proof) is Verdict.VALID
    assert verify_plain(begin("mixed").initial.verifying, public, proof) is Verdict.PAIRING_FAILED


def test_a_key_that_nobody_contributed_to(backend: Backend) -> None:
    what = find_fault(begin("multiplier").initial, "multiplier", backend)
    assert what.startswith("nobody contributed")


def test_a_key_that_only_a_beacon_contributed_to(backend: Backend) -> None:
    """Its delta is known to whoever repeats the hashes."""
    key = contribute_beacon(begin("multiplier").initial, "", BEACON, 10, backend=backend)
    what = find_fault(key, "multiplier", backend)
    assert what.startswith("nobody contributed but a beacon")


def scripted(*scalars: int) -> RandomBytes:
    """What draws these."""
    rest = iter(scalars)
    return lambda n: next(rest).to_bytes(n, "little")


@pytest.mark.parametrize("shares", [(1,), (R - 1,), (2, (R + 1) // 2)])
def test_shares_that_make_one(shares: tuple[int, ...], backend: Backend) -> None:
    """Whoever was in it, everybody may forge: gamma is delta, or minus delta."""
    key = begin("multiplier").initial
    for share in shares:
        key = contribute(key, "", random_bytes=scripted(share, 3), backend=backend)
    assert find_fault(key, "multiplier", backend).startswith("delta is one")


def test_beacons_are_repeated_within_a_limit_together(backend: Backend) -> None:
    """The same beacon again costs who writes the file nothing."""
    key = contribute(begin("multiplier").initial, "", random_bytes=seeded(6), backend=backend)
    for _ in range(2):
        key = contribute_beacon(key, "", BEACON, 10, backend=backend)
    require(key, "multiplier", backend, exponent_limit=11)
    what = find_fault(key, "multiplier", backend, exponent_limit=10)
    assert what.startswith("contribution 3 is by a beacon of 2^10 hashes")


def test_each_contribution_is_hashed_once(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a file of many takes time as the square of its size."""
    key = contribute(begin("multiplier").initial, "", random_bytes=seeded(6), backend=backend)
    for _ in range(4):
        key = contribute_beacon(key, "", BEACON, 10, backend=backend)
    hashed, encode = [], transcript.encode_contribution
    monkeypatch.setattr(transcript, "encode_contribution", lambda c: hashed.append(c) or encode(c))
    require(key, "multiplier", backend)
    assert hashed == list(key.ceremony.contributions)


def test_contributions_that_are_altered(shared: KeySections, backend: Backend) -> None:
    first, second, third = shared.ceremony.contributions
    hashed = shared.ceremony.circuit_hash

    def find(*contributions: Contribution) -> str:
        return find_fault(with_contributions(shared, *contributions), "mixed", backend)

    other = bytes([first.transcript[0] ^ 1]) + first.transcript[1:]
    assert find(replace(first, transcript=other), second, third) == (
        "contribution 1 ('one') has the transcript of another place"
    )
    assert find(second, first, third).startswith("contribution 1 has the transcript")
    assert find(first, third).startswith("contribution 2 ('the end') has the transcript")
    twice = double(second.s_x, backend)
    assert find(first, replace(second, s_x=twice), third).startswith("contribution 2 has the tr")
    fitting = compute_transcript(hashed, [first], second.s, twice)
    assert find(first, replace(second, s_x=twice, transcript=fitting), third) == (
        "contribution 2 does not prove that it knew its share"
    )
    assert find(first, replace(second, spx=G2_GENERATOR), third).startswith("contribution 2 does n")
    assert find(first, replace(second, delta_after=double(second.delta_after, backend)), third) == (
        "contribution 2 has another share than its delta"
    )
    assert find(first, second) == "delta_1 in the header is not that of the last contribution"
    assert find(first, second, by(third, beacon=b"another")) == (
        "contribution 3 ('the end') is not what its beacon draws"
    )


def test_beacons_are_repeated_within_a_limit(shared: KeySections, backend: Backend) -> None:
    first, second, third = shared.ceremony.contributions
    require(shared, "mixed", backend, exponent_limit=10)
    long = with_contributions(shared, first, second, by(third, exponent=63))
    assert "a beacon of 2^63 hashes" in find_fault(long, "mixed", backend)
    short = with_contributions(shared, first, second, by(third, exponent=9))
    assert "a beacon of 2^9 hashes" in find_fault(short, "mixed", backend)


def test_headers_and_sections_that_are_altered(backend: Backend) -> None:
    first = begin("mixed").initial
    shared = contribute(first, "one", random_bytes=seeded(13), backend=backend)

    def find(**changes: Any) -> str:
        return find_fault(replace(shared, **changes), "mixed", backend)

    for name in ("alpha_1", "beta_1"):
        assert find(**{name: double(getattr(shared, name), backend)}).startswith(f"{name} in the h")
    assert find(beta_2=G2_GENERATOR).startswith("beta_2 in the header")
    assert find(gamma_2=shared.beta_2).startswith("gamma_2 in the header")
    assert find(delta_1=shared.alpha_1).startswith("delta_1 in the header is not that")
    assert find(delta_2=shared.beta_2).startswith("delta_2 in the header is of another delta")
    other = Ceremony(circuit_hash=bytes(64), contributions=shared.ceremony.contributions)
    assert find(ceremony=other).startswith("contribution 1 ('one') has the transcript")
    begun = replace(
        begin("mixed").initial, ceremony=Ceremony(circuit_hash=bytes(64), contributions=())
    )
    made = contribute(begun, "", random_bytes=seeded(12), backend=backend)
    assert find_fault(made, "mixed", backend).startswith("the circuit hash is of another circuit")
    for section in UNCHANGED:
        body = shared.kept[section].copy()
        body[-1] ^= 1
        what = find(kept=shared.kept | {section: body})
        assert what.startswith(f"section {section} (")
    for name, section in (("c", 8), ("h", 9)):
        points = getattr(shared, name)
        assert find(**{name: swap(points)}).startswith(f"section {section} (")
        unscaled = getattr(first, name)
        assert find(**{name: unscaled}).startswith(f"section {section} (")


def test_a_key_of_another_circuit(shared: KeySections, backend: Backend) -> None:
    what = find_fault(shared, "multiplier", backend)
    assert what == (
        "the key is of another circuit: 41 wires, not 4; 5 public wires, not 1; 64 rows, not 4"
    )


def test_names_and_beacons_that_snarkjs_would_not_take(backend: Backend) -> None:
    first = begin("multiplier").initial
    longest = "\u00e9" * 64
    made = contribute(first, longest, random_bytes=seeded(11), backend=backend)
    assert made.ceremony.contributions[0].origin.name == longest.encode()
    with pytest.raises(FieldInvalid, match="name is longer than 64"):
        contribute(first, longest + "x", random_bytes=seeded(11), backend=backend)
    with pytest.raises(FieldInvalid, match="name is no text"):  # bytes of a command line
        contribute(first, "\udcff", random_bytes=seeded(11), backend=backend)
    for beacon, exponent, what in (
        (b"", 10, "beacon has 0 bytes"),
        (bytes(256), 10, "beacon has 256 bytes"),
        (b"x", 9, "exponent is not 10 to 63"),
        (b"x", 64, "exponent is not 10 to 63"),
    ):
        with pytest.raises(FieldInvalid, match=what):
            contribute_beacon(first, "", beacon, exponent, backend=backend)
