"""The key in the exponent, against the definitions: polynomials over plain integers."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from kernels.array import FrMont, G1Array, SparseMatrix
from kernels.bn254 import G1, G2, GENERATOR, R, root_of_unity
from kernels.reference import Reference, add_g1, mul_g1, mul_g2
from prover.circuit.r1cs import R1CS
from prover.errors import DependentColumns, TrapdoorInvalid
from prover.groth16.domain import Domain
from prover.groth16.quotient import compute_quotient_scalars
from prover.groth16.setup import (
    compute_columns,
    compute_exponents,
    compute_h_query,
    setup,
)
from prover.groth16.trapdoor import draw_trapdoor
from prover.keys.halves import Quotient
from prover.pedersen.bases import load_bases
from tests.support.polynomials import interpolate_at, list_points
from tests.support.tiny_circuits import (
    ToyCircuit,
    ToyWires,
    build_chain,
    build_r1cs,
    is_satisfied,
    seeded,
    solve_chain,
)
from tests.support.toy_protocol import toy_key, toy_trapdoor

BACKEND = Reference()


def dense(m: SparseMatrix) -> list[list[int]]:
    wide = m.wide.to_ints()
    out = [[0] * m.n_cols for _ in range(m.n_rows)]
    for row in range(m.n_rows):
        for i in range(int(m.indptr[row]), int(m.indptr[row + 1])):
            c = int(m.coeffs[i])
            out[row][int(m.cols[i])] += wide[c - m.WIDE] if c >= m.WIDE else c
    return out


@pytest.fixture(params=[None, 1, 2], ids=["powers of two", "ones", "twos"])
def least_coset(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Domains of few rows have several cosets, too, as those of many."""
    if request.param is not None:
        monkeypatch.setattr("prover.circuit.r1cs.LEAST_COSET", request.param)


@pytest.mark.usefixtures("least_coset")
def test_columns_are_interpolations() -> None:
    r1cs, trapdoor = ToyCircuit().r1cs, toy_trapdoor()
    columns = compute_columns(r1cs, trapdoor, BACKEND)
    n = r1cs.domain
    points = list_points(Domain(n))
    padding = [0] * (n - r1cs.n_rows)
    for matrix, found in ((r1cs.a, columns.u), (r1cs.b, columns.v), (r1cs.c, columns.w)):
        expected = [
            interpolate_at([*column, *padding], points, trapdoor.tau)
            for column in zip(*dense(matrix), strict=True)
        ]
        assert any(expected)
        assert found.to_ints() == expected
    mixed = [
        (trapdoor.beta * u + trapdoor.alpha * v + w) % R
        for u, v, w in zip(
            columns.u.to_ints(), columns.v.to_ints(), columns.w.to_ints(), strict=True
        )
    ]
    assert columns.k.to_ints() == mixed


def solved(n_rows: int) -> tuple[R1CS, list[int]]:
    return build_chain(n_rows - 1), solve_chain(n_rows - 1, 3)


@pytest.mark.usefixtures("least_coset")
@pytest.mark.parametrize("quotient", Quotient)
@pytest.mark.parametrize("n_rows", [2, 3, 4, 5, 7, 8, 9, 13])
def test_quotient_in_four_transforms_or_six_is_the_quotient(
    n_rows: int, quotient: Quotient
) -> None:
    """Both brackets of a split one together are (a(tau) b(tau) - c(tau)) / delta."""
    r1cs, wires = solved(n_rows)
    assert is_satisfied(r1cs, wires)
    trapdoor = draw_trapdoor(seeded(n_rows), n_linked=0)
    z = FrMont.from_ints(wires)
    scalars = compute_quotient_scalars(
        BACKEND.matvec(r1cs.a, z),
        BACKEND.matvec(r1cs.b, z),
        quotient=quotient,
        n=r1cs.domain,
        backend=BACKEND,
    )
    first = BACKEND.dot(compute_h_query(r1cs.domain, trapdoor, BACKEND), BACKEND.to_mont(scalars))
    columns = compute_columns(r1cs, trapdoor, BACKEND)
    a, b, c = (BACKEND.dot(column, z) for column in (columns.u, columns.v, columns.w))
    is_split = quotient is Quotient.SPLIT
    second = BACKEND.dot(columns.folded, z) if is_split else 0
    assert (first + second) % R == (a * b - c) * pow(trapdoor.delta, -1, R) % R


