"""A second look at the proof of accuracy, by somebody who wants it to be wrong.

Odd networks, where limbs are many and short limbs one bit wide, get the forgeries that come closest
to passing: fractions, ties, one step outside of a range. Then points of the key that other schemes
do not publish, proofs of nothing but identities, and keys made in bad faith.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from federated.float_model import FloatModel
from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import G1, G2, R
from kernels.encoding import encode_g1
from prover.circuit.accuracy import compile_accuracy
from prover.circuit.gadgets.lookup import RangeTable
from prover.circuit.linear_form import LinearForm
from prover.circuit.public_inputs import ShardInputs
from prover.circuit.sizing.widths import split_widths
from prover.errors import FormatError, KeyMismatch, SelfCheckFailed
from prover.groth16.transcript import compute_challenges
from prover.groth16.verify import Claim, equations_hold, verify_batch
from prover.keys.folder import load_proving_key, save_key
from prover.keys.halves import ProvingKey
from prover.model.layers import BIAS_BITS, BIAS_MAX, BIAS_MIN, WEIGHT_MAX, Requant
from prover.model.network import Architecture, QuantizedModel
from prover.model.ranges import compute_ranges
from prover.pedersen.bases import load_bases
from prover.wire.envelope import Envelope, Proof
from prover.wire.verdict import Verdict
from tests.support.accuracy_protocol import accuracy_key, run_job, scene
from tests.support.assignments import Assignment, Tensor, draw_scalars
from tests.support.forged_points import put_point
from tests.support.forgeries import Scene
from tests.support.models import random_model
from tests.support.tiny_circuits import seeded
from tests.support.toy_attacks import broken_batch_holds
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

# -- odd networks ----------------------------------------------------------------------------------

ODD: Mapping[str, Architecture] = {
    "one of everything": Architecture.mlp([1, 1, 2], requant=Requant(shift=1, q_bits=9)),
    "least shift, greatest multiplier": Architecture.mlp(
        [2, 2, 2], requant=Requant(shift=1, multiplier=(1 << 15) - 1, q_bits=9)
    ),
    "greatest shift, no ReLU": Architecture.mlp(
        [2, 2, 3],
        requant=Requant(shift=24, multiplier=(1 << 15) - 1, q_bits=9, least=-128, greatest=127),
    ),
    "remainder of a limb and one bit": Architecture.mlp(
        [2, 2, 2], requant=Requant(shift=5, multiplier=3, q_bits=9, least=-128, greatest=127)
    ),
    "two kinds of clamp": Architecture.mlp(
        [2, 2, 2, 2],
        requant=[
            Requant(shift=3, q_bits=9),
            Requant(shift=12, q_bits=10, least=-128, greatest=127),
        ],
    ),
    "margins of 48 bits": Architecture.mlp([2, 3], margin_bits=48),
    "margins of limbs and one bit": Architecture.mlp([2, 2], margin_bits=33),
    "margins of one bit": Architecture.mlp([2, 2], margin_bits=1),
}
HIDDEN = [name for name, architecture in ODD.items() if len(architecture.layers) > 1]


def silent_model(architecture: Architecture, *, last_bias: int = 0) -> QuantizedModel:
    """All weights zero: every sample has the logits (last_bias, 0, 0 ...)."""
    weights = tuple(np.zeros(shape, dtype=np.int8) for shape in architecture.weight_shapes)
    biases = tuple(np.zeros(shape, dtype=np.int32) for shape in architecture.bias_shapes)
    biases[-1][0] = last_bias
    return QuantizedModel(architecture=architecture, weights=weights, biases=biases)


def odd_scene(name: str, model: QuantizedModel | None = None) -> Scene:
    """Two samples, the second of them padding; the label of the first is class 0."""
    architecture = ODD[name]
    accuracy = compile_accuracy(architecture, 2)
    return Scene(
        accuracy=accuracy,
        model=model or silent_model(architecture, last_bias=1),
        images=np.full((1, *architecture.input_shape), 200, dtype=np.uint8),
        labels=np.zeros(1, dtype=np.uint8),
        challenges=tuple(draw_scalars(Random(name), accuracy.n_challenges)),
    )


def split_fractions(values: Tensor, bits: int, table_bits: int) -> Tensor:
    """The limbs that bring each value into its range, were it any multiple of 2^-a at all."""
    widths = split_widths(bits, table_bits)
    limbs = np.zeros((*values.shape, len(widths) - 1), dtype=object)
    for place in np.ndindex(values.shape):
        scaled = int(values[place]) * (1 << (table_bits - widths[0])) % R
        shift = table_bits  # the lowest limb, scaled, is as wide as the table
        for i, width in enumerate(widths[1:]):
            limbs[(*place, i)] = (scaled >> shift) % (1 << width)
            shift += width
    return limbs


def fill_fractions(forged: Assignment, scene_: Scene) -> None:
    """Limbs and multiplicities for levels, logits and biases that need be no integers."""
    architecture, table_bits = (
        scene_.accuracy.architecture,
        scene_.accuracy.choices.widths.table_bits,
    )
    part, last = "correctness/count", len(architecture.layers) - 1
    margins = forged[f"{part}/level"][:, None] - forged[f"layer {last}/logits"] - 1
    choices = scene_.accuracy.choices
    ranges = {
        f"{part}/margin/limbs": (
            margins + forged[f"{part}/hit"] * (1 << choices.margin_bits),
            choices.margin_bits,
        ),
        f"{part}/level range/limbs": (
            forged[f"{part}/level"] + (1 << (choices.level_bits - 1)),
            choices.level_bits,
        ),
        f"layer {last}/biases/range/limbs": (
            forged[f"layer {last}/biases"] - BIAS_MIN,
            BIAS_BITS,
        ),
    }
    kept = {label for label in ranges if label in forged.values}
    for label in kept:
        values, bits = ranges[label]
        forged[label] = split_fractions(values, bits, table_bits)
    forged.fill(keep=kept)


@pytest.mark.parametrize("name", ODD)
def test_odd_networks_accept_the_truth_and_no_more(name: str) -> None:
    for bias, hits, accepted in (
        (1, {0: 0}, True),
        (1, {}, True),
        (0, {}, True),
        (0, {0: 0}, False),
    ):
        model = silent_model(ODD[name], last_bias=bias)
        compute_ranges(model)
        s = odd_scene(name, model)
        failing = s.count(s.infer(), hits).failing()
        assert failing == ([] if accepted else ["range table/sum"])


FRACTIONS = [pow(2, -a, R) * j % R for a, j in ((1, 1), (1, R - 1), (3, 7), (13, 1), (62, 1))]


@pytest.mark.parametrize("name", ODD)
def test_a_tie_is_wrong_at_every_level(name: str) -> None:
    """A tie misses by one step; no level makes up for it, be it a whole number or not."""
    s = odd_scene(name, silent_model(ODD[name]))
    inputs = s.infer()
    for level in (0, 1, R - 1, *FRACTIONS):
        forged = s.count(inputs, {0: 0})
        forged["correctness/count/level"][0] = level
        forged.fill()
        fill_fractions(forged, s)
        assert forged.failing() == ["range table/sum"]


@pytest.mark.parametrize("name", ODD)
def test_a_level_is_an_integer_even_where_the_sample_is_correct(name: str) -> None:
    """Else logits could be fractions, and their errors no digits of a pack."""
    s = odd_scene(name)
    for level in FRACTIONS:
        forged = s.count(s.infer(), {0: 0})
        forged["correctness/count/level"][0] = (1 + level) % R
        forged.fill()
        fill_fractions(forged, s)
        assert forged.failing() == ["range table/sum"]


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("move", ["up", "down", "half", "far"])
def test_a_quotient_has_one_remainder(name: str, move: str) -> None:
    """(q, rem) moved along q 2^s + rem = const, y as the moved q asks: only the ranges object."""
    s = odd_scene(name)

    def alter(layer: int, step: dict[str, Tensor]) -> None:
        requant = ODD[name].layers[layer].requant
        assert requant is not None
        by: dict[str, Any] = {"up": 1, "down": -1, "half": pow(2, -1, R), "far": R // 2}
        step["q"][0, 0] = (step["q"][0, 0] + by[move]) % R
        step["rem"][0, 0] = (step["rem"][0, 0] - by[move] * (1 << requant.shift)) % R
        if move in ("up", "down"):
            q = (step["q"][0, 0] + R // 2) % R - R // 2
            step["q"][0, 0] = q
            step["y"][0, 0] = min(max(q, requant.y_range[0]), requant.y_range[1])

    failing = s.count(s.infer(alter=alter), {}).failing()
    in_tables = {f for f in failing if f.endswith("/sum")}
    assert failing == sorted(in_tables) != []


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize(
    ("kind", "value", "accepted"),
    [
        ("weights", -127, True),
        ("weights", 127, True),
        ("weights", -128, False),
        ("weights", 128, False),
        ("weights", pow(2, -1, R), False),
        ("biases", -(1 << 23), True),
        ("biases", (1 << 23) - 1, True),
        ("biases", 1 << 23, False),
        ("biases", -(1 << 23) - 1, False),
        ("biases", pow(2, -1, R), False),
        ("biases", pow(16, -1, R), False),
    ],
)
def test_ends_of_weights_and_biases(name: str, kind: str, value: int, accepted: bool) -> None:
    """The circuit takes the very integers that `QuantizedModel` takes, and no other field element.

    The logits follow them, whatever they are.
    """
    fits = (-WEIGHT_MAX, WEIGHT_MAX) if kind == "weights" else (BIAS_MIN, BIAS_MAX)
    assert accepted == (fits[0] <= value <= fits[1])
    s = odd_scene(name)
    weights = [w.astype(object) for w in s.model.weights]
    biases = [b.astype(object) for b in s.model.biases]
    (weights if kind == "weights" else biases)[-1].reshape(-1)[-1] = value
    forged = s.count(s.infer(weights=weights, biases=biases), {})
    table = "weight table/sum" if kind == "weights" else "range table/sum"
    failing = forged.failing()
    if not accepted:
        assert table in failing
        return
    widest = 2 * 255 * 2 * 127 + (1 << 24)
    assert failing == [] or widest >> ODD[name].margin_bits, "only a margin may be too narrow"
    assert "weight table/sum" not in failing


def test_half_a_point_of_bias_would_turn_a_quotient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the unscaled lookup of the lowest limb makes a bias an integer.

    m b = 3/2 in place of 0 or 3; the remainder has room for the half.
    """
    architecture = Architecture.mlp([2, 1, 5], requant=Requant(shift=3, multiplier=3, q_bits=9))

    def attack() -> list[str]:
        accuracy = compile_accuracy(architecture, 4)
        assert BIAS_BITS % accuracy.choices.widths.table_bits, "else no limb is scaled"
        assert accuracy.choices.widths.table_bits > 3, "else the remainder has no fraction"
        s = Scene(
            accuracy=accuracy,
            model=silent_model(architecture),
            images=np.full((1, 2), 200, dtype=np.uint8),
            labels=np.zeros(1, dtype=np.uint8),
            challenges=tuple(draw_scalars(Random(1), accuracy.n_challenges)),
        )
        half = pow(2, -1, R)
        biases = [np.array([half], dtype=object), s.model.biases[1]]

        def alter(layer: int, step: dict[str, Tensor]) -> None:
            step["q"][:], step["y"][:] = 0, 0
            step["rem"][:] = (4 + 3 * half) % R  # m b + 2^(s-1)

        forged = s.count(s.infer(biases=biases, alter=alter), {})
        limbs = split_fractions(
            forged["layer 0/biases"] - BIAS_MIN, BIAS_BITS, accuracy.choices.widths.table_bits
        )
        forged["layer 0/biases/range/limbs"] = limbs
        forged.fill(keep={"layer 0/biases/range/limbs"})
        return forged.failing()

    assert attack() == ["range table/sum"]
    exact = RangeTable.require_range

    def inexact(self: RangeTable, label: str, value: LinearForm, bits: int, **more: Any) -> None:
        exact(self, label, value, bits, why=more.get("why", ""))

    monkeypatch.setattr(RangeTable, "require_range", inexact)
    assert attack() == []


