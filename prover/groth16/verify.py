"""Verification: any bytes give a verdict, and a batch costs one final exponentiation.

For proof i, X_i = sum_public z_k [K_k], one equation, and one for its link:

    e(A, B) = e(alpha, beta) e(X + D', [1]) e(D_A, delta_A) e(C, delta)
    prod_g e(D_g, C1_g) e(D', C2) = e(pi, [1])        D_g from the statement, less what is public

Each equation of each proof is raised to its own nonzero 128-bit weight (r_i and t_i) and all are
multiplied into one product of pairings, in which pairings with the same G2 point join:

    prod e(-r_i A_i, B_i) * e(sum r_i alpha, beta) * e(sum r_i (X_i + D'_i) - t_i pi_i, [1])
      * e(sum r_i D_A,i, delta_A) * e(sum r_i C_i, delta)
      * prod_g e(sum t_i D_ig, C1_g) * e(sum t_i D'_i, C2) = 1

Why it holds: all points have order r, so a false equation survives for at most one weight mod r,
and a false batch passes with probability below 2^-127. The weights come from the verifier's own
generator after all bytes are fixed. Equal or predictable weights would let the terms of the
equations cancel: A = alpha, B = beta, C = D_A = 0 and pi + X + D' in place of pi would pass for any
public wires, and the error of one link would make up for another's. A valid proof is worth the
security of the curve, about 100 bits (`kernels.bn254`).

Nothing here imports the proving half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

from kernels.array import FrArray, G1Array, G2Array
from kernels.cpu.words.group import add_g1, mul_g1, neg_g1
from kernels.cpu.words.power import power_fp
from kernels.cpu.words.small_msm import small_msm_g1
from kernels.encoding import Refused, decode_g1
from prover.circuit.norm.inputs import UpdateInputs
from prover.circuit.public_inputs import PublicWires, combine_wires
from prover.errors import KeyMismatch
from prover.groth16.plain import product_is_one
from prover.groth16.transcript import compute_challenges
from prover.keys.halves import VerifyingKey
from prover.randomness import RandomBytes, draw_weight
from prover.wire.envelope import FAULTS, AnyEnvelope, AnyStatement, Envelope, Proof
from prover.wire.statement import Statement
from prover.wire.update import UpdateEnvelope
from prover.wire.verdict import Verdict

PublicInputs = Callable[[Statement, list[int]], PublicWires | None]
"""public_inputs(statement, challenges): the public wires, shape [n_public], which the verifier
computes from its own data; None when the statement is not one that it asks about. Batches about one
shard do well with `ShardInputs.defer`: its samples are then summed once."""


S = TypeVar("S", bound=AnyStatement)
_FEW = 2  # points: 35 us each, where buckets take 90 us and 4 each


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Public wires, without the constant one, the commitments to the linked groups, and the proof
    that all have a witness.
    """

    public: PublicWires
    commitments: G1Array
    proof: Proof


def verify(
    raw: bytes, *, key: VerifyingKey, public_inputs: PublicInputs, random_bytes: RandomBytes
) -> Verdict:
    """The verdict on one envelope."""
    return verify_batch([raw], key=key, public_inputs=public_inputs, random_bytes=random_bytes)[0]


def verify_batch(
    raws: Sequence[bytes],
    *,
    key: VerifyingKey,
    public_inputs: PublicInputs,
    random_bytes: RandomBytes,
) -> list[Verdict]:
    """The verdict on each envelope, all under one key.

    cost  : one pairing per proof, four more, and with linked groups one for each and one; with f
            false proofs about 2 f log2(n) products more
    Raises KeyMismatch only when `public_inputs` answers for another circuit than the key's.
    """
    admitted = [admit(Envelope.decode(x), key=key, public_inputs=public_inputs) for x in raws]
    return judge_admitted(admitted, key=key, random_bytes=random_bytes)


