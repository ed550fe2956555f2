"""The last step of an MSM: weight the partial sums of each set by powers of two and add them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from kernels.array import U64
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import address, stack, store_word
from kernels.cpu.words.group import (
    g1_add_affine,
    g1_double,
    g1_to_affine,
    g2_add_affine,
    g2_double,
)
from kernels.cpu.words.tower import fp2_inverse, fp2_mul, fp2_sqr
from kernels.numpy_types import UInt8Array


@kernel(signature="void(uintp, uintp)")
def g2_to_affine(out: int, t: int) -> None:
    """Affine (x, y) of a Jacobian point of E'; 1/0 = 0 makes infinity zero words."""
    inverse, square = stack(8), stack(8)
    fp2_inverse(inverse, t + 128)
    fp2_sqr(square, inverse)
    fp2_mul(out, t, square)
    fp2_mul(square, square, inverse)
    fp2_mul(out + 64, t + 64, square)


# join(results, found, n_sets, c, out), see below
Join: TypeAlias = Callable[[U64, UInt8Array, int, int, U64], None]


def _build_join(
    degree: int,
    double: Callable[[int], None],
    add_affine: Callable[[int, int], None],
    to_affine: Callable[[int, int], None],
) -> Join:
    record = 64 * degree

    @kernel(key=f"join{degree}")
    def join(results: U64, found: UInt8Array, n_sets: int, c: int, out: U64) -> None:
        """out = sum_s 2^(c s) (S_s + sum_l 2^l O_(s,l)), l < c - 1, by Horner over bit positions.

        results : uint64[n_sets * c, 8 d] affine 2^256-Montgomery records O_(s,0..c-2), S_s
        found   : which of them are finite
        """
        total = stack(24)
        for i in range(12 * degree):
            store_word(total + 8 * i, 0)
        base = address(results)
        for step in range(n_sets * c):
            position = n_sets * c - 1 - step
            s, level = position // c, position % c
            double(total)
            if level < c - 1 and found[s * c + level]:
                add_affine(total, base + record * (s * c + level))
            if level == 0 and found[s * c + c - 1]:
                add_affine(total, base + record * (s * c + c - 1))
        to_affine(address(out), total)

    return join


join_g1 = _build_join(1, g1_double, g1_add_affine, g1_to_affine)
join_g2 = _build_join(2, g2_double, g2_add_affine, g2_to_affine)
