"""How an MSM is cut up for a device: digits, tables, passes, slices, reduction steps, and memory.

Pure arithmetic on sizes; `kernels.cuda.msm.slices` carries the plans out. In short (see there):
scalars become signed c-bit digits in W windows; with T precomputed multiples of each base the
windows fall into S = ceil(W / T) sets of 2^(c-1) buckets; the sorted entries are summed in slices
of equal length, whatever the scalars are; buckets are joined by running sums over short chunks.

Every estimate of memory is an upper bound over all scalars, so that a plan that fits never fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernels.cuda.launch.runtime import ceil_div
from kernels.errors import DoesNotFit

SCALAR_BITS = 253  # of min(s, r - s)
MIN_WINDOW, MAX_WINDOW = 2, 22
SORT_BLOCK = 256  # threads of a block that sorts
MAX_SCALARS = 4096  # of such a block
SORT_BLOCKS = 8  # of them for each processor, while they get no more
MAX_DIRECT = 1 << 12  # buckets that are sorted by at once: a block counts each of them
PER_PLACE = 8  # entries of a block for each bucket of a part, at least
MIN_ENTRIES = 1 << 13  # of a block, then
MERGE = 16  # partial sums per thread of a merge
MIN_SLICE, MAX_SLICE = 8, 128  # entries per thread
THREADS_PER_PROCESSOR = 512  # resident ones, with up to 128 registers each
MAX_ENTRIES = 1 << 32
MAX_RECORDS = 1 << 31  # a reference has 31 bits and a sign
REDUCTION = 2.8  # mixed additions that one bucket costs in the reduction
ALIGNMENT = 512  # of an allocation
N_SMALL = 16  # arrays of a pass that no size tells apart
N_LENGTHS = 257  # bits of a 256-bit number


@dataclass(frozen=True, slots=True, kw_only=True)
class MsmPlan:
    """One pass over n scalars.

    degree    : 1 for G1, 2 for G2
    c         : bits of a digit; |digit| <= 2^(c-1)
    n_windows : W; c W exceeds the bits of every min(s, r - s)
    n_sets    : S; window w = j S + t goes with table j into bucket set t
    """

    n: int
    degree: int
    c: int
    n_windows: int
    n_sets: int

    @property
    def n_tables(self) -> int:
        """Multiples of each base that the digits refer to."""
        return ceil_div(self.n_windows, self.n_sets)

    @property
    def n_buckets(self) -> int:
        """Buckets of one set: bucket b is for |digit| = b + 1."""
        return 1 << (self.c - 1)

    @property
    def n_sums(self) -> int:
        """Bucket sums, set by set."""
        return self.n_sets * self.n_buckets

    @property
    def lg_places(self) -> int:
        """2^lg_places neighbouring buckets are a part: about as many as there are parts. 0: few
        buckets are parts themselves, and nothing is left to sort inside them."""
        if self.n_sums <= MAX_DIRECT:
            return 0
        return ceil_div((self.n_sums - 1).bit_length(), 2)

    @property
    def n_parts(self) -> int:
        """Parts, which entries are sorted by first."""
        return ceil_div(self.n_sums, 1 << self.lg_places)

    @property
    def entries_per_block(self) -> int:
        """Of a block that sorts by buckets: so many that its counters are a small part of it."""
        return max(MIN_ENTRIES, PER_PLACE << self.lg_places)

    def scalars_per_block(self, n_processors: int) -> int:
        """Of a block that sorts by parts: long runs of a part, yet work for every processor."""
        wanted = ceil_div(self.n, SORT_BLOCKS * n_processors)
        return min(ceil_div(wanted, SORT_BLOCK) * SORT_BLOCK, MAX_SCALARS)

    def sort_bytes(self, n_processors: int) -> list[int]:
        """The arrays of the sort, at most."""
        n_blocks = ceil_div(self.n, self.scalars_per_block(n_processors))
        n_rows = ceil_div(self.max_entries, self.entries_per_block) + self.n_parts
        padded = self.n_parts << self.lg_places  # buckets
        parts = [4 * self.n_parts, 4 * self.n_parts + 4, 4 * n_blocks * self.n_parts]
        references = 4 * self.max_entries + 4
        if self.lg_places == 0:
            return [*parts, references]
        return [
            *[*parts, references, 8 * self.max_entries + 8],
            *[4 * padded, 4 * padded + 4, 4 * n_rows << self.lg_places],
        ]

    @property
    def max_entries(self) -> int:
        """Most nonzero digits."""
        return self.n * self.n_windows

    def work_bytes(self, n_processors: int) -> int:
        """Device memory of the pass besides the bases, for the worst scalars."""
        point, entries = 128 * self.degree, self.max_entries
        pieces = 2 * ceil_div(entries, choose_slice(entries, n_processors))
        sizes = [
            32 * self.n,  # scalars
            4 * N_LENGTHS,
            *self.sort_bytes(n_processors),
            self.n_sums * point,
            *[pieces * (point + 4)] * 2,  # two levels of merges, the upper one shorter
            2 * self.n_sums * point,  # results of two steps of the reduction
            (self.n_sets * self.c + 1) * (point + point // 2 + point // 4),
        ]
        return sum(ceil_div(size, ALIGNMENT) * ALIGNMENT for size in sizes) + N_SMALL * ALIGNMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChoice:
    """Digits fixed by a key: width c, S sets, T multiples 2^(c S j) of each base, j < T."""

    c: int
    n_sets: int
    n_tables: int


def record_bytes(degree: int) -> int:
    """An affine point."""
    return 64 * degree


def fixed_bytes(n: int, degree: int, n_tables: int) -> int:
    """Memory of prepared bases: the tables, and a byte for each base (is it infinite?)."""
    return n * (record_bytes(degree) * n_tables + 1)


def choose_tables(n: int, degree: int, max_bytes: int, *, work_bytes: int) -> TableChoice | None:
    """The cheapest digits for n full-width scalars with multiples that fit into `max_bytes`.

    work_bytes : what a sum may use besides; buckets take at most half of it
    returns    : None if not even two multiples fit
    """
    affordable = max(max_bytes // max(n, 1) - 1, 0) // record_bytes(degree)
    most = min(affordable, (MAX_RECORDS - 1) // max(n, 1))
    best, best_cost = None, float("inf")
    for c in range(MIN_WINDOW, MAX_WINDOW + 1):
        n_windows = SCALAR_BITS // c + 1
        if most < 2:
            break
        n_sets = ceil_div(n_windows, min(most, n_windows))
        n_tables = ceil_div(n_windows, n_sets)
        cost = n_windows * n + REDUCTION * n_sets * (1 << (c - 1))
        choice = TableChoice(c=c, n_sets=n_sets, n_tables=n_tables)
        least = Budget(work_bytes=work_bytes // 2, n_processors=1)
        if cost < best_cost and least.allows(plan_longest(1, degree, choice)):
            best, best_cost = choice, cost
    return best


def widest_window(n: int) -> int:
    """The greatest width worth a thought for n scalars: no more buckets in a set than scalars."""
    return min(max(n.bit_length(), MIN_WINDOW), MAX_WINDOW)


def choose_window(lengths: Sequence[int], widths: Sequence[int]) -> int:
    """The one of `widths` with the fewest additions for scalars of these lengths.

    lengths[b] : how many scalars have b bits. One of b bits has about b/c + 1 nonzero digits, less
                 the share 2^-c that is zero. Zeros and ones cost the same at every width.
    """
    bits = [(b, n) for b, n in enumerate(lengths) if b > 1 and n]
    if not bits:
        return widths[0]
    longest = bits[-1][0]

    def cost(c: int) -> float:
        digits = sum(n * ceil_div(2 * b + 1, 2 * c) for b, n in bits) * (1 - 2.0**-c)
        return digits + REDUCTION * (longest // c + 1) * (1 << (c - 1))

    return min(widths, key=cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a pass may use: bytes of work space, and processors to keep busy."""

    work_bytes: int
    n_processors: int

    def allows(self, plan: MsmPlan) -> bool:
        """Whether the plan's work fits, whatever the scalars, and its counts fit into words."""
        return (
            plan.max_entries < MAX_ENTRIES
            and plan.n * plan.n_tables < MAX_RECORDS
            and plan.work_bytes(self.n_processors) <= self.work_bytes
        )


