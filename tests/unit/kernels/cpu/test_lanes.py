"""Every operation of every lowering against Python integers, at the ends of its ranges.

Operands are written limb by limb, so that the tests reach what sums of products rarely do: limbs at
both ends, values at the bounds that `kernels.cpu.lanes.emit52` states for normal, wide and lazy
elements.
"""

import random
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from kernels.array import ints_from_words, words_from_ints
from kernels.bn254 import P, R
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import address
from kernels.cpu.lanes.choice import choose_lanes, get_lanes, host_features
from kernels.cpu.lanes.emit52 import (
    LIMBS,
    Emitter52,
    balanced_digits,
    centered,
    constant_rows,
    unsigned_digits,
)
from kernels.cpu.lanes.fma52 import Fma52
from kernels.cpu.lanes.ifma52 import Ifma52
from kernels.cpu.lanes.interface import Lanes, aligned_words
from kernels.errors import BackendUnavailable

HAS_FMA = {"avx2", "fma"} <= host_features()
VECTOR = (["avx2"] if HAS_FMA else []) + ["ifma-emulated"]
MODULI = {"p": P, "r": R}
BINARY = ("mul", "add", "sub", "sub_fold", "sub_normal", "add_normal")
TERNARY = ("sub2_fold", "sub2_normal")
UNARY = ("sqr", "norm", "fold")
NORMAL, WIDE = 16, 48  # in q
TINY = 2.0**-39


@dataclass(frozen=True)
class Machine:
    """Lanes over one field, with operations over lists of elements given by their limbs."""

    lanes: Lanes
    field: str

    @property
    def q(self) -> int:
        return MODULI[self.field]

    @property
    def k(self) -> int:
        return self.lanes.p if self.field == "p" else self.lanes.r

    @property
    def signed(self) -> bool:
        return self.lanes.name == "avx2"

    def digits(self, x: int) -> list[int]:
        """The limbs of the integer x."""
        if self.lanes.width == 1:
            return [x >> (64 * i) & (2**64 - 1) for i in range(4)]
        return balanced_digits(x) if self.signed else unsigned_digits(x)

    def blocks(self, elements: list[list[int]]) -> Any:
        """Limbs of elements as blocks; the last element fills the last block."""
        width, limbs = self.lanes.width, self.lanes.limbs
        padded = elements + [elements[-1]] * (-len(elements) % width)
        dtype = np.float64 if self.signed else np.uint64
        table = np.array(padded, dtype=dtype).reshape(-1, width, limbs).transpose(0, 2, 1)
        out = aligned_words(table.size)
        out[:] = np.ascontiguousarray(table).reshape(-1).view(np.uint64)
        return out

    def limbs(self, blocks: Any, n: int) -> list[list[int]]:
        """The inverse of `blocks`."""
        width, limbs = self.lanes.width, self.lanes.limbs
        table = blocks.view(np.float64) if self.signed else blocks
        rows = table.reshape(-1, limbs, width).transpose(0, 2, 1).reshape(-1, limbs)[:n]
        return [[int(v) for v in row] for row in rows]

    def value(self, limbs: list[int]) -> int:
        bits = 64 if self.lanes.width == 1 else 52
        return sum(v << (bits * i) for i, v in enumerate(limbs))

    def apply(self, op: str, *operands: list[list[int]]) -> list[list[int]]:
        """Limbs of the results, lane by lane."""
        n = len(operands[0])
        sources = [self.blocks(x) for x in operands]
        out = aligned_words(sources[0].size)
        places = [b.ctypes.data for b in (3 * sources)[:3]]
        _arithmetic(self.lanes.name, self.field)(
            (*BINARY, *TERNARY, *UNARY).index(op),
            _groups(self, n),
            out.ctypes.data,
            *places,
            self.k,
        )
        return self.limbs(out, n)

    def is_in_range(self, limbs: list[int]) -> bool:
        """Whether the limbs are those of a wide element."""
        low, high = (-(1 << 51), 1 << 51) if self.signed else (0, (1 << 52) - 1)
        return all(low <= v <= high for v in limbs[:-1]) and abs(limbs[-1]) < 1 << 52


