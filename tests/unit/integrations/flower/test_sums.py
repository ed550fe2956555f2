"""Sums of masked models: what SecAgg+ makes is the sum of the committed ones, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from integrations.flower.arrays import list_floats
from integrations.flower.judging import Accepted
from integrations.flower.sums import (
    CLIPPING,
    LIMB_BITS,
    MAX_CLIENTS,
    N_LIMBS,
    RANGE,
    hide,
    open_sum,
)
from integrations.flower.tickets import Mode
from kernels.array import G1Array
from kernels.backend import get_backend
from kernels.bn254 import R
from prover.model.layers import BIAS_MAX, BIAS_MIN
from prover.model.network import QuantizedModel
from prover.pedersen.commitment import Blinding, Committer, commit_model
from tests.support.flower_task import ARCHITECTURE, FlowerLab, as_reply, draw_arrays

Arrays = list[npt.NDArray[Any]]
COMMITTER = Committer(ARCHITECTURE.n_parameters, get_backend("cpu"))


def make_model(seed: int, *, extreme: int | None = None) -> QuantizedModel:
    rng = np.random.default_rng(seed)
    biases = [rng.integers(-999, 999, s, dtype=np.int32) for s in ARCHITECTURE.bias_shapes]
    if extreme is not None:
        biases = [np.full_like(bias, extreme) for bias in biases]
    weights = [rng.integers(-127, 128, s, dtype=np.int8) for s in ARCHITECTURE.weight_shapes]
    return QuantizedModel(architecture=ARCHITECTURE, weights=tuple(weights), biases=tuple(biases))


def average(hidden: list[Arrays]) -> Arrays:
    """As SecAgg+ does: floats are shifted, scaled, rounded, added up, and all that undone."""
    step = RANGE / (2 * CLIPPING)
    n = len(hidden)
    found = []
    for arrays in zip(*hidden, strict=True):
        total = sum(np.ceil((np.clip(a, -CLIPPING, CLIPPING) + CLIPPING) * step) for a in arrays)
        assert np.max(total) < 1 << 32
        found.append((total / step - CLIPPING - (n - 1) * CLIPPING) * (1 / n))
    return found


def commit(model: QuantizedModel, rho: int) -> G1Array:
    return commit_model(model, Blinding(rho=rho), COMMITTER).d


@pytest.mark.parametrize("extreme", [None, BIAS_MIN, BIAS_MAX])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_sum_is_opened_exactly(n: int, extreme: int | None) -> None:
    models = [make_model(seed, extreme=extreme) for seed in range(n)]
    rhos = [R - 1 - seed for seed in range(n)]  # limbs that carry, and a sum beyond r
    pairs = list(zip(models, rhos, strict=True))
    means = average([hide(model, Blinding(rho=rho)) for model, rho in pairs])
    found = open_sum(means, [commit(*pair) for pair in pairs], ARCHITECTURE, COMMITTER)
    assert found is not None
    assert np.array_equal(found, sum(model.wires for model in models))


def test_there_is_room_for_the_clients_it_says() -> None:
    model, rho = make_model(1, extreme=BIAS_MAX), R - 1
    means = average([hide(model, Blinding(rho=rho))] * MAX_CLIENTS)
    points = [commit(model, rho)] * MAX_CLIENTS
    found = open_sum(means, points, ARCHITECTURE, COMMITTER)
    assert found is not None
    assert np.array_equal(found, model.wires * MAX_CLIENTS)
    assert open_sum(means, [*points, points[0]], ARCHITECTURE, COMMITTER) is None
    assert R.bit_length() <= N_LIMBS * LIMB_BITS


def test_another_sum_is_not_opened() -> None:
    models = [make_model(seed) for seed in range(3)]
    hidden = [hide(model, Blinding(rho=5)) for model in models]
    points = [commit(model, 5) for model in models]
    assert open_sum(average(hidden), points, ARCHITECTURE, COMMITTER) is not None
    for index, by in ((0, 1.0), (1, -1.0), (4, 1.0)):
        other = [array.copy() for array in hidden[1]]
        other[index].flat[0] += by
        means = average([hidden[0], other, hidden[2]])
        assert open_sum(means, points, ARCHITECTURE, COMMITTER) is None
    means = average(hidden)
    assert open_sum(means, points[:2], ARCHITECTURE, COMMITTER) is None
    assert open_sum(average(hidden[:2]), points, ARCHITECTURE, COMMITTER) is None
    assert open_sum(means, [], ARCHITECTURE, COMMITTER) is None
    assert open_sum(means[:-1], points, ARCHITECTURE, COMMITTER) is None


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e300, float(1 << 32)])
def test_no_number_breaks_it(number: float) -> None:
    means = average([hide(make_model(1), Blinding(rho=5))])
    means[0].flat[0] = number
    assert open_sum(means, [commit(make_model(1), 5)], ARCHITECTURE, COMMITTER) is None


def test_a_judge_hands_on_the_mean_of_what_it_accepted(lab: FlowerLab) -> None:
    prover, ticket = lab.make_prover(Mode.MASKED), lab.make_ticket(Mode.MASKED)
    proven = [prover.prove(draw_arrays(n), ticket, node=n) for n in (1, 2, 3)]
    judge = lab.make_judge()
    judged = judge.judge([as_reply(one, n) for n, one in enumerate(proven, start=1)], ticket)
    accepted = [one for one in judged if isinstance(one, Accepted)]
    means = average([list(one.arrays) for one in proven])
    mean = judge.open_sum(means, accepted)
    assert mean is not None
    step = max(lab.task.scales.weights) * 255
    wanted = [np.mean(arrays, axis=0) for arrays in zip(*map(draw_arrays, (1, 2, 3)), strict=True)]
    for found, array in zip(list_floats(mean), wanted, strict=True):
        assert np.abs(found - array).max() < step
    assert judge.open_sum(means, accepted[:2]) is None
