"""What the verifier computes: against plain sums, and refusals by name."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from kernels.array import FrArray
from kernels.bn254 import R
from kernels.numpy_types import UInt8Array
from prover.circuit.public_inputs import PublicLayout, PublicWires, ShardInputs, combine_wires
from prover.circuit.sizing.packing import Packing
from prover.errors import ArchitectureInvalid, KeyMismatch, ShapeMismatch
from prover.model.layers import Linear, Requant
from prover.model.network import Architecture
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Flatten
from prover.wire.dataset import shard_digest
from prover.wire.statement import MAX_MULTIPLIERS, Statement
from tests.support.assignments import draw_scalars
from tests.support.inference import slide
from tests.support.statements import make_statement as make

ARCHITECTURE = Architecture.mlp(
    [5, 4, 4, 3], requant=[Requant(multiplier=3), Requant(multiplier=2, least=-128, greatest=127)]
)
LAYOUT = PublicLayout(ARCHITECTURE, 4)
IMAGES = np.arange(15, dtype=np.uint8).reshape(3, 5)
LABELS = np.array([2, 0, 1], dtype=np.uint8)


def test_samples_have_one_digest_whatever_network_takes_them() -> None:
    """Flat or as planes: the same shard, handed to the network in its own shape."""
    planes = Architecture.of(
        (1, 5, 1), [Flatten(inputs=(0,)), Linear(n_out=3, inputs=(1,))], margin_bits=30
    )
    expected = shard_digest(IMAGES, LABELS)
    for images in (IMAGES, IMAGES.reshape(3, 5, 1), IMAGES.reshape(3, 1, 5, 1)):
        shard = ShardInputs.of(PublicLayout(planes, 4), images, LABELS)
        assert shard.images.shape == (3, 1, 5, 1)
        assert shard.digest == expected
        assert not np.shares_memory(shard.images, IMAGES)
    assert ShardInputs.of(LAYOUT, IMAGES, LABELS).digest == expected
    for wrong in (IMAGES[:, :4], np.zeros((3, 1, 1, 6), dtype=np.uint8)):
        with pytest.raises(ShapeMismatch, match="samples must be"):
            ShardInputs.of(PublicLayout(planes, 4), wrong, LABELS)


def test_layout_names_every_wire() -> None:
    assert LAYOUT.challenges == ("s", "range", "weight", "pair", "clamp 0", "clamp 1")
    assert list(LAYOUT.blocks)[:2] == ["claimed", "multiplier"]
    assert LAYOUT.n_public == 1 + 2 + 6 + 1 + 5
    flat = PublicLayout(Architecture.mlp([5, 3]), 4)
    assert flat.challenges == ("s", "range", "weight")
    assert flat.n_public == 1 + 3 + 1 + 5


def test_values_are_the_formulas(rng: Random) -> None:
    challenges = draw_scalars(rng, 6)
    values = LAYOUT.compute(
        claimed=2, multipliers=(3, 2), images=IMAGES, labels=LABELS, challenges=challenges
    ).to_ints()
    powers = [1, challenges[0], challenges[0] ** 2 % R]
    assert values[:9] == [2, 3, 2, *challenges]
    assert values[9] == (3 + 1 * powers[1] + 2 * powers[2]) % R
    sums = [sum(p * int(row[k]) for p, row in zip(powers, IMAGES, strict=True)) for k in range(5)]
    assert values[10:] == [v % R for v in sums]


@pytest.mark.parametrize(
    "change",
    [
        {"claimed": 4},
        {"claimed": -1},
        {"multipliers": (3,)},
        {"multipliers": (0, 2)},
        {"multipliers": (1 << 15, 2)},
        {"challenges": [1] * 5},
        {"challenges": [R] * 6},
        {"images": IMAGES[:, :4]},
        {"images": IMAGES.astype(np.int64)},
        {"labels": LABELS[:2]},
        {"labels": LABELS.astype(np.int64)},
        {"labels": np.array([0, 1, 3], dtype=np.uint8)},
        {"images": IMAGES[:0], "labels": LABELS[:0]},
        {"images": IMAGES.repeat(2, axis=0), "labels": LABELS.repeat(2)},
    ],
)
def test_misfits_are_refused(change: dict[str, object]) -> None:
    arguments: dict[str, object] = {
        "claimed": 2,
        "multipliers": (3, 2),
        "images": IMAGES,
        "labels": LABELS,
        "challenges": [5] * 6,
    }
    LAYOUT.compute(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ShapeMismatch):
        LAYOUT.compute(**(arguments | change))  # type: ignore[arg-type]


def test_multipliers_may_not_reach_the_wrap() -> None:
    """m |z| < 2^47 whatever weights the circuit accepts; here |z| can reach 2^35."""
    wide = Architecture.mlp([1 << 20, 4, 3])
    layout = PublicLayout(wide, 2)
    images, labels = np.zeros((1, 1 << 20), dtype=np.uint8), np.zeros(1, dtype=np.uint8)
    limit = ((1 << 47) - 1) // wide.public_bounds[0]
    for m, accepted in ((limit, True), (limit + 1, False)):
        try:
            layout.compute(
                claimed=0, multipliers=(m,), images=images, labels=labels, challenges=[2] * 5
            )
        except ShapeMismatch:
            assert not accepted
        else:
            assert accepted


@pytest.mark.parametrize("n_samples", [0, (1 << 20) + 1])
def test_number_of_samples_is_bounded(n_samples: int) -> None:
    with pytest.raises(ArchitectureInvalid):
        PublicLayout(ARCHITECTURE, n_samples)


def test_no_circuit_has_more_multipliers_than_a_statement() -> None:
    """Else a key would be made whose proofs no envelope can name."""

    def make_net(n: int) -> Architecture:
        requant = Requant(multiplier=(1,) * n)
        return Architecture.of(
            (2,),
            [
                Linear(n_out=n, inputs=(0,), requant=requant),
                Linear(n_out=2, inputs=(1,)),
            ],
        )

    assert PublicLayout(make_net(MAX_MULTIPLIERS), 1).n_public > MAX_MULTIPLIERS
    with pytest.raises(ArchitectureInvalid, match="1025"):
        PublicLayout(make_net(MAX_MULTIPLIERS + 1), 1)


def test_shard_answers_only_for_its_own_statement() -> None:
    inputs = ShardInputs.of(LAYOUT, IMAGES, LABELS)
    statement = make(
        chain_id=b"c",
        task_id=b"t",
        round_index=0,
        commit_height=0,
        client_key=b"k",
        verifying_key_digest=bytes(32),
        shard_index=0,
        n_real=3,
        dataset_digest=shard_digest(IMAGES, LABELS),
        multipliers=(3, 2),
        claimed_correct=1,
        commitments=(bytes(32),),
    )
    answer = inputs(statement, [5] * 6)
    assert answer is not None
    assert answer.shape == (LAYOUT.n_public,)
    for other in (
        replace(statement, n_real=2),
        replace(statement, dataset_digest=bytes(32)),
        replace(statement, multipliers=(2, 3)),
        replace(statement, multipliers=()),
    ):
        assert inputs(other, [5] * 6) is None


def make_statement(inputs: ShardInputs, claimed: int = 1) -> Statement:
    return make(
        chain_id=b"c",
        task_id=b"t",
        round_index=0,
        commit_height=1,
        client_key=b"k",
        verifying_key_digest=bytes(32),
        shard_index=0,
        n_real=len(inputs.labels),
        dataset_digest=inputs.digest,
        multipliers=(3, 2),
        claimed_correct=claimed,
        commitments=(bytes(32),),
    )


def test_deferred_wires_combine_to_the_same(rng: Random) -> None:
    """Two shards in turn, some wires whole and some deferred, weights of 128 bits."""
    other = ShardInputs.of(LAYOUT, 255 - IMAGES[:2], LABELS[1:])
    shards = [ShardInputs.of(LAYOUT, IMAGES, LABELS), other]
    whole: list[FrArray] = []
    mixed: list[PublicWires] = []
    for i in range(6):
        inputs, challenges = shards[i % 2], draw_scalars(rng, 6)
        statement = make_statement(inputs, claimed=i % 3)
        found, deferred = inputs(statement, challenges), inputs.defer(statement, challenges)
        assert found is not None
        assert deferred is not None
        assert deferred.shape == found.shape == (LAYOUT.n_public,)
        whole.append(found)
        mixed.append(found if i == 2 else deferred)
    weights = [1, (1 << 128) - 1, *(rng.getrandbits(128) for _ in range(4))]
    expected = [
        sum(t * z for t, z in zip(weights, column, strict=True)) % R
        for column in zip(*(w.to_ints() for w in whole), strict=True)
    ]
    assert combine_wires(whole, weights).to_ints() == expected
    assert combine_wires(mixed, weights).to_ints() == expected


def test_deferred_wires_are_of_the_shards_own_statements(rng: Random) -> None:
    inputs = ShardInputs.of(LAYOUT, IMAGES, LABELS)
    statement, challenges = make_statement(inputs), draw_scalars(rng, 6)
    assert inputs.defer(statement, challenges) is not None
    for change in ({"dataset_digest": bytes(32)}, {"n_real": 4}, {"multipliers": (3, 1)}):
        assert inputs.defer(replace(statement, **change), challenges) is None  # type: ignore[arg-type]
    with pytest.raises(KeyMismatch):
        inputs.defer(statement, challenges[:-1])


# -- windows of samples ----------------------------------------------------------------------------


def sum_windows(
    layer: Conv2d, images: UInt8Array, packing: Packing, n_samples: int, s: int, x: int, y: int
) -> list[int]:
    """sum_n s^n sum_ij x^i w_j of what each place of the kernel sees, by the definition."""
    blank = np.zeros((n_samples - len(images), *images.shape[1:]), dtype=object)
    whole = np.concatenate([images.astype(object), blank])
    border = np.array(layer.pad_values or (0,) * images.shape[1], dtype=object)[:, None, None]
    sums = {}
    for place, seen in slide(whole, layer.window, border).items():
        for n, c, i, j in np.ndindex(seen.shape):
            block, digit = divmod(j, packing.columns)
            weight = pow(s, n, R) * pow(x, i, R) * pow(y, block, R) << packing.bits * digit
            sums[c, *place] = (sums.get((c, *place), 0) + weight * seen[n, c, i, j]) % R
    return [sums[key] for key in sorted(sums)]


WINDOWS = [
    Window(kernel=(3, 3), pads=(1, 1, 1, 1)),
    Window(kernel=(2, 3), stride=(3, 2), pads=(1, 0, 0, 2)),
    Window(kernel=(1, 1), stride=(2, 3)),
    Window(kernel=(4, 5)),
    Window(kernel=(4, 5), pads=(3, 4, 3, 4)),
]


@pytest.mark.parametrize("n_samples", [1, 4])
@pytest.mark.parametrize("pad_values", [(), (7, 0), (255, 1)])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_window_sums_are_the_definition(
    window: Window, pad_values: tuple[int, ...], n_samples: int, rng: Random
) -> None:
    """Slots without a sample see borders too; packs are the compiler's."""
    layer = Conv2d(
        n_out=3, window=window, inputs=(0,), requant=Requant(q_bits=9), pad_values=pad_values
    )
    layers = [layer, Flatten(inputs=(1,)), Linear(n_out=2, inputs=(2,))]
    layout = PublicLayout(Architecture.of((2, 4, 5), layers), n_samples)
    images = np.random.default_rng(1).integers(
        0, 256, (max(1, n_samples - 1), 2, 4, 5), dtype=np.uint8
    )
    labels, challenges = np.zeros(len(images), dtype=np.uint8), draw_scalars(rng, 9)
    challenges = challenges[: len(layout.challenges)]
    named = dict(zip(layout.challenges, challenges, strict=True))
    assert ("s" in named) == (n_samples > 1)
    assert ("x" in named) == (window.output_plane((4, 5))[0] > 1)
    expected = sum_windows(
        layer,
        images,
        layout.choices.packings[0].packing,
        n_samples,
        *(named.get(name, 1) for name in "sxy"),
    )
    values = layout.compute(
        claimed=0, multipliers=(1,), images=images, labels=labels, challenges=challenges
    ).to_ints()
    assert values[-len(expected) :] == expected
    assert layout.blocks["first layer"] == (2, *window.kernel)


