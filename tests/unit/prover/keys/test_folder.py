"""Keys on disk: what was saved comes back, and everything else is refused."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.array import G1Array, G2Array
from kernels.bn254 import G1
from prover.errors import FieldInvalid, FormatError, KeyMismatch, ProverError
from prover.groth16.prove import prepare
from prover.groth16.setup import pin_files, setup
from prover.groth16.trapdoor import draw_trapdoor
from prover.keys.card import KeyCard
from prover.keys.folder import (
    CARD_NAME,
    PROVING_NAME,
    VERIFYING_NAME,
    load_proving_key,
    load_verifying_half,
    load_verifying_key,
    save_key,
)
from prover.keys.halves import ARRAYS, NO_FILE, ProvingKey, Role, VerifyingKey
from prover.keys.proving_file import (
    compute_proving_digest,
    count_file_bytes,
    list_file,
    read_contents,
)
from prover.wire.records import encode_fields, split_fields
from prover.wire.verdict import Verdict
from tests.support.learning import accuracy, proving_key
from tests.support.tiny_circuits import build_r1cs, seeded
from tests.support.toy_protocol import (
    BACKEND,
    TOY,
    honest,
    prove_toy,
    toy_key,
    toy_trapdoor,
    verdict_of,
)


def load(folder: Path) -> ProvingKey:
    return load_proving_key(folder, load_verifying_key(folder))


def require_equal(loaded: ProvingKey, key: ProvingKey) -> None:
    assert len(ARRAYS) == 12
    for array in ARRAYS:
        found, expected = array.of(loaded), array.of(key)
        if array.role is Role.WIRES:
            assert np.array_equal(found, expected)
            assert found.dtype == np.uint32
        else:
            assert found.equals(expected)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_key(toy_key(), tmp_path / "key")
    return tmp_path / "key"


def test_what_was_saved_comes_back(saved: Path) -> None:
    key, loaded = toy_key(), load(saved)
    assert loaded.verifying.encode() == key.verifying.encode()
    require_equal(loaded, key)
    assert (loaded.domain, loaded.n_wires) == (key.domain, key.n_wires)
    assert (loaded.linked, loaded.n_advice) == ((2,), 2)
    assert not list(saved.glob("*.partial"))


def test_a_loaded_key_proves_and_verifies(saved: Path) -> None:
    run = prove_toy(random_bytes=seeded(7), key=load(saved))
    assert run.envelope == honest().envelope
    assert verdict_of(run.envelope, load_verifying_key(saved)) is Verdict.VALID


def test_a_verifier_reads_its_own_half_only(saved: Path) -> None:
    (saved / PROVING_NAME).unlink()
    assert load_verifying_key(saved).digest == toy_key().verifying.digest


def test_the_proving_digest_is_the_digest_of_the_file(saved: Path) -> None:
    raw = (saved / PROVING_NAME).read_bytes()
    assert hashlib.sha256(raw).digest() == toy_key().verifying.proving_digest
    assert compute_proving_digest(load(saved)) == toy_key().verifying.proving_digest


def test_a_cut_proving_half_is_refused(saved: Path) -> None:
    path = saved / PROVING_NAME
    raw = path.read_bytes()
    for n in (0, 1, 8, 4095, 4096, 8192, len(raw) - 4096, len(raw) - 1):
        path.write_bytes(raw[:n])
        with pytest.raises(FormatError, match=r"truncated|header demands"):
            load(saved)
    path.write_bytes(raw + bytes(4096))
    with pytest.raises(FormatError, match="header demands"):
        load(saved)


@pytest.mark.parametrize("streams", [False, True])
def test_a_file_that_says_more_than_was_written_is_not_read(saved: Path, streams: bool) -> None:
    """A terabyte of wires takes a page of a stranger's disk, and took the reader's memory."""
    path = saved / PROVING_NAME
    found = read_contents(path, streams=streams)
    lengths = [(array, len(value)) for array, value in found.arrays]
    longer = [(a, 1 << 38 if a.role is Role.WIRES else n, ()) for a, n in lengths]
    with path.open("wb") as file:
        file.write(next(list_file(found.counts, longer)))
        file.truncate(count_file_bytes(n * a.item_bytes for a, n, _ in longer))
    assert path.stat().st_blocks * 512 < 1 << 20 < 1 << 40 < path.stat().st_size
    with pytest.raises(FormatError, match="only 4096 were ever written"):
        read_contents(path, streams=streams)


@pytest.mark.parametrize("streams", [False, True])
def test_zeros_of_a_key_may_be_holes(saved: Path, streams: bool) -> None:
    """The links of a ceremony's first key are zeros, which some copies and file systems leave out;
    what is read is the same."""
    path = saved / PROVING_NAME
    found = read_contents(path, streams=False)
    parts = []
    for array, value in found.arrays:
        words = value if array.role is Role.WIRES else value.data
        zeros = np.zeros((300, 8), dtype=array.dtype)
        parts.append(
            (array, 300, [zeros]) if array.name == "link" else (array, len(value), [words])
        )
    raw = b"".join(list_file(found.counts, parts))
    path.write_bytes(raw)
    whole = read_contents(path, streams=streams).digest
    path.unlink()
    with path.open("wb") as file:
        for at in range(0, len(raw), 4096):
            if any(page := raw[at : at + 4096]):
                file.seek(at)
                file.write(page)
        file.truncate(len(raw))
    assert path.stat().st_blocks * 512 < path.stat().st_size == len(raw)
    assert read_contents(path, streams=streams).digest == whole == hashlib.sha256(raw).digest()


def test_any_altered_byte_of_the_proving_half_is_refused(saved: Path) -> None:
    path = saved / PROVING_NAME
    raw = path.read_bytes()
    for at in [*range(0, 160, 3), *range(160, len(raw), 997), len(raw) - 1]:
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        with pytest.raises((FormatError, KeyMismatch)):
            load(saved)


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
        load(saved)


def test_arrays_that_do_not_fit_the_counts_are_refused(tmp_path: Path) -> None:
    """A key whose digest is right and whose contents are not."""
    key = toy_key()
    assert isinstance(key.link, G1Array)
    for forged in (
        replace(key, n_advice=3),
        replace(key, link=key.link[:-1]),
        replace(key, linked=(3,)),
        replace(key, linked=(1, 1)),
        replace(key, linked=()),
        replace(key, correction=key.correction[:-1]),
    ):
        save_key(pin_files(forged), tmp_path)
        with pytest.raises(FormatError, match="do not fit its counts"):
            load(tmp_path)


@pytest.mark.parametrize("linked", [(), (1, 2)])
def test_keys_of_no_and_of_several_linked_groups(linked: tuple[int, ...], tmp_path: Path) -> None:
    r1cs = build_r1cs(
        [({2: 1}, {3: 1}, {1: 1}), ({4: 1}, {}, {})],
        n_public=1,
        linked=linked,
        n_private=3 - sum(linked),
    )
    key = setup(
        r1cs,
        circuit_digest=bytes(32),
        n_challenges=0,
        trapdoor=draw_trapdoor(seeded(5), n_linked=len(linked)),
        backend=BACKEND,
    )
    save_key(key, tmp_path)
    loaded = load(tmp_path)
    require_equal(loaded, key)
    assert loaded.linked == linked
    assert {path.name for path in tmp_path.iterdir()} == {VERIFYING_NAME, PROVING_NAME}


def test_the_key_names_every_file_of_its_folder(tmp_path: Path) -> None:
    key, card = proving_key(), KeyCard.of(accuracy())
    save_key(key, tmp_path, card)
    found = {path.name: hashlib.sha256(path.read_bytes()).digest() for path in tmp_path.iterdir()}
    assert found == {
        VERIFYING_NAME: key.verifying.digest,
        CARD_NAME: key.verifying.card_digest,
        PROVING_NAME: key.verifying.proving_digest,
    }
    verifying, read = load_verifying_half(tmp_path)
    assert (verifying.digest, read) == (key.verifying.digest, card)


def test_a_committed_card_is_read(root: Path) -> None:
    raw = (root / "tests" / "vectors" / "circuit_v3.json").read_bytes()
    card = KeyCard.decode(raw)
    assert card.encode() == raw
    assert (card.architecture, card.n_samples) == (accuracy().architecture, accuracy().n_samples)


def test_a_key_without_a_card_names_none(saved: Path) -> None:
    assert toy_key().verifying.card_digest == NO_FILE
    with pytest.raises(FormatError, match="not there"):
        load_verifying_half(saved)
    (saved / CARD_NAME).write_bytes(KeyCard.of(accuracy()).encode())
    with pytest.raises(KeyMismatch, match="is not the one that"):
        load_verifying_half(saved)


def test_a_key_is_saved_with_its_own_card(tmp_path: Path) -> None:
    card = KeyCard.of(accuracy())
    for key, other in (
        (toy_key(), card),
        (proving_key(), None),
        (proving_key(), replace(card, n_samples=card.n_samples + 1)),
    ):
        with pytest.raises(KeyMismatch, match="another card"):
            save_key(key, tmp_path / "key", other)
    assert not (tmp_path / "key").exists()


def test_a_key_can_be_demanded_by_its_digest(saved: Path) -> None:
    digest = toy_key().verifying.digest
    assert load_verifying_key(saved, expected_digest=digest).digest == digest
    with pytest.raises(KeyMismatch, match=f"is {digest.hex()}; take the key whose digest is 00"):
        load_verifying_key(saved, expected_digest=bytes(32))


def test_prepared_keys_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="save the key before preparing it"):
        save_key(prepare(toy_key(), BACKEND), tmp_path)


def test_missing_files_are_named(saved: Path, tmp_path: Path) -> None:
    verifying = load_verifying_key(saved)
    for path in saved.iterdir():
        path.unlink()
    with pytest.raises(FormatError, match=r"verifying\.key: this part of the key is not there"):
        load_verifying_key(saved)
    with pytest.raises(FormatError, match=r"proving\.key: this part of the key is not there"):
        load_proving_key(saved, verifying)


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


@pytest.mark.parametrize("name", ["alpha", "beta", "delta", "links"])
def test_identities_are_refused(name: str) -> None:
    key = toy_key().verifying
    zero: Any = G1Array.zeros(1) if name == "alpha" else G2Array.zeros(len(getattr(key, name)))
    with pytest.raises(FormatError, match="identity"):
        VerifyingKey.decode(replace(key, **{name: zero}).encode())


def test_points_that_are_none_are_refused() -> None:
    key = toy_key().verifying
    off_curve = G1Array.from_ints([(G1[0], G1[1] + 1)])
    with pytest.raises(FormatError, match="not on its curve"):
        VerifyingKey.decode(replace(key, alpha=off_curve).encode())
    off_twist = G2Array.from_ints([((1, 2), (3, 4))])
    with pytest.raises(FormatError, match="not on its curve"):
        VerifyingKey.decode(replace(key, delta_a=off_twist).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"n_challenges": 65},
        {"circuit_digest": b""},
        {"card_digest": bytes(31)},
        {"proving_digest": bytes(33)},
        {"ceremony_digest": bytes(31)},
    ],
)
def test_fields_out_of_range_are_refused(change: dict[str, Any]) -> None:
    """No key is made with them, and bytes that have them are none."""
    key = toy_key().verifying
    with pytest.raises(FieldInvalid):
        replace(key, **change)
    ((name, value),) = change.items()
    head, index = len(VerifyingKey.HEADER), [*VerifyingKey.KINDS].index(name)
    fields = split_fields(key.encode()[head:], 8)
    fields[index] = VerifyingKey.KINDS[name].encode(value)
    with pytest.raises(FormatError, match=name):
        VerifyingKey.decode(VerifyingKey.HEADER + encode_fields(fields))


def test_a_key_says_nothing_of_who_made_it() -> None:
    """What it cannot prove it must not claim: a reader would believe it."""
    raw = toy_key().verifying.encode()
    assert not re.search(rb"[a-z]{5,}", raw.removeprefix(b"zkpotvky"))
    with pytest.raises(FormatError, match="of version 5"):
        VerifyingKey.decode(raw[:8] + (4).to_bytes(2, "little") + raw[10:])


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda b: b"zkpotvky\5\0" + b))
def test_any_bytes_give_a_key_or_a_named_error(raw: bytes) -> None:
    with pytest.raises(ProverError):
        VerifyingKey.decode(raw)
