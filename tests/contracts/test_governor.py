"""OpenZeppelin's Governor, as it is, decides by what clients have proven."""

from __future__ import annotations

import pytest

from tests.support.contracts import Reverted, World
from tests.support.proposals import Proposal, State, Vote
from tests.support.shown_blocks import Ledger, Shown, make_leaf

GOOD, FAIR, IDLE = leaves = make_leaf(1, 7_000_000), make_leaf(2, 3_000_000), make_leaf(3, 500)
STRANGER = make_leaf(99, 0).address
LEDGER = Ledger.of(*leaves)
WHY = "pay the client that proved most"


class Assembly(Proposal):
    """A governor with a purse, and one proposal: to pay a client."""

    def __init__(self, world: World, shown: Shown) -> None:
        shown.show(LEDGER)
        self.votes = world.deploy("ZkpotVotes", shown.contract.address)
        self.token = world.deploy("PlainToken", 1_000)
        governor = world.deploy("ClientGovernor", self.votes.address)
        world.send(self.token, "transfer", governor.address, 1_000)
        super().__init__(world, governor, self.token, "transfer", GOOD.address, 30, why=WHY)

    def prove(self, *proven: object) -> None:
        chosen = [leaf for leaf in leaves if leaf in proven]
        proofs = [LEDGER.prove(leaf) for leaf in chosen]
        self.world.send(self.votes, "prove", [leaf.words for leaf in chosen], proofs)

    def balance(self) -> list[int]:
        return self.world.send(self.token, "balanceOf", GOOD.address)


@pytest.fixture
def assembly(world: World, shown: Shown) -> Assembly:
    return Assembly(world, shown)


def test_a_proposal_passes_by_proven_weight(assembly: Assembly) -> None:
    assembly.prove(*leaves)
    assembly.propose()
    assert assembly.vote(GOOD.address, Vote.FOR) == 7_000_000
    assert assembly.vote(FAIR.address, Vote.AGAINST) == 3_000_000
    assert assembly.end() == State.SUCCEEDED
    assembly.execute()
    assert assembly.balance() == [30]
    assert assembly.get_state() == State.EXECUTED


def test_the_clock_and_the_quorum_are_those_of_the_votes(assembly: Assembly) -> None:
    world, governor = assembly.world, assembly.governor
    assert world.send(governor, "clock") == [world.time_s]
    world.wait(1)
    total = sum(leaf.weight for leaf in leaves)
    assert world.send(governor, "quorum", world.time_s - 1) == [total * 4 // 100]


def test_who_has_proven_nothing_has_no_vote(assembly: Assembly) -> None:
    assembly.prove(IDLE)
    assembly.propose()
    assert assembly.vote(GOOD.address, Vote.AGAINST) == 0
    assert assembly.vote(STRANGER, Vote.AGAINST) == 0
    assert assembly.vote(IDLE.address, Vote.FOR) == 500
    assert assembly.end() == State.DEFEATED  # 500 of 10,000,500 are no quorum
    with pytest.raises(Reverted, match="GovernorUnexpectedProposalState"):
        assembly.execute()


def test_what_is_proven_after_the_snapshot_does_not_vote(assembly: Assembly) -> None:
    assembly.prove(FAIR)
    assembly.propose()
    assembly.prove(GOOD)
    assert assembly.vote(GOOD.address, Vote.AGAINST) == 0
    assert assembly.vote(FAIR.address, Vote.FOR) == 3_000_000
    assert assembly.end() == State.SUCCEEDED


def test_a_delegate_votes_for_others(assembly: Assembly) -> None:
    world, votes = assembly.world, assembly.votes
    world.send(votes, "delegate", STRANGER, caller=GOOD.address)
    assembly.prove(GOOD, FAIR)
    assembly.propose()
    assert assembly.vote(STRANGER, Vote.FOR) == 7_000_000
    assert assembly.vote(GOOD.address, Vote.AGAINST) == 0
    assert assembly.vote(FAIR.address, Vote.AGAINST) == 3_000_000
    assert assembly.end() == State.SUCCEEDED
