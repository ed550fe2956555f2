"""Random small graphs of layers of all kinds, drawn by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import assume
from hypothesis import strategies as st

from prover.errors import ArchitectureInvalid, QuantizationOverflow
from prover.model.layers import Layer, Linear, Requant, Shape
from prover.model.network import Architecture
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Add, Flatten, MaxPool, SumPool

MOST = 600
"""Numbers that a layer makes of one sample."""


@st.composite
def requants(draw: st.DrawFn, channels: int) -> Requant:
    """One multiplier, or one per channel."""
    one = st.sampled_from([1, 3])
    several = st.tuples(*(st.integers(1, 5) for _ in range(channels)))
    least, greatest = draw(st.sampled_from([(0, 255), (-128, 127), (-9, 200)]))
    return Requant(
        shift=draw(st.sampled_from([7, 9, 10, 13])),
        multiplier=draw(one | several),
        least=least,
        greatest=greatest,
        q_bits=draw(st.sampled_from([9, 10, 12])),
    )


@st.composite
def windows(draw: st.DrawFn, plane: tuple[int, int], *, most: int, padded: bool) -> Window:
    """Kernels up to `most` that fit, any stride, pads below the kernel."""
    kernel = tuple(draw(st.integers(1, min(most, n + 1 if padded else n))) for n in plane)
    pads = [draw(st.integers(0, k - 1)) if padded else 0 for k in (*kernel, *kernel)]
    for axis, n in enumerate(plane):
        pads[axis] = max(pads[axis], min(kernel[axis] - 1, kernel[axis] - n - pads[axis + 2]))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return Window(
        kernel=(kernel[0], kernel[1]), stride=stride, pads=(pads[0], pads[1], pads[2], pads[3])
    )


@dataclass
class _Graph:
    draw: st.DrawFn
    layers: list[Layer] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)

    def add(self, layer: Layer) -> int:
        """The number of the value that it makes."""
        shape = layer.output_shape([self.shapes[i] for i in layer.inputs])
        size = 1
        for n in shape:
            size *= n
        assume(size <= MOST)
        self.layers.append(layer)
        self.shapes.append(shape)
        return len(self.layers)

    def conv(self, value: int, n_out: int | None = None, window: Window | None = None) -> int:
        draw, shape = self.draw, self.shapes[value]
        n_out = n_out or draw(st.integers(1, 4))
        window = window or draw(windows((shape[1], shape[2]), most=4, padded=True))
        out = (n_out, *window.output_plane(shape[1:]))
        skips = [i for i, other in enumerate(self.shapes) if i and other == out]
        skip = draw(st.sampled_from([None, *skips]))
        pads: tuple[int, ...] = ()
        if value == 0:
            colours = st.tuples(*(st.integers(0, 255) for _ in range(shape[0])))
            pads = draw(st.just(()) | colours)
        scale = st.integers(1, 40) | st.tuples(*(st.integers(1, 40) for _ in range(n_out)))
        return self.add(
            Conv2d(
                n_out=n_out,
                window=window,
                inputs=(value,) if skip is None else (value, skip),
                requant=draw(requants(n_out)),
                pad_values=pads,
                skip_scale=0 if skip is None else draw(scale),
            )
        )

    def grow(self, value: int) -> int:
        """One more layer on a plane."""
        draw, shape = self.draw, self.shapes[value]
        plane = (shape[1], shape[2])
        alike = [i for i, other in enumerate(self.shapes) if i and other == shape]
        match draw(st.sampled_from(["conv", "conv", "sum", "max", "add", "branch"])):
            case "sum":
                window = draw(windows(plane, most=3, padded=False))
                return self.add(SumPool(window=window, inputs=(value,)))
            case "max":
                window = draw(windows(plane, most=3, padded=True))
                return self.add(MaxPool(window=window, inputs=(value,)))
            case "add":
                return self.join(value, draw(st.sampled_from(alike)))
            case "branch":
                side = self.conv(value, shape[0], Window(kernel=(1, 1)))
                return self.join(value, side)
            case _:
                return self.conv(value)

    def join(self, a: int, b: int) -> int:
        scales = self.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
        requant = Requant(shift=self.draw(st.integers(1, 6)), q_bits=12)
        return self.add(Add(inputs=(a, b), scales=scales, requant=requant))

    def linear(self, value: int, n_out: int, requant: Requant | None) -> int:
        if len(self.shapes[value]) > 1:
            value = self.add(Flatten(inputs=(value,)))
        return self.add(Linear(n_out=n_out, inputs=(value,), requant=requant))


@st.composite
def graphs(draw: st.DrawFn) -> Architecture:
    """A convolution or linear layer of samples, up to four others, and one or two linear ones."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)))
    graph = _Graph(draw, shapes=[shape])
    if draw(st.integers(0, 9)):
        value = graph.conv(0)
        for _ in range(draw(st.integers(0, 4))):
            value = graph.grow(value)
    else:
        value = graph.linear(0, 4, draw(requants(4)))
    if draw(st.booleans()):
        value = graph.linear(value, 3, draw(requants(3)))
    graph.linear(value, 2, None)
    try:
        return Architecture.of(shape, graph.layers)
    except (ArchitectureInvalid, QuantizationOverflow):
        assume(False)
        raise
