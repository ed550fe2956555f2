"""Many sums of two affine points with one inversion: Montgomery's trick over the slopes.

    slope = (y_q - y_p) / (x_q - x_p),  x = slope^2 - x_p - x_q,  y = slope (x_p - x) - y_p

Six products a sum, three of them for the shared inversion. The common case is one routine;
infinite, equal and opposite points take another path, so the sums are complete on the curve.
"""

from __future__ import annotations

import numpy as np

from kernels.array import U64
from kernels.cpu.compile.emit import I64, Emitter, Function, Routine, Value
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import load_word, stack, store_word
from kernels.cpu.words.scalar64 import (
    FP,
    I256,
    copy,
    difference,
    fp_add,
    fp_inverse,
    fp_mul,
    fp_sqr,
    fp_sub,
    is_equal,
    products,
)

CHUNK = 512  # additions that share one inversion


def _is_zero8(e: Emitter, a: Value) -> Value:
    zero = e.builder.or_(e.load(a), e.load(e.at(a, 4)))
    return e.builder.zext(e.builder.icmp_unsigned("==", zero, I256(0)), I64)


def _set_one(e: Emitter, out: Value) -> None:
    e.copy(out, e.constant(FP.field.mont(1)), 4)


def _difference_of_x(e: Emitter, out: Value, p: Value, q: Value) -> Value:
    """out = x_q - x_p; returns whether p + q is the common case: slope defined, neither infinite.

    (A finite point has y != 0: the order of the curve is odd.)
    """
    b = e.builder
    delta = difference(e, FP.field, e.load(q), e.load(p))
    e.store(out, delta)
    y_p, y_q = e.load(e.at(p, 4)), e.load(e.at(q, 4))
    common = [b.icmp_unsigned("!=", value, I256(0)) for value in (delta, y_p, y_q)]
    return b.zext(b.and_(b.and_(common[0], common[1]), common[2]), I64)


def _push(e: Emitter, row: Value, running: Value) -> None:
    """row[0:4] = running, running *= row[4:8]."""
    e.copy(row, running, 4)
    e.store(running, products(e, FP.field, [(row, e.at(row, 4))]))


def _pop(e: Emitter, inverse: Value, row: Value, running: Value) -> None:
    """inverse = running row[0:4], running *= row[4:8]: undoes `_push` once running is inverted."""
    e.store(inverse, products(e, FP.field, [(running, row)]))
    e.store(running, products(e, FP.field, [(running, e.at(row, 4))]))


def _common_additions(e: Emitter, *operands: Value) -> None:
    """out = p + q with inverse = 1 / (x_q - x_p), for every (out, p, q, inverse) in turn.

    Each step of all sums before the next step: one of a single sum waits for the one before.
    """
    f = FP.field
    jobs = [operands[i : i + 4] for i in range(0, len(operands), 4)]
    ends = [[(e.load(a), e.load(e.at(a, 4))) for a in (p, q)] for _, p, q, _ in jobs]
    slopes, falls = [e.temp(4) for _ in jobs], [e.temp(4) for _ in jobs]
    for slope, ((_, y_p), (_, y_q)) in zip(slopes, ends, strict=True):
        e.store(slope, difference(e, f, y_q, y_p))
    for slope, (_, _, _, inverse) in zip(slopes, jobs, strict=True):
        e.store(slope, products(e, f, [(slope, inverse)]))
    squares = [products(e, f, [(slope, slope)]) for slope in slopes]
    for (out, *_), square, fall, ((x_p, _), (x_q, _)) in zip(
        jobs, squares, falls, ends, strict=True
    ):
        x = difference(e, f, difference(e, f, square, x_p), x_q)
        e.store(fall, difference(e, f, x_p, x))
        e.store(out, x)
    ys = [products(e, f, [pair]) for pair in zip(slopes, falls, strict=True)]
    for (out, *_), y, ((_, y_p), _) in zip(jobs, ys, ends, strict=True):
        e.store(e.at(out, 4), difference(e, f, y, y_p))


is_zero8 = Function("is_zero8", "p", _is_zero8).intrinsic()
fp_set_one = Routine("fp.set_one", "p", _set_one).intrinsic()
push = Routine(f"{FP.tag}.batch_push", "pp", _push).intrinsic()
pop = Routine(f"{FP.tag}.batch_pop", "ppp", _pop).intrinsic()
difference_of_x = Function("fp.difference_of_x", "ppp", _difference_of_x).intrinsic()
common_addition = Routine(f"{FP.tag}.common_addition", "pppp", _common_additions).intrinsic()
two_common_additions = Routine(
    f"{FP.tag}.two_common_additions", "pppppppp", _common_additions
).intrinsic()

