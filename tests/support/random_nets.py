"""Random small networks of layers of all kinds, for tests that need no model which fits them.

Wider than `tests.support.graphs`: strides that jump over numbers, windows of many, shifts and
multipliers up to their ends, convolutions that share a value.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from random import Random

from prover.errors import ArchitectureInvalid, QuantizationOverflow
from prover.model.layers import Layer, Linear, Requant, Shape
from prover.model.network import Architecture
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Add, Flatten, MaxPool, SumPool

Y_RANGES = [(0, 255), (-128, 127), (-9, 200), (-255, 1), (0, 1), (-256, 255)]
SHIFTS = [1, 2, 5, 7, 9, 10, 13, 15, 17, 24]


def draw_net(
    rng: Random, *, most: int = 250, shifts: tuple[int, ...] = tuple(SHIFTS)
) -> Architecture:
    """A network that the compiler takes.

    most : numbers that a layer makes of one sample
    """
    while True:
        try:
            return _Draft(rng, most, shifts).draw()
        except (ArchitectureInvalid, QuantizationOverflow):
            continue  # a window that does not fit, a range that could overflow


@dataclass
class _Draft:
    rng: Random
    most: int
    shifts: tuple[int, ...]
    layers: list[Layer] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)

    def draw(self) -> Architecture:
        rng = self.rng
        sides = [1, 2, 3, 5, 7, 8]
        self.shapes.append((rng.randint(1, 3), rng.choice(sides), rng.choice(sides)))
        if rng.random() < 0.9:
            small = Window(kernel=(1, 1)) if rng.random() < 0.3 else None
            value = self.convolve(0, window=small)
            for _ in range(rng.randint(0, 4)):
                value = self.grow(value)
        else:
            value = self.connect(0, 4, self.requant(4))
        if rng.random() < 0.4:
            value = self.connect(value, 3, self.requant(3))
        self.connect(value, rng.choice([2, 3, 5]), None)
        return Architecture.of(self.shapes[0], self.layers, rng.choice([None, None, 20]))

    def grow(self, value: int) -> int:
        """One more layer on a plane, or several that meet again."""
        rng, plane = self.rng, self.shapes[value][1:]
        match rng.choice(["conv", "conv", "sum", "max", "max", "add", "branch", "branch"]):
            case "sum":
                return self.add(
                    SumPool(window=self.window(plane, 3, padded=False), inputs=(value,))
                )
            case "max":
                window = self.window(plane, rng.choice([3, 3, 5]), padded=True)
                if rng.random() < 0.5:  # side by side, so that every number is in one
                    window = replace(window, stride=window.kernel)
                return self.add(MaxPool(window=window, inputs=(value,)))
            case "add":
                alike = [
                    i for i, shape in enumerate(self.shapes) if i and shape == self.shapes[value]
                ]
                return self.join(value, rng.choice(alike))
            case "branch":
                planes = [i for i, shape in enumerate(self.shapes) if i and len(shape) == 3]
                return self.branch(rng.choice([planes[0], rng.choice(planes)]), value)
            case _:
                return self.convolve(value)

    def branch(self, start: int, value: int) -> int:
        """Two or three convolutions of one value, most with windows alike but for pads behind; and
        what was there before."""
        rng, plane = self.rng, self.shapes[start][1:]
        window = self.window(plane, 2, padded=True)
        if rng.random() < 0.5:  # jumps over numbers
            window = replace(window, stride=(window.kernel[0] + 1, window.kernel[1] + 1))
        found = [value]
        for _ in range(rng.randint(2, 3)):
            top, left = window.pads[:2]
            below = (rng.randrange(window.kernel[0]), rng.randrange(window.kernel[1]))
            alike = replace(window, pads=(top, left, *below))
            other = self.window(plane, 4, padded=True)
            found.append(self.convolve(start, window=alike if rng.random() < 0.8 else other))
        joined = self.shrink(found.pop())
        while found:
            joined = self.join(joined, self.shrink(found.pop()))
        return joined

    def shrink(self, value: int) -> int:
        """Two channels of one number."""
        whole = Window(kernel=self.shapes[value][1:])
        pooled = self.add(SumPool(window=whole, inputs=(value,)))
        return self.convolve(pooled, n_out=2, window=Window(kernel=(1, 1)))

    def convolve(
        self, value: int, *, n_out: int | None = None, window: Window | None = None
    ) -> int:
        rng, shape = self.rng, self.shapes[value]
        n_out = n_out or rng.randint(1, 4)
        window = window or self.window(shape[1:], 4, padded=True)
        out = (n_out, *window.output_plane(shape[1:]))
        skips = [i for i, other in enumerate(self.shapes) if i and other == out]
        skip = rng.choice(skips) if skips and rng.random() < 0.6 else None
        pads: tuple[int, ...] = ()
        if value == 0 and rng.random() < 0.7:
            pads = tuple(rng.choice([0, 255, rng.randint(0, 255)]) for _ in range(shape[0]))
        return self.add(
            Conv2d(
                n_out=n_out,
                window=window,
                inputs=(value,) if skip is None else (value, skip),
                requant=self.requant(n_out),
                pad_values=pads,
                skip_scale=0 if skip is None else self.scale(n_out, 400),
            )
        )

    def connect(self, value: int, n_out: int, requant: Requant | None) -> int:
        """A linear layer, behind flattening where there is a plane."""
        if len(self.shapes[value]) > 1:
            value = self.add(Flatten(inputs=(value,)))
        return self.add(Linear(n_out=n_out, inputs=(value,), requant=requant))

    def join(self, a: int, b: int) -> int:
        scales = (self.rng.randint(1, 90), self.rng.randint(1, 90))
        return self.add(Add(inputs=(a, b), scales=scales, requant=self.requant(1, single=True)))

    def requant(self, channels: int, *, single: bool = False) -> Requant:
        rng = self.rng
        least, greatest = rng.choice(Y_RANGES)
        return Requant(
            shift=rng.choice(self.shifts),
            multiplier=rng.randint(1, 300) if single else self.scale(channels, 300),
            least=least,
            greatest=greatest,
            q_bits=rng.choice([9, 9, 9, 10, 11]),
        )

    def scale(self, channels: int, most: int) -> int | tuple[int, ...]:
        """Of all channels, or one each."""
        if self.rng.random() < 0.5:
            return self.rng.choice([1, self.rng.randint(1, most)])
        return tuple(self.rng.randint(1, most) for _ in range(channels))

    def window(self, plane: tuple[int, ...], most: int, *, padded: bool) -> Window:
        """Of any stride, and any pads below the kernel; now and then as large as its plane."""
        rng, pads, kernel, stride = self.rng, [0, 0, 0, 0], [], []
        for axis, n in enumerate(plane):
            k = rng.randint(1, min(most, n + 1 if padded else n))
            k = min(n, 12) if rng.random() < 0.25 else k
            if padded:
                for side in (axis, axis + 2):
                    pads[side] = rng.randrange(k) if rng.random() < 0.6 else 0
                if n + pads[axis] + pads[axis + 2] < k:
                    pads[axis] = k - 1
            kernel.append(k)
            stride.append(rng.choice([1, 1, 2, 2, 3, k, k + 1, k + 1]))
        return Window(
            kernel=(kernel[0], kernel[1]),
            stride=(stride[0], stride[1]),
            pads=(pads[0], pads[1], pads[2], pads[3]),
        )

    def add(self, layer: Layer) -> int:
        """The number of the value that it makes."""
        shape = layer.output_shape([self.shapes[i] for i in layer.inputs])
        if prod(shape) > self.most:
            raise ArchitectureInvalid("a layer makes more numbers than a quick test should have")
        self.layers.append(layer)
        self.shapes.append(shape)
        return len(self.layers)
