"""Powers of tau came about by contributions that prove what they did: snarkjs's, and altered."""

from __future__ import annotations

import struct
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kernels.array import FrArray, G1Array, G2Array
from kernels.backend import Backend, get_backend
from prover.ceremony import history
from prover.ceremony.blake import finish
from prover.ceremony.history import require_history
from prover.ceremony.ratios import G1_GENERATOR, G2_GENERATOR
from prover.errors import CeremonyInvalid, FormatError
from prover.formats.contributions import Origin
from prover.formats.power_contributions import History, read_history
from tests.support.ceremonies import BEACON, EXPONENT, POWERS, begin
from tests.support.foreign import patched, replaced, take_apart

RAW = POWERS["multiplier"].read_bytes()
SECTION = dict(take_apart(RAW)[1])[7]
# The first words of SHA-512, as bytes (RFC 7693, appendix C.2).
IV = struct.unpack(
    "<8Q",
    bytes.fromhex(
        "08c9bcf367e6096a3ba7ca8485ae67bb2bf894fe72f36e3cf1361d5f3af54fa5"
        "d182e6ad7f520e511f6c3e2b8c68059b6bbd41fbabd9831f79217e1319cde05b"
    ),
)


@pytest.fixture(scope="module")
def backend() -> Backend:
    return get_backend("cpu")


def make_state(data: bytes) -> bytes:
    """Of a hash of up to one block, none of it hashed yet."""
    first = (IV[0] ^ 0x01010040, *IV[1:])  # digest of 64 bytes, no key
    return data.ljust(128, b"\0") + struct.pack("<8Q", *first) + struct.pack("<3Q", 0, len(data), 0)


@pytest.mark.parametrize("n_waiting", [0, 1, 127, 128])
@pytest.mark.parametrize("n_rest", [0, 1, 127, 128, 129, 768])
def test_a_hash_is_gone_on_with(n_waiting: int, n_rest: int, rng: Random) -> None:
    waiting, rest = rng.randbytes(n_waiting), rng.randbytes(n_rest)
    assert finish(make_state(waiting), rest) == blake2b(waiting + rest).digest()


def test_the_histories_of_snarkjs(backend: Backend) -> None:
    for circuit, path in POWERS.items():
        found = require_history(path, begin(circuit).powers, backend)
        assert [one.origin for one in found.contributions] == [
            Origin(name=b"first"),
            Origin(name=b"beacon", exponent=EXPONENT, beacon=BEACON),
        ]
        assert found.power == found.ceremony_power


