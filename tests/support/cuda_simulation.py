"""Run under NUMBA_ENABLE_CUDASIM=1: every numba.cuda kernel against its host form.

Prints the names of the kernels that agreed. The simulator starts a Python thread per CUDA thread,
so the inputs are as small as they can be.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numba import cuda

from kernels.cuda import layers, witness
from kernels.cuda.launch.entry import build_entry
from kernels.cuda.launch.per_thread import PerThread
from kernels.cuda.launch.runtime import ceil_div
from tests.support.cuda_emulator import EmulatedDevice

BLOCK = 4


class Hosted(EmulatedDevice):
    """Only its host form is used; sources are not built."""

    def __init__(self) -> None:
        self.memory_bytes = 1 << 30

    def holds(self, array: Any) -> bool:
        """The simulator takes NumPy's."""
        return isinstance(array, np.ndarray)


def agree(kernel: PerThread, n: int, arguments: list[Any], outputs: list[int]) -> bool:
    """Both forms give the same outputs; those are the arguments at these places."""
    forms = []
    for on_device in (False, True):
        mine = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        if on_device:
            cuda.jit(build_entry(kernel.build))[ceil_div(n, BLOCK), BLOCK](n, *mine)
        else:
            kernel(Hosted(), n, *mine)
        forms.append([mine[k] for k in outputs])
    changed = any((f != arguments[k]).any() for f, k in zip(forms[0], outputs, strict=True))
    return changed and all((a == b).all() for a, b in zip(*forms, strict=True))


def witness_cases() -> dict[str, bool]:
    rng = np.random.default_rng(1)
    z = rng.integers(-(1 << 31), 1 << 31, 6, dtype=np.int64)
    blank = np.zeros(6, np.int64)
    index = np.array([0, 4, 1, 1, -1, 5, 4], dtype=np.int64)
    records = rng.integers(0, 1 << 63, (5, 4), dtype=np.uint64)
    places = np.array([3, 0, 4], dtype=np.uint32)
    rows = np.array([0, 2, 2, 5]), np.array([4, 0, 1, 1, 3], dtype=np.uint32)
    factors, five = rng.integers(-9, 9, 5), rng.integers(-1000, 1000, 5)
    small = np.array([0, 1, -1, (1 << 62) - 1, 1 - (1 << 62)], dtype=np.int64)
    room = np.zeros((5, 4), np.uint64)
    logits = rng.integers(-9, 9, (6, 3))
    labels, counted = np.array([2, 0, 1, 1], np.uint8), np.array([1, 0, 0, 1], np.uint8)
    logits[:2], logits[2, 1] = [[1, 2, 5], [3, 3, 1]], 20
    counts = rng.integers(0, 1 << 32, (3, 5)).astype(np.uint32)
    triples, counter = np.zeros((6, 3), np.int64), np.zeros(1, np.uint32)
    return {
        "combine": agree(witness._combine, 3, [*rows, factors, five, blank[:3]], [4]),
        "count": agree(witness._count, 7, [index, np.zeros((2, 5), np.uint32)], [1]),
        "gather": agree(witness._gather, 12, [records, places, room[:3]], [2]),
        "scatter": agree(witness._scatter, 12, [room, places, records[:3]], [0]),
        "join": agree(
            witness._join, 36, [records[:2], records[2:3], records, np.ones((9, 4), np.uint64)], [3]
        ),
        "set": agree(witness._set, 3, [7, np.zeros(4, np.uint32)], [1]),
        "write": agree(witness._write, 6, [z, blank], [1]),
        "count_outside": agree(witness._count_outside, 5, [index[:5], five, counter], [2]),
        "limbs": agree(witness._limbs, 6, [z, np.array([0, 8, 62]), 255, triples], [3]),
        "add_copies": agree(witness._add_copies, 5, [counts, blank[:5]], [1]),
        "find_correct": agree(
            witness._find_correct, 4, [logits, labels, np.full(4, 9, np.uint8), counter], [2, 3]
        ),
        "mark_hits": agree(
            witness._mark_hits,
            6,
            [logits, labels, counted, np.array([1]), blank, triples, blank],
            [4, 5, 6],
        ),
        "scalars": agree(witness._scalars, 5, [small, room], [1]),
    }


def layer_cases() -> dict[str, bool]:
    rng = np.random.default_rng(2)
    x = rng.integers(0, 256, (3, 4), dtype=np.uint8)
    weight = rng.integers(-127, 128, (4, 2), dtype=np.int8)
    bias = rng.integers(-(1 << 22), 1 << 22, 2, dtype=np.int32)
    z, blank = rng.integers(-(1 << 31), 1 << 31, 6, dtype=np.int64), np.zeros(6, np.int64)
    factors, plane = np.array([37, 5]), rng.integers(-9, 256, (1, 2, 3, 2))
    kernel = rng.integers(-127, 128, (2, 2, 2, 2), dtype=np.int8)
    out = np.zeros((1, 2, 2, 2), np.int64)
    steps = [2, 1, 1, 1]
    return {
        "transpose": agree(layers._transpose, 8, [weight, np.zeros((2, 4), np.int8)], [1]),
        "accumulate": agree(
            layers._accumulate, 6, [x, weight, bias, np.zeros((3, 2), np.int64)], [3]
        ),
        "convolve": agree(
            layers._convolve, 8, [plane, kernel, bias, np.array([7, 9]), *steps, out], [8]
        ),
        "pool": agree(layers._pool, 8, [plane, 2, 2, *steps, 1, out], [8]),
        "mix": agree(layers._mix, 6, [z, factors, z[::-1].copy(), factors, 3, blank], [5]),
        "round": agree(
            layers._round, 6, [z, 10, factors, 3, 0, 255, blank, blank, blank], [6, 7, 8]
        ),
        "spread": agree(layers._spread, 8, [z.reshape(3, 2), np.zeros((4, 2), np.int64)], [1]),
    }


def main() -> None:
    if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
        raise SystemExit("the CUDA simulator is not on")
    cases = witness_cases() | layer_cases()
    print(*sorted(name for name, same in cases.items() if same))


if __name__ == "__main__":
    main()
