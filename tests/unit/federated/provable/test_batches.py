"""Committed batches: what they hold, what their commitments open to, and their files."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federated.provable.batches import (
    PUBLIC_NAME,
    SECRET_NAME,
    BatchSecret,
    CommittedBatches,
    count_wires,
    load_batches,
    load_commitments,
)
from kernels.array import FrArray, G1Array
from kernels.numpy_types import Int64Array
from prover.errors import FieldInvalid, FormatError
from prover.pedersen.opening import opens
from prover.training.commitments import MAX_BATCHES, BatchCommitments
from tests.support.provable import draw_samples, make_batches, make_committer
from tests.support.training import make_recipe


def save(folder: Path, batches: CommittedBatches) -> None:
    (folder / PUBLIC_NAME).write_bytes(batches.public.encode())
    (folder / SECRET_NAME).write_bytes(batches.secret.encode())


def list_wires(batches: CommittedBatches, number: int) -> Int64Array:
    """As WIRE says: images row-major, then label + 1; zeros where there is no sample."""
    images, labels = batches.get_samples(number)
    wires = np.zeros(4 * 7, dtype=np.int64)
    wires[: images.size] = images.reshape(-1)
    wires[24 : 24 + len(labels)] = labels.astype(np.int64) + 1
    return wires


def test_commitments_open_to_batches_and_to_nothing_else() -> None:
    batches, committer = make_batches(), make_committer()
    assert (batches.n_batches, batches.n_samples, count_wires(6, 3, 4)) == (3, 10, 28)
    for number in range(3):
        d, rho = batches.public.d[number : number + 1], batches.get_blinding(number)
        wires = list_wires(batches, number)
        assert opens(d, wires, rho, committer)
        assert not opens(d, wires, rho + 1, committer)
        wires[-4] += 1
        assert not opens(d, wires, rho, committer)


def test_all_samples_are_in_once_and_shuffled() -> None:
    samples, batches = draw_samples(10), make_batches()
    cut = [batches.get_samples(number) for number in range(3)]
    assert [len(labels) for _, labels in cut] == [4, 4, 2]
    found = [(x.tobytes(), int(y)) for xs, ys in cut for x, y in zip(xs, ys, strict=True)]
    given = [(x.tobytes(), int(y)) for x, y in zip(samples.images, samples.labels, strict=True)]
    assert Counter(found) == Counter(given)
    assert found != given


def test_blindings_are_fresh_and_of_full_width() -> None:
    rho = make_batches(n_samples=40).secret.rho.to_ints()
    assert len(set(rho)) == 10
    assert max(rho).bit_length() > 250
    again = make_batches(n_samples=40, seed=2)
    assert not set(rho) & set(again.secret.rho.to_ints())


def test_files_come_back(tmp_path: Path) -> None:
    batches = make_batches()
    save(tmp_path, batches)
    found = load_batches(tmp_path)
    assert found.public.encode() == batches.public.encode()
    assert found.secret.encode() == batches.secret.encode()
    assert load_commitments(tmp_path).digest == batches.public.digest
    assert (found.get_samples(2)[0] == batches.get_samples(2)[0]).all()
    for secret in (str(batches.secret), str(batches)):
        assert str(batches.get_blinding(0)) not in secret


def test_files_of_two_clients_do_not_belong_together(tmp_path: Path) -> None:
    save(tmp_path, make_batches())
    (tmp_path / SECRET_NAME).write_bytes(make_batches(seed=2).secret.encode())
    with pytest.raises(FormatError, match="not the secret of"):
        load_batches(tmp_path)


def test_a_secret_that_says_less_or_more_is_refused(tmp_path: Path) -> None:
    batches = make_batches()
    secret = batches.secret
    wrong = {
        "one sample fewer": replace(secret, pixels=secret.pixels[:-6], labels=secret.labels[:-1]),
        "a batch fewer": replace(secret, pixels=secret.pixels[:-12], labels=secret.labels[:-2]),
        "a blinding fewer": replace(secret, rho=secret.rho[:2]),
        "wider samples": replace(secret, pixels=np.zeros(70, dtype=np.uint8)),
        "a class too many": replace(secret, labels=secret.labels + np.uint8(1)),
    }
    save(tmp_path, batches)
    for what, one in wrong.items():
        (tmp_path / SECRET_NAME).write_bytes(one.encode())
        if what == "one sample fewer":  # how many the last batch has is the owner's to know
            assert load_batches(tmp_path).n_samples == 9
            continue
        with pytest.raises(FormatError, match="not the secret of"):
            load_batches(tmp_path)


def test_bytes_that_are_no_file_are_refused() -> None:
    batches = make_batches()
    for kind, raw in (
        (BatchCommitments, batches.public.encode()),
        (BatchSecret, batches.secret.encode()),
    ):
        for other in (b"", raw[:-1], raw + b"\x00", b"x" + raw[1:], raw[:8] + b"\x09" + raw[9:]):
            with pytest.raises(FormatError, match="zkpot data commit"):
                kind.decode(other)
    with pytest.raises(FieldInvalid, match="not one sample for each label"):
        replace(batches.secret, pixels=np.zeros(61, dtype=np.uint8))
    with pytest.raises(FieldInvalid, match="no samples"):
        replace(batches.secret, labels=np.zeros(0, dtype=np.uint8))
    with pytest.raises(FieldInvalid, match="points"):
        replace(batches.public, d=G1Array.zeros(MAX_BATCHES + 1))
    with pytest.raises(FieldInvalid, match="scalars"):
        replace(batches.secret, rho=FrArray.zeros(0))


@cache
def encode_secret() -> bytes:
    return make_batches().secret.encode()


@settings(max_examples=40)
@given(st.integers(0, 1 << 20), st.integers(1, 255))
def test_a_damaged_secret_is_seen_when_it_is_read(at: int, flip: int) -> None:
    """Not when the proof of a step fails, an hour later."""
    raw = bytearray(encode_secret())
    raw[at % len(raw)] ^= flip
    with pytest.raises(FormatError, match="zkpot data commit"):
        BatchSecret.decode(bytes(raw))


def test_reading_costs_what_a_file_has(tmp_path: Path) -> None:
    """Not the 2 GiB that its format allows: also where so much memory is not to be had."""
    save(tmp_path, make_batches())
    tracemalloc.start()
    load_batches(tmp_path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 20


@pytest.mark.parametrize("widths", [[6, 5, 4], [7, 3]])
def test_a_recipe_of_other_batches_is_refused(widths: list[int]) -> None:
    batches = make_batches()
    batches.require_recipe(make_recipe([6, 5, 3]))
    with pytest.raises(FormatError, match="--batch or --arch"):
        batches.require_recipe(make_recipe(widths))
    with pytest.raises(FormatError, match="batches of 4 samples"):
        batches.require_recipe(make_recipe([6, 5, 3], batch_size=5))
