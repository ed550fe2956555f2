"""Votes are what was proven of the head's ledger, and vote through whom their account chose."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from py_ecc.secp256k1 import secp256k1

from tests.support.contracts import Deployed, Reverted, World, keccak256
from tests.support.proposals import find_address, hash_domain, hash_typed
from tests.support.shown_blocks import Leaf, Ledger, Shown, Tree, make_leaf

ALICE, BOB, CAROL = leaves = make_leaf(1, 700), make_leaf(2, 50), make_leaf(3, 4)
NOBODY = "0x" + "00" * 20
STRANGER = make_leaf(99, 0).address


@pytest.fixture
def votes(shown: Shown) -> Deployed:
    shown.show(Ledger.of(*leaves))
    shown.world.wait(10)
    return shown.world.deploy("ZkpotVotes", shown.contract.address)


def prove(world: World, votes: Deployed, ledger: Ledger, *proven: Leaf) -> None:
    proofs = [ledger.prove(leaf) for leaf in proven]
    world.send(votes, "prove", [leaf.words for leaf in proven], proofs)


def ask(world: World, votes: Deployed, name: str, *values: Any) -> int:
    (word,) = world.send(votes, name, *values)
    return word


def count(world: World, votes: Deployed, *clients: Leaf) -> list[int]:
    return [ask(world, votes, "getVotes", client.address) for client in clients]


def test_nobody_has_votes_before_a_proof(world: World, votes: Deployed) -> None:
    assert count(world, votes, *leaves) == [0, 0, 0]
    prove(world, votes, Ledger.of(*leaves), ALICE, CAROL)
    assert count(world, votes, *leaves) == [700, 0, 4]
    assert ask(world, votes, "unitsOf", ALICE.address) == 700
    assert ask(world, votes, "getVotes", STRANGER) == 0


def test_the_clock_is_time(world: World, votes: Deployed) -> None:
    assert ask(world, votes, "clock") == world.time_s
    offset, length, text = world.send(votes, "CLOCK_MODE")
    assert (offset, length, text.to_bytes(32, "big")[:length]) == (32, 14, b"mode=timestamp")


def test_a_second_proof_changes_nothing(world: World, votes: Deployed) -> None:
    prove(world, votes, Ledger.of(*leaves), ALICE)
    world.wait(5)
    prove(world, votes, Ledger.of(*leaves), ALICE, ALICE)
    assert len(world.evm.result.logs) == 0
    assert count(world, votes, ALICE) == [700]


def test_what_was_once_proven_stays_in_the_past(
    world: World, shown: Shown, votes: Deployed
) -> None:
    start = world.time_s
    for weight in (700, 710, 0, 9):  # up, and down
        ledger = Ledger.of(leaf := make_leaf(1, weight), BOB)
        shown.show(ledger)
        prove(world, votes, ledger, leaf)
        assert count(world, votes, ALICE) == [weight]
        world.wait(10)
    times = [start + d for d in (-1, 0, 9, 10, 19, 20, 29, 30, 39)]
    expected = [0, 700, 700, 710, 710, 0, 0, 9, 9]
    assert [ask(world, votes, "getPastVotes", ALICE.address, t) for t in times] == expected
    totals = [ask(world, votes, "getPastTotalSupply", t) for t in times]
    assert totals == [754, 750, 750, 760, 760, 50, 50, 59, 59]
    for name, values in (("getPastVotes", (ALICE.address,)), ("getPastTotalSupply", ())):
        with pytest.raises(Reverted, match="ERC5805FutureLookup"):
            ask(world, votes, name, *values, world.time_s)


def test_a_proof_of_an_old_root_is_refused(world: World, shown: Shown, votes: Deployed) -> None:
    old, new = Ledger.of(*leaves), Ledger.of(make_leaf(1, 699), BOB, CAROL)
    shown.show(new)
    with pytest.raises(Reverted, match="NotInLedger"):
        prove(world, votes, old, ALICE)
    prove(world, votes, new, new.leaves[0])


def test_an_empty_ledger_holds_nothing(world: World, shown: Shown, votes: Deployed) -> None:
    shown.show(Ledger.of())
    for proof in ([], [bytes(32)]):
        with pytest.raises(Reverted, match="NotInLedger"):
            world.send(votes, "prove", [ALICE.words], [proof])
        with pytest.raises(Reverted, match="NotInLedger"):
            world.send(votes, "prove", [(bytes(32), NOBODY, 0, 0)], [proof])


def test_other_leaves_are_refused(world: World, votes: Deployed) -> None:
    ledger = Ledger.of(*leaves)
    key, account, weight, rewards = ALICE.words
    proof = ledger.prove(ALICE)
    for words in (
        (key, account, weight + 1, rewards),
        (key, account, weight, rewards + 1),
        (key, BOB.address, weight, rewards),
        (BOB.client_key, account, weight, rewards),
        (key, account, rewards, weight),
    ):
        with pytest.raises(Reverted, match="NotInLedger"):
            world.send(votes, "prove", [words], [proof])
    for other in ([], proof[1:], proof[:-1], [*proof, proof[0]], proof[::-1], [bytes(32)] * 2):
        if other != proof:
            with pytest.raises(Reverted, match="NotInLedger"):
                world.send(votes, "prove", [ALICE.words], [other])
    with pytest.raises(Reverted, match="LengthMismatch"):
        world.send(votes, "prove", [ALICE.words], [])
    assert count(world, votes, ALICE) == [0]


def test_one_bad_leaf_spoils_all(world: World, votes: Deployed) -> None:
    ledger = Ledger.of(*leaves)
    bad = (CAROL.client_key, CAROL.address, 5, 0)
    with pytest.raises(Reverted, match="NotInLedger"):
        world.send(votes, "prove", [ALICE.words, bad], [ledger.prove(ALICE), ledger.prove(CAROL)])
    assert count(world, votes, ALICE, CAROL) == [0, 0]


def test_leaves_of_another_kind_and_inner_nodes_are_refused(
    world: World, shown: Shown, votes: Deployed
) -> None:
    """Roots of trees that no chain signs: what a proof would be that takes one for the other."""
    raw = ALICE.encode()
    for leaf in (keccak256(raw), raw[:32], keccak256(keccak256(raw[:96]))):  # once, none, fewer
        tree = Tree.build([leaf, BOB.hash()])
        ledger = Ledger((ALICE, BOB), tree)
        shown.show(ledger)
        with pytest.raises(Reverted, match="NotInLedger"):
            world.send(votes, "prove", [ALICE.words], [tree.prove(leaf)])
    # The two children of the root as the first words of a leaf: 64 bytes, where a leaf has 128,
    # and once more hashed.
    ledger = Ledger.of(*leaves)
    shown.show(ledger)
    left, right = sorted(ledger.tree.nodes[1:3])
    words = (left, "0x" + right[12:].hex(), 0, 0)
    for proof in ([], [left], [right]):
        with pytest.raises(Reverted, match="NotInLedger"):
            world.send(votes, "prove", [words], [proof])


def test_a_weight_beyond_all_that_a_chain_gives_is_refused(
    world: World, shown: Shown, votes: Deployed
) -> None:
    ledger = Ledger.of(most := make_leaf(1, 2**88 - 1), more := make_leaf(2, 2**88))
    shown.show(ledger)
    prove(world, votes, ledger, most)
    assert count(world, votes, most) == [2**88 - 1]
    with pytest.raises(Reverted, match="SafeCastOverflowedUintDowncast"):
        prove(world, votes, ledger, more)


def test_delegates_carry_what_is_proven(world: World, shown: Shown, votes: Deployed) -> None:
    world.send(votes, "delegate", BOB.address, caller=ALICE.address)  # before anything is proven
    prove(world, votes, Ledger.of(*leaves), *leaves)
    assert count(world, votes, *leaves) == [0, 750, 4]
    ledger = Ledger.of(less := make_leaf(1, 600), BOB, CAROL)
    shown.show(ledger)
    prove(world, votes, ledger, less)
    assert count(world, votes, *leaves) == [0, 650, 4]
    world.send(votes, "delegate", CAROL.address, caller=ALICE.address)
    assert count(world, votes, *leaves) == [0, 50, 604]
    world.send(votes, "delegate", ALICE.address, caller=CAROL.address)  # what Alice gave stays
    assert count(world, votes, *leaves) == [4, 50, 600]


def test_to_delegate_to_nobody_is_to_vote_oneself(world: World, votes: Deployed) -> None:
    prove(world, votes, Ledger.of(*leaves), *leaves)
    for _ in range(2):
        world.send(votes, "delegate", NOBODY, caller=ALICE.address)
        assert ask(world, votes, "delegates", ALICE.address) == int(ALICE.address, 16)
        assert count(world, votes, *leaves) == [700, 50, 4]
    world.send(votes, "delegate", BOB.address, caller=ALICE.address)
    world.send(votes, "delegate", NOBODY, caller=ALICE.address)
    assert count(world, votes, *leaves) == [700, 50, 4]


def sign_delegation(
    votes: Deployed, secret: bytes, to: str, *, nonce: int, expiry: int
) -> tuple[int, bytes, bytes]:
    """v, r, s of EIP-712: the contract's domain, from its own `eip712Domain` by hand."""
    words = [
        keccak256(b"Delegation(address delegatee,uint256 nonce,uint256 expiry)"),
        *(n.to_bytes(32, "big") for n in (int(to, 16), nonce, expiry)),
    ]
    digest = hash_typed(hash_domain(b"zkpot votes", votes.address), *words)
    v, r, s = secp256k1.ecdsa_raw_sign(digest, secret)
    return v, r.to_bytes(32, "big"), s.to_bytes(32, "big")


