"""Attacks on the link between a commitment D and the commitment D' in the basis of a key.

Each is accepted where its defence is taken away: by a verifier that leaves the link out, under keys
whose scalars or blinders are shared or whose halves are published, under equal weights. Ours
refuses it, and accepts the honest proof beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kernels.array import FrArray, FrMont, G1Array
from kernels.bn254 import R
from prover.errors import FormatError
from prover.groth16.commitment import Linked, commit_advice
from prover.groth16.prove import compute_points
from prover.groth16.trapdoor import Trapdoor
from prover.groth16.verify import Claim, equations_hold, judge
from prover.keys.folder import load_proving_key, save_key
from prover.keys.halves import ProvingKey
from prover.pedersen.bases import load_bases
from prover.pedersen.commitment import Committer
from prover.pedersen.opening import opens
from prover.wire.verdict import Verdict
from tests.support.forged_points import put_point
from tests.support.tiny_circuits import seeded
from tests.support.toy_attacks import (
    GENERATOR_G1,
    broken_batch_holds,
    claim_of,
    combine,
    finish,
    groth16_equation_holds,
    link_holds,
    link_toy,
)
from tests.support.toy_protocol import (
    BACKEND,
    TOY,
    commit_toy,
    honest,
    prove_toy,
    toy_key,
    toy_trapdoor,
    verdict_of,
)

RHO, BLINDING, RHO_A = 41, 43, 47
COMMITTED, OTHER = (0, 1), (1, 1)


def prove_model(model: Sequence[int], d_w: G1Array, linked: Linked, *, shift: int = 0) -> bytes:
    """An envelope about these wires under this D_W; by the book but for what it is given.

    shift : how much more the statement claims than the wires have
    """
    advice = TOY.solve_advice(model)
    return finish(
        toy_key(),
        model=model,
        advice=advice,
        d_w=d_w,
        linked=linked,
        d_a=commit_advice(toy_key(), FrArray.from_ints(advice), RHO_A, BACKEND),
        rho_a=RHO_A,
        claimed=sum(advice) + shift,
    )


def require_refused_for_its_link(raw: bytes) -> None:
    """A verifier without the link takes it; ours does not."""
    key = toy_key().verifying
    claim = claim_of(raw, key)
    assert groth16_equation_holds(claim, key)
    own, pi = claim.proof.own, claim.proof.link
    assert not link_holds(claim.commitments, own, pi, key)
    assert not equations_hold([claim], key=key, random_bytes=seeded(1))
    assert verdict_of(raw) is Verdict.PAIRING_FAILED


def test_what_is_linked_is_accepted() -> None:
    for model in (COMMITTED, OTHER):
        linked = link_toy(toy_key(), model, RHO, BLINDING)
        raw = prove_model(model, commit_toy(model, RHO), linked)
        claim = claim_of(raw, toy_key().verifying)
        assert link_holds(claim.commitments, claim.proof.own, claim.proof.link, toy_key().verifying)
        assert verdict_of(raw) is Verdict.VALID


# -- two vectors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("linked_to", [COMMITTED, OTHER])
def test_another_vector_in_the_key_than_in_the_commitment(linked_to: tuple[int, ...]) -> None:
    """D_W of w, D' of w'; pi of either of them, each of which a prover can make."""
    own = link_toy(toy_key(), OTHER, RHO, BLINDING)
    pi = link_toy(toy_key(), linked_to, RHO, BLINDING).link
    raw = prove_model(OTHER, commit_toy(COMMITTED, RHO), replace(own, link=pi))
    require_refused_for_its_link(raw)


@dataclass(frozen=True, kw_only=True)
class Halves:
    """What no key publishes: both parts of each base of the link, apart."""

    hashed: G1Array  # k1 h_1, k1 h_2, k1 h_0
    own: G1Array  # k2 K_1, k2 K_2, k2 eta_g, k2 eta


def split_link(key: ProvingKey, trapdoor: Trapdoor) -> Halves:
    """The broken build of a setup, checked to be the halves of the key's own link."""
    (group,), h = trapdoor.groups, load_bases(2)
    assert isinstance(key.basis, G1Array)
    assert isinstance(key.link, G1Array)
    hashed = [combine([group.k1], [h[i : i + 1]]) for i in (1, 2, 0)]
    own = [combine([trapdoor.k2], [key.basis[i : i + 1]]) for i in range(4)]
    sums = [combine([1, 1], [hashed[i], own[i]]) for i in range(3)]
    assert G1Array.concat([*sums, own[3]]).equals(key.link)
    return Halves(hashed=G1Array.concat(hashed), own=G1Array.concat(own))


def test_published_halves_link_any_two_vectors() -> None:
    """Why a key holds the sums alone: with k1 h_i and k2 [K_i] apart, w and w' get a pi."""
    halves = split_link(toy_key(), toy_trapdoor())
    own = link_toy(toy_key(), OTHER, RHO, BLINDING)
    pi = combine([*COMMITTED, RHO, *OTHER, RHO, BLINDING], [halves.hashed, halves.own])
    raw = prove_model(OTHER, commit_toy(COMMITTED, RHO), replace(own, link=pi))
    assert verdict_of(raw) is Verdict.VALID


def test_the_sums_of_a_key_link_no_two_vectors() -> None:
    """Every pi over the key's own bases with small scalars: it holds for the one vector alone."""
    link = toy_key().link
    assert isinstance(link, G1Array)
    own = link_toy(toy_key(), OTHER, RHO, BLINDING)
    d_w = {model: commit_toy(model, RHO) for model in (COMMITTED, OTHER)}
    for model, d in d_w.items():
        found = [
            (a, b)
            for a in range(-1, 3)
            for b in range(-1, 3)
            if link_holds(
                d,
                own.own,
                combine([a % R, b % R, RHO, BLINDING], [link]),
                toy_key().verifying,
            )
        ]
        assert found == ([OTHER] if model == OTHER else [])


