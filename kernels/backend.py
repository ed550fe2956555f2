"""The backend protocol (what a device must compute) and the registry (who computes it).

A new device is one file plus one row of `_BACKENDS`; it is accepted when
`pytest tests/conformance --backend=NAME` passes. `kernels.reference` is the living definition.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from typing import Protocol, TypeVar

from kernels.array import FrArray, FrMont, G1Array, G2Array, SparseMatrix
from kernels.errors import BackendUnavailable
from kernels.integers import Integers
from kernels.numpy_types import BoolArray, UInt32Array

Scalars = TypeVar("Scalars", FrArray, FrMont)
T = TypeVar("T")
Progress = Callable[[int, int], None]
"""progress(done, total) in units of one call's work: never decreasing, last with done == total."""
SumProgress = Callable[[int, int, int], None]
"""progress(i, done, total): a `Progress` for the i-th of several sums."""
Rows = tuple[int, int]  # first <= i < last


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendInfo:
    """What a backend uses: nothing is chosen silently."""

    name: str
    lanes: str
    n_threads: int
    detail: dict[str, str] = field(default_factory=dict)


class FixedG1(Protocol):
    """Prepared G1 bases (device form, possibly with precomputed window multiples)."""

    def __len__(self) -> int: ...
    @property
    def n_bytes(self) -> int: ...


class FixedG2(Protocol):
    """Prepared G2 bases."""

    def __len__(self) -> int: ...
    @property
    def n_bytes(self) -> int: ...


G1Sum = tuple[FrArray, G1Array | FixedG1]
G2Sum = tuple[FrArray, G2Array | FixedG2]
"""Scalars s_i and bases P_i of sum s_i P_i."""


class Inverses(Protocol):
    """Some batch inversions whose zeros are looked for behind the last: nobody waits before."""

    def invert(self, a: FrMont) -> FrMont:
        """1 / a for a of shape [n]; if any element is zero, n elements of no meaning."""
        ...

    def find_zero(self) -> tuple[int, int] | None:
        """Which inversion was the first with a zero, and the first zero's index in it."""
        ...


