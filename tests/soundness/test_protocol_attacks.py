"""Attacks on the proof system. Each forgery is complete: it passes where the defence is taken away.

A test that only shows a rejection could be rejecting for another reason. So each attack first meets
a verifier or a key without the defence it aims at (built here, in the test) and passes, then meets
ours and fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from random import Random
from typing import Any

import pytest

from kernels.array import FrArray, FrMont, G1Array, G2Array
from kernels.bn254 import G2, P, R
from kernels.encoding import encode_g1
from kernels.pairing import pairing_product_is_one
from prover.errors import FieldInvalid
from prover.groth16.commitment import Linked, commit_advice
from prover.groth16.prove import compute_points
from prover.groth16.setup import compute_columns, setup
from prover.groth16.verify import Claim, equations_hold
from prover.keys.halves import ProvingKey
from prover.pedersen.bases import load_bases
from prover.pedersen.commitment import Blinding
from prover.randomness import draw_scalar, draw_weight
from prover.wire.envelope import Envelope, Proof
from prover.wire.statement import Statement
from prover.wire.verdict import Verdict
from tests.support.statements import restate
from tests.support.tiny_circuits import build_r1cs, is_satisfied, seeded
from tests.support.toy_attacks import (
    GENERATOR_G1,
    INFINITY,
    broken_batch_holds,
    claim_of,
    combine,
    finish,
    groth16_equation_holds,
    link_holds,
    link_toy,
    statement_point,
    toy_setup,
)
from tests.support.toy_protocol import (
    BACKEND,
    TOY,
    ToyProof,
    commit_toy,
    honest,
    prove_toy,
    toy_key,
    toy_trapdoor,
    verdict_of,
    with_proof,
)

GENERATOR_G2 = G2Array.from_ints([G2])


# -- weights of the batch --------------------------------------------------------------------------


def forge_against_weights(r: Sequence[int], t: Sequence[int]) -> list[bytes]:
    """Three envelopes with false statements that pass together under known weights r_i, t_i.

    A_0 = (sum r_i / r_0) alpha, B_0 = beta stands for all e(alpha, beta); one e(A, B) of another
    proof is then free to cancel the statements (B = [1]), and one to cancel the commitments
    (B = C1). C = D_A = D' = pi = 0, the D_W are arbitrary: no witness is known at all.
    A, B and C are chosen last, so the challenges do not stand in the way.
    """
    key = toy_key().verifying
    d_w = [combine([s], [GENERATOR_G1]) for s in (3, 4, 5)]
    drafts = []
    for i in range(3):
        statement = TOY.statement(
            key_digest=key.digest, commitments=(encode_g1(d_w[i]),), claimed=900 + i
        )
        draft = Proof(
            a=INFINITY, b=GENERATOR_G2, c=INFINITY, own=INFINITY, link=INFINITY, d_a=INFINITY
        )
        drafts.append((statement, draft))
    claims = [claim_of(Envelope(statement=s, proof=p.encode()).encode(), key) for s, p in drafts]
    x = [statement_point(c, key) for c in claims]
    a = [
        combine([sum(r) * pow(r[0], -1, R)], [key.alpha]),
        combine([w * pow(r[1], -1, R) for w in r], x),
        combine([w * pow(r[2], -1, R) for w in t], d_w),
    ]
    b = [key.beta, GENERATOR_G2, key.links[0:1]]
    return [
        Envelope(statement=s, proof=replace(p, a=a_i, b=b_i).encode()).encode()
        for (s, p), a_i, b_i in zip(drafts, a, b, strict=True)
    ]


def test_equal_weights_let_anything_pass() -> None:
    key = toy_key().verifying
    forged = forge_against_weights([1, 1, 1], [1, 1, 1])
    claims = [claim_of(raw, key) for raw in forged]
    assert broken_batch_holds(claims, key)
    assert not any(groth16_equation_holds(c, key) for c in claims)
    assert not equations_hold(claims, key=key, random_bytes=seeded(1))
    assert [verdict_of(raw) for raw in forged] == [Verdict.PAIRING_FAILED] * 3


def test_predictable_weights_let_anything_pass() -> None:
    """Whoever knows the verifier's seed before the bytes are fixed forges a batch."""
    key, known = toy_key().verifying, seeded(4242)
    r = [draw_weight(known) for _ in range(3)]
    t = [draw_weight(known) for _ in range(3)]
    claims = [claim_of(raw, key) for raw in forge_against_weights(r, t)]
    assert equations_hold(claims, key=key, random_bytes=seeded(4242))
    assert not equations_hold(claims, key=key, random_bytes=seeded(4243))


