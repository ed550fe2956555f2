"""Forged proofs under keys of ceremonies: each passes where a contributor's defence is taken away.

What verifiers of a ceremony refuse is in `tests/unit/prover/ceremony/test_own.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernels.array import FrArray, G1Array
from kernels.bn254 import R
from prover.ceremony.own.check import require_secret
from prover.ceremony.own.finish import make_verifying
from prover.errors import CeremonyInvalid
from prover.groth16.commitment import Linked, Opening, commit_advice, link_groups
from prover.keys.halves import ProvingKey
from prover.keys.proving_file import read_proving_half
from prover.pedersen.bases import load_bases
from prover.wire.envelope import Envelope, Proof
from prover.wire.verdict import Verdict
from tests.support.own_ceremonies import SHARES, Ceremony, edit_state, put, read_whole
from tests.support.toy_attacks import GENERATOR_G1, claim_of, combine, finish, statement_point
from tests.support.toy_protocol import BACKEND, TOY, commit_toy, verdict_of

RHO, BLINDING, RHO_A = 41, 43, 47
COMMITTED, OTHER = (0, 1), (1, 1)


@pytest.fixture
def ceremony(tmp_path: Path) -> Ceremony:
    """An honest contribution, and one of SHARES, which the attacker knows."""
    made = Ceremony(tmp_path)
    made.contribute(1)
    made.craft(SHARES)
    return made


def key_of(ceremony: Ceremony) -> ProvingKey:
    return read_proving_half(ceremony.last.path, make_verifying(ceremony.transcript, bytes(32)))


def link_toy(key: ProvingKey, model: Sequence[int]) -> Linked:
    opening = Opening(wires=FrArray.from_ints(list(model)), rho=RHO)
    return link_groups(key, [opening], BLINDING, BACKEND)


def prove_other(key: ProvingKey, linked: Linked) -> bytes:
    """A proof about OTHER, under the commitment to COMMITTED."""
    advice = TOY.solve_advice(OTHER)
    return finish(
        key,
        model=OTHER,
        advice=advice,
        d_w=commit_toy(COMMITTED, RHO),
        linked=linked,
        d_a=commit_advice(key, FrArray.from_ints(advice), RHO_A, BACKEND),
        rho_a=RHO_A,
        claimed=sum(advice),
    )


def test_halves_of_all_shares_link_any_two_vectors(tmp_path: Path) -> None:
    """Why no contributor publishes k1 h_i and k2 [K_i] apart: of all contributors, they forge."""
    made = Ceremony(tmp_path)
    made.craft(SHARES)
    key, (k1,) = key_of(made), SHARES.k1
    basis, h = key.basis, load_bases(2)
    assert isinstance(basis, G1Array)
    hashed = G1Array.concat([combine([k1], [h[i : i + 1]]) for i in (1, 2, 0)])
    own = G1Array.concat([combine([SHARES.k2], [basis[i : i + 1]]) for i in range(4)])
    pi = combine([*COMMITTED, RHO, *OTHER, RHO, BLINDING], [hashed, own])
    linked = replace(link_toy(key, OTHER), link=pi)
    assert verdict_of(prove_other(key, linked), key.verifying) is Verdict.VALID


def test_halves_of_some_shares_link_no_two_vectors(ceremony: Ceremony) -> None:
    """An attacker that knows all shares but one contributor's replaces its own part of pi."""
    key, (k1,), h = key_of(ceremony), SHARES.k1, load_bases(2)
    honest = link_toy(key, OTHER)
    difference = [a - b for a, b in zip(COMMITTED, OTHER, strict=True)]
    changes = combine([k1 * x % R for x in difference], [h[1:3]])
    pi = combine([1, 1], [honest.link, changes])
    for forged in (replace(honest, link=pi), honest, link_toy(key, COMMITTED)):
        raw = prove_other(key, replace(honest, link=forged.link))
        assert verdict_of(raw, key.verifying) is Verdict.PAIRING_FAILED


def test_a_blind_contributor_lets_committed_wires_change_in_c(tmp_path: Path) -> None:
    """K_i/delta of a committed wire, by a contributor that verifies nothing: a proof about OTHER
    whose D' and pi are those of COMMITTED. Ours refuses the state.

    The attacker contributes first, and puts K_i into a place of C whose point follows from others.
    Afterwards it puts that point back: the key is that of the honest ceremony, and this one's.
    """
    assert OTHER[0] - COMMITTED[0] == 1
    first = G1Array(read_whole(Ceremony(tmp_path).first, "basis")[:1])  # K of that wire
    baited = Ceremony(tmp_path / "baited")
    baited.craft(SHARES, edit_state("c", put(0, first)))
    with pytest.raises(CeremonyInvalid, match="C query"):
        baited.fork().contribute(2)
    baited.craft(SHARES)  # what a contributor does that does not look
    of_victim = G1Array(read_whole(baited.last, "c")[:1])
    leaked = combine([pow(SHARES.delta, -1, R)], [of_victim])

    clean = Ceremony(tmp_path / "clean")
    clean.craft(SHARES)
    clean.craft(SHARES)
    key = key_of(clean)
    raw = prove_other(key, link_toy(key, COMMITTED))
    assert verdict_of(raw, key.verifying) is Verdict.PAIRING_FAILED
    c = combine([1, 1], [claim_of(raw, key.verifying).proof.c, leaked])
    assert verdict_of(with_points(raw, c=c), key.verifying) is Verdict.VALID


def test_a_delta_of_one_forges(tmp_path: Path) -> None:
    """Of shares that multiply to one, which `require_secret` refuses: C cancels whatever there is.

    A = alpha, B = beta, D_A = [1] and C = -(X + D' + delta_A D_A) for any claim.
    """
    made = Ceremony(tmp_path)
    made.craft(replace(SHARES, delta=1))
    with pytest.raises(CeremonyInvalid, match="anybody can forge"):
        require_secret(made.transcript.anchors)
    key = key_of(made)
    verifying, linked = key.verifying, link_toy(key, COMMITTED)
    raw = prove_other(key, linked)
    raw = with_points(raw, a=verifying.alpha, b=verifying.beta, d_a=GENERATOR_G1)
    x = statement_point(claim_of(raw, verifying), verifying)
    c = combine([R - 1, R - 1, R - SHARES.delta_a], [x, linked.own, GENERATOR_G1])
    assert verdict_of(with_points(raw, c=c), verifying) is Verdict.VALID


def with_points(raw: bytes, **points: Any) -> bytes:
    """The envelope with some points of its proof replaced."""
    envelope = Envelope.decode(raw)
    assert envelope is not None
    proof = Proof.decode(envelope.proof)
    assert isinstance(proof, Proof)
    return replace(envelope, proof=replace(proof, **points).encode()).encode()
