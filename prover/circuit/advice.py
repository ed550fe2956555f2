"""Committed wires from what their owner knows and the circuit's hints.

Hints read forms over wires that are committed before: one by one, or all that a device can know at
a time together. An array of wire values never enters an error or a log.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from kernels.integers import HOST, IntegerRows, Integers
from kernels.numpy_types import Int64Array
from prover.circuit.constraints import Circuit, Group, Hint, WireBlock
from prover.circuit.derivations import Read
from prover.circuit.linear_form import LinearForm
from prover.errors import ShapeMismatch, UnsatisfiedConstraint

T = TypeVar("T")

MAX_TERMS = 1 << 25  # of forms that are kept written out: 12 bytes each, here and on a device


def run_phase(
    circuit: Circuit,
    name: Hashable,
    hosts: Sequence[Any],
    work: Callable[[Sequence[Any]], T],
    integers: Integers,
) -> T:
    """work(hosts, where these integers compute), which fills the wires of a circuit; see
    `Integers.replay`. Forms too large to keep are read by operators, which nothing replays."""
    if integers.is_remote and plan_reading(circuit) is None:
        return work([integers.upload(host) for host in hosts])
    return integers.replay((name, circuit), hosts, work)


def solve_advice(
    circuit: Circuit, inputs: Mapping[str, Int64Array], integers: Integers = HOST
) -> Int64Array:
    """Committed wires from the labelled inputs, on the host, and the circuit's hints.

    inputs  : one array per block of linked and advice wires that has no hint
    returns : int64 over (1 | public | linked | advice); public entries stay 0, no hint reads them
    raises  : ShapeMismatch for a missing, unknown or misshapen block; UnsatisfiedConstraint for a
              lookup outside its table
    """
    labels = tuple(inputs)

    def work(given: Sequence[Any]) -> tuple[Int64Array, Any]:
        counter = integers.counters(1)
        there = dict(zip(labels, given, strict=True))
        return fill_wires(circuit, there, counter, integers), counter

    values, counter = run_phase(circuit, labels, list(inputs.values()), work, integers)
    (n_outside,) = integers.read(counter)
    refuse_outside(circuit, values, n_outside, integers)
    return values


def fill_wires(
    circuit: Circuit, inputs: Mapping[str, Any], counter: Any, integers: Integers
) -> Int64Array:
    """`solve_advice` of inputs where these integers compute.

    counter : where a device counts lookups outside their tables, for `refuse_outside`
    """
    hinted = {hint.block.label for hint in circuit.hints}
    committed = {
        label: block
        for label, block in circuit.wire_blocks.items()
        if block.group in (Group.LINKED, Group.ADVICE)
    }
    if set(inputs) != set(committed) - hinted:
        raise ShapeMismatch(f"expected inputs {sorted(set(committed) - hinted)}")
    values: Int64Array = integers.zeros((circuit.r1cs.advice.stop,))
    integers.write(values[:1], 1)

    def write(block: WireBlock, tensor: Int64Array) -> None:
        if tensor.shape != block.shape:
            raise ShapeMismatch(f"{block.label!r} has shape {list(block.shape)}")
        integers.write(values[circuit.columns(block)], tensor)

    for label, tensor in inputs.items():
        write(committed[label], tensor)
    plan = plan_reading(circuit) if integers.is_remote else None
    if plan is not None:
        for batch, hints in plan.hints:
            together = Together(batch, values, integers)
            for hint in hints:
                write(hint.block, hint.derivation.solve(together, integers))
        if circuit.lookups:
            index = Together(plan.lookups, values, integers).found
            integers.count_outside(index, plan.limits, counter)
        return values
    read = read_one_by_one(values, integers)
    for hint in circuit.hints:
        write(hint.block, hint.derivation.solve(read, integers))
    for lookup in circuit.lookups:
        index = read(lookup.index)
        outside = np.argwhere((index < 0) | (index >= lookup.n_rows))
        if len(outside):
            place = tuple(int(i) for i in outside[0])
            raise UnsatisfiedConstraint(label=lookup.label, index=place, n_failing=len(outside))
    return values


def refuse_outside(
    circuit: Circuit, values: Int64Array, n_outside: int, integers: Integers
) -> None:
    """UnsatisfiedConstraint for the first lookup outside its table, if any is: all are read again.

    values    : by `fill_wires`, with n_outside of them
    """
    plan = plan_reading(circuit) if n_outside else None
    if plan is None:
        return
    index = Together(plan.lookups, values, integers).found
    outside = np.flatnonzero((index < 0) | (index >= integers.keep(plan.limits)))
    for lookup in circuit.lookups:
        found = plan.lookups.places[id(lookup.index)]
        n_failing = int(((outside >= found.start) & (outside < found.stop)).sum())
        if n_failing:
            where = np.unravel_index(int(outside[0]) - found.start, lookup.index.shape)
            place = tuple(int(i) for i in where)
            raise UnsatisfiedConstraint(label=lookup.label, index=place, n_failing=n_failing)


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