def test_a_crafted_link_stands_for_the_whole_statement_under_equal_weights() -> None:
    """A = alpha, B = beta, C = 0 and pi + X + D' in place of pi, for D = D' = 0 and any others.

    k = 3 w0 + 5 w1 for bits w; 100 is no such sum. The form for wires that depend on challenges,
    and those on pi, is `forge_against_weights`.
    """
    r1cs = build_r1cs(
        [({2: 1}, {2: 1, 0: -1}, {}), ({3: 1}, {3: 1, 0: -1}, {}), ({}, {}, {1: 1, 2: -3, 3: -5})],
        n_public=1,
        linked=(2,),
        n_private=0,
    )
    key = setup(
        r1cs,
        circuit_digest=bytes(32),
        n_challenges=0,
        trapdoor=toy_trapdoor(),
        backend=BACKEND,
    )
    public, v = FrArray.from_ints([100]), key.verifying
    x = BACKEND.msm_g1(FrArray.from_ints([1, 100]), v.public)
    for d, linked in (
        (INFINITY, Linked(own=INFINITY, link=INFINITY, blindings=())),
        (commit_toy((1, 0), 6), link_toy(key, (1, 0), 6, 7)),
    ):
        pi = combine([1, 1, 1], [linked.link, x, linked.own])
        proof = Proof(a=v.alpha, b=v.beta, c=INFINITY, own=linked.own, link=pi, d_a=INFINITY)
        claim = Claim(public=public, commitments=d, proof=proof)
        assert broken_batch_holds([claim], v)
        assert not equations_hold([claim], key=v, random_bytes=seeded(1))


# -- two groups never share a denominator ----------------------------------------------------------


def prove_with_correction(key: ProvingKey) -> bytes:
    """D_W commits to W = (0, 1), chosen early; the proof is about W' = (1, 1), chosen late.

    D_A hides the correction sum (W' - W)_k [K_k], which any prover computes from the basis
    of the model's group.
    """
    source = seeded(31)
    early, late = (0, 1), (1, 1)
    rho, blinding, rho_a = (draw_scalar(source) for _ in range(3))
    linked, target = (link_toy(key, model, rho, blinding) for model in (early, late))
    advice = TOY.solve_advice(late)
    honest_d_a = commit_advice(key, FrArray.from_ints(advice), rho_a, BACKEND)
    d_a = combine([1, 1, R - 1], [honest_d_a, target.own, linked.own])
    return finish(
        key,
        model=late,
        advice=advice,
        d_w=commit_toy(early, rho),
        linked=linked,
        d_a=d_a,
        rho_a=rho_a,
        claimed=sum(advice),
    )


def test_a_shared_delta_lets_advice_correct_the_model() -> None:
    trapdoor = toy_trapdoor()
    shared = toy_setup(replace(trapdoor, delta_a=1))
    assert verdict_of(prove_with_correction(shared), shared.verifying) is Verdict.VALID
    assert verdict_of(prove_with_correction(toy_key())) is Verdict.PAIRING_FAILED


def test_advice_moved_into_the_keys_commitment_is_caught_by_the_link() -> None:
    """With a shared denominator the first equation would not notice; pi does."""
    trapdoor = toy_trapdoor()
    shared = toy_setup(replace(trapdoor, delta_a=1))
    for key, first_equation in ((shared, True), (toy_key(), False)):
        model = (1, 1)
        advice = TOY.solve_advice(model)
        linked = link_toy(key, model, 99, 98)
        d_a = commit_advice(key, FrArray.from_ints(advice), 55, BACKEND)
        raw = finish(
            key,
            model=model,
            advice=advice,
            d_w=commit_toy(model, 99),
            linked=replace(linked, own=combine([1, 1], [linked.own, d_a])),
            d_a=INFINITY,
            rho_a=55,
            claimed=sum(advice),
        )
        assert groth16_equation_holds(claim_of(raw, key.verifying), key.verifying) is first_equation
        assert verdict_of(raw, key.verifying) is Verdict.PAIRING_FAILED


