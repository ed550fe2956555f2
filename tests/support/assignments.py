"""Assignments of public and committed wires as integers mod r, to be forged and completed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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

COMMITTED = (Group.PUBLIC, Group.LINKED, Group.ADVICE)
_SMALL = 1 << 31  # two such numbers have a product below 2^62

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
        known = _Known([1, *(v for g in COMMITTED for v in self._flat(g))])
        for hint in self.circuit.hints:
            label = hint.block.label
            if label in keep:
                continue
            solved = hint.derivation.solve(known.read, HOST).astype(object)
            self.values[label] = solved.reshape(hint.block.shape)
            known.write(self.circuit.columns(hint.block), solved.reshape(-1).tolist())

    def copy(self) -> Assignment:
        return Assignment(self.circuit, {k: tensor.copy() for k, tensor in self.values.items()})

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


class _Known:
    """Values of the wires that come before the private ones, small ones as 64-bit integers."""

    def __init__(self, values: list[int]) -> None:
        n = len(values)
        self._values = np.zeros(n, dtype=object)
        self._small, self._is_large = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.bool_)
        self.write(slice(0, n), values)

    def write(self, columns: slice, values: list[int]) -> None:
        centred = [(v + R // 2) % R - R // 2 for v in values]
        large = [abs(v) >= _SMALL for v in centred]
        self._values[columns], self._is_large[columns] = centred, large
        self._small[columns] = [0 if x else v for v, x in zip(centred, large, strict=True)]

    def read(self, form: LinearForm) -> npt.NDArray[np.int64]:
        """Small values as signed integers; -1 for what is no small integer, which fits no table."""
        wires, coeffs, _ = form.terms()
        n_terms = wires.shape[-1]
        wires, coeffs = wires.reshape(-1, n_terms), coeffs.reshape(-1, n_terms)
        slow = self._is_large[wires].any(axis=1)
        slow |= n_terms * np.abs(coeffs).max(axis=1, initial=0) >= _SMALL
        found: npt.NDArray[np.int64] = (self._small[wires] * coeffs).sum(axis=1)
        sums = (self._values[wires[slow]] * coeffs[slow].astype(object)).sum(axis=1)
        found[slow] = [_as_small(int(v)) for v in sums]
        return found.reshape(form.shape)


def _as_small(value: int) -> int:
    centred = (value + R // 2) % R - R // 2
    return centred if abs(centred) < 1 << 62 else -1


def draw_scalars(rng: Random, n: int) -> list[int]:
    """n challenges: never 0 or 1."""
    return [rng.randrange(2, R) for _ in range(n)]