@pytest.mark.parametrize("name", HIDDEN)
def test_samples_may_not_share_what_they_are_worth(name: str) -> None:
    """Errors of two samples that cancel at s = 1, and at no other s."""
    s = odd_scene(name)

    def alter(layer: int, step: dict[str, Tensor]) -> None:
        step["rem"][:, 0] = step["rem"][:, 0] + np.array([1, -1], dtype=object)

    failing = s.count(s.infer(alter=alter), {}).failing()
    assert any(f.endswith("/linear/equation") for f in failing)


# -- points that other schemes do not publish ------------------------------------------------------


def combine_g1(scalars: list[int], points: list[G1Array]) -> G1Array:
    return BACKEND.msm_g1(FrArray.from_ints(scalars), G1Array.concat(points))


def claim(run: ToyProof, **points: Any) -> Claim:
    return Claim(
        public=FrArray.from_ints(run.public),
        commitments=run.d_w,
        proof=replace(run.proof, **points),
    )


def shifted(run: ToyProof, x: int, base: G2Array) -> G2Array:
    """B + x Q."""
    return BACKEND.msm_g2(FrArray.from_ints([1, x]), G2Array.concat([run.points.b, base]))


def test_delta_a_in_b_moves_d_a_and_only_the_transcript_objects() -> None:
    """e(A, B + x delta_A) = e(A, B) e(x A, delta_A): D_A is malleable, so it has to be hashed."""
    run, key = honest(), toy_key().verifying
    b = shifted(run, 5, key.delta_a)
    d_a = combine_g1([1, 5], [run.d_a, run.points.a])
    assert equations_hold([claim(run, b=b, d_a=d_a)], key=key, random_bytes=seeded(1))
    assert verdict_of(with_proof(run, b=b, d_a=d_a)) is Verdict.PAIRING_FAILED


