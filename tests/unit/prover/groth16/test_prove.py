"""Complete proofs over tiny circuits: accepted when true, refused when anything is false."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernels.array import FrArray, FrMont, G1Array
from prover.circuit.r1cs import R1CS
from prover.errors import BrokenRandomness, KeyMismatch
from prover.groth16 import verify as verify_module
from prover.groth16.commitment import Opening, commit_advice, link_groups
from prover.groth16.plain import product_is_one
from prover.groth16.prove import compute_points, prepare
from prover.groth16.setup import setup
from prover.groth16.trapdoor import draw_trapdoor
from prover.groth16.verify import Claim, equations_hold, judge, verify_all, verify_batch
from prover.keys.halves import ProvingKey
from prover.pedersen.commitment import Committer
from prover.randomness import draw_nonzero_scalar, draw_scalar, draw_weight
from prover.wire.envelope import Proof
from prover.wire.verdict import Verdict
from tests.support.tiny_circuits import (
    build_chain,
    build_r1cs,
    is_satisfied,
    seeded,
    solve_chain,
)
from tests.support.toy_protocol import BACKEND, TOY, honest, prove_toy, toy_key, verdict_of


def make_key(r1cs: R1CS, seed: int = 1) -> ProvingKey:
    return setup(
        r1cs,
        circuit_digest=bytes(32),
        n_challenges=0,
        trapdoor=draw_trapdoor(seeded(seed), n_linked=len(r1cs.linked)),
        backend=BACKEND,
    )


def prove_wires(key: ProvingKey, r1cs: R1CS, wires: list[int], seed: int = 2) -> Claim:
    """A proof without a transcript, for whatever groups the circuit has."""
    source = seeded(seed)
    z = FrArray.from_ints(wires)
    rho_a = draw_scalar(source)
    openings = [Opening(wires=z[wires], rho=draw_scalar(source)) for wires in key.linked_groups]
    committed = [Committer(len(o.wires), BACKEND).commit(o.wires, o.rho) for o in openings]
    linked = link_groups(key, openings, draw_scalar(source), BACKEND)
    d_a = commit_advice(key, z[key.advice_wires], rho_a, BACKEND)
    points = compute_points(
        key,
        r1cs,
        BACKEND.to_mont(z),
        blindings=linked.blindings,
        rho_a=rho_a,
        random_bytes=source,
        backend=BACKEND,
    )
    proof = Proof(a=points.a, b=points.b, c=points.c, own=linked.own, link=linked.link, d_a=d_a)
    commitments = G1Array.concat([G1Array.zeros(0), *committed])
    return Claim(public=z[1 : 1 + r1cs.n_public], commitments=commitments, proof=proof)


def holds(claim: Claim, key: ProvingKey) -> bool:
    return equations_hold([claim], key=key.verifying, random_bytes=seeded(3))


# -- plain Groth16: the special case without groups ------------------------------------------------


@pytest.mark.parametrize("n_steps", [1, 2, 3, 4, 7, 8])
def test_plain_groth16(n_steps: int) -> None:
    """Row counts on both sides of a power of two."""
    r1cs, wires = build_chain(n_steps), solve_chain(n_steps, 5)
    assert is_satisfied(r1cs, wires)
    key = make_key(r1cs)
    claim = prove_wires(key, r1cs, wires)
    assert len(claim.proof.encode()) == 224
    assert not claim.proof.d_a.data.any()
    assert holds(claim, key)
    assert not holds(replace(claim, public=FrArray.from_ints([wires[1] + 1])), key)


def test_a_circuit_of_one_row() -> None:
    """n = 1: the quotient is zero and the coset is the single point -1."""
    r1cs = build_r1cs([({2: 1}, {2: 1}, {1: 1})], n_public=1, n_private=1)
    key = make_key(r1cs)
    assert len(key.h) == 1
    assert holds(prove_wires(key, r1cs, [1, 9, 3]), key)
    assert not holds(prove_wires(key, r1cs, [1, 9, 4]), key)


def test_unused_wires_wide_coefficients_and_no_public_wire() -> None:
    wide = 1 << 200
    r1cs = build_r1cs([({1: wide}, {2: -wide}, {3: wide})], n_public=0, n_private=4)
    wires = [1, 3, 5, -15 * wide, 77]
    assert is_satisfied(r1cs, wires)
    key = make_key(r1cs)
    assert holds(prove_wires(key, r1cs, wires), key)
    assert not holds(prove_wires(key, r1cs, [*wires[:3], wires[3] + 1, 77]), key)


GROUPS: list[tuple[tuple[int, ...], int]] = [
    ((), 0),
    ((2,), 0),
    ((), 2),
    ((1,), 1),
    ((1, 1), 0),
]


@pytest.mark.parametrize(("linked", "n_advice"), GROUPS)
def test_each_combination_of_groups(linked: tuple[int, ...], n_advice: int) -> None:
    """x * y = k, x and y in whichever groups there are."""
    r1cs = build_r1cs(
        [({2: 1}, {3: 1}, {1: 1})],
        n_public=1,
        linked=linked,
        n_advice=n_advice,
        n_private=2 - sum(linked) - n_advice,
    )
    key = make_key(r1cs)
    assert (key.verifying.n_linked, key.verifying.has_advice) == (len(linked), n_advice > 0)
    assert key.linked == linked
    claim = prove_wires(key, r1cs, [1, 21, 3, 7])
    assert holds(claim, key)
    assert not holds(prove_wires(key, r1cs, [1, 21, 3, 8]), key)
    assert len(claim.proof.encode()) == 224
    names = {"own": bool(linked), "link": bool(linked), "d_a": n_advice > 0}
    for name, is_there in names.items():
        points: G1Array = getattr(claim.proof, name)
        assert bool(points.data.any()) == is_there
        if is_there:
            absent: dict[str, Any] = {name: G1Array.zeros(1)}
            assert not holds(replace(claim, proof=replace(claim.proof, **absent)), key)
    for at in range(len(linked)):
        moved = claim.commitments.data.copy()
        moved[at] = 0
        assert not holds(replace(claim, commitments=G1Array(moved)), key)


# -- the toy statement -----------------------------------------------------------------------------


@pytest.mark.parametrize("model", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_toy_statement_is_accepted(model: tuple[int, int]) -> None:
    run = prove_toy(model=model, random_bytes=seeded(11))
    assert run.statement.claimed_correct == sum(TOY.solve_advice(model))
    assert verdict_of(run.envelope) is Verdict.VALID


def test_every_single_wire_is_bound() -> None:
    """A witness with one wire changed breaks a row of the toy, and then its proof is refused."""
    key, run, r1cs = toy_key(), honest(), TOY.r1cs
    wires = [
        1,
        *run.public,
        *run.model,
        *run.advice,
        *TOY.solve_private(run.public, run.model, run.advice),
    ]
    assert is_satisfied(r1cs, wires)
    assert holds(prove_wires(key, r1cs, wires), key)
    for i in range(1, r1cs.n_wires):
        forged = [*wires[:i], wires[i] + 1, *wires[i + 1 :]]
        assert not is_satisfied(r1cs, forged)
        assert not holds(prove_wires(key, r1cs, forged), key)


def test_prepared_bases_give_the_same_proof() -> None:
    prepared = prepare(toy_key(), BACKEND)
    assert prepared.a is not toy_key().a
    again = prove_toy(random_bytes=seeded(7), key=prepared)
    assert again.envelope == honest().envelope
    assert prepare(prepared, BACKEND).a is prepared.a


def test_a_commitment_serves_many_proofs() -> None:
    source = seeded(12)
    runs = [prove_toy(random_bytes=source, rho=5) for _ in range(2)]
    assert runs[0].statement == runs[1].statement
    assert [verdict_of(r.envelope) for r in runs] == [Verdict.VALID] * 2


def test_proving_reports_progress() -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    r1cs, wires = build_chain(3), solve_chain(3, 5)
    compute_points(
        make_key(r1cs),
        r1cs,
        FrMont.from_ints(wires),
        blindings=(),
        rho_a=0,
        random_bytes=seeded(1),
        backend=BACKEND,
        progress=lambda stage, done, total: seen.setdefault(stage, []).append((done, total)),
    )
    assert list(seen) == [
        "products",
        "transforms",
        "A",
        "B in G1",
        "C",
        "C quotient",
        "B in G2",
    ]
    for steps in seen.values():
        assert steps == sorted(steps)
        assert steps[-1][0] == steps[-1][1]


def test_what_does_not_belong_together_is_refused() -> None:
    key, r1cs = toy_key(), TOY.r1cs
    three = Opening(wires=FrArray.zeros(3), rho=1)
    with pytest.raises(KeyMismatch, match="3 wires for a linked group of 2"):
        link_groups(key, [three], 1, BACKEND)
    with pytest.raises(KeyMismatch, match="2 commitments for a key of 1"):
        link_groups(key, [three, three], 1, BACKEND)
    with pytest.raises(KeyMismatch, match="1 advice wires for a key of 2"):
        commit_advice(key, FrArray.zeros(1), 1, BACKEND)
    chain = build_chain(3)
    for circuit, wires, message in (
        (chain, solve_chain(3, 1), "other sizes"),
        (r1cs, [1] * 11, "for 12 wires"),
        (r1cs, [2] * 12, "constant one"),
    ):
        with pytest.raises(KeyMismatch, match=message):
            compute_points(
                key,
                circuit,
                FrMont.from_ints(wires),
                blindings=(0,),
                rho_a=0,
                random_bytes=seeded(1),
                backend=BACKEND,
            )
    with pytest.raises(KeyMismatch, match="public inputs of shape"):
        verify_batch(
            [honest().envelope],
            key=key.verifying,
            public_inputs=lambda statement, challenges: FrArray.zeros(3),
            random_bytes=seeded(1),
        )


# -- batches ---------------------------------------------------------------------------------------


def test_a_batch_names_each_false_proof() -> None:
    good = honest().envelope
    other = prove_toy(model=(1, 0), random_bytes=seeded(13)).envelope
    false = prove_toy(
        random_bytes=seeded(14),
        edit=lambda s: replace(s, claimed_correct=s.claimed_correct + 1),
    ).envelope
    raws = [good, false, b"no envelope", other, other, false, good]
    verdicts = verify_batch(
        raws,
        key=toy_key().verifying,
        public_inputs=TOY.public_inputs,
        random_bytes=seeded(15),
    )
    valid, failed = Verdict.VALID, Verdict.PAIRING_FAILED
    assert verdicts == [valid, failed, Verdict.MALFORMED, valid, valid, failed, valid]


def test_one_product_tells_of_a_whole_and_few_more_name_its_first_false_proof(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many are false; none is asked for when one falls before the pairings."""
    good, products = honest().envelope, list[int]()

    def count(claims: Sequence[Claim], **rest: Any) -> bool:
        products.append(len(claims))
        return equations_hold(claims, **rest)

    def check(*raws: bytes) -> tuple[Verdict, int | None]:
        products.clear()
        return verify_all(
            raws,
            key=toy_key().verifying,
            public_inputs=TOY.public_inputs,
            random_bytes=seeded(15),
        )

    false = prove_toy(
        random_bytes=seeded(14),
        edit=lambda s: replace(s, claimed_correct=s.claimed_correct + 1),
    ).envelope
    monkeypatch.setattr(verify_module, "equations_hold", count)
    for n in (0, 1, 3):
        assert check(*[good] * n) == (Verdict.VALID, None)
        assert products == ([n] if n else [])
    for n in (1, 2, 3, 7):
        for first in range(n):
            for rest in (good, false):
                found = check(*[good] * first, false, *[rest] * (n - first - 1))
                assert found == (Verdict.PAIRING_FAILED, first)
                assert sum(products) <= 2 * n - 1
                assert len(products) <= 1 + n.bit_length()
    assert check(*[false] * 9) == (Verdict.PAIRING_FAILED, 0)
    assert products == [9, 4, 2, 1]
    assert check(good, b"no envelope", false) == (Verdict.MALFORMED, 1)
    assert products == []