def test_nothing_in_the_key_cancels_a_blinding_but_its_own_correction() -> None:
    """rho, rho' and rho_A, each with the point over delta that is its own."""
    key, source = toy_key(), seeded(33)
    model, advice = (1, 1), TOY.solve_advice((1, 1))
    rho, blinding, rho_a = (draw_scalar(source) for _ in range(3))
    linked = link_toy(key, model, rho, blinding)
    d_a = commit_advice(key, FrArray.from_ints(advice), rho_a, BACKEND)
    verdicts = [
        verdict_of(
            finish(
                key,
                model=model,
                advice=advice,
                d_w=commit_toy(model, rho),
                linked=replace(linked, blindings=found),
                d_a=d_a,
                rho_a=a,
                claimed=sum(advice),
            )
        )
        for *found, a in (
            (rho, blinding, rho_a),
            *[(blinding, rho, rho_a), (rho, rho_a, blinding), (rho_a, blinding, rho)],
            *[(0, blinding, rho_a), (rho, 0, rho_a), (rho, blinding, 0)],
            (0, rho + blinding, rho_a),
        )
    ]
    assert verdicts == [Verdict.VALID] + [Verdict.PAIRING_FAILED] * 7


# -- commitments and their links swapped -----------------------------------------------------------


def other() -> ToyProof:
    return prove_toy(model=(1, 0), random_bytes=seeded(41))


def test_commitments_swapped() -> None:
    """D_W of another proof, D' of another, both, and both with its link."""
    mine, theirs = honest(), other()
    swaps: list[dict[str, Any]] = [
        {},
        {"own": theirs.linked.own},
        {"own": theirs.linked.own, "link": theirs.linked.link},
        {"link": theirs.linked.link},
    ]
    for d_w, changes in product((mine.d_w, theirs.d_w), swaps):
        statement = replace(mine.statement, commitments=(encode_g1(d_w),))
        raw = Envelope(statement=statement, proof=replace(mine.proof, **changes).encode()).encode()
        is_honest = d_w is mine.d_w and not changes
        assert verdict_of(raw) is (Verdict.VALID if is_honest else Verdict.PAIRING_FAILED)


def test_a_statement_about_more_or_fewer_commitments_than_the_key_links() -> None:
    (d_w,) = honest().statement.commitments
    for commitments in ((), (d_w, d_w)):
        statement = replace(honest().statement, commitments=commitments)
        raw = Envelope(statement=statement, proof=honest().proof.encode()).encode()
        assert verdict_of(raw) is Verdict.WRONG_STATEMENT
    statement = replace(honest().statement, commitments=(bytes(31) + b"\xff",))
    raw = Envelope(statement=statement, proof=honest().proof.encode()).encode()
    assert verdict_of(raw) is Verdict.MALFORMED


def test_another_model_under_the_same_d_w() -> None:
    """The prover knows W and W' and everything else, and proves W' under the commitment to W."""
    advice, committed = TOY.solve_advice((1, 1)), other()
    d_a = commit_advice(toy_key(), FrArray.from_ints(advice), 8, BACKEND)
    for linked in (committed.linked, link_toy(toy_key(), (1, 1), committed.rho, 5)):
        raw = finish(
            toy_key(),
            model=(1, 1),
            advice=advice,
            d_w=committed.d_w,
            linked=linked,
            d_a=d_a,
            rho_a=8,
            claimed=sum(advice),
        )
        assert verdict_of(raw) is Verdict.PAIRING_FAILED


@pytest.mark.parametrize("point", [INFINITY, GENERATOR_G1])
def test_d_a_swapped_or_missing(point: G1Array) -> None:
    assert verdict_of(with_proof(honest(), d_a=point)) is Verdict.PAIRING_FAILED
    assert verdict_of(with_proof(honest(), d_a=other().d_a)) is Verdict.PAIRING_FAILED


def test_link_swapped_or_missing() -> None:
    for pi in (INFINITY, other().linked.link, honest().d_w, honest().linked.own):
        assert verdict_of(with_proof(honest(), link=pi)) is Verdict.PAIRING_FAILED


def test_link_missing_from_the_start() -> None:
    """Challenges drawn with pi at infinity: the first equation holds, the second does not."""
    run, key = honest(), toy_key()
    raw = finish(
        key,
        model=run.model,
        advice=run.advice,
        d_w=run.d_w,
        linked=replace(run.linked, link=INFINITY),
        d_a=run.d_a,
        rho_a=run.rho_a,
        claimed=sum(run.advice),
    )
    assert groth16_equation_holds(claim_of(raw, key.verifying), key.verifying)
    assert verdict_of(raw) is Verdict.PAIRING_FAILED