def link_of(d_w: G1Array, own: G1Array) -> G1Array:
    """k1 D + k2 D': the pi that only the trapdoor makes for points that commit to nothing."""
    (group,) = toy_trapdoor().groups
    return combine_g1([group.k1, toy_trapdoor().k2], [d_w, own])


def test_one_in_b_moves_the_keys_commitment_and_only_the_link_objects() -> None:
    """e(A, B + x [1]) = e(A, B) e(x A, [1]): without pi, D' could be moved by x A."""
    run, key = honest(), toy_key().verifying
    b = shifted(run, 5, G2Array.from_ints([G2]))
    own = combine_g1([1, 5], [run.linked.own, run.points.a])
    assert not equations_hold([claim(run, b=b, own=own)], key=key, random_bytes=seeded(1))
    known = link_of(run.d_w, own)  # with the trapdoor, the rest does hold
    moved = claim(run, b=b, own=own, link=known)
    assert equations_hold([moved], key=key, random_bytes=seeded(1))
    for link in (known, run.linked.link):
        proof = replace(moved.proof, link=link)
        raw = Envelope(statement=run.statement, proof=proof.encode()).encode()
        assert verdict_of(raw) is Verdict.PAIRING_FAILED


def test_k1_in_b_moves_the_commitment_under_equal_weights_alone() -> None:
    """C1 = [k1]_2 is public: e(A, B + x C1) = e(A, B) e(x A, C1), and the link pairs D with C1."""
    run, key = honest(), toy_key().verifying
    d = combine_g1([1, 5], [run.d_w, run.points.a])
    moved = replace(claim(run, b=shifted(run, 5, key.links[:1])), commitments=d)
    assert broken_batch_holds([moved], key)
    assert not equations_hold([moved], key=key, random_bytes=seeded(1))


