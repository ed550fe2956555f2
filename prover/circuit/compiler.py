"""From an architecture to rows: every value is a tensor of forms, every layer a gadget's call.

Value 0 are the samples, value i + 1 is what layer i makes, a LinearForm[N, *shape] in committed
wires. Pools that sum and flattening are other forms of the same wires and cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from prover.circuit.affine_layer import AffineLayer
from prover.circuit.gadgets.activation import build_clamp, build_quotient
from prover.circuit.gadgets.correctness import build_correctness
from prover.circuit.gadgets.pool import sum_windows
from prover.circuit.linear_form import LinearForm
from prover.circuit.shared import Shared
from prover.errors import ArchitectureInvalid
from prover.model.graph import trace_samples
from prover.model.layers import Layer, Linear, Requant
from prover.model.planes import Conv2d
from prover.model.pooling import Flatten, SumPool


@dataclass(slots=True)
class Compiler:
    """Adds layers to a circuit.

    values : forms of what every layer makes; none for the samples, nor for logits
    """

    shared: Shared
    values: list[LinearForm | None] = field(default_factory=lambda: [None])

    def add_layers(self) -> None:
        """All layers in order, the count over the last one's logits with it."""
        for index, layer in enumerate(self.shared.architecture.layers):
            is_samples = trace_samples(self.shared.architecture.layers, index + 1)
            self.values.append(None if is_samples else self._add_layer(index, layer))

    def _add_layer(self, index: int, layer: Layer) -> LinearForm | None:
        match layer:
            case Linear() | Conv2d():
                return self._add_affine(index, layer)
            case SumPool():
                return sum_windows(self._value(layer.inputs[0]), layer.window)
            case Flatten():
                return self._value(layer.inputs[0]).reshape(self.shared.shape_of(index))
            case _:
                raise ArchitectureInvalid(f"no gadget for layers of kind {layer.kind!r}")

    def _value(self, number: int) -> LinearForm:
        value = self.values[number]
        assert value is not None, "samples enter one layer, and logits none"
        return value

    def _add_affine(self, index: int, layer: Linear | Conv2d) -> LinearForm | None:
        affine = AffineLayer.of(self.shared, index, layer)
        if index == self.shared.architecture.entrance:
            inputs = self.shared.public["first layer"]
        else:
            inputs = affine.build_inputs(self._value(layer.inputs[0]))
        skip = self._value(layer.inputs[1]) if len(layer.inputs) > 1 else None
        outputs = affine.build_outputs(inputs, skip)
        if layer.requant is None:
            self._add_count(index, affine, outputs)
            return None
        quotient = build_quotient(
            self.shared.system,
            f"layer {index}/activation",
            shape=self.shared.shape_of(index),
            shift=layer.requant.shift,
            ranges=self.shared.ranges,
        )
        affine.require_requantized(outputs, quotient, layer.requant)
        return self._clamp(f"layer {index}/activation", quotient.q, layer.requant)

    def _clamp(self, label: str, q: LinearForm, requant: Requant) -> LinearForm:
        return build_clamp(
            self.shared.system,
            label,
            q=q,
            q_min=requant.q_range[0],
            clamp=self.shared.clamps[requant.q_range, requant.y_range],
            g=self.shared.public["challenge/pair"],
        )

    def _add_count(self, index: int, affine: AffineLayer, outputs: LinearForm) -> None:
        shared = self.shared
        logits = shared.system.advice(f"layer {index}/logits", shared.shape_of(index))
        affine.require_logits(outputs, logits)
        build_correctness(
            shared.system,
            "correctness/count",
            logits=logits,
            powers=shared.powers,
            label_sum=shared.public["label sum"],
            claimed=shared.public["claimed"],
            margin_bits=shared.choices.margin_bits,
            level_bits=shared.choices.level_bits,
            ranges=shared.ranges,
        )