def test_commitments_of_absent_groups_are_refused() -> None:
    """Nothing binds D_A where the key has no delta_A, nor D' and pi where it has no link: they must
    be infinity.
    """
    key = replace(toy_key().verifying, delta_a=G2Array.zeros(1))
    statement = replace(honest().statement, verifying_key_digest=key.digest)
    raw = Envelope(statement=statement, proof=honest().proof.encode()).encode()
    assert verdict_of(raw, key) is Verdict.MALFORMED
    key = replace(toy_key().verifying, links=G2Array.zeros(0))
    statement = replace(honest().statement, verifying_key_digest=key.digest, commitments=())
    for absent in ({}, {"own": INFINITY}, {"link": INFINITY}):
        proof = replace(honest().proof, **absent)
        raw = Envelope(statement=statement, proof=proof.encode()).encode()
        assert verdict_of(raw, key) is Verdict.MALFORMED


# -- challenges and statements ---------------------------------------------------------------------


def test_a_challenge_known_before_the_advice_is_fixed_proves_a_false_count() -> None:
    """s of another statement lets z be bent: the circuit is satisfied, the proof refused."""
    run, key = honest(), toy_key()
    (s,) = run.challenges
    shift = pow(s - 1, -1, R)
    advice = [(run.advice[0] + s * shift) % R, (run.advice[1] - shift) % R]
    claimed = sum(run.advice) + 1
    public = [claimed, s, *TOY.combine(s)]
    wires = [1, *public, *run.model, *advice, *TOY.solve_private(public, run.model, advice)]
    assert is_satisfied(TOY.r1cs, wires)
    d_a = commit_advice(key, FrArray.from_ints(advice), run.rho_a, BACKEND)
    points = compute_points(
        key,
        TOY.r1cs,
        FrMont.from_ints(wires),
        blindings=run.linked.blindings,
        rho_a=run.rho_a,
        random_bytes=seeded(51),
        backend=BACKEND,
    )
    proof = replace(run.proof, a=points.a, b=points.b, c=points.c, d_a=d_a)
    forged_public = Claim(public=FrArray.from_ints(public), commitments=run.d_w, proof=proof)
    assert equations_hold([forged_public], key=key.verifying, random_bytes=seeded(1))
    statement = replace(run.statement, claimed_correct=claimed)
    raw = Envelope(statement=statement, proof=proof.encode()).encode()
    assert verdict_of(raw) is Verdict.PAIRING_FAILED


def test_one_more_than_the_truth() -> None:
    truth = honest().statement.claimed_correct
    for claimed in (truth + 1, truth - 1, truth + 500):

        def edit(s: Statement, claimed: int = claimed) -> Statement:
            return replace(s, claimed_correct=claimed)

        raw = prove_toy(random_bytes=seeded(52), edit=edit).envelope
        assert verdict_of(raw) is Verdict.PAIRING_FAILED


REPLAYS: list[dict[str, Any]] = [
    {"client_key": b"another client"},
    {"round_index": 4},
    {"commit_height": 18},
    {"chain_id": b"another chain"},
    {"task_id": b"another task"},
    {"shard_index": 1},
    {"n_real": 999},
]


@pytest.mark.parametrize("change", REPLAYS, ids=lambda c: next(iter(c)))
def test_replay_under_another_statement(change: dict[str, Any]) -> None:
    statement = restate(honest().statement, **change)
    raw = Envelope(statement=statement, proof=honest().proof.encode()).encode()
    assert verdict_of(raw) is Verdict.PAIRING_FAILED


def test_replay_on_other_data() -> None:
    """A verifier of other data refuses the statement; the statement renamed fails the pairings."""
    elsewhere = replace(TOY, dataset=((3, 5), (2, 8)))
    claim = claim_of(honest().envelope, toy_key().verifying)
    assert elsewhere.public_inputs(honest().statement, honest().challenges) is None
    statement = replace(honest().statement, dataset_digest=elsewhere.dataset_digest)
    public = elsewhere.public_inputs(statement, honest().challenges)
    assert public is not None
    moved = replace(claim, public=public)
    assert not equations_hold([moved], key=toy_key().verifying, random_bytes=seeded(1))
    raw = Envelope(statement=statement, proof=honest().proof.encode()).encode()
    assert verdict_of(raw) is Verdict.WRONG_STATEMENT


