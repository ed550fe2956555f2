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
from kernels.bn254 import G1, G2, P, R
from kernels.encoding import encode_g1
from kernels.pairing import pairing_product_is_one
from prover.errors import FieldInvalid
from prover.groth16.commitment import Blinding, commit_advice, commit_model, draw_blinding
from prover.groth16.prove import compute_points
from prover.groth16.setup import Trapdoor, compute_columns, setup
from prover.groth16.transcript import compute_challenges
from prover.groth16.verify import Claim, equations_hold
from prover.keys.halves import ProvingKey, VerifyingKey
from prover.randomness import draw_scalar, draw_weight
from prover.wire.envelope import Envelope, Proof
from prover.wire.statement import Statement
from prover.wire.verdict import Verdict
from tests.support.statements import restate
from tests.support.tiny_circuits import build_r1cs, is_satisfied, seeded
from tests.support.toy_protocol import (
    BACKEND,
    TOY,
    ToyProof,
    honest,
    prove_toy,
    toy_key,
    toy_trapdoor,
    verdict_of,
    with_proof,
)

INFINITY = G1Array.zeros(1)
GENERATOR_G1 = G1Array.from_ints([G1])
GENERATOR_G2 = G2Array.from_ints([G2])


def combine(scalars: Sequence[int], points: Sequence[G1Array]) -> G1Array:
    """sum s_i P_i."""
    return BACKEND.msm_g1(FrArray.from_ints(scalars), G1Array.concat(points))


def toy_setup(trapdoor: Trapdoor) -> ProvingKey:
    return setup(
        TOY.r1cs,
        circuit_digest=TOY.digest,
        n_challenges=TOY.n_challenges,
        trapdoor=trapdoor,
        backend=BACKEND,
    )


def statement_point(claim: Claim, key: VerifyingKey) -> G1Array:
    """X = sum_public z_k [K_k/gamma]."""
    scalars = FrArray.concat([FrArray.from_ints([1]), claim.public])
    return BACKEND.msm_g1(scalars, key.public)


def groth16_equation_holds(claim: Claim, key: VerifyingKey) -> bool:
    """The first equation of `prover.groth16.verify` alone."""
    p = claim.proof
    x = combine([1, 1], [statement_point(claim, key), p.d_w])
    g1 = [combine([R - 1], [p.a]), key.alpha, x, p.d_a, p.c]
    return pairing_product_is_one(
        G1Array.concat(g1),
        G2Array.concat([p.b, key.beta, key.gamma, key.delta_a, key.delta]),
    )


def knowledge_equation_holds(d: G1Array, pok: G1Array, sigma: G2Array) -> bool:
    """e(D, sigma G2) = e(PoK, G2)."""
    g1 = G1Array.concat([d, combine([R - 1], [pok])])
    return pairing_product_is_one(g1, G2Array.concat([sigma, GENERATOR_G2]))


def claim_of(raw: bytes, key: VerifyingKey) -> Claim:
    """What the verifier computes from an envelope before the pairings."""
    envelope = Envelope.decode(raw)
    assert envelope is not None
    proof = Proof.decode(envelope.proof)
    assert isinstance(proof, Proof)
    challenges = compute_challenges(
        envelope.statement.encode(),
        pok_w=envelope.pok_w,
        d_a=envelope.d_a,
        n_challenges=key.n_challenges,
    )
    public = TOY.public_inputs(envelope.statement, challenges)
    assert public is not None
    return Claim(public=public, proof=proof)


# -- weights of the batch --------------------------------------------------------------------------


def forge_against_weights(r: Sequence[int], t: Sequence[int]) -> list[bytes]:
    """Three envelopes with false statements that pass together under known weights r_i, t_i.

    A_0 = (sum r_i / r_0) alpha, B_0 = beta stands for all e(alpha, beta); one e(A, B) of another
    proof is then free to cancel the statements (B = gamma), and one to cancel the commitments
    (B = sigma_W). C = D_A = 0, the D_W are arbitrary and PoK_W = 0: no witness is known at all.
    A, B and C are chosen last, so the challenges do not stand in the way.
    """
    key = toy_key().verifying
    d_w = [combine([s], [GENERATOR_G1]) for s in (3, 4, 5)]
    drafts = []
    for i in range(3):
        statement = TOY.statement(key_digest=key.digest, d_w=encode_g1(d_w[i]), claimed=900 + i)
        draft = Proof(
            a=INFINITY, b=GENERATOR_G2, c=INFINITY, d_w=d_w[i], pok_w=INFINITY, d_a=INFINITY
        )
        drafts.append((statement, draft))
    claims = [claim_of(Envelope(statement=s, proof=p.encode()).encode(), key) for s, p in drafts]
    x = [combine([1, 1], [statement_point(c, key), c.proof.d_w]) for c in claims]
    a = [
        combine([sum(r) * pow(r[0], -1, R)], [key.alpha]),
        combine([w * pow(r[1], -1, R) for w in r], x),
        combine([w * pow(r[2], -1, R) for w in t], d_w),
    ]
    b = [key.beta, key.gamma, key.sigma_w]
    return [
        Envelope(statement=s, proof=replace(p, a=a_i, b=b_i).encode()).encode()
        for (s, p), a_i, b_i in zip(drafts, a, b, strict=True)
    ]


