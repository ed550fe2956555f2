"""The living definition: what each `Backend` method means, on plain Python integers.

Slow on purpose. Every method is its defining formula, so a reader can check it by eye, and every
other backend is judged against it (`tests/conformance`). Nothing here is fast, blocked or in
Montgomery form; the point functions at the top are affine chord-and-tangent formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from kernels.array import (
    AffineG1,
    AffineG2,
    FrArray,
    FrMont,
    G1Array,
    G2Array,
    SparseMatrix,
    ints_from_words,
    require_foldable,
)
from kernels.backend import (
    BackendInfo,
    FixedG1,
    FixedG2,
    G1Sum,
    G2Sum,
    Progress,
    Rows,
    SumProgress,
    sum_one_by_one,
)
from kernels.bn254 import B1, B2, TWO_ADICITY, P, R, root_of_unity
from kernels.errors import ShapeError
from kernels.host import HostArrays
from kernels.numpy_types import BoolArray

Fp2 = tuple[int, int]
"""c0 + c1*u with u^2 = -1 and 0 <= c0, c1 < p."""

F = TypeVar("F")


# -- F_p2 ------------------------------------------------------------------------------------------


def add_fp2(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] + b[0]) % P, (a[1] + b[1]) % P


def sub_fp2(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] - b[0]) % P, (a[1] - b[1]) % P


def mul_fp2(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] * b[0] - a[1] * b[1]) % P, (a[0] * b[1] + a[1] * b[0]) % P


def invert_fp2(a: Fp2) -> Fp2:
    """1/a = conj(a) / norm(a). Raises ZeroDivisionError for a = 0."""
    norm = (a[0] * a[0] + a[1] * a[1]) % P
    if norm == 0:
        raise ZeroDivisionError("0 has no inverse in F_p2")
    inverse = pow(norm, -1, P)
    return a[0] * inverse % P, -a[1] * inverse % P


# -- points: affine pairs, None = infinity ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Field(Generic[F]):
    """The operations the chord-and-tangent formulas need."""

    add: Callable[[F, F], F]
    sub: Callable[[F, F], F]
    mul: Callable[[F, F], F]
    invert: Callable[[F], F]
    zero: F


_FP: _Field[int] = _Field(
    add=lambda a, b: (a + b) % P,
    sub=lambda a, b: (a - b) % P,
    mul=lambda a, b: a * b % P,
    invert=lambda a: pow(a, -1, P),
    zero=0,
)
_FP2: _Field[Fp2] = _Field(add=add_fp2, sub=sub_fp2, mul=mul_fp2, invert=invert_fp2, zero=(0, 0))


def _negate(f: _Field[F], p: tuple[F, F] | None) -> tuple[F, F] | None:
    return None if p is None else (p[0], f.sub(f.zero, p[1]))


def _add(f: _Field[F], p: tuple[F, F] | None, q: tuple[F, F] | None) -> tuple[F, F] | None:
    """P + Q on y^2 = x^3 + b: chord, tangent, and the three cases with infinity."""
    if p is None or q is None:
        return q if p is None else p
    (x1, y1), (x2, y2) = p, q
    if x1 == x2:
        if f.add(y1, y2) == f.zero:
            return None
        square = f.mul(x1, x1)
        slope = f.mul(f.add(f.add(square, square), square), f.invert(f.add(y1, y1)))
    else:
        slope = f.mul(f.sub(y2, y1), f.invert(f.sub(x2, x1)))
    x3 = f.sub(f.sub(f.mul(slope, slope), x1), x2)
    return x3, f.sub(f.mul(slope, f.sub(x1, x3)), y1)


def _mul(f: _Field[F], k: int, p: tuple[F, F] | None) -> tuple[F, F] | None:
    """k*P, double and add from the top bit. k is not taken mod r, so r*P tests the order."""
    if k < 0:
        return _mul(f, -k, _negate(f, p))
    total: tuple[F, F] | None = None
    for bit in bin(k)[2:]:
        total = _add(f, total, total)
        if bit == "1":
            total = _add(f, total, p)
    return total


def _is_on_curve(f: _Field[F], b: F, p: tuple[F, F] | None) -> bool:
    if p is None:
        return True
    x, y = p
    return f.mul(y, y) == f.add(f.mul(f.mul(x, x), x), b)


def negate_g1(p: AffineG1 | None) -> AffineG1 | None:
    return _negate(_FP, p)


def add_g1(p: AffineG1 | None, q: AffineG1 | None) -> AffineG1 | None:
    return _add(_FP, p, q)


def mul_g1(k: int, p: AffineG1 | None) -> AffineG1 | None:
    """k*P for any integer k."""
    return _mul(_FP, k, p)


def is_on_curve_g1(p: AffineG1 | None) -> bool:
    return _is_on_curve(_FP, B1, p)


def negate_g2(p: AffineG2 | None) -> AffineG2 | None:
    return _negate(_FP2, p)


def add_g2(p: AffineG2 | None, q: AffineG2 | None) -> AffineG2 | None:
    return _add(_FP2, p, q)


def mul_g2(k: int, p: AffineG2 | None) -> AffineG2 | None:
    """k*P for any integer k; not reduced mod r, because E'(F_p2) has points of other orders."""
    return _mul(_FP2, k, p)


