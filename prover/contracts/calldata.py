"""Proofs of training as contracts take them (`prover.contracts.verifier`).

    calldata  = selector of verify(statement, proof), 4 bytes | place of the statement | proof
                | statement
    statement = place of the occasion | numbers | x, y of each commitment | occasion
    occasion  = place of the chain id, of the task id | round | commit height | place of the client
                key | each of the three: its length, and its bytes up to a whole word

in words of 32 bytes, big-endian, as the contract ABI of Solidity has them; a place is counted in
bytes from where its list begins. Infinity is (0, 0), of G2 the coefficients of u come first.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernels.array import G1Array
from kernels.encoding import Refused, decode_g1
from prover.errors import FormatError
from prover.wire.envelope import Proof
from prover.wire.statement import Occasion
from prover.wire.training import ExportEnvelope, StepEnvelope, StepStatement
from prover.wire.verdict import Verdict

STEP_SELECTOR = bytes.fromhex("4ef678fa")
EXPORT_SELECTOR = bytes.fromhex("6f3819bc")
"""The first bytes of keccak256 of `verify` with the types of its arguments."""
_WORD = 32
_INFINITY_G2 = ((0, 0), (0, 0))


def encode_call(envelope: StepEnvelope | ExportEnvelope) -> bytes:
    """The calldata of `verify`. Raises FormatError for points that are none."""
    statement = envelope.statement
    commitments = decode_g1(b"".join(statement.commitments), len(statement.commitments))
    proof = Proof.decode(envelope.proof)
    if isinstance(commitments, Refused) or isinstance(proof, Verdict):
        raise FormatError(
            "a point of it is none", where="envelope", next_step="verify it with `zkpot verify`"
        )
    numbers = [statement.step, statement.n_real] if isinstance(statement, StepStatement) else []
    fixed = _join([*numbers, *_list_g1(commitments)])
    occasion = _join([_WORD + len(fixed)]) + fixed + _encode_occasion(statement.occasion)
    points = _join(_list_proof(proof))
    selector = STEP_SELECTOR if numbers else EXPORT_SELECTOR
    return selector + _join([_WORD + len(points)]) + points + occasion


def _list_proof(proof: Proof) -> list[int]:
    (b,) = proof.b.to_ints()
    (x0, x1), (y0, y1) = b or _INFINITY_G2
    head, tail = _list_g1(proof.a), G1Array.concat([proof.c, proof.own, proof.link, proof.d_a])
    return [*head, x1, x0, y1, y0, *_list_g1(tail)]


def _list_g1(points: G1Array) -> list[int]:
    return [number for point in points.to_ints() for number in point or (0, 0)]


def _encode_occasion(occasion: Occasion) -> bytes:
    names = (occasion.chain_id, occasion.task_id, occasion.client_key)
    tails = [_join([len(name)]) + name + bytes(-len(name) % _WORD) for name in names]
    places = [5 * _WORD + sum(map(len, tails[:i])) for i in range(len(tails))]
    numbers = (occasion.round_index, occasion.commit_height)
    return _join([*places[:2], *numbers, places[2]]) + b"".join(tails)


def _join(words: Sequence[int]) -> bytes:
    return b"".join(word.to_bytes(_WORD, "big") for word in words)
