"""Attacks on the one link of several groups: what belongs to one group, in the place of another's.

Each works where its defence is taken away, under keys with a k1 that groups share, with blinders of
groups that are missing or shared. Ours refuses it, and accepts the honest proof beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations

import pytest

from kernels.array import FrArray, FrMont, G1Array
from kernels.bn254 import R
from prover.circuit.r1cs import R1CS
from prover.errors import DependentColumns
from prover.groth16.commitment import Opening, link_groups
from prover.groth16.prove import compute_points
from prover.groth16.setup import setup
from prover.groth16.trapdoor import Trapdoor, draw_trapdoor
from prover.groth16.verify import Claim, equations_hold
from prover.keys.halves import ProvingKey
from prover.pedersen.bases import load_bases
from prover.pedersen.commitment import Committer
from prover.wire.envelope import Proof
from tests.support.tiny_circuits import build_r1cs, seeded
from tests.support.toy_attacks import broken_batch_holds, combine, link_holds
from tests.support.toy_protocol import BACKEND

WIRES = X, Y, _ = 3, 4, 5
"""Of the groups, one each; the circuits say k = x, and square the others."""
RHOS, BLINDING = (6, 7, 8), 9


@cache
def circuit_of(n_groups: int) -> R1CS:
    """Wires: 1, k, one of each group, squares of all but the first."""
    squares = [({2 + i: 1}, {2 + i: 1}, {1 + n_groups + i: 1}) for i in range(1, n_groups)]
    return build_r1cs(
        [({2: 1}, {0: 1}, {1: 1}), *squares, ({1: 1}, {}, {})],
        n_public=1,
        linked=(1,) * n_groups,
        n_private=n_groups - 1,
    )


@cache
def trapdoor_of(n_groups: int) -> Trapdoor:
    return draw_trapdoor(seeded(77), n_linked=n_groups)


def share(name: str, n_groups: int, value: int | None = None) -> Trapdoor:
    """The broken setup whose groups have this scalar in common: the first group's, or a value."""
    t = trapdoor_of(n_groups)
    common = {name: getattr(t.groups[0], name) if value is None else value}
    return replace(t, groups=tuple(replace(group, **common) for group in t.groups))


@dataclass(frozen=True)
class Case:
    """A key of two or three groups of one wire each, and a claim about x, y (and z)."""

    key: ProvingKey
    claim: Claim

    @classmethod
    def of(cls, trapdoor: Trapdoor) -> Case:
        n = len(trapdoor.groups)
        key = setup(
            circuit_of(n),
            circuit_digest=bytes(32),
            n_challenges=0,
            trapdoor=trapdoor,
            backend=BACKEND,
        )
        return cls(key, prove(key, WIRES[:n], WIRES[:n]))

    def with_d(self, *shifts: G1Array) -> Claim:
        """The claim under commitments that are moved by these points, one each."""
        d = self.claim.commitments
        moved = [combine([1, 1], [d[i : i + 1], point]) for i, point in enumerate(shifts)]
        return replace(self.claim, commitments=G1Array.concat(moved))

    def accepts(self, claim: Claim | None = None) -> bool:
        key, claims = self.key.verifying, [claim or self.claim]
        return equations_hold(claims, key=key, random_bytes=seeded(4))

    def link_base(self, i: int) -> G1Array:
        """P of wire i, of the blinder of group i - n, of eta: in their order."""
        assert isinstance(self.key.link, G1Array)
        return self.key.link[i : i + 1]


def prove(key: ProvingKey, wires: Sequence[int], committed: Sequence[int]) -> Claim:
    """A proof about these wires under commitments to others, if asked, of the same blindings."""
    n, committer = len(wires), Committer(1, BACKEND)
    rhos = RHOS[:n]
    openings = [
        Opening(wires=FrArray.from_ints([w]), rho=rho) for w, rho in zip(wires, rhos, strict=True)
    ]
    linked = link_groups(key, openings, BLINDING, BACKEND)
    points = compute_points(
        key,
        circuit_of(n),
        FrMont.from_ints([1, wires[0], *wires, *(w * w for w in wires[1:])]),
        blindings=linked.blindings,
        rho_a=0,
        random_bytes=seeded(3),
        backend=BACKEND,
    )
    d = [committer.commit(FrArray.from_ints([w]), r) for w, r in zip(committed, rhos, strict=True)]
    proof = Proof(
        a=points.a,
        b=points.b,
        c=points.c,
        own=linked.own,
        link=linked.link,
        d_a=G1Array.zeros(1),
    )
    public = FrArray.from_ints([wires[0]])
    return Claim(public=public, commitments=G1Array.concat(d), proof=proof)


@pytest.mark.parametrize("n_groups", [2, 3])
def test_each_group_is_linked_to_its_own_commitment(n_groups: int) -> None:
    case = Case.of(trapdoor_of(n_groups))
    assert case.accepts()
    d = case.claim.commitments
    for order in permutations(range(n_groups)):
        crossed = replace(case.claim, commitments=G1Array(d.data[list(order)]))
        assert case.accepts(crossed) == (order == tuple(range(n_groups)))
    swapped = replace(case.claim.proof, own=case.claim.proof.link, link=case.claim.proof.own)
    assert not case.accepts(replace(case.claim, proof=swapped))


# -- a wire of another group -----------------------------------------------------------------------