def test_other_multipliers_or_another_key() -> None:
    cases: list[tuple[dict[str, Any], Verdict]] = [
        ({"multipliers": (2,)}, Verdict.WRONG_STATEMENT),
        ({"verifying_key_digest": bytes(32)}, Verdict.WRONG_KEY),
    ]
    for change, verdict in cases:
        statement = restate(honest().statement, **change)
        raw = Envelope(statement=statement, proof=honest().proof.encode()).encode()
        assert verdict_of(raw) is verdict


def test_a_proof_under_another_key_of_the_same_circuit() -> None:
    key = toy_setup(replace(toy_trapdoor(), delta=987654321))
    run = prove_toy(random_bytes=seeded(53), key=key)
    assert verdict_of(run.envelope, key.verifying) is Verdict.VALID
    assert verdict_of(run.envelope) is Verdict.WRONG_KEY
    statement = replace(run.statement, verifying_key_digest=toy_key().verifying.digest)
    raw = Envelope(statement=statement, proof=run.proof.encode()).encode()
    assert verdict_of(raw) is Verdict.PAIRING_FAILED


# -- encodings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 96, 128, 160, 192])
def test_coordinates_plus_p_are_refused(at: int) -> None:
    """x + p under the flags would be a second encoding of the same point."""
    multiples = BACKEND.fixed_base_g1(FrArray.from_ints(range(1, 40)), GENERATOR_G1)
    small = [encode_g1(multiples[i : i + 1]) for i in range(len(multiples))]
    mask = (1 << 254) - 1
    fitting = [e for e in small if (int.from_bytes(e, "little") & mask) + P <= mask]
    assert len(fitting) > 5
    proof = honest().proof.encode()
    for encoding in fitting:
        alias = (int.from_bytes(encoding, "little") + P).to_bytes(32, "little")
        assert alias[31] >> 6 == encoding[31] >> 6
        accepted = Proof.decode(proof[:at] + encoding + proof[at + 32 :])
        assert isinstance(accepted, Proof)
        assert Proof.decode(proof[:at] + alias + proof[at + 32 :]) is Verdict.MALFORMED


def test_a_count_plus_r_has_no_encoding() -> None:
    with pytest.raises(FieldInvalid):
        replace(honest().statement, claimed_correct=honest().statement.claimed_correct + R)
    raw = honest().statement.encode()
    count = honest().statement.claimed_correct
    short = (8).to_bytes(4, "little") + count.to_bytes(8, "little")
    long = (32).to_bytes(4, "little") + (count + R).to_bytes(32, "little")
    before, _, after = raw.rpartition(short)
    assert Statement.decode(before + short + after) == honest().statement
    assert Statement.decode(before + long + after) is None


def rerandomize(run: ToyProof, seed: int) -> bytes:
    """Anybody's other proof of the same statement: A/x, x(B + y delta), C + y A."""
    source, key = seeded(seed), run.key.verifying
    x, y = draw_scalar(source), draw_scalar(source)
    p = run.points
    delta = run.key.correction[0:1]
    assert pairing_product_is_one(
        G1Array.concat([delta, GENERATOR_G1]),
        G2Array.concat([GENERATOR_G2, _negate_g2(key.delta)]),
    )
    a = combine([pow(x, -1, R)], [p.a])
    b = BACKEND.msm_g2(FrArray.from_ints([x, x * y]), G2Array.concat([p.b, key.delta]))
    c = combine([1, y], [p.c, p.a])
    return with_proof(run, a=a, b=b, c=c)


def _negate_g2(point: G2Array) -> G2Array:
    return BACKEND.msm_g2(FrArray.from_ints([R - 1]), point)


def test_rerandomized_proofs_are_accepted_and_are_the_same_statement() -> None:
    envelopes = [honest().envelope, rerandomize(honest(), 1), rerandomize(honest(), 2)]
    assert len(set(envelopes)) == 3
    assert [verdict_of(raw) for raw in envelopes] == [Verdict.VALID] * 3
    decoded = [Envelope.decode(raw) for raw in envelopes]
    assert len({e.statement for e in decoded if e is not None}) == 1