def test_an_empty_batch() -> None:
    key = toy_key().verifying
    assert judge([], key=key, random_bytes=seeded(1)) == []
    assert verify_batch([], key=key, public_inputs=TOY.public_inputs, random_bytes=seeded(1)) == []


@pytest.mark.parametrize(("linked", "n_pairs"), [((), 5), ((2,), 7), ((1, 1), 8)])
def test_a_group_costs_one_pair(
    linked: tuple[int, ...], n_pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A, alpha, one, C and D_A; with groups D', and each D."""
    r1cs = build_r1cs(
        [({2: 1}, {3: 1}, {1: 1})], n_public=1, linked=linked, n_private=2 - sum(linked)
    )
    key, pairs = make_key(r1cs), list[int]()
    claim = prove_wires(key, r1cs, [1, 21, 3, 7])

    def count(g1: Sequence[G1Array], *rest: Any) -> bool:
        pairs.append(sum(map(len, g1)))
        return product_is_one(g1, *rest)

    monkeypatch.setattr(verify_module, "product_is_one", count)
    for n in (1, 3):
        assert equations_hold([claim] * n, key=key.verifying, random_bytes=seeded(3))
    assert pairs == [n_pairs, n_pairs + 2]


def test_weights_are_fresh_for_every_equation_of_every_proof() -> None:
    drawn: list[bytes] = []
    source = seeded(16)

    def recording(n: int) -> bytes:
        drawn.append(source(n))
        return drawn[-1]

    claims = [prove_wires(toy_key(), TOY.r1cs, [1] * 12)] * 3
    assert not equations_hold(claims, key=toy_key().verifying, random_bytes=recording)
    assert [len(d) for d in drawn] == [16] * 6
    assert len(set(drawn)) == 6


# -- randomness ------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [draw_nonzero_scalar, draw_weight])
def test_a_source_of_zeros_is_noticed(draw: object) -> None:
    assert callable(draw)
    with pytest.raises(BrokenRandomness):
        draw(bytes)


def test_a_source_that_runs_dry_is_noticed() -> None:
    with pytest.raises(BrokenRandomness, match="asked for 32 random bytes, got 3"):
        draw_scalar(lambda n: b"abc")
    with pytest.raises(BrokenRandomness, match="no scalar"):
        draw_scalar(lambda n: b"\xff" * n)


def test_scalars_use_the_whole_field() -> None:
    source = seeded(17)
    values = [draw_scalar(source) for _ in range(400)]
    assert max(values).bit_length() == 254
    assert len(set(values)) == 400


# -- what a verifier loads -------------------------------------------------------------------------


def test_the_verifying_half_loads_no_prover(root: Path) -> None:
    code = (
        "import sys, prover.groth16.verify, prover.wire.envelope, prover.keys.folder\n"
        "import prover.groth16.transcript\n"
        "print(*sorted(m for m in sys.modules if m.startswith(('prover.', 'kernels.'))))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    ).stdout.split()
    assert "prover.groth16.verify" in loaded
    forbidden = {
        "prover.groth16.prove",
        "prover.groth16.setup",
        "prover.circuit.witness",
        "prover.groth16.quotient",
        "prover.groth16.commitment",
        "prover.circuit.constraints",
        "kernels.cpu.backend",
    }
    assert not forbidden & set(loaded)
    assert not [
        m for m in loaded if m.startswith(("kernels.cpu.msm.pippenger", "kernels.cpu.scalars.ntt"))
    ]
