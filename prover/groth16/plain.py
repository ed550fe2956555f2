"""Verification of plain Groth16, whose circuit the verifier knows nothing of.

It is apart from `prover.groth16.verify`, so that who proves under foreign keys loads no circuits.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernels.array import FrArray, G1Array, G2Array
from kernels.cpu.words.group import neg_g1
from kernels.pairing import PreparedG2, pairing_product_is_one, prepare_g2
from prover.keys.plain import PlainKey
from prover.wire.envelope import Groth16Points
from prover.wire.verdict import Verdict


def verify_plain(key: PlainKey, public: FrArray, points: Groth16Points) -> Verdict:
    """The verdict on a proof of plain Groth16: VALID, PAIRING_FAILED, or WRONG_STATEMENT for
    another number of public inputs.

    points : in their groups, as the readers of `prover.formats` leave them
    One equation asks for no weight, hence for no randomness.
    """
    if public.shape != (key.n_public,):
        return Verdict.WRONG_STATEMENT
    statement = key.public_bases.sum(FrArray.concat([FrArray.from_ints([1]), public]))
    g1 = [neg_g1(points.a), key.alpha, statement, points.c]
    holds = product_is_one(g1, points.b, key.fixed_lines)
    return Verdict.VALID if holds else Verdict.PAIRING_FAILED


def product_is_one(g1: Sequence[G1Array], b: G2Array, fixed: PreparedG2) -> bool:
    """The product of pairings with every B, then with the fixed points of a key, in order."""
    return pairing_product_is_one(G1Array.concat(g1), PreparedG2.concat([prepare_g2(b), fixed]))
