"""The same work again gives the same words: on a GPU this is the check for races."""

import numpy as np
import pytest

from kernels.array import FrArray, FrMont, G1Array, G2Array
from kernels.backend import Backend
from kernels.bn254 import GENERATOR
from tests.conformance.backends import CPU, build_backend
from tests.conformance.inputs import GROUPS, Group, draw_scalars, progression

pytestmark = pytest.mark.device

N_ON_A_GPU, N_ELSEWHERE = 50, 2
LG_ON_A_GPU, LG_ELSEWHERE = 16, 8


@pytest.fixture
def n_repeats(backend_name: str) -> int:
    return N_ON_A_GPU if backend_name == "cuda" else N_ELSEWHERE


@pytest.fixture
def length(backend_name: str) -> int:
    return 1 << (LG_ON_A_GPU if backend_name == "cuda" else LG_ELSEWHERE)


def draw(n: int, seed: int) -> FrMont:
    """n random words below 2^253 < r."""
    words = np.random.default_rng(seed).integers(0, 1 << 64, (n, 4), dtype=np.uint64)
    words[:, 3] >>= np.uint64(11)
    return FrMont(words)


def test_field_and_transforms(backend: Backend, n_repeats: int, length: int) -> None:
    judge = build_backend(CPU)
    a, b = draw(length, 1), draw(length, 2)
    transform, inverses = judge.ntt(a, shift=GENERATOR), judge.batch_inverse(a)
    dot = judge.dot(a, b)
    for _ in range(n_repeats):
        assert backend.ntt(a, shift=GENERATOR).equals(transform)
        assert backend.ntt(transform, inverse=True, shift=GENERATOR).equals(a)
        assert backend.batch_inverse(a).equals(inverses)
        assert backend.dot(a, b) == dot


@pytest.mark.parametrize("scalars", ["full", "witness-like", "all equal"])
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_sums(backend: Backend, group: Group, scalars: str, n_repeats: int, length: int) -> None:
    n = min(length, 1 << 12)  # the points come from Python
    points, _ = progression(group, n)
    bases: G1Array | G2Array = group.array.from_ints(points)
    drawn = FrArray.from_ints(draw_scalars(scalars, n))
    expected = group.msm(build_backend(CPU), drawn, bases)
    prepared = group.fix(backend, bases, 1 << 24)
    for _ in range(n_repeats):
        assert group.msm(backend, drawn, bases).equals(expected)
        assert group.msm(backend, drawn, prepared).equals(expected)
