"""Commitments: the formula, every kind of value, what is refused, documents."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from kernels.array import FrArray, G1Array
from kernels.backend import get_backend
from kernels.bn254 import R
from kernels.numpy_types import Int64Array
from kernels.reference import add_g1, mul_g1
from prover.errors import FormatError, ShapeMismatch
from prover.model.network import Architecture
from prover.pedersen.bases import derive_bases
from prover.pedersen.commitment import (
    Blinding,
    Committer,
    ModelCommitment,
    SecretCommitment,
    commit_model,
    draw_blinding,
)
from tests.support.models import random_model
from tests.support.tiny_circuits import seeded

N = 12
RHO = pow(5, 77, R)
ARCHITECTURE = Architecture.mlp((6, 3, 2))
EDGES = [0, 1, -1, 127, -127, -128, (1 << 23) - 1, -(1 << 23), 1 << 62, -(1 << 62)]
EXTREMES = [*EDGES, (1 << 63) - 1, -(1 << 63)]


@cache
def committer(n_wires: int = N, backend: str = "cpu") -> Committer:
    return Committer(n_wires, get_backend(backend))


def int64(values: Sequence[int]) -> Int64Array:
    return np.array(values, dtype=np.int64)


def sum_by_definition(values: Sequence[int], rho: int) -> G1Array:
    """rho h_0 + sum_k w_k h_(k+1), one multiple after the other."""
    total = None
    for scalar, base in zip(
        [rho, *values], derive_bases(0, len(values) + 1).to_ints(), strict=True
    ):
        total = add_g1(total, mul_g1(scalar % R, base))
    return G1Array.from_ints([total])


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize(
    ("values", "rho"),
    [
        (EXTREMES, RHO),
        (EXTREMES, 0),
        ([3] * N, R - 1),
        ([0] * N, 1),
        ([0] * (N - 1) + [-5], RHO),
    ],
)
def test_commitment_is_its_formula(values: list[int], rho: int, backend: str) -> None:
    made = committer(N, backend).commit(int64(values), rho)
    assert made.equals(sum_by_definition(values, rho))
    assert committer(N, backend).commit(FrArray.from_ints(values), rho).equals(made)


def test_nothing_blinded_by_nothing_is_infinity() -> None:
    assert committer().commit(int64([0] * N), 0).to_ints() == [None]


def test_scalars_of_full_width() -> None:
    values = [pow(7, i + 1, R) for i in range(N)]
    made = committer().commit(FrArray.from_ints(values), RHO)
    assert made.equals(sum_by_definition(values, RHO))


def test_weights_and_biases_of_a_network() -> None:
    """Many small values, few of 24 bits: what the sum's digits are chosen for."""
    rng = np.random.default_rng(3)
    values = rng.integers(-127, 128, 3000)
    values[1500:1520] = rng.integers(-(1 << 23), 1 << 23, 20)
    made = Committer(3000, get_backend()).commit(values, RHO)
    bases = derive_bases(0, 3001)
    scalars = FrArray.from_ints([RHO, *values.tolist()])
    assert made.equals(get_backend().msm_g1(scalars, bases))


@pytest.mark.parametrize("n", [1, 5, N - 1])
def test_a_shorter_vector_has_the_same_commitment_everywhere(n: int) -> None:
    values = EXTREMES[:n]
    made = committer().commit(int64(values), RHO)
    assert made.equals(committer(n).commit(int64(values), RHO))
    assert made.equals(sum_by_definition(values, RHO))
    assert committer().commit(FrArray.from_ints(values), RHO).equals(made)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (int64([]), r"1 to 12 values, got shape \[0\]"),
        (int64([1] * (N + 1)), r"1 to 12 values, got shape \[13\]"),
        (FrArray.zeros(0), r"1 to 12 values, got shape \[0\]"),
        (FrArray.zeros(N + 1), r"1 to 12 values, got shape \[13\]"),
        (FrArray.zeros(2, N), r"1 to 12 values, got shape \[2, 12\]"),
        (int64([[1]]), r"int64\[n\] or scalars, got int64\[1, 1\]"),
        (np.zeros(N, np.int32), r"int64\[n\] or scalars, got int32\[12\]"),
        (np.zeros(N, np.float64), r"int64\[n\] or scalars, got float64\[12\]"),
    ],
)
def test_vectors_that_are_refused(values: Int64Array | FrArray, message: str) -> None:
    with pytest.raises(ShapeMismatch, match=message):
        committer().commit(values, RHO)


