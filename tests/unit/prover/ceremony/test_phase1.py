"""Powers of tau: those of snarkjs pass, prepared or not; any section that is altered is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from kernels.array import FrArray, G1Array, G2Array
from kernels.backend import Backend, get_backend
from kernels.bn254 import G1, G2, R, root_of_unity
from prover.ceremony.lagrange import compute_prepared
from prover.ceremony.phase1 import require_powers
from prover.ceremony.ratios import G1_GENERATOR, G2_GENERATOR
from prover.errors import FormatError
from prover.formats.ptau import Powers, Prepared, read_powers
from prover.progress import silent
from tests.support.ceremonies import POWERS, begin
from tests.support.foreign import outside_g2
from tests.support.tiny_circuits import seeded

Points = G1Array | G2Array

# Fields of `Powers` and `Prepared`, and the section that a fault in them is found in.
POWER_FIELDS = {"tau_1": 2, "tau_2": 3, "alpha_1": 4, "beta_1": 5}
BASIS_FIELDS = {"tau_1": 12, "tau_2": 13, "alpha_1": 14, "beta_1": 15, "odd": 12}


@pytest.fixture(scope="module")
def backend() -> Backend:
    return get_backend("cpu")


@pytest.fixture(scope="module")
def powers() -> Powers:
    return begin("multiplier").powers


def find_fault(powers: Powers, backend: Backend) -> tuple[str, str]:
    with pytest.raises(FormatError) as refused:
        require_powers(powers, backend, seeded(3))
    return refused.value.where, refused.value.what


def of(powers: Powers, **changes: Any) -> Powers:
    """With another basis, if the name is one of a basis."""
    assert powers.prepared is not None
    return replace(powers, prepared=replace(powers.prepared, **changes))


def swap(points: Points) -> Points:
    """The last two that a check reads, exchanged."""
    index = np.arange(len(points))
    index[[-2, -1]] = index[[-1, -2]]
    return points[index]


def take_again(points: Points) -> Points:
    """One point in place of the next."""
    index = np.arange(len(points))
    index[-1] = index[-2]
    return points[index]


def leave(points: Points) -> Points:
    """The last point is no point."""
    data = points.data.copy()
    data[-1, 0] ^= np.uint64(1)
    return type(points)(data)


def test_bases_are_those_that_snarkjs_prepared(powers: Powers, backend: Backend) -> None:
    """For a domain below the file's, and for the largest, where one power counts as zero; below it
    those of the even points, too."""
    for lg_n, doubled in ((1, False), (1, True), (2, True), (3, False)):
        read = read_powers(POWERS["multiplier"], lg_n, doubled=doubled)
        assert read.prepared is not None
        found = compute_prepared(read, backend, silent)
        assert require_powers(read, backend, seeded(4)) is read.prepared
        assert (found.even is not None) == (read.prepared.even is not None) == doubled
        for one in fields(Prepared):
            if one.name == "even" and not doubled:
                continue
            assert getattr(found, one.name).equals(getattr(read.prepared, one.name)), one.name


@pytest.mark.parametrize("alter", [swap, take_again, leave])
@pytest.mark.parametrize("name", POWER_FIELDS)
def test_powers_that_are_altered(
    name: str, alter: Callable[[Points], Points], powers: Powers, backend: Backend
) -> None:
    points = alter(getattr(powers, name))
    where, what = find_fault(replace(powers, **{name: points}), backend)
    assert where.startswith(f"powers_3.ptau, section {POWER_FIELDS[name]} (")
    assert ("curve" in what or "group G2" in what) == (alter is leave)


@pytest.mark.parametrize("alter", [swap, take_again, leave])
@pytest.mark.parametrize("name", BASIS_FIELDS)
def test_bases_that_are_altered(
    name: str, alter: Callable[[Points], Points], powers: Powers, backend: Backend
) -> None:
    altered = alter(getattr(powers.prepared, name))
    where, what = find_fault(of(powers, **{name: altered}), backend)
    assert where.startswith(f"powers_3.ptau, section {BASIS_FIELDS[name]} (")
    assert ("curve" in what or "group G2" in what) == (alter is leave)


def test_a_beta_that_is_altered(powers: Powers, backend: Backend) -> None:
    for wrong in (G2_GENERATOR, leave(powers.beta_2), G2Array.zeros(1)):
        where, _ = find_fault(replace(powers, beta_2=wrong), backend)
        assert where.startswith("powers_3.ptau, section 6 (")


def test_points_outside_g2(powers: Powers, backend: Backend) -> None:
    stray = G2Array.concat([powers.tau_2[:-1], G2Array.from_ints([outside_g2()])])
    assert find_fault(replace(powers, tau_2=stray), backend)[1].endswith("is not in the group G2")


def make_powers(tau: int, n: int, backend: Backend, *, alpha: int = 5, beta: int = 7) -> Powers:
    """Of a tau that is known, not prepared."""

    def multiples(factor: int, count: int) -> FrArray:
        return FrArray.from_ints([factor * pow(tau, i, R) for i in range(count)])

    return Powers(
        lg_n=n.bit_length() - 1,
        n_tau=2 * n,
        tau_1=backend.fixed_base_g1(multiples(1, 2 * n), G1_GENERATOR),
        tau_2=backend.fixed_base_g2(multiples(1, n), G2_GENERATOR),
        alpha_1=backend.fixed_base_g1(multiples(alpha, n), G1_GENERATOR),
        beta_1=backend.fixed_base_g1(multiples(beta, n), G1_GENERATOR),
        beta_2=backend.fixed_base_g2(multiples(beta, 1), G2_GENERATOR),
        prepared=None,
        behind=None,
        name="known.ptau",
    )


def test_bases_of_a_tau_that_is_known(backend: Backend) -> None:
    tau, n = 123456789, 4
    found = require_powers(make_powers(tau, n, backend), backend, seeded(5))
    doubled = root_of_unity(3)

    def lagrange(i: int, root: int, size: int) -> int:
        points = [pow(root, j, R) for j in range(size)]
        value = 1
        for j, x in enumerate(points):
            if j != i:
                value = value * (tau - x) * pow(points[i] - x, -1, R) % R
        return value

    own = FrArray.from_ints([lagrange(i, pow(doubled, 2, R), n) for i in range(n)])
    odd = FrArray.from_ints([lagrange(2 * i + 1, doubled, 2 * n) for i in range(n)])
    assert found.tau_1.equals(backend.fixed_base_g1(own, G1Array.from_ints([G1])))
    assert found.tau_2.equals(backend.fixed_base_g2(own, G2Array.from_ints([G2])))
    assert found.odd.equals(backend.fixed_base_g1(odd, G1Array.from_ints([G1])))


@pytest.mark.parametrize(
    ("changes", "section", "what"),
    [
        ({"tau": root_of_unity(3)}, 2, "root of one of order 2^3 at most"),
        ({"tau": root_of_unity(2)}, 2, "root of one of order 2^3 at most"),
        ({"tau": 0}, 2, "is infinity"),
        ({"alpha": 0}, 4, "is infinity"),
        ({"beta": 0}, 5, "is infinity"),
    ],
)
def test_powers_that_no_key_can_be_of(
    changes: dict[str, int], section: int, what: str, backend: Backend
) -> None:
    arguments = {"tau": 3, "n": 4} | changes
    where, found = find_fault(make_powers(backend=backend, **arguments), backend)
    assert where.startswith(f"known.ptau, section {section} (")
    assert what in found


def test_another_generator(powers: Powers, backend: Backend) -> None:
    """All powers times two: every ratio is right."""
    two = FrArray.from_ints([2])
    doubled = G1Array.concat(
        [backend.msm_g1(two, powers.tau_1[i : i + 1]) for i in range(len(powers.tau_1))]
    )
    where, what = find_fault(replace(powers, tau_1=doubled), backend)
    assert where.startswith("powers_3.ptau, section 2 (")
    assert what == "does not begin with the generator"
