"""Architectures by name: MLPs by their widths, and the networks of the literature."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from prover.errors import ArchitectureInvalid
from prover.model.layers import Layer, Linear, Requant
from prover.model.network import Architecture
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Flatten, MaxPool, SumPool

DEFAULT_SKIP_SCALE = 128
"""Of residual networks before they are quantized: the scales of a model decide."""

_MLP = re.compile(r"mlp(?:-[1-9][0-9]{0,6}){2,64}", re.ASCII)
_HALF = Window(kernel=(2, 2), stride=(2, 2))


def parse_architecture(name: str, *, requant: Requant | None = None) -> Architecture:
    """`mlp-784-128-10` and the like, or a name of PRESETS; ArchitectureInvalid for other texts.

    requant : of every hidden layer; default `Requant()`
    """
    if _MLP.fullmatch(name):
        return Architecture.mlp([int(width) for width in name.split("-")[1:]], requant=requant)
    if name in PRESETS:
        return PRESETS[name](requant or Requant())
    raise ArchitectureInvalid(
        "an architecture is named by its widths, such as mlp-784-128-10, "
        f"or one of {', '.join(PRESETS)}"
    )


class _Chain:
    """Layers one after the other."""

    def __init__(self, requant: Requant) -> None:
        self.layers: list[Layer] = []
        self._requant = requant

    @property
    def last(self) -> int:
        """The value that was made last."""
        return len(self.layers)

    def conv(
        self,
        n_out: int,
        window: Window,
        *,
        takes: int | None = None,
        skip: int | None = None,
        requant: Requant | None = None,
    ) -> int:
        takes = self.last if takes is None else takes
        layer = Conv2d(
            n_out=n_out,
            window=window,
            inputs=(takes,) if skip is None else (takes, skip),
            requant=requant or self._requant,
            skip_scale=0 if skip is None else DEFAULT_SKIP_SCALE,
        )
        self.layers.append(layer)
        return self.last

    def pool(self, window: Window) -> None:
        self.layers.append(SumPool(window=window, inputs=(self.last,)))

    def classify(self, *widths: int) -> None:
        """Flattens, then linear layers of these widths, the last one the logits."""
        self.layers.append(Flatten(inputs=(self.last,)))
        for width in widths[:-1]:
            self.layers.append(Linear(n_out=width, inputs=(self.last,), requant=self._requant))
        self.layers.append(Linear(n_out=widths[-1], inputs=(self.last,)))


def _lenet5(requant: Requant) -> Architecture:
    """LeNet-5 (LeCun et al. 1998) with ReLU and average pools, on MNIST."""
    chain = _Chain(requant)
    chain.conv(6, Window(kernel=(5, 5), pads=(2, 2, 2, 2)))
    chain.pool(_HALF)
    chain.conv(16, Window(kernel=(5, 5)))
    chain.pool(_HALF)
    chain.classify(120, 84, 10)
    return Architecture.of((1, 28, 28), chain.layers)


def _lenet_small(requant: Requant) -> Architecture:
    """The LeNet for CIFAR-10 that ZEN (eprint 2021/087) measures as small: 74,730 weights, and 94
    biases of linear layers, which makes its 74,824."""
    chain = _Chain(requant)
    chain.conv(6, Window(kernel=(5, 5)))
    chain.pool(_HALF)
    chain.conv(16, Window(kernel=(5, 5)))
    chain.pool(_HALF)
    chain.conv(120, Window(kernel=(4, 4)))
    chain.classify(84, 10)
    return Architecture.of((3, 32, 32), chain.layers)


def _resnet20(requant: Requant) -> Architecture:
    """ResNet-20 (He et al. 2016, section 4.2) for CIFAR-10, shortcuts of 1x1 convolutions where
    the shape changes."""
    chain = _Chain(requant)
    same, single = Window(kernel=(3, 3), pads=(1, 1, 1, 1)), Window(kernel=(1, 1))
    signed = Requant(
        shift=requant.shift, multiplier=requant.multiplier, least=-128, greatest=127,
        q_bits=requant.q_bits,
    )  # fmt: skip
    value = chain.conv(16, same)
    for channels in (16, 32, 64):
        for block in range(3):
            down = block == 0 and channels > 16
            stride = (2, 2) if down else (1, 1)
            skip = value
            if down:
                narrow = Window(kernel=single.kernel, stride=stride)
                skip = chain.conv(channels, narrow, takes=value, requant=signed)
            window = Window(kernel=same.kernel, stride=stride, pads=same.pads)
            inner = chain.conv(channels, window, takes=value)
            value = chain.conv(channels, same, takes=inner, skip=skip)
    chain.pool(Window(kernel=(8, 8)))
    chain.classify(10)
    return Architecture.of((3, 32, 32), chain.layers)


def _vgg11(requant: Requant) -> Architecture:
    """VGG-11 (Simonyan and Zisserman 2015, configuration A) for CIFAR-10, one linear layer."""
    chain = _Chain(requant)
    same = Window(kernel=(3, 3), pads=(1, 1, 1, 1))
    for channels in ((64,), (128,), (256, 256), (512, 512), (512, 512)):
        for n_out in channels:
            chain.conv(n_out, same)
        chain.layers.append(MaxPool(window=_HALF, inputs=(chain.last,)))
    chain.classify(10)
    return Architecture.of((3, 32, 32), chain.layers)


PRESETS: Mapping[str, Callable[[Requant], Architecture]] = {
    "lenet5": _lenet5,
    "lenet-small": _lenet_small,
    "resnet20": _resnet20,
    "vgg11": _vgg11,
}
