"""Each rule on rounds that are made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

from federated.experiments.simulation.batches import LocalTraining
from federated.experiments.simulation.interface import Setting
from federated.experiments.simulation.rules.catalog import (
    OPEN_RULES,
    RULES,
    find_bounds,
    is_possible,
    make_rule,
)
from federated.experiments.simulation.rules.claimed import LearningBased, NoisyLearningBased
from federated.experiments.simulation.rules.lotteries import ProofOfStake, ProofOfWork
from federated.experiments.simulation.rules.means import (
    FedAvg,
    Krum,
    Median,
    MultiKrum,
    TrimmedMean,
    rank_by_neighbours,
)
from federated.experiments.simulation.vectors import to_vector
from kernels.numpy_types import Float32Array
from prover.errors import RecipeInvalid
from prover.model.presets import parse_architecture
from tests.support.simulated import make_small, make_view

N = 5
OFFSETS = np.array([0.0, 1.0, 2.0, 3.0, 100.0], dtype=np.float32)
"""How far each model is from the start, in every parameter: the last one lies."""


@pytest.fixture(scope="module")
def small() -> Setting:
    return replace(make_small(n_clients=N), n_malicious=1)


def send(setting: Setting) -> Float32Array:
    return np.zeros((N, setting.architecture.n_parameters), np.float32) + OFFSETS[:, None]


@pytest.mark.parametrize(
    ("rule", "value", "n_accepted"),
    [
        (FedAvg(), 21.2, 5),  # (0 + 1 + 2 + 3 + 100) / 5
        (TrimmedMean(), 2.0, 5),  # (1 + 2 + 3) / 3
        (Median(), 2.0, 5),
        (Krum(), 1.0, 1),  # squares of the two nearest: 5, 2, 2, 5, ...; ties by number
        (MultiKrum(), 1.5, 4),  # all but the liar
    ],
)
def test_rules_of_a_server(
    small: Setting, rule: FedAvg | Krum | TrimmedMean | Median, value: float, n_accepted: int
) -> None:
    closing = rule.close(make_view(small, send(small)))
    assert np.allclose(closing.model, value)
    assert closing.accepted.sum() == n_accepted
    assert closing.leader == -1


def test_neighbours_are_counted_without_the_malicious() -> None:
    points = np.array([[0.0], [0.1], [0.2], [9.0], [9.1]], dtype=np.float32)
    order = rank_by_neighbours(points, n_malicious=1)
    assert order[0] == 1
    assert set(order[-2:]) == {3, 4}, "two liars are near each other, and far from others"


def test_half_of_all_cannot_be_trimmed_off(small: Setting) -> None:
    view = make_view(replace(small, n_malicious=3), send(small))
    with pytest.raises(ValueError, match="at either end"):
        TrimmedMean().close(view)


@pytest.mark.parametrize("rule", [ProofOfWork(), ProofOfStake()])
def test_lotteries_draw_by_weight_and_let_the_leader_write(
    small: Setting, rule: ProofOfWork | ProofOfStake
) -> None:
    """Weights are 1 to 5: the last leads in 5 of 15 rounds, the first in one."""
    written: list[int] = []

    def write(leader: int, model: Float32Array) -> Float32Array:
        written.append(leader)
        return model + leader

    leaders = []
    for seed in range(600):
        closing = rule.close(make_view(small, send(small), replace=write, seed=seed))
        assert np.allclose(closing.model, 21.2 + closing.leader)
        leaders.append(closing.leader)
    assert leaders == written
    shares = np.bincount(leaders, minlength=N) / len(leaders)
    assert np.allclose(shares, np.arange(1, N + 1) / 15, atol=0.06)  # three deviations


def test_the_greatest_claim_leads_where_claims_are_believed(small: Setting) -> None:
    claimed, proven = np.array([50, 60, 60, 40, 200]), np.array([50, 60, 60, 40, 10])
    view = make_view(
        small, send(small), claimed=claimed, proven=proven, replace=lambda leader, m: m * 0
    )
    closing = LearningBased().close(view)
    assert closing.leader == 4
    assert not closing.model.any()
    honest = [
        LearningBased().close(make_view(small, send(small), proven=proven, seed=seed)).leader
        for seed in range(30)
    ]
    assert set(honest) == {1, 2}, "ties by lot"


def test_noise_is_in_norms_of_a_cut_update(small: Setting) -> None:
    n = small.architecture.n_parameters
    start = np.full(n, 3.0, dtype=np.float32)
    trained = start + np.array([[1.0], [2.0], [100.0]], dtype=np.float32)
    generator = np.random.default_rng(1)
    assert np.array_equal(LearningBased().share(trained, start, generator), trained)
    shared = NoisyLearningBased(noise=0.01).share(trained, start, generator) - start
    norm = 2.0 * np.sqrt(n)
    for row, mean in zip(shared, (1.0, 2.0, 2.0), strict=True):  # the last is cut to the median
        assert abs(row.std() / (0.01 * norm) - 1) < 0.2
        assert abs(row.mean() - mean) < 5 * 0.01 * norm / np.sqrt(n)


def test_the_catalog_has_every_rule_by_its_name(small: Setting) -> None:
    training = LocalTraining(steps=2, batch_size=8)
    made = [make_rule(name, small, training, seed=1) for name in RULES]
    assert tuple(rule.name for rule, _ in made) == RULES
    assert len({rule.label for rule, _ in made}) == len(RULES) == 12
    assert [rule.name for rule, _ in made if not rule.is_verified] == list(OPEN_RULES)
    assert [rule.name for rule, _ in made if rule.trains_exactly] == ["zkpot-training"]
    for rule, setting in made:
        assert (setting is small) != rule.trains_exactly
    with pytest.raises(KeyError):
        make_rule("proof of elapsed time", small, training, seed=1)


def test_training_is_proven_of_linear_layers_alone(small: Setting) -> None:
    planes = replace(small, architecture=parse_architecture("lenet-small"))
    assert [name for name in RULES if not is_possible(name, planes)] == ["zkpot-training"]
    assert all(is_possible(name, small) for name in RULES)
    with pytest.raises(RecipeInvalid):
        make_rule("zkpot-training", planes, LocalTraining(), seed=1)


def test_bounds_let_a_public_update_pass(small: Setting) -> None:
    short = find_bounds(small, LocalTraining(steps=1, batch_size=8, learning_rate=1e-3), seed=1)
    long = find_bounds(small, LocalTraining(steps=20, batch_size=8, learning_rate=1e-2), seed=1)
    assert 1 <= short.weight < long.weight
    assert short.squares < long.squares
    assert to_vector(small.start).any()
