"""Typed arrays: shape, form and Montgomery radix live in the type.

Every array wraps a C-contiguous little-endian `uint64` array whose last axis is the words of one
element: NumPy's, or a backend's own where the array is on its device (`Backend.upload`); then
`to_ints` and the wire format need `Backend.download` first. Conversions between forms are explicit
(`Backend.to_mont`, `Backend.from_mont`) or go through Python integers (`from_ints`, `to_ints`: for
tests and small inputs).

    FrArray   [..., 4]   scalars x mod r, canonical 0 <= x < r     for MSM and the wire format
    FrMont    [..., 4]   scalars x * 2^256 mod r, canonical        for NTT and pointwise kernels
    G1Array   [n, 8]     affine (x, y), each x * 2^256 mod p         zero words = point at infinity
    G2Array   [n, 16]    affine (x0, x1, y0, y1), x = x0 + x1*u, same form
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from kernels.bn254 import MONT_BITS, P, R
from kernels.errors import ShapeError

U64 = npt.NDArray[np.uint64]
Index = slice | npt.NDArray[np.integer] | npt.NDArray[np.bool_]
AffineG1 = tuple[int, int]
AffineG2 = tuple[tuple[int, int], tuple[int, int]]


def words_from_ints(values: Iterable[int], n_words: int = 4) -> U64:
    """Little-endian 64-bit words of non-negative integers: uint64[n, n_words]."""
    raw = b"".join(int(v).to_bytes(8 * n_words, "little") for v in values)
    return np.frombuffer(raw, dtype="<u8").reshape(-1, n_words).astype(np.uint64)


def ints_from_words(words: U64) -> list[int]:
    """Inverse of `words_from_ints` for uint64[n, n_words]."""
    width = 8 * words.shape[-1]
    raw = np.ascontiguousarray(words, dtype="<u8").tobytes()
    return [int.from_bytes(raw[i : i + width], "little") for i in range(0, len(raw), width)]


@dataclass(frozen=True, slots=True, eq=False)
class _Limbs:
    data: U64
    WORDS: ClassVar[int] = 4

    def __post_init__(self) -> None:
        d = self.data
        is_array = all(hasattr(d, name) for name in ("dtype", "shape", "flags"))
        if not is_array or d.dtype != np.uint64 or d.ndim < 2:
            found = f"{d.dtype}{list(d.shape)}" if is_array else type(d).__name__
            raise ShapeError(
                f"{type(self).__name__}: expected uint64[n, {self.WORDS}], got {found}"
            )
        if d.shape[-1] != self.WORDS:
            wanted, found = f"uint64[n, {self.WORDS}]", f"uint64{list(d.shape)}"
            raise ShapeError(f"{type(self).__name__}: expected {wanted}, got {found}")
        if not d.flags.c_contiguous:
            object.__setattr__(self, "data", d.copy())  # in C order, whatever kind of array

    def __len__(self) -> int:
        return int(self.data.shape[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape without the word axis: (n,) or (batch, n)."""
        return tuple(int(s) for s in self.data.shape[:-1])

    @classmethod
    def zeros(cls, *shape: int) -> Self:
        """All-zero words: zero scalars, points at infinity."""
        return cls(np.zeros((*shape, cls.WORDS), dtype=np.uint64))

    def __getitem__(self, index: Index) -> Self:
        return type(self)(self.data[index])

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Concatenation along the first axis."""
        return cls(np.concatenate([p.data for p in parts]))

    def equals(self, other: Self) -> bool:
        """Same type, shape and words. (Forms are canonical, so this is mathematical equality.)"""
        return type(self) is type(other) and np.array_equal(self.data, other.data)


@dataclass(frozen=True, slots=True, eq=False)
class FrArray(_Limbs):
    """Scalars x mod r, canonical: 0 <= x < r. What MSM and the wire format take."""

    @classmethod
    def from_ints(cls, values: Iterable[int]) -> FrArray:
        return cls(words_from_ints(v % R for v in values))

    def to_ints(self) -> list[int]:
        return ints_from_words(self.data)


@dataclass(frozen=True, slots=True, eq=False)
class FrMont(_Limbs):
    """Scalars x * 2^256 mod r (Montgomery), canonical. What NTT and pointwise kernels take."""

    @classmethod
    def from_ints(cls, values: Iterable[int]) -> FrMont:
        return cls(words_from_ints((v << MONT_BITS) % R for v in values))

    def to_ints(self) -> list[int]:
        inverse = pow(1 << MONT_BITS, -1, R)
        return [v * inverse % R for v in ints_from_words(self.data)]


def require_foldable(a: FrMont, n: int) -> None:
    """ShapeError unless `a` is of shape [m], m >= n >= 1, and can be folded to n coefficients."""
    if len(a.shape) != 1 or not 1 <= n <= len(a):
        raise ShapeError(f"{list(a.shape)} coefficients do not fold to {n}")


@dataclass(frozen=True, slots=True, eq=False)
class G1Array(_Limbs):
    """Affine points of E(F_p), coordinates times 2^256 mod p; all-zero words = infinity."""

    WORDS: ClassVar[int] = 8

    @classmethod
    def from_ints(cls, points: Iterable[AffineG1 | None]) -> G1Array:
        flat = [(v << MONT_BITS) % P for pt in points for v in (pt or (0, 0))]
        return cls(words_from_ints(flat).reshape(-1, 8))

    def to_ints(self) -> list[AffineG1 | None]:
        inverse = pow(1 << MONT_BITS, -1, P)
        flat = [v * inverse % P for v in ints_from_words(self.data.reshape(-1, 4))]
        pairs = zip(flat[0::2], flat[1::2], strict=True)
        return [None if x == 0 and y == 0 else (x, y) for x, y in pairs]


@dataclass(frozen=True, slots=True, eq=False)
class G2Array(_Limbs):
    """Affine points of E'(F_p2), words (x0, x1, y0, y1), each times 2^256 mod p; 0 = infinity."""

    WORDS: ClassVar[int] = 16

    @classmethod
    def from_ints(cls, points: Iterable[AffineG2 | None]) -> G2Array:
        flat = [(v << MONT_BITS) % P for pt in points for c in (pt or ((0, 0), (0, 0))) for v in c]
        return cls(words_from_ints(flat).reshape(-1, 16))

    def to_ints(self) -> list[AffineG2 | None]:
        inverse = pow(1 << MONT_BITS, -1, P)
        flat = [v * inverse % P for v in ints_from_words(self.data.reshape(-1, 4))]
        rows = [flat[i : i + 4] for i in range(0, len(flat), 4)]
        return [None if not any(row) else ((row[0], row[1]), (row[2], row[3])) for row in rows]