def verify_updates(
    raws: Sequence[bytes], *, key: VerifyingKey, inputs: UpdateInputs, random_bytes: RandomBytes
) -> list[Verdict]:
    """The verdict on each `UpdateEnvelope` about one public model, all under one key.

    cost  : as `verify_batch`
    holds : the statement names D, a commitment to a model W; the equations are asked of
            D - Com(G; 0), which the verifier computes and which opens to W - G and nothing else
    Raises KeyMismatch when `inputs` are of another circuit than the key's.
    """
    admitted = [
        admit(UpdateEnvelope.decode(x), key=key, public_inputs=inputs, origins=inputs.commitment)
        for x in raws
    ]
    return judge_admitted(admitted, key=key, random_bytes=random_bytes)


def verify_all(
    raws: Sequence[bytes],
    *,
    key: VerifyingKey,
    public_inputs: PublicInputs,
    random_bytes: RandomBytes,
) -> tuple[Verdict, int | None]:
    """VALID when every envelope is; else a fault, and whose it is: the first one's.

    For what counts only as a whole: that others are false too is not asked, so however many are,
    they cost less than twice as much as true ones.
    returns : (verdict, index); no index where all are valid
    cost    : one product of pairings, none when an envelope falls before that; then as `find_false`
    Raises KeyMismatch as `verify_batch` does.
    """
    claims = []
    for index, raw in enumerate(raws):
        admitted = admit(Envelope.decode(raw), key=key, public_inputs=public_inputs)
        if isinstance(admitted, Verdict):
            return admitted, index
        claims.append(admitted)
    return judge_whole(claims, key=key, random_bytes=random_bytes)


def admit(
    envelope: AnyEnvelope[S] | None,
    *,
    key: VerifyingKey,
    public_inputs: Callable[[S, list[int]], PublicWires | None],
    origins: G1Array | None = None,
) -> Claim | Verdict:
    """Everything before the pairings: statement, challenges, public wires.

    envelope : None for bytes that are none
    origins  : what is subtracted from the statement's commitments, one for each linked group
    """
    if envelope is None:
        return Verdict.MALFORMED
    statement = envelope.statement
    if statement.verifying_key_digest != key.digest:
        return Verdict.WRONG_KEY
    if len(statement.commitments) != key.n_linked:
        return Verdict.WRONG_STATEMENT
    commitments = decode_g1(b"".join(statement.commitments), key.n_linked, power=power_fp)
    if isinstance(commitments, Refused):
        return FAULTS[commitments.fault]
    if origins is not None:
        commitments = add_g1(commitments, neg_g1(origins))
    proof = Proof.decode(envelope.proof)
    if isinstance(proof, Verdict):
        return proof
    if not _fits_groups(proof, key):
        return Verdict.MALFORMED
    challenges = compute_challenges(
        statement.encode(), committed=envelope.committed, n_challenges=key.n_challenges
    )
    public = public_inputs(statement, challenges)
    if public is None:
        return Verdict.WRONG_STATEMENT
    if public.shape != (key.n_public,):
        raise KeyMismatch(f"public inputs of shape {list(public.shape)}, a key for {key.n_public}")
    return Claim(public=public, commitments=commitments, proof=proof)


def judge_admitted(
    admitted: Sequence[Claim | Verdict], *, key: VerifyingKey, random_bytes: RandomBytes
) -> list[Verdict]:
    """Verdicts as they are; of claims, whether they hold."""
    claims = [a for a in admitted if isinstance(a, Claim)]
    outcomes = iter(judge(claims, key=key, random_bytes=random_bytes))
    return [
        a
        if isinstance(a, Verdict)
        else (Verdict.VALID if next(outcomes) else Verdict.PAIRING_FAILED)
        for a in admitted
    ]