_ROW = 72  # bytes of a row of work
_ADD, _DOUBLE, _LEFT, _RIGHT, _ZERO = range(5)


@kernel(signature="int64(uintp, uintp, uintp)")
def _denominator(out: int, p: int, q: int) -> int:
    """Which rare case p + q is, and the denominator of its slope (1 where there is none)."""
    fp_set_one(out)
    if is_zero8(q):
        return _LEFT
    if is_zero8(p):
        return _RIGHT
    if not is_equal(p + 32, q + 32):
        return _ZERO
    fp_add(out, p + 32, p + 32)
    return _DOUBLE


@kernel(signature="void(uintp, uintp, uintp, uintp, int64)")
def _finish_addition(out: int, p: int, q: int, inverse: int, case: int) -> None:
    """out = p + q; rare cases: one is infinite, both are equal or they are opposite."""
    slope, x, y = stack(4), stack(4), stack(4)
    if case == _ADD:
        common_addition(out, p, q, inverse)
        return
    if case in (_LEFT, _RIGHT):
        source = p if case == _LEFT else q
        copy(out, source)
        copy(out + 32, source + 32)
        return
    if case == _ZERO:
        fp_sub(out, p, p)
        fp_sub(out + 32, p, p)
        return
    fp_sqr(x, p)
    fp_add(slope, x, x)
    fp_add(slope, slope, x)
    fp_mul(slope, slope, inverse)
    fp_sqr(x, slope)
    fp_sub(x, x, p)
    fp_sub(x, x, q)
    fp_sub(y, p, x)
    fp_mul(y, slope, y)
    fp_sub(out + 32, y, p + 32)
    copy(out, x)


@kernel(signature="void(uint64[:,::1], int64, uint64[:,::1])")
def batch_add(pairs: U64, n: int, work: U64) -> None:
    """out = left + right for n pairs; complete; one inversion in all.

    pairs : rows (out, left, right) of addresses; no output is an operand of another row
    work  : uint64[>= n + 2, 9], rows of a product of denominators before, of the pair's own
            denominator, and of its case. The pairs with even and with odd k have products of their
            own, since the next factor of one waits for the last
    """
    base, inverses, running = work.ctypes.data, stack(8), stack(8)
    fp_set_one(base)
    fp_set_one(base + _ROW)
    for k in range(n):
        row, case = base + _ROW * k, _ADD
        if not difference_of_x(row + 32, pairs[k, 1], pairs[k, 2]):
            case = _denominator(row + 32, pairs[k, 1], pairs[k, 2])
        store_word(row + 64, case)
        fp_mul(row + 2 * _ROW, row, row + 32)
    last, before = base + _ROW * (n + 1), base + _ROW * n
    fp_mul(inverses, last, before)
    fp_inverse(inverses, inverses)
    fp_mul(running, before, inverses)
    fp_mul(running + 32, last, inverses)
    k = n - 1
    while k > 0:
        row, other = base + _ROW * k, base + _ROW * (k - 1)
        pop(inverses, row, running)
        pop(inverses + 32, other, running + 32)
        to, p, q = pairs[k, 0], pairs[k, 1], pairs[k, 2]
        to2, p2, q2 = pairs[k - 1, 0], pairs[k - 1, 1], pairs[k - 1, 2]
        case, case2 = int(load_word(row + 64)), int(load_word(other + 64))
        if case == _ADD and case2 == _ADD:
            two_common_additions(to, p, q, inverses, to2, p2, q2, inverses + 32)
        else:
            _finish_addition(to, p, q, inverses, case)
            _finish_addition(to2, p2, q2, inverses + 32, case2)
        k -= 2
    if k == 0:
        pop(inverses, base, running)
        _finish_addition(pairs[0, 0], pairs[0, 1], pairs[0, 2], inverses, int(load_word(base + 64)))


def addition_workspace() -> tuple[U64, U64]:
    """The pairs and the work of `batch_add` for up to CHUNK additions."""
    return np.empty((CHUNK, 3), dtype=np.uint64), np.empty((CHUNK + 2, 9), dtype=np.uint64)
