"""Advice that follows from other committed wires: data, so that any device can compute it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, Self

from kernels.integers import Integers
from kernels.numpy_types import Int64Array
from prover.circuit.linear_form import LinearForm

Read = Callable[[LinearForm], Int64Array]
"""Evaluates a form over the committed wires that are known so far, where they are."""

Rename = Callable[[Int64Array], Int64Array]


class Derivation(Protocol):
    """How the owner fills a block of advice."""

    @property
    def forms(self) -> tuple[LinearForm, ...]:
        """What it reads."""
        ...

    def solve(self, read: Read, integers: Integers) -> Int64Array:
        """Its values, in the shape of the block, where `integers` computes."""
        ...

    def renamed(self, name: Rename) -> Self:
        """The same over wires of other names."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Limbs:
    """(value >> shift) mod 2^bits for every shift, in one more axis."""

    value: LinearForm
    shifts: Int64Array
    bits: int

    @property
    def forms(self) -> tuple[LinearForm, ...]:
        return (self.value,)

    def solve(self, read: Read, integers: Integers) -> Int64Array:
        found: Int64Array = integers.limbs(read(self.value), self.shifts, self.bits)
        return found

    def renamed(self, name: Rename) -> Self:
        return replace(self, value=self.value.map_wires(name))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Multiplicities:
    """How often all indices together name each row of a table."""

    indices: tuple[LinearForm, ...]
    n_rows: int

    @property
    def forms(self) -> tuple[LinearForm, ...]:
        return self.indices

    def solve(self, read: Read, integers: Integers) -> Int64Array:
        counts: Int64Array = integers.count_lookups([*map(read, self.indices)], self.n_rows)
        return counts

    def renamed(self, name: Rename) -> Self:
        return replace(self, indices=tuple(form.map_wires(name) for form in self.indices))
