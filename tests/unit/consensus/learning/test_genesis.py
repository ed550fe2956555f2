"""The genesis file: one value, one encoding, every wrong field named."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from consensus.aggregation.masked import MAX_PARAMETERS, Masked
from consensus.disk.blob_limits import make_limit
from consensus.errors import GenesisInvalid
from consensus.learning.aggregate import count_global_bytes
from consensus.wire.genesis import Genesis, Task
from consensus.wire.gossip_messages import MAX_BLOB_BYTES
from consensus.wire.task_norm import TaskNorm
from consensus.wire.task_training import TaskTraining, TrainingTerms
from kernels.array import G2Array
from kernels.encoding import encode_g2
from prover.model.layers import Requant
from prover.model.network import Architecture, canonical_json
from prover.model.update import UpdateBounds
from prover.model.zkq import MAX_MANIFEST_BYTES
from prover.wire.training import MAX_ROUND_STEPS
from tests.support.foreign import outside_g2
from tests.support.learning import Lab, deal_beacon, make_task, make_training

GENESIS = Lab().genesis
OUTSIDE = G2Array.from_ints([outside_g2()])  # on the twist, of another order


def test_one_encoding() -> None:
    raw = GENESIS.encode()
    assert Genesis.decode(raw) == GENESIS
    assert Genesis.decode(raw).digest == GENESIS.digest
    assert raw.endswith(b"}\n")
    with pytest.raises(GenesisInvalid, match="canonical form"):
        Genesis.decode(raw + b"\n")
    with pytest.raises(GenesisInvalid, match="canonical form"):
        Genesis.decode(json.dumps(json.loads(raw)).encode())


def test_derived_values() -> None:
    assert (GENESIS.n_validators, GENESIS.n_faulty) == (4, 1)
    assert encode_g2(GENESIS.beacon_point) == deal_beacon(4).group
    assert encode_g2(GENESIS.share_points) == b"".join(deal_beacon(4).shares)
    assert GENESIS.task.get_scales("weights") == (0.125, 1e-3)
    assert GENESIS.task.get_pool(1) == GENESIS.task.pools[0]


@pytest.mark.parametrize("margin", [None, -16, -1, 0, 1, 16])
def test_a_margin_may_be_negative(margin: int | None) -> None:
    genesis = Lab(changes={"margin": margin}).genesis
    assert genesis.task.n_samples == 16
    assert Genesis.decode(genesis.encode()).task.margin == margin


def test_a_sealed_task_has_a_pool_for_each_round() -> None:
    pools = (bytes(32), bytes(31) + b"\1")
    task = make_task(sealed=True, pools=pools)
    assert [task.get_pool(t) for t in (0, 1)] == list(pools)
    with pytest.raises(GenesisInvalid, match=r"task\.pools"):
        make_task(sealed=True)


def test_a_model_that_no_store_takes_is_refused_before_the_chain() -> None:
    """Masked, or as the mean: that was found in ELECT, by an error that ended every node."""
    least, most = Architecture.mlp([6000, 1397, 2]), Architecture.mlp([6000, 1398, 2])
    assert least.n_parameters <= MAX_PARAMETERS < most.n_parameters
    manifest = MAX_MANIFEST_BYTES - len(least.encode())
    assert count_global_bytes(least) + manifest <= MAX_BLOB_BYTES
    n_masked = len(Masked.HEADER) + 4 + 32 * (least.n_parameters + 1)
    assert n_masked <= MAX_BLOB_BYTES
    assert make_limit(make_task(architecture=least))(bytes(32)) == n_masked
    with pytest.raises(GenesisInvalid, match=r"task\.architecture: has more than"):
        make_task(architecture=most)


def test_the_digest_covers_the_file() -> None:
    turned = zip(GENESIS.validators, GENESIS.validators[::-1], strict=True)
    others = [
        replace(GENESIS, chain_id=b"other"),
        replace(GENESIS, task=make_task(threshold=2)),
        replace(GENESIS, task=make_task(ceremonies=(bytes(32),))),
        replace(GENESIS, timeouts=replace(GENESIS.timeouts, propose_ms=301)),
        replace(GENESIS, validators=tuple(replace(v, key=other.key) for v, other in turned)),
    ]
    assert len({g.digest for g in (GENESIS, *others)}) == 6


def test_ceremonies_are_named_for_every_key_or_for_none() -> None:
    task = make_task(ceremonies=(bytes(31) + b"\1",))
    asked = replace(GENESIS, task=task)
    assert Genesis.decode(asked.encode()) == asked
    assert task.find_ceremony(task.verifying_key_digest) == task.ceremonies[0]
    assert task.find_ceremony(bytes(32)) is None
    assert make_task().find_ceremony(task.verifying_key_digest) is None
    assert task.ceremonies[0] in task.file_digests
    assert make_limit(task)(task.ceremonies[0]) == MAX_BLOB_BYTES
    for wrong in ((bytes(32), bytes(32)), (bytes(31),)):
        with pytest.raises(GenesisInvalid, match=r"task\.ceremonies"):
            make_task(ceremonies=wrong)


def test_few_samples_need_the_flag() -> None:
    with pytest.raises(GenesisInvalid, match="from 256 to"):
        make_task(allow_few_samples=False)
    assert make_task(allow_few_samples=False, n_samples=256).n_samples == 256


def enlarge(task: dict[str, Any]) -> None:
    """To a circuit that no key can be of: more than 2^27 rows."""
    task["architecture"]["layers"][0]["n_out"] = 1 << 16
    task["n_samples"] = 1 << 12


CHANGES: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("version", lambda v: v.update(version=1)),
    ("version", lambda v: v.update(version="2")),
    ("file", lambda v: v.update(more=1)),
    ("file", lambda v: v.pop("task")),
    ("chain_id", lambda v: v.update(chain_id="")),
    ("chain_id", lambda v: v.update(chain_id="x" * 65)),
    ("chain_id", lambda v: v.update(chain_id="a b")),
    ("chain_id", lambda v: v.update(chain_id=5)),
    ("validators", lambda v: v.update(validators=[])),
    ("validators", lambda v: v.update(validators={})),
    ("validators", lambda v: v["validators"].pop()),
    ("validators", lambda v: v["validators"].__setitem__(1, v["validators"][0])),
    ("validators", lambda v: v["validators"][0].pop("key")),
    ("validators.key", lambda v: v["validators"][0].update(key="00")),
    ("validators.key", lambda v: v["validators"][0].update(key="zz")),
    ("validators.beacon_share", lambda v: v["validators"][0].update(beacon_share="00" * 64)),
    ("beacon_key", lambda v: v.update(beacon_key="00" * 63 + "40")),
    ("beacon_key", lambda v: v.update(beacon_key=encode_g2(OUTSIDE).hex())),
    ("admission_key", lambda v: v.update(admission_key="00" * 31)),
    ("task", lambda v: v.update(task=[])),
    ("task.task_id", lambda v: v["task"].update(task_id="ä")),
    ("task.architecture", lambda v: v["task"].update(architecture={})),
    ("task.circuit_digest", lambda v: v["task"].update(circuit_digest=None)),
    ("task.pools", lambda v: v["task"].update(pools=[])),
    ("task.pools", lambda v: v["task"].update(pools=["00"])),
    ("task.sealed", lambda v: v["task"].update(sealed=1)),
    ("task.n_samples", lambda v: v["task"].update(n_samples=1)),
    ("task.n_samples", lambda v: v["task"].update(n_samples=16.0)),
    ("task.n_samples", lambda v: v["task"].update(n_samples=True)),
    ("task.n_samples", lambda v: enlarge(v["task"])),
    ("task.threshold", lambda v: v["task"].update(threshold=0)),
    ("task.threshold", lambda v: v["task"].update(threshold=17)),
    ("task.margin", lambda v: v["task"].update(margin=17)),
    ("task.margin", lambda v: v["task"].update(margin=-17)),
    ("task.margin", lambda v: v["task"].update(margin=0.0)),
    ("task.n_rounds", lambda v: v["task"].update(n_rounds=0)),
    ("task.n_expected", lambda v: v["task"].update(n_expected=1025)),
    ("task.n_expected", lambda v: v["task"].update(n_expected=2)),
    ("task.collusion", lambda v: v["task"].update(collusion=-1)),
    ("task.collusion", lambda v: v["task"].update(collusion=2)),
    ("task.collusion", lambda v: v["task"].update(collusion=None)),
    ("task.collusion", lambda v: v["task"].update(n_expected=200, collusion=150)),
    ("task.mask_ms", lambda v: v["task"].update(mask_ms=0)),
    ("task.reveal_ms", lambda v: v["task"].update(reveal_ms=1 << 40)),
    ("task.prove_ms", lambda v: v["task"].update(prove_ms=0)),
    ("task.scales", lambda v: v["task"].update(scales=[])),
    ("task.scales", lambda v: v["task"].update(scales={"a": ["1.0z"]})),
    ("task.scales", lambda v: v["task"].update(scales={"a": ["0x1p99999"]})),
    ("task.scales", lambda v: v["task"].update(scales={"a": ["nan"]})),
    ("timeouts", lambda v: v["timeouts"].pop("propose_ms")),
    ("timeouts.propose_ms", lambda v: v["timeouts"].update(propose_ms=0)),
]


@pytest.mark.parametrize(("where", "change"), CHANGES)
def test_a_wrong_field_is_named(where: str, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(GENESIS.encode())
    change(value)
    with pytest.raises(GenesisInvalid) as caught:
        Genesis.decode(canonical_json(value) + b"\n")
    assert caught.value.where == where


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"null", b"[]", b"\xff", b"[" * 100_000, b"1" * 5000, b" " * (1 << 20 | 1)]
)
def test_other_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(GenesisInvalid):
        Genesis.decode(raw)


def test_scales_are_exact_and_sorted() -> None:
    task = make_task(scales=(("a", (0.1, 1 / 3, -math.pi)),))
    again = Task.from_json(json.loads(canonical_json(task.to_json())))
    assert again == task
    with pytest.raises(GenesisInvalid, match="ascending"):
        make_task(scales=(("b", ()), ("a", ())))


# -- bounds on updates -----------------------------------------------------------------------------

NORM = TaskNorm(
    bounds=UpdateBounds(weight=8, bias=2000, squares=50_000),
    circuit_digest=b"\1" * 32,
    verifying_key_digest=b"\2" * 32,
)


def test_bounds_on_updates_are_optional_and_in_the_file() -> None:
    bounded = replace(GENESIS, task=make_task(norm=NORM))
    assert Genesis.decode(bounded.encode()) == bounded
    assert bounded.digest != GENESIS.digest
    assert GENESIS.task.key_digests == (GENESIS.task.verifying_key_digest,)
    assert bounded.task.key_digests == (GENESIS.task.verifying_key_digest, b"\2" * 32)


@pytest.mark.parametrize(
    "change",
    [
        {"bounds": {"weight": 0, "bias": 1, "squares": 1}},
        {"bounds": {"weight": 1, "bias": 1}},
        {"bounds": None},
        {"circuit_digest": "01"},
        {"circuit_digest": "xy" * 32},
        {"verifying_key_digest": None},
        {"more": 1},
    ],
)
def test_bounds_that_cannot_be_meant_are_refused(change: dict[str, Any]) -> None:
    value = json.loads(replace(GENESIS, task=make_task(norm=NORM)).encode())
    value["task"]["norm"] |= change
    with pytest.raises(GenesisInvalid, match=r"task\.norm"):
        Genesis.decode(canonical_json(value) + b"\n")


# -- training --------------------------------------------------------------------------------------

TRAINING = make_training()


def test_training_is_optional_and_in_the_file() -> None:
    trains = replace(GENESIS, task=make_task(training=TRAINING))
    assert Genesis.decode(trains.encode()) == trains
    assert trains.digest != GENESIS.digest
    keys = (TRAINING.step_key, TRAINING.export_key)
    assert trains.task.key_digests == (GENESIS.task.verifying_key_digest, *keys)
    both = make_task(norm=NORM, training=TRAINING)
    assert both.key_digests == (GENESIS.task.verifying_key_digest, b"\2" * 32, *keys)


def test_what_the_rules_and_the_keys_say_of_training() -> None:
    architecture = GENESIS.task.architecture
    recipe = TRAINING.make_recipe(architecture)
    assert (recipe.architecture, recipe.numbers) == (architecture, dict(TRAINING.numbers))
    assert TRAINING.make_terms(architecture) == TrainingTerms(
        recipe=recipe,
        n_steps=5,
        n_drawn=3,
        step_key=TRAINING.step_key,
        export_key=TRAINING.export_key,
    )
    step = TRAINING.make_step_card(architecture)
    export = TRAINING.make_export_card(architecture)
    assert (step.recipe, step.circuit_digest) == (recipe, TRAINING.step_circuit)
    assert (export.recipe, export.circuit_digest) == (recipe, TRAINING.export_circuit)
    rest = {
        name: getattr(TRAINING, name) for name in ("step_key", "export_key", "n_steps", "n_drawn")
    }
    assert TaskTraining.of(step, export, **rest) == TRAINING
    other = replace(export, recipe=replace(recipe, rate=recipe.rate + 1))
    with pytest.raises(GenesisInvalid, match="two recipes"):
        TaskTraining.of(step, other, **rest)


def change_number(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda training: training["numbers"].update({name: value})


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("", lambda t: t.pop("numbers")),
        ("", lambda t: t.update(more=1)),
        (".numbers", lambda t: t.update(numbers=[])),
        (".numbers", lambda t: t["numbers"].pop("rate")),
        (".numbers", change_number("more", 1)),
        (".numbers", change_number("rate", 0)),
        (".numbers", change_number("rate", "1")),
        (".numbers", change_number("batch_size", True)),
        (".numbers", change_number("master_bits", 17)),
        (".n_steps", lambda t: t.update(n_steps=0)),
        (".n_steps", lambda t: t.update(n_steps=MAX_ROUND_STEPS + 1)),
        (".n_steps", lambda t: t.update(n_steps=None)),
        (".n_drawn", lambda t: t.update(n_drawn=0)),
        (".n_drawn", lambda t: t.update(n_drawn=6)),
        (".n_drawn", lambda t: t.update(n_drawn=3.0)),
        (".step_circuit", lambda t: t.update(step_circuit="01")),
        (".step_key", lambda t: t.update(step_key=None)),
        (".export_circuit", lambda t: t.update(export_circuit="xy" * 32)),
        (".export_key", lambda t: t.update(export_key="00" * 33)),
    ],
)
def test_training_that_cannot_be_meant_is_refused(
    where: str, change: Callable[[dict[str, Any]], object]
) -> None:
    value = json.loads(replace(GENESIS, task=make_task(training=TRAINING)).encode())
    change(value["task"]["training"])
    with pytest.raises(GenesisInvalid) as caught:
        Genesis.decode(canonical_json(value) + b"\n")
    assert caught.value.where == f"task.training{where}"


def test_masters_finer_than_a_global_model_are_refused() -> None:
    """17 master bits are a recipe, but their mean would not be exact."""
    numbers = tuple(sorted({**dict(TRAINING.numbers), "master_bits": 16}.items()))
    assert make_task(training=replace(TRAINING, numbers=numbers)).training is not None
    finer = tuple(sorted({**dict(TRAINING.numbers), "master_bits": 17}.items()))
    assert replace(TRAINING, numbers=finer).make_recipe(GENESIS.task.architecture)
    with pytest.raises(GenesisInvalid, match="more than 16 master bits"):
        make_task(training=replace(TRAINING, numbers=finer))


def test_numbers_have_one_order() -> None:
    with pytest.raises(GenesisInvalid, match="ascending name"):
        replace(TRAINING, numbers=TRAINING.numbers[::-1])


def test_a_network_that_is_not_trained_so_is_refused() -> None:
    requant = Requant(shift=10, q_bits=9, multiplier=2)
    scaled = Architecture.mlp([6, 4, 3], requant=requant)
    with pytest.raises(GenesisInvalid, match="multiplier 1"):
        make_task(architecture=scaled, training=TRAINING)


def test_a_network_whose_step_no_key_can_be_of_is_refused() -> None:
    """2^27 rows, of the step alone: accuracy of few samples takes fewer."""
    wide = Architecture.mlp([64, 20_000, 2], requant=Requant(shift=10, q_bits=9))
    numbers = tuple(sorted({**dict(TRAINING.numbers), "batch_size": 1024}.items()))
    assert make_task(architecture=wide).architecture == wide
    with pytest.raises(GenesisInvalid, match=r"task\.training\.numbers"):
        make_task(architecture=wide, training=replace(TRAINING, numbers=numbers))
