"""Inputs of known answer, and the oracles that judge them; `test_inputs.py` proves both fit.

Bases are known multiples k_i * G, so sum s_i P_i = (sum s_i k_i) * G costs one multiplication at
any length. A transform of any length is checked by one random linear functional of all its outputs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from itertools import accumulate
from typing import Any

from hypothesis import settings

from kernels import reference
from kernels.array import FrArray, FrMont, G1Array, G2Array
from kernels.backend import Backend, Progress
from kernels.bn254 import G1, G2, LAMBDA, P, R, root_of_unity

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=25)

EDGES = sorted(
    {v % R for c in (0, P, R, (R - 1) // 2) for v in range(c - 3, c + 4)}
    | {v % R for e in (16, 26, 32, 52, 64, 128, 192, 253, 254, 256) for v in ((1 << e) - 1, 1 << e)}
    | {LAMBDA, R - LAMBDA, pow(1 << 256, -1, R), pow(1 << 260, -1, R)}
)
"""Ends of ranges, limbs, halves and Montgomery radices: where a carry or a borrow goes wrong."""


# -- scalars ---------------------------------------------------------------------------------------


def _witness_like(n: int, rng: random.Random) -> list[int]:
    """60 % zero or one, 35 % below 2^16, 5 % of full width."""
    pick = [lambda: rng.randrange(2), lambda: rng.randrange(1 << 16), lambda: rng.randrange(R)]
    return [rng.choices(pick, [60, 35, 5])[0]() for _ in range(n)]


SCALARS: dict[str, Callable[[int, random.Random], list[int]]] = {
    "full": lambda n, rng: [rng.randrange(R) for _ in range(n)],
    "zero": lambda n, rng: [0] * n,
    "one": lambda n, rng: [1] * n,
    "minus one": lambda n, rng: [R - 1] * n,
    "small": lambda n, rng: [rng.randrange(1 << 16) for _ in range(n)],
    "minus small": lambda n, rng: [R - 1 - rng.randrange(1 << 16) for _ in range(n)],
    "signed bytes": lambda n, rng: [rng.randrange(-128, 128) % R for _ in range(n)],
    "edges": lambda n, rng: [EDGES[i * 7 % len(EDGES)] for i in range(n)],
    "middle": lambda n, rng: [((R - 1) // 2 + rng.randrange(-2, 4)) % R for _ in range(n)],
    "one bit": lambda n, rng: [1 << rng.randrange(253) for _ in range(n)],
    "all equal": lambda n, rng: [rng.randrange(R)] * n,
    "same low bits": lambda n, rng: [(rng.randrange(R >> 32) << 32) + 5 for _ in range(n)],
    "same high bits": lambda n, rng: [(0x1234567 << 220) + rng.randrange(1 << 8) for _ in range(n)],
    "one giant": lambda n, rng: [1] * (n - 1) + [R - 2] if n else [],
    "witness-like": _witness_like,
}
ALWAYS_ZERO = ("zero",)


@cache
def _drawn(name: str, n: int, seed: int) -> tuple[int, ...]:
    return tuple(SCALARS[name](n, random.Random(f"{name} {n} {seed}")))


def draw_scalars(name: str, n: int, seed: int = 1) -> list[int]:
    return list(_drawn(name, n, seed))


# -- groups and bases ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """G1 or G2 behind one set of names."""

    name: str
    generator: Any
    array: Any
    add: Callable[[Any, Any], Any]
    mul: Callable[[int, Any], Any]

    def __str__(self) -> str:
        return self.name

    def multiples(self, factors: Sequence[int]) -> list[Any]:
        """k * generator for each k: the sum of its digits' multiples, which are made once."""
        return [reduce(self.add, _multiples_of_digits(self, k % R), None) for k in factors]

    def msm(
        self, backend: Backend, scalars: FrArray, bases: Any, progress: Progress | None = None
    ) -> Any:
        method = backend.msm_g1 if self.name == "g1" else backend.msm_g2
        return method(scalars, bases, progress=progress)

    def fix(self, backend: Backend, bases: Any, max_bytes: int | None = None) -> Any:
        method = backend.fix_g1 if self.name == "g1" else backend.fix_g2
        return method(bases, max_bytes=max_bytes)

    def fixed_base(
        self, backend: Backend, scalars: FrArray, base: Any, progress: Progress | None = None
    ) -> Any:
        method = backend.fixed_base_g1 if self.name == "g1" else backend.fixed_base_g2
        return method(scalars, base, progress=progress)


GROUPS = [
    Group("g1", G1, G1Array, reference.add_g1, reference.mul_g1),
    Group("g2", G2, G2Array, reference.add_g2, reference.mul_g2),
]

N_DIGITS = 64  # of 4 bits: those of 256


@cache
def _digits(group: Group) -> list[list[Any]]:
    """d * 16^i * generator, [i][d]."""
    table, base = [], group.generator
    for _ in range(N_DIGITS):
        table.append([None, *accumulate([base] * 15, group.add)])
        base = group.add(table[-1][-1], base)
    return table


def _multiples_of_digits(group: Group, k: int) -> list[Any]:
    return [row[k >> 4 * i & 15] for i, row in enumerate(_digits(group))]