@pytest.mark.usefixtures("least_coset")
def test_the_c_side_holds_private_wires_and_the_fold_of_all_others() -> None:
    r1cs, t = ToyCircuit().r1cs, toy_trapdoor()
    e = compute_exponents(r1cs, t, BACKEND)
    columns = compute_columns(r1cs, t, BACKEND)
    k, h = columns.k.to_ints(), e.points["h"].to_ints()
    rows, n = dense(r1cs.c), r1cs.domain
    points, others = list_points(Domain(n)), list_points(Domain(n, of_quotient=True))
    found = dict(zip(e.wires["c_wires"].tolist(), e.points["c"].to_ints(), strict=True))
    in_c = {i for row in rows for i, c in enumerate(row) if c}
    assert found.keys() == in_c | set(range(r1cs.private.start, r1cs.private.stop))
    assert ToyWires.K in found
    assert ToyWires.Z0 in found
    for wire, value in found.items():
        own = k[wire] * pow(t.delta, -1, R) if wire >= r1cs.private.start else 0
        column = [row[wire] for row in rows] + [0] * (n - r1cs.n_rows)
        folded = [interpolate_at(column, points, x) for x in others]
        assert value == (own - sum(c * g for c, g in zip(folded, h, strict=True))) % R


def test_no_committed_or_public_wire_is_published_over_delta() -> None:
    """The knowledge that pins D_W and D_A: no K_k/delta of their wires in the key."""
    r1cs, t = ToyCircuit().r1cs, toy_trapdoor()
    e = compute_exponents(r1cs, t, BACKEND)
    k = compute_columns(r1cs, t, BACKEND).k.to_ints()
    over_delta = {k[i] * pow(t.delta, -1, R) % R for i in range(r1cs.private.start)}
    scalars = (*e.points.values(), e.public)
    published = {x for some in scalars for x in some.to_ints()}
    assert not over_delta & published


def test_points_of_the_key_are_its_exponents_times_the_generator() -> None:
    key, e = toy_key(), compute_exponents(ToyCircuit().r1cs, toy_trapdoor(), BACKEND)
    for name in ("a", "c", "advice", "basis", "correction"):
        points = getattr(key, name).to_ints()
        assert points == [mul_g1(x, G1) for x in e.points[name].to_ints()]
        assert None not in points
    assert len(key.b1) == len(key.b2) == len(e.points["b1"])
    assert key.linked == (2,)
    eta, eta_g = toy_trapdoor().eta, toy_trapdoor().groups[0].eta
    assert e.points["basis"].to_ints()[2:] == [eta_g, eta]
    assert key.verifying.public.to_ints() == [mul_g1(x, G1) for x in e.public.to_ints()]


def test_a_base_of_the_link_is_a_hashed_point_plus_one_of_the_key() -> None:
    """k1_g h_i + k2 [K_i] by groups, k1_g h_0 + k2 eta_g, k2 eta; and links are k1_g, k2."""
    r1cs = build_r1cs(
        [({1: 1}, {2: 1}, {3: 1}), ({2: 1}, {4: 1}, {3: 1}), ({5: 1}, {4: 1}, {5: 1})],
        n_public=0,
        linked=(1, 3, 1),
        n_private=0,
    )
    t, h = draw_trapdoor(seeded(21), n_linked=3), load_bases(3).to_ints()
    key = setup(r1cs, circuit_digest=bytes(32), n_challenges=0, trapdoor=t, backend=BACKEND)
    assert isinstance(key.basis, G1Array)
    assert isinstance(key.link, G1Array)
    assert len(key.basis) == len(key.link) == 5 + 3 + 1
    first, second, third = t.groups
    hashed = [
        *[(first, h[1]), (second, h[1]), (second, h[2]), (second, h[3]), (third, h[1])],
        *[(group, h[0]) for group in t.groups],
    ]
    expected = [
        add_g1(mul_g1(group.k1, p), mul_g1(t.k2, q))
        for (group, p), q in zip(hashed, key.basis.to_ints(), strict=False)
    ]
    assert key.basis.to_ints()[5:] == [mul_g1(x, G1) for x in t.blinders]
    assert key.link.to_ints() == [*expected, mul_g1(t.k2, mul_g1(t.eta, G1))]
    factors = (first.k1, second.k1, third.k1, t.k2)
    assert key.verifying.links.to_ints() == [mul_g2(x, G2) for x in factors]
    assert key.verifying.n_linked == 3


