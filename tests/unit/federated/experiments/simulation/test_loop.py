"""Rounds: they learn, they see all that a rule and an attack are told, and seeds decide them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

from federated.accuracy import count_correct
from federated.data import LabeledImages
from federated.experiments.simulation.batches import LocalTraining
from federated.experiments.simulation.exact_training import make_exact
from federated.experiments.simulation.float_training import count_correct_floats
from federated.experiments.simulation.interface import Attack, Rule, Setting, Sight
from federated.experiments.simulation.loop import Round, run_rounds
from federated.experiments.simulation.rules.catalog import RULES, make_rule
from federated.experiments.simulation.rules.claimed import LearningBased, NoisyLearningBased
from federated.experiments.simulation.rules.means import FedAvg
from federated.experiments.simulation.rules.zkpot import TrainedZkPot, ZkPot
from federated.experiments.simulation.vectors import to_vector
from federated.float_model import FloatModel
from kernels.numpy_types import Float32Array
from tests.support.simulated import make_small

TRAINING = LocalTraining(steps=10, batch_size=16, learning_rate=1e-2)
N_BAD = 2


@dataclass
class Probe:
    """Turns labels round, sends the model the other way, and notes what it was shown."""

    name: str = "probe"
    sights: list[Sight] = field(default_factory=list)

    def poison(
        self, samples: LabeledImages, setting: Setting, generator: np.random.Generator
    ) -> LabeledImages:
        assert len(samples) == 60 + len(setting.public), "its own, and the public ones"
        return LabeledImages(images=samples.images, labels=3 - samples.labels)

    def send(self, sight: Sight) -> Float32Array:
        self.sights.append(sight)
        return 2 * sight.start - sight.trained

    def claim(self, n_correct: int, n_samples: int) -> int:
        return n_samples

    def lead(self, model: Float32Array, sight: Sight) -> Float32Array:
        return np.full_like(model, 7.0)

    def succeed(self, model: FloatModel, setting: Setting) -> float | None:
        return float(model.weights[0].max())


@pytest.fixture(scope="module")
def small() -> Setting:
    return replace(make_small(n_clients=5), n_malicious=N_BAD)


def run(
    setting: Setting, rule: Rule, attack: Attack | None = None, *, n_rounds: int = 3, seed: int = 1
) -> list[Round]:
    rounds = run_rounds(
        setting, rule, attack, n_rounds=n_rounds, training=TRAINING, n_drawn=64, seed=seed
    )
    return list(rounds)


@pytest.mark.parametrize("name", RULES)
def test_honest_clients_learn_under_every_rule(small: Setting, name: str) -> None:
    rule, setting = make_rule(name, small, TRAINING, seed=1)
    rounds = run(setting, rule, n_rounds=6)
    assert [one.learning_round for one in rounds] == list(range(6))
    before = count_correct_floats(small, to_vector(small.start)[None], small.test)[0]
    assert rounds[-1].accuracy > max(0.75, before / len(small.test))
    assert all(one.success is None and not one.view.is_malicious.any() for one in rounds)
    assert all(one.closing.accepted.any() for one in rounds)


def test_each_round_starts_where_the_last_one_ended(small: Setting) -> None:
    rounds = run(small, ZkPot(threshold=0.2, margin=-0.5))
    assert rounds[0].view.origin is None
    assert np.array_equal(rounds[0].view.start, to_vector(small.start))
    for one, after in pairwise(rounds):
        assert np.array_equal(after.view.start, one.closing.model)
        assert after.view.origin is one.closing.exact is not None


def test_shards_are_drawn_of_the_pool_each_round(small: Setting) -> None:
    rounds = run(small, FedAvg())
    shards = [one.view.setting.shard for one in rounds]
    pool = {image.tobytes() for image in small.shard.images}
    for shard in shards:
        drawn = {image.tobytes() for image in shard.images}
        assert len(drawn) == 64
        assert drawn <= pool
    assert not np.array_equal(shards[0].images, shards[1].images)


def test_counts_are_of_integers_where_there_are_proofs_and_of_floats_elsewhere(
    small: Setting,
) -> None:
    (proven,) = run(small, ZkPot(threshold=0.2, margin=None), n_rounds=1)
    shard = proven.view.setting.shard
    counts = [count_correct(model, shard) for model in proven.view.committed if model is not None]
    assert proven.view.proven.tolist() == proven.view.claimed.tolist() == counts
    assert proven.closing.exact is not None
    expected = count_correct(proven.closing.exact.rounded(), small.test) / len(small.test)
    assert proven.accuracy == expected
    (told,) = run(small, LearningBased(), n_rounds=1)
    assert told.view.committed == ()
    floats = count_correct_floats(small, told.view.sent, shard)
    assert told.view.proven.tolist() == told.view.claimed.tolist() == floats.tolist()


def test_the_attacker_sees_all_and_does_what_it_says(small: Setting) -> None:
    probe = Probe()
    honest, attacked = run(small, LearningBased()), run(small, LearningBased(), probe)
    first, seen = attacked[0], probe.sights[:N_BAD]
    assert len(probe.sights) == 3 * N_BAD
    assert np.array_equal(first.view.sent[N_BAD:], honest[0].view.sent[N_BAD:])
    for client, sight in enumerate(seen):
        assert (sight.client, sight.learning_round) == (client, 0)
        assert np.array_equal(sight.honest, first.view.sent[N_BAD:])
        assert not np.array_equal(sight.trained, honest[0].view.sent[client]), "poisoned"
        assert np.array_equal(first.view.sent[client], 2 * sight.start - sight.trained)
    assert first.view.claimed[:N_BAD].tolist() == [64] * N_BAD
    assert (first.view.proven[:N_BAD] < 64).all()
    assert first.closing.leader < N_BAD, "by its claim"
    assert (first.closing.model == 7).all(), "what it wrote"
    assert first.success == 7.0
    assert first.view.is_malicious.tolist() == [True] * N_BAD + [False] * 3


def test_an_honest_leader_writes_the_mean(small: Setting) -> None:
    """Where all claims are true, the best leads, and it is none of those who were poisoned."""

    @dataclass
    class Truthful(Probe):
        def claim(self, n_correct: int, n_samples: int) -> int:
            return n_correct

    for one in run(small, LearningBased(), Truthful()):
        assert one.closing.leader >= N_BAD
        assert np.allclose(one.closing.model, one.view.sent.mean(axis=0), atol=1e-6)


def test_only_what_honest_steps_lead_to_counts_as_trained(small: Setting) -> None:
    """Steps on poisoned samples are steps like any."""

    @dataclass
    class Poisoner(Probe):
        def send(self, sight: Sight) -> Float32Array:
            return sight.trained

    exact, rule = make_exact(small, b"seed"), TrainedZkPot(threshold=0.1, margin=None)
    (flipped,) = run(exact, rule, Probe(), n_rounds=1)
    (poisoned,) = run(exact, rule, Poisoner(), n_rounds=1)
    assert flipped.view.trained.tolist() == [False] * N_BAD + [True] * 3
    assert poisoned.view.trained.all()


def test_only_honest_clients_add_noise(small: Setting) -> None:
    probe = Probe()
    (one,) = run(small, NoisyLearningBased(noise=0.05), probe, n_rounds=1)
    (plain,) = run(small, LearningBased(), Probe(), n_rounds=1)
    assert np.array_equal(one.view.sent[:N_BAD], plain.view.sent[:N_BAD])
    assert not np.allclose(one.view.sent[N_BAD:], plain.view.sent[N_BAD:], atol=1e-3)


def test_a_seed_decides_everything(small: Setting) -> None:
    def tell(rounds: list[Round]) -> list[tuple[float, int, bytes]]:
        return [(r.accuracy, r.closing.leader, r.closing.model.tobytes()) for r in rounds]

    rule = ZkPot(threshold=0.2, margin=-0.3)
    first, again = (tell(run(small, rule, Probe())) for _ in range(2))
    assert first == again
    assert first != tell(run(small, rule, Probe(), seed=2))


@pytest.mark.parametrize("spoil", ["send", "lead"])
def test_an_attack_has_to_send_numbers(small: Setting, spoil: str) -> None:
    def break_numbers(*arguments: object) -> Float32Array:
        return np.full(small.architecture.n_parameters, np.inf, dtype=np.float32)

    attack = Probe()
    method: Callable[..., Float32Array] = break_numbers
    setattr(attack, spoil, method)
    with pytest.raises(ValueError, match="none"):
        run(small, LearningBased(), attack, n_rounds=1)