STEP = 0x1F2E3D4C5B6A79880123456789ABCDEF0011223344556677 % R  # bases that look like no pattern


@cache
def _progression(group: Group) -> list[Any]:
    """(i + 1) * STEP * G for i below the longest length that was asked for."""
    return [group.mul(STEP, group.generator)]


def progression(group: Group, n: int) -> tuple[list[Any], list[int]]:
    """n different points, and their factors. The points are made once, each from the one before."""
    points = _progression(group)
    while len(points) < n:
        points.append(group.add(points[-1], points[0]))
    return points[:n], [(i + 1) * STEP % R for i in range(n)]


def _arrange(order: Callable[[int], int | None]) -> Callable[[int], list[int | None]]:
    return lambda n: [order(i) for i in range(n)]


# Position -> signed index into the progression (1-based), or None for infinity.
BASES: dict[str, Callable[[int], list[int | None]]] = {
    "distinct": _arrange(lambda i: i + 1),
    "all equal": _arrange(lambda i: 1),
    "three repeated": _arrange(lambda i: i % 3 + 1),
    "opposite pairs": _arrange(lambda i: (i // 2 + 1) * (-1) ** i),
    "one and its opposite": _arrange(lambda i: (-1) ** i),
    "all infinite": _arrange(lambda i: None),
    "every third infinite": _arrange(lambda i: None if i % 3 == 1 else i + 1),
    "mixed": _arrange(lambda i: [i + 1, None, 1, -1, 2, -(i + 1), i + 1][i % 7]),
}


def build_bases(group: Group, name: str, n: int) -> tuple[Any, list[int]]:
    """The bases as an array of its own, and their factors (0 for infinity)."""
    bases, factors = _built(group, name, n)
    return group.array(bases.data.copy()), list(factors)


@cache
def _built(group: Group, name: str, n: int) -> tuple[Any, tuple[int, ...]]:
    points, factors = progression(group, n)
    chosen: list[Any] = []
    ks: list[int] = []
    for index in BASES[name](n):
        if index is None:
            chosen.append(None)
            ks.append(0)
            continue
        point, k = points[abs(index) - 1], factors[abs(index) - 1]
        chosen.append(point if index > 0 else group.mul(-1, point))
        ks.append(k if index > 0 else R - k)
    return group.array.from_ints(chosen), tuple(ks)


def known_sum(group: Group, scalars: Sequence[int], factors: Sequence[int]) -> Any:
    """sum s_i k_i * G as an array of length 1."""
    total = sum(s * k for s, k in zip(scalars, factors, strict=True)) % R
    return group.array.from_ints(group.multiples([total]))


# -- transforms ------------------------------------------------------------------------------------


def random_field(n: int, seed: int = 1) -> list[int]:
    rng = random.Random(f"field {n} {seed}")
    return [rng.randrange(R) for _ in range(n)]


def invert_all(values: Sequence[int]) -> list[int]:
    """Inverses mod r of nonzero values by one inversion (Montgomery's trick)."""
    prefix = [1]
    for v in values:
        prefix.append(prefix[-1] * v % R)
    running, out = pow(prefix[-1], -1, R), [0] * len(values)
    for i in reversed(range(len(values))):
        out[i] = running * prefix[i] % R
        running = running * values[i] % R
    return out


def is_transform(coefficients: Sequence[int], values: Sequence[int], shift: int, seed: int) -> bool:
    """values[i] = sum_j a_j (shift w^i)^j for ALL i; a false yes has chance below n/r.

    holds : sum_i c^i values[i] = sum_j a_j shift^j sum_i (c w^j)^i, and the inner sum is geometric,
            (c^n - 1)/(c w^j - 1). Both sides are polynomials in the random c of degree below n.
    """
    n = len(coefficients)
    w = root_of_unity(n.bit_length() - 1)
    c = random.Random(f"functional {seed}").randrange(2, R)
    left = 0
    for v in reversed(values):
        left = (left * c + v) % R
    denominators, c_w = [], c
    for _ in range(n):
        denominators.append((c_w - 1) % R)
        c_w = c_w * w % R
    right, power = 0, 1
    for a, d in zip(coefficients, invert_all(denominators), strict=True):
        right += a * power % R * d
        power = power * shift % R
    return (pow(c, n, R) - 1) * right % R == left


def evaluate(coefficients: Sequence[int], x: int) -> int:
    value = 0
    for a in reversed(coefficients):
        value = (value * x + a) % R
    return value


def mont(values: Sequence[int], *shape: int) -> FrMont:
    """FrMont of these values, of shape [n] unless one is given."""
    array = FrMont.from_ints(values)
    return FrMont(array.data.reshape(*shape, FrMont.WORDS)) if shape else array


class Ticks:
    """A progress callback that keeps what it was told, and the contract it must meet."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.seen.append((done, total))

    def keeps_contract(self) -> bool:
        """Told at least once, never decreasing, one total, last with done == total."""
        done = [d for d, _ in self.seen]
        return (
            len(self.seen) > 0
            and done == sorted(done)
            and done[0] >= 0
            and len({total for _, total in self.seen}) == 1
            and self.seen[-1][0] == self.seen[-1][1]
        )
