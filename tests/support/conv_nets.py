"""Small convolutional networks that have one of everything, for tests of their circuits."""

from __future__ import annotations

from prover.model.layers import Linear, Requant
from prover.model.network import Architecture
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Add, Flatten, MaxPool, SumPool

RELU = Requant(shift=10, multiplier=3, q_bits=9)
SIGNED = Requant(shift=9, multiplier=(3, 4, 5, 7), least=-128, greatest=127, q_bits=10)


def make_lenet() -> Architecture:
    """A convolution of samples with pads of their own, sums of windows, a strided convolution with
    multipliers per channel, one that is added to its input, two linear layers."""
    return Architecture.of(
        (2, 7, 6),
        [
            Conv2d(
                n_out=3,
                window=Window(kernel=(3, 2), stride=(2, 1), pads=(1, 0, 2, 1)),
                inputs=(0,),
                requant=RELU,
                pad_values=(7, 200),
            ),
            SumPool(window=Window(kernel=(2, 2), stride=(1, 2)), inputs=(1,)),
            Conv2d(
                n_out=4,
                window=Window(kernel=(2, 3), stride=(1, 2), pads=(1, 1, 0, 1)),
                inputs=(2,),
                requant=SIGNED,
            ),
            Conv2d(
                n_out=4,
                window=Window(kernel=(1, 1)),
                inputs=(3, 3),
                requant=SIGNED,
                skip_scale=(5, 6, 1, 2),
            ),
            Flatten(inputs=(4,)),
            Linear(n_out=5, inputs=(5,), requant=RELU),
            Linear(n_out=3, inputs=(6,)),
        ],
    )


def make_residual() -> Architecture:
    """Max pools of both kinds, with pads and overlapping windows, additions, a convolution with a
    stride, and one that is added to a pooled value."""
    return Architecture.of(
        (2, 6, 8),
        [
            Conv2d(
                n_out=3,
                window=Window(kernel=(3, 3), pads=(1, 1, 1, 1)),
                inputs=(0,),
                requant=RELU,
            ),
            MaxPool(window=Window(kernel=(2, 2), stride=(2, 2)), inputs=(1,)),
            Conv2d(
                n_out=3,
                window=Window(kernel=(3, 3), pads=(1, 1, 1, 1)),
                inputs=(2, 2),
                requant=Requant(shift=10, multiplier=(2, 5, 3), q_bits=10),
                skip_scale=(7, 100, 3),
            ),
            Conv2d(
                n_out=3,
                window=Window(kernel=(1, 1)),
                inputs=(3,),
                requant=Requant(shift=9, least=-128, greatest=127, q_bits=9),
            ),
            Add(inputs=(4, 3), scales=(3, 2), requant=Requant(shift=2, q_bits=9)),
            MaxPool(window=Window(kernel=(3, 3), stride=(2, 2), pads=(1, 1, 1, 1)), inputs=(3,)),
            Conv2d(
                n_out=4,
                window=Window(kernel=(3, 2), stride=(2, 2), pads=(1, 0, 1, 0)),
                inputs=(5,),
                requant=RELU,
            ),
            Flatten(inputs=(6,)),
            Linear(n_out=4, inputs=(8,), requant=RELU),
            Flatten(inputs=(7,)),
            Linear(n_out=4, inputs=(10,), requant=RELU),
            Add(inputs=(9, 11), scales=(1, 4), requant=Requant(shift=1, q_bits=12)),
            Linear(n_out=3, inputs=(12,)),
        ],
    )
