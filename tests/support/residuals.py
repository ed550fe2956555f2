"""What a compiled circuit says, row by row, against what PROTOCOL 4 says that it says.

All committed wires are random elements of the field, challenges too, and the verifier computes the
public wires from samples of its own. So every row that defines no wire leaves a residual, which is
compared to the one that nested loops over section 1 give (`definition`): two polynomials that
differ agree there with chance degree / r. That is stronger than any forged witness: whatever is
committed, the rows hold if and only if the errors of the definition, weighed, are zero.

What is left to arithmetic is asserted beside it: weights of errors are monomials that differ,
digits hold all that tables let an error be, and every wire and every row was accounted for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from random import Random

import numpy as np

from kernels.array import FrArray, FrMont, SparseMatrix
from kernels.backend import Backend
from kernels.bn254 import R
from prover.circuit.accuracy import AccuracyCircuit
from prover.circuit.constraints import Group, RowBlock, Rule
from prover.circuit.witness import solve_private
from prover.model.network import Architecture
from tests.support.assignments import Tensor, draw_scalars
from tests.support.definition import list_clamps

MULTIPLIER_MAX = (1 << 15) - 1


@dataclass(eq=False)
class Residuals:
    """A circuit at a random assignment, and which parts of it were asked for.

    sides : A z, B z, C z; asked : labels of rows and wires; lookups : labels, by their challenge
    """

    accuracy: AccuracyCircuit
    images: Tensor
    labels: list[int]
    claimed: int
    multipliers: list[int]
    challenges: dict[str, int]
    z: list[int]
    sides: list[list[int]]
    asked: set[str] = field(default_factory=set)
    lookups: dict[str, list[str]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rows = {block.label: block for block in self.accuracy.circuit.row_blocks}

    @classmethod
    def draw(cls, accuracy: AccuracyCircuit, rng: Random, backend: Backend) -> Residuals:
        """Slots without a sample, multipliers up to the greatest that the verifier takes."""
        layout, arch, r1cs = accuracy.public_layout, accuracy.architecture, accuracy.r1cs
        n = accuracy.n_samples
        n_real = rng.randint(max(1, n - 2), n)
        images = np.frombuffer(rng.randbytes(n_real * prod(arch.input_shape)), dtype=np.uint8)
        images = images.reshape((n_real, *arch.input_shape))
        labels = [rng.randrange(arch.n_classes) for _ in range(n_real)]
        claimed, challenges = rng.randint(0, n_real), draw_scalars(rng, len(layout.challenges))
        greatest = [min(m, MULTIPLIER_MAX) for m in accuracy.choices.max_multipliers]
        multipliers = [rng.choice([1, m, rng.randint(1, m)]) for m in greatest]
        public = layout.compute(
            claimed=claimed,
            multipliers=multipliers,
            images=images,
            labels=np.array(labels, dtype=np.uint8),
            challenges=challenges,
        )
        model, advice = (
            FrArray.from_ints([rng.randrange(R) for _ in range(count)])
            for count in (r1cs.n_linked, r1cs.n_advice)
        )
        z = solve_private(
            accuracy.circuit, public=public, model=model, advice=advice, backend=backend
        )
        x = np.zeros((n, *arch.input_shape), dtype=object)
        x[:n_real] = images.astype(object)

        def read(values: FrMont) -> list[int]:
            return backend.download(backend.from_mont(values)).to_ints()

        return cls(
            accuracy=accuracy,
            images=x,
            labels=labels,
            claimed=claimed,
            multipliers=multipliers,
            challenges=dict(zip(layout.challenges, challenges, strict=True)),
            z=read(z),
            sides=[read(backend.matvec(m, z)) for m in r1cs.matrices],
        )

    @property
    def architecture(self) -> Architecture:
        return self.accuracy.architecture

    @property
    def table_bits(self) -> int:
        return self.accuracy.choices.widths.table_bits

    def wires(self, label: str) -> Tensor:
        """Values of committed wires: weights and biases of the model's group, others advice."""
        block = self.accuracy.circuit.wire_blocks[label]
        is_model = label.endswith(("/weights", "/biases"))
        assert block.group == (Group.LINKED if is_model else Group.ADVICE), label
        self.asked.add(label)
        return self._shape(self.z[self.accuracy.circuit.columns(block)], block.shape)

    def has_wires(self, label: str) -> bool:
        return label in self.accuracy.circuit.wire_blocks

    def residual(self, label: str) -> Tensor:
        """A z o B z - C z of rows that define nothing: never zero, or they would demand nothing."""
        block = self.rows[label]
        assert block.rule is None, label
        self.asked.add(label)
        a, b, c = (side[block.start : block.stop] for side in self.sides)
        found = [(x * y - w) % R for x, y, w in zip(a, b, c, strict=True)]
        assert all(found), label
        return self._shape(found, block.shape)

    def looked_up(self, label: str, challenge: str) -> Tensor:
        """f of rows 1 / (X + f): linear in committed wires, but for products g y of a pair."""
        block, side = self.rows[label], self.accuracy.r1cs.b
        assert block.rule is Rule.QUOTIENT, label
        self.asked.add(label)
        self.lookups.setdefault(challenge, []).append(label)
        assert set(self.sides[2][block.start : block.stop]) == {1}
        private = set(self._columns(side, block)) & set(self._private(None))
        assert private <= set(self._private(f"{label} second")), (
            f"{label} looks up what is not committed"
        )
        x = self.challenges[challenge]
        return self._shape([(v - x) % R for v in self._values(label)], block.shape)

    def require_range(self, label: str, value: Tensor, bits: int, *, exact: bool) -> int:
        """The value is in a range: limbs of it are what is looked up.

        returns : a, if multiples of 2^-a pass
        """
        require_equal(label, self.read_range(label, bits), value)
        a = -bits % self.table_bits
        assert (f"{label}/whole" in self.rows) == (exact and a > 0)
        if not exact or not a:
            return a
        scaled = self._values(f"{label}/low")
        low = np.array([(v - self.challenges["range"]) * pow(2, -a, R) for v in scaled])
        require_equal(label, self.looked_up(f"{label}/whole", "range").reshape(-1), low)
        return 0

    def read_range(self, label: str, bits: int) -> Tensor:
        """The only value, of so many bits, that limbs looked up in the range table admit.

        The lowest limb is scaled, so that it fills the table; others are of all its bits.
        """
        n_limbs = -(-bits // self.table_bits)
        lowest = bits - (n_limbs - 1) * self.table_bits
        value = self.looked_up(f"{label}/low", "range") * pow(2, lowest - self.table_bits, R)
        if n_limbs > 1:
            limbs = self.wires(f"{label}/limbs")
            assert limbs.shape == (*value.shape, n_limbs - 1)
            require_equal(label, self.looked_up(f"{label}/high", "range"), limbs)
            for i in range(n_limbs - 1):
                value = value + limbs[..., i] * 2 ** (lowest + i * self.table_bits)
        found: Tensor = value % R
        return found

    def require_tables(self) -> None:
        """Distinct public rows, and for each table the sum over the lookups with its challenge."""
        tables: dict[str, tuple[str, Iterable[int]]] = {
            "range table": ("range", range(1 << self.table_bits)),
            "weight table": ("weight", range(-127, 128)),
        }
        g = self.challenges.get("pair", 0)
        for k, (bits, low, high) in enumerate(list_clamps(self.architecture)):
            first = 1 << (bits - 1)
            pairs = [u + g * min(max(u - first, low), high) for u in range(1 << bits)]
            tables[f"clamp table {k}"] = (f"clamp {k}", pairs)
        for label, (challenge, values) in tables.items():
            block = self.rows[f"{label}/row"]
            self.asked.add(block.label)
            x = self.challenges[challenge]
            assert self.sides[1][block.start : block.stop] == [(x + v) % R for v in values]
            counts = self.wires(f"{label}/multiplicity").tolist()
            assert self.sides[2][block.start : block.stop] == counts
            found = sum(sum(self._defined(self.rows[name])) for name in self.lookups.pop(challenge))
            shares = sum(self._defined(block))
            require_equal(
                label, self.residual(f"{label}/sum"), np.array(shares - found, dtype=object)
            )
        assert not self.lookups

    def require_nothing_else(self) -> None:
        """No lookup, no row that demands, and no committed wire was left out."""
        shares = ("positions/",)  # inverses of challenges are quotients, but no lookups
        demands = [
            block.label
            for block in self.accuracy.circuit.row_blocks
            if block.rule is None
            or (block.rule is Rule.QUOTIENT and not block.label.startswith(shares))
        ]
        wires = self.accuracy.circuit.wire_blocks.values()
        committed = [b.label for b in wires if b.group in (Group.LINKED, Group.ADVICE)]
        assert [label for label in (*demands, *committed) if label not in self.asked] == []

    def _values(self, label: str) -> list[int]:
        """X + f of a block of lookups."""
        block = self.rows[label]
        return self.sides[1][block.start : block.stop]

    def _shape(self, values: list[int], shape: tuple[int, ...]) -> Tensor:
        return np.array(values, dtype=object).reshape(shape)

    def _defined(self, block: RowBlock) -> list[int]:
        assert block.defines is not None
        return self.z[self.accuracy.circuit.columns(block.defines)]

    def _private(self, label: str | None) -> range:
        """Columns of all private wires, or of a block of them; none where there is no such."""
        r1cs = self.accuracy.r1cs
        if label is None:
            return range(r1cs.private.start, r1cs.private.stop)
        block = self.accuracy.circuit.wire_blocks.get(label)
        columns = slice(0, 0) if block is None else self.accuracy.circuit.columns(block)
        return range(columns.start, columns.stop)

    def _columns(self, matrix: SparseMatrix, block: RowBlock) -> list[int]:
        found: list[int] = matrix.cols[
            matrix.indptr[block.start] : matrix.indptr[block.stop]
        ].tolist()
        return found


def require_equal(what: str, found: Tensor, expected: Tensor) -> None:
    """Of the same shape, and equal mod r."""
    assert found.shape == expected.shape, what
    assert bool(np.all(found % R == expected % R)), what
