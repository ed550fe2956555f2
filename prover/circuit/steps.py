"""The order in which private wires are solved: steps of rows that wait for nothing in the step.

Rows that a gadget wrote one after the other seldom wait for each other: inverses of all lookups
stand side by side. A step takes the rows of one rule together, so that a device is asked a few
times per proof and not for every block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from weakref import WeakKeyDictionary

import numpy as np

from kernels.array import SparseMatrix
from kernels.backend import Rows
from kernels.numpy_types import Int64Array, UInt32Array
from prover.circuit.constraints import Circuit, RowBlock, Rule

MAX_ROWS = 1 << 20  # of several blocks together, so that what is between takes no more memory


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Blocks of rows of one rule, whose operands are known once the steps before are done.

    rows   : ranges of rows, block after block
    places : columns of the wires that they define, uint32, in the order of the rows
    """

    rule: Rule
    blocks: tuple[RowBlock, ...]
    rows: tuple[Rows, ...]
    places: UInt32Array


_kept: WeakKeyDictionary[Circuit, tuple[Step, ...]] = WeakKeyDictionary()


def plan_steps(circuit: Circuit) -> tuple[Step, ...]:
    """All steps of a circuit, in an order that solves it; planned once while the circuit lives."""
    if circuit not in _kept:
        _kept[circuit] = tuple(_plan_steps(circuit))
    return _kept[circuit]


def _plan_steps(circuit: Circuit) -> Iterator[Step]:
    depths = np.zeros(circuit.r1cs.n_wires, dtype=np.int64)  # steps that a wire waits for
    waiting: list[tuple[int, Rule, RowBlock]] = []
    for block in circuit.row_blocks:
        if block.rule is not None and block.defines is not None:
            own = circuit.columns(block.defines)
            depths[own] = 1 + _find_depth(circuit, block, depths)
            waiting.append((int(depths[own].max(initial=0)), block.rule, block))
    waiting.sort(key=lambda item: (item[0], item[1]))
    for (_, rule), items in groupby(waiting, key=lambda item: item[:2]):
        for blocks in _part([item[2] for item in items], rule):
            yield Step(rule, blocks, _merge(blocks), _find_places(circuit, blocks))


def _find_depth(circuit: Circuit, block: RowBlock, depths: Int64Array) -> int:
    """The most steps that an operand of the block waits for; its own wires wait for none yet."""
    r1cs, rows = circuit.r1cs, slice(block.start, block.stop)
    match block.rule:
        case Rule.PRODUCT:
            sides = [(r1cs.a, rows), (r1cs.b, rows)]
        case Rule.QUOTIENT:
            sides = [(r1cs.b, rows), (r1cs.c, rows)]
        case Rule.TOTAL:
            sides = [(r1cs.c, rows)]
        case _:  # powers of one base
            sides = [(r1cs.b, slice(block.start, block.start + 1))]
    return max(int(depths[_columns(m, part)].max(initial=0)) for m, part in sides)


def _columns(m: SparseMatrix, rows: slice) -> UInt32Array:
    columns: UInt32Array = m.cols[m.indptr[rows.start] : m.indptr[rows.stop]]
    return columns


def _part(blocks: list[RowBlock], rule: Rule) -> Iterator[tuple[RowBlock, ...]]:
    """Blocks that are solved together: up to MAX_ROWS rows, a larger block or powers alone."""
    chosen: list[RowBlock] = []
    n_rows = 0
    for block in blocks:
        if chosen and (rule is Rule.POWERS or n_rows + block.size > MAX_ROWS):
            yield tuple(chosen)
            chosen, n_rows = [], 0
        chosen.append(block)
        n_rows += block.size
    yield tuple(chosen)


def _merge(blocks: tuple[RowBlock, ...]) -> tuple[Rows, ...]:
    """Their rows; neighbours are one range."""
    ranges: list[Rows] = []
    for block in blocks:
        if ranges and ranges[-1][1] == block.start:
            ranges[-1] = ranges[-1][0], block.stop
        else:
            ranges.append((block.start, block.stop))
    return tuple(ranges)


def _find_places(circuit: Circuit, blocks: tuple[RowBlock, ...]) -> UInt32Array:
    owned = [circuit.columns(block.defines) for block in blocks if block.defines is not None]
    return np.concatenate([np.arange(own.start, own.stop, dtype=np.uint32) for own in owned])
