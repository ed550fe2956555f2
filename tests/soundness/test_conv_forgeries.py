"""Convolutions, pools, additions and skips in whole circuits: each lie is refused, and by what.

A lie is one wrong number or tensor; whatever follows from it is computed by the book, so that only
the rows about the lie itself can object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from random import Random
from typing import Any

import numpy as np
import pytest

from kernels.bn254 import R
from prover.circuit.accuracy import compile_accuracy
from prover.circuit.gadgets.lookup import RangeTable
from prover.circuit.linear_form import LinearForm
from prover.model.layers import Layer
from prover.model.network import Architecture
from prover.model.planes import Conv2d
from tests.soundness.test_packing import compile_with
from tests.support.accuracy_protocol import backend
from tests.support.assignments import Tensor, draw_scalars
from tests.support.conv_nets import make_lenet, make_residual
from tests.support.detectors import private_freedom, vacuous
from tests.support.forgeries import Scene
from tests.support.inference import Alter, Compute, accumulate, clamp, convolve

NETS: dict[str, Callable[[], Architecture]] = {"lenet": make_lenet, "residual": make_residual}
SIZES = (1, 4)
"""Samples: one, whose columns are packed; and several, which are packed, the last one padding."""


@cache
def scene(net: str, n_samples: int) -> Scene:
    return Scene.of(NETS[net](), n_samples=n_samples)


def refused(s: Scene, **lie: Any) -> list[str]:
    """Blocks of rows that object to an inference with a lie, under two draws of challenges."""
    forged = s.count(s.infer(**lie), {})
    found = forged.failing(backend())
    s.publish(forged, 0, draw_scalars(Random(7), s.accuracy.n_challenges))
    assert forged.failing(backend()) == found
    return found


def instead(index: int, change: Callable[..., Tensor]) -> Compute:
    """Accumulators of one layer from change(layer, values taken, weights, biases)."""

    def compute(at: int, layer: Layer, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor | None:
        return change(layer, taken, w, b) if at == index else None

    return compute


@pytest.mark.parametrize("n_samples", SIZES)
@pytest.mark.parametrize("net", NETS)
def test_the_truth_is_accepted_and_neither_vacuous_nor_free(
    net: str, n_samples: int, rng: Random
) -> None:
    s = scene(net, n_samples)
    honest = s.count(s.infer(), s.honest_hits())
    assert honest.failing(backend()) == []
    assert vacuous(s.accuracy.circuit, rng) == []


@pytest.mark.parametrize("net", NETS)
def test_private_wires_are_not_free_whatever_is_committed(net: str) -> None:
    """At the honest witness, and at one with a lie in every layer."""
    s = scene(net, 1)

    def alter(layer: int, step: dict[str, Tensor]) -> None:
        step["y"].reshape(-1)[0] += 1

    for inputs in (s.infer(), s.infer(alter=alter)):
        assert private_freedom(s.accuracy.circuit, s.count(inputs, {}).complete(backend())) == 0


# -- convolutions ----------------------------------------------------------------------------------


def with_border_of_ones(layer: Conv2d, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    border = convolve(0 * taken[0], w, layer.window, (1,) * w.shape[1])
    return accumulate(layer, taken, w, b) + border


def with_border_of_zeros(layer: Conv2d, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    return accumulate(replace(layer, pad_values=()), taken, w, b)


def off_by_one_row(layer: Conv2d, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    return accumulate(layer, [np.roll(taken[0], 1, axis=2), *taken[1:]], w, b)


def off_by_one_column(layer: Conv2d, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    return accumulate(layer, [np.roll(taken[0], -1, axis=3), *taken[1:]], w, b)


def with_kernel_turned(layer: Conv2d, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    return accumulate(layer, taken, w[:, :, ::-1, ::-1], b)


def with_input_channels_swapped(layer: Conv2d, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    return accumulate(layer, [taken[0][:, ::-1], *taken[1:]], w, b)


def with_output_channels_swapped(
    layer: Conv2d, taken: list[Tensor], w: Tensor, b: Tensor
) -> Tensor:
    z = accumulate(layer, taken, w, b)
    return z[:, [1, 0, *range(2, z.shape[1])]]


def with_rows_turned(layer: Conv2d, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    return accumulate(layer, taken, w, b)[:, :, ::-1]


def with_columns_turned(layer: Conv2d, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    return accumulate(layer, taken, w, b)[:, :, :, ::-1]


def one_corner_off(layer: Conv2d, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    z = accumulate(layer, taken, w, b)
    z[0, -1, -1, -1] += 1 << 9
    return z


PLACES: Sequence[tuple[str, int, Callable[..., Tensor]]] = [
    ("lenet", 0, with_border_of_ones),
    ("lenet", 0, with_border_of_zeros),
    ("lenet", 0, with_kernel_turned),
    ("lenet", 0, with_output_channels_swapped),
    ("lenet", 2, off_by_one_column),
    ("lenet", 2, with_border_of_ones),
    ("lenet", 2, with_rows_turned),
    ("lenet", 2, one_corner_off),
    ("residual", 0, with_border_of_ones),
    ("residual", 0, off_by_one_row),
    ("residual", 0, with_input_channels_swapped),
    ("residual", 0, with_columns_turned),
    ("residual", 2, with_border_of_ones),
    ("residual", 2, with_input_channels_swapped),
    ("residual", 2, with_kernel_turned),
    ("residual", 6, off_by_one_row),
    ("residual", 6, off_by_one_column),
    ("residual", 6, with_border_of_ones),
    ("residual", 6, with_output_channels_swapped),
    ("residual", 6, one_corner_off),
]


@pytest.mark.parametrize("n_samples", SIZES)
@pytest.mark.parametrize(
    ("net", "index", "lie"), PLACES, ids=lambda x: getattr(x, "__name__", str(x))
)
def test_other_convolutions_are_refused(
    net: str, index: int, lie: Callable[..., Tensor], n_samples: int
) -> None:
    found = refused(scene(net, n_samples), compute=instead(index, lie))
    assert f"layer {index}/conv2d/equation" in found
    assert set(found) <= {f"layer {index}/conv2d/equation", *TABLES}


TABLES = {"range table/sum", "clamp table 0/sum", "clamp table 1/sum", "clamp table 2/sum"}
"""Which object as well where a lie makes numbers leave them."""


@pytest.mark.parametrize("n_samples", SIZES)
def test_samples_are_the_verifiers(n_samples: int) -> None:
    """Other images than the verifier sums up: shifted, channels swapped, one border pixel off."""
    for net in NETS:
        s = scene(net, n_samples)
        pixel = s.images.copy()
        pixel[0, -1, -1, -1] ^= 255
        for images in (np.roll(s.images, 1, axis=3), s.images[:, ::-1], pixel):
            assert "layer 0/conv2d/equation" in refused(s, images=images)


@pytest.mark.parametrize("n_samples", SIZES)
@pytest.mark.parametrize(
    "places",
    [
        [(0, 0, 0, 0), (0, 0, 0, 1)],  # columns, of a pack or not
        [(0, 0, 0, 0), (0, 0, 1, 0)],  # rows
        [(0, 0, 0, 0), (0, 1, 0, 0)],  # channels
        [(0, 2, 1, 3), (-1, 0, 0, 0)],  # samples, where there are several
    ],
)
def test_errors_that_cancel_are_refused(places: list[tuple[int, ...]], n_samples: int) -> None:
    """Remainders moved against each other, by amounts that cancel at digits of some width."""
    s = scene("residual", n_samples)
    first, second = places

    def move(at: int, width: int) -> Alter:
        def alter(layer: int, step: dict[str, Tensor]) -> None:
            if layer == at:
                step["rem"][first] += 1 << width
                step["rem"][second] -= 1

        return alter

    for index, width in product((2, 3), (0, 1, 3, 5)):
        found = refused(s, alter=move(index, width))
        assert f"layer {index}/conv2d/equation" in found
        assert set(found) <= {f"layer {index}/conv2d/equation", "range table/sum"}


def test_columns_would_trade_where_digits_are_too_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """[N] One column's remainder gains 2^c, the next one's loses 1: a build with c = 3 accepts."""
    s = scene("residual", 1)
    packings = [choice.packing for choice in s.accuracy.choices.packings.values()]
    indices = list(s.accuracy.choices.packings)
    at = indices.index(2)
    assert packings[at].columns > 1
    packings[at] = replace(packings[at], bits=3)

    def alter(layer: int, step: dict[str, Tensor]) -> None:
        if layer == 2:
            rem = step["rem"]
            columns = packings[at].columns
            row, j = next(
                (i, j)
                for i in range(rem.shape[2])
                for j in range(rem.shape[3] - 1)
                if rem[0, 0, i, j] < 1016 and rem[0, 0, i, j + 1] > 0 and (j + 1) % columns
            )
            rem[0, 0, row, j] += 8
            rem[0, 0, row, j + 1] -= 1

    broken = compile_with(monkeypatch, s.accuracy.architecture, 1, packings)
    assert refused(replace(s, accuracy=broken), alter=alter) == []
    assert refused(s, alter=alter) == ["layer 2/conv2d/equation"]


# -- pools -----------------------------------------------------------------------------------------


def shift_windows(layer: Layer, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    return accumulate(layer, [np.roll(taken[0], -1, axis=3)], w, b)


@pytest.mark.parametrize("n_samples", SIZES)
def test_sums_of_other_windows_are_refused(n_samples: int) -> None:
    """A sum is no wire: what takes it objects."""
    found = refused(scene("lenet", n_samples), compute=instead(1, shift_windows))
    assert "layer 2/conv2d/equation" in found
    assert set(found) <= {"layer 2/conv2d/equation", *TABLES}


def set_maximum(index: int, s: Scene, choose: Callable[[list[int]], int]) -> tuple[Alter, str]:
    """A pool's maximum of the first window with several numbers, and the label of such windows.

    choose : the new maximum, from the numbers of the window, ascending and distinct
    """
    place = (0, 0, 1, 1)
    inputs = s.infer()
    fused = s.accuracy.choices.pools[index].is_fused
    source = "layer 0/activation/q" if fused else "layer 2/activation/y"
    window = inputs[source][0, 0, 2:4, 2:4] if fused else inputs[source][0, 0, 1:3, 1:4]
    numbers = sorted(set(window.reshape(-1).tolist()))
    assert len(numbers) > 1

    def alter(layer: int, step: dict[str, Tensor]) -> None:
        if layer == index:
            name = "q" if fused else "y"
            step[name][place] = choose(numbers)
            if fused:
                requant = s.accuracy.architecture.layers[0].requant
                assert requant is not None
                step["y"] = clamp(step["q"], requant)

    return alter, "2 x 2" if fused else "2 x 3"


@pytest.mark.parametrize("n_samples", SIZES)
@pytest.mark.parametrize("index", [1, 5])
def test_a_maximum_is_one_of_the_greatest(index: int, n_samples: int) -> None:
    """Neither less than one of the numbers, nor greater than all of them."""
    s = scene("residual", n_samples)
    assert s.accuracy.choices.pools[1].is_fused
    assert not s.accuracy.choices.pools[5].is_fused
    alter, _ = set_maximum(index, s, lambda numbers: numbers[-2])
    assert refused(s, alter=alter) == ["range table/sum"]
    alter, shape = set_maximum(index, s, lambda numbers: numbers[-1] + 1)
    assert refused(s, alter=alter) == [f"layer {index}/max/windows of {shape}/one is zero"]


@pytest.mark.parametrize("n_samples", SIZES)
def test_the_greatest_quotient_is_clamped(n_samples: int) -> None:
    s = scene("residual", n_samples)

    def alter(layer: int, step: dict[str, Tensor]) -> None:
        if layer == 1:
            step["y"][0, 0, 0, 0] += 1

    assert refused(s, alter=alter) == ["clamp table 0/sum"]


def test_a_fraction_of_a_quotient_moves_no_maximum() -> None:
    """Differences of nine bits in a table of more pass as halves: harmless below the maximum, and
    the maximum itself can't give way, as no other quotient comes as near."""
    s = scene("residual", 4)
    assert s.accuracy.choices.widths.table_bits == 10
    assert s.accuracy.choices.pools[1].bits == 9
    half = pow(2, -1, R)
    inputs = s.infer()
    q, rem = (inputs[f"layer 0/activation/{name}"] for name in ("q", "rem"))
    greatest = inputs["layer 1/max/q"]

    def lower(place: tuple[int, ...]) -> list[str]:
        """q - 1/2 and rem + 2^(s-1)."""
        changed = {name: inputs[f"layer 0/activation/{name}"].copy() for name in ("q", "rem")}
        changed["q"][place] = (q[place] - half) % R
        changed["rem"][place] += 1 << 9
        lie = {f"layer 0/activation/{name}": tensor for name, tensor in changed.items()}
        return s.count(inputs | lie, {}).failing(backend())

    places = [p for p in np.ndindex(q.shape) if p[0] == 0 and rem[p] < 1 << 9]
    below = next(p for p in places if q[p] < greatest[p[0], p[1], p[2] // 2, p[3] // 2])
    above = next(p for p in places if q[p] == greatest[p[0], p[1], p[2] // 2, p[3] // 2])
    assert lower(below) == []
    assert lower(above) == ["layer 1/max/windows of 2 x 2/one is zero"]


def test_quotients_without_a_range_would_free_a_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    """[N] A quotient below the maximum falls by C t / 2^s, the next column's remainder gains t."""
    s = scene("residual", 1)
    packing, inputs = s.accuracy.choices.packings[0].packing, s.infer()
    assert packing.columns > 1
    q, rem, greatest = (
        inputs[label]
        for label in ("layer 0/activation/q", "layer 0/activation/rem", "layer 1/max/q")
    )
    place = next(
        (n, c, i, j)
        for n, c, i, j in np.ndindex(q.shape)
        if j % packing.columns + 1 < packing.columns
        and j + 1 < q.shape[3]
        and q[n, c, i, j] < greatest[n, c, i // 2, j // 2]
        and rem[n, c, i, j + 1] < (1 << 10) - 1
    )

    def alter(layer: int, step: dict[str, Tensor]) -> None:
        if layer == 0:
            n, c, i, j = place
            step["q"][n, c, i, j] -= packing.limit >> 10
            step["rem"][n, c, i, j + 1] += 1

    assert refused(s, alter=alter) == ["range table/sum"]
    require = RangeTable.require_range

    def skip_differences(
        self: RangeTable, label: str, value: LinearForm, bits: int, **more: Any
    ) -> None:
        if not label.startswith("layer 1/max"):
            require(self, label, value, bits, **more)

    with monkeypatch.context() as patch:
        patch.setattr(RangeTable, "require_range", skip_differences)
        broken = compile_accuracy(s.accuracy.architecture, 1)
    assert refused(replace(s, accuracy=broken), alter=alter) == []


# -- additions, skips, scales ----------------------------------------------------------------------


def skip_left_out(layer: Conv2d, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    return accumulate(layer, [taken[0], 0 * taken[1]], w, b)


def skip_of_another_channel(layer: Conv2d, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    return accumulate(layer, [taken[0], np.roll(taken[1], 1, axis=1)], w, b)


def skip_of_another_place(layer: Conv2d, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    return accumulate(layer, [taken[0], np.roll(taken[1], 1, axis=2)], w, b)


def skip_scaled_as_another_channel(
    layer: Conv2d, taken: list[Tensor], w: Tensor, b: Tensor
) -> Tensor:
    scales = layer.skip_scales
    return accumulate(replace(layer, skip_scale=(*scales[1:], scales[0])), taken, w, b)


@pytest.mark.parametrize("n_samples", SIZES)
@pytest.mark.parametrize(
    "lie",
    [skip_left_out, skip_of_another_channel, skip_of_another_place, skip_scaled_as_another_channel],
    ids=lambda x: x.__name__,
)
@pytest.mark.parametrize(("net", "index"), [("lenet", 3), ("residual", 2)])
def test_other_skips_are_refused(
    net: str, index: int, lie: Callable[..., Tensor], n_samples: int
) -> None:
    found = refused(scene(net, n_samples), compute=instead(index, lie))
    assert f"layer {index}/conv2d/equation" in found
    assert set(found) <= {f"layer {index}/conv2d/equation", *TABLES}


@pytest.mark.parametrize("n_samples", SIZES)
def test_a_skip_from_another_layer_is_refused(n_samples: int) -> None:
    """The value that it should be is of the same shape as what layer 3 makes."""
    s = scene("residual", n_samples)
    other = s.infer()["layer 3/activation/y"]

    def lie(layer: Conv2d, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
        return accumulate(layer, [taken[0], other], w, b)

    assert "layer 2/conv2d/equation" in refused(s, compute=instead(2, lie))


@pytest.mark.parametrize("n_samples", SIZES)
@pytest.mark.parametrize("net", NETS)
def test_the_multiplier_of_another_channel_is_refused(net: str, n_samples: int) -> None:
    s, index = scene(net, n_samples), 2
    multipliers = list(s.accuracy.architecture.multipliers)
    multipliers[1], multipliers[2] = multipliers[2], multipliers[1]
    found = refused(s, multipliers=multipliers)
    assert f"layer {index}/conv2d/equation" in found
    assert set(found) <= {f"layer {index}/conv2d/equation", *TABLES}


def scales_swapped(layer: Any, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    return accumulate(layer, taken[::-1], w, b)


def one_added_twice(layer: Any, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    return accumulate(layer, [taken[1], taken[1]], w, b)


def one_sum_off(layer: Any, taken: list[Tensor], w: Tensor, b: Tensor) -> Tensor:
    z = accumulate(layer, taken, w, b)
    z.reshape(-1)[-1] += 1
    return z


@pytest.mark.parametrize("n_samples", SIZES)
@pytest.mark.parametrize(
    "lie", [scales_swapped, one_added_twice, one_sum_off], ids=lambda x: x.__name__
)
def test_other_sums_are_refused(lie: Callable[..., Tensor], n_samples: int) -> None:
    s = scene("residual", n_samples)
    for index in (4, 11):
        found = refused(s, compute=instead(index, lie))
        assert f"layer {index}/add/equation" in found
        assert set(found) <= {f"layer {index}/add/equation", *TABLES}


def test_sums_would_trade_where_digits_are_too_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """[N] One sum's remainder gains 2, the next one's loses 1: a build with c = 1 accepts."""
    s = scene("residual", 1)
    packings = [choice.packing for choice in s.accuracy.choices.packings.values()]
    at = list(s.accuracy.choices.packings).index(4)
    assert packings[at].outputs > 1
    packings[at] = replace(packings[at], bits=1)

    def alter(layer: int, step: dict[str, Tensor]) -> None:
        if layer == 4:
            rem = step["rem"].reshape(-1)
            k = next(
                k
                for k in range(len(rem) - 1)
                if rem[k] < 2 and rem[k + 1] > 0 and (k + 1) % packings[at].outputs
            )
            rem[k] += 2
            rem[k + 1] -= 1

    broken = compile_with(monkeypatch, s.accuracy.architecture, 1, packings)
    assert refused(replace(s, accuracy=broken), alter=alter) == []
    assert refused(s, alter=alter) == ["layer 4/add/equation"]