def _groups(m: Machine, n: int) -> int:
    return -(-n // m.lanes.width)


@cache
def _arithmetic(lanes_name: str, field: str) -> Any:
    lanes = get_lanes(lanes_name)
    o = lanes.ops_p if field == "p" else lanes.ops_r
    mul, add, sub, sub_fold, sub_normal, add_normal = (getattr(o, name) for name in BINARY)
    sub2_fold, sub2_normal = (getattr(o, name) for name in TERNARY)
    sqr, norm, fold = (getattr(o, name) for name in UNARY)
    before, after = lanes.rounding
    size = lanes.block

    @kernel(
        key=f"{lanes_name}.{field}",
        signature="void(int64, int64, int64, int64, int64, int64, int64)",
    )
    def run(op: int, n: int, d: int, x: int, y: int, z: int, k: int) -> None:
        state = before()
        for i in range(n):
            s = i * size
            if op == 0:
                mul(d + s, x + s, y + s, k)
            elif op == 1:
                add(d + s, x + s, y + s, k)
            elif op == 2:
                sub(d + s, x + s, y + s, k)
            elif op == 3:
                sub_fold(d + s, x + s, y + s, k)
            elif op == 4:
                sub_normal(d + s, x + s, y + s, k)
            elif op == 5:
                add_normal(d + s, x + s, y + s, k)
            elif op == 6:
                sub2_fold(d + s, x + s, y + s, z + s, k)
            elif op == 7:
                sub2_normal(d + s, x + s, y + s, z + s, k)
            elif op == 8:
                sqr(d + s, x + s, k)
            elif op == 9:
                norm(d + s, x + s, k)
            else:
                fold(d + s, x + s, k)
        after(state)

    return run


@cache
def _conversions(lanes_name: str, field: str) -> Any:
    lanes = get_lanes(lanes_name)
    o = lanes.ops_p if field == "p" else lanes.ops_r
    pack, pack_canonical, pack_folded = o.pack, o.pack_canonical, o.pack_folded
    unpack, unpack_packed, fold = o.unpack, o.unpack_packed, o.fold
    before, after = lanes.rounding
    size, width = lanes.block, lanes.width

    @kernel(key=f"{lanes_name}.{field}", signature="void(int64, int64, int64, int64, int64, int64)")
    def run(op: int, n: int, words: int, stride: int, blocks: int, k: int) -> None:
        state = before()
        for i in range(n):
            p, x = words + i * width * stride, blocks + i * size
            if op == 0:
                pack(p, stride, x, k)
            elif op == 1:
                pack_canonical(p, stride, x, k)
            elif op == 2:
                fold(x, x, k)
                pack_folded(p, stride, x, k)
            elif op == 3:
                unpack(x, p, stride, k)
            else:
                unpack_packed(x, p, stride, k)
        after(state)

    return run


@cache
def _gathers(lanes_name: str, field: str) -> Any:
    lanes = get_lanes(lanes_name)
    o = lanes.ops_p if field == "p" else lanes.ops_r
    gather, gather_signed, size, width = o.gather, o.gather_signed, lanes.block, lanes.width
    before, after = lanes.rounding

    @kernel(
        key=f"{lanes_name}.{field}",
        signature="void(int64, int64, int64, int64, int64[::1], int64, int64)",
    )
    def run(signed: int, n: int, d: int, base: int, refs: Any, offset: int, k: int) -> None:
        state = before()
        for i in range(n):
            at = address(refs) + 8 * width * i
            if signed != 0:
                gather_signed(d + i * size, base, at, offset, 64, k)
            else:
                gather(d + i * size, base, at, offset, 64, k)
        after(state)

    return run


@cache
def _butterflies(lanes_name: str, field: str) -> Any:
    lanes = get_lanes(lanes_name)
    o = lanes.ops_p if field == "p" else lanes.ops_r
    butterfly, butterfly_one, size = o.butterfly, o.butterfly_one, lanes.block
    before, after = lanes.rounding

    @kernel(key=f"{lanes_name}.{field}", signature="void(int64, int64, int64, int64, int64, int64)")
    def run(one: int, n: int, x: int, y: int, w: int, k: int) -> None:
        state = before()
        for i in range(n):
            if one != 0:
                butterfly_one(x + i * size, y + i * size, k)
            else:
                butterfly(x + i * size, y + i * size, w, k)
        after(state)

    return run


@pytest.fixture(params=["p", "r"])
def field(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=VECTOR)
def vector(request: pytest.FixtureRequest, field: str) -> Machine:
    return Machine(get_lanes(request.param), field)


@pytest.fixture(params=[*VECTOR, "scalar"])
def machine(request: pytest.FixtureRequest, field: str) -> Machine:
    return Machine(get_lanes(request.param), field)


# -- operands -------------------------------------------------------------------------------------
def residues(q: int) -> list[int]:
    """Canonical residues: the field's edges, digit edges of both limb sizes, random ones."""
    rng = random.Random(q)
    edges = [0, 1, 2, 3, q - 1, q - 2, q - 3, q // 2, q // 2 + 1]
    for bits in (51, 52, 63, 64, 103, 104, 128, 156, 192, 208, 252):
        edges += [(1 << bits) + e for e in (-1, 0, 1)]
    return [x % q for x in edges] + [rng.randrange(q) for _ in range(30)]


def wide(m: Machine, bound: float) -> list[list[int]]:
    """Elements |x| <= bound q (from 0 on if limbs are unsigned) with limbs in their range."""
    q, top, rng = m.q, int(bound * m.q), random.Random(bound)
    values = [0, 1, top, top - 1, q, q - 1, q + 1, q + 3, 2 * q, 2 * q - 3]
    values += [k * q + e for k in range(int(bound)) for e in (-1, 0, 1)]
    values += [(1 << b) + e for b in (51, 52, 103, 104, 155, 156, 207, 208) for e in (-1, 0, 1)]
    values += [rng.randrange(top + 1) for _ in range(40)]
    values = [v for v in values if 0 <= v <= top]
    if m.signed:
        values += [-v for v in values]
    elements = [m.digits(v) for v in values]
    low = (-(1 << 51), 1 << 51) if m.signed else (0, (1 << 52) - 1)
    reach = (top >> 208) - 1
    for pattern in product(low, repeat=LIMBS - 1):
        elements += [[*pattern, t] for t in ((-reach, 0, reach) if m.signed else (0, reach))]
    return elements


def lazy(m: Machine) -> list[list[int]]:
    """Lazy elements up to 48 q: for doubles every limb but the last at twice its range, too."""
    elements = wide(m, WIDE)
    if m.signed:
        reach = (WIDE * m.q >> 208) - 2
        for pattern in product((-(1 << 52), 1 << 52), repeat=LIMBS - 1):
            elements += [[*pattern, t] for t in (-reach, 0, reach)]
    return elements


def pairs(x: list[list[int]], y: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """All extremes against all extremes would be too many: every x twice, with varied y."""
    rng = random.Random(len(x))
    xs = x + x
    ys = [y[i % len(y)] for i in range(len(x))] + [rng.choice(y) for _ in x]
    for v in (*x[-8:], *x[2:4]):
        xs += [v] * len(y)
        ys += y
    return xs, ys


def check(m: Machine, results: list[list[int]], expected: list[int], bounds: list[float]) -> None:
    """Residues, limbs, and |x| <= bound q for each result."""
    for limbs, wanted, bound in zip(results, expected, bounds, strict=True):
        x = m.value(limbs)
        assert (x - wanted) % m.q == 0
        assert m.is_in_range(limbs), limbs
        assert abs(x) <= bound * m.q * (1 + 2**-50)  # the bound is a rounded float
        assert m.signed or x >= 0


def check_folded(m: Machine, results: list[list[int]], expected: list[int]) -> None:
    check(m, results, expected, [1 + TINY] * len(results))
    assert all(m.value(limbs) >= 0 for limbs in results)


# -- arithmetic -----------------------------------------------------------------------------------
def product_bound(m: Machine, x: int, y: int) -> float:
    return abs(x * y) / 2**260 / m.q + (1.5 if m.signed else 5)


def test_bounds_of_the_docstring_hold() -> None:
    for q in MODULI.values():
        assert q < 0.0119 * 2**260
        assert WIDE * NORMAL * q / 2**260 + 5 < 14.2 < NORMAL
        assert WIDE * q < 2**260
        assert WIDE * q >> 208 < 1 << 52
        assert NORMAL * q >> 208 < 1 << 51
        assert 6 * q > 2**256


def test_product(vector: Machine) -> None:
    m = vector
    xs, ys = pairs(lazy(m), wide(m, NORMAL))
    values = [(m.value(x), m.value(y)) for x, y in zip(xs, ys, strict=True)]
    unscale = pow(2, -260, m.q)
    expected = [x * y * unscale for x, y in values]
    check(m, m.apply("mul", xs, ys), expected, [product_bound(m, x, y) for x, y in values])


def test_square(vector: Machine) -> None:
    m = vector
    xs = wide(m, NORMAL)
    values = [m.value(x) for x in xs]
    unscale = pow(2, -260, m.q)
    bounds = [product_bound(m, x, x) for x in values]
    check(m, m.apply("sqr", xs), [x * x * unscale for x in values], bounds)


def test_sums_and_differences(vector: Machine) -> None:
    m = vector
    xs, ys = pairs(wide(m, WIDE - NORMAL), wide(m, NORMAL))
    values = [(m.value(x), m.value(y)) for x, y in zip(xs, ys, strict=True)]
    assert [m.value(v) for v in m.apply("add", xs, ys)] == [x + y for x, y in values]
    raised = 0 if m.signed else 16 * m.q
    assert [m.value(v) for v in m.apply("sub", xs, ys)] == [x - y + raised for x, y in values]
    sums = m.apply("add_normal", xs, ys)
    check(m, sums, [x + y for x, y in values], [WIDE] * len(xs))
    check_folded(m, m.apply("sub_fold", xs, ys), [x - y for x, y in values])


def test_norm_keeps_the_value_and_tidies_limbs(vector: Machine) -> None:
    m = vector
    xs = lazy(m)
    done = m.apply("norm", xs)
    assert [m.value(v) for v in done] == [m.value(x) for x in xs]
    assert all(m.is_in_range(v) for v in done)


def test_fold(vector: Machine) -> None:
    m = vector
    xs = wide(m, WIDE)
    check_folded(m, m.apply("fold", xs), [m.value(x) for x in xs])


def test_differences_of_normal_elements(vector: Machine) -> None:
    m = vector
    normal = wide(m, NORMAL)
    xs, ys = pairs(normal, normal)
    zs = random.Random(3).choices(normal, k=len(xs))
    two = [m.value(x) - m.value(y) for x, y in zip(xs, ys, strict=True)]
    three = [d - m.value(z) for d, z in zip(two, zs, strict=True)]
    check_folded(m, m.apply("sub2_fold", xs, ys, zs), three)
    size = (lambda v: abs(v) / m.q + TINY) if m.signed else (lambda _: 1 + TINY)
    check(m, m.apply("sub_normal", xs, ys), two, [size(v) for v in two])
    check(m, m.apply("sub2_normal", xs, ys, zs), three, [size(v) for v in three])


def test_canonical_arithmetic_of_every_lowering(machine: Machine) -> None:
    m = machine
    values = residues(m.q)
    n = len(values)
    xs = [x for x in values for _ in range(n)]
    ys = values * n
    zs = [values[(7 * i) % n] for i in range(n * n)]
    a, b, c = ([m.digits(v) for v in vs] for vs in (xs, ys, zs))
    unscale = pow(2, -m.lanes.radix_bits, m.q)

    def residues_of(op: str, *operands: list[list[int]]) -> list[int]:
        return [m.value(v) % m.q for v in m.apply(op, *operands)]

    both = list(zip(xs, ys, strict=True))
    assert residues_of("mul", a, b) == [x * y * unscale % m.q for x, y in both]
    assert residues_of("sqr", a) == [x * x * unscale % m.q for x in xs]
    for op in ("add", "add_normal"):
        assert residues_of(op, a, b) == [(x + y) % m.q for x, y in both]
    for op in ("sub", "sub_fold", "sub_normal"):
        assert residues_of(op, a, b) == [(x - y) % m.q for x, y in both]
    for op in TERNARY:
        assert residues_of(op, a, b, c) == [
            (x - y - z) % m.q for (x, y), z in zip(both, zs, strict=True)
        ]
    for op in ("norm", "fold"):
        assert residues_of(op, a) == xs


# -- butterflies ----------------------------------------------------------------------------------
def twiddle_words(m: Machine, w: int) -> Any:
    """The element with this residue as `butterfly` takes it."""
    digits = m.digits(centered(w, m.q) if m.signed else w)
    return np.array([digits], np.float64 if m.signed else np.uint64).view(np.uint64)


@pytest.mark.parametrize("w", [1, 2, -1, 2**255, None])
def test_butterfly_grows_by_what_it_says(vector: Machine, w: int | None) -> None:
    m = vector
    growth = 2 if m.signed else 8
    factor = (m.q // 2 if w is None else w) % m.q
    xs, ys = pairs(wide(m, WIDE - growth), lazy(m))
    a, b = m.blocks(xs), m.blocks(ys)
    words = twiddle_words(m, factor)
    run = _butterflies(m.lanes.name, m.field)
    run(0, _groups(m, len(xs)), a.ctypes.data, b.ctypes.data, words.ctypes.data, m.k)
    unscale = pow(2, -260, m.q)
    plus, minus = [], []
    for x, y in zip(xs, ys, strict=True):
        t = m.value(y) * factor * unscale
        plus.append(m.value(x) + t)
        minus.append(m.value(x) - t)
    bounds = [abs(m.value(x)) / m.q + growth for x in xs]
    check(m, m.limbs(a, len(xs)), plus, bounds)
    check(m, m.limbs(b, len(xs)), minus, bounds)


def test_stages_between_folds_stay_wide(vector: Machine) -> None:
    """The most that `fold_stages` butterflies can make of a value below 2^256."""
    growth = 2 if vector.signed else 8
    assert 2**256 + vector.lanes.fold_stages * growth * vector.q <= WIDE * vector.q


def test_first_butterfly(machine: Machine) -> None:
    m = machine
    values = residues(m.q)
    if m.lanes.width > 1:
        values += [m.q, 2**256 - 1, 5 * m.q]  # not canonical, but bounded
    xs, ys = values, values[::-1]
    a, b = (m.blocks([m.digits(v) for v in vs]) for vs in (xs, ys))
    _butterflies(m.lanes.name, m.field)(
        1, _groups(m, len(xs)), a.ctypes.data, b.ctypes.data, 0, m.k
    )
    both = list(zip(xs, ys, strict=True))
    assert [m.value(v) % m.q for v in m.limbs(a, len(xs))] == [(x + y) % m.q for x, y in both]
    assert [m.value(v) % m.q for v in m.limbs(b, len(xs))] == [(x - y) % m.q for x, y in both]


# -- words in memory ------------------------------------------------------------------------------
def convert(m: Machine, op: int, words: Any, blocks: Any, n: int, stride: int = 32) -> None:
    run = _conversions(m.lanes.name, m.field)
    run(op, _groups(m, n), words.ctypes.data, stride, blocks.ctypes.data, m.k)


def test_packing_of_wide_elements(vector: Machine) -> None:
    m = vector
    xs = wide(m, WIDE)
    n = -(-len(xs) // m.lanes.width) * m.lanes.width
    xs += [xs[-1]] * (n - len(xs))
    wanted = [m.value(x) % m.q for x in xs]
    words = np.zeros((n, 4), np.uint64)
    convert(m, 1, words, m.blocks(xs), n)
    assert ints_from_words(words) == wanted
    for op in (0, 2):
        convert(m, op, words, m.blocks(xs), n)
        packed = [w - m.lanes.packed_offset for w in ints_from_words(words)]
        assert all(0 <= v <= m.q * (1 + TINY) for v in packed)
        assert [v % m.q for v in packed] == wanted
        back = m.blocks([[0] * m.lanes.limbs] * n)
        convert(m, 4, words, back, n)
        assert [m.value(v) for v in m.limbs(back, n)] == packed
        assert all(m.is_in_range(v) for v in m.limbs(back, n))


@pytest.mark.parametrize("stride", [32, 96])
def test_plain_words_come_and_go(machine: Machine, stride: int) -> None:
    m = machine
    values = residues(m.q)
    values += [0] * (-len(values) % m.lanes.width)
    n, step = len(values), stride // 32
    words = np.full((n * step, 4), 2**64 - 1, np.uint64)
    words[::step] = words_from_ints(values)
    blocks = m.blocks([[0] * m.lanes.limbs] * n)
    convert(m, 3, words, blocks, n, stride)
    assert [m.value(v) for v in m.limbs(blocks, n)] == values
    out = np.full_like(words, 7)
    tidy = m.blocks([m.digits(v) for v in values])
    convert(m, 1, out, tidy, n, stride)
    assert ints_from_words(out[::step]) == values
    assert all((out[i::step] == 7).all() for i in range(1, step))


def test_plain_words_of_any_value_are_read_exactly(vector: Machine) -> None:
    m = vector
    values = [2**256 - 1, 2**256 - 2**51, (1 << 52) - 1, 5 * m.q, m.q, 2**208 - 1, 2**255, 1]
    blocks = m.blocks([[0] * LIMBS] * 8)
    convert(m, 3, words_from_ints(values), blocks, 8)
    assert [m.value(v) for v in m.limbs(blocks, 8)] == values


def test_gathering(machine: Machine) -> None:
    m = machine
    values = [v for v in residues(m.q) if v]
    if m.lanes.width > 1:
        values += [2 * m.q, 2 * m.q - 1, m.q, m.q + 1]
    n = len(values)
    records = np.zeros((n + 4, 2, 4), np.uint64)  # the second element of each record is gathered
    records[4:, 1] = words_from_ints([v + m.lanes.packed_offset for v in values])
    base = records.ctypes.data + 4 * 64  # so that references may be negative
    rng = random.Random(n)
    picks = [rng.randrange(n) for _ in range(8 * 40)]
    signs = [rng.randrange(2) for _ in picks]
    records[:4] = records[4:8]
    picks[:4] = [-1, -2, -3, -4]
    refs = np.array([p << 1 | s for p, s in zip(picks, signs, strict=True)], np.int64)
    source = [values[p] if p >= 0 else values[4 + p] for p in picks]
    for signed in (0, 1):
        out = m.blocks([[0] * m.lanes.limbs] * len(picks))
        groups = _groups(m, len(picks))
        _gathers(m.lanes.name, m.field)(signed, groups, out.ctypes.data, base, refs, 32, m.k)
        got = m.limbs(out, len(picks))
        wanted = [-v if s and signed else v for v, s in zip(source, signs, strict=True)]
        assert [m.value(v) % m.q for v in got] == [v % m.q for v in wanted]
        if m.lanes.width > 1:
            check(m, got, wanted, [2] * len(got))


# -- what the code is made of ---------------------------------------------------------------------
def assembly(emitter: type[Emitter52], op: str, n_operands: int, cpu: str) -> list[str]:
    """Instructions of one operation between memory and memory, for a processor by name."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = ir.Module()
    module.triple = "x86_64-unknown-linux-gnu"
    pointer = ir.VectorType(emitter.word, emitter.width).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer] * (n_operands + 2))
    fn = ir.Function(module, kind, "operation")
    b = ir.IRBuilder(fn.append_basic_block())
    d, *operands, k = fn.args
    e = emitter(b, k)
    e.store(d, getattr(e, op)(*[e.load(x) for x in operands]))
    b.ret_void()
    target = llvm.Target.from_triple(module.triple).create_target_machine(cpu=cpu, opt=3)
    parsed = llvm.parse_assembly(str(module))
    passes = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(3))
    passes.getModulePassManager().run(parsed, passes)
    lines = [line.strip() for line in target.emit_assembly(parsed).splitlines()]
    return [line for line in lines if line and line[0] not in ".#/" and not line.endswith(":")]


def count(lines: list[str], *names: str) -> int:
    return sum(line.startswith(names) for line in lines)


def spills(lines: list[str], register: str) -> int:
    return sum("%rsp" in line and register in line and line.startswith("vmov") for line in lines)


def test_budget_of_an_ifma_product() -> None:
    lines = assembly(Ifma52, "mul", 2, "znver4")
    assert 101 <= count(lines, "vpmadd52") <= 105
    assert count(lines, "call", "j") == 0
    assert spills(lines, "%zmm") == 0
    assert len(lines) <= 220


def test_budget_of_an_ifma_square() -> None:
    lines = assembly(Ifma52, "sqr", 1, "znver4")
    assert 81 <= count(lines, "vpmadd52") <= 85
    assert count(lines, "call", "j") == 0
    assert spills(lines, "%zmm") == 0


def test_budget_of_a_double_product() -> None:
    lines = assembly(Fma52, "mul", 2, "haswell")
    assert 101 <= count(lines, "vfmadd", "vfnmadd", "vfmsub") <= 104
    assert count(lines, "call", "j") == 0
    assert spills(lines, "%ymm") <= 60


# -- tables and choice ----------------------------------------------------------------------------
@pytest.mark.parametrize("signed", [True, False])
def test_constants_are_limbs_of_what_they_say(field: str, signed: bool) -> None:
    q = MODULI[field]
    rows = [int(v) for v in constant_rows(q, signed=signed) if not isinstance(v, float)]

    def value(at: int) -> int:
        return sum(v << (52 * i) for i, v in enumerate(rows[at : at + LIMBS]))

    assert value(0) == q
    for i in range(4):
        assert value(5 + 5 * i) * 2 ** (52 * (4 - i)) % q == 1
    assert rows[25] * q % 2**52 == 2**52 - 1


def test_lanes_that_the_host_lacks_are_refused_by_name() -> None:
    with pytest.raises(BackendUnavailable, match="unknown lanes 'sse9'"):
        choose_lanes("sse9")
    if "avx512ifma" not in host_features():
        with pytest.raises(BackendUnavailable, match="avx512ifma"):
            choose_lanes("ifma")
    assert choose_lanes("auto") in ("ifma", "avx2", "scalar")