def claim_by_the_other_group(case: Case) -> Claim:
    """k = x + y under commitments to x and y: y, too, is linked by the base of x's group.

    The first group's wire is then x + y, and the second's is zero. D', C and pi are those of that
    witness; only the commitments are to other values.
    """
    return prove(case.key, (X + Y, 0), (X, Y))


@pytest.mark.parametrize("is_shared", [True, False])
def test_a_wire_in_the_base_of_another_group(is_shared: bool) -> None:
    """It passes where both groups have k1 in common, and nowhere else."""
    case = Case.of(share("k1", 2) if is_shared else trapdoor_of(2))
    claim = claim_by_the_other_group(case)
    assert claim.public.to_ints() == [X + Y]  # type: ignore[union-attr]
    assert case.accepts(claim) == is_shared
    assert case.accepts()


# -- blindings that nobody knows -------------------------------------------------------------------


def without_blinders_of_groups() -> Case:
    """The broken setup whose P_g is k1_g h_0 alone: no eta_g anywhere. Its honest claims hold."""
    t = trapdoor_of(2)
    whole = Case.of(t).key
    assert isinstance(whole.basis, G1Array)
    assert isinstance(whole.link, G1Array)
    h_0, nothing = load_bases(0), G1Array.zeros(2)
    of_h = [combine([group.k1], [h_0]) for group in t.groups]
    key = replace(
        whole,
        basis=G1Array.concat([whole.basis[:2], nothing, whole.basis[4:]]),
        link=G1Array.concat([whole.link[:2], *of_h, whole.link[4:]]),
        correction=G1Array.concat([whole.correction[:2], nothing, whole.correction[4:]]),
    )
    return Case(key, prove(key, (X, Y), (X, Y)))


def move_blindings(case: Case, of_h: Sequence[G1Array]) -> Claim:
    """D_1 + c k1_2 h_0 and D_2 - c k1_1 h_0, with D' and pi as they are: both shifts cancel in the
    link. Nobody knows a blinding of these commitments.
    """
    return case.with_d(combine([5], [of_h[1]]), combine([R - 5], [of_h[0]]))


def test_a_shift_of_blindings_from_one_group_to_another() -> None:
    """Why P_g has eta_g: of P_g = k1_g h_0 alone, or with the proof's eta, k1_g h_0 is known."""
    broken = without_blinders_of_groups()
    assert broken.accepts()
    assert broken.accepts(move_blindings(broken, [broken.link_base(2), broken.link_base(3)]))

    shared = Case.of(share("eta", 2, trapdoor_of(2).eta))
    of_h = [combine([1, R - 1], [shared.link_base(i), shared.link_base(4)]) for i in (2, 3)]
    assert shared.accepts()
    assert shared.accepts(move_blindings(shared, of_h))

    case = Case.of(trapdoor_of(2))
    assert case.accepts()
    for points in (
        [case.link_base(2), case.link_base(3)],
        [combine([1, R - 1], [case.link_base(i), case.link_base(4)]) for i in (2, 3)],
    ):
        forged = move_blindings(case, points)
        assert not case.accepts(forged)
        p = forged.proof
        assert not link_holds(forged.commitments, p.own, p.link, case.key.verifying)
    known = [combine([group.k1], [load_bases(0)]) for group in trapdoor_of(2).groups]
    assert case.accepts(move_blindings(case, known))  # what only the trapdoor makes


def test_a_cycle_of_shifts_through_three_groups() -> None:
    """Why each group has an eta of its own: with one for all, P_2 - P_3, P_3 - P_1 and P_1 - P_2
    move the three commitments, and k1 h_0 and eta cancel.
    """
    for trapdoor, is_accepted in ((share("eta", 3), True), (trapdoor_of(3), False)):
        case = Case.of(trapdoor)
        first, second, third = (case.link_base(3 + i) for i in range(3))
        around = ((second, third), (third, first), (first, second))
        forged = case.with_d(*(combine([5, R - 5], pair) for pair in around))
        assert case.accepts()
        assert case.accepts(forged) == is_accepted


# -- equal weights ---------------------------------------------------------------------------------


def test_the_error_of_a_link_makes_up_for_a_false_statement_under_equal_weights_alone() -> None:
    """Within one proof: pi is paired with the point that the statement is paired with."""
    case = Case.of(trapdoor_of(2))
    count = case.key.verifying.public[1:2]
    pi = combine([1, 5], [case.claim.proof.link, count])
    forged = replace(
        case.claim,
        public=FrArray.from_ints([X + 5]),
        proof=replace(case.claim.proof, link=pi),
    )
    assert broken_batch_holds([forged], case.key.verifying)
    assert not case.accepts(forged)


# -- dependent columns -----------------------------------------------------------------------------


def test_columns_that_depend_on_another_group_s_are_refused() -> None:
    """x of one group and y of another, in a sum alone: D' of (x, y) is that of (y, x)."""
    r1cs = build_r1cs(
        [({2: 1, 3: 1}, {0: 1}, {1: 1}), ({1: 1}, {}, {})], n_public=1, linked=(1, 1), n_private=0
    )
    with pytest.raises(DependentColumns, match="linked"):
        setup(
            r1cs,
            circuit_digest=bytes(32),
            n_challenges=0,
            trapdoor=trapdoor_of(2),
            backend=BACKEND,
        )