def _plan(n: int, degree: int, c: int, longest: int, tables: TableChoice | None) -> MsmPlan:
    n_windows = longest // c + 1  # longest + 1 bits: the last one is for the carry
    n_sets = min(tables.n_sets, n_windows) if tables else n_windows
    return MsmPlan(n=n, degree=degree, c=c, n_windows=n_windows, n_sets=n_sets)


def plan_pass(
    n: int, degree: int, lengths: Sequence[int], *, tables: TableChoice | None, budget: Budget
) -> MsmPlan:
    """The plan for n >= 1 scalars within the budget.

    lengths : see `choose_window`; at least one scalar is not 0, none exceeds SCALAR_BITS
    tables  : digits that a key fixes; None: bases as they are, digits by the scalars' lengths
    holds   : a budget that allows `plan_longest` allows its digits for shorter scalars, too
    """
    longest = max(bits for bits, count in enumerate(lengths) if count)
    widths = [tables.c] if tables else list(range(MIN_WINDOW, widest_window(n) + 1))
    plans = {c: _plan(n, degree, c, longest, tables) for c in widths}
    fitting = [c for c in widths if budget.allows(plans[c])]
    return plans[choose_window(lengths, fitting)]


def plan_longest(n: int, degree: int, tables: TableChoice | None) -> MsmPlan:
    """The plan that suits n full-width scalars."""
    widths = [tables.c] if tables else range(MIN_WINDOW, widest_window(n) + 1)
    c = choose_window([0] * SCALAR_BITS + [n], widths)
    return _plan(n, degree, c, SCALAR_BITS, tables)


