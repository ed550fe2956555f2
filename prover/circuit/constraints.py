"""Tensor-level R1CS builder: wires and rows come in labelled blocks, written as arrays.

A gadget allocates a tensor of wires and states one equation over tensors of linear forms; each
block becomes its part of the three CSR matrices in a few NumPy calls, so a million rows compile in
seconds.

Every private wire is DEFINED by the block of rows that allocates it (`product`, `quotient`,
`total`, `powers`): one equation with one solution once the committed wires and the challenges
stand. So the second phase of the witness needs no code per gadget, and no private wire is free.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.array import SparseMatrix
from kernels.numpy_types import Int64Array
from prover.circuit.csr import RowTerms, pack_rows, stack_rows
from prover.circuit.derivations import Derivation
from prover.circuit.linear_form import CONSTANT_ONE, GROUP_SHIFT, LinearForm
from prover.circuit.r1cs import R1CS
from prover.errors import DependentColumns

CIRCUIT_DOMAIN = b"zkpot circuit v3\x00"


class Group(IntEnum):
    """Wire groups in the order of their columns (PROTOCOL section 3)."""

    PUBLIC = 0
    LINKED = 1  # of all commitments, one after the other
    ADVICE = 2
    PRIVATE = 3


class Rule(StrEnum):
    """How a block of rows defines the private wires it allocates."""

    PRODUCT = "product"  # C is the new wire:  A z * B z
    QUOTIENT = "quotient"  # A is the new wire:  C z / B z
    TOTAL = "total"  # C is a form minus the new wire
    POWERS = "powers"  # each row multiplies the wire before by one base: base^2, base^3, ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WireBlock:
    """A tensor of wires: consecutive indices `start ...` of its group, last axis fastest."""

    label: str
    group: Group
    start: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def stop(self) -> int:
        return self.start + self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class RowBlock:
    """A tensor of rows `start ...`, last axis fastest; `rule` and `defines` for private wires."""

    label: str
    start: int
    shape: tuple[int, ...]
    why: str
    rule: Rule | None
    defines: WireBlock | None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def stop(self) -> int:
        return self.start + self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """A block of advice and what it follows from; forms over columns."""

    block: WireBlock
    derivation: Derivation


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """A block of lookups: `index` must lie in [0, n_rows) of its table.

    index : over columns of committed wires
    """

    label: str
    index: LinearForm
    n_rows: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Circuit:
    """A complete circuit: matrices, block tables, and what the owner needs to solve it.

    digest     : sha256 over matrices, group sizes, block tables and `parameters`
    parameters : public numbers the compiler chose (tables, limb widths), JSON values
    """

    r1cs: R1CS
    row_blocks: tuple[RowBlock, ...]
    wire_blocks: Mapping[str, WireBlock]
    hints: tuple[Hint, ...]
    lookups: tuple[Lookup, ...]
    parameters: Mapping[str, Any]
    digest: bytes

    def locate(self, row: int) -> tuple[str, tuple[int, ...]]:
        """Label of the block that holds a row, and the row's index in the block's tensor."""
        for block in self.row_blocks:
            if block.start <= row < block.stop:
                index = np.unravel_index(row - block.start, block.shape)
                return block.label, tuple(int(i) for i in index)
        raise IndexError(f"row {row} of {self.r1cs.n_rows}")

    def columns(self, block: WireBlock) -> slice:
        """Columns of a block of wires in the matrices."""
        start = _group_starts(self.r1cs)[block.group] + block.start
        return slice(start, start + block.size)


@dataclass(slots=True)
class _Rows:
    block: RowBlock
    sides: tuple[LinearForm, LinearForm, LinearForm]


@dataclass(slots=True)
class System:
    """A circuit under construction. Labels are paths `part/gadget/what`, each used once."""

    _sizes: list[int] = field(default_factory=lambda: [1, 0, 0, 0])  # the constant one is public
    _wires: dict[str, WireBlock] = field(default_factory=dict)
    _rows: list[_Rows] = field(default_factory=list)
    _hints: list[tuple[WireBlock, Derivation]] = field(default_factory=list)
    _lookups: list[Lookup] = field(default_factory=list)
    _linked: dict[str, int] = field(default_factory=dict)  # sizes of the groups, in their order
    _n_rows: int = 0

    def public(self, label: str, shape: tuple[int, ...] = ()) -> LinearForm:
        """Statement wires: the verifier supplies them."""
        return self._allocate(label, Group.PUBLIC, shape)[1]

    def model(self, label: str, shape: tuple[int, ...]) -> LinearForm:
        """Wires under the commitment of a circuit that has a single one."""
        return self.linked("model", label, shape)

    def linked(self, group: str, label: str, shape: tuple[int, ...]) -> LinearForm:
        """Wires under the commitment of a group; all of one group before those of the next."""
        if group in self._linked and group != [*self._linked][-1]:
            raise ValueError(f"wires of the linked group {group!r} after those of another one")
        block, form = self._allocate(label, Group.LINKED, shape)
        self._linked[group] = self._linked.get(group, 0) + block.size
        return form

    def advice(
        self,
        label: str,
        shape: tuple[int, ...],
        *,
        hint: Derivation | None = None,
    ) -> LinearForm:
        """Wires fixed before the challenges; `hint` when they follow from other committed wires."""
        block, form = self._allocate(label, Group.ADVICE, shape)
        if hint is not None:
            self._hints.append((block, hint))
        return form

    def record_lookup(self, label: str, index: LinearForm, n_rows: int) -> None:
        """Lets the witness name the lookup that leaves its table, before anything is committed."""
        self._lookups.append(Lookup(label=label, index=index, n_rows=n_rows))

    def require(
        self,
        label: str,
        *,
        a: LinearForm | None = None,
        b: LinearForm | None = None,
        c: LinearForm | None = None,
        why: str = "",
    ) -> None:
        """Rows a * b = c; a side left out is zero."""
        self._append(label, (a, b, c), why=why)

    def product(self, label: str, a: LinearForm, b: LinearForm, *, why: str = "") -> LinearForm:
        """New private wires a * b. Full-size values belong in a, small committed ones in b."""
        shape = np.broadcast_shapes(a.shape, b.shape)
        block, new = self._allocate(label, Group.PRIVATE, shape)
        self._append(label, (a, b, new), why=why, rule=Rule.PRODUCT, defines=block)
        return new

    def quotient(
        self, label: str, numerator: LinearForm, denominator: LinearForm, *, why: str = ""
    ) -> LinearForm:
        """New private wires numerator / denominator, where the denominator is not zero."""
        shape = np.broadcast_shapes(numerator.shape, denominator.shape)
        block, new = self._allocate(label, Group.PRIVATE, shape)
        sides = (new, denominator, numerator)
        self._append(label, sides, why=why, rule=Rule.QUOTIENT, defines=block)
        return new

    def total(self, label: str, form: LinearForm, *, why: str = "") -> LinearForm:
        """New private wires equal to a form, by a row that has its C side only."""
        block, new = self._allocate(label, Group.PRIVATE, form.shape)
        self._append(label, (None, None, form - new), why=why, rule=Rule.TOTAL, defines=block)
        return new

    def powers(self, label: str, base: LinearForm, n: int, *, why: str = "") -> LinearForm:
        """1, base, base^2, ..., base^(n-1) of one wire, n >= 2; n - 2 rows."""
        if n < 2 or base.shape != ():
            raise ValueError("powers: at least two, of a single wire")
        head = LinearForm.concat([LinearForm.constant([1]), base[None]])
        if n == 2:
            return head
        block, new = self._allocate(label, Group.PRIVATE, (n - 2,))
        before = LinearForm.concat([base[None], new[:-1]])
        self._append(label, (before, base, new), why=why, rule=Rule.POWERS, defines=block)
        return LinearForm.concat([head, new])

    def build(self, parameters: Mapping[str, Any]) -> Circuit:
        """The finished circuit. Raises DependentColumns (see `check_independence`)."""
        starts = np.concatenate([[0], np.cumsum(self._sizes)]).astype(np.int64)
        a, b, c = (self._emit(side, starts) for side in range(3))
        r1cs = R1CS(
            n_public=self._sizes[Group.PUBLIC] - 1,
            linked=tuple(size for size in self._linked.values() if size),
            n_advice=self._sizes[Group.ADVICE],
            n_private=self._sizes[Group.PRIVATE],
            a=a,
            b=b,
            c=c,
        )
        check_independence(r1cs)
        blocks = tuple(rows.block for rows in self._rows)

        def name(references: Int64Array) -> Int64Array:
            return _resolve(references, starts)

        return Circuit(
            r1cs=r1cs,
            row_blocks=blocks,
            wire_blocks=self._wires,
            hints=tuple(
                Hint(block=block, derivation=hint.renamed(name)) for block, hint in self._hints
            ),
            lookups=tuple(replace(x, index=x.index.map_wires(name)) for x in self._lookups),
            parameters=parameters,
            digest=compute_digest(r1cs, blocks, self._wires, parameters),
        )

    def _allocate(
        self, label: str, group: Group, shape: tuple[int, ...]
    ) -> tuple[WireBlock, LinearForm]:
        if label in self._wires:
            raise ValueError(f"two blocks of wires are called {label!r}")
        start = self._sizes[group]
        block = WireBlock(label=label, group=group, start=start, shape=shape)
        self._wires[label] = block
        self._sizes[group] += block.size
        index = np.arange(block.start, block.stop, dtype=np.int64).reshape(shape)
        return block, LinearForm.of_wires(index | (int(group) << GROUP_SHIFT))

    def _append(
        self,
        label: str,
        sides: tuple[LinearForm | None, LinearForm | None, LinearForm | None],
        *,
        why: str,
        rule: Rule | None = None,
        defines: WireBlock | None = None,
    ) -> None:
        a, b, c = (LinearForm.zero() if side is None else side for side in sides)
        shape = np.broadcast_shapes(a.shape, b.shape, c.shape)
        full = LinearForm.zero(shape)
        block = RowBlock(
            label=label, start=self._n_rows, shape=shape, why=why, rule=rule, defines=defines
        )
        if any(rows.block.label == label for rows in self._rows):
            raise ValueError(f"two blocks of rows are called {label!r}")
        self._rows.append(_Rows(block, (full + a, full + b, full + c)))
        self._n_rows += block.size

    def _emit(self, side: int, starts: Int64Array) -> SparseMatrix:
        packed: list[RowTerms] = []
        for rows in self._rows:
            wires, coeffs, exponents = rows.sides[side].terms()
            shape = (rows.block.size, wires.shape[-1])
            packed.append(
                pack_rows(
                    _resolve(wires, starts).reshape(shape),
                    coeffs.reshape(shape),
                    exponents.reshape(shape),
                )
            )
        return stack_rows(packed, n_cols=int(starts[-1]))


def compute_digest(
    r1cs: R1CS,
    row_blocks: tuple[RowBlock, ...],
    wire_blocks: Mapping[str, WireBlock],
    parameters: Mapping[str, Any],
) -> bytes:
    """sha256 of the circuit: a tag, a JSON header, then indptr, cols, coeffs and wide of A, B, C.

    The header (canonical JSON, preceded by its length) holds group sizes, block tables, numbers of
    entries and of wide coefficients, and `parameters`; the arrays follow little-endian, so their
    ends are known from it. Wide coefficients are hashed as they are held: Montgomery words, which
    are canonical.
    """
    matrices = r1cs.matrices
    header = {
        "groups": [r1cs.n_public, list(r1cs.linked), r1cs.n_advice, r1cs.n_private],
        "n_rows": r1cs.n_rows,
        "nnz": [m.nnz for m in matrices],
        "wide": [len(m.wide) for m in matrices],
        "rows": [[b.label, b.start, list(b.shape)] for b in row_blocks],
        "wires": [[b.label, int(b.group), b.start, list(b.shape)] for b in wire_blocks.values()],
        "parameters": parameters,
    }
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    hasher = hashlib.sha256(CIRCUIT_DOMAIN + len(text).to_bytes(8, "little") + text)
    for m in matrices:
        hasher.update(np.ascontiguousarray(m.indptr, dtype="<i8").data)
        hasher.update(np.ascontiguousarray(m.cols, dtype="<u4").data)
        hasher.update(np.ascontiguousarray(m.coeffs, dtype="<i8").data)
        hasher.update(np.ascontiguousarray(m.wide.data, dtype="<u8").data)
    return hasher.digest()


def check_independence(r1cs: R1CS) -> None:
    """Refuses a circuit whose key would let somebody shift a commitment or a statement.

    Let col_k be wire k's stacked column (u_k, v_k, w_k). Needed (PROTOCOL section 3):
    no nonzero combination of linked columns is zero, and no nonzero combination of public columns
    lies in the span of the other wires' columns.

    raises : DependentColumns, when this cannot be SHOWN by peeling: a place (a row of A, B or C)
             that holds exactly one wire whose coefficient in a supposed dependency is not yet known
             to be zero forces that coefficient to be zero; repeat. It suffices, because each step
             uses one coordinate of the vector equation sum_k c_k col_k = 0. Rows x*0 = 0 mend a
             refusal: they give x a place of its own.
             The trapdoors alpha, beta and tau are unknown, so K_k = beta u_k + alpha v_k + w_k are
             as independent as the stacked columns, whose coordinates are the rows.
    cost   : a few passes over the entries
    The constant one needs no place: its value is 1 for everyone, so what tells two statements apart
    has coefficient 0 there.
    """
    places, cols = _places(r1cs)
    is_linked = np.zeros(r1cs.n_wires, dtype=np.bool_)
    is_linked[r1cs.linked_wires] = True
    inside = is_linked[cols]
    left = _peel(places[inside], cols[inside], is_linked.copy(), concern=is_linked)
    if left.any():
        raise DependentColumns(group="linked", n_wires=int(left.sum()))
    unknown = np.ones(r1cs.n_wires, dtype=np.bool_)
    unknown[CONSTANT_ONE] = False
    is_public = np.zeros(r1cs.n_wires, dtype=np.bool_)
    is_public[1 : 1 + r1cs.n_public] = True
    left = _peel(places, cols, unknown, concern=is_public)
    if left.any():
        raise DependentColumns(group="public", n_wires=int(left.sum()))


def _places(r1cs: R1CS) -> tuple[Int64Array, Int64Array]:
    """(place, column) of every nonzero entry; place = row + n_rows * (0: A, 1: B, 2: C)."""
    places, cols = [], []
    for side, m in enumerate(r1cs.matrices):
        rows = np.repeat(np.arange(m.n_rows, dtype=np.int64), np.diff(m.indptr))
        kept = ~_are_zero(m)
        places.append(rows[kept] + side * m.n_rows)
        cols.append(m.cols[kept].astype(np.int64))
    return np.concatenate(places), np.concatenate(cols)


def _are_zero(m: SparseMatrix) -> npt.NDArray[np.bool_]:
    """Entries that are written down though their coefficient is zero, the small and the wide."""
    wide_zero = np.append(~m.wide.data.any(axis=-1), False)  # the last one for small coefficients
    is_wide = m.coeffs >= m.WIDE
    index = np.where(is_wide, m.coeffs - m.WIDE, len(m.wide))
    zero: npt.NDArray[np.bool_] = (m.coeffs == 0) | wide_zero[index]
    return zero


def _peel(
    places: Int64Array,
    cols: Int64Array,
    unknown: npt.NDArray[np.bool_],
    *,
    concern: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Wires of concern that stay unknown when no place singles out another unknown wire."""
    while True:
        kept = unknown[cols]
        places, cols = places[kept], cols[kept]
        if not (unknown & concern).any() or not len(places):
            return unknown & concern
        alone = cols[np.bincount(places)[places] == 1]
        if not len(alone):
            return unknown & concern
        unknown[alone] = False


def _group_starts(r1cs: R1CS) -> Int64Array:
    sizes = [1 + r1cs.n_public, r1cs.n_linked, r1cs.n_advice, r1cs.n_private]
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _resolve(references: Int64Array, starts: Int64Array) -> Int64Array:
    index = references & ((1 << GROUP_SHIFT) - 1)
    columns: Int64Array = starts[references >> GROUP_SHIFT] + index
    return columns