def broken_batch_holds(claims: Sequence[Claim], key: VerifyingKey) -> bool:
    """The test's own verifier: all weights are one."""
    return equations_hold(claims, key=key, random_bytes=lambda n: b"\1" + bytes(n - 1))


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


def test_opposite_errors_in_two_knowledge_proofs_do_not_cancel() -> None:
    key = toy_key().verifying
    runs = [honest(), prove_toy(model=(1, 0), random_bytes=seeded(21))]
    claims = []
    for run, sign in zip(runs, (1, R - 1), strict=True):
        claim = claim_of(run.envelope, key)
        moved = combine([1, sign], [claim.proof.pok_w, GENERATOR_G1])
        claims.append(replace(claim, proof=replace(claim.proof, pok_w=moved)))
    assert broken_batch_holds(claims, key)
    assert not equations_hold(claims, key=key, random_bytes=seeded(1))


def test_crafted_knowledge_proof_stands_for_the_whole_statement_under_equal_weights() -> None:
    """A = alpha, B = beta, C = D = 0 and PoK_W = X, where gamma is one and weights are equal.

    k = 3 w0 + 5 w1 for bits w; 100 is no such sum. The general form, for a fresh gamma, is
    `forge_against_weights`.
    """
    r1cs = build_r1cs(
        [({2: 1}, {2: 1, 0: -1}, {}), ({3: 1}, {3: 1, 0: -1}, {}), ({}, {}, {1: 1, 2: -3, 3: -5})],
        n_public=1,
        n_model=2,
        n_private=0,
    )
    key = setup(
        r1cs,
        circuit_digest=bytes(32),
        n_challenges=0,
        trapdoor=replace(toy_trapdoor(), gamma=1),
        backend=BACKEND,
    ).verifying
    public = FrArray.from_ints([100])
    x = BACKEND.msm_g1(FrArray.from_ints([1, 100]), key.public)
    proof = Proof(a=key.alpha, b=key.beta, c=INFINITY, d_w=INFINITY, pok_w=x, d_a=INFINITY)
    claim = Claim(public=public, proof=proof)
    assert broken_batch_holds([claim], key)
    assert not equations_hold([claim], key=key, random_bytes=seeded(1))


# -- two groups never share delta or sigma ---------------------------------------------------------


def prove_with_correction(key: ProvingKey) -> bytes:
    """D_W commits to W = (0, 1), chosen early; the proof is about W' = (1, 1), chosen late.

    D_A hides the correction sum (W' - W)_k [K_k/gamma], which any prover computes from the model
    basis of the key.
    """
    source = seeded(31)
    early, late = (0, 1), (1, 1)
    blinding, rho_a = draw_blinding(source), draw_scalar(source)
    commitment = commit_model(key, FrArray.from_ints(early), blinding, BACKEND)
    target = commit_model(key, FrArray.from_ints(late), blinding, BACKEND)
    advice = TOY.solve_advice(late)
    honest_d_a = commit_advice(key, FrArray.from_ints(advice), rho_a, BACKEND)
    d_a = combine([1, 1, R - 1], [honest_d_a, target.d_w, commitment.d_w])
    return finish(
        key,
        model=late,
        advice=advice,
        d_w=commitment.d_w,
        pok_w=commitment.pok_w,
        d_a=d_a,
        rho_w=blinding.rho,
        rho_a=rho_a,
        claimed=sum(advice),
    )