def count_buffers(n: int, size: int) -> int:
    """Buffers for n bases that travel in chunks: the next one is filled while one is summed."""
    return min(ceil_div(n, size), 2)


def plan_chunks(
    n: int,
    degree: int,
    *,
    memory_bytes: int,
    n_processors: int,
    tables: TableChoice | None = None,
    resident: bool = False,
) -> tuple[int, Budget]:
    """How many of n >= 1 bases are summed at a time, and the budget for each such sum.

    memory_bytes : free on the device
    tables       : digits that a key fixes, None for digits by the scalars' lengths
    resident     : the bases are on the device and not counted in memory_bytes, else they travel,
                   each chunk's while the one before is summed
    errors       : DoesNotFit if the memory is too small for one base
    """
    size = n
    while True:
        each = fixed_bytes(size, degree, 1) + 2 * ALIGNMENT
        bases = 0 if resident else count_buffers(n, size) * each
        budget = Budget(work_bytes=memory_bytes - bases, n_processors=n_processors)
        plan = plan_longest(size, degree, tables)
        if budget.allows(plan):
            return size, budget
        if size == 1:
            needed = bases + plan.work_bytes(n_processors)
            raise DoesNotFit(what="an MSM of one base", needed=needed, granted=memory_bytes)
        size = ceil_div(size, 2)


def choose_slice(n_entries: int, n_processors: int) -> int:
    """Entries per thread: as few waves of equal threads as slices of MAX_SLICE make possible."""
    resident = n_processors * THREADS_PER_PROCESSOR
    n_waves = max(ceil_div(n_entries, resident * MAX_SLICE), 1)
    return max(MIN_SLICE, ceil_div(n_entries, resident * n_waves))


def plan_merges(n_slices: int) -> list[int]:
    """Numbers of merge threads, level after level, until nothing is left to merge.

    Level 0 leaves 2 pieces per slice; a level of n threads leaves 2 n, and one thread leaves none.
    """
    levels = []
    while n_slices > 1:
        n_slices = ceil_div(2 * n_slices - 1, MERGE)  # the very first piece is always missing
        levels.append(n_slices)
    return levels


LEAST_REDUCED = 1 << 16  # sums, of which each bit of their index is worth half a sum of all
LG_LIST_BLOCK = 7  # threads of a block that sums lists
PER_LIST_THREAD = 8  # elements of such a thread


@dataclass(frozen=True, slots=True, kw_only=True)
class ListStep:
    """n elements of every list become n_after by `sum_lists`."""

    n: int
    n_after: int
    per_thread: int
    lg_block: int


def plan_lists(n: int) -> list[ListStep]:
    """Steps from lists of n elements to single sums, at least one."""
    steps: list[ListStep] = []
    while n > 1 or not steps:
        lg_block = min(LG_LIST_BLOCK, max(n - 1, 1).bit_length() - 1)
        n_after = ceil_div(n, PER_LIST_THREAD << lg_block)
        per_thread = ceil_div(n, n_after << lg_block)
        steps.append(ListStep(n=n, n_after=n_after, per_thread=per_thread, lg_block=lg_block))
        n = n_after
    return steps


@dataclass(frozen=True, slots=True, kw_only=True)
class ReductionStep:
    """n partial sums per set become n / 2^lg_chunk; their weighted sums count 2^exponent."""

    n: int
    lg_chunk: int
    exponent: int

    @property
    def n_after(self) -> int:
        return self.n >> self.lg_chunk


def plan_reduction(n_buckets: int, n_sets: int) -> list[ReductionStep]:
    """Steps from n_buckets = 2^(c-1) sums per set to less than LEAST_REDUCED in all, maybe none.

    Long chunks need the fewest additions, short ones the least time on an idle device.
    """
    steps: list[ReductionStep] = []
    n, exponent = n_buckets, 0
    while n > 1 and n * n_sets >= LEAST_REDUCED:
        busy = n * n_sets
        wanted = 3 if busy >= 4 * LEAST_REDUCED else 2
        lg_chunk = min(wanted, n.bit_length() - 1)
        steps.append(ReductionStep(n=n, lg_chunk=lg_chunk, exponent=exponent))
        exponent += lg_chunk
        n >>= lg_chunk
    return steps
