"""Forms over committed wires, read one by one, or all that a device can know at a time together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from weakref import WeakKeyDictionary

import numpy as np

from kernels.integers import IntegerRows, Integers
from kernels.numpy_types import Int64Array
from prover.circuit.constraints import Circuit, Hint
from prover.circuit.derivations import Read
from prover.circuit.linear_form import LinearForm

MAX_TERMS = 1 << 25  # of forms that are kept written out: 12 bytes each, here and on a device


def read_one_by_one(values: Int64Array, integers: Integers) -> Read:
    """Reads each form when it is asked for."""
    return lambda form: form.evaluate(lambda columns: values[integers.keep(columns)], integers)


class Together:
    """Forms that are read in one step; asked for one, it has read it already.

    found : values of all, one after the other
    """

    def __init__(self, batch: Batch, values: Int64Array, integers: Integers) -> None:
        self._places, self.found = batch.places, integers.combine(values, batch.rows)

    def __call__(self, form: LinearForm, /) -> Int64Array:
        found: Int64Array = self.found[self._places[id(form)]].reshape(form.shape)
        return found


@dataclass(frozen=True, eq=False)
class Batch:
    """Forms that are read together."""

    forms: tuple[LinearForm, ...]

    @cached_property
    def places(self) -> dict[int, slice]:
        """Of each form, by its id: where its values are among all."""
        stops = np.cumsum([_size(form) for form in self.forms], dtype=np.int64)
        return {
            id(form): slice(int(stop) - _size(form), int(stop))
            for form, stop in zip(self.forms, stops, strict=True)
        }

    @cached_property
    def rows(self) -> IntegerRows:
        """All forms written out. Raises OverflowError for one with exponents."""
        columns, coefficients, lengths = [], [], []
        for form in self.forms:
            wires, factors, exponents = form.terms()
            if exponents.any():
                raise OverflowError("a packed form has no value of 64 bits")
            columns.append(wires.astype(np.uint32).reshape(-1))
            coefficients.append(np.ascontiguousarray(factors).reshape(-1))
            lengths.append(np.full(_size(form), wires.shape[-1], dtype=np.int64))
        return IntegerRows(
            starts=np.concatenate([[0], np.cumsum(np.concatenate(lengths))]),
            columns=np.concatenate(columns),
            coefficients=np.concatenate(coefficients),
        )


@dataclass(frozen=True, slots=True, eq=False)
class ReadingPlan:
    """The hints of a circuit, those together that wait for no other, and then its lookups.

    limits : of every index of the lookups, the rows of its table
    """

    hints: tuple[tuple[Batch, tuple[Hint, ...]], ...]
    lookups: Batch
    limits: Int64Array


_kept: WeakKeyDictionary[Circuit, ReadingPlan | None] = WeakKeyDictionary()


def plan_reading(circuit: Circuit) -> ReadingPlan | None:
    """Planned once while the circuit lives; None for one whose forms are too large to keep."""
    if circuit not in _kept:
        forms = [form for hint in circuit.hints for form in hint.derivation.forms]
        forms += [lookup.index for lookup in circuit.lookups]
        _kept[circuit] = _plan(circuit) if _count_terms(forms) <= MAX_TERMS else None
    return _kept[circuit]


def _plan(circuit: Circuit) -> ReadingPlan:
    depths = np.zeros(circuit.r1cs.advice.stop, dtype=np.int64)  # steps that a wire waits for
    waiting: list[tuple[int, Hint]] = []
    for hint in circuit.hints:
        read = [depths[wires] for form in hint.derivation.forms for wires, _, _ in form.parts]
        depth = 1 + max((int(found.max(initial=0)) for found in read), default=0)
        depths[circuit.columns(hint.block)] = depth
        waiting.append((depth, hint))
    waiting.sort(key=lambda item: item[0])
    steps = []
    for _, items in groupby(waiting, key=lambda item: item[0]):
        hints = tuple(hint for _, hint in items)
        forms = tuple(form for hint in hints for form in hint.derivation.forms)
        steps.append((Batch(forms), hints))
    indices = tuple(lookup.index for lookup in circuit.lookups)
    limits = [np.full(_size(lookup.index), lookup.n_rows) for lookup in circuit.lookups]
    return ReadingPlan(
        tuple(steps), Batch(indices), np.concatenate([[0][:0], *limits]).astype(np.int64)
    )


def _count_terms(forms: Iterable[LinearForm]) -> int:
    return sum(_size(form) * sum(w.shape[-1] for w, _, _ in form.parts) for form in forms)


def _size(form: LinearForm) -> int:
    return int(np.prod(form.shape, dtype=np.int64))