def finish(
    key: ProvingKey,
    *,
    model: Sequence[int],
    advice: Sequence[int],
    d_w: G1Array,
    pok_w: G1Array,
    d_a: G1Array,
    rho_w: int,
    rho_a: int,
    claimed: int,
) -> bytes:
    """The second half of a prover: challenges, private wires, points, for given commitments."""
    statement = TOY.statement(key_digest=key.verifying.digest, d_w=encode_g1(d_w), claimed=claimed)
    (s,) = compute_challenges(
        statement.encode(), pok_w=encode_g1(pok_w), d_a=encode_g1(d_a), n_challenges=1
    )
    public = [claimed, s, *TOY.combine(s)]
    wires = [1, *public, *model, *advice, *TOY.solve_private(public, model, advice)]
    points = compute_points(
        key,
        TOY.r1cs,
        FrMont.from_ints(wires),
        rho_w=rho_w,
        rho_a=rho_a,
        random_bytes=seeded(32),
        backend=BACKEND,
    )
    proof = Proof(a=points.a, b=points.b, c=points.c, d_w=d_w, pok_w=pok_w, d_a=d_a)
    return Envelope(statement=statement, proof=proof.encode()).encode()


def test_a_shared_delta_lets_advice_correct_the_model() -> None:
    trapdoor = toy_trapdoor()
    shared = toy_setup(replace(trapdoor, delta_a=trapdoor.gamma))
    assert verdict_of(prove_with_correction(shared), shared.verifying) is Verdict.VALID
    assert verdict_of(prove_with_correction(toy_key())) is Verdict.PAIRING_FAILED


def test_a_shared_sigma_lets_a_proof_of_knowledge_cover_the_correction() -> None:
    """Where both groups stand over gamma and each has a proof of knowledge, sigma must differ.

    With one sigma the attacker has sigma-multiples of the model basis for its "advice" commitment;
    with two it has them only over sigma_W, and every combination of those fails over sigma_A.
    """
    trapdoor = toy_trapdoor()
    key = toy_setup(replace(trapdoor, delta_a=trapdoor.gamma))
    blinding = Blinding(rho=77)
    early, late = (
        commit_model(key, FrArray.from_ints(w), blinding, BACKEND) for w in ((0, 1), (1, 1))
    )
    correction = combine([1, R - 1], [late.d_w, early.d_w])
    over_sigma_w = combine([1, R - 1], [late.pok_w, early.pok_w])
    advice = FrArray.from_ints(TOY.solve_advice((1, 1)))
    d_a = commit_advice(key, advice, 5, BACKEND)
    for sigma_a in (trapdoor.sigma_w, 123456789):
        pok_a = combine([sigma_a], [d_a])  # the key would hold this basis times sigma_A
        sigma_a_g2 = BACKEND.fixed_base_g2(FrArray.from_ints([sigma_a]), GENERATOR_G2)
        assert knowledge_equation_holds(d_a, pok_a, sigma_a_g2)
        corrected = combine([1, 1], [d_a, correction])
        forged = combine([1, 1], [pok_a, over_sigma_w])
        passes = knowledge_equation_holds(corrected, forged, sigma_a_g2)
        assert passes == (sigma_a == trapdoor.sigma_w)


def test_advice_moved_into_d_w_is_caught_by_the_proof_of_knowledge() -> None:
    """With a shared denominator the first equation would not notice; PoK_W does."""
    trapdoor = toy_trapdoor()
    shared = toy_setup(replace(trapdoor, delta_a=trapdoor.gamma))
    for key, first_equation in ((shared, True), (toy_key(), False)):
        model = (1, 1)
        advice, blinding = TOY.solve_advice(model), Blinding(rho=99)
        commitment = commit_model(key, FrArray.from_ints(model), blinding, BACKEND)
        d_a = commit_advice(key, FrArray.from_ints(advice), 55, BACKEND)
        raw = finish(
            key,
            model=model,
            advice=advice,
            d_w=combine([1, 1], [commitment.d_w, d_a]),
            pok_w=commitment.pok_w,
            d_a=INFINITY,
            rho_w=blinding.rho,
            rho_a=55,
            claimed=sum(advice),
        )
        assert groth16_equation_holds(claim_of(raw, key.verifying), key.verifying) is first_equation
        assert verdict_of(raw, key.verifying) is Verdict.PAIRING_FAILED