def test_public_basis_in_the_keys_commitment_moves_the_statement_and_only_the_link_objects() -> (
    None
):
    """D' + t [K_k] stands for a public wire that is greater by t."""
    run, key = honest(), toy_key().verifying
    count = key.public[1:2]
    own = combine_g1([1, 3], [run.linked.own, count])
    lower = FrArray.from_ints([run.public[0] - 3, *run.public[1:]])
    for link, holds in ((link_of(run.d_w, own), True), (run.linked.link, False)):
        moved = replace(claim(run, own=own, link=link), public=lower)
        assert equations_hold([moved], key=key, random_bytes=seeded(2)) is holds


@pytest.mark.parametrize("names", [("a",), ("b",), ("c",), ("own", "link"), ("d_a",), ("d_w",)])
def test_identities_prove_nothing(names: tuple[str, ...]) -> None:
    everything = ("a", "b", "c", "own", "link", "d_a", "d_w")
    for chosen in (names, tuple(n for n in everything if n not in names), everything):
        points: dict[str, Any] = {n: (G2Array if n == "b" else G1Array).zeros(1) for n in chosen}
        d_w = points.pop("d_w", honest().d_w)
        proof = replace(honest().proof, **points)
        statement = replace(honest().statement, commitments=(encode_g1(d_w),))
        raw = Envelope(statement=statement, proof=proof.encode()).encode()
        assert verdict_of(raw) is Verdict.PAIRING_FAILED