# -- D' outside of the span of its basis -----------------------------------------------------------


def test_a_commitment_in_the_key_outside_of_its_span() -> None:
    """D' - 5 [K_count] makes a true count out of one that is 5 greater."""
    count = toy_key().verifying.public[1:2]
    d_w, linked = commit_toy(OTHER, RHO), link_toy(toy_key(), OTHER, RHO, BLINDING)
    moved = replace(linked, own=combine([1, R - 5], [linked.own, count]))
    advice = TOY.solve_advice(OTHER)
    raw = prove_model(OTHER, d_w, moved, shift=5)
    claim = claim_of(raw, toy_key().verifying)
    assert claim.public.to_ints()[0] == sum(advice) + 5  # type: ignore[union-attr]
    # Its own A, B and C satisfy the rows for the true count only: the forger makes them for that.
    forged = forge_count(claim, advice)
    assert groth16_equation_holds(forged, toy_key().verifying)
    assert not equations_hold([forged], key=toy_key().verifying, random_bytes=seeded(1))
    t = toy_trapdoor()
    pi = combine([t.groups[0].k1, t.k2], [d_w, moved.own])  # only the trapdoor makes it
    known = replace(forged, proof=replace(forged.proof, link=pi))
    assert equations_hold([known], key=toy_key().verifying, random_bytes=seeded(1))


def forge_count(claim: Claim, advice: Sequence[int]) -> Claim:
    """A, B and C for the count that the advice has, under the challenges of the false statement."""
    public = [sum(advice), *claim.public.to_ints()[1:]]  # type: ignore[union-attr]
    wires = [1, *public, *OTHER, *advice, *TOY.solve_private(public, OTHER, advice)]
    points = compute_points(
        toy_key(),
        TOY.r1cs,
        FrMont.from_ints(wires),
        blindings=(RHO, BLINDING),
        rho_a=RHO_A,
        random_bytes=seeded(32),
        backend=BACKEND,
    )
    proof = replace(claim.proof, a=points.a, b=points.b, c=points.c)
    return replace(claim, proof=proof)


# -- other openings of D ---------------------------------------------------------------------------


def test_the_blinding_of_one_model_under_the_commitment_of_another() -> None:
    """Whoever knows rho and w of two commitments proves neither under the other."""
    mine, theirs = honest(), prove_toy(model=(1, 0), random_bytes=seeded(41))
    for model, rho in ((mine.model, theirs.rho), (theirs.model, mine.rho)):
        assert not opens(mine.d_w, FrArray.from_ints(model), rho, Committer(2, BACKEND))
        linked = link_toy(toy_key(), model, rho, BLINDING)
        require_refused_for_its_link(prove_model(model, mine.d_w, linked))
    linked = link_toy(toy_key(), mine.model, mine.rho, BLINDING)
    assert verdict_of(prove_model(mine.model, mine.d_w, linked)) is Verdict.VALID


def test_a_component_beyond_the_length_of_the_architecture() -> None:
    """D_W + 9 h_3 opens as three wires; a circuit of two links it to nothing."""
    model, h_3 = OTHER, load_bases(3)[3:4]
    d_w = combine([1, 9], [commit_toy(model, RHO), h_3])
    assert opens(d_w, FrArray.from_ints([*model, 9]), RHO, Committer(3, BACKEND))
    assert not opens(d_w, FrArray.from_ints(model), RHO, Committer(2, BACKEND))
    linked = link_toy(toy_key(), model, RHO, BLINDING)
    require_refused_for_its_link(prove_model(model, d_w, linked))
    p_3 = combine([toy_trapdoor().groups[0].k1], [h_3])  # what a key of three wires has more of
    longer = replace(linked, link=combine([1, 9], [linked.link, p_3]))
    assert verdict_of(prove_model(model, d_w, longer)) is Verdict.VALID


# -- a key without P_g -----------------------------------------------------------------------------


def test_a_key_without_p_g_is_refused_and_links_only_what_anyone_can_guess(tmp_path: Path) -> None:
    key = put_point(toy_key(), "link", -2)
    save_key(key, tmp_path)
    with pytest.raises(FormatError, match="blinder is the identity"):
        load_proving_key(tmp_path, key.verifying)
    for rho, verdict in ((RHO, Verdict.PAIRING_FAILED), (0, Verdict.VALID)):
        run = prove_toy(model=OTHER, random_bytes=seeded(8), key=key, rho=rho)
        assert verdict_of(run.envelope, key.verifying) is verdict
        models = [(a, b) for a in (0, 1) for b in (0, 1)]
        guessed = [model for model in models if commit_toy(model, 0).equals(run.d_w)]
        assert guessed == ([] if rho else [OTHER])


# -- batches ---------------------------------------------------------------------------------------


def test_opposite_errors_of_two_links_cancel_under_equal_weights_alone() -> None:
    key = toy_key().verifying
    runs = [honest(), prove_toy(model=(1, 0), random_bytes=seeded(21))]
    claims = []
    for run, sign in zip(runs, (1, R - 1), strict=True):
        claim = claim_of(run.envelope, key)
        moved = combine([1, sign], [claim.proof.link, GENERATOR_G1])
        claims.append(replace(claim, proof=replace(claim.proof, link=moved)))
    assert broken_batch_holds(claims, key)
    assert not equations_hold(claims, key=key, random_bytes=seeded(1))
    assert judge(claims, key=key, random_bytes=seeded(1)) == [False, False]
    right = [claim_of(run.envelope, key) for run in runs]
    assert judge([*right, claims[0]], key=key, random_bytes=seeded(1)) == [True, True, False]