def is_on_curve_g2(p: AffineG2 | None) -> bool:
    return _is_on_curve(_FP2, B2, p)


def is_in_subgroup_g2(p: AffineG2 | None) -> bool:
    """Whether a point is on E' and r*P = 0."""
    return is_on_curve_g2(p) and mul_g2(R, p) is None


# -- the backend -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReferenceFixedG1:
    """Bases as they are: the definition prepares nothing."""

    bases: G1Array

    def __len__(self) -> int:
        return len(self.bases)

    @property
    def n_bytes(self) -> int:
        return self.bases.data.nbytes


@dataclass(frozen=True, slots=True)
class ReferenceFixedG2:
    """Bases as they are: the definition prepares nothing."""

    bases: G2Array

    def __len__(self) -> int:
        return len(self.bases)

    @property
    def n_bytes(self) -> int:
        return self.bases.data.nbytes


class Reference(HostArrays):
    """`kernels.backend.Backend` by definition. Cost: a few microseconds per field operation."""

    def info(self) -> BackendInfo:
        return BackendInfo(name="reference", lanes="python integers", n_threads=1)

    # -- F_r ---------------------------------------------------------------------------------------
    def to_mont(self, a: FrArray) -> FrMont:
        return _mont(a.to_ints(), a.shape)

    def from_mont(self, a: FrMont) -> FrArray:
        return FrArray(FrArray.from_ints(a.to_ints()).data.reshape(a.data.shape))

    def add(self, a: FrMont, b: FrMont) -> FrMont:
        _require_equal_shapes(a, b)
        return _mont([x + y for x, y in zip(a.to_ints(), b.to_ints(), strict=True)], a.shape)

    def sub(self, a: FrMont, b: FrMont) -> FrMont:
        _require_equal_shapes(a, b)
        return _mont([x - y for x, y in zip(a.to_ints(), b.to_ints(), strict=True)], a.shape)

    def mul(self, a: FrMont, b: FrMont) -> FrMont:
        _require_equal_shapes(a, b)
        return _mont([x * y for x, y in zip(a.to_ints(), b.to_ints(), strict=True)], a.shape)

    def scale(self, a: FrMont, factor: int) -> FrMont:
        return _mont([x * factor for x in a.to_ints()], a.shape)

    def batch_inverse(self, a: FrMont) -> FrMont:
        values = a.to_ints()
        if 0 in values:
            raise ZeroDivisionError(f"batch_inverse: element {values.index(0)} is zero")
        return _mont([pow(x, -1, R) for x in values], a.shape)

    def fold(self, a: FrMont, n: int, level: int) -> FrMont:
        require_foldable(a, n)
        values, out = a.to_ints(), [0] * n
        for i, x in enumerate(values):
            out[i % n] += x * pow(level, i // n, R)
        return _mont(out, (n,))

    def powers(self, base: int, n: int, *, first: int = 1) -> FrMont:
        if n < 0:
            raise ValueError(f"powers: n = {n} is negative")
        return _mont([first * pow(base, i, R) for i in range(n)], (n,))

    def dot(self, a: FrMont, b: FrMont) -> int:
        _require_equal_shapes(a, b)
        return sum(x * y for x, y in zip(a.to_ints(), b.to_ints(), strict=True)) % R

    # -- transforms --------------------------------------------------------------------------------
    def ntt(
        self,
        a: FrMont,
        *,
        inverse: bool = False,
        shift: int = 1,
        progress: Progress | None = None,
    ) -> FrMont:
        if len(a.shape) > 2:
            raise ShapeError(f"ntt: expected [n] or [batch, n] elements, got {list(a.shape)}")
        n = a.shape[-1]
        lg_n = n.bit_length() - 1
        if n < 1 or n != 1 << lg_n or lg_n > TWO_ADICITY:
            raise ValueError(f"ntt: length {n} is no power of two up to 2^{TWO_ADICITY}")
        if shift % R == 0:
            raise ValueError("ntt: the coset shift is zero")
        values, w = a.to_ints(), root_of_unity(lg_n)
        out: list[int] = []
        for start in range(0, len(values), n):
            row = values[start : start + n]
            out += _interpolate(row, w, shift) if inverse else _evaluate(row, w, shift)
            _report(progress, start + n, len(values))
        return _mont(out, a.shape)

    # -- groups ------------------------------------------------------------------------------------
    def msm_g1(
        self, scalars: FrArray, bases: G1Array | FixedG1, *, progress: Progress | None = None
    ) -> G1Array:
        points = bases.bases if isinstance(bases, ReferenceFixedG1) else bases
        if not isinstance(points, G1Array):
            raise TypeError(f"msm_g1: {type(bases).__name__} was prepared by another backend")
        total = _msm(_FP, scalars, points.to_ints(), progress)
        return G1Array.from_ints([total])

    def msm_g2(
        self, scalars: FrArray, bases: G2Array | FixedG2, *, progress: Progress | None = None
    ) -> G2Array:
        points = bases.bases if isinstance(bases, ReferenceFixedG2) else bases
        if not isinstance(points, G2Array):
            raise TypeError(f"msm_g2: {type(bases).__name__} was prepared by another backend")
        total = _msm(_FP2, scalars, points.to_ints(), progress)
        return G2Array.from_ints([total])

    def msm_all(
        self,
        g1: Iterable[G1Sum],
        g2: Iterable[G2Sum] = (),
        *,
        progress: SumProgress | None = None,
    ) -> tuple[list[G1Array], list[G2Array]]:
        """One sum after the other."""
        return sum_one_by_one(self, g1, g2, progress)

    def fix_g1(self, bases: G1Array, *, max_bytes: int | None = None) -> ReferenceFixedG1:
        return ReferenceFixedG1(bases)

    def fix_g2(self, bases: G2Array, *, max_bytes: int | None = None) -> ReferenceFixedG2:
        return ReferenceFixedG2(bases)

    def fixed_base_g1(
        self, scalars: FrArray, base: G1Array, *, progress: Progress | None = None
    ) -> G1Array:
        return G1Array.from_ints(_multiples(_FP, scalars, base.to_ints(), progress))

    def fixed_base_g2(
        self, scalars: FrArray, base: G2Array, *, progress: Progress | None = None
    ) -> G2Array:
        return G2Array.from_ints(_multiples(_FP2, scalars, base.to_ints(), progress))

    def is_on_curve_g1(self, points: G1Array) -> BoolArray:
        rows = zip(_are_canonical(points), points.to_ints(), strict=True)
        return np.array([c and is_on_curve_g1(p) for c, p in rows], dtype=np.bool_)

    def is_in_subgroup_g2(self, points: G2Array) -> BoolArray:
        rows = zip(_are_canonical(points), points.to_ints(), strict=True)
        return np.array([c and is_in_subgroup_g2(p) for c, p in rows], dtype=np.bool_)

    def are_all_in_subgroup_g2(self, points: G2Array, random_bytes: Callable[[int], bytes]) -> bool:
        return bool(self.is_in_subgroup_g2(points).all())

    # -- sparse ------------------------------------------------------------------------------------
    def matvec(self, m: SparseMatrix, z: FrMont, *, rows: Sequence[Rows] | None = None) -> FrMont:
        if z.shape != (m.n_cols,):
            raise ShapeError(f"matvec: {m.n_cols} columns times a vector of shape {list(z.shape)}")
        if rows is not None:
            parts = [self.matvec(m.rows(*part), z) for part in rows]
            return FrMont.concat([FrMont.zeros(0), *parts])
        vector, wide = z.to_ints(), m.wide.to_ints()
        sums = []
        for start, end in zip(m.indptr[:-1], m.indptr[1:], strict=True):
            total = 0
            for coeff, col in zip(m.coeffs[start:end], m.cols[start:end], strict=True):
                c = int(coeff)
                total += (wide[c - m.WIDE] if c >= m.WIDE else c) * vector[col]
            sums.append(total)
        return _mont(sums, (m.n_rows,))


def _mont(values: Sequence[int], shape: tuple[int, ...]) -> FrMont:
    return FrMont(FrMont.from_ints(values).data.reshape(*shape, FrMont.WORDS))


def _require_equal_shapes(a: FrMont, b: FrMont) -> None:
    if a.shape != b.shape:
        raise ShapeError(f"shapes differ: {list(a.shape)} and {list(b.shape)}")


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _evaluate(coefficients: list[int], w: int, shift: int) -> list[int]:
    """out[i] = sum_j a[j] x_i^j at x_i = shift * w^i, by Horner's rule."""
    out = []
    for i in range(len(coefficients)):
        x, value = shift * pow(w, i, R) % R, 0
        for c in reversed(coefficients):
            value = (value * x + c) % R
        out.append(value)
    return out


def _interpolate(values: list[int], w: int, shift: int) -> list[int]:
    """The a with `_evaluate(a) = values`: a[j] = shift^-j / n * sum_i values[i] w^(-ij).

    Holds because sum_i w^(i(k - j)) is n for k = j and 0 otherwise.
    """
    sums = _evaluate(values, pow(w, -1, R), 1)
    n_inverse, unshift = pow(len(values), -1, R), pow(shift, -1, R)
    return [s * n_inverse * pow(unshift, j, R) % R for j, s in enumerate(sums)]


def _msm(
    f: _Field[F], scalars: FrArray, bases: Sequence[tuple[F, F] | None], progress: Progress | None
) -> tuple[F, F] | None:
    """sum_i s_i P_i, term by term."""
    if scalars.shape != (len(bases),):
        raise ShapeError(f"msm: scalars of shape {list(scalars.shape)} for {len(bases)} bases")
    total: tuple[F, F] | None = None
    if not bases:
        _report(progress, 1, 1)
    for i, (s, p) in enumerate(zip(scalars.to_ints(), bases, strict=True)):
        total = _add(f, total, _mul(f, s, p))
        _report(progress, i + 1, len(bases))
    return total


def _multiples(
    f: _Field[F], scalars: FrArray, base: Sequence[tuple[F, F] | None], progress: Progress | None
) -> list[tuple[F, F] | None]:
    """s_i * base for every i."""
    if len(base) != 1 or len(scalars.shape) != 1:
        raise ShapeError(f"fixed_base: expected [n] scalars and one base, got {len(base)} bases")
    values, out = scalars.to_ints(), []
    for i, s in enumerate(values):
        out.append(_mul(f, s, base[0]))
        _report(progress, i + 1, len(values))
    return out


def _are_canonical(points: G1Array | G2Array) -> list[bool]:
    """Per point: every coordinate, as stored (times 2^256), is below p."""
    words, per_point = ints_from_words(points.data.reshape(-1, 4)), points.WORDS // 4
    return [all(v < P for v in words[i : i + per_point]) for i in range(0, len(words), per_point)]