def test_nothing_in_the_key_cancels_a_blinding_but_its_own_correction() -> None:
    """rho_W cannot be cancelled with eta_A/delta, nor rho_A with eta_W/delta."""
    key, source = toy_key(), seeded(33)
    model, advice = (1, 1), TOY.solve_advice((1, 1))
    blinding, rho_a = draw_blinding(source), draw_scalar(source)
    commitment = commit_model(key, FrArray.from_ints(model), blinding, BACKEND)
    d_a = commit_advice(key, FrArray.from_ints(advice), rho_a, BACKEND)
    verdicts = [
        verdict_of(
            finish(
                key,
                model=model,
                advice=advice,
                d_w=commitment.d_w,
                pok_w=commitment.pok_w,
                d_a=d_a,
                rho_w=w,
                rho_a=a,
                claimed=sum(advice),
            )
        )
        for w, a in ((blinding.rho, rho_a), (rho_a, blinding.rho), (0, rho_a), (blinding.rho, 0))
    ]
    assert verdicts == [Verdict.VALID] + [Verdict.PAIRING_FAILED] * 3


# -- commitments and their proofs swapped ----------------------------------------------------------


def other() -> ToyProof:
    return prove_toy(model=(1, 0), random_bytes=seeded(41))


def test_d_w_swapped() -> None:
    foreign = other().commitment
    assert verdict_of(with_proof(honest(), d_w=foreign.d_w)) is Verdict.WRONG_STATEMENT
    statement = replace(honest().statement, d_w=encode_g1(foreign.d_w))
    for pok_w in (foreign.pok_w, honest().commitment.pok_w):
        proof = replace(honest().proof, d_w=foreign.d_w, pok_w=pok_w)
        raw = Envelope(statement=statement, proof=proof.encode()).encode()
        assert verdict_of(raw) is Verdict.PAIRING_FAILED


def test_another_model_under_the_same_d_w() -> None:
    """The prover knows W and W' and everything else, and proves W' under the commitment to W."""
    advice, committed = TOY.solve_advice((1, 1)), other()
    d_a = commit_advice(toy_key(), FrArray.from_ints(advice), 8, BACKEND)
    raw = finish(
        toy_key(),
        model=(1, 1),
        advice=advice,
        d_w=committed.commitment.d_w,
        pok_w=committed.commitment.pok_w,
        d_a=d_a,
        rho_w=committed.blinding.rho,
        rho_a=8,
        claimed=sum(advice),
    )
    assert verdict_of(raw) is Verdict.PAIRING_FAILED


@pytest.mark.parametrize("point", [INFINITY, GENERATOR_G1])
def test_d_a_swapped_or_missing(point: G1Array) -> None:
    assert verdict_of(with_proof(honest(), d_a=point)) is Verdict.PAIRING_FAILED
    assert verdict_of(with_proof(honest(), d_a=other().d_a)) is Verdict.PAIRING_FAILED


def test_proof_of_knowledge_swapped_or_missing() -> None:
    for pok_w in (INFINITY, other().commitment.pok_w, honest().commitment.d_w):
        assert verdict_of(with_proof(honest(), pok_w=pok_w)) is Verdict.PAIRING_FAILED


def test_proof_of_knowledge_missing_from_the_start() -> None:
    """Challenges drawn with PoK_W at infinity: the first equation holds, the second does not."""
    run, key = honest(), toy_key()
    raw = finish(
        key,
        model=run.model,
        advice=run.advice,
        d_w=run.commitment.d_w,
        pok_w=INFINITY,
        d_a=run.d_a,
        rho_w=run.blinding.rho,
        rho_a=run.rho_a,
        claimed=sum(run.advice),
    )
    assert groth16_equation_holds(claim_of(raw, key.verifying), key.verifying)
    assert verdict_of(raw) is Verdict.PAIRING_FAILED