def test_delegation_by_signature(world: World, shown: Shown, votes: Deployed) -> None:
    secret = b"\x05" * 32
    account = bytes.fromhex(find_address(secret)[2:])
    signer = Leaf(client_key=b"\7" * 32, account=account, weight=11)
    ledger = Ledger.of(signer, BOB)
    shown.show(ledger)
    prove(world, votes, ledger, signer, BOB)
    expiry = world.time_s + 100
    signature = sign_delegation(votes, secret, BOB.address, nonce=0, expiry=expiry)
    with pytest.raises(Reverted, match=r"InvalidAccountNonce|ECDSA"):  # another's words
        world.send(votes, "delegateBySig", CAROL.address, 1, expiry, *signature)
    assert count(world, votes, signer, BOB) == [11, 50]
    world.send(votes, "delegateBySig", BOB.address, 0, expiry, *signature, caller=STRANGER)
    assert count(world, votes, signer, BOB) == [0, 61]
    with pytest.raises(Reverted, match="InvalidAccountNonce"):  # a second time
        world.send(votes, "delegateBySig", BOB.address, 0, expiry, *signature)
    signature = sign_delegation(votes, secret, CAROL.address, nonce=1, expiry=expiry)
    world.wait(101)
    with pytest.raises(Reverted, match="VotesExpiredSignature"):
        world.send(votes, "delegateBySig", CAROL.address, 1, expiry, *signature)


