"""Ceremonies of keys with several linked groups: one k2, a k1 and a blinder of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kernels.array import FrArray, G1Array
from kernels.bn254 import G2, R
from kernels.reference import mul_g2
from prover.ceremony.own import check
from prover.ceremony.own import contribute as contributing
from prover.ceremony.own.check import require_secret
from prover.ceremony.own.finish import make_verifying
from prover.ceremony.own.record import Anchors
from prover.ceremony.own.shares import Shares, apply
from prover.errors import CeremonyInvalid
from prover.groth16.commitment import Opening, commit_advice, link_groups
from prover.groth16.prove import compute_points
from prover.groth16.verify import Claim, equations_hold
from prover.keys import streamed
from prover.keys.halves import ProvingKey
from prover.keys.proving_file import read_proving_half
from prover.pedersen.bases import load_bases
from prover.pedersen.commitment import Committer
from prover.wire.envelope import Proof
from tests.support.own_ceremonies import Ceremony, edit_state, put, read_whole, require_all
from tests.support.tiny_circuits import build_r1cs, is_satisfied, seeded
from tests.support.toy_attacks import GENERATOR_G1, combine
from tests.support.toy_protocol import BACKEND

CIRCUIT = build_r1cs(
    [
        ({2: 1}, {3: 1}, {1: 1}),
        ({4: 1}, {5: 1}, {6: 1}),
        ({6: 1}, {2: 1}, {7: 1}),
        ({1: 1}, {}, {}),
        *[({0: 1}, {0: 1}, {0: 1})] * 5,  # as many rows as the powers are for
    ],
    n_public=1,
    linked=(1, 3),
    n_advice=1,
    n_private=1,
)
WIRES = [1, 21, 3, 7, 5, 2, 10, 30]
OURS = Shares(delta=3, delta_a=5, k1=(7, 13), k2=11)


def prove(key: ProvingKey, wires: list[int]) -> Claim:
    z = FrArray.from_ints(wires)
    openings = [Opening(wires=z[of], rho=40 + i) for i, of in enumerate(key.linked_groups)]
    linked = link_groups(key, openings, 43, BACKEND)
    d_a = commit_advice(key, z[key.advice_wires], 47, BACKEND)
    points = compute_points(
        key,
        CIRCUIT,
        BACKEND.to_mont(z),
        blindings=linked.blindings,
        rho_a=47,
        random_bytes=seeded(6),
        backend=BACKEND,
    )
    proof = Proof(a=points.a, b=points.b, c=points.c, own=linked.own, link=linked.link, d_a=d_a)
    d = [Committer(len(o.wires), BACKEND).commit(o.wires, o.rho) for o in openings]
    return Claim(public=z[1:2], commitments=G1Array.concat(d), proof=proof)


def test_a_key_of_two_groups_proves_and_verifies(tmp_path: Path) -> None:
    made = Ceremony(tmp_path, r1cs=CIRCUIT)
    made.contribute(1)
    made.craft(OURS)
    require_all(made)
    verifying = make_verifying(made.transcript, bytes(32))
    key = read_proving_half(made.last.path, verifying)
    assert (key.linked, verifying.n_linked) == ((1, 3), 2)
    assert is_satisfied(CIRCUIT, WIRES)
    for wires, holds in ((WIRES, True), ([*WIRES[:-1], 31], False)):
        claim = prove(key, wires)
        assert equations_hold([claim], key=verifying, random_bytes=seeded(7)) is holds


def test_shares_of_a_link_add_up_by_groups(tmp_path: Path) -> None:
    made = Ceremony(tmp_path, r1cs=CIRCUIT)
    for _ in range(2):
        made.craft(OURS)
    links = made.transcript.anchors.links
    assert links.to_ints() == [mul_g2(2 * k, G2) for k in (7, 13, 11)]
    basis, h = G1Array(read_whole(made.last, "basis")), load_bases(3)
    hashed = [(7, 1), (13, 1), (13, 2), (13, 3), (7, 0), (13, 0)]  # k1 of the group, index of h
    expected = [
        combine([2 * k1, 22], [h[i : i + 1], basis[at : at + 1]])
        for at, (k1, i) in enumerate(hashed)
    ]
    expected.append(combine([22], [basis[6:7]]))
    assert (read_whole(made.last, "link") == G1Array.concat(expected).data).all()


def test_each_base_of_a_link_is_compared(tmp_path: Path) -> None:
    """Any one of them, two groups' blinders changed round, and k1 of one in the other."""
    honest = Ceremony(tmp_path, r1cs=CIRCUIT)
    honest.contribute(1)
    k1_h = combine([R - 7, 13], [load_bases(1)[1:]] * 2)  # what the second group's has more

    def move(words: object) -> object:
        moved = combine([1, 1], [G1Array(words[:1]), k1_h])  # type: ignore[index]
        return put(0, moved)(words)

    edits = [put(at, GENERATOR_G1) for at in range(7)]
    edits += [lambda words: words[[0, 1, 2, 3, 5, 4, 6]], move]
    for edit in edits:
        ceremony = honest.fork()
        ceremony.craft(OURS, edit_state("link", edit))
        with pytest.raises(CeremonyInvalid, match="link is not"):
            require_all(ceremony)