def test_commitments_of_absent_groups_are_refused() -> None:
    """Nothing binds D_A where the key has no delta_A: it must be infinity."""
    key = replace(toy_key().verifying, delta_a=G2Array.zeros(1))
    statement = replace(honest().statement, verifying_key_digest=key.digest)
    raw = Envelope(statement=statement, proof=honest().proof.encode()).encode()
    assert verdict_of(raw, key) is Verdict.MALFORMED
    key = replace(toy_key().verifying, sigma_w=G2Array.zeros(1))
    statement = replace(honest().statement, verifying_key_digest=key.digest)
    raw = Envelope(statement=statement, proof=honest().proof.encode()).encode()
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
        rho_w=run.blinding.rho,
        rho_a=run.rho_a,
        random_bytes=seeded(51),
        backend=BACKEND,
    )
    c = run.commitment
    proof = Proof(a=points.a, b=points.b, c=points.c, d_w=c.d_w, pok_w=c.pok_w, d_a=d_a)
    forged_public = Claim(public=FrArray.from_ints(public), proof=proof)
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
    """D_W + x B needs a new C: whoever lacks the witness cannot move the commitment."""
    key, run = toy_key(), honest()
    basis = key.model
    assert isinstance(basis, G1Array)
    moved = combine([1, 1], [run.commitment.d_w, basis[2:3]])
    statement = replace(run.statement, d_w=encode_g1(moved))
    raw = Envelope(statement=statement, proof=replace(run.proof, d_w=moved).encode()).encode()
    assert verdict_of(raw) is Verdict.PAIRING_FAILED


# -- zero knowledge --------------------------------------------------------------------------------


def test_proofs_of_one_witness_differ_in_every_element() -> None:
    source = seeded(61)
    runs = [prove_toy(random_bytes=source) for _ in range(3)]
    for name in ("a", "b", "c", "d_w", "pok_w", "d_a"):
        assert len({getattr(r.proof, name).data.tobytes() for r in runs}) == 3
    assert [verdict_of(r.envelope) for r in runs] == [Verdict.VALID] * 3


def test_under_one_commitment_all_else_differs() -> None:
    source = seeded(62)
    blinding = draw_blinding(source)
    runs = [prove_toy(random_bytes=source, blinding=blinding) for _ in range(3)]
    for name, n_distinct in (("d_w", 1), ("pok_w", 1), ("a", 3), ("b", 3), ("c", 3), ("d_a", 3)):
        assert len({getattr(r.proof, name).data.tobytes() for r in runs}) == n_distinct


def guesses(key: ProvingKey, d_w: G1Array, pok_w: G1Array) -> dict[tuple[int, ...], bool]:
    """For every model: does any check that a stranger can make tell that D_W is its commitment?

    The stranger subtracts the unblinded commitment from D_W and PoK_W. What is left must be
    infinity if there is no blinding, and satisfy the knowledge equation if the guess is right.
    """
    results: dict[tuple[int, ...], bool] = {}
    for model in product((0, 1), repeat=2):
        bare = commit_model(key, FrArray.from_ints(model), Blinding(rho=0), BACKEND)
        rest = combine([1, R - 1], [d_w, bare.d_w])
        rest_pok = combine([1, R - 1], [pok_w, bare.pok_w])
        is_bare = not rest.data.any()
        is_consistent = knowledge_equation_holds(rest, rest_pok, key.verifying.sigma_w)
        results[model] = is_bare or not is_consistent
    return results


def test_guessing_a_low_entropy_model_fails() -> None:
    """All four models are consistent with a blinded D_W; without blinding one stands out."""
    key = toy_key()
    for model in ((0, 1), (1, 1)):
        wires = FrArray.from_ints(model)
        bare = commit_model(key, wires, Blinding(rho=0), BACKEND)
        found = guesses(key, bare.d_w, bare.pok_w)
        assert [m for m, hit in found.items() if hit] == [model]
        blinded = commit_model(key, wires, draw_blinding(seeded(63)), BACKEND)
        assert not any(guesses(key, blinded.d_w, blinded.pok_w).values())


def test_any_model_has_a_blinding_for_a_given_d_w() -> None:
    """Perfect hiding, shown with the trapdoor: D_W opens to every model."""
    key, t = toy_key(), toy_trapdoor()
    k = compute_columns(TOY.r1cs, t, BACKEND).k.to_ints()[TOY.r1cs.model]
    model, blinding = (1, 0), draw_blinding(seeded(64))
    d_w = commit_model(key, FrArray.from_ints(model), blinding, BACKEND).d_w
    for other_model in product((0, 1), repeat=2):
        difference = sum((m - o) * k_i for m, o, k_i in zip(model, other_model, k, strict=True))
        rho = (blinding.rho + difference * pow(t.eta_w, -1, R)) % R
        again = commit_model(key, FrArray.from_ints(other_model), Blinding(rho=rho), BACKEND)
        assert again.d_w.equals(d_w)


def test_secrets_stay_out_of_reprs(rng: Random) -> None:
    secret = Blinding(rho=rng.randrange(R))
    assert str(secret.rho) not in repr(secret)
    assert str(toy_trapdoor().tau) not in repr(toy_trapdoor())
