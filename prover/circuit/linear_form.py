"""Tensors of linear combinations of wires: how gadgets write thousands of rows in one expression.

A wire is named by a reference: its group in the high bits, its index in the group below. The sizes
of the groups, hence final columns, are known only when a circuit is complete; `CONSTANT_ONE` is
wire 0. A coefficient is an integer below 2^62 times a power of two, so that packed sums, whose
coefficients fill the field, are written like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.integers import HOST, Integers
from kernels.numpy_types import Int64Array

Exponents = npt.NDArray[np.int16]
IntLike = int | Sequence[int] | Int64Array

Index = int | slice | None | Int64Array
Key = Index | tuple[Index, ...]

GROUP_SHIFT = 40  # a reference is group << 40 | index
CONSTANT_ONE = 0
MAX_EXPONENT = 252  # so that a power of two is below r / 2
_COEFFICIENT_LIMIT = 1 << 62  # `SparseMatrix` keeps smaller ones as they are
_NO_EXPONENT = np.zeros(1, dtype=np.int16)

Part = tuple[Int64Array, Int64Array, Exponents]
"""Wires, coefficients and exponents of two, which broadcast against each other."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearForm:
    """A tensor of `shape`; every entry is sum_t coeffs[..., t] 2^exponents[..., t] wires[..., t].

    parts : triples (wires, coeffs, exponents), the last int16, the others int64, that broadcast to
            (*shape, t), t free per triple
    Arithmetic broadcasts like NumPy's; coefficients reaching 2^62 raise OverflowError.
    """

    shape: tuple[int, ...]
    parts: tuple[Part, ...]

    @classmethod
    def of_wires(cls, references: Int64Array) -> LinearForm:
        """Each entry one wire."""
        one = np.ones((1,) * (references.ndim + 1), dtype=np.int64)
        return cls(references.shape, ((references[..., None], one, _no_exponents(one.ndim)),))

    @classmethod
    def constant(cls, values: IntLike) -> LinearForm:
        """Public numbers of the circuit: multiples of the constant one."""
        array = np.asarray(values, dtype=np.int64)
        wire = np.full((1,) * (array.ndim + 1), CONSTANT_ONE, dtype=np.int64)
        return cls(array.shape, ((wire, array[..., None], _no_exponents(wire.ndim)),))

    @classmethod
    def zero(cls, shape: tuple[int, ...] = ()) -> LinearForm:
        """No wire at all: an empty side of a row."""
        return cls(shape, ())

    @classmethod
    def concat(cls, forms: Sequence[LinearForm]) -> LinearForm:
        """Along the first axis; all with equally many wires per entry."""
        wires, coeffs, exponents = zip(*(form.terms() for form in forms), strict=True)
        joined = (np.concatenate(wires), np.concatenate(coeffs), np.concatenate(exponents))
        return cls(joined[0].shape[:-1], (joined,))

    def terms(self) -> Part:
        """Wires, coefficients and exponents, all of shape (*shape, T) with T wires per entry
        (repetitions allowed). Not to be written to."""
        full: list[Part] = []
        for w, c, e in self.parts:
            shape = np.broadcast_shapes((*self.shape, 1), w.shape, c.shape, e.shape)
            full.append(
                (np.broadcast_to(w, shape), np.broadcast_to(c, shape), np.broadcast_to(e, shape))
            )
        if len(full) == 1:
            return full[0]
        empty = np.zeros((*self.shape, 0), dtype=np.int64)
        return (
            np.concatenate([empty, *(w for w, _, _ in full)], axis=-1),
            np.concatenate([empty, *(c for _, c, _ in full)], axis=-1),
            np.concatenate([empty.astype(np.int16), *(e for _, _, e in full)], axis=-1),
        )

    def __add__(self, other: LinearForm | IntLike) -> LinearForm:
        form = other if isinstance(other, LinearForm) else LinearForm.constant(other)
        shape = np.broadcast_shapes(self.shape, form.shape)
        return LinearForm(shape, self._aligned(len(shape)) + form._aligned(len(shape)))

    def __neg__(self) -> LinearForm:
        return LinearForm(self.shape, tuple((w, -c, e) for w, c, e in self.parts))

    def __sub__(self, other: LinearForm | IntLike) -> LinearForm:
        form = other if isinstance(other, LinearForm) else LinearForm.constant(other)
        return self + (-form)

    def __mul__(self, factor: IntLike) -> LinearForm:
        """Times public integers."""
        f = np.asarray(factor, dtype=np.int64)
        shape = np.broadcast_shapes(self.shape, f.shape)
        parts = []
        for w, c, e in self._aligned(len(shape)):
            if c.size and f.size and _largest(c) * _largest(f) >= _COEFFICIENT_LIMIT:
                raise OverflowError("a coefficient of a linear form reaches 2^62")
            parts.append((w, c * f[..., None], e))
        return LinearForm(shape, tuple(parts))

    def shifted(self, exponents: IntLike) -> LinearForm:
        """Times 2^exponents mod r. OverflowError for an exponent below 0 or above MAX_EXPONENT."""
        more = np.asarray(exponents, dtype=np.int64)
        shape = np.broadcast_shapes(self.shape, more.shape)
        parts = []
        for w, c, e in self._aligned(len(shape)):
            total = e + more[..., None]
            if total.size and not 0 <= int(total.min()) <= int(total.max()) <= MAX_EXPONENT:
                raise OverflowError(f"an exponent of a linear form leaves [0, {MAX_EXPONENT}]")
            parts.append((w, c, total.astype(np.int16)))
        return LinearForm(shape, tuple(parts))

    def __getitem__(self, key: Key) -> LinearForm:
        """Indexing of the tensor's own axes (integers, slices, None)."""
        wires, coeffs, exponents = self.terms()
        kept = wires[key]
        return LinearForm(kept.shape[:-1], ((kept, coeffs[key], exponents[key]),))

    def sum(self, axis: int) -> LinearForm:
        """Sum over one axis of the tensor, axis >= 0."""
        wires, coeffs, exponents = (np.moveaxis(t, axis, -2) for t in self.terms())
        shape = wires.shape[:-2]
        flat = (*shape, wires.shape[-2] * wires.shape[-1])
        return LinearForm(
            shape, ((wires.reshape(flat), coeffs.reshape(flat), exponents.reshape(flat)),)
        )

    def reshape(self, shape: tuple[int, ...]) -> LinearForm:
        """The same entries in other axes, last index fastest."""
        wires, coeffs, exponents = self.terms()
        full = (*shape, wires.shape[-1])
        return LinearForm(
            shape, ((wires.reshape(full), coeffs.reshape(full), exponents.reshape(full)),)
        )

    def flat(self) -> LinearForm:
        """The same entries in one axis, last index fastest."""
        return self.reshape((int(np.prod(self.shape, dtype=np.int64)),))

    def pad(self, axis: int, n: int) -> LinearForm:
        """n more entries at the end of an axis, all zero."""
        if n == 0:
            return self
        wires, coeffs, exponents = self.terms()
        widths = [(0, n if i == axis else 0) for i in range(wires.ndim)]
        shape = (*self.shape[:axis], self.shape[axis] + n, *self.shape[axis + 1 :])
        parts = np.pad(wires, widths), np.pad(coeffs, widths), np.pad(exponents, widths)
        return LinearForm(shape, (parts,))

    def map_wires(self, name: Callable[[Int64Array], Int64Array]) -> LinearForm:
        """The same form over wires of other names."""
        return LinearForm(self.shape, tuple((name(w), c, e) for w, c, e in self.parts))

    def evaluate(
        self, read: Callable[[Int64Array], Int64Array], integers: Integers = HOST
    ) -> Int64Array:
        """Values as int64, for witnesses of integer gadgets; `read` maps names of wires to values.

        integers : where `read` has the values, and the result is
        raises   : OverflowError for a form with exponents, whose values are no small integers
        The caller sees to it that no value reaches 2^63: ranges are checked before committing.
        """
        total: Int64Array = integers.zeros(self.shape)
        for w, c, e in self.parts:
            if e.any():
                raise OverflowError("a packed form has no value of 64 bits")
            total += (read(w) * integers.keep(c)).sum(axis=-1)
        return total

    def _aligned(self, ndim: int) -> tuple[Part, ...]:
        """Parts whose arrays have all `ndim` axes, so that they broadcast from the left."""
        lead = (1,) * (ndim - len(self.shape))

        def align(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return x.reshape(lead + x.shape)

        return tuple((align(w), align(c), align(e)) for w, c, e in self.parts)


def _no_exponents(ndim: int) -> Exponents:
    return _NO_EXPONENT.reshape((1,) * ndim)


def _largest(values: Int64Array) -> int:
    return max(abs(int(values.min())), abs(int(values.max())))
