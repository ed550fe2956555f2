"""Convolutions that take one value share its sums over samples only where they use the same numbers
of it."""

from __future__ import annotations

import numpy as np
import pytest

from prover.model.layers import Layer, Linear, Requant
from prover.model.network import Architecture
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Add, Flatten, SumPool
from tests.support.accuracy_protocol import backend
from tests.support.assignments import Tensor
from tests.support.forgeries import Scene
from tests.support.inference import accumulate

REQUANT = Requant(shift=10, q_bits=9)
SECOND = 2
"""The layer with one row more than the first that takes the same value."""


def make_net() -> Architecture:
    """Windows that jump over numbers: with a pad below, one more of them meets the plane."""

    def meet(pad_below: int) -> Conv2d:
        window = Window(kernel=(2, 1), stride=(3, 1), pads=(1, 0, pad_below, 0))
        return Conv2d(n_out=1, window=window, inputs=(1,), requant=REQUANT)

    pair = Window(kernel=(2, 1))
    layers: list[Layer] = [
        Conv2d(n_out=1, window=Window(kernel=(1, 1)), inputs=(0,), requant=REQUANT),
        meet(0),
        meet(1),
        SumPool(window=pair, inputs=(3,)),
        Add(inputs=(2, 4), scales=(1, 1), requant=REQUANT),
        Flatten(inputs=(5,)),
        Linear(n_out=3, inputs=(6,)),
    ]
    return Architecture.of((1, 3, 1), layers)


@pytest.mark.parametrize("n_samples", [1, 2, 9])
def test_numbers_that_another_convolution_leaves_out_are_taken(n_samples: int) -> None:
    scene = Scene.of(make_net(), n_samples=n_samples)
    honest = scene.count(scene.infer(), scene.honest_hits())
    assert honest.failing(backend()) == []


@pytest.mark.parametrize("n_samples", [1, 2, 9])
def test_the_numbers_of_another_convolution_do_not_stand_for_them(n_samples: int) -> None:
    """The first number of the plane where the second window meets the last one."""

    def first_twice(
        at: int, layer: Layer, taken: list[Tensor], w: Tensor, b: Tensor
    ) -> Tensor | None:
        if at != SECOND:
            return None
        x = taken[0].copy()
        assert np.any(x[:, :, 2] != x[:, :, 0])
        x[:, :, 2] = x[:, :, 0]
        return accumulate(layer, [x], w, b)

    scene = Scene.of(make_net(), n_samples=n_samples)
    forged = scene.count(scene.infer(compute=first_twice), {})
    assert forged.failing(backend()) == [f"layer {SECOND}/conv2d/equation"]