def test_deferred_wires_of_convolutions_combine_to_the_same(rng: Random) -> None:
    layer = Conv2d(n_out=3, window=WINDOWS[0], inputs=(0,), requant=Requant(q_bits=9))
    layers = [layer, Flatten(inputs=(1,)), Linear(n_out=2, inputs=(2,))]
    layout = PublicLayout(Architecture.of((2, 4, 5), layers), 3)
    images = np.random.default_rng(1).integers(0, 256, (3, 2, 4, 5), dtype=np.uint8)
    inputs = ShardInputs.of(layout, images, np.zeros(3, dtype=np.uint8))
    whole: list[FrArray] = []
    deferred: list[PublicWires] = []
    for _ in range(3):
        challenges = draw_scalars(rng, len(layout.challenges))
        statement = replace(make_statement(inputs), multipliers=(1,))
        found, later = inputs(statement, challenges), inputs.defer(statement, challenges)
        assert found is not None
        assert later is not None
        whole.append(found)
        deferred.append(later)
    weights = [1, rng.getrandbits(128), rng.getrandbits(128)]
    expected = [
        sum(t * z for t, z in zip(weights, column, strict=True)) % R
        for column in zip(*(w.to_ints() for w in whole), strict=True)
    ]
    assert combine_wires(deferred, weights).to_ints() == expected
