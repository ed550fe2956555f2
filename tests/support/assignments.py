"""Assignments of public and committed wires as integers mod r, to be forged and completed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.array import FrArray, FrMont
from kernels.backend import Backend
from kernels.bn254 import R
from kernels.integers import HOST
from kernels.reference import Reference
from prover.circuit.constraints import Circuit, Group
from prover.circuit.linear_form import LinearForm
from prover.circuit.witness import find_failing_rows, solve_private

Tensor = npt.NDArray[Any]
"""dtype object: integers, taken mod r, in the shape of a block of wires."""


@dataclass
class Assignment:
    """Every block of public, model and advice wires, by label. Nothing is checked."""

    circuit: Circuit
    values: dict[str, Tensor]

    @classmethod
    def of(cls, circuit: Circuit, inputs: Mapping[str, Any]) -> Assignment:
        """From public wires and committed inputs; advice that has a hint is filled in."""
        assignment = cls(circuit, {})
        for label, block in circuit.wire_blocks.items():
            if block.group != Group.PRIVATE:
                value = inputs.get(label, np.zeros(block.shape, dtype=np.int64))
                assignment.values[label] = np.array(value, dtype=object).reshape(block.shape)
        unknown = set(inputs) - set(assignment.values)
        assert not unknown, f"no such wires: {unknown}"
        assignment.fill()
        return assignment

    def fill(self, *, keep: Collection[str] = ()) -> None:
        """Limbs and multiplicities that fit the present values: what any forger would do.

        keep : labels of advice that the forger chose otherwise
        """
        known = self._known()
        for hint in self.circuit.hints:
            if hint.block.label in keep:
                continue
            solved = hint.derivation.solve(lambda form: _evaluate(form, known), HOST)
            self.values[hint.block.label] = solved.astype(object).reshape(hint.block.shape)
            known[self.circuit.columns(hint.block)] = solved.astype(object).reshape(-1) % R

    def copy(self) -> Assignment:
        return Assignment(self.circuit, deepcopy(self.values))

    def __getitem__(self, label: str) -> Tensor:
        return self.values[label]

    def __setitem__(self, label: str, tensor: Any) -> None:
        new = np.array(tensor, dtype=object)
        assert self.values[label].shape == new.shape, f"{label}: {new.shape}"
        self.values[label] = new

    def scalars(self, group: Group) -> FrArray:
        """The wires of one group in order, without the constant one."""
        return FrArray.from_ints(self._flat(group))

    def complete(self, backend: Backend | None = None) -> FrMont:
        """z with the only private wires that can solve it: each has one defining row."""
        return solve_private(
            self.circuit,
            public=self.scalars(Group.PUBLIC),
            model=self.scalars(Group.LINKED),
            advice=self.scalars(Group.ADVICE),
            backend=backend or Reference(),
        )

    def failing(self, backend: Backend | None = None) -> list[str]:
        """Labels of blocks with a failing row; empty = accepted."""
        backend = backend or Reference()
        rows = find_failing_rows(self.circuit, self.complete(backend), backend)
        return sorted({self.circuit.locate(int(row))[0] for row in rows})

    def _flat(self, group: Group) -> list[int]:
        blocks = [b for b in self.circuit.wire_blocks.values() if b.group == group]
        return [int(v) % R for b in blocks for v in self.values[b.label].reshape(-1)]

    def _known(self) -> Tensor:
        """The constant one, public and committed wires, in the order of their columns."""
        groups = (Group.PUBLIC, Group.LINKED, Group.ADVICE)
        return np.array([1, *(v for g in groups for v in self._flat(g))], dtype=object)


def _evaluate(form: LinearForm, known: Tensor) -> npt.NDArray[np.int64]:
    """Small values as signed integers; -1 for what is no small integer, which fits no table."""
    wires, coeffs, _ = form.terms()
    sums = np.asarray((known[wires] * coeffs.astype(object)).sum(axis=-1), dtype=object)
    small = [_as_small(int(v)) for v in sums.reshape(-1)]
    return np.array(small, dtype=np.int64).reshape(form.shape)


def _as_small(value: int) -> int:
    centred = (value + R // 2) % R - R // 2
    return centred if abs(centred) < 1 << 62 else -1


def draw_scalars(rng: Random, n: int) -> list[int]:
    """n challenges: never 0 or 1."""
    return [rng.randrange(2, R) for _ in range(n)]
