"""Keys of our own by many parties: the first key, honest ceremonies, and keys of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kernels.array import FrArray, G1Array
from kernels.files import write_whole
from prover.ceremony.own.blinders import derive_blinders
from prover.ceremony.own.contribute import Origin
from prover.ceremony.own.finish import require_ceremony
from prover.ceremony.own.record import Transcript
from prover.ceremony.ratios import G1_GENERATOR, G2_GENERATOR
from prover.errors import CeremonyInvalid, FieldInvalid, FormatError
from prover.formats.ptau import read_powers
from prover.groth16.setup import compute_exponents
from prover.groth16.trapdoor import GroupTrapdoor, Trapdoor
from prover.keys.folder import (
    TRANSCRIPT_NAME,
    load_proving_key,
    load_verifying_key,
)
from prover.pedersen.bases import load_bases
from prover.wire.verdict import Verdict
from tests.support.known_powers import ALPHA, BETA, TAU, write_powers
from tests.support.own_ceremonies import (
    LG_N,
    SHARES,
    Ceremony,
    put,
    read_whole,
    require_all,
    save,
    toy_first,
    toy_powers,
)
from tests.support.tiny_circuits import seeded
from tests.support.toy_attacks import GENERATOR_G1, combine
from tests.support.toy_protocol import BACKEND, TOY, prove_toy, verdict_of


def know(*, delta: int, delta_a: int) -> Trapdoor:
    """What powers and shares are of; blinders and the link, which are tested apart, are of one."""
    return Trapdoor(
        tau=TAU,
        alpha=ALPHA,
        beta=BETA,
        delta=delta,
        delta_a=delta_a,
        eta_a=1,
        eta=1,
        k2=1,
        groups=(GroupTrapdoor(eta=1, k1=1),),
    )


# -- the first key ---------------------------------------------------------------------------------


def test_the_first_key_is_that_of_a_setup_with_these_powers() -> None:
    """Point by point, as `compute_exponents` has them in the exponent; blinders are hashes."""
    wanted = compute_exponents(TOY.r1cs, know(delta=1, delta_a=1), BACKEND)
    found = toy_first()
    for name in ("a_wires", "b_wires", "c_wires"):
        assert (wanted.wires[name] == found.arrays[name]).all()

    def points(exponents: FrArray) -> G1Array:
        return BACKEND.fixed_base_g1(exponents, G1_GENERATOR)

    for name in ("a", "b1", "c", "h"):
        assert points(wanted.points[name]).equals(found.arrays[name])
    b2 = BACKEND.fixed_base_g2(wanted.points["b2"], G2_GENERATOR)
    assert b2.equals(found.arrays["b2"])
    assert points(wanted.public).equals(found.public)
    eta = derive_blinders(1)
    advice, basis = points(wanted.points["advice"]), points(wanted.points["basis"])
    assert G1Array.concat([advice[:-1], eta[:1]]).equals(found.arrays["advice"])
    assert G1Array.concat([basis[:-2], eta[1:]]).equals(found.arrays["basis"])
    assert found.arrays["correction"].equals(G1Array.concat([G1_GENERATOR, eta]))
    assert not found.arrays["link"].data.any()
    assert len(found.arrays["link"]) == len(found.arrays["basis"])


def test_blinders_are_points_of_their_own() -> None:
    """Of the advice, of each group, of the proof; those of fewer groups are among those of more."""
    of_three = [tuple(point) for point in derive_blinders(3).data]
    assert len(set(of_three)) == 5
    advice, first, proof = [tuple(point) for point in derive_blinders(1).data]
    assert [advice, first, proof] == [of_three[0], of_three[1], of_three[-1]]


def test_powers_that_are_not_prepared_give_the_same_bases(tmp_path: Path) -> None:
    from prover.ceremony.lagrange import compute_prepared
    from prover.progress import silent

    powers, prepared = toy_powers()
    computed = compute_prepared(powers, BACKEND, silent)
    assert computed.even is not None
    assert prepared.even is not None
    assert computed.even.equals(prepared.even)
    assert computed.odd.equals(prepared.odd)


def test_powers_of_just_the_rows_are_refused(tmp_path: Path) -> None:
    """The last power of 2n is not there: bases would be no multiples of Z."""
    path = write_powers(tmp_path / "small.ptau", LG_N)
    with pytest.raises(FormatError, match=r"has powers for 2\^4 rows, and the circuit needs 2\^5"):
        read_powers(path, LG_N, doubled=True)


def test_a_wrong_basis_of_even_points_is_named(tmp_path: Path) -> None:
    from prover.ceremony.phase1 import require_powers

    powers, prepared = toy_powers()
    assert prepared.even is not None
    even = G1Array(put(3, prepared.even[:1])(prepared.even.data))
    altered = replace(powers, prepared=replace(prepared, even=even))
    with pytest.raises(FormatError, match="section 12"):
        require_powers(altered, BACKEND, seeded(1))


# -- a whole ceremony ------------------------------------------------------------------------------


def test_a_key_of_a_ceremony_proves_and_verifies(honest: Ceremony, tmp_path: Path) -> None:
    require_all(honest)
    save(honest, tmp_path)
    verifying = load_verifying_key(tmp_path)
    transcript = require_ceremony(tmp_path, verifying, BACKEND)
    assert transcript.encode() == honest.transcript.encode()
    assert verifying.ceremony_digest == transcript.digest
    key = load_proving_key(tmp_path, verifying)
    run = prove_toy(random_bytes=seeded(5), key=key)
    assert verdict_of(run.envelope, verifying) is Verdict.VALID
    other = prove_toy(random_bytes=seeded(5))
    assert verdict_of(other.envelope, verifying) is not Verdict.VALID


def test_the_key_is_that_of_the_product_of_all_shares(begun: Ceremony) -> None:
    """Two crafted contributions, and a setup that knows everything: the same points."""
    begun.craft(SHARES)
    begun.craft(SHARES)
    delta, delta_a = 9, 25
    k1, k2 = 7 + 7, 11 + 11  # shares of the link add up
    wanted = compute_exponents(TOY.r1cs, know(delta=delta, delta_a=delta_a), BACKEND)
    for name in ("a", "b1", "c", "h"):
        expected = BACKEND.fixed_base_g1(wanted.points[name], G1_GENERATOR)
        assert (read_whole(begun.last, name) == expected.data).all()
    anchors = begun.transcript.anchors
    g2 = [delta, delta_a, k1, k2]
    expected_g2 = BACKEND.fixed_base_g2(FrArray.from_ints(g2), G2_GENERATOR)
    assert anchors.points.equals(expected_g2)
    basis = G1Array(read_whole(begun.last, "basis"))
    h, nothing = load_bases(2), G1Array.zeros(1)
    hashed = G1Array.concat([h[1:], h[:1], nothing])
    link = [combine([k1, k2], [hashed[i : i + 1], basis[i : i + 1]]) for i in range(4)]
    assert (read_whole(begun.last, "link") == G1Array.concat(link).data).all()
    require_all(begun)


def test_a_transcript_has_one_encoding(honest: Ceremony) -> None:
    raw = honest.transcript.encode()
    assert Transcript.decode(raw).encode() == raw
    for cut in (raw[:-1], raw + b"\0", raw[:40], b""):
        with pytest.raises(FormatError):
            Transcript.decode(cut)


# -- keys and their ceremonies ---------------------------------------------------------------------


def test_a_key_without_its_ceremony_is_refused(honest: Ceremony, tmp_path: Path) -> None:
    save(honest, tmp_path)
    key = load_verifying_key(tmp_path)
    alone = replace(key, ceremony_digest=bytes(32))
    with pytest.raises(CeremonyInvalid, match="one party's setup"):
        require_ceremony(tmp_path, alone, BACKEND)
    moved = replace(key, alpha=GENERATOR_G1)
    with pytest.raises(CeremonyInvalid, match="leads to another key"):
        require_ceremony(tmp_path, moved, BACKEND)
    shorter = replace(honest.transcript, contributions=honest.transcript.contributions[:2])
    write_whole(tmp_path / TRANSCRIPT_NAME, [shorter.encode()])
    with pytest.raises(CeremonyInvalid, match="is not the one that the key names"):
        require_ceremony(tmp_path, key, BACKEND)
    (tmp_path / TRANSCRIPT_NAME).unlink()
    with pytest.raises(FormatError, match="is not there"):
        require_ceremony(tmp_path, key, BACKEND)


def test_shares_are_not_shown() -> None:
    assert not any(str(x) in repr(SHARES) for x in (3, 5, 7, 11))


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "x" * 65},
        {"name": "\x1b[2J"},
        {"beacon": bytes(256)},
        {"beacon": b"x", "exponent": 9},
    ],
)
def test_origins_that_no_record_can_have(settings: dict[str, object]) -> None:
    with pytest.raises(FieldInvalid):
        Origin(**settings)  # type: ignore[arg-type]