def name_scalars() -> list[str]:
    return [*toy_trapdoor().scalars]


@pytest.mark.parametrize("name", name_scalars())
def test_a_zero_in_the_trapdoor_is_refused(name: str) -> None:
    t = toy_trapdoor()
    in_group = re.fullmatch(r"groups\[0\]\.(\w+)", name)
    if in_group is None:
        bad = replace(t, **{name: R})  # type: ignore[arg-type]
    else:
        bad = replace(t, groups=(replace(t.groups[0], **{in_group[1]: R}),))
    with pytest.raises(TrapdoorInvalid, match=f"scalar {re.escape(name)} is"):
        setup(
            ToyCircuit().r1cs,
            circuit_digest=bytes(32),
            n_challenges=1,
            trapdoor=bad,
            backend=BACKEND,
        )


@pytest.mark.parametrize(
    "tau", [1, root_of_unity(4), root_of_unity(5), GENERATOR, GENERATOR * root_of_unity(4)]
)
def test_tau_on_the_domain_or_its_coset_is_refused(tau: int) -> None:
    with pytest.raises(TrapdoorInvalid, match="scalar tau is"):
        replace(toy_trapdoor(), tau=tau).check(24)


def test_trapdoors_are_fresh_and_hide() -> None:
    source = seeded(5)
    first, second = (draw_trapdoor(source, n_linked=2) for _ in range(2))
    scalars = [x for t in (first, second) for x in t.scalars.values()]
    assert len(set(scalars)) == len(scalars) == 2 * (8 + 2 * 2)
    assert str(first) == "Trapdoor(hidden)"
    assert str(first.groups[0]) == "GroupTrapdoor(hidden)"


@pytest.mark.parametrize("n_linked", [0, 2])
def test_a_trapdoor_is_for_as_many_groups_as_the_circuit_has(n_linked: int) -> None:
    with pytest.raises(TrapdoorInvalid, match="scalar groups is"):
        setup(
            ToyCircuit().r1cs,
            circuit_digest=bytes(32),
            n_challenges=1,
            trapdoor=draw_trapdoor(seeded(6), n_linked=n_linked),
            backend=BACKEND,
        )


def test_dependent_public_columns_are_refused() -> None:
    """Two public wires that occur only in a sum: (1, 2) and (2, 1) would be one statement."""
    r1cs = build_r1cs([({1: 1, 2: 1}, {0: 1}, {3: 1})], n_public=2, n_private=1)
    with pytest.raises(DependentColumns):
        setup(
            r1cs,
            circuit_digest=bytes(32),
            n_challenges=0,
            trapdoor=toy_trapdoor(),
            backend=BACKEND,
        )


def test_setup_reports_progress_in_stages() -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    setup(
        ToyCircuit().r1cs,
        circuit_digest=bytes(32),
        n_challenges=1,
        trapdoor=toy_trapdoor(),
        backend=BACKEND,
        progress=lambda stage, done, total: seen.setdefault(stage, []).append((done, total)),
    )
    assert {
        "columns",
        "A query",
        "B query in G2",
        "quotient query",
        "linked basis",
        "link",
    } <= seen.keys()
    for steps in seen.values():
        assert steps == sorted(steps)
        assert steps[-1][0] == steps[-1][1]
    assert np.all([total > 0 for steps in seen.values() for _, total in steps])
