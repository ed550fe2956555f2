"""From an architecture to rows: every value is a tensor of forms, every layer a gadget's call.

Value 0 are the samples, value i + 1 is what layer i makes, a LinearForm[N, *shape] in committed
wires. Pools that sum and flattening are other forms of the same wires and cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from prover.circuit.affine_layer import AffineLayer
from prover.circuit.gadgets.activation import Quotient, build_clamp, build_quotient
from prover.circuit.gadgets.add import require_sums
from prover.circuit.gadgets.correctness import build_correctness
from prover.circuit.gadgets.pool import require_maxima, sum_windows
from prover.circuit.linear_form import LinearForm
from prover.circuit.shared import Shared
from prover.model.graph import trace_samples
from prover.model.layers import Layer, Linear, Requant
from prover.model.planes import Conv2d
from prover.model.pooling import Add, MaxPool, SumPool


@dataclass(slots=True)
class Compiler:
    """Adds layers to a circuit.

    values    : forms of what every layer makes; none for the samples, for logits, and for
                activations that a max pool takes as quotients
    quotients : of the layers before such pools
    """

    shared: Shared
    values: list[LinearForm | None] = field(default_factory=lambda: [None])
    quotients: dict[int, LinearForm] = field(default_factory=dict)

    def add_layers(self) -> None:
        """All layers in order, the count over the last one's logits with it."""
        for index, layer in enumerate(self.shared.architecture.layers):
            is_samples = trace_samples(self.shared.architecture.layers, index + 1)
            self.values.append(None if is_samples else self._add_layer(index, layer))

    def _add_layer(self, index: int, layer: Layer) -> LinearForm | None:
        match layer:
            case Linear() | Conv2d():
                return self._add_affine(index, layer)
            case Add():
                return self._add_sums(index, layer)
            case SumPool():
                return sum_windows(self._value(layer.inputs[0]), layer.window)
            case MaxPool():
                return self._add_maxima(index, layer)
            case _:  # flattening
                return self._value(layer.inputs[0]).reshape(self.shared.shape_of(index))

    def _value(self, number: int) -> LinearForm:
        value = self.values[number]
        assert value is not None, "samples and quotients are for one layer, logits for none"
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
        quotient = self._build_quotient(index, layer.requant)
        affine.require_requantized(outputs, quotient, layer.requant)
        return self._clamp_unless_fused(index, quotient, layer.requant)

    def _add_sums(self, index: int, layer: Add) -> LinearForm | None:
        (a, b), choice = map(self._value, layer.inputs), self.shared.choices.packings[index]
        quotient = self._build_quotient(index, layer.requant)
        require_sums(
            self.shared.system,
            f"layer {index}/add",
            sums=a * layer.scales[0] + b * layer.scales[1],
            multiplier=self.shared.multiplier_of(index),
            quotient=quotient,
            shift=layer.requant.shift,
            packing=choice.packing,
            why=choice.reason,
        )
        return self._clamp_unless_fused(index, quotient, layer.requant)

    def _add_maxima(self, index: int, layer: MaxPool) -> LinearForm:
        """The greatest activations of windows, or the clamps of their greatest quotients.

        Quotients are bounded by the maximum and their difference to it, which `Choices` knows. That
        difference may be a fraction j / 2^a, but helps nobody: since rem < 2^s, a quotient is
        greater than t / 2^s - 1 for t = m z + 2^(s-1), and the maximum, an integer of the table
        that is not less, is at least floor(t / 2^s). And it is one of the quotients: then that one
        is an integer, hence the floor of its own t.
        """
        shared, taken = self.shared, layer.inputs[0]
        if layer.window.area == 1:
            return sum_windows(self._value(taken), layer.window)  # windows of one place
        choice, label = shared.choices.pools[index], f"layer {index}/max"
        values = self._value(taken) if choice.source is None else self.quotients[choice.source]
        name = "y" if choice.source is None else "q"
        maxima = shared.system.advice(f"{label}/{name}", shared.shape_of(index))
        require_maxima(
            shared.system,
            label,
            values=values,
            maxima=maxima,
            window=layer.window,
            bits=choice.bits,
            ranges=shared.ranges,
            why=choice.reason,
        )
        if choice.source is None:
            return maxima
        requant = shared.architecture.layers[choice.source].requant
        assert requant is not None
        return self._clamp(label, maxima, requant)

    def _build_quotient(self, index: int, requant: Requant) -> Quotient:
        return build_quotient(
            self.shared.system,
            f"layer {index}/activation",
            shape=self.shared.shape_of(index),
            shift=requant.shift,
            ranges=self.shared.ranges,
        )

    def _clamp_unless_fused(
        self, index: int, quotient: Quotient, requant: Requant
    ) -> LinearForm | None:
        """Activations; none where a max pool takes the quotients in their place."""
        if any(pool.source == index for pool in self.shared.choices.pools.values()):
            self.quotients[index] = quotient.q
            return None
        return self._clamp(f"layer {index}/activation", quotient.q, requant)

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