def test_generators_and_key_points_prove_nothing() -> None:
    """A and B that cancel alpha and beta, with everything else absent or taken from the key."""
    key, g1, g2 = toy_key().verifying, G1Array.from_ints([G1]), G2Array.from_ints([G2])
    zero = G1Array.zeros(1)
    basis, bases = toy_key().basis, toy_key().link
    assert isinstance(basis, G1Array)
    assert isinstance(bases, G1Array)
    single = load_bases(1)[1:], basis[:1], bases[:1]  # of the vector (1, 0)
    for d_w, own, link in ((zero, zero, zero), single):
        statement = replace(honest().statement, commitments=(encode_g1(d_w),))
        for a, b in ((key.alpha, key.beta), (key.alpha, g2), (g1, key.beta), (g1, g2)):
            for c in (zero, key.alpha, combine_g1([R - 1], [key.public[0:1]])):
                proof = Proof(a=a, b=b, c=c, own=own, link=link, d_a=zero)
                raw = Envelope(statement=statement, proof=proof.encode()).encode()
                assert verdict_of(raw) is Verdict.PAIRING_FAILED


# -- batches ---------------------------------------------------------------------------------------


def batch(raws: list[bytes]) -> list[Verdict]:
    return verify_batch(
        raws,
        key=toy_key().verifying,
        public_inputs=TOY.public_inputs,
        random_bytes=seeded(3),
    )


def test_batches_of_copies_opposites_and_nothing() -> None:
    """Equal and opposite points meet in the same sums: no exceptional case decides a verdict."""
    run = honest()
    opposite = combine_g1([R - 1], [run.points.c])
    good, bad = run.envelope, with_proof(run, c=opposite)
    assert batch([]) == []
    assert batch([good] * 5) == [Verdict.VALID] * 5
    assert batch([bad] * 4) == [Verdict.PAIRING_FAILED] * 4
    mixed = [good, bad, b"", good, bad, good]
    expected = {good: Verdict.VALID, bad: Verdict.PAIRING_FAILED, b"": Verdict.MALFORMED}
    assert batch(mixed) == [expected[raw] for raw in mixed]


def test_faults_of_two_proofs_do_not_cancel() -> None:
    """C + E in one proof and C - E in the other: each equation has a weight of its own."""
    run, fault = honest(), G1Array.from_ints([G1])
    pair = [with_proof(run, c=combine_g1([1, s], [run.points.c, fault])) for s in (1, R - 1)]
    assert batch(pair) == [Verdict.PAIRING_FAILED] * 2


# -- challenges ------------------------------------------------------------------------------------


def test_every_byte_before_the_challenges_changes_them() -> None:
    """Statement, D', pi and D_A: flip any bit of any, and every challenge is another."""
    statement, committed = honest().statement.encode(), bytes(range(96))
    first = compute_challenges(statement, committed=committed, n_challenges=5)
    message = statement + committed
    for at in range(len(message)):
        changed = bytearray(message)
        changed[at] ^= 1
        again = compute_challenges(
            bytes(changed[:-96]), committed=bytes(changed[-96:]), n_challenges=5
        )
        assert not set(first) & set(again)


def test_challenges_differ_from_each_other() -> None:
    s = scene()
    drawn = compute_challenges(b"x", committed=bytes(96), n_challenges=s.accuracy.n_challenges)
    assert len(set(drawn)) == s.accuracy.n_challenges == len(s.accuracy.public_layout.challenges)


# -- a verifier's own data ------------------------------------------------------------------------


