"""What is launched, and how much memory it takes: pure functions of sizes.

Every plan states its footprint: the bytes of device memory that it holds at its fullest moment,
inputs and outputs included. A plan that cannot fit is refused (DoesNotFit) before anything starts.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernels.bn254 import TWO_ADICITY
from kernels.cuda.launch.runtime import Dim, ceil_div
from kernels.errors import DoesNotFit

ELEMENT_BYTES = 32
LG_TILE = 10  # elements of a block of a transform: 2^10 fill 36 kB of shared memory
LG_HELD = 3  # elements that a thread of a transform has in registers, as in src/ntt.cu
MAX_GRID_Y = (1 << 16) - 1
INNER_ROOTS = 1 << LG_TILE


@dataclass(frozen=True, slots=True)
class NttPass:
    """One launch of `ntt_pass`: radix 2^lg_r after radices of product 2^lg_l."""

    lg_l: int
    lg_r: int
    lg_columns: int
    grid: Dim
    block: Dim

    @property
    def shared_bytes(self) -> int:
        """The block's elements, and a gap of one behind every eight."""
        return (ELEMENT_BYTES << (self.lg_r + self.lg_columns)) // 8 * 9


@dataclass(frozen=True, slots=True)
class NttPlan:
    """Transforms of 2^lg_n elements, `rows` of them at a time."""

    lg_n: int
    rows: int
    passes: tuple[NttPass, ...]

    @property
    def n_buffers(self) -> int:
        """Arrays of `rows` transforms: the input, the output, and one between the passes."""
        return 2 + (len(self.passes) > 1)

    @property
    def table_bytes(self) -> int:
        """Roots of unity, powers of the shift or the roots over n, and the roots inside a block."""
        return ELEMENT_BYTES * ((2 << self.lg_n) + INNER_ROOTS)

    @property
    def footprint(self) -> int:
        return self.table_bytes + ELEMENT_BYTES * self.n_buffers * (self.rows << self.lg_n)


def split_radices(lg_n: int, lg_tile: int = LG_TILE) -> tuple[int, ...]:
    """The radices' bits: as few passes as blocks allow, of nearly equal size, larger ones first."""
    n_passes = ceil_div(lg_n, lg_tile)
    return tuple(ceil_div(lg_n - i, n_passes) for i in range(n_passes))


def plan_ntt(lg_n: int, n_rows: int, memory_bytes: int) -> NttPlan:
    """The passes of n_rows transforms, as many rows at a time as memory and the grid allow.

    lg_n   : 0 ... 28
    raises : DoesNotFit if not even one row fits
    """
    if not 0 <= lg_n <= TWO_ADICITY or n_rows < 0:
        raise ValueError(f"plan_ntt: {n_rows} rows of 2^{lg_n} elements")
    one = ntt_of_rows(lg_n, 1)
    if one.footprint > memory_bytes:
        what = f"a transform of 2^{lg_n} elements"
        raise DoesNotFit(what=what, needed=one.footprint, granted=memory_bytes)
    row_bytes = one.footprint - one.table_bytes
    fitting = (memory_bytes - one.table_bytes) // row_bytes
    return ntt_of_rows(lg_n, max(1, min(n_rows, fitting, MAX_GRID_Y)))


def ntt_of_rows(lg_n: int, rows: int, lg_tile: int = LG_TILE) -> NttPlan:
    """The passes of these rows in one go, in blocks of 2^lg_tile elements (tests take less)."""
    passes, lg_l = [], 0
    lg_block = max(min(lg_tile, lg_n), LG_HELD)
    grid, block = (1 << max(lg_n - lg_block, 0), rows, 1), (1 << (lg_block - LG_HELD), 1, 1)
    for lg_r in split_radices(lg_n, lg_tile):
        passes.append(NttPass(lg_l, lg_r, lg_block - lg_r, grid, block))
        lg_l += lg_r
    return NttPlan(lg_n, rows, tuple(passes))


@dataclass(frozen=True, slots=True)
class InversionLevel:
    """n elements in chains, whose products are the next level's elements."""

    n: int
    n_chains: int


CHAIN = 32  # elements per chain: 3 products each, and the next level's share
INVERT_EACH = 1 << 12  # elements left at the end: few enough to invert one by one


def plan_inversion(n: int) -> tuple[InversionLevel, ...]:
    """The levels of a batch inversion of n >= 1 elements; at least one, which looks for zeros.

    holds : the last level has at most INVERT_EACH chains, and each chain at least one element
    """
    levels = [InversionLevel(n, ceil_div(n, CHAIN))]
    while levels[-1].n_chains > INVERT_EACH:
        rest = levels[-1].n_chains
        levels.append(InversionLevel(rest, ceil_div(rest, CHAIN)))
    return tuple(levels)


def require_inversion(n: int, free_bytes: int) -> None:
    """DoesNotFit for n elements that so many bytes are too few for."""
    if (needed := inversion_footprint(n)) > free_bytes:
        raise DoesNotFit(what="a batch inversion", needed=needed, granted=free_bytes)


def inversion_footprint(n: int) -> int:
    """Bytes for n elements: the input, the output, and of each level its products and inverses."""
    between = sum(2 * level.n_chains for level in plan_inversion(n)) if n else 0
    return ELEMENT_BYTES * (2 * n + between)
