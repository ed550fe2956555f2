"""Keys on disk: what was saved comes back, and everything else is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.array import G1Array, G2Array
from kernels.bn254 import G1
from prover.errors import CeremonyRequired, FormatError, KeyMismatch, ProverError
from prover.keyfile import (
    PROVING_NAME,
    VERIFYING_NAME,
    compute_proving_digest,
    load_proving_key,
    load_verifying_key,
    save_key,
)
from prover.keys import KeyOrigin, VerifyingKey
from prover.prove import prepare
from prover.setup import setup
from prover.statement import encode_fields
from prover.verdict import Verdict
from tests.support.tiny_circuits import seeded
from tests.support.toy_protocol import (
    BACKEND,
    TOY,
    honest,
    prove_toy,
    toy_key,
    toy_trapdoor,
    verdict_of,
)

ARRAYS = ("a", "b1", "b2", "c", "h", "model", "model_pok", "advice", "correction")
WIRES = ("a_wires", "b_wires", "c_wires")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_key(toy_key(), tmp_path / "key")
    return tmp_path / "key"


def test_what_was_saved_comes_back(saved: Path) -> None:
    key, loaded = toy_key(), load_proving_key(saved)
    assert loaded.verifying.encode() == key.verifying.encode()
    for name in ARRAYS:
        assert getattr(loaded, name).equals(getattr(key, name))
    for name in WIRES:
        assert np.array_equal(getattr(loaded, name), getattr(key, name))
        assert getattr(loaded, name).dtype == np.uint32
    assert (loaded.lg_n, loaded.n_wires) == (key.lg_n, key.n_wires)
    assert (loaded.n_model, loaded.n_advice) == (2, 2)
    assert not list(saved.glob("*.partial"))


def test_a_loaded_key_proves_and_verifies(saved: Path) -> None:
    run = prove_toy(random_bytes=seeded(7), key=load_proving_key(saved))
    assert run.envelope == honest().envelope
    assert verdict_of(run.envelope, load_verifying_key(saved)) is Verdict.VALID


def test_a_verifier_reads_its_own_half_only(saved: Path) -> None:
    (saved / PROVING_NAME).unlink()
    assert load_verifying_key(saved).digest == toy_key().verifying.digest


def test_the_proving_digest_is_the_digest_of_the_file(saved: Path) -> None:
    raw = (saved / PROVING_NAME).read_bytes()
    assert hashlib.sha256(raw).digest() == toy_key().verifying.proving_digest
    assert compute_proving_digest(load_proving_key(saved)) == toy_key().verifying.proving_digest


def test_a_cut_proving_half_is_refused(saved: Path) -> None:
    path = saved / PROVING_NAME
    raw = path.read_bytes()
    for n in (0, 1, 8, 4095, 4096, 8192, len(raw) - 4096, len(raw) - 1):
        path.write_bytes(raw[:n])
        with pytest.raises(FormatError, match=r"truncated|header demands"):
            load_proving_key(saved)
    path.write_bytes(raw + bytes(4096))
    with pytest.raises(FormatError, match="header demands"):
        load_proving_key(saved)


def test_any_altered_byte_of_the_proving_half_is_refused(saved: Path) -> None:
    path = saved / PROVING_NAME
    raw = path.read_bytes()
    for at in [*range(0, 160, 3), *range(160, len(raw), 997), len(raw) - 1]:
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        with pytest.raises((FormatError, KeyMismatch)):
            load_proving_key(saved)


def test_halves_of_two_keys_are_refused(saved: Path, tmp_path: Path) -> None:
    other = setup(
        TOY.r1cs,
        circuit_digest=TOY.digest,
        n_challenges=1,
        trapdoor=replace(toy_trapdoor(), alpha=5),
        backend=BACKEND,
    )
    save_key(other, tmp_path / "other")
    (tmp_path / "other" / VERIFYING_NAME).replace(saved / VERIFYING_NAME)
    with pytest.raises(KeyMismatch, match="not the proving half"):
        load_proving_key(saved)


def test_arrays_that_do_not_fit_the_counts_are_refused(tmp_path: Path) -> None:
    """A key whose digest is right and whose contents are not."""
    wrong = replace(toy_key(), n_model=3)
    verifying = replace(wrong.verifying, proving_digest=compute_proving_digest(wrong))
    save_key(replace(wrong, verifying=verifying), tmp_path)
    with pytest.raises(FormatError, match="do not fit its counts"):
        load_proving_key(tmp_path)


def test_a_development_key_says_so_and_is_refused_where_a_ceremony_is_demanded(
    saved: Path,
) -> None:
    assert load_verifying_key(saved).origin is KeyOrigin.DEVELOPMENT
    assert b"single-party development setup" in (saved / VERIFYING_NAME).read_bytes()
    for load in (load_verifying_key, load_proving_key):
        with pytest.raises(CeremonyRequired, match="single-party development setup"):
            load(saved, require_ceremony=True)


def test_a_ceremony_key_is_accepted_and_has_another_digest(saved: Path) -> None:
    key = toy_key().verifying
    ceremony = replace(key, origin=KeyOrigin.CEREMONY)
    assert ceremony.digest != key.digest
    (saved / VERIFYING_NAME).write_bytes(ceremony.encode())
    assert load_verifying_key(saved, require_ceremony=True).digest == ceremony.digest


def test_prepared_keys_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="save the key before preparing it"):
        save_key(prepare(toy_key(), BACKEND), tmp_path)


def test_missing_files_are_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_verifying_key(tmp_path)


# -- the bytes of the verifying half ---------------------------------------------------------------


def test_any_altered_byte_of_the_verifying_half_is_refused_or_another_key() -> None:
    raw = toy_key().verifying.encode()
    for at in [*range(150), *range(150, len(raw), 13)]:
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        try:
            decoded = VerifyingKey.decode(changed)
        except FormatError:
            continue
        assert decoded.encode() == changed
        assert decoded.digest != toy_key().verifying.digest


@pytest.mark.parametrize("name", ["alpha", "beta", "gamma", "delta"])
def test_identities_are_refused(name: str) -> None:
    key = toy_key().verifying
    zero: Any = G1Array.zeros(1) if name == "alpha" else G2Array.zeros(1)
    with pytest.raises(FormatError, match="identity"):
        VerifyingKey.decode(replace(key, **{name: zero}).encode())


def test_points_that_are_none_are_refused() -> None:
    key = toy_key().verifying
    off_curve = G1Array.from_ints([(G1[0], G1[1] + 1)])
    with pytest.raises(FormatError, match="not on its curve"):
        VerifyingKey.decode(replace(key, alpha=off_curve).encode())
    off_twist = G2Array.from_ints([((1, 2), (3, 4))])
    with pytest.raises(FormatError, match="not on its curve"):
        VerifyingKey.decode(replace(key, sigma_w=off_twist).encode())


@pytest.mark.parametrize(
    "change", [{"n_challenges": 65}, {"circuit_digest": b""}, {"proving_digest": bytes(33)}]
)
def test_fields_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        VerifyingKey.decode(replace(toy_key().verifying, **change).encode())


def test_an_unknown_origin_is_refused() -> None:
    raw = toy_key().verifying.encode()
    fields = raw[10:]
    end = 4 + len(KeyOrigin.DEVELOPMENT)
    for origin in (b"", b"mother", b"\xff"):
        with pytest.raises(FormatError, match="origin"):
            VerifyingKey.decode(raw[:10] + encode_fields([origin]) + fields[end:])


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda b: b"zkpotvky\1\0" + b))
def test_any_bytes_give_a_key_or_a_named_error(raw: bytes) -> None:
    with pytest.raises(ProverError):
        VerifyingKey.decode(raw)