class Backend(Protocol):
    """All results are canonical and identical for every backend and thread count.

    Arrays of scalars are on the host or, after `upload`, where the backend computes (for a CPU that
    is the same). Every method takes both kinds; what it computes from an array that was uploaded
    stays there. Points and integers that are results come to the host.
    """

    def info(self) -> BackendInfo: ...

    # -- where scalars are -----------------------------------------------------------------------
    @property
    def integers(self) -> Integers:
        """The integers of a witness, where this backend computes."""
        ...

    def upload(self, a: Scalars) -> Scalars:
        """The same array where this backend computes."""
        ...

    def download(self, a: Scalars) -> Scalars:
        """The same array on the host."""
        ...

    def concat(self, parts: Sequence[Scalars]) -> Scalars:
        """One after the other, at least one part; each of shape [n_i]."""
        ...

    def stack(self, parts: Sequence[FrMont], n: int) -> FrMont:
        """Rows of length n, zeros behind each part; shape [len(parts), n]."""
        ...

    def take(self, a: FrArray, index: UInt32Array) -> FrArray:
        """a[index] for a of shape [n]; the index is a constant (of a key) and may be kept.

        Raises IndexError for an index that is not below n.
        """
        ...

    def put(self, target: FrMont, places: UInt32Array, values: FrMont) -> None:
        """target[places] = values, for distinct places, a constant as in `take`; both arrays are
        where this backend computes, or both on the host.

        Raises IndexError for a place that is not below len(target), ShapeError for other lengths.
        """
        ...

    def replay(self, name: Hashable, given: Scalars, work: Callable[[Scalars], T]) -> T:
        """work(given), a phase: calls of this backend's methods that depend on nothing but the
        name, and on the shape and values of what is given, and none of whose results comes to the
        host. Inside `integers.active(of)` a device may record what they start, and start it again
        the next time: then the work is not called, and its result takes the place of the last one.
        """
        ...

    # -- F_r, elementwise over equal shapes ------------------------------------------------------
    def to_mont(self, a: FrArray) -> FrMont: ...
    def from_mont(self, a: FrMont) -> FrArray: ...
    def add(self, a: FrMont, b: FrMont) -> FrMont: ...
    def sub(self, a: FrMont, b: FrMont) -> FrMont: ...
    def mul(self, a: FrMont, b: FrMont) -> FrMont: ...
    def scale(self, a: FrMont, factor: int) -> FrMont:
        """factor * a, factor any integer (taken mod r)."""
        ...

    def batch_inverse(self, a: FrMont) -> FrMont:
        """Elementwise inverses. Raises ZeroDivisionError naming the first zero's index."""
        ...

    def inverses(self, n: int) -> Inverses:
        """For n inversions, which may be those of a phase (`replay`); the zeros are found after."""
        ...

    def powers(self, base: int, n: int, *, first: int = 1) -> FrMont:
        """first * base^i for 0 <= i < n."""
        ...

    def dot(self, a: FrMont, b: FrMont) -> int:
        """sum a_i b_i mod r, as a canonical integer."""
        ...

    def fold(self, a: FrMont, n: int, level: int) -> FrMont:
        """The coefficients of a(X) mod X^n - level: out[i] = sum_q a[q n + i] level^q, shape [n].

        a : of shape [m], m >= n >= 1; level any integer (taken mod r). ShapeError for another m
        """
        ...

    # -- transforms ------------------------------------------------------------------------------
    def ntt(
        self,
        a: FrMont,
        *,
        inverse: bool = False,
        shift: int = 1,
        progress: Progress | None = None,
    ) -> FrMont:
        """Number-theoretic transform over the last axis, natural order in and out.

        a       : [n] or [batch, n], n = 2^lg_n, 0 <= lg_n <= 28 (else ValueError)
        forward : out[i] = sum_j a[j] (shift * w^i)^j        evaluation on the coset shift * <w>
        inverse : the inverse map of `forward` with the same shift (1/n included)
        """
        ...

    # -- groups ----------------------------------------------------------------------------------
    def msm_g1(
        self, scalars: FrArray, bases: G1Array | FixedG1, *, progress: Progress | None = None
    ) -> G1Array:
        """sum s_i P_i as a G1Array of length 1; any length incl. 0; any bases incl. infinity."""
        ...

    def msm_g2(
        self, scalars: FrArray, bases: G2Array | FixedG2, *, progress: Progress | None = None
    ) -> G2Array: ...

    def msm_all(
        self,
        g1: Iterable[G1Sum],
        g2: Iterable[G2Sum] = (),
        *,
        progress: SumProgress | None = None,
    ) -> tuple[list[G1Array], list[G2Array]]:
        """`msm_g1` and `msm_g2` of many sums, in their order; a device computes them together.

        g1, g2   : read as they are computed, one by one where nothing is gained by having all
        progress : counts the sums of G1, then those of G2
        """
        ...

    def upload_summing(
        self,
        a: FrArray,
        index: UInt32Array,
        more: FrArray,
        bases: G1Array | FixedG1,
        *,
        progress: Progress | None = None,
    ) -> tuple[FrArray, G1Array]:
        """`upload(a)`, and `msm_g1` of the scalars a[index], then more: a device sums the first of
        them while others are on their way.

        a, more : of the host
        index   : as in `take`, and best where it rises
        """
        ...

    def fix_g1(self, bases: G1Array, *, max_bytes: int | None = None) -> FixedG1:
        """Prepare bases for many MSMs; `max_bytes` allows that much for precomputed multiples."""
        ...

    def fix_g2(self, bases: G2Array, *, max_bytes: int | None = None) -> FixedG2: ...

    def fixed_base_g1(
        self, scalars: FrArray, base: G1Array, *, progress: Progress | None = None
    ) -> G1Array:
        """s_i * base for every i (`base` has length 1): key generation."""
        ...

    def fixed_base_g2(
        self, scalars: FrArray, base: G2Array, *, progress: Progress | None = None
    ) -> G2Array: ...

    def is_on_curve_g1(self, points: G1Array) -> BoolArray:
        """Per point: coordinates < p and on E, or infinity. (E(F_p) has prime order.)"""
        ...

    def is_in_subgroup_g2(self, points: G2Array) -> BoolArray:
        """Per point: coordinates < p, on E' and of order r, or infinity."""
        ...

    def are_all_in_subgroup_g2(self, points: G2Array, random_bytes: Callable[[int], bytes]) -> bool:
        """`is_in_subgroup_g2(points).all()`, much quicker: for the points of a stranger's key.

        random_bytes : n -> n uniform bytes that whoever made the points could not foresee
        errors       : False is certain; True may be wrong with probability at most 2^-128
        """
        ...

    # -- sparse ----------------------------------------------------------------------------------
    def matvec(self, m: SparseMatrix, z: FrMont, *, rows: Sequence[Rows] | None = None) -> FrMont:
        """m z over F_r; with `rows`, ranges first <= i < last, only those entries, range after
        range."""
        ...


def sum_one_by_one(
    backend: Backend,
    g1: Iterable[G1Sum],
    g2: Iterable[G2Sum],
    progress: SumProgress | None = None,
) -> tuple[list[G1Array], list[G2Array]]:
    """`Backend.msm_all` for who computes one sum after the other."""

    def of(i: int) -> Progress | None:
        return None if progress is None else partial(progress, i)

    own = [backend.msm_g1(s, bases, progress=of(i)) for i, (s, bases) in enumerate(g1)]
    return own, [
        backend.msm_g2(s, bases, progress=of(i)) for i, (s, bases) in enumerate(g2, len(own))
    ]


_BACKENDS = {
    "reference": "kernels.reference:Reference",
    "cpu": "kernels.cpu.backend:CpuBackend",
    "cuda": "kernels.cuda.backend:CudaBackend",
}


@cache
def get_backend(name: str = "cpu", device: int | None = None) -> Backend:
    """The backend of that name, loaded once per process.

    device : which GPU, for the backend that has some; default $ZKPOT_DEVICE, else 0

    Raises ValueError for an unknown name, SettingInvalid, which is one, for a variable that cannot
    be meant, and BackendUnavailable when it cannot run here.
    """
    if name not in _BACKENDS:
        raise ValueError(f"unknown backend {name!r}; known: {', '.join(sorted(_BACKENDS))}")
    module, attribute = _BACKENDS[name].split(":")
    try:
        make = getattr(import_module(module), attribute)
    except Exception as error:  # of a package that it needs: absent, broken, or of another version
        raise BackendUnavailable(
            f"backend {name} cannot be imported ({type(error).__name__}: {error})"
        ) from error
    backend: Backend = make() if device is None else make(ordinal=device)
    return backend