def test_any_story_keeps_the_books(world: World, shown: Shown, rng: Random) -> None:
    """Random heads, proofs and delegations against a model of two dictionaries."""
    votes = world.deploy("ZkpotVotes", shown.contract.address)
    people = [make_leaf(i, 0) for i in range(5)]
    units = dict.fromkeys(range(5), 0)
    chosen = {i: i for i in range(5)}
    past: list[tuple[int, list[int]]] = []
    ledger = Ledger.of(*people)
    for _ in range(40):
        if rng.random() < 0.3:
            ledger = Ledger.of(*(make_leaf(i, rng.choice((0, 1, 5, 9**9))) for i in range(5)))
            shown.show(ledger)
        if shown.height and rng.random() < 0.6:
            proven = rng.sample(range(5), rng.randrange(1, 4))
            prove(world, votes, ledger, *(ledger.leaves[i] for i in proven))
            units |= {i: ledger.leaves[i].weight for i in proven}
        if rng.random() < 0.5:
            who, to = rng.randrange(5), rng.randrange(6)
            address = people[to].address if to < 5 else NOBODY
            world.send(votes, "delegate", address, caller=people[who].address)
            chosen[who] = to if to < 5 else who
        model = [sum(units[i] for i in range(5) if chosen[i] == j) for j in range(5)]
        assert count(world, votes, *people) == model
        if rng.random() < 0.7:
            past.append((world.time_s, model))
            world.wait(rng.choice((1, 12, 1_000)))
    for time, model in past:
        found = [ask(world, votes, "getPastVotes", p.address, time) for p in people]
        assert found == model
