"""mcl (C++ and its own assembler) through the library that `mclbn256` carries.

The Python wrapper initialises another curve (BN254 as in Nogami et al.) when it is imported;
`mclBn_init(4, ...)` selects alt_bn128. The wrapper's classes are not used: mcl keeps field elements
as four 64-bit words in Montgomery form with radix 2^256, as our arrays do, and points as Jacobian
(x, y, z), so that arrays are handed over as they are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.errors import Unavailable
from bench.registry import Task
from kernels.array import U64, FrArray, FrMont, G1Array, G2Array
from kernels.bn254 import MONT_R_P

ALT_BN128 = 4
FIELD_WORDS = 4
COMPILED_FOR = FIELD_WORDS * 10 + FIELD_WORDS  # MCLBN_COMPILED_TIME_VAR
MAX_POINTS = 1 << 16  # of one call
GT_WORDS = 12 * FIELD_WORDS


class Mcl:
    """The `Peer` protocol over the C interface of mcl (bn.h); one thread."""

    def __init__(self) -> None:
        # Here and not at the top: importing the wrapper starts a process and writes files.
        from mclbn256.mclbn256 import lib

        if lib.mclBn_init(ALT_BN128, COMPILED_FOR) != 0:
            raise Unavailable("mclBn_init refuses alt_bn128")
        self._lib = lib

    def msm_g1(self, scalars: FrArray, bases: G1Array) -> Task[Any]:
        run = self._msm("G1", scalars, _jacobian(bases.data, 1))
        return Task(run=run, answer=lambda p: G1Array(p[:, : G1Array.WORDS]).to_ints()[0])

    def msm_g2(self, scalars: FrArray, bases: G2Array) -> Task[Any]:
        run = self._msm("G2", scalars, _jacobian(bases.data, 2))
        return Task(run=run, answer=lambda p: G2Array(p[:, : G2Array.WORDS]).to_ints()[0])

    def ntt(self, a: FrMont) -> Task[Any]:
        raise Unavailable("has no NTT")

    def pairing_check(self, g1: G1Array, g2: G2Array) -> Task[Any]:
        lib = self._lib
        left, right = _jacobian(g1.data, 1), _jacobian(g2.data, 2)
        doubled = left.copy()
        lib.mclBnG1_dbl(_pointer(doubled), _pointer(left))

        def run(points: U64 = left) -> bool:
            value = np.zeros(GT_WORDS, dtype=np.uint64)
            lib.mclBn_millerLoopVec(
                _pointer(value), _pointer(points), _pointer(right), ctypes.c_size_t(len(points))
            )
            lib.mclBn_finalExp(_pointer(value), _pointer(value))
            return bool(lib.mclBnGT_isOne(_pointer(value)))

        return Task(run=run, answer=lambda verdict: (verdict, run(doubled)))

    def _msm(self, group: str, scalars: FrArray, points: U64) -> Callable[[], U64]:
        """mulVec may normalize its points in place, so they are normal (z = 1) from the start.

        It keeps its tables on the stack, which 2^18 points overflow: longer sums go in parts.
        """
        multiply = getattr(self._lib, f"mclBn{group}_mulVec")
        add = getattr(self._lib, f"mclBn{group}_add")
        normalize = getattr(self._lib, f"mclBn{group}_normalize")
        in_mont = FrMont.from_ints(scalars.to_ints()).data

        def run() -> U64:
            total = np.zeros((1, points.shape[1]), dtype=np.uint64)
            part = np.zeros_like(total)
            for start in range(0, len(points), MAX_POINTS):
                some, factors = points[start : start + MAX_POINTS], in_mont[start:]
                n = ctypes.c_size_t(len(some))
                multiply(_pointer(part), _pointer(some), _pointer(factors), n)
                add(_pointer(total), _pointer(total), _pointer(part))
            normalize(_pointer(total), _pointer(total))
            return total

        return run


def _pointer(words: U64) -> ctypes.c_void_p:
    return ctypes.c_void_p(words.ctypes.data)


def _jacobian(affine: U64, degree: int) -> U64:
    """Affine points with z = 1, or all zero at infinity; `degree` is that of the field over F_p."""
    one = np.frombuffer(MONT_R_P.to_bytes(32, "little"), dtype="<u8")
    z = np.zeros((len(affine), degree * FIELD_WORDS), dtype=np.uint64)
    z[affine.any(axis=1), :FIELD_WORDS] = one
    return np.ascontiguousarray(np.concatenate([affine, z], axis=1))