@dataclass(frozen=True, slots=True, eq=False)
class SparseMatrix:
    """CSR matrix over F_r whose coefficients are small integers, or entries of a table.

    indptr : int64[n_rows + 1]
    cols   : uint32[nnz]      column (wire) of each entry
    coeffs : int64[nnz]       |c| < 2^62: the integer itself; c >= 2^62: `wide[c - 2^62]`
    wide   : FrMont [k]       coefficients that are no small integer (k may be 0)
    """

    indptr: npt.NDArray[np.int64]
    cols: npt.NDArray[np.uint32]
    coeffs: npt.NDArray[np.int64]
    n_cols: int
    wide: FrMont

    WIDE: ClassVar[int] = 1 << 62

    def __post_init__(self) -> None:
        if self.indptr.dtype != np.int64 or self.cols.dtype != np.uint32:
            raise ShapeError("SparseMatrix: indptr must be int64 and cols uint32")
        if self.coeffs.dtype != np.int64 or self.coeffs.shape != self.cols.shape:
            raise ShapeError("SparseMatrix: coeffs must be int64 and as long as cols")
        if len(self.indptr) == 0 or self.indptr[0] != 0 or self.indptr[-1] != len(self.cols):
            raise ShapeError("SparseMatrix: indptr must run from 0 to nnz")
        if np.any(np.diff(self.indptr) < 0):
            raise ShapeError("SparseMatrix: indptr must not decrease")
        if len(self.cols) and int(self.cols.max()) >= self.n_cols:
            raise ShapeError(f"SparseMatrix: column {int(self.cols.max())} of {self.n_cols}")
        if len(self.coeffs) and int(self.coeffs.max()) - self.WIDE >= len(self.wide):
            raise ShapeError("SparseMatrix: coefficient index past the wide table")
        if len(self.coeffs) and int(self.coeffs.min()) <= -self.WIDE:
            raise ShapeError("SparseMatrix: coefficient below -2^62")

    @property
    def n_rows(self) -> int:
        return len(self.indptr) - 1

    @property
    def nnz(self) -> int:
        return len(self.cols)

    def rows(self, start: int, stop: int) -> SparseMatrix:
        """Rows start..stop-1; shares the entries."""
        ends = self.indptr[start : stop + 1]
        first, last = int(ends[0]), int(ends[-1])
        return SparseMatrix(
            indptr=ends - first,
            cols=self.cols[first:last],
            coeffs=self.coeffs[first:last],
            n_cols=self.n_cols,
            wide=self.wide,
        )

    def transposed(self) -> SparseMatrix:
        """The transposed matrix; entries of a row are in the order of their columns.

        Raises ValueError for more than 2^32 rows, which are no columns of a SparseMatrix.
        """
        if self.n_rows > 1 << 32:
            raise ValueError(f"transposed: {self.n_rows} rows cannot be columns, 2^32 at most")
        order = _stable_order(self.cols)
        rows = np.repeat(np.arange(self.n_rows, dtype=np.uint32), np.diff(self.indptr))
        indptr = np.zeros(self.n_cols + 1, dtype=np.int64)
        np.cumsum(np.bincount(self.cols, minlength=self.n_cols), out=indptr[1:])
        return SparseMatrix(
            indptr=indptr,
            cols=rows[order],
            coeffs=self.coeffs[order],
            n_cols=self.n_rows,
            wide=self.wide,
        )


def _stable_order(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """The stable sorting permutation, by halves: NumPy sorts 16-bit integers by counting."""
    order = np.argsort(values.astype(np.uint16), kind="stable")  # the low half
    high = (values >> np.uint32(16)).astype(np.uint16)
    return order[np.argsort(high[order], kind="stable")] if high.any() else order
