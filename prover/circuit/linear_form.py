"""Tensors of linear combinations of wires: how gadgets write thousands of rows in one expression.

A wire is named by a reference: its group in the high bits, its index in the group below. The sizes
of the groups, hence final columns, are known only when a circuit is complete; `CONSTANT_ONE` is
wire 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kernels.integers import HOST, Integers
from kernels.numpy_types import Int64Array

IntLike = int | Sequence[int] | Int64Array

Index = int | slice | None
Key = Index | tuple[Index, ...]

GROUP_SHIFT = 40  # a reference is group << 40 | index
CONSTANT_ONE = 0
_COEFFICIENT_LIMIT = 1 << 62  # `SparseMatrix` keeps smaller ones as they are


@dataclass(frozen=True, slots=True, eq=False)
class LinearForm:
    """A tensor of `shape` whose every entry is sum_t coeffs[..., t] * wires[..., t].

    parts : pairs (wires, coeffs) of int64 arrays that broadcast to (*shape, t), t free per pair
    Arithmetic broadcasts like NumPy's; coefficients reaching 2^62 raise OverflowError.
    """

    shape: tuple[int, ...]
    parts: tuple[tuple[Int64Array, Int64Array], ...]

    @classmethod
    def of_wires(cls, references: Int64Array) -> LinearForm:
        """Each entry one wire."""
        one = np.ones((1,) * (references.ndim + 1), dtype=np.int64)
        return cls(references.shape, ((references[..., None], one),))

    @classmethod
    def constant(cls, values: IntLike) -> LinearForm:
        """Public numbers of the circuit: multiples of the constant one."""
        array = np.asarray(values, dtype=np.int64)
        wire = np.full((1,) * (array.ndim + 1), CONSTANT_ONE, dtype=np.int64)
        return cls(array.shape, ((wire, array[..., None]),))

    @classmethod
    def zero(cls, shape: tuple[int, ...] = ()) -> LinearForm:
        """No wire at all: an empty side of a row."""
        return cls(shape, ())

    @classmethod
    def concat(cls, forms: Sequence[LinearForm]) -> LinearForm:
        """Along the first axis; all with equally many wires per entry."""
        both = [form.terms() for form in forms]
        wires = np.concatenate([w for w, _ in both])
        coeffs = np.concatenate([c for _, c in both])
        return cls(wires.shape[:-1], ((wires, coeffs),))

    def terms(self) -> tuple[Int64Array, Int64Array]:
        """(wires, coeffs), both int64[*shape, T] with T wires per entry (repetitions allowed)."""
        empty = np.zeros((*self.shape, 0), dtype=np.int64)
        wires, coeffs = [empty], [empty]
        for w, c in self.parts:
            full = (*self.shape, np.broadcast_shapes(w.shape[-1:], c.shape[-1:])[0])
            wires.append(np.broadcast_to(w, full))
            coeffs.append(np.broadcast_to(c, full))
        return np.concatenate(wires, axis=-1), np.concatenate(coeffs, axis=-1)

    def __add__(self, other: LinearForm | IntLike) -> LinearForm:
        form = other if isinstance(other, LinearForm) else LinearForm.constant(other)
        shape = np.broadcast_shapes(self.shape, form.shape)
        return LinearForm(shape, self._aligned(len(shape)) + form._aligned(len(shape)))

    def __neg__(self) -> LinearForm:
        return LinearForm(self.shape, tuple((w, -c) for w, c in self.parts))

    def __sub__(self, other: LinearForm | IntLike) -> LinearForm:
        form = other if isinstance(other, LinearForm) else LinearForm.constant(other)
        return self + (-form)

    def __mul__(self, factor: IntLike) -> LinearForm:
        """Times public integers."""
        f = np.asarray(factor, dtype=np.int64)
        shape = np.broadcast_shapes(self.shape, f.shape)
        parts = []
        for w, c in self._aligned(len(shape)):
            if c.size and f.size and _largest(c) * _largest(f) >= _COEFFICIENT_LIMIT:
                raise OverflowError("a coefficient of a linear form reaches 2^62")
            parts.append((w, c * f[..., None]))
        return LinearForm(shape, tuple(parts))

    def __getitem__(self, key: Key) -> LinearForm:
        """Indexing of the tensor's own axes (integers, slices, None)."""
        wires, coeffs = self.terms()
        kept, factors = wires[key], coeffs[key]
        return LinearForm(kept.shape[:-1], ((kept, factors),))

    def sum(self, axis: int) -> LinearForm:
        """Sum over one axis of the tensor, axis >= 0."""
        wires, coeffs = (np.moveaxis(t, axis, -2) for t in self.terms())
        shape = wires.shape[:-2]
        flat = (*shape, wires.shape[-2] * wires.shape[-1])
        return LinearForm(shape, ((wires.reshape(flat), coeffs.reshape(flat)),))

    def flat(self) -> LinearForm:
        """The same entries in one axis, last index fastest."""
        wires, coeffs = self.terms()
        n = int(np.prod(self.shape, dtype=np.int64))
        return LinearForm((n,), ((wires.reshape(n, -1), coeffs.reshape(n, -1)),))

    def map_wires(self, name: Callable[[Int64Array], Int64Array]) -> LinearForm:
        """The same form over wires of other names."""
        return LinearForm(self.shape, tuple((name(w), c) for w, c in self.parts))

    def evaluate(
        self, read: Callable[[Int64Array], Int64Array], integers: Integers = HOST
    ) -> Int64Array:
        """Values as int64, for witnesses of integer gadgets; `read` maps names of wires to values.

        integers : where `read` has the values, and the result is
        The caller sees to it that no value reaches 2^63: ranges are checked before committing.
        """
        total: Int64Array = integers.zeros(self.shape)
        for w, c in self.parts:
            total += (read(w) * integers.keep(c)).sum(axis=-1)
        return total

    def _aligned(self, ndim: int) -> tuple[tuple[Int64Array, Int64Array], ...]:
        """Parts whose arrays have all `ndim` axes, so that they broadcast from the left."""
        lead = (1,) * (ndim - len(self.shape))
        return tuple((w.reshape(lead + w.shape), c.reshape(lead + c.shape)) for w, c in self.parts)


def _largest(values: Int64Array) -> int:
    return max(abs(int(values.min())), abs(int(values.max())))
