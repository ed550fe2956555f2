"""The CUDA backend: every method of `kernels.backend.Backend`, on one device.

Scalars that were uploaded stay on the device, and so does what is computed from them; scalars on
the host go there and come back, in pieces if need be. What has no kernel is done by the CPU
backend; `info().detail["on_cpu"]` names it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property, partial, wraps
from itertools import groupby
from typing import ParamSpec, TypeVar

import numpy as np

from kernels.array import (
    U64,
    FrArray,
    FrMont,
    G1Array,
    G2Array,
    SparseMatrix,
    require_foldable,
)
from kernels.backend import (
    Backend,
    BackendInfo,
    FixedG1,
    FixedG2,
    G1Sum,
    G2Sum,
    Inverses,
    Progress,
    Rows,
    Scalars,
    SumProgress,
)
from kernels.bn254 import MONT_BITS, MONT_R2_R, R
from kernels.cpu.backend import CpuBackend
from kernels.cuda import pieces, pointwise
from kernels.cuda.integers import Constants, DeviceIntegers
from kernels.cuda.inverses import DeviceInverses
from kernels.cuda.launch.runtime import Array, Device
from kernels.cuda.msm.arriving import Arriving
from kernels.cuda.msm.bases import as_bases, prepare_bases
from kernels.cuda.msm.fixed_base import FixedBase
from kernels.cuda.msm.sums import Sum, compute_sums
from kernels.cuda.ntt import Ntt, require_transform
from kernels.cuda.plan import ELEMENT_BYTES, require_inversion
from kernels.cuda.sparse import CudaSparse
from kernels.cuda.witness import gather, join, scatter
from kernels.errors import DoesNotFit, SettingInvalid
from kernels.host import require_places
from kernels.integers import Integers
from kernels.numpy_types import BoolArray, UInt32Array

P = ParamSpec("P")
T = TypeVar("T")

ON_CPU = ("group tests", "the table of a base's multiples")


def on_device(method: Callable[P, T]) -> Callable[P, T]:
    """A method of CudaBackend that works on its device: see `Device.active`."""

    @wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        backend = args[0]
        assert isinstance(backend, CudaBackend)
        with backend.device.active():
            return method(*args, **kwargs)

    return run


class CudaBackend:
    """F_r, transforms and groups on a GPU.

    device : default the GPU `ordinal` of those that the process sees; its default `$ZKPOT_DEVICE`,
             else 0
    cpu    : does what has no kernel

    Raises BackendUnavailable when there is no device or no cupy, DeviceError for faults later.
    """

    def __init__(
        self,
        device: Device | None = None,
        cpu: Backend | None = None,
        *,
        ordinal: int | None = None,
    ) -> None:
        if device is None:
            from kernels.cuda.launch.device import open_device  # not at import: it loads cupy

            device = open_device(_default_ordinal() if ordinal is None else ordinal)
        self.device = device
        self._cpu: Backend = cpu or CpuBackend()
        self._ntt = Ntt(device)
        self._constants = Constants(device)

    @cached_property
    def _sparse(self) -> CudaSparse:
        return CudaSparse(self.device)

    def info(self) -> BackendInfo:
        """The device, its memory and what it leaves to the CPU."""
        return BackendInfo(
            name="cuda",
            lanes=self.device.name,
            n_threads=self.device.n_processors,
            detail={
                "memory_bytes": str(self.device.memory_bytes),
                "on_cpu": ", ".join(ON_CPU),
            },
        )

    # -- where scalars are -------------------------------------------------------------------------
    @cached_property
    def integers(self) -> Integers:
        """The integers of a witness, on the device."""
        return DeviceIntegers(self.device, self._constants)

    @on_device
    def upload(self, a: Scalars) -> Scalars:
        """A copy on the device; `a` itself if it is there. Raises DoesNotFit."""
        if self.device.holds(a.data):
            return a
        self._require_room(a.data.nbytes)
        return type(a)(self.device.asarray(a.data))

    @on_device
    def download(self, a: Scalars) -> Scalars:
        """A copy on the host; `a` itself if it is there."""
        return type(a)(self.device.to_host(a.data)) if self.device.holds(a.data) else a

    @on_device
    def concat(self, parts: Sequence[Scalars]) -> Scalars:
        """One after the other; on the device if any part is."""
        if not any(self.device.holds(part.data) for part in parts):
            return type(parts[0]).concat(parts)
        joined: list[U64] = []
        for there, group in groupby((part.data for part in parts), self.device.holds):
            found = list(group)
            joined += found if there else [self._resident(np.concatenate(found))]
        if len(joined) > 1:
            whole = self.device.empty((sum(map(len, parts)), FrMont.WORDS), np.uint64)
            join(self.device, joined, whole)
            joined = [whole]
        return type(parts[0])(joined[0])

    @on_device
    def stack(self, parts: Sequence[FrMont], n: int) -> FrMont:
        """Rows with zeros behind; on the device if any part is."""
        resident = any(self.device.holds(part.data) for part in parts)
        make = self.device.empty if resident else np.zeros
        out = make((len(parts), n, FrMont.WORDS), np.uint64)
        for row, part in enumerate(parts):
            if resident:
                join(self.device, [self._resident(part.data)], out[row])
            else:
                out[row, : len(part)] = part.data
        return FrMont(out)

    @on_device
    def take(self, a: FrArray, index: UInt32Array) -> FrArray:
        """a[index]. Raises IndexError: a device would read whatever lies behind a."""
        if not self.device.holds(a.data):
            return FrArray(a.data[index])
        if len(index) and int(index.max()) >= len(a):
            raise IndexError(f"take: index {int(index.max())} of {len(a)} scalars")
        return FrArray(gather(self.device, a.data, self._constants(index)))

    @on_device
    def put(self, target: FrMont, places: UInt32Array, values: FrMont) -> None:
        """target[places] = values. Raises IndexError: a device would write whatever lies behind."""
        require_places(target, places, values)
        if self.device.holds(target.data):
            scatter(self.device, target.data, self._constants(places), values.data)
        else:
            target.data[places] = values.data

    @on_device
    def replay(self, name: Hashable, given: Scalars, work: Callable[[Scalars], T]) -> T:
        """See `Backend.replay`."""
        if not self.device.holds(given.data):
            return work(given)
        kind = type(given)
        return self.device.replay(name, [given.data], lambda arrays: work(kind(arrays[0])))

    def _require_room(self, needed: int) -> None:
        granted = self.device.free_bytes
        if needed > granted:
            raise DoesNotFit(what="an array of scalars", needed=needed, granted=granted)

    def _there_and_back(self, run: Callable[[Array], Array], words: U64) -> U64:
        return self.device.to_host(run(self.device.asarray(words)))

    def _beside(self, given: U64, result: Array) -> U64:
        """A result of the device where the array is that it was computed from."""
        moved: U64 = result if self.device.holds(given) else self.device.to_host(result)
        return moved

    def _resident(self, words: U64) -> Array:
        return pieces.resident(self.device, words)

    # -- F_r ---------------------------------------------------------------------------------------
    @on_device
    def to_mont(self, a: FrArray) -> FrMont:
        """x -> x * 2^256 mod r."""
        return FrMont(pieces.multiply_by(self.device, a.data, MONT_R2_R))

    @on_device
    def from_mont(self, a: FrMont) -> FrArray:
        """x * 2^256 mod r -> x."""
        return FrArray(pieces.multiply_by(self.device, a.data, 1))

    @on_device
    def add(self, a: FrMont, b: FrMont) -> FrMont:
        """Elementwise a + b."""
        return pieces.combine(self.device, "add_all", a, b)

    @on_device
    def sub(self, a: FrMont, b: FrMont) -> FrMont:
        """Elementwise a - b."""
        return pieces.combine(self.device, "sub_all", a, b)

    @on_device
    def mul(self, a: FrMont, b: FrMont) -> FrMont:
        """Elementwise a b."""
        return pieces.combine(self.device, "mul_all", a, b)

    @on_device
    def scale(self, a: FrMont, factor: int) -> FrMont:
        """factor * a."""
        return FrMont(pieces.multiply_by(self.device, a.data, (factor << MONT_BITS) % R))

    @on_device
    def fold(self, a: FrMont, n: int, level: int) -> FrMont:
        """a(X) mod X^n - level."""
        require_foldable(a, n)
        out = pointwise.fold(self.device, self._resident(a.data), n, level)
        return FrMont(self._beside(a.data, out))

    @on_device
    def batch_inverse(self, a: FrMont) -> FrMont:
        """Elementwise 1/a; ZeroDivisionError names the first zero."""
        require_inversion(a.data.size // FrMont.WORDS, self.device.free_bytes)
        out = pointwise.batch_inverse(self.device, self._resident(a.data))
        return FrMont(self._beside(a.data, out))

    @on_device
    def inverses(self, n: int) -> Inverses:
        """Of arrays of the device, which is asked for zeros once."""
        return DeviceInverses(self.device, n)

    @on_device
    def powers(self, base: int, n: int, *, first: int = 1) -> FrMont:
        """first * base^i for 0 <= i < n."""
        if n < 0:
            raise ValueError(f"powers: n = {n} is negative")
        parts = [
            self.device.to_host(
                pointwise.powers(self.device, base, end - start, first * pow(base, start, R))
            )
            for start, end in pieces.ranges(self.device, n, 1)
        ]
        return FrMont(np.concatenate([FrMont.zeros(0).data, *parts]))

    @on_device
    def dot(self, a: FrMont, b: FrMont) -> int:
        """sum a_i b_i mod r."""
        pieces.require_equal_shapes(a, b)
        both = pieces.split(self.device, a.data, b.data)
        return sum(pointwise.dot(self.device, x, y) for _, x, y in both) % R

    @on_device
    def matvec(self, m: SparseMatrix, z: FrMont, *, rows: Sequence[Rows] | None = None) -> FrMont:
        """m z, or some of its rows."""
        ranges = ((0, m.n_rows),) if rows is None else tuple(rows)
        out = self._sparse.multiply(m, self._resident(z.data), ranges)
        return FrMont(self._beside(z.data, out))

    # -- transforms --------------------------------------------------------------------------------
    @on_device
    def ntt(
        self,
        a: FrMont,
        *,
        inverse: bool = False,
        shift: int = 1,
        progress: Progress | None = None,
    ) -> FrMont:
        """See `Backend.ntt`."""
        n = require_transform(a, shift)
        rows, resident = a.data.reshape(-1, n, FrMont.WORDS), self.device.holds(a.data)
        report = progress or (lambda done, total: None)
        run = partial(self._ntt.run, inverse=inverse, shift=shift % R)
        at_once = self._ntt.plan(n.bit_length() - 1, len(rows)).rows
        if resident and at_once >= len(rows):
            whole = run(rows)
            report(len(rows), len(rows))
            return FrMont(whole.reshape(a.data.shape))
        self.device.spoil_tape()
        out = self.device.empty(rows.shape, np.uint64) if resident else np.empty_like(rows)
        if resident:  # what the parts are put into leaves less for them
            at_once = self._ntt.plan(n.bit_length() - 1, len(rows)).rows
        for start in range(0, len(rows), at_once):
            part = slice(start, start + at_once)
            out[part] = run(rows[part]) if resident else self._there_and_back(run, rows[part])
            report(min(start + at_once, len(rows)), len(rows))
        if len(rows) == 0:
            report(0, 0)
        return FrMont(out.reshape(a.data.shape))

    # -- groups ------------------------------------------------------------------------------------
    @on_device
    def msm_g1(
        self, scalars: FrArray, bases: G1Array | FixedG1, *, progress: Progress | None = None
    ) -> G1Array:
        """sum s_i P_i."""
        return self.msm_all([(scalars, bases)], [], progress=_of_one(progress))[0][0]

    @on_device
    def msm_g2(
        self, scalars: FrArray, bases: G2Array | FixedG2, *, progress: Progress | None = None
    ) -> G2Array:
        """sum s_i Q_i."""
        return self.msm_all([], [(scalars, bases)], progress=_of_one(progress))[1][0]

    @on_device
    def msm_all(
        self,
        g1: Iterable[G1Sum],
        g2: Iterable[G2Sum] = (),
        *,
        progress: SumProgress | None = None,
    ) -> tuple[list[G1Array], list[G2Array]]:
        """All sums together: the host waits once, and what can be is one launch for all of them."""
        in_g1 = [Sum(scalars, as_bases(bases, 1)) for scalars, bases in g1]
        in_g2 = [Sum(scalars, as_bases(bases, 2)) for scalars, bases in g2]
        words = compute_sums(self.device, [*in_g1, *in_g2], progress)
        return (
            [G1Array(own.reshape(1, -1)) for own in words[: len(in_g1)]],
            [G2Array(own.reshape(1, -1)) for own in words[len(in_g1) :]],
        )

    @on_device
    def upload_summing(
        self,
        a: FrArray,
        index: UInt32Array,
        more: FrArray,
        bases: G1Array | FixedG1,
        *,
        progress: Progress | None = None,
    ) -> tuple[FrArray, G1Array]:
        """The sum begins once the scalars of its first round are there. Raises DoesNotFit."""
        self._require_room(ELEMENT_BYTES * (len(a) + len(index) + len(more)))
        arriving = Arriving(self.device, a.data, index, self._constants(index), more.data)
        own = Sum(FrArray(arriving.scalars), as_bases(bases, 1), arriving)
        (words,) = compute_sums(self.device, [own], _of_one(progress))
        return FrArray(arriving.finish()), G1Array(words.reshape(1, -1))

    @on_device
    def fix_g1(self, bases: G1Array, *, max_bytes: int | None = None) -> FixedG1:
        """Bases on the device, with precomputed multiples if `max_bytes` is given."""
        return prepare_bases(self.device, bases.data, 1, max_bytes)

    @on_device
    def fix_g2(self, bases: G2Array, *, max_bytes: int | None = None) -> FixedG2:
        """Bases on the device, with precomputed multiples if `max_bytes` is given."""
        return prepare_bases(self.device, bases.data, 2, max_bytes)

    @on_device
    def fixed_base_g1(
        self, scalars: FrArray, base: G1Array, *, progress: Progress | None = None
    ) -> G1Array:
        """s_i * base for every i."""
        _require_one_base(base)
        table = partial(self._cpu.fixed_base_g1, base=base)
        multiples = FixedBase(self.device, 1)
        return G1Array(multiples.run(scalars, lambda s: table(s).data, progress))

    @on_device
    def fixed_base_g2(
        self, scalars: FrArray, base: G2Array, *, progress: Progress | None = None
    ) -> G2Array:
        """s_i * base for every i."""
        _require_one_base(base)
        table = partial(self._cpu.fixed_base_g2, base=base)
        multiples = FixedBase(self.device, 2)
        return G2Array(multiples.run(scalars, lambda s: table(s).data, progress))

    def is_on_curve_g1(self, points: G1Array) -> BoolArray:
        """Per point."""
        return self._cpu.is_on_curve_g1(points)

    def is_in_subgroup_g2(self, points: G2Array) -> BoolArray:
        """Per point."""
        return self._cpu.is_in_subgroup_g2(points)

    def are_all_in_subgroup_g2(self, points: G2Array, random_bytes: Callable[[int], bytes]) -> bool:
        """All points at once."""
        return self._cpu.are_all_in_subgroup_g2(points, random_bytes)


def _require_one_base(base: G1Array | G2Array) -> None:
    if base.shape != (1,):
        raise ValueError(f"fixed base: expected one base, got shape {list(base.shape)}")


def _of_one(progress: Progress | None) -> SumProgress | None:
    """The progress of a single sum as that of several."""
    if progress is None:
        return None
    return lambda i, done, total: progress(done, total)


def _default_ordinal() -> int:
    wanted = os.environ.get("ZKPOT_DEVICE") or "0"
    if not wanted.isdecimal():
        raise SettingInvalid(f"ZKPOT_DEVICE={wanted!r}: expected the ordinal of a GPU")
    return int(wanted)