@pytest.mark.parametrize("rho", [-1, R, R + 5])
def test_blinding_that_is_no_scalar(rho: int) -> None:
    with pytest.raises(ValueError, match="scalar below r"):
        committer().commit(int64([1]), rho)


def test_scalar_that_is_not_canonical() -> None:
    raw = FrArray(np.full((N, 4), (1 << 64) - 1, dtype=np.uint64))
    with pytest.raises(ValueError, match="below"):
        committer().commit(raw, RHO)


def test_no_commitment_to_nothing() -> None:
    with pytest.raises(ValueError, match="0 wires"):
        Committer(0, get_backend())


def test_memory_of_a_committer() -> None:
    assert Committer(5000, get_backend()).n_bytes <= 66 * 5000


# -- models ----------------------------------------------------------------------------------------


def test_model_is_committed_in_the_order_of_its_wires() -> None:
    model = random_model(ARCHITECTURE, np.random.default_rng(1))
    parts = [part for w, b in zip(model.weights, model.biases, strict=True) for part in (w, b)]
    wires = [int(value) for part in parts for value in part.reshape(-1)]
    made = commit_model(model, Blinding(rho=RHO), committer(ARCHITECTURE.n_parameters))
    assert made.d.equals(sum_by_definition(wires, RHO))
    assert commit_model(model, Blinding(rho=RHO), committer(40)).d.equals(made.d)


def test_other_models_and_blindings_have_other_commitments() -> None:
    models = [random_model(ARCHITECTURE, np.random.default_rng(seed)) for seed in (1, 2)]
    made = {
        commit_model(model, Blinding(rho=rho), committer(40)).encode()
        for model in models
        for rho in (RHO, RHO + 1)
    }
    assert len(made) == 4


def test_model_of_too_many_wires() -> None:
    model = random_model(ARCHITECTURE, np.random.default_rng(1))
    with pytest.raises(ShapeMismatch, match=rf"got shape \[{ARCHITECTURE.n_parameters}\]"):
        commit_model(model, Blinding(rho=RHO), committer(N))


# -- documents -------------------------------------------------------------------------------------


def make_secret() -> SecretCommitment:
    blinding = draw_blinding(seeded(4))
    public = ModelCommitment(d=committer().commit(int64(EXTREMES), blinding.rho))
    return SecretCommitment(public=public, blinding=blinding)


def test_documents_have_one_encoding() -> None:
    secret = make_secret()
    raw = secret.encode()
    read = SecretCommitment.decode(raw)
    assert read.encode() == raw
    assert read.public.d.equals(secret.public.d)
    assert read.blinding == secret.blinding
    assert secret.public.encode()[:10] == b"zkpotcmt" + b"\2\0"
    assert secret.blinding.encode()[:10] == b"zkpotrho" + b"\2\0"
    assert len(secret.public.encode()) == len(secret.blinding.encode()) == 10 + 4 + 32


@pytest.mark.parametrize("kind", [ModelCommitment, Blinding])
def test_documents_of_another_version_are_refused(
    kind: type[ModelCommitment] | type[Blinding],
) -> None:
    secret = make_secret()
    raw = secret.public.encode() if kind is ModelCommitment else secret.blinding.encode()
    with pytest.raises(FormatError, match="of version 2: begins with other bytes"):
        kind.decode(raw[:8] + b"\1\0" + raw[10:])
    with pytest.raises(FormatError, match="longer than its fields"):
        kind.decode(raw + b"\0")


def test_blinding_is_drawn_and_not_shown() -> None:
    first, second = (draw_blinding(seeded(seed)) for seed in (1, 2))
    assert 0 <= first.rho < R
    assert first != second
    assert str(first.rho) not in repr(first) + repr(make_secret())
