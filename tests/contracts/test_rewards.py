"""Rewards are paid once, to whom the head's ledger names, and never without the tokens."""

from __future__ import annotations

import pytest

from tests.support.contracts import DEPLOYER, Deployed, Reverted, World
from tests.support.shown_blocks import Block, Leaf, Ledger, Shown, make_leaf

PER_UNIT = 10**12
ALICE, BOB = leaves = make_leaf(1, 700, 250_000), make_leaf(2, 50, 750_000)
LEDGER = Ledger.of(*leaves)
STRANGER = make_leaf(99, 0).address


def deploy(shown: Shown, kind: str, funds: int) -> tuple[Deployed, Deployed]:
    """Rewards in a token of this kind, and the token."""
    world = shown.world
    token = world.deploy(kind, 10**30)
    rewards = world.deploy("ZkpotRewards", shown.contract.address, token.address, PER_UNIT)
    if funds:
        world.send(token, "transfer", rewards.address, funds)
    return rewards, token


@pytest.fixture
def paid(shown: Shown) -> tuple[Deployed, Deployed]:
    shown.show(LEDGER)
    return deploy(shown, "PlainToken", 10**20)


def claim(world: World, rewards: Deployed, ledger: Ledger, leaf: Leaf) -> None:
    world.send(rewards, "claim", leaf.words, ledger.prove(leaf), caller=STRANGER)


def get_balance(world: World, token: Deployed, who: str) -> int:
    (balance,) = world.send(token, "balanceOf", who)
    return balance


def test_a_claim_is_paid_once(world: World, paid: tuple[Deployed, Deployed]) -> None:
    rewards, token = paid
    claim(world, rewards, LEDGER, ALICE)
    assert get_balance(world, token, ALICE.address) == 250_000 * PER_UNIT
    assert get_balance(world, token, STRANGER) == 0
    with pytest.raises(Reverted, match="NothingDue"):
        claim(world, rewards, LEDGER, ALICE)
    claim(world, rewards, LEDGER, BOB)
    assert get_balance(world, token, rewards.address) == 10**20 - 10**6 * PER_UNIT
    assert world.send(rewards, "claimed", ALICE.client_key) == [250_000]


def test_after_more_rounds_the_difference_is_paid(
    world: World, shown: Shown, paid: tuple[Deployed, Deployed]
) -> None:
    rewards, token = paid
    claim(world, rewards, LEDGER, ALICE)
    later = Ledger.of(more := make_leaf(1, 0, 250_003), BOB)
    shown.show(later)
    with pytest.raises(Reverted, match="NotInLedger"):  # an old head's
        claim(world, rewards, LEDGER, BOB)
    claim(world, rewards, later, more)
    assert get_balance(world, token, ALICE.address) == 250_003 * PER_UNIT


def test_wrong_leaves_and_proofs_are_refused(world: World, paid: tuple[Deployed, Deployed]) -> None:
    rewards, token = paid
    key, account, weight, earned = ALICE.words
    proof = LEDGER.prove(ALICE)
    for words in (
        (key, account, weight, earned + 1),
        (key, STRANGER, weight, earned),
        (bytes(32), account, weight, earned),
        BOB.words,
    ):
        with pytest.raises(Reverted, match="NotInLedger"):
            world.send(rewards, "claim", words, proof)
    for other in ([], [bytes(32)], [*proof, bytes(32)]):
        with pytest.raises(Reverted, match="NotInLedger"):
            world.send(rewards, "claim", ALICE.words, other)
    assert get_balance(world, token, rewards.address) == 10**20


def test_a_client_that_earned_nothing_is_paid_nothing(
    world: World, shown: Shown, paid: tuple[Deployed, Deployed]
) -> None:
    ledger = Ledger.of(new := make_leaf(5, 3, 0), BOB)
    shown.show(ledger)
    with pytest.raises(Reverted, match="NothingDue"):
        claim(world, paid[0], ledger, new)


def test_what_is_not_there_is_not_paid(world: World, shown: Shown) -> None:
    shown.show(LEDGER)
    rewards, token = deploy(shown, "PlainToken", 250_000 * PER_UNIT - 1)
    with pytest.raises(Reverted) as caught:
        claim(world, rewards, LEDGER, ALICE)
    amount = 250_000 * PER_UNIT
    assert (caught.value.name, caught.value.words) == ("Underfunded", [amount, amount - 1])
    assert world.send(rewards, "claimed", ALICE.client_key) == [0]
    world.send(token, "transfer", rewards.address, 1, caller=DEPLOYER)
    claim(world, rewards, LEDGER, ALICE)
    assert get_balance(world, token, ALICE.address) == amount


def test_a_token_that_calls_back_is_not_paid_twice(world: World, shown: Shown) -> None:
    shown.show(LEDGER)
    rewards, token = deploy(shown, "ReenteringToken", 10**20)
    world.send(token, "arm", ALICE.words, LEDGER.prove(ALICE))
    with pytest.raises(Reverted, match="NothingDue"):
        claim(world, rewards, LEDGER, ALICE)
    # It comes back with another's claim, and each is paid what is due, once.
    world.send(token, "arm", BOB.words, LEDGER.prove(BOB))
    with pytest.raises(Reverted, match="NothingDue"):  # of Bob, on the way of Bob's own transfer
        claim(world, rewards, LEDGER, ALICE)
    assert get_balance(world, token, rewards.address) == 10**20


def test_a_token_that_answers_false_is_heard(world: World, shown: Shown) -> None:
    shown.show(LEDGER)
    rewards, token = deploy(shown, "RefusingToken", 0)
    world.send(token, "approve", DEPLOYER, 10**20)
    world.send(token, "transferFrom", DEPLOYER, rewards.address, 10**20)
    with pytest.raises(Reverted, match="SafeERC20FailedOperation"):
        claim(world, rewards, LEDGER, ALICE)
    assert world.send(rewards, "claimed", ALICE.client_key) == [0]


def test_a_unit_that_is_worth_nothing_is_refused(shown: Shown) -> None:
    token = shown.world.deploy("PlainToken", 1)
    with pytest.raises(Reverted, match="ZeroPerUnit"):
        shown.world.deploy("ZkpotRewards", shown.contract.address, token.address, 0)
    shown.world.deploy("ZkpotRewards", shown.contract.address, token.address, 1)


def test_an_amount_that_no_word_holds_is_refused(world: World, shown: Shown) -> None:
    ledger = Ledger.of(much := make_leaf(1, 0, 2**255), BOB)
    block = Block(height=1, ledger_root=ledger.tree.root, total_weight=0)
    world.send(shown.contract, "submit", *shown.certify(block))
    rewards, _ = deploy(shown, "PlainToken", 10**20)
    with pytest.raises(Reverted):
        claim(world, rewards, ledger, much)
