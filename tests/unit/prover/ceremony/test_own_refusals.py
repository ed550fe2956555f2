"""Ceremonies of keys of our own that do not hold: transcripts, states, and bait."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import R
from prover.ceremony.own.check import (
    require_chain,
    require_contributors,
    require_secret,
)
from prover.ceremony.own.contribute import write_state
from prover.ceremony.own.record import Anchors, Transcript
from prover.ceremony.own.shares import Shares, apply
from prover.ceremony.own.state import open_state
from prover.errors import CeremonyInvalid, FormatError
from tests.support.own_ceremonies import (
    BEACON,
    SHARES,
    Ceremony,
    edit_state,
    put,
    read_whole,
    require_all,
    rewrite,
    swap_contributions,
)
from tests.support.tiny_circuits import seeded
from tests.support.toy_attacks import GENERATOR_G1
from tests.support.toy_protocol import BACKEND, TOY

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
        "links": G2Array(change.links.data[[1, 0]]),
    }
    forged = replace(one, change=replace(change, **{name: edited[name]}))
    transcript = replace(honest.transcript, contributions=(*before, forged))
    with pytest.raises(CeremonyInvalid, match=r"contribution 2 .* does not prove"):
        require_chain(transcript, BACKEND)


def test_what_was_before_cannot_be_thrown_away(honest: Ceremony) -> None:
    """A last contributor that replaces all secrets by its own knows no share of what was there."""
    from prover.ceremony.own.shares import prove

    before = honest.transcript
    alone = apply(SHARES, Anchors.first(1), BACKEND)
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
        k1=(1,),
        k2=1,
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
        require_secret(apply(shares, Anchors.first(1), BACKEND))
    require_secret(apply(SHARES, Anchors.first(1), BACKEND))


def test_links_that_cancel_have_no_encoding(begun: Ceremony) -> None:
    """k1 and k2 of all contributors add up to nothing: infinity, which no record may have."""
    begun.craft(SHARES)
    back = Shares(delta=2, delta_a=2, k1=(R - 7,), k2=R - 11)
    begun.craft(back)
    raw = begun.transcript.encode()
    with pytest.raises(FormatError, match="identity"):
        Transcript.decode(raw)
    with pytest.raises(CeremonyInvalid, match="a link has no secret"):
        require_secret(begun.transcript.anchors)


# -- states that do not hold -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "index", "words"),
    [
        ("a", 0, "A query"),
        ("a", -1, "delta"),
        ("b1", -2, "B query in G1"),
        ("b1", -1, "delta"),
        ("c", 0, "C query"),
        ("h", 5, "quotient query"),
        ("advice", 0, "advice basis"),
        ("advice", -1, "advice basis"),
        ("correction", 0, "delta"),
        ("correction", 1, "corrections"),
        ("correction", 2, "corrections"),
        ("correction", 3, "corrections"),
        ("basis", 0, "linked basis"),
        ("basis", -2, "linked basis"),
        ("basis", -1, "linked basis"),
        ("link", 1, "link"),
        ("link", -2, "link"),
        ("link", -1, "link"),
    ],
)
def test_one_point_that_is_another_is_named(
    honest: Ceremony, name: str, index: int, words: str
) -> None:
    """The contributor proves its shares and names the altered file; the points tell."""
    ceremony = honest.fork()
    ceremony.craft(SHARES, edit_state(name, put(index, GENERATOR_G1)))
    require_chain(ceremony.transcript, BACKEND)
    with pytest.raises(CeremonyInvalid, match=words):
        require_all(ceremony)


def test_a_point_off_the_curve_is_named(honest: Ceremony) -> None:
    ceremony = honest.fork()
    off = G1Array(GENERATOR_G1.data + 1)
    ceremony.craft(SHARES, edit_state("h", put(2, off)))
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

    ceremony.craft(SHARES, edit_state("correction", divide))
    with pytest.raises(CeremonyInvalid, match="corrections"):
        require_all(ceremony)


def test_a_link_to_other_wires_is_refused(honest: Ceremony) -> None:
    """The bases of two wires changed round: in the link alone, and with those of the key."""

    def change_round(words: G1Array) -> G1Array:
        return words[[1, 0, *range(2, len(words))]]

    alone = honest.fork()
    alone.craft(SHARES, edit_state("link", change_round))
    with pytest.raises(CeremonyInvalid, match="link"):
        require_all(alone)
    both = honest.fork()
    both.craft(
        SHARES,
        lambda state, path: rewrite(state, path, {"link": change_round, "basis": change_round}),
    )
    with pytest.raises(CeremonyInvalid, match="linked basis"):
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
    basis = G1Array(read_whole(begun.last, "basis")[:1])
    right = G1Array(read_whole(begun.last, "c")[:1])
    attacker = begun.fork()
    attacker.craft(SHARES, edit_state("c", put(0, basis)))

    blind = attacker.fork()
    blind.craft(SHARES)
    leaked = G1Array(read_whole(blind.last, "c")[:1])
    d = FrArray.from_ints([SHARES.delta])
    assert BACKEND.msm_g1(d, leaked).equals(basis)  # K_i over the victim's share
    restored = BACKEND.msm_g1(FrArray.from_ints([pow(9, -1, R)]), right)
    path = blind.new_path()
    rewrite(blind.last, path, {"c": put(0, restored)})
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
    attacker.craft(SHARES, edit_state("basis", put(0, nothing)))
    with pytest.raises(CeremonyInvalid, match="linked basis"):
        attacker.contribute(2)


def test_a_state_in_files_is_that_of_the_shares(begun: Ceremony) -> None:
    """`write_state` is a function of state and shares: no randomness of its own."""
    after = apply(SHARES, begun.transcript.anchors, BACKEND)
    digests = {write_state(begun.first, SHARES, after, begun.new_path(), BACKEND) for _ in range(2)}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("name", "index"),
    [("c", 0), ("h", 3), ("advice", 1), ("correction", 1), ("basis", 0)],
)
def test_a_first_key_off_the_curve_meets_no_secret(begun: Ceremony, name: str, index: int) -> None:
    """Its points are a stranger's, and the first contributor has no state to compare them with."""
    begun.begin_with(name, put(index, G1Array(GENERATOR_G1.data + 1)))
    with pytest.raises(CeremonyInvalid, match="of the first key has a point"):
        begun.contribute(1)
    assert begun.transcript.contributions == ()


def test_a_first_key_of_other_groups_meets_no_secret(begun: Ceremony) -> None:
    head = replace(begun.transcript.head, n_linked=2)
    begun.transcript = Transcript(head=head, contributions=())
    with pytest.raises(CeremonyInvalid, match="not the linked groups that the transcript tells"):
        begun.contribute(1)


@pytest.mark.parametrize("name", ["c", "h"])
def test_an_empty_query_gets_a_verdict(begun: Ceremony, name: str) -> None:
    """As one contributes; that it is not the circuit's shows when the first key is made again."""
    begun.begin_with(name, lambda words: words[:0])
    begun.contribute(1)
    require_all(begun)
