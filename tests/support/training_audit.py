"""What the rows of a training step demand, against PROTOCOL 4.6, number by number.

All wires that a prover commits to are random elements of the field (`tests.support.rows`): the rows
hold, whatever is committed, if and only if the errors of the definition, weighed, are zero.
Nothing here is taken of the compiler but names of wires and rows, packs and widths of ranges;
that digits hold all errors which those ranges admit is asserted beside it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from math import exp, prod
from random import Random

import numpy as np

from kernels.array import FrArray
from kernels.backend import Backend
from kernels.bn254 import R
from prover.circuit.constraints import Group
from prover.circuit.sizing.packing import Packing
from prover.circuit.training.export import ExportCircuit
from prover.circuit.training.step import StepCircuit
from prover.circuit.witness import solve_private
from prover.training.recipe import TrainingRecipe
from tests.support.assignments import Tensor, draw_scalars
from tests.support.rows import Rows, read_sides, require_equal

PIXEL, WEIGHT = 255, 127  # the greatest
EXPONENTIALS = [round(4096 * exp(-t / 16)) for t in range(256)]


def audit_step(step: StepCircuit, rng: Random, backend: Backend) -> Counter[str]:
    """AssertionError unless the circuit says what the definition says; what cases it has."""
    n_real = rng.randint(1, step.recipe.batch_size)
    walk = StepAudit(step, _draw(step, rng, backend, [n_real]), n_real)
    walk.check_groups()
    walk.check_masters()
    walk.rows.require_range("data/pixels/range", walk.inputs[0], 8, exact=True, table=walk.own(8))
    walk.check_activations()
    walk.check_labels()
    walk.check_loss()
    walk.check_errors()
    walk.check_products()
    walk.check_gradients()
    walk.check_tables()
    walk.rows.require_nothing_else()
    return walk.kinds


def audit_export(export: ExportCircuit, rng: Random, backend: Backend) -> None:
    """AssertionError unless W and beta W_b are those of the masters, and no more is said."""
    rows, recipe = _draw(export, rng, backend, []), export.recipe
    n = recipe.architecture.n_parameters
    assert export.r1cs.linked == (n, n)
    labels = [label for group in ("masters", "model") for label in _list_tensors(recipe, group)]
    assert _list_linked(rows) == labels
    for label in _list_tensors(recipe):
        masters, seen = rows.wires(f"masters/{label}"), rows.wires(f"model/{label}")
        if label.endswith("biases"):
            scaled, seen = seen, rows.wires(f"{label}/seen")
            error = scaled - recipe.bias_input * seen
            require_equal(label, rows.residual(f"{label}/scaled"), -error)
        _check_rounding(rows, recipe, label, masters, seen, export.plan.ranges.own)
    _check_ranges(rows, export.plan.ranges.tables)
    rows.require_table("weight table", "weight", range(-WEIGHT, WEIGHT + 1))
    rows.require_nothing_else()


@dataclass(eq=False)
class StepAudit:
    """Values at random committed wires: what each layer takes, and the errors of what it makes.

    inputs   : [N, n_in] of each layer; deltas : [N, n_out] of each layer
    distance : [N, classes], of logits to the greatest
    """

    step: StepCircuit
    rows: Rows
    n_real: int
    inputs: list[Tensor] = field(init=False)
    deltas: list[Tensor] = field(init=False)
    distance: Tensor = field(init=False)
    kinds: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        hidden = range(self.recipe.n_layers - 1)
        self.inputs = [self.rows.wires("data/images")]
        self.inputs += [self.rows.wires(f"layer {i}/activation/a") for i in hidden]
        self.deltas = [self.rows.wires(f"layer {i}/error/delta") for i in hidden]
        self.deltas.append(self.rows.wires("loss/error/delta"))

    @property
    def recipe(self) -> TrainingRecipe:
        return self.step.recipe

    def own(self, bits: int) -> int | None:
        """As `Rows.require_range` takes it."""
        return bits if bits in self.step.plan.ranges.own else None

    def in_range(self, label: str, value: Tensor, bits: int) -> None:
        self.rows.require_range(label, value, bits, exact=True, table=self.own(bits))

    # -- what is committed to ----------------------------------------------------------------------

    def check_groups(self) -> None:
        """Three linked groups, masters in the order of a model, then images and y."""
        n = self.recipe.architecture.n_parameters
        n_data = self.recipe.batch_size * (self.recipe.widths[0] + 1)
        assert self.step.r1cs.linked == (n, n, n_data)
        expected = [x for group in ("before", "after") for x in _list_tensors(self.recipe, group)]
        assert _list_linked(self.rows) == [*expected, "data/images", "data/y"]

    def check_masters(self) -> None:
        for label in _list_tensors(self.recipe):
            masters, seen = self.rows.wires(f"before/{label}"), self.rows.wires(f"{label}/seen")
            own = self.step.plan.ranges.own
            _check_rounding(self.rows, self.recipe, label, masters, seen, own)

    # -- numbers of a layer ------------------------------------------------------------------------

    def check_activations(self) -> None:
        point = self.rows.challenges["point"]
        ranges = list(dict.fromkeys(x.q_range for x in self.recipe.hidden))
        for index, requant in enumerate(self.recipe.hidden):
            part = f"layer {index}/activation"
            q, rem, a, gate = (self.rows.wires(f"{part}/{x}") for x in ("q", "rem", "a", "gate"))
            self.in_range(f"{part}/remainder", rem, requant.shift)
            row = q - requant.q_range[0] + point * a + point**2 * gate
            table = f"clamp {ranges.index(requant.q_range)}"
            products = [f"{part}/second", f"{part}/third"]
            require_equal(part, self.rows.looked_up(f"{part}/clamp", table, products), row)
        self.kinds["layers that share a table"] += len(ranges) < len(self.recipe.hidden)

    def check_labels(self) -> None:
        part, y, hit = "loss/labels", self.rows.wires("data/y"), self.rows.wires("loss/labels/hit")
        real = sum(hit[:, c] for c in range(hit.shape[1]))
        own = sum((c + 1) * hit[:, c] for c in range(hit.shape[1]))
        for name, error in {
            "hit is boolean": hit * (hit - 1),
            "one hit at most": real * (real - 1),
            "hit is the label": y - own,
            "count": np.array(self.n_real - real.sum(), dtype=object),
        }.items():
            require_equal(name, self.rows.residual(f"{part}/{name}"), error)

    def check_loss(self) -> None:
        rows, recipe, bits = self.rows, self.recipe, self.step.plan.loss_bits
        step, excess, rem, share, p, p_rem = (
            rows.wires(f"loss/softmax/{x}")
            for x in ("step", "excess", "rem", "share", "p", "p_rem")
        )
        top, hit = rows.wires("loss/softmax/top"), rows.wires("loss/labels/hit")
        self.in_range("loss/distance/top", top + 2 ** (bits.top - 1), bits.top)
        self.in_range("loss/distance/rem", rem, recipe.logit_shift)
        self.in_range("loss/distance/excess", excess, bits.excess)
        self.distance = (step + excess) * 2**recipe.logit_shift + rem
        zero = np.array([prod(row) for row in self.distance.tolist()], dtype=object)
        require_equal("greatest", rows.residual("loss/distance/product is zero"), zero)
        require_equal(
            "saturation", rows.residual("loss/exponential/saturation"), excess * (255 - step)
        )
        pairs = rows.looked_up("loss/exponential/row", "exp", ["loss/exponential/second"])
        require_equal("exp", pairs, step + rows.challenges["point"] * share)
        total = np.array([[sum(row)] for row in share.tolist()], dtype=object)
        raised = share * 2 ** (recipe.loss_bits + 1) + total
        require_equal(
            "p", rows.residual("loss/probability/division"), 2 * total * p + p_rem - raised
        )
        self.in_range("loss/probability/p", p, bits.p)
        self.in_range("loss/probability/rem", p_rem, bits.p_rem)
        self.in_range("loss/probability/rem below", 2 * total - 1 - p_rem, bits.p_rem)
        real = np.array([[sum(row)] for row in hit.tolist()], dtype=object)
        error = real * p - hit * 2**recipe.loss_bits - self.deltas[-1]
        require_equal("delta", rows.residual("loss/error/of real samples"), error)
        self._check_widths()

    def _check_widths(self) -> None:
        """Ranges hold all that a true step has; no equation of the loss can wrap."""
        bits, z = self.step.plan.loss_bits, self._bound_z(self.recipe.n_layers - 1)
        total_most = 4096 * self.recipe.widths[-1]
        assert z < 2 ** (bits.top - 1)
        assert (2 * z >> self.recipe.logit_shift) - 255 < 2**bits.excess
        assert 2**self.recipe.loss_bits < 2**bits.p
        assert 2 * total_most <= 2**bits.p_rem
        assert total_most * 2 ** (bits.p + 1) + 2**bits.p_rem < 2**128

    def check_errors(self) -> None:
        recipe = self.recipe
        for index in range(recipe.n_layers - 1):
            part = f"layer {index}/error"
            w, w_rem = self.rows.wires(f"{part}/w"), self.rows.wires(f"{part}/w_rem")
            self.in_range(f"{part}/range", w + 2 ** (recipe.error_bits - 1), recipe.error_bits)
            self.in_range(f"{part}/remainder", w_rem, recipe.backward_shift)
            gate = self.rows.wires(f"layer {index}/activation/gate")
            gated = self.rows.residual(f"{part}/gate")
            require_equal(part, gated, gate * w - self.deltas[index])

    # -- products ----------------------------------------------------------------------------------

    def check_products(self) -> None:
        for index in range(self.recipe.n_layers):
            self._check_forward(index)
            if index:
                self._check_backward(index)

    def _check_forward(self, index: int) -> None:
        rows, recipe, x = self.rows, self.recipe, self.inputs[index]
        w, b = (rows.wires(f"layer {index}/{kind}/seen") for kind in ("weights", "biases"))
        made = np.zeros((len(x), len(w)), dtype=object)
        for n, i in np.ndindex(*made.shape):
            made[n, i] = sum(w[i, j] * x[n, j] for j in range(x.shape[1]))
            made[n, i] += recipe.bias_input * b[i]
        if index == recipe.n_layers - 1:
            bits = self.step.plan.loss_bits
            error = rows.wires("loss/softmax/top")[:, None] - self.distance - made
            most = 2 ** (bits.top - 1) + ((255 + 2**bits.excess) << recipe.logit_shift)
        else:
            requant, part = recipe.hidden[index], f"layer {index}/activation"
            half = 2 ** (requant.shift - 1)
            q, rem = rows.wires(f"{part}/q"), rows.wires(f"{part}/rem")
            error = q * 2**requant.shift + rem - half - made
            least, greatest = requant.q_range
            most = max(half - least * 2**requant.shift, (greatest + 1) * 2**requant.shift - half)
        packing = self.step.plan.forward[index].packing
        self._require_weighed(f"layer {index}/forward", error, packing, most + self._bound_z(index))

    def _check_backward(self, index: int) -> None:
        """Of what a layer says to the one before it."""
        recipe, part, delta = self.recipe, f"layer {index - 1}/error", self.deltas[index]
        w, w_rem = self.rows.wires(f"{part}/w"), self.rows.wires(f"{part}/w_rem")
        weights = self.rows.wires(f"layer {index}/weights/seen")
        error = w * 2**recipe.backward_shift + w_rem - 2 ** (recipe.backward_shift - 1)
        for n, j in np.ndindex(*error.shape):
            error[n, j] -= sum(delta[n, i] * weights[i, j] for i in range(len(weights)))
        half = 2 ** (recipe.backward_shift - 1)
        most = half * 2**recipe.error_bits + half
        most += len(weights) * self._bound_delta(index) * WEIGHT
        packing = self.step.plan.backward[index - 1].packing
        self._require_weighed(f"layer {index}/backward", error, packing, most)

    def check_gradients(self) -> None:
        """M' = M - c G, each equation a polynomial in s whose coefficients are the errors."""
        point, rate = self.rows.challenges["point"], self.recipe.rate
        beta = self.recipe.bias_input
        for index, (x, delta) in enumerate(zip(self.inputs, self.deltas, strict=True)):
            taken = np.concatenate([x, np.full((len(x), 1), beta, dtype=object)], axis=1)
            before, after = (
                np.concatenate(
                    [
                        self.rows.wires(f"{group}/layer {index}/weights"),
                        self.rows.wires(f"{group}/layer {index}/biases")[:, None],
                    ],
                    axis=1,
                )
                for group in ("before", "after")
            )
            sums = [0] * len(before)
            for i, j in np.ndindex(*before.shape):
                gradient = sum(delta[n, i] * taken[n, j] for n in range(len(x)))
                error = before[i, j] - after[i, j] - rate * gradient
                sums[i] -= pow(point, j, R) * error
            found = self.rows.residual(f"layer {index}/gradient/equation")
            require_equal(f"gradient {index}", found, np.array(sums, dtype=object))
            assert rate * len(x) * PIXEL * self._bound_delta(index) < 2**48

    def _require_weighed(self, label: str, error: Tensor, packing: Packing, most: int) -> None:
        """The equations are sums of errors, each with a monomial of its own, a digit each."""
        n_samples, n_outputs = error.shape
        p, po, bits = packing.samples, packing.outputs, packing.bits
        assert packing.columns == 1
        assert most < 2**bits, f"{label}: digits too short"
        assert p * po * bits <= 253
        point = self.rows.challenges["point"]
        sums = [0] * -(-n_outputs // po)
        for n, o in product(range(n_samples), range(n_outputs)):
            digit = n % p + p * (o % po)
            sums[o // po] -= pow(point, n // p, R) * error[n, o] << (bits * digit)
        found = self.rows.residual(f"{label}/equation")
        require_equal(label, found, np.array(sums, dtype=object))
        self.kinds["packs of samples"] += p > 1
        self.kinds["packs of outputs"] += po > 1
        self.kinds["several packs"] += p < n_samples
        self.kinds["tight digits"] += most.bit_length() == bits

    def _bound_z(self, index: int) -> int:
        return WEIGHT * (self.recipe.widths[index] * PIXEL + self.recipe.bias_input)

    def _bound_delta(self, index: int) -> int:
        """Of the logits p - 2^e [c = label], 0 <= p <= 2^e; else what the range of w admits."""
        if index == self.recipe.n_layers - 1:
            return 2**self.recipe.loss_bits
        return 2 ** (self.recipe.error_bits - 1)

    # -- tables ------------------------------------------------------------------------------------

    def check_tables(self) -> None:
        rows, point = self.rows, self.rows.challenges["point"]
        _check_ranges(rows, self.step.plan.ranges.tables)
        rows.require_table("weight table", "weight", range(-WEIGHT, WEIGHT + 1))
        rows.require_table("exp table", "exp", [t + point * e for t, e in enumerate(EXPONENTIALS)])
        for k, (low, high) in enumerate(dict.fromkeys(x.q_range for x in self.recipe.hidden)):
            values = [
                q - low + point * min(max(q, 0), 255) + point**2 * int(0 < q < 255)
                for q in range(low, high + 1)
            ]
            rows.require_table(f"clamp table {k}", f"clamp {k}", values)


def _draw(
    made: StepCircuit | ExportCircuit, rng: Random, backend: Backend, public: list[int]
) -> Rows:
    """public : what comes before the challenges"""
    challenges = draw_scalars(rng, made.n_challenges)
    linked, advice = (
        FrArray.from_ints([rng.randrange(R) for _ in range(n)])
        for n in (made.r1cs.n_linked, made.r1cs.n_advice)
    )
    z = solve_private(
        made.circuit,
        public=FrArray.from_ints([*public, *challenges]),
        model=linked,
        advice=advice,
        backend=backend,
    )
    wires, sides = read_sides(made.circuit, z, backend)
    table_bits = made.plan.ranges.table_bits
    return Rows(
        circuit=made.circuit,
        table_bits=table_bits,
        limbs=f"range {table_bits}",
        challenges=dict(zip(made.plan.challenges, challenges, strict=True)),
        z=wires,
        sides=sides,
    )


def _list_tensors(recipe: TrainingRecipe, group: str = "") -> list[str]:
    """Labels, layer by layer, as `QuantizedModel.wires` has them."""
    prefix = f"{group}/" if group else ""
    layers = range(len(recipe.widths) - 1)
    return [f"{prefix}layer {i}/{kind}" for i in layers for kind in ("weights", "biases")]


def _list_linked(rows: Rows) -> list[str]:
    blocks = [b for b in rows.circuit.wire_blocks.values() if b.group == Group.LINKED]
    return [block.label for block in sorted(blocks, key=lambda block: block.start)]


def _check_rounding(
    rows: Rows,
    recipe: TrainingRecipe,
    label: str,
    masters: Tensor,
    seen: Tensor,
    own: tuple[int, ...],
) -> None:
    """W of the table, M + 2^(u-1) - 2^u W in [0, 2^u)."""
    u = recipe.master_bits
    require_equal(label, rows.looked_up(f"{label}/weight", "weight"), seen)
    rem = masters + 2 ** (u - 1) - 2**u * seen
    rows.require_range(f"{label}/rounding", rem, u, exact=True, table=u if u in own else None)


def _check_ranges(rows: Rows, tables: tuple[int, ...]) -> None:
    for bits in tables:
        rows.require_table(f"range {bits} table", f"range {bits}", range(1 << bits))
