"""The rules of the chain on rounds made by hand: who is accepted, what is summed, who leads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

from consensus.learning.aggregate import WEIGHT, GlobalModel, combine
from consensus.learning.training_mean import read_masters
from federated.accuracy import count_correct
from federated.experiments.simulation.exact_training import (
    find_recipe,
    from_masters,
    make_exact,
    to_masters,
)
from federated.experiments.simulation.interface import Setting, View
from federated.experiments.simulation.rules.zkpot import BoundedZkPot, TrainedZkPot, ZkPot
from federated.experiments.simulation.vectors import from_global, to_integers, to_vector
from federated.task_scales import quantize_for_task
from kernels.numpy_types import Float32Array
from prover.model.network import QuantizedModel
from prover.model.update import UpdateBounds, compute_update, require_bounds
from tests.support.simulated import make_small, make_view

N = 5
RULE = ZkPot(threshold=0.2, margin=-0.1)  # of 200 samples: 40, and 20 fewer than the global model


@pytest.fixture(scope="module")
def small() -> Setting:
    return make_small(n_clients=N)


@pytest.fixture(scope="module")
def sent(small: Setting) -> Float32Array:
    """Models around the start, each another one."""
    noise = np.random.default_rng(1).normal(0, 0.02, (N, small.architecture.n_parameters))
    return (to_vector(small.start) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def committed(small: Setting, sent: Float32Array) -> tuple[QuantizedModel, ...]:
    found = [RULE.commit(one, small, None) for one in sent]
    return tuple(model for model in found if model is not None)


@pytest.fixture(scope="module")
def origin(small: Setting) -> GlobalModel:
    model = quantize_for_task(small.start, small.architecture, small.scales)
    return combine([(model, WEIGHT)])


def see(
    small: Setting,
    sent: Float32Array,
    committed: tuple[QuantizedModel | None, ...],
    claimed: list[int],
    proven: list[int] | None = None,
    origin: GlobalModel | None = None,
) -> View:
    truth = np.array(claimed if proven is None else proven)
    view = make_view(small, sent, claimed=np.array(claimed), proven=truth)
    return replace(view, committed=committed, origin=origin)


def test_the_mean_is_the_chains_of_those_accepted(
    small: Setting, sent: Float32Array, committed: tuple[QuantizedModel, ...]
) -> None:
    """Client 3 is below the threshold."""
    closing = RULE.close(see(small, sent, committed, [100, 150, 40, 39, 120]))
    assert closing.accepted.tolist() == [True, True, True, False, True]
    assert closing.leader == 1
    expected = combine((committed[i], WEIGHT) for i in (0, 1, 2, 4))
    assert closing.exact is not None
    assert closing.exact.encode() == expected.encode()
    assert np.array_equal(closing.model, from_global(expected, small.scales))


def test_a_claim_above_the_truth_has_no_proof_and_one_below_it_does(
    small: Setting, sent: Float32Array, committed: tuple[QuantizedModel, ...]
) -> None:
    view = see(small, sent, committed, [100, 200, 60, 90, 90], [100, 199, 180, 90, 90])
    closing = RULE.close(view)
    assert closing.accepted.tolist() == [True, False, True, True, True]
    assert closing.leader == 0, "who claims less than is true leads by the claim"


def test_ties_are_drawn(
    small: Setting, sent: Float32Array, committed: tuple[QuantizedModel, ...]
) -> None:
    view = see(small, sent, committed, [90, 80, 90, 70, 60])
    seeds = [replace(view, generator=np.random.default_rng(seed)) for seed in range(20)]
    assert {RULE.close(one).leader for one in seeds} == {0, 2}


def test_who_has_no_integers_has_no_proof(
    small: Setting, sent: Float32Array, committed: tuple[QuantizedModel, ...]
) -> None:
    lacking = (None, *committed[1:])
    assert not RULE.close(see(small, sent, lacking, [100] * N)).accepted[0]


@pytest.mark.parametrize(("margin", "least"), [(-0.1, -20), (0.0, 0), (0.05, 10), (None, None)])
def test_the_margin_is_over_the_global_model_on_the_same_samples(
    small: Setting,
    sent: Float32Array,
    committed: tuple[QuantizedModel, ...],
    origin: GlobalModel,
    margin: float | None,
    least: int | None,
) -> None:
    has = count_correct(origin.rounded(), small.shard)
    assert has > 80
    rule = ZkPot(threshold=0.2, margin=margin)
    wanted = 40 if least is None else has + least
    claims = [wanted, wanted - 1, wanted + 1, wanted + 2, wanted + 3]
    accepted = rule.close(see(small, sent, committed, claims, origin=origin)).accepted
    assert accepted.tolist() == [True, False, True, True, True]
    first = rule.close(see(small, sent, committed, [40, 39, 41, 42, 43]))
    assert first.accepted.tolist() == [True, False, True, True, True], "no global model yet"


def test_two_models_make_no_sum(
    small: Setting,
    sent: Float32Array,
    committed: tuple[QuantizedModel, ...],
    origin: GlobalModel,
) -> None:
    """A sum of so few would tell them: the round is void."""
    view = see(small, sent, committed, [150, 150, 1, 1, 1], origin=origin)
    closing = RULE.close(view)
    assert (closing.leader, closing.exact) == (-1, origin)
    assert not closing.accepted.any()
    assert np.array_equal(closing.model, view.start)


def test_bounds_are_around_the_global_model_once_there_is_one(
    small: Setting, sent: Float32Array, origin: GlobalModel
) -> None:
    bounds = UpdateBounds(weight=3, bias=50, squares=400)
    rule = BoundedZkPot(threshold=0.2, margin=None, bounds=bounds)
    far = (to_vector(small.start) - 3 * (sent[0] - to_vector(small.start))).astype(np.float32)
    free, bound = rule.commit(far, small, None), rule.commit(far, small, origin)
    assert free is not None
    assert bound is not None
    plain = to_integers(far, small.architecture, small.scales)
    assert plain is not None
    assert np.array_equal(free.wires, plain.wires)
    assert np.abs(compute_update(free, origin.rounded())).max() > 3
    update = compute_update(bound, origin.rounded())
    assert update.any()
    require_bounds(small.architecture, update, bounds)


def test_masters_are_summed_of_those_whose_training_is_proven(small: Setting) -> None:
    exact = make_exact(small, b"seed")
    recipe = find_recipe(exact.architecture)
    start = to_masters(to_vector(exact.start), recipe, exact.scales)
    steps = np.random.default_rng(2).integers(-3000, 3000, (N, len(start)))
    sent = np.stack([from_masters(start + step, recipe, exact.scales) for step in steps])
    rule = TrainedZkPot(threshold=0.2, margin=None)
    committed = tuple(rule.commit(one, exact, None) for one in sent)
    view = see(exact, sent, committed, [90, 80, 70, 60, 100])
    view = replace(view, trained=np.array([True, True, True, True, False]))
    closing = rule.close(view)
    assert closing.accepted.tolist() == [True, True, True, True, False]
    assert closing.leader == 0
    assert closing.exact is not None
    mean = read_masters(recipe, closing.exact)
    assert np.array_equal(mean, (2 * (start + steps[:4]).sum(axis=0) + 4) // 8)
    assert np.array_equal(to_masters(closing.model, recipe, exact.scales), mean)
