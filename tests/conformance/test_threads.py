"""The same words from 1, 2 and 3 threads, whatever the host has."""

import pytest

from kernels.array import FrArray
from kernels.backend import Backend
from kernels.bn254 import GENERATOR
from kernels.errors import BackendUnavailable
from tests.conformance.backends import build_backend
from tests.conformance.inputs import GROUPS, Group, build_bases, draw_scalars, mont, random_field
from tests.conformance.test_sparse import build, random_rows

pytestmark = [pytest.mark.threads, pytest.mark.bulk, pytest.mark.at_full_length]


@pytest.fixture(scope="session")
def crews(backend_name: str) -> list[Backend]:
    """The backend with 1, 2 and 3 threads."""
    try:
        return [build_backend(backend_name, n) for n in (1, 2, 3)]
    except BackendUnavailable as reason:
        pytest.skip(f"{backend_name}: {reason}")


def test_they_say_how_many(crews: list[Backend]) -> None:
    assert [crew.info().n_threads for crew in crews] == [1, 2, 3]


@pytest.mark.parametrize("n", [5, 1000])
def test_pointwise(crews: list[Backend], n: int) -> None:
    a, b = mont(random_field(n, 1)), mont(random_field(n, 2))
    first = crews[0]
    for crew in crews[1:]:
        assert crew.mul(a, b).equals(first.mul(a, b))
        assert crew.batch_inverse(a).equals(first.batch_inverse(a))
        assert crew.powers(3, n).equals(first.powers(3, n))
        assert crew.dot(a, b) == first.dot(a, b)
        assert crew.from_mont(a).equals(first.from_mont(a))


@pytest.mark.parametrize("lg_n", [2, 10, 13])
def test_transforms(crews: list[Backend], lg_n: int) -> None:
    a = mont(random_field(3 << lg_n), 3, 1 << lg_n)
    for inverse in (False, True):
        results = [crew.ntt(a, inverse=inverse, shift=GENERATOR) for crew in crews]
        assert all(result.equals(results[0]) for result in results)


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("n", [2, 100, 1000])
def test_sums(crews: list[Backend], group: Group, n: int) -> None:
    for kind, name in [("distinct", "full"), ("mixed", "witness-like"), ("all equal", "one giant")]:
        scalars = FrArray.from_ints(draw_scalars(name, n))
        bases, _ = build_bases(group, kind, n)
        results = [group.msm(crew, scalars, bases) for crew in crews]
        results += [group.msm(crew, scalars, group.fix(crew, bases, 1 << 24)) for crew in crews]
        assert all(result.equals(results[0]) for result in results)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_multiples(crews: list[Backend], group: Group) -> None:
    scalars = FrArray.from_ints(draw_scalars("full", 300))
    base, _ = build_bases(group, "distinct", 1)
    results = [group.fixed_base(crew, scalars, base) for crew in crews]
    assert all(result.equals(results[0]) for result in results)


def test_points(crews: list[Backend]) -> None:
    g1, g2 = (build_bases(group, "mixed", 200)[0] for group in GROUPS)
    for crew in crews:
        assert crew.is_on_curve_g1(g1).all()
        assert crew.is_in_subgroup_g2(g2).all()


def test_matrices(crews: list[Backend]) -> None:
    m, z = build(random_rows(500, 50, 2, 1), 50, random_field(2)), mont(random_field(50))
    assert all(crew.matvec(m, z).equals(crews[0].matvec(m, z)) for crew in crews)
