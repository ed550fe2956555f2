"""Packing: one product row of Freivalds' check serves several samples and outputs (PROTOCOL 4.1).

The check of a layer demands that every error e_nj = T_nj - m Z_nj - (rounding) be zero, n a sample
and j an output. Errors are bounded whatever the committed wires are, since all that enters them is
in a table: |e| <= B, and 2^a e is an integer where a remainder may be a fraction j / 2^a. So they
fit into digits of one field element, p samples and po outputs together:

    E = sum_{i < p, o < po} C^(i + p o) e_io,        C = 2^c > 2^a B,        p po c <= 253

    holds : let d_io = 2^a e_io, integers below C in absolute value. Then 2^a E = sum C^k d_k, and
            |2^a E| <= (C - 1)(1 + C + ... + C^(p po - 1)) < C^(p po) <= 2^253 < r, so E = 0 mod r
            says that the sum of integers is 0. Modulo C it is d_0, which is below C: d_0 = 0. The
            rest is divisible by C, and so on: every e is zero.

In place of s^n a sample has the weight s^(n div p) C^(n mod p), and what has constant coefficients
is linear in wires, so only packs cost a row. A pack may be short: digits that are not there are 0.
Columns of a convolution's output share packs alike, pw of them: then C^(i + p j + p pw o).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kernels.bn254 import R
from prover.circuit.linear_form import LinearForm

CAPACITY_BITS = 253
"""Bits of a pack: 2^253 < r."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How a layer is packed: `samples` p, `columns` pw and `outputs` po a pack, `bits` c a digit.

    columns : positions side by side of a convolution's output; its `outputs` are channels
    Raises ValueError when a pack does not fit into a field element.
    """

    samples: int = 1
    columns: int = 1
    outputs: int = 1
    bits: int = CAPACITY_BITS

    def __post_init__(self) -> None:
        if min(self.samples, self.columns, self.outputs, self.bits) < 1:
            raise ValueError("a packing is of at least one sample, column, output and bit")
        if self.samples * self.columns * self.outputs * self.bits > CAPACITY_BITS:
            raise ValueError(f"a pack has at most {CAPACITY_BITS} bits")

    @property
    def limit(self) -> int:
        """C: errors times 2^a must be less than this in absolute value."""
        return 1 << self.bits

    def count_packs(self, n_samples: int) -> int:
        """Packs that n_samples samples make; the last one may be short."""
        return -(-n_samples // self.samples)

    def count_blocks(self, width: int) -> int:
        """Packs that a row of outputs makes; the last one may be short."""
        return -(-width // self.columns)

    def count_groups(self, n_outputs: int) -> int:
        """Groups that n_outputs outputs make; the last one may be short."""
        return -(-n_outputs // self.outputs)

    def pack_samples(self, form: LinearForm, *, axis: int = 0) -> LinearForm:
        """sum_i C^i form[p m + i] for every pack m: `axis` shrinks from N to `count_packs(N)`."""
        return _pack(form, axis, self.samples, self.bits)

    def pack_columns(self, form: LinearForm, *, axis: int) -> LinearForm:
        """sum_j C^(p j) form[pw b + j] for every block b: `axis` shrinks to `count_blocks`."""
        return _pack(form, axis, self.columns, self.bits * self.samples)

    def pack_outputs(self, form: LinearForm, *, axis: int) -> LinearForm:
        """sum_o C^(p pw o) form[po g + o] for every group g: `axis` shrinks to `count_groups`."""
        return _pack(form, axis, self.outputs, self.bits * self.samples * self.columns)

    def sum_weights(self, powers: LinearForm, n_samples: int) -> LinearForm:
        """sum_n s^(n div p) C^(n mod p) over all samples, as a form over powers of s.

        powers : 1, s, s^2, ..., LinearForm[at least count_packs(n_samples)]
        """
        pack = np.arange(n_samples) // self.samples
        return powers[pack].shifted(np.arange(n_samples) % self.samples * self.bits).sum(0)

    def spread_columns(self, grid: LinearForm, width: int) -> LinearForm:
        """Weights of all positions of a plane, from those of its blocks: [height, width] of
        [height, at least count_blocks(width)]."""
        column = np.arange(width)
        shifts = column % self.columns * (self.bits * self.samples)
        return grid[:, column // self.columns].shifted(shifts)

    def compute_column_weights(self, y: int, width: int) -> list[int]:
        """y^(j div pw) C^(p (j mod pw)) mod r of every column."""
        shift = self.bits * self.samples
        return [
            pow(y, j // self.columns, R) * (1 << shift * (j % self.columns)) % R
            for j in range(width)
        ]

    def compute_weights(self, s: int, n_samples: int) -> list[int]:
        """s^(n div p) C^(n mod p) mod r of every sample."""
        weights, power = [], 1
        for n in range(n_samples):
            if n and n % self.samples == 0:
                power = power * s % R
            weights.append((power << (self.bits * (n % self.samples))) % R)
        return weights


def _pack(form: LinearForm, axis: int, size: int, bits: int) -> LinearForm:
    """sum_i 2^(bits i) form[size m + i] along an axis, for every m."""
    if size == 1:
        return form
    form = form.pad(axis, -form.shape[axis] % size)
    before, after = form.shape[:axis], form.shape[axis + 1 :]
    form = form.reshape((*before, form.shape[axis] // size, size, *after))
    exponents = np.arange(size, dtype=np.int64) * bits
    return form.shifted(exponents.reshape(-1, *(1 for _ in after))).sum(axis + 1)


@dataclass(frozen=True, kw_only=True)
class RequantBound:
    """Numbers that bound the error of a requantizing layer.

        e = q 2^s + rem - 2^(s-1) - m z

    accumulator   : the layer's public bound on |z|
    q_range       : least and greatest q of its table
    fraction_bits : a; 2^a rem is an integer of [0, 2^(s+a))
    """

    accumulator: int
    shift: int
    q_range: tuple[int, int]
    fraction_bits: int

    @cached_property
    def rounded(self) -> int:
        """Greatest |q 2^s + rem - 2^(s-1)|, rounded up."""
        half = 1 << (self.shift - 1)
        least, greatest = self.q_range
        return max(half - (least << self.shift), ((greatest + 1) << self.shift) - half)

    def compute(self, multiplier: int) -> int:
        """Greatest |2^a e| under multipliers up to this one."""
        return (self.rounded + multiplier * self.accumulator) << self.fraction_bits

    def find_multiplier(self, limit: int) -> int:
        """Greatest m with compute(m) < limit; below 1 where there is none."""
        most = -(-limit // (1 << self.fraction_bits)) - 1
        return (most - self.rounded) // self.accumulator


def bound_logits(*, accumulator: int, level_bits: int, margin_bits: int) -> int:
    """Greatest |logit - z|, an integer, over logits that the count's ranges admit (PROTOCOL 4.3).

    With l in [-2^(v-1), 2^(v-1)), e in {0, 1} and l - logit - 1 + 2^w e in [0, 2^w), a logit is
    from -2^(v-1) - 2^w to 2^(v-1) + 2^w.
    """
    return (1 << (level_bits - 1)) + (1 << margin_bits) + accumulator


@dataclass(frozen=True, kw_only=True)
class PackingChoice:
    """The packing of a layer, its rows, and those it would have without packing."""

    packing: Packing
    error_bits: int
    n_rows: int
    n_rows_unpacked: int

    @property
    def reason(self) -> str:
        """For people, in one line."""
        p = self.packing
        if p.samples == p.columns == p.outputs == 1:
            return f"errors of {self.error_bits} bits: packs would save no row"
        columns = f" x {p.columns} columns" if p.columns > 1 else ""
        return (
            f"{p.samples} samples{columns} x {p.outputs} outputs a pack, {p.bits} bits each for "
            f"errors of {self.error_bits}: {self.n_rows} rows, not {self.n_rows_unpacked}"
        )


def choose_packing(
    error_bits: int,
    count_rows: Callable[[int, int, int], int],
    *,
    n_samples: int,
    n_columns: int = 1,
    n_outputs: int,
) -> PackingChoice:
    """The packing with the fewest rows; fewer samples a pack on a tie, then columns, then outputs.

    error_bits : of the greatest |2^a e|
    count_rows : (p, pw, po) -> rows of all that depends on them; must not grow with po
    n_samples  : that may share a pack: 1 where the verifier weighs them by plain powers
    n_columns  : likewise, 1 where there is no plane
    holds      : digits are as wide as their number lets them be, so a layer's circuit is the same
                 for many bounds; `RequantBound.find_multiplier` says for which multipliers
    """
    capacity = CAPACITY_BITS // error_bits
    candidates = []
    for p in range(1, min(capacity, n_samples) + 1):
        for pw in range(1, min(capacity // p, n_columns) + 1):
            po = _level(n_outputs, min(capacity // (p * pw), n_outputs))
            candidates.append((count_rows(p, pw, po), p, pw, po))
    n_rows, p, pw, po = min(candidates)
    return PackingChoice(
        packing=Packing(samples=p, columns=pw, outputs=po, bits=CAPACITY_BITS // (p * pw * po)),
        error_bits=error_bits,
        n_rows=n_rows,
        n_rows_unpacked=count_rows(1, 1, 1),
    )


def _level(n: int, size: int) -> int:
    """The least size of groups that makes as few of n."""
    return -(-n // -(-n // size))
