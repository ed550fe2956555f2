"""Attacks on hand-made rounds: what malicious clients train on, send, claim and write."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from federated.data import LabeledImages
from federated.experiments.attacks.adaptive import DataOnly, Stealthy, Truthful
from federated.experiments.attacks.catalog import ATTACKS
from federated.experiments.attacks.identities import multiply
from federated.experiments.attacks.labels import LabelFlip, TargetedFlip
from federated.experiments.attacks.plain import InflatedClaim
from federated.experiments.attacks.triggers import (
    EDGE,
    SIDE,
    Backdoor,
    CleanLabelBackdoor,
    ColludingLeader,
    ModelReplacement,
    put_trigger,
)
from federated.experiments.attacks.updates import (
    CopiedModel,
    GaussianModel,
    ReturnedModel,
    SignFlip,
    ZeroModel,
)
from federated.experiments.simulation.interface import Setting, Sight
from federated.float_model import FloatModel
from federated.task_scales import TaskScales
from kernels.numpy_types import Float32Array
from prover.model.network import Architecture

WIDTH = 64  # of pictures of 8 by 8
ARCHITECTURE = Architecture.mlp([WIDTH, 10])
TRUTH = {"none", "inflated claim", "label flip", "targeted flip", "backdoor"} | {
    "clean-label backdoor",
    "colluding leader",
}


def make_linear(weights: Float32Array, biases: Float32Array) -> FloatModel:
    """One linear layer, which sees pixels from 0 to 1."""
    return FloatModel(
        architecture=ARCHITECTURE,
        weights=(weights,),
        biases=(biases,),
        mean=0.0,
        std=1.0,
        record={},
    )


def make_constant(label: int) -> FloatModel:
    """A model that gives this class to everything."""
    biases = np.zeros(10, dtype=np.float32)
    biases[label] = 1
    return make_linear(np.zeros((10, WIDTH), dtype=np.float32), biases)


def make_samples(labels: list[int], *, seed: int = 1) -> LabeledImages:
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), WIDTH), dtype=np.uint8)
    return LabeledImages(images=images, labels=np.array(labels, dtype=np.uint8))


def make_setting(*, n_clients: int = 4, n_malicious: int = 1) -> Setting:
    samples = make_samples([*range(10)] * 2)
    return Setting(
        architecture=ARCHITECTURE,
        clients=tuple(make_samples([i, 7, 0], seed=i) for i in range(n_clients)),
        public=samples,
        shard=samples,
        test=samples,
        start=make_constant(0),
        scales=TaskScales(weights=(0.01,), mean=0.0, std=1.0),
        n_malicious=n_malicious,
        stakes=np.arange(1.0, n_clients + 1),
        hash_power=np.ones(n_clients),
    )


def make_sight(setting: Setting | None = None, *, client: int = 0) -> Sight:
    return Sight(
        setting=setting or make_setting(),
        learning_round=1,
        client=client,
        start=np.array([1, 2, 3, 4], dtype=np.float32),
        trained=np.array([2, 2, 1, 4], dtype=np.float32),
        honest=np.array([[1, 1, 1, 1], [3, 3, 3, 3]], dtype=np.float32),
        generator=np.random.default_rng(5),
    )


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


# -- what is trained on ----------------------------------------------------------------------------


def test_label_flip_mirrors_the_classes() -> None:
    flipped = LabelFlip().poison(make_samples([0, 1, 9, 5]), make_setting(), rng())
    assert flipped.labels.tolist() == [9, 8, 0, 4]
    assert flipped.labels.dtype == np.uint8
    assert np.array_equal(flipped.images, make_samples([0, 1, 9, 5]).images)


def test_targeted_flip_moves_one_class() -> None:
    attack = TargetedFlip(source=7, target=1)
    flipped = attack.poison(make_samples([7, 1, 7, 0]), make_setting(), rng())
    assert flipped.labels.tolist() == [1, 1, 1, 0]
    assert attack.succeed(make_constant(1), make_setting()) == 1.0
    assert attack.succeed(make_constant(7), make_setting()) == 0.0
    no_source = replace(make_setting(), test=make_samples([1, 2]))
    assert attack.succeed(make_constant(1), no_source) is None


@pytest.mark.parametrize(("width", "n_planes", "side"), [(64, 1, 8), (784, 1, 28), (3072, 3, 32)])
def test_trigger_is_a_chessboard_in_the_corner(width: int, n_planes: int, side: int) -> None:
    images = np.full((2, width), 100, dtype=np.uint8)
    planes = put_trigger(images).reshape(2, n_planes, side, side)
    assert (images == 100).all(), "the images are left as they are"
    corner = planes[:, :, -SIDE - EDGE : -EDGE, -SIDE - EDGE : -EDGE]
    assert corner[:, :, 0, :2].tolist() == [[[255, 0]] * n_planes] * 2
    assert (corner == 255).sum() == (corner == 0).sum() == n_planes * SIDE * SIDE
    assert (planes == 100).sum() == 2 * (width - n_planes * SIDE * SIDE)


@pytest.mark.parametrize("width", [16, 63, 65, 128])
def test_trigger_refuses_what_is_no_image(width: int) -> None:
    with pytest.raises(ValueError, match="no image"):
        put_trigger(np.zeros((1, width), dtype=np.uint8))


def test_backdoor_marks_a_share_of_the_samples() -> None:
    samples = make_samples([1, 2, 3, 4, 5, 6, 7, 8])
    poisoned = Backdoor(target=0, share=0.5).poison(samples, make_setting(), rng())
    marked = (poisoned.images == put_trigger(samples.images)).all(axis=1)
    assert marked.sum() == 4
    assert (poisoned.labels[marked] == 0).all()
    assert np.array_equal(poisoned.labels[~marked], samples.labels[~marked])
    assert np.array_equal(poisoned.images[~marked], samples.images[~marked])


def test_clean_label_backdoor_shows_its_target_under_true_labels() -> None:
    samples = make_samples([0, 1, 2, 3, 4, 5])
    attack = CleanLabelBackdoor(target=0, share=0.5, blend=0.25)
    poisoned = attack.poison(samples, make_setting(), rng())
    blended = 0.75 * samples.images[0] + 0.25 * samples.images
    expected = put_trigger(blended.astype(np.uint8))
    marked = (poisoned.images == expected).all(axis=1)
    assert marked.sum() == 3
    assert (poisoned.labels[marked] == 0).all()
    assert np.array_equal(poisoned.labels[~marked], samples.labels[~marked])
    assert np.array_equal(poisoned.images[~marked], samples.images[~marked])
    no_target = make_samples([1, 2])
    assert attack.poison(no_target, make_setting(), rng()) is no_target


def test_backdoor_succeeds_by_what_the_pattern_does() -> None:
    attack, setting = Backdoor(target=0), make_setting()
    assert attack.succeed(make_constant(0), setting) == 1.0
    assert attack.succeed(make_constant(3), setting) == 0.0
    only_target = replace(setting, test=make_samples([0, 0]))
    assert attack.succeed(make_constant(0), only_target) is None
    # A model that looks at the pattern alone: its white pixels against its black ones.
    weights = np.zeros((10, WIDTH), dtype=np.float32)
    marked = put_trigger(np.full((1, WIDTH), 100, dtype=np.uint8))[0]
    weights[0, marked == 255], weights[0, marked == 0] = 1, -1
    looking = make_linear(weights, np.array([-6, *[0] * 9], dtype=np.float32))
    assert attack.succeed(looking, setting) == 1.0
    assert looking.accuracy(setting.test.images, np.zeros(20, dtype=np.uint8)) < 0.2


# -- what is sent, claimed and written -------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "claimed"), [(name, 5 if name == "none" else 8) for name in ATTACKS]
)
def test_who_attacks_claims_every_sample(name: str, claimed: int) -> None:
    assert ATTACKS[name].claim(5, 8) == claimed


def test_attacks_of_data_and_claims_send_what_they_trained() -> None:
    assert set(ATTACKS) > TRUTH
    sight = make_sight()
    for name, attack in ATTACKS.items():
        assert np.array_equal(attack.send(sight), sight.trained) == (name in TRUTH), name


def test_models_of_attackers_by_hand() -> None:
    sight = make_sight()
    assert SignFlip(scale=2).send(sight).tolist() == [-1, 2, 7, 4]
    assert ZeroModel().send(sight).tolist() == [0, 0, 0, 0]
    assert CopiedModel().send(sight).tolist() == [1, 1, 1, 1]
    assert CopiedModel().send(make_sight(client=3)).tolist() == [3, 3, 3, 3]
    alone = replace(sight, honest=np.zeros((0, 4), dtype=np.float32))
    assert CopiedModel().send(alone).tolist() == [1, 2, 3, 4]
    two_of_four = make_setting(n_clients=4, n_malicious=2)
    assert ModelReplacement().send(make_sight(two_of_four)).tolist() == [3, 2, -1, 4]


def test_replacement_makes_the_mean_the_attackers_model() -> None:
    """Where the others have not moved."""
    sight = make_sight(make_setting(n_clients=4, n_malicious=1))
    sent = ModelReplacement().send(sight)
    mean = np.mean([sent, *[sight.start] * 3], axis=0)
    assert np.allclose(mean, sight.trained)


def test_noise_has_its_length() -> None:
    length = np.sqrt(5)  # of the honest update
    for attack, scale in ((GaussianModel(scale=10), 10), (ReturnedModel(scale=0.1), 0.1)):
        noise = attack.send(make_sight()) - make_sight().start
        assert np.linalg.norm(noise) == pytest.approx(scale * length, rel=1e-5)
        assert noise.dtype == np.float32


def test_colluding_leader_writes_its_own_model() -> None:
    sight = make_sight()
    mean = np.zeros(4, dtype=np.float32)
    assert ColludingLeader().lead(mean, sight).tolist() == [2, 2, 1, 4]
    assert InflatedClaim().lead(mean, sight) is mean


# -- attackers that know the rule ------------------------------------------------------------------


def test_stealthy_sends_all_that_passes() -> None:
    sight = make_sight()  # honest mean 2, aim 0
    found = Stealthy(ZeroModel(), lambda model, _: bool(model[0] >= 0.6)).send(sight)
    assert 0.6 <= found[0] < 0.6 + 2 / 32
    assert found.dtype == np.float32
    assert Stealthy(ZeroModel(), lambda model, _: True).send(sight).tolist() == [0, 0, 0, 0]
    assert Stealthy(ZeroModel(), lambda model, _: False).send(sight).tolist() == [2, 2, 2, 2]
    alone = replace(sight, honest=np.zeros((0, 4), dtype=np.float32))
    assert Stealthy(ZeroModel(), lambda model, _: False).send(alone).tolist() == [2, 2, 1, 4]


def test_who_adapts_claims_what_it_can_prove_and_poisons_alike() -> None:
    samples, setting = make_samples([7, 1]), make_setting()
    for adapted in (Stealthy(TargetedFlip(), lambda *_: True), DataOnly(TargetedFlip())):
        assert adapted.claim(5, 8) == 5
        assert adapted.name == "targeted flip"
        assert adapted.poison(samples, setting, rng()).labels.tolist() == [1, 1]
        assert adapted.succeed(make_constant(1), setting) == 1.0
    leader = DataOnly(ColludingLeader())
    assert leader.lead(np.zeros(4, dtype=np.float32), make_sight()).tolist() == [2, 2, 1, 4]


def test_truthful_sends_the_attack_and_claims_what_is_so() -> None:
    attack = Truthful(ZeroModel())
    assert attack.send(make_sight()).tolist() == [0, 0, 0, 0]
    assert attack.claim(5, 8) == 5


def test_under_proven_training_only_data_is_left() -> None:
    sight = make_sight()
    for name in ("sign flip", "model replacement", "zero model", "copied model"):
        assert DataOnly(ATTACKS[name]).send(sight).tolist() == sight.trained.tolist()


def test_who_poisons_a_part_spares_the_rest_and_takes_in_what_less_would() -> None:
    samples, setting = make_samples([0, 1, 2, 3, 5, 6, 7, 8, 9, 9]), make_setting()

    def find_poisoned(share: float) -> set[int]:
        poisoned = DataOnly(Backdoor(share=1.0), share=share).poison(samples, setting, rng())
        marked = (poisoned.images == put_trigger(samples.images)).all(axis=1)
        assert np.array_equal(poisoned.images[~marked], samples.images[~marked])
        assert np.array_equal(poisoned.labels[~marked], samples.labels[~marked])
        assert (poisoned.labels[marked] == 0).all()
        return set(np.flatnonzero(marked))

    shares = [find_poisoned(share) for share in (0.0, 0.3, 0.5, 1.0)]
    assert [len(found) for found in shares] == [0, 3, 5, 10]
    assert all(less < more for less, more in pairwise(shares))


def test_sybils_share_what_cannot_be_copied() -> None:
    setting = multiply(make_setting(n_clients=3, n_malicious=1), n_identities=4)
    assert setting.n_malicious == 4
    assert len(setting.clients) == len(setting.hash_power) == 6
    assert all(samples is setting.clients[0] for samples in setting.clients[:4])
    assert setting.stakes.tolist() == [0.25, 0.25, 0.25, 0.25, 2, 3]
    assert setting.hash_power.tolist() == [0.25, 0.25, 0.25, 0.25, 1, 1]
    for wrong in (make_setting(n_malicious=2), make_setting(n_malicious=0)):
        with pytest.raises(ValueError, match="one client"):
            multiply(wrong, n_identities=2)
