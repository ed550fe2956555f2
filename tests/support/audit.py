"""Layer by layer: errors of the definition, and what a circuit's rows make of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from math import prod
from random import Random

import numpy as np

from kernels.backend import Backend
from kernels.bn254 import R
from prover.circuit.accuracy import AccuracyCircuit
from prover.circuit.constraints import Group
from prover.circuit.sizing.packing import Packing
from prover.model.layers import Layer, Linear, Requant
from prover.model.network import Architecture
from prover.model.planes import Conv2d
from prover.model.pooling import Add, Flatten, MaxPool, SumPool
from tests.support.assignments import Tensor
from tests.support.definition import (
    Range,
    combine,
    compute_extreme,
    list_clamps,
    list_numbers,
    list_quotients,
)
from tests.support.residuals import Residuals
from tests.support.rows import require_equal

NOTHING = np.zeros(0, dtype=object)


def audit(accuracy: AccuracyCircuit, rng: Random, backend: Backend) -> Counter[str]:
    """AssertionError unless the circuit says what the definition says; what kinds it has of all."""
    walk = Audit(Residuals.draw(accuracy, rng, backend))
    for index, layer in enumerate(accuracy.architecture.layers):
        walk.check_layer(index, layer)
    walk.check_count()
    walk.check_parameters()
    walk.circuit.require_tables()
    walk.circuit.require_nothing_else()
    return walk.kinds


@dataclass(eq=False)
class Audit:
    """Values of all layers at random committed wires, and ranges that tables give them.

    values      : None of activations that a max pool takes as quotients
    quotients   : of the layers before such pools, by layer
    multipliers : of the layers that are still to come
    """

    circuit: Residuals
    values: list[Tensor | None] = field(init=False)
    ranges: list[Range] = field(init=False)
    multipliers: list[int] = field(init=False)
    logits: Tensor = field(init=False)
    quotients: dict[int, Tensor] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.values, self.ranges = [self.circuit.images], [(0, 255)]
        self.multipliers = list(self.circuit.multipliers)

    @property
    def architecture(self) -> Architecture:
        return self.circuit.architecture

    def check_layer(self, index: int, layer: Layer) -> None:
        """What its rows say of the values that it takes; its own value is then known."""
        self._note(layer)
        match layer:
            case Linear() | Conv2d():
                self._check_affine(index, layer)
            case Add():
                self._check_sums(index, layer)
            case MaxPool():
                self._check_maxima(index, layer)
            case SumPool() | Flatten():
                z = combine(layer, self._take(layer), NOTHING, NOTHING, self._shape(index))
                self._hand_on(z % R, self._extreme(index, layer))

    def _note(self, layer: Layer) -> None:
        """What there is of a layer, for tests to say that they met it."""
        self.kinds[layer.kind] += 1
        requant = layer.requant
        if requant is not None and not isinstance(requant.multiplier, int):
            self.kinds["multipliers per channel"] += 1
        if isinstance(layer, Conv2d):
            self.kinds["skip"] += layer.has_skip
            self.kinds["coloured border"] += any(layer.pad_values) and any(layer.window.pads)
        if isinstance(layer, Conv2d | SumPool | MaxPool):
            (height, width), strides = layer.window.kernel, layer.window.stride
            self.kinds["jumps over numbers"] += strides[0] > height or strides[1] > width
            self.kinds["strides that kernels do not divide"] += any(
                k > t and k % t for k, t in zip((height, width), strides, strict=True)
            )

    # -- layers that multiply or add ---------------------------------------------------------------

    def _check_affine(self, index: int, layer: Linear | Conv2d) -> None:
        circuit, part = self.circuit, f"layer {index}"
        w, b = circuit.wires(f"{part}/weights"), circuit.wires(f"{part}/biases")
        require_equal(part, circuit.looked_up(f"{part}/weights/range", "weight"), w)
        circuit.require_range(f"{part}/biases/range", b + (1 << 23), 24, exact=True)
        z = combine(layer, self._take(layer), w, b, self._shape(index))
        if layer.requant is None:
            logits = circuit.wires(f"{part}/logits")
            self._require_digits(index, self._bound_logits(index, layer))
            self._require_weighed(index, layer, logits - z)
            self.logits = logits
            return
        error = self._compute_error(index, layer, layer.requant, z)
        self._require_weighed(index, layer, error)
        self._clamp_unless_fused(index, layer.requant)

    def _check_sums(self, index: int, layer: Add) -> None:
        """As many errors a row as its packing says, each a digit; no challenge."""
        z = combine(layer, self._take(layer), NOTHING, NOTHING, self._shape(index))
        error = self._compute_error(index, layer, layer.requant, z).reshape(-1).tolist()
        packing = self._packing(index)
        assert packing.samples == packing.columns == 1
        n, bits = packing.outputs, packing.bits
        packs = [error[i : i + n] for i in range(0, len(error), n)]
        expected = [-sum(e << (bits * k) for k, e in enumerate(pack)) for pack in packs]
        found = self.circuit.residual(f"layer {index}/add/equation")
        require_equal(f"layer {index}", found, np.array(expected, dtype=object))
        self._clamp_unless_fused(index, layer.requant)

    def _compute_error(self, index: int, layer: Layer, requant: Requant, z: Tensor) -> Tensor:
        """q 2^s + rem - 2^(s-1) - m z, which fits the digits of its packs whatever is committed."""
        n = len(requant.multipliers)
        m, self.multipliers = self.multipliers[:n], self.multipliers[n:]
        greatest = self.circuit.accuracy.choices.max_multipliers
        done = len(greatest) - len(self.multipliers)
        part = f"layer {index}/activation"
        q, rem = self.circuit.wires(f"{part}/q"), self.circuit.wires(f"{part}/rem")
        a = self.circuit.require_range(f"{part}/remainder", rem, requant.shift, exact=False)
        least, most = list_quotients(requant)[0], list_quotients(requant)[-1]
        pool = self._find_fused(index)
        if pool is not None:
            bits = self.circuit.accuracy.choices.pools[pool].bits
            least -= 1 << bits
            a = max(a, -bits % self.circuit.table_bits - requant.shift)
            self.quotients[index] = q
        half = 1 << (requant.shift - 1)
        product_most = max(greatest[done - n : done]) * max(map(abs, self._extreme(index, layer)))
        assert product_most < 1 << 47
        # rem < 2^s, so q 2^s + rem reaches neither end.
        above, below = ((most + 1) << requant.shift) - half, half - (least << requant.shift)
        self._require_digits(index, (max(above, below) + product_most) << a)
        column = np.array(m, dtype=object).reshape(-1, *(1 for _ in z.shape[2:]))
        return q * (1 << requant.shift) + rem - half - column * z

    def _clamp_unless_fused(self, index: int, requant: Requant) -> None:
        if index in self.quotients:
            self.values.append(None)
            self.ranges.append((requant.least, requant.greatest))
            return
        y = self._clamp(
            f"layer {index}/activation", self.circuit.wires(f"layer {index}/activation/q"), requant
        )
        self._hand_on(y, (requant.least, requant.greatest))

    def _clamp(self, part: str, q: Tensor, requant: Requant) -> Tensor:
        """y, the pair of it and q looked up in the table of its kind."""
        kind = (requant.q_bits, requant.least, requant.greatest)
        table = f"clamp {list_clamps(self.architecture).index(kind)}"
        y = self.circuit.wires(f"{part}/y")
        pair = q - list_quotients(requant)[0] + self.circuit.challenges["pair"] * y
        label = f"{part}/clamp"
        require_equal(part, self.circuit.looked_up(label, table, [f"{label} second"]), pair)
        return y

    def _require_weighed(self, index: int, layer: Linear | Conv2d, error: Tensor) -> None:
        """The equations are sums of errors, weighed by monomials that differ."""
        if error.ndim == 2:
            error = error[:, :, None, None]
        n_samples, n_outputs, height, width = error.shape
        packing, names = self._packing(index), self.circuit.challenges
        p, pw, po = packing.samples, packing.columns, packing.outputs
        assert p == 1 or index != self.architecture.entrance
        for name, n in (("s", -(-n_samples // p)), ("x", height), ("y", -(-width // pw))):
            assert name in names or n == 1
        s, x, y = (
            _powers(names.get(name, 1), n)
            for name, n in (("s", n_samples), ("x", height), ("y", width))
        )
        sums = [0] * -(-n_outputs // po)
        for n, o, i, j in product(*map(range, error.shape)):
            digit = n % p + p * (j % pw + pw * (o % po))
            weight = s[n // p] * x[i] * y[j // pw] << (packing.bits * digit)
            sums[o // po] -= weight * error[n, o, i, j]
        found = self.circuit.residual(f"layer {index}/{layer.kind}/equation")
        require_equal(f"layer {index}", found, np.array(sums, dtype=object))
        for shared, n in (("samples", p), ("columns", pw), ("outputs", po)):
            self.kinds[f"packs of {shared}"] += n > 1

    def _require_digits(self, index: int, bound: int) -> None:
        """No error, times 2^a, reaches the base of its pack's digits, nor do packs reach r."""
        packing = self._packing(index)
        assert bound < 1 << packing.bits
        assert packing.samples * packing.columns * packing.outputs * packing.bits <= 253
        self.kinds["tight digits"] += bound.bit_length() == packing.bits

    def _bound_logits(self, index: int, layer: Linear | Conv2d) -> int:
        """Levels are of [-2^(v-1), 2^(v-1)), margins of [0, 2^w), integers both."""
        choices = self.circuit.accuracy.choices
        v, w = choices.level_bits, choices.margin_bits
        assert v % self.circuit.table_bits == w % self.circuit.table_bits == 0
        z = max(map(abs, self._extreme(index, layer)))
        assert z + 1 < 1 << (v - 1)
        return (1 << (v - 1)) + (1 << w) + z

    # -- max pools ---------------------------------------------------------------------------------

    def _find_fused(self, index: int) -> int | None:
        """The pool that takes a layer's quotients, if any: alone, and all of them."""
        if self.circuit.has_wires(f"layer {index}/activation/y"):
            return None
        takers = [i for i, x in enumerate(self.architecture.layers) if index + 1 in x.inputs]
        assert len(takers) == 1
        pool = self.architecture.layers[takers[0]]
        assert isinstance(pool, MaxPool)
        _, *plane = self.architecture.shapes[index + 1]
        met = {place for _, numbers in list_numbers(pool.window, plane) for place in numbers}
        assert len(met) == prod(plane)
        return takers[0]

    def _check_maxima(self, index: int, layer: MaxPool) -> None:
        """Differences in range, and a product of them that is zero, for every window."""
        if layer.window.area == 1:
            (x,) = self._take(layer)
            z = np.zeros((len(x), *self._shape(index)), dtype=object)
            for (i, j), [(u, v)] in list_numbers(layer.window, x.shape[2:]):
                z[:, :, i, j] = x[:, :, u, v]
            self._hand_on(z, self.ranges[layer.inputs[0]])
            return
        label, source = f"layer {index}/max", layer.inputs[0] - 1
        is_fused = source in self.quotients
        x = self.quotients[source] if is_fused else self._take(layer)[0]
        greatest = self.circuit.wires(f"{label}/{'q' if is_fused else 'y'}")
        bits = self.circuit.accuracy.choices.pools[index].bits
        requant = self.architecture.layers[source].requant
        low, high = self.ranges[layer.inputs[0]]
        if is_fused:
            assert requant is not None
            low, high = list_quotients(requant)[0], list_quotients(requant)[-1]
        assert high - low < 1 << bits
        self._require_windows(label, layer, x, greatest, bits)
        self.kinds["fused pool" if is_fused else "plain pool"] += 1
        y = greatest
        if is_fused and requant is not None:
            y = self._clamp(label, greatest, requant)
        self._hand_on(y, self.ranges[layer.inputs[0]])

    def _require_windows(
        self, label: str, layer: MaxPool, x: Tensor, greatest: Tensor, bits: int
    ) -> None:
        """Random numbers: who has the same differences and products has the same windows."""
        expected = {name: Counter[int]() for name in ("difference", "one is zero", "equal")}
        for (i, j), numbers in list_numbers(layer.window, x.shape[2:]):
            for n, c in np.ndindex(*x.shape[:2]):
                differences = [(greatest[n, c, i, j] - x[n, c, u, v]) % R for u, v in numbers]
                self.kinds["long products"] += len(numbers) > 16
                if len(numbers) == 1:
                    expected["equal"][-differences[0] % R] += 1
                    continue
                expected["difference"].update(differences)
                expected["one is zero"][prod(differences) % R] += 1
        found = {name: Counter[int]() for name in expected}
        for block in self.circuit.accuracy.circuit.row_blocks:
            part, _, name = block.label.rpartition("/")
            if not part.startswith(f"{label}/windows"):
                continue
            if name in ("one is zero", "equal"):
                found[name].update(self.circuit.residual(block.label).reshape(-1).tolist())
            elif block.label.endswith("/difference/low"):
                values = self.circuit.read_range(part, bits)
                found["difference"].update(values.reshape(-1).tolist())
        assert found == expected, label
        self.kinds["windows of one number"] += bool(expected["equal"])

    # -- the count ---------------------------------------------------------------------------------

    def check_count(self) -> None:
        """Hits are bits, one a sample, of the verifier's label; levels split the logits."""
        circuit, part = self.circuit, "correctness/count"
        y, hit, level = (circuit.wires(f"{part}/{name}") for name in ("label", "hit", "level"))
        n, n_classes = hit.shape
        counted = hit.sum(axis=1)
        require_equal(part, circuit.residual(f"{part}/hit is boolean"), hit * (hit - 1))
        require_equal(part, circuit.residual(f"{part}/one hit at most"), counted * (counted - 1))
        own = (hit * np.arange(1, n_classes + 1)).sum(axis=1)
        require_equal(part, circuit.residual(f"{part}/hit is the label"), counted * y - own)
        labels = [label + 1 for label in circuit.labels] + [0] * (n - len(circuit.labels))
        assert "s" in circuit.challenges or n == 1
        s = _powers(circuit.challenges.get("s", 1), n)
        off = sum(power * (want - has) for power, want, has in zip(s, labels, y, strict=True))
        require_equal(part, circuit.residual(f"{part}/labels"), np.array(off, dtype=object))
        require_equal(
            part,
            circuit.residual(f"{part}/count"),
            np.array(circuit.claimed - hit.sum(), dtype=object),
        )
        choices = circuit.accuracy.choices
        margins = level[:, None] - self.logits - 1 + hit * (1 << choices.margin_bits)
        circuit.require_range(f"{part}/margin", margins, choices.margin_bits, exact=True)
        raised = level + (1 << (choices.level_bits - 1))
        circuit.require_range(f"{part}/level range", raised, choices.level_bits, exact=True)

    def check_parameters(self) -> None:
        """One linked group, in the order of a commitment: layer by layer, weights, then biases."""
        accuracy = self.circuit.accuracy
        assert accuracy.r1cs.linked == (self.architecture.n_parameters,)
        blocks = [b for b in accuracy.circuit.wire_blocks.values() if b.group == Group.LINKED]
        layers = enumerate(self.architecture.layers)
        own = [i for i, layer in layers if isinstance(layer, Linear | Conv2d)]
        expected = [f"layer {i}/{name}" for i in own for name in ("weights", "biases")]
        assert [b.label for b in sorted(blocks, key=lambda b: b.start)] == expected

    # -- values ------------------------------------------------------------------------------------

    def _take(self, layer: Layer) -> list[Tensor]:
        found = [self.values[number] for number in layer.inputs]
        return [value for value in found if value is not None]

    def _hand_on(self, value: Tensor, bounds: Range) -> None:
        self.values.append(value)
        self.ranges.append(bounds)

    def _shape(self, index: int) -> tuple[int, ...]:
        return self.architecture.shapes[index + 1]

    def _extreme(self, index: int, layer: Layer) -> Range:
        shapes = [self.architecture.shapes[number] for number in layer.inputs]
        ranges = [self.ranges[number] for number in layer.inputs]
        return compute_extreme(layer, shapes, ranges, self._shape(index))

    def _packing(self, index: int) -> Packing:
        return self.circuit.accuracy.choices.packings[index].packing


def _powers(base: int, n: int) -> list[int]:
    return [pow(base, k, R) for k in range(n)]