def find_fault(found: History, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of the file with this history in place of its own."""
    monkeypatch.setattr(history, "read_history", lambda path: found)
    with pytest.raises(CeremonyInvalid) as refused:
        require_history(POWERS["multiplier"], begin("multiplier").powers, backend)
    return refused.value.what


def double(points: Any, backend: Backend) -> Any:
    two = FrArray.from_ints([2])
    is_g1 = isinstance(points, G1Array)
    return backend.msm_g1(two, points) if is_g1 else backend.msm_g2(two, points)


@pytest.mark.parametrize("name", ["tau", "alpha", "beta"])
def test_shares_that_are_altered(
    name: str, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_history(POWERS["multiplier"])
    first, second = found.contributions
    share = getattr(first, name)
    for changes in (
        {"s_x": double(share.s_x, backend)},
        {"s": G1_GENERATOR},
        {"spx": G2_GENERATOR},
    ):
        altered = replace(first, **{name: replace(share, **changes)})
        what = find_fault(replace(found, contributions=(altered, second)), backend, monkeypatch)
        assert what == (
            f"contribution 1 ('first') to the powers of tau does not prove that it knew its "
            f"share of {name}"
        )


@pytest.mark.parametrize(
    ("field", "what"),
    [
        ("tau_1", "tau in G1"),
        ("tau_2", "tau in G2"),
        ("alpha_1", "alpha in G1"),
        ("beta_1", "beta in G1"),
        ("beta_2", "beta in G2"),
    ],
)
def test_powers_that_are_altered(
    field: str, what: str, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_history(POWERS["multiplier"])
    first, second = found.contributions
    after = replace(first.after, **{field: double(getattr(first.after, field), backend)})
    altered = replace(found, contributions=(replace(first, after=after), second))
    assert find_fault(altered, backend, monkeypatch) == (
        f"contribution 1 ('first') to the powers of tau has another share than its {what}"
    )
    powers = begin("multiplier").powers
    points = getattr(powers, field)
    index = 1 if field.startswith("tau") else 0
    kind: Any = type(points)
    other = kind.concat([points[:index], double(points[:1], backend), points[index + 1 :]])
    monkeypatch.setattr(history, "read_history", read_history)
    with pytest.raises(CeremonyInvalid, match=f"^{what} is not what the last"):
        require_history(POWERS["multiplier"], replace(powers, **{field: other}), backend)


def test_challenges_beacons_and_order(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    found = read_history(POWERS["multiplier"])
    first, second = found.contributions

    def find(*contributions: Any, **changes: Any) -> str:
        altered = replace(found, contributions=contributions, **changes)
        return find_fault(altered, backend, monkeypatch)

    assert find().startswith("nobody contributed")
    assert find(second).startswith("contribution 1 ('beacon') to the powers of tau does not prove")
    assert find(replace(first, next_challenge=bytes(64)), second).startswith("contribution 2 (")
    last = "the powers of tau do not hash to the challenge after them"
    assert find(first, replace(second, next_challenge=bytes(64))) == last
    assert find(first, replace(second, state=second.state[:-24] + bytes(24))) == last
    assert find(first, second, ceremony_power=4).startswith("contribution 1 ('first')")
    assert find(first).startswith("tau in G1 is not what the last")
    by = replace(second.origin, beacon=b"other")
    assert find(first, replace(second, origin=by)).endswith("is not what its beacon draws")
    long = replace(second.origin, exponent=63)
    assert "a beacon of 2^63 hashes" in find(first, replace(second, origin=long))


def test_beacons_are_repeated_within_a_limit_together(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_history(POWERS["multiplier"])
    twice = replace(found, contributions=(found.contributions[1],) * 2)
    monkeypatch.setattr(history, "read_history", lambda path: twice)
    monkeypatch.setattr(history, "_find_fault", lambda *given: None)
    with pytest.raises(CeremonyInvalid, match=r"contribution 2 .* a beacon of 2\^10 hashes"):
        require_history(
            POWERS["multiplier"], begin("multiplier").powers, backend, exponent_limit=EXPONENT
        )


def test_powers_that_only_beacons_contributed_to(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their tau is known to whoever repeats the hashes."""
    found = read_history(POWERS["multiplier"])
    public = replace(found, contributions=found.contributions[1:])
    monkeypatch.setattr(history, "_find_fault", lambda *given: None)
    assert find_fault(public, backend, monkeypatch).startswith("nobody but beacons contributed")


def test_bytes_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.ptau"

    def refuse(section: bytes, what: str) -> None:
        path.write_bytes(replaced(RAW, 7, section))
        with pytest.raises(FormatError, match=what) as refused:
            read_history(path)
        assert refused.value.where.startswith("p.ptau, section 7")

    refuse(SECTION[:3], "too short for a count")
    refuse(SECTION + b"\0", "1 bytes follow")
    refuse(SECTION[:-1], "too early")
    refuse(struct.pack("<I", 5000) + SECTION[4:], "too short for 5000")
    path.write_bytes(patched(RAW, 7, 4, bytes(64)))
    with pytest.raises(FormatError, match="infinity or outside"):
        read_history(path)
    state = 4 + 8 * (8 + 16 + 8 + 8 + 16 + 48 + 48)
    path.write_bytes(patched(RAW, 7, state + 200, struct.pack("<Q", 129)))
    with pytest.raises(FormatError, match="state of its hash is none"):
        read_history(path)


def test_points_are_those_of_their_places() -> None:
    first, second = read_history(POWERS["multiplier"]).contributions
    powers = begin("multiplier").powers
    assert second.after.tau_1.equals(powers.tau_1[1:2])
    assert second.after.tau_2.equals(powers.tau_2[1:2])
    assert second.after.beta_2.equals(powers.beta_2)
    assert not first.after.tau_1.equals(second.after.tau_1)
    assert isinstance(first.beta.spx, G2Array)
