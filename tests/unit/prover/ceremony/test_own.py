"""Keys of our own by many parties: honest ceremonies, and what is refused and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import R
from kernels.files import write_whole
from prover.ceremony.own.blinders import derive_blinders
from prover.ceremony.own.check import (
    require_chain,
    require_contributors,
    require_secret,
    require_state,
)
from prover.ceremony.own.contribute import Origin, write_state
from prover.ceremony.own.finish import make_verifying, require_ceremony
from prover.ceremony.own.record import Anchors, Transcript
from prover.ceremony.own.shares import LinkShare, Shares, apply
from prover.ceremony.own.state import open_state
from prover.ceremony.ratios import G1_GENERATOR, G2_GENERATOR
from prover.errors import CeremonyInvalid, FieldInvalid, FormatError
from prover.formats.ptau import read_powers
from prover.groth16.setup import compute_exponents
from prover.groth16.trapdoor import LinkTrapdoor, Trapdoor
from prover.keys.folder import (
    PROVING_NAME,
    TRANSCRIPT_NAME,
    VERIFYING_NAME,
    load_proving_key,
    load_verifying_key,
)
from prover.wire.verdict import Verdict
from tests.support.known_powers import ALPHA, BETA, TAU, write_powers
from tests.support.own_ceremonies import (
    BEACON,
    LG_N,
    Ceremony,
    edit_state,
    put,
    read_whole,
    rewrite,
    swap_contributions,
    toy_first,
    toy_powers,
)
from tests.support.tiny_circuits import seeded
from tests.support.toy_attacks import GENERATOR_G1
from tests.support.toy_protocol import BACKEND, TOY, prove_toy, verdict_of

SHARES = Shares(delta=3, delta_a=5, links=(LinkShare(k1=7, k2=11, a=13),))


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Ceremony:
    """Two contributions and a beacon. Tests go on from a fork of it."""
    ceremony = Ceremony(tmp_path_factory.mktemp("ceremony"))
    ceremony.contribute(1)
    ceremony.contribute(2)
    ceremony.contribute(3, BEACON)
    return ceremony


@pytest.fixture
def begun(tmp_path: Path) -> Ceremony:
    return Ceremony(tmp_path)


def require_all(ceremony: Ceremony) -> None:
    """What everybody verifies."""
    require_contributors(ceremony.transcript)
    require_secret(require_chain(ceremony.transcript, BACKEND))
    require_state(
        ceremony.first,
        ceremony.last,
        ceremony.transcript,
        random_bytes=seeded(9),
        backend=BACKEND,
    )


def save(ceremony: Ceremony, folder: Path) -> None:
    key = make_verifying(ceremony.transcript, bytes(32))
    write_whole(folder / PROVING_NAME, [ceremony.last.path.read_bytes()])
    write_whole(folder / TRANSCRIPT_NAME, [ceremony.transcript.encode()])
    write_whole(folder / VERIFYING_NAME, [key.encode()])


# -- the first key ---------------------------------------------------------------------------------


def test_the_first_key_is_that_of_a_setup_with_these_powers() -> None:
    """Point by point, as `compute_exponents` has them in the exponent; blinders are hashes."""
    link = LinkTrapdoor(eta=1, k1=1, k2=1, a=1)
    trapdoor = Trapdoor(
        tau=TAU, alpha=ALPHA, beta=BETA, gamma=1, delta=1, delta_a=1, eta_a=1, links=(link,)
    )
    wanted = compute_exponents(TOY.r1cs, trapdoor, BACKEND)
    found = toy_first()
    for name in ("a_wires", "b_wires", "c_wires"):
        assert (wanted.wires[name] == found.arrays[None, name]).all()

    def points(exponents: FrArray) -> G1Array:
        return BACKEND.fixed_base_g1(exponents, G1_GENERATOR)

    for name in ("a", "b1", "c", "h"):
        assert points(wanted.points[name]).equals(found.arrays[None, name])
    b2 = BACKEND.fixed_base_g2(wanted.points["b2"], G2_GENERATOR)
    assert b2.equals(found.arrays[None, "b2"])
    assert points(wanted.public).equals(found.public)
    eta = derive_blinders(1)
    advice, basis = points(wanted.points["advice"]), points(wanted.groups[0])
    assert G1Array.concat([advice[:-1], eta[:1]]).equals(found.arrays[None, "advice"])
    assert G1Array.concat([basis[:-1], eta[1:]]).equals(found.arrays[0, "basis"])
    assert not found.arrays[0, "link"].data.any()
    assert not eta[:1].equals(eta[1:])


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
    k1, k2 = 7 + 7, 11 + 11  # shares of links add up
    link = LinkTrapdoor(eta=1, k1=k1, k2=k2, a=169)
    trapdoor = Trapdoor(
        tau=TAU,
        alpha=ALPHA,
        beta=BETA,
        gamma=1,
        delta=delta,
        delta_a=delta_a,
        eta_a=1,
        links=(link,),
    )
    wanted = compute_exponents(TOY.r1cs, trapdoor, BACKEND)
    for name in ("a", "b1", "c", "h"):
        expected = BACKEND.fixed_base_g1(wanted.points[name], G1_GENERATOR)
        assert (read_whole(begun.last, name) == expected.data).all()
    anchors = begun.transcript.anchors
    g2 = [delta, delta_a, 169 * k1, 169 * k2, 169]
    expected_g2 = BACKEND.fixed_base_g2(FrArray.from_ints(g2), G2_GENERATOR)
    assert anchors.points.equals(expected_g2)
    require_all(begun)


def test_a_transcript_has_one_encoding(honest: Ceremony) -> None:
    raw = honest.transcript.encode()
    assert Transcript.decode(raw).encode() == raw
    for cut in (raw[:-1], raw + b"\0", raw[:40], b""):
        with pytest.raises(FormatError):
            Transcript.decode(cut)


# -- transcripts that do not hold ------------------------------------------------------------------


def test_reordered_contributions_are_refused(honest: Ceremony) -> None:
    with pytest.raises(CeremonyInvalid, match=r"contribution 1 .* does not prove"):
        require_chain(swap_contributions(honest.transcript), BACKEND)


def test_a_proof_of_knowledge_is_of_one_place(honest: Ceremony, tmp_path: Path) -> None:
    """Replayed: in another ceremony from the same first key, and again in its own."""
    one = honest.transcript.contributions[0]
    other = Ceremony(tmp_path, circuit_digest=bytes(32))
    with pytest.raises(CeremonyInvalid, match="does not prove"):
        require_chain(other.transcript.behind(one), BACKEND)
    own = replace(honest.transcript, contributions=(one,))
    require_chain(own, BACKEND)
    with pytest.raises(CeremonyInvalid, match=r"contribution 2 .* does not prove"):
        require_chain(own.behind(one), BACKEND)


@pytest.mark.parametrize("name", ["name", "state", "delta", "delta_a", "links"])
def test_nothing_of_a_contribution_can_be_changed(honest: Ceremony, name: str) -> None:
    *before, one = honest.fork().transcript.contributions[:2]
    change = one.change
    edited = {
        "name": b"another",
        "state": bytes(32),
        "delta": change.delta_a,
        "delta_a": change.delta,
        "links": G2Array(change.links.data[[1, 0, 2]]),
    }
    forged = replace(one, change=replace(change, **{name: edited[name]}))
    transcript = replace(honest.transcript, contributions=(*before, forged))
    with pytest.raises(CeremonyInvalid, match=r"contribution 2 .* does not prove"):
        require_chain(transcript, BACKEND)


def test_what_was_before_cannot_be_thrown_away(honest: Ceremony) -> None:
    """A last contributor that replaces all secrets by its own knows no share of what was there."""
    from prover.ceremony.own.shares import prove

    before = honest.transcript
    alone = apply(SHARES.preimage, Anchors.first(1), BACKEND)
    change = replace(
        before.contributions[-1].change,
        beacon=b"",
        exponent=0,
        delta=alone.delta,
        delta_a=alone.delta_a,
        links=alone.links,
    )
    for pretended in (before.anchors, Anchors.first(1)):
        forged = prove(SHARES, pretended, change, before.place, seeded(4), BACKEND)
        with pytest.raises(CeremonyInvalid, match=r"contribution 4 .* does not prove"):
            require_chain(before.behind(forged), BACKEND)


def test_a_beacon_draws_its_shares(begun: Ceremony) -> None:
    begun.contribute(1)
    begun.craft(SHARES)
    one = begun.transcript.contributions[-1]
    from prover.ceremony.own.shares import prove

    before = replace(begun.transcript, contributions=begun.transcript.contributions[:1])
    change = replace(one.change, beacon=b"news", exponent=10)
    forged = prove(SHARES, before.anchors, change, before.place, seeded(2), BACKEND)
    with pytest.raises(CeremonyInvalid, match="is not what its beacon draws"):
        require_chain(before.behind(forged), BACKEND)
    with pytest.raises(CeremonyInvalid, match=r"beacon of 2\^10 hashes"):
        require_chain(before.behind(forged), BACKEND, exponent_limit=9)


def test_a_beacon_alone_is_no_ceremony(begun: Ceremony) -> None:
    begun.contribute(1, BEACON)
    with pytest.raises(CeremonyInvalid, match="nobody contributed"):
        require_contributors(begun.transcript)


def test_shares_that_multiply_to_one_are_refused(begun: Ceremony) -> None:
    inverse = Shares(
        delta=pow(3, -1, R),
        delta_a=pow(5, -1, R),
        links=(LinkShare(k1=1, k2=1, a=pow(13, -1, R)),),
    )
    begun.craft(SHARES)
    begun.craft(inverse)
    require_chain(begun.transcript, BACKEND)
    with pytest.raises(CeremonyInvalid, match="anybody can forge"):
        require_secret(begun.transcript.anchors)


@pytest.mark.parametrize(
    ("delta", "delta_a"), [(1, 5), (R - 1, 5), (5, 1), (5, R - 1), (5, 5), (5, R - 5)]
)
def test_secrets_that_everybody_knows_are_refused(delta: int, delta_a: int) -> None:
    shares = replace(SHARES, delta=delta, delta_a=delta_a)
    with pytest.raises(CeremonyInvalid, match="anybody can forge"):
        require_secret(apply(shares.preimage, Anchors.first(1), BACKEND))
    require_secret(apply(SHARES.preimage, Anchors.first(1), BACKEND))


def test_links_that_cancel_have_no_encoding(begun: Ceremony) -> None:
    """k1 and k2 of all contributors add up to nothing: infinity, which no record may have."""
    begun.craft(SHARES)
    back = Shares(delta=2, delta_a=2, links=(LinkShare(k1=R - 7, k2=R - 11, a=1),))
    begun.craft(back)
    raw = begun.transcript.encode()
    with pytest.raises(FormatError, match="identity"):
        Transcript.decode(raw)
    with pytest.raises(CeremonyInvalid, match="a link has no secret"):
        require_secret(begun.transcript.anchors)


# -- states that do not hold -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "group", "index", "words"),
    [
        ("a", None, 0, "A query"),
        ("a", None, -1, "delta"),
        ("b1", None, -2, "B query in G1"),
        ("b1", None, -1, "delta"),
        ("c", None, 0, "C query"),
        ("h", None, 5, "quotient query"),
        ("advice", None, 0, "advice basis"),
        ("advice", None, -1, "advice basis"),
        ("correction", None, 0, "delta"),
        ("correction", None, 1, "corrections"),
        ("correction", None, 2, "corrections"),
        ("basis", 0, 0, "linked basis of linked group 0"),
        ("basis", 0, -1, "linked basis of linked group 0"),
        ("link", 0, 1, "link of linked group 0"),
        ("link", 0, -2, "link of linked group 0"),
        ("link", 0, -1, "link of linked group 0"),
    ],
)
def test_one_point_that_is_another_is_named(
    honest: Ceremony, name: str, group: int | None, index: int, words: str
) -> None:
    """The contributor proves its shares and names the altered file; the points tell."""
    ceremony = honest.fork()
    ceremony.craft(SHARES, edit_state(name, group, put(index, GENERATOR_G1)))
    require_chain(ceremony.transcript, BACKEND)
    with pytest.raises(CeremonyInvalid, match=words):
        require_all(ceremony)


def test_a_point_off_the_curve_is_named(honest: Ceremony) -> None:
    ceremony = honest.fork()
    off = G1Array(GENERATOR_G1.data + 1)
    ceremony.craft(SHARES, edit_state("h", None, put(2, off)))
    with pytest.raises(CeremonyInvalid, match="quotient query has a point that is not on"):
        require_all(ceremony)


def test_a_blinder_over_another_delta_is_refused(honest: Ceremony) -> None:
    """eta/delta divided twice, in one contribution that is by the book otherwise."""
    ceremony = honest.fork()

    def divide(words: G1Array) -> G1Array:
        changed = words.copy()  # type: ignore[attr-defined]
        point = BACKEND.msm_g1(FrArray.from_ints([pow(3, -1, R)]), G1Array(words[2:3]))
        changed[2] = point.data[0]
        return changed

    ceremony.craft(SHARES, edit_state("correction", None, divide))
    with pytest.raises(CeremonyInvalid, match="corrections"):
        require_all(ceremony)


def test_a_link_to_other_wires_is_refused(honest: Ceremony) -> None:
    """The bases of two wires changed round: in the link alone, and with those of the key."""

    def change_round(words: G1Array) -> G1Array:
        return words[[1, 0, *range(2, len(words))]]

    alone = honest.fork()
    alone.craft(SHARES, edit_state("link", 0, change_round))
    with pytest.raises(CeremonyInvalid, match="link of linked group 0"):
        require_all(alone)
    both = honest.fork()
    both.craft(
        SHARES,
        lambda state, path: rewrite(
            state, path, {(0, "link"): change_round, (0, "basis"): change_round}
        ),
    )
    with pytest.raises(CeremonyInvalid, match="linked basis of linked group 0"):
        require_all(both)


def test_another_file_than_the_transcript_names_is_refused(honest: Ceremony) -> None:
    with pytest.raises(FormatError, match="is altered, or of another moment"):
        open_state(honest.first.path, honest.transcript.state)
    ceremony = honest.fork()
    ceremony.last = ceremony.first
    with pytest.raises(CeremonyInvalid, match="is not the one that the last contribution names"):
        require_all(ceremony)
    ceremony = honest.fork()
    ceremony.first = ceremony.last
    with pytest.raises(CeremonyInvalid, match="is not the one that the transcript begins with"):
        require_all(ceremony)


# -- contributors as oracles -----------------------------------------------------------------------


def test_a_contributor_divides_no_foreign_point_by_its_share(begun: Ceremony) -> None:
    """w*_k of a wire that is not private follows from the H query, so its place in C is free for
    X = K_i of a committed wire. A contributor that verifies nothing gives X/d, with which committed
    wires can be changed in C; the right point is put back, and nothing shows. Ours refuses."""
    begun.contribute(1)
    c_wires = begun.last.find("c_wires")
    assert c_wires[0] < TOY.r1cs.private.start  # of a public wire
    basis = G1Array(read_whole(begun.last, "basis", 0)[:1])
    right = G1Array(read_whole(begun.last, "c")[:1])
    attacker = begun.fork()
    attacker.craft(SHARES, edit_state("c", None, put(0, basis)))

    blind = attacker.fork()
    blind.craft(SHARES)
    leaked = G1Array(read_whole(blind.last, "c")[:1])
    d = FrArray.from_ints([SHARES.delta])
    assert BACKEND.msm_g1(d, leaked).equals(basis)  # K_i over the victim's share
    restored = BACKEND.msm_g1(FrArray.from_ints([pow(9, -1, R)]), right)
    path = blind.new_path()
    rewrite(blind.last, path, {(None, "c"): put(0, restored)})
    honest = begun.fork()
    honest.craft(SHARES)
    honest.craft(SHARES)
    assert path.read_bytes() == honest.last.path.read_bytes()  # nothing shows

    victim = attacker.fork()
    with pytest.raises(CeremonyInvalid, match="C query"):
        victim.contribute(2)
    assert victim.transcript is attacker.transcript
    assert not list(begun.folder.glob(f"{id(victim)}-*"))


def test_a_contributor_links_no_foreign_base(begun: Ceremony) -> None:
    """With infinity in place of K_i it would publish k1 h_i alone."""
    begun.contribute(1)
    attacker = begun.fork()
    nothing = G1Array.zeros(1)
    attacker.craft(SHARES, edit_state("basis", 0, put(0, nothing)))
    with pytest.raises(CeremonyInvalid, match="linked basis"):
        attacker.contribute(2)


def test_a_state_in_files_is_that_of_the_shares(begun: Ceremony) -> None:
    """`write_state` is a function of state and shares: no randomness of its own."""
    after = apply(SHARES.preimage, begun.transcript.anchors, BACKEND)
    digests = {write_state(begun.first, SHARES, after, begun.new_path(), BACKEND) for _ in range(2)}
    assert len(digests) == 1


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
    assert not any(str(x) in repr(SHARES) for x in (3, 5, 7, 11, 13))


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