def test_commitments_cannot_be_rerandomized_by_others() -> None:
    """Anybody may blind D_W again, with D', or D' alone: the equations hold, but the challenges are
    of the points as they were. Whoever lacks the witness moves no commitment.
    """
    key, run, x = toy_key(), honest(), 5
    basis, link = key.basis, key.link
    assert isinstance(basis, G1Array)
    assert isinstance(link, G1Array)
    moved_d = combine([1, x], [run.d_w, load_bases(0)])
    for d, at in ((moved_d, slice(2, 3)), (run.d_w, slice(3, 4))):  # by eta_g, by eta
        proof = replace(
            run.proof,
            own=combine([1, x], [run.linked.own, basis[at]]),
            link=combine([1, x], [run.linked.link, link[at]]),
            c=combine([1, R - x], [run.points.c, key.correction[at]]),
        )
        claim = Claim(public=FrArray.from_ints(run.public), commitments=d, proof=proof)
        assert equations_hold([claim], key=key.verifying, random_bytes=seeded(1))
        statement = replace(run.statement, commitments=(encode_g1(d),))
        raw = Envelope(statement=statement, proof=proof.encode()).encode()
        assert verdict_of(raw) is Verdict.PAIRING_FAILED


# -- zero knowledge --------------------------------------------------------------------------------


def test_proofs_of_one_witness_differ_in_every_element() -> None:
    source = seeded(61)
    runs = [prove_toy(random_bytes=source) for _ in range(3)]
    for name in ("a", "b", "c", "own", "link", "d_a"):
        assert len({getattr(r.proof, name).data.tobytes() for r in runs}) == 3
    assert len({r.statement.commitments for r in runs}) == 3
    assert [verdict_of(r.envelope) for r in runs] == [Verdict.VALID] * 3


def test_under_one_commitment_all_else_differs() -> None:
    source = seeded(62)
    runs = [prove_toy(random_bytes=source, rho=9) for _ in range(3)]
    assert len({r.statement for r in runs}) == 1
    for name in ("a", "b", "c", "own", "link", "d_a"):
        assert len({getattr(r.proof, name).data.tobytes() for r in runs}) == 3


def guesses(key: ProvingKey, d_w: G1Array, linked: Linked) -> list[tuple[int, ...]]:
    """The models of which a check that a stranger can make tells that D_W and D' commit to them.

    The stranger subtracts the unblinded commitments. What is left must be infinity if there is no
    blinding, and satisfy the link's equation if the guess is right.
    """
    hits = []
    for model in product((0, 1), repeat=2):
        bare = link_toy(key, model, 0, 0)
        rest = combine([1, R - 1], [d_w, commit_toy(model, 0)])
        rest_own = combine([1, R - 1], [linked.own, bare.own])
        rest_pi = combine([1, R - 1], [linked.link, bare.link])
        is_bare = not (rest.data.any() and rest_own.data.any())
        if is_bare or not link_holds(rest, rest_own, rest_pi, key.verifying):
            hits.append(model)
    return hits


def test_guessing_a_low_entropy_model_fails() -> None:
    """All four models are consistent with blinded commitments; without the blinding of D_W one
    stands out. Without that of D' none does, but proofs of one model show that they are.
    """
    key = toy_key()
    for model in ((0, 1), (1, 1)):
        for blinding in (0, 7):
            found = guesses(key, commit_toy(model, 0), link_toy(key, model, 0, blinding))
            assert found == [model]
        assert guesses(key, commit_toy(model, 7), link_toy(key, model, 7, 8)) == []
        bare, again, blinded = (link_toy(key, model, 7, x).own for x in (0, 0, 8))
        assert bare.equals(again)
        assert not bare.equals(blinded)


def test_any_model_has_a_blinding_for_a_given_commitment_in_the_key() -> None:
    """Perfect hiding, shown with the trapdoor: D' opens to every model."""
    key, t = toy_key(), toy_trapdoor()
    k = compute_columns(TOY.r1cs, t, BACKEND).k.to_ints()[TOY.r1cs.linked_wires]
    model, blinding = (1, 0), draw_scalar(seeded(64))
    own = link_toy(key, model, 0, blinding).own
    for other_model in product((0, 1), repeat=2):
        difference = sum((m - o) * k_i for m, o, k_i in zip(model, other_model, k, strict=True))
        rho = (blinding + difference * pow(t.eta, -1, R)) % R
        assert link_toy(key, other_model, 0, rho).own.equals(own)


def test_secrets_stay_out_of_reprs(rng: Random) -> None:
    secret = Blinding(rho=rng.randrange(R))
    assert str(secret.rho) not in repr(secret)
    assert str(toy_trapdoor().tau) not in repr(toy_trapdoor())