def test_pieces_of_a_state_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written and compared in pieces that end within groups, and each of another length."""

    def contribute() -> Ceremony:
        made = Ceremony(tmp_path, r1cs=CIRCUIT)
        made.contribute(1)
        made.craft(OURS)
        require_all(made)
        return made

    whole = contribute().last.digest
    for module, name, n in (
        (streamed, "PIECE", 3),
        (check, "PIECE", 2),
        (contributing, "_SLICE", 2),
    ):
        monkeypatch.setattr(module, name, n)
    made = contribute()
    assert made.last.digest == whole
    for name, at in (("link", 3), ("link", 6), ("basis", 2), ("h", -1), ("advice", -1), ("c", 3)):
        other = made.fork()
        other.craft(OURS, edit_state(name, put(at, GENERATOR_G1)))
        with pytest.raises(CeremonyInvalid):
            require_all(other)


# -- secrets that are one --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"k1": (7, 7)},
        {"k1": (7, R - 7)},
        {"k1": (11, 13)},
        {"k1": (7, R - 11)},
        {"k1": (3, 13)},
        {"k1": (7, 5)},
        {"k1": (1, 13)},
        {"k2": R - 1},
    ],
)
def test_secrets_that_are_one_or_opposite_are_refused(changes: dict[str, object]) -> None:
    shares = replace(OURS, **changes)  # type: ignore[arg-type]
    with pytest.raises(CeremonyInvalid, match=r"not secrets of their own: anybody can forge"):
        require_secret(apply(shares, Anchors.first(2), BACKEND))
    require_secret(apply(OURS, Anchors.first(2), BACKEND))


def claim_more(claim: Claim, key: ProvingKey, sign: int) -> Claim:
    """A count that is 5 greater: of k1 = k2 or -k2, 5 [K_count] goes from D' to D."""
    count, p, d = key.verifying.public[1:2], claim.proof, claim.commitments
    moved = combine([1, 5 * sign % R], [d[:1], count])
    return replace(
        claim,
        public=FrArray.from_ints([WIRES[1] + 5]),
        commitments=G1Array.concat([moved, d[1:]]),
        proof=replace(p, own=combine([1, R - 5], [p.own, count])),
    )


def commit_to_others(claim: Claim, key: ProvingKey, sign: int) -> Claim:
    """Other wires: of k1 in common, or opposite, what one commitment has more the other makes up
    for.
    """
    d, h_1 = claim.commitments, load_bases(1)[1:]
    moved = [combine([1, by % R], [d[i : i + 1], h_1]) for i, by in enumerate((5, -5 * sign))]
    return replace(claim, commitments=G1Array.concat(moved))


@pytest.mark.parametrize(
    ("k1", "forge", "sign"),
    [
        ((11, 13), claim_more, 1),
        ((R - 11, 13), claim_more, -1),
        ((7, 7), commit_to_others, 1),
        ((7, R - 7), commit_to_others, -1),
    ],
)
def test_secrets_that_are_one_or_opposite_forge(
    k1: tuple[int, int], forge: Callable[[Claim, ProvingKey, int], Claim], sign: int, tmp_path: Path
) -> None:
    """Nobody who forges knows a secret; under a key of other shares the same is refused."""
    for shares, is_accepted in ((replace(OURS, k1=k1), True), (OURS, False)):
        made = Ceremony(tmp_path, r1cs=CIRCUIT)
        made.craft(shares)
        verifying = make_verifying(made.transcript, bytes(32))
        key = read_proving_half(made.last.path, verifying)
        claim = prove(key, WIRES)
        assert equations_hold([claim], key=verifying, random_bytes=seeded(7))
        forged = forge(claim, key, sign)
        assert equations_hold([forged], key=verifying, random_bytes=seeded(7)) == is_accepted
