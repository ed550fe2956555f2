"""Opening commitments: the key's bases, the wires of a model, and who does not open."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.array import FrArray, G1Array
from kernels.bn254 import R
from kernels.encoding import encode_g1
from kernels.integers import to_scalars
from kernels.reference import Reference
from prover.circuit.witness import solve_committed
from prover.errors import FormatError, KeyMismatch
from prover.groth16.prove import prepare
from prover.groth16.setup import draw_trapdoor, setup
from prover.keys import opening
from prover.keys.card import KeyCard
from prover.keys.folder import (
    COMMITMENT_NAME,
    PROVING_NAME,
    VERIFYING_NAME,
    load_commitment_key,
    save_key,
)
from prover.keys.opening import (
    CommitmentKey,
    Opening,
    judge_openings,
    openings_hold,
)
from tests.support.learning import (
    ARCHITECTURE,
    BACKEND,
    accuracy,
    commitment_of,
    model_of,
    proving_key,
)
from tests.support.models import random_images, random_labels, random_model
from tests.support.tiny_circuits import build_chain, seeded


@cache
def key() -> CommitmentKey:
    return CommitmentKey.of(proving_key())


def opening_of(i: int, *, model: int | None = None, rho: int | None = None) -> Opening:
    """Client i's opening; `model` and `rho` may be another's."""
    return Opening(
        d_w=encode_g1(commitment_of(i)[0].d_w),
        wires=model_of(i if model is None else model).wires,
        rho=commitment_of(i if rho is None else rho)[1].rho,
    )


def holds(*openings: Opening, seed: int = 3) -> bool:
    return openings_hold(openings, key=key(), random_bytes=seeded(seed))


def test_wires_are_those_of_the_circuit() -> None:
    for i in range(3):
        model = random_model(ARCHITECTURE, np.random.default_rng(i))
        images = random_images(ARCHITECTURE, 4, np.random.default_rng(i))
        labels = random_labels(ARCHITECTURE, 4, np.random.default_rng(i))
        committed = solve_committed(accuracy(), model, images, labels)
        assert model.wires.tolist() == committed.model.tolist()
        assert key().n_model == len(model.wires) == ARCHITECTURE.n_parameters


def test_right_openings_hold_alone_and_together() -> None:
    assert all(holds(opening_of(i)) for i in range(3))
    assert holds(*(opening_of(i) for i in range(3)))
    assert judge_openings([], key=key(), random_bytes=seeded(1)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        opening_of(1, model=2),
        opening_of(1, rho=2),
        opening_of(1, model=2, rho=2),
        replace(opening_of(1), rho=0),
        replace(opening_of(1), rho=(opening_of(1).rho + 1) % R),
        replace(opening_of(1), d_w=opening_of(2).d_w),
        replace(opening_of(1), d_w=bytes(31) + b"\x40"),
        replace(opening_of(1), d_w=b"\xff" * 32),
        replace(opening_of(1), d_w=b""),
        replace(opening_of(1), wires=opening_of(1).wires[:-1]),
    ],
)
def test_the_one_who_does_not_open_is_found(wrong: Opening) -> None:
    assert not holds(wrong)
    batch = [opening_of(0), opening_of(2), wrong, opening_of(1)]
    verdicts = judge_openings(batch, key=key(), random_bytes=seeded(2))
    assert verdicts == [True, True, False, True]


@pytest.mark.parametrize("index", [0, 5, -1])
@pytest.mark.parametrize("step", [1, -1])
def test_a_single_changed_wire_does_not_open(index: int, step: int) -> None:
    wires = opening_of(0).wires.copy()
    wires[index] += step
    assert not holds(replace(opening_of(0), wires=wires))


def test_swapped_openings_are_found() -> None:
    """Their plain sum is right; the random weights tell them apart."""
    swapped = [opening_of(0, model=1, rho=1), opening_of(1, model=0, rho=0), opening_of(2)]
    verdicts = judge_openings(swapped, key=key(), random_bytes=seeded(2))
    assert verdicts == [False, False, True]


def test_errors_that_cancel_in_a_plain_sum_are_found() -> None:
    up, down = opening_of(0).wires.copy(), opening_of(1).wires.copy()
    up[3] += 1
    down[3] -= 1
    pair = [replace(opening_of(0), wires=up), replace(opening_of(1), wires=down)]
    assert judge_openings(pair, key=key(), random_bytes=seeded(2)) == [False, False]


@settings(max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_the_sum_is_the_definition(seed: int, n: int) -> None:
    """sum_i t_i (w_ik + 2^23) as whole numbers, extreme wires and weights included."""
    rng = np.random.default_rng(seed)
    edge = (1 << 23) - 1
    wires = rng.choice([-edge, -128, -1, 0, 1, 127, edge], size=(n, 9)).astype(np.int64)
    weights = [(1 << 128) - 1, 1, int.from_bytes(rng.bytes(16), "little") or 1, 1 << 127][:n]
    openings = [Opening(d_w=b"", wires=row, rho=0) for row in wires]
    found = opening._combine(openings, weights).to_ints()
    expected = [
        sum(t * (int(w) + (1 << 23)) for t, w in zip(weights, column, strict=True))
        for column in wires.T
    ]
    assert found == expected


def test_long_sums_are_the_sum_of_their_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_CHUNK", 7)
    fresh = CommitmentKey.of(proving_key())
    batch = [opening_of(i) for i in range(3)]
    assert openings_hold(batch, key=fresh, random_bytes=seeded(1))
    assert not openings_hold([*batch, opening_of(1, rho=2)], key=fresh, random_bytes=seeded(1))


def test_openings_hide_their_secrets() -> None:
    shown = repr(opening_of(0))
    assert str(opening_of(0).rho) not in shown
    assert "array" not in shown


# -- the key ---------------------------------------------------------------------------------------


def test_the_key_commits_as_the_proving_key_does() -> None:
    made, blinding = commitment_of(1)
    scalars = FrArray.concat([to_scalars(model_of(1).wires), FrArray.from_ints([blinding.rho])])
    again = CommitmentKey.decode(key().encode())
    assert Reference().msm_g1(scalars, again.bases).equals(made.d_w)


def test_the_key_has_one_encoding() -> None:
    raw = key().encode()
    again = CommitmentKey.decode(raw)
    assert again.encode() == raw
    assert again.bases.equals(proving_key().model)  # type: ignore[arg-type]
    assert again.digest == proving_key().verifying.commitment_digest
    assert key().total.equals(
        Reference().msm_g1(FrArray.from_ints([1] * again.n_model), again.bases[: again.n_model])
    )


def spoil(index: int, words: list[int]) -> bytes:
    data = key().bases.data.copy()
    data[index] = words
    return CommitmentKey(bases=G1Array(data)).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        key().encode()[:-1],
        key().encode() + b"\0",
        key().encode()[:8] + (1).to_bytes(2, "little") + key().encode()[10:],
        key().encode()[:10],
        key().encode()[: 10 + 64],
        key().encode()[: 10 + 127],
        spoil(0, [1] * 8),
        spoil(3, [2**64 - 1] * 8),
        spoil(-1, [0] * 8),
    ],
)
def test_other_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(FormatError):
        CommitmentKey.decode(raw)


def test_it_lies_beside_the_verifying_key(tmp_path: Path) -> None:
    verifying = proving_key().verifying
    save_key(proving_key(), tmp_path, KeyCard.of(accuracy()))
    assert load_commitment_key(tmp_path, verifying).encode() == key().encode()
    assert (tmp_path / COMMITMENT_NAME).read_bytes() == key().encode()
    with pytest.raises(KeyMismatch, match="is not the one that"):
        load_commitment_key(tmp_path, replace(verifying, commitment_digest=bytes([1]) * 32))


def test_bases_in_another_order_are_refused(tmp_path: Path) -> None:
    """They lie on the curve, and would open D_W as the model with two classes exchanged."""
    verifying = proving_key().verifying
    save_key(proving_key(), tmp_path, KeyCard.of(accuracy()))
    data = key().bases.data.copy()
    data[[0, 1]] = data[[1, 0]]
    exchanged = CommitmentKey(bases=G1Array(data))
    (tmp_path / COMMITMENT_NAME).write_bytes(exchanged.encode())
    wires = opening_of(1).wires.copy()
    wires[[0, 1]] = wires[[1, 0]]
    assert wires[0] != wires[1]
    other = replace(opening_of(1), wires=wires)
    assert openings_hold([other], key=exchanged, random_bytes=seeded(1))
    with pytest.raises(KeyMismatch, match="is not the one that"):
        load_commitment_key(tmp_path, verifying)


def test_a_key_without_model_has_none(tmp_path: Path) -> None:
    plain = setup(
        build_chain(3),
        circuit_digest=bytes(32),
        n_challenges=0,
        trapdoor=draw_trapdoor(seeded(4)),
        backend=BACKEND,
    )
    with pytest.raises(KeyMismatch):
        CommitmentKey.of(plain)
    save_key(proving_key(), tmp_path, KeyCard.of(accuracy()))
    save_key(plain, tmp_path)  # the older key's bases do not stay behind
    assert {path.name for path in tmp_path.iterdir()} == {VERIFYING_NAME, PROVING_NAME}
    with pytest.raises(KeyMismatch, match="commits to nothing"):
        load_commitment_key(tmp_path, plain.verifying)


def test_a_prepared_key_has_no_bases_to_take() -> None:
    with pytest.raises(TypeError, match="prepared"):
        CommitmentKey.of(prepare(proving_key(), BACKEND))