def judge(claims: Sequence[Claim], *, key: VerifyingKey, random_bytes: RandomBytes) -> list[bool]:
    """Which claims hold. One product for all; if it fails, each half by itself, fresh weights."""
    if not claims or equations_hold(claims, key=key, random_bytes=random_bytes):
        return [True] * len(claims)
    if len(claims) == 1:
        return [False]
    middle = len(claims) // 2
    return judge(claims[:middle], key=key, random_bytes=random_bytes) + judge(
        claims[middle:], key=key, random_bytes=random_bytes
    )


def judge_whole(
    claims: Sequence[Claim], *, key: VerifyingKey, random_bytes: RandomBytes
) -> tuple[Verdict, int | None]:
    """What `verify_all` says of claims: VALID, or the index of the first that does not hold."""
    if not claims or equations_hold(claims, key=key, random_bytes=random_bytes):
        return Verdict.VALID, None
    return Verdict.PAIRING_FAILED, find_false(claims, key=key, random_bytes=random_bytes)


def find_false(claims: Sequence[Claim], *, key: VerifyingKey, random_bytes: RandomBytes) -> int:
    """The index of the first claim that does not hold, of claims that do not all hold.

    cost  : log2(n) products, of n - 1 claims together
    holds : the first false claim is in the range; where the range's first half holds, it is in
            the second
    """
    first, end = 0, len(claims)
    while end - first > 1:
        middle = (first + end) // 2
        if equations_hold(claims[first:middle], key=key, random_bytes=random_bytes):
            first = middle
        else:
            end = middle
    return first


def equations_hold(
    claims: Sequence[Claim], *, key: VerifyingKey, random_bytes: RandomBytes
) -> bool:
    """All equations of all claims, with probability of error below 2^-127.

    Without advice D_A is infinity in every proof and delta_A in the key: such a pairing is one.
    """
    r = [draw_weight(random_bytes) for _ in claims]
    a, c, d_a = (
        G1Array.concat([getattr(claim.proof, name) for claim in claims])
        for name in ("a", "c", "d_a")
    )
    public = combine_wires([claim.public for claim in claims], r)
    of_one = key.public_bases.sum(FrArray.concat([FrArray.from_ints([sum(r)]), public]))
    links: list[G1Array] = []
    if key.n_linked:
        t = [draw_weight(random_bytes) for _ in claims]
        own, pi = (
            G1Array.concat([getattr(claim.proof, name) for claim in claims])
            for name in ("own", "link")
        )
        of_one = add_g1(of_one, _sum(G1Array.concat([own, neg_g1(pi)]), r + t))
        links = [*_weigh_commitments(claims, key.n_linked, t), _sum(own, t)]
    g1 = [
        neg_g1(mul_g1(FrArray.from_ints(r), a)),
        _sum(key.alpha, [sum(r)]),
        of_one,
        _sum(c, r),
        _sum(d_a, r),
        *links,
    ]
    b = G2Array.concat([claim.proof.b for claim in claims])
    return product_is_one(g1, b, key.fixed_lines)


def _sum(points: G1Array, scalars: Sequence[int]) -> G1Array:
    """sum s_i P_i; of few without buckets, which take longer then."""
    factors = FrArray.from_ints(scalars)
    if len(points) > _FEW:
        return small_msm_g1(factors, points)
    scaled = mul_g1(factors, points)
    return reduce(add_g1, (scaled[i : i + 1] for i in range(len(points))))


def _weigh_commitments(claims: Sequence[Claim], n_linked: int, t: Sequence[int]) -> list[G1Array]:
    """sum t_i D_ig of each linked group."""
    groups = [slice(group, group + 1) for group in range(n_linked)]
    return [_sum(G1Array.concat([c.commitments[at] for c in claims]), t) for at in groups]


def _fits_groups(proof: Proof, key: VerifyingKey) -> bool:
    """Infinity where the circuit has no linked group or no advice, as no equation binds it."""
    has_link = bool(proof.own.data.any() or proof.link.data.any())
    return (key.n_linked > 0 or not has_link) and (key.has_advice or not proof.d_a.data.any())