def test_data_that_changes_after_its_digest_changes_nothing() -> None:
    """The digest and the sums speak of the same samples, whoever still holds the arrays."""
    s, statement = scene(), honest().statement
    images, labels = s.images.copy(), s.labels.copy()
    inputs = ShardInputs.of(s.accuracy.public_layout, images, labels)
    asked = replace(
        statement,
        n_real=len(labels),
        dataset_digest=inputs.digest,
        multipliers=s.accuracy.architecture.multipliers,
        claimed_correct=1,
    )
    before = inputs(asked, list(s.challenges))
    images[:], labels[:] = 0, 0
    after = inputs(asked, list(s.challenges))
    assert before is not None
    assert after is not None
    assert before.equals(after)
    assert not inputs.images.flags.writeable
    with pytest.raises(KeyMismatch, match="challenges"):
        inputs(asked, [*s.challenges, 5])


# -- keys made in bad faith, and what must not be shown --------------------------------------------

BLINDERS = ("a", "b2", "advice", "basis", "link", "link's first")
"""A basis by the name of its field; of a link the last base blinds D', the one before it D."""


def without_blinder(key: ProvingKey, name: str) -> ProvingKey:
    """A consistent pair of halves whose named basis has the identity for a blinder."""
    at = -2 if name == "link's first" else -1
    return put_point(key, name.removesuffix("'s first"), at)


def test_without_a_blinder_a_valid_proof_shows_the_advice() -> None:
    """Why the next test matters: whoever guesses the witness can see that the guess is right."""
    key = without_blinder(toy_key(), "advice")
    correction = key.correction.data.copy()
    correction[1] = 0
    key = replace(key, correction=G1Array(correction))
    run = prove_toy(random_bytes=seeded(5), key=key)
    assert verdict_of(run.envelope, key.verifying) is Verdict.VALID
    guess = [*TOY.solve_advice((1, 1)), 0]
    assert BACKEND.msm_g1(FrArray.from_ints(guess), key.advice).equals(run.d_a)


@pytest.mark.parametrize("name", BLINDERS)
def test_keys_without_a_blinder_are_refused(name: str, tmp_path: Path) -> None:
    key = without_blinder(toy_key(), name)
    save_key(key, tmp_path)
    digest = hashlib.sha256((tmp_path / "proving.key").read_bytes()).digest()
    assert digest == key.verifying.proving_digest
    with pytest.raises(FormatError, match="blinder is the identity"):
        load_proving_key(tmp_path, key.verifying)


@pytest.mark.parametrize("at", [0, -2, -1])
def test_a_proof_whose_link_fails_does_not_leave(at: int) -> None:
    """Bases of a link that are not the key's could spell out weights, or what blinds them."""
    stranger = G1Array.from_ints([G1])
    for point in (G1Array.zeros(1), stranger):
        with pytest.raises(SelfCheckFailed, match="pairing_failed"):
            run_job(key=put_point(accuracy_key(), "link", at, point))
    assert run_job(key=accuracy_key()).envelope


def test_private_tensors_stay_out_of_reprs() -> None:
    """A log line or a debugger's dump of these would show weights, activations or their bounds."""
    architecture = Architecture.mlp([3, 2, 2])
    model = random_model(architecture, np.random.default_rng(2))
    trace = model.trace(np.full((1, 3), 7, dtype=np.uint8))
    bounds = compute_ranges(model)
    floats = FloatModel(
        architecture=Architecture.mlp((3, 2)),
        weights=(np.ones((2, 3), dtype=np.float32),),
        biases=(np.ones(2, dtype=np.float32),),
        mean=0.5,
        std=1.0,
        record={},
    )
    shown = [model, *trace, trace[0].requant, *bounds, floats]
    assert not any("=" in repr(x) or "array" in repr(x) for x in shown)


def test_no_wire_is_without_a_row() -> None:
    """Each committed and private wire of each odd network occurs in some row."""
    for architecture in ODD.values():
        r1cs = compile_accuracy(architecture, 2).r1cs
        used = np.zeros(r1cs.n_wires, dtype=np.bool_)
        for matrix in (r1cs.a, r1cs.b, r1cs.c):
            used[matrix.cols] = True
        assert used[1:].all()
