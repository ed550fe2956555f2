"""Empty blocks: rarer while nothing is due, at once when something is, never past a phase's end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.pace import compute_wait_ms, count_empty
from consensus.wire.messages import Block, QuorumCertificate, Step, Vote
from tests.support.learning import Lab, ProvenLab
from tests.support.nodes import Net, list_contradictions

LAB = Lab(longest_empty_ms=6000, changes={"register_ms": 40_000, "commit_ms": 80_000})
BASE, LONGEST = 500, 6000


def certificate(time_ms: int) -> tuple[QuorumCertificate]:
    votes = (
        Vote(
            step=int(Step.PRECOMMIT),
            height=1,
            round=0,
            block_hash=bytes(32),
            time_ms=time_ms,
            validator=i,
        )
        for i in range(3)
    )
    return (QuorumCertificate.of(votes),)


def wait(state: ChainState, n_empty: int = 0, *, used_ms: int = 0) -> int:
    return compute_wait_ms(state, certificate(state.time_ms + used_ms), n_empty)


# -- the rule --------------------------------------------------------------------------------------


def test_intervals_double_up_to_the_longest() -> None:
    state = start(LAB.genesis)
    assert [wait(state, n) for n in range(7)] == [500, 1000, 2000, 4000, 6000, 6000, 6000]
    assert wait(state, 10**6) == LONGEST


def test_empty_blocks_are_counted_back_to_the_last_other_one() -> None:
    state = start(LAB.genesis)
    empty, full = LAB.block(state), LAB.block(state, LAB.list_due(state))
    beacon = LAB.block(LAB.reach(Phase.BEACON))
    elect = LAB.block(LAB.reach(Phase.ELECT))
    timeouts = LAB.genesis.timeouts
    assert count_empty([], timeouts) == 0
    for other in (full, beacon, elect):
        for n in range(4):
            assert count_empty([*[empty] * n, other, empty], timeouts) == n

    def forever() -> Iterator[Block]:
        while True:
            yield empty

    assert count_empty(forever(), timeouts) == 4, "more change nothing, and none is read"


def test_a_phase_that_nobody_is_in_has_no_end_to_wait_for() -> None:
    state = replace(start(LAB.genesis), time_ms=1000, phase_ms=10**6)
    assert wait(state, 9) == LONGEST
    at_commit = replace(LAB.reach(Phase.COMMIT), time_ms=1000, phase_ms=10**6)
    assert wait(at_commit, 9) == LONGEST


def in_commit(phase_ms: int) -> ChainState:
    """Someone has committed: the phase ends 80 s after it began."""
    state = LAB.reach(Phase.COMMIT)
    after = LAB.extend(state, [LAB.commit(0)])
    return replace(after, phase_ms=phase_ms, time_ms=max(after.time_ms, 1))


@pytest.mark.parametrize(
    ("phase_ms", "used_ms", "expected"),
    [
        (0, 0, 6000),
        (75_000, 0, 5000),
        (75_000, 2000, 3000),
        (79_999, 0, 1),
        (75_000, 5000, 0),
        (75_000, 9000, 0),
        (80_000, 0, 0),
    ],
)
def test_a_block_is_made_when_the_time_of_a_phase_is_over(
    phase_ms: int, used_ms: int, expected: int
) -> None:
    """What the next block uses up by its own time counts already."""
    assert wait(in_commit(phase_ms), 9, used_ms=used_ms) == expected


def test_no_wait_takes_more_than_an_eighth_of_a_phase() -> None:
    lab = Lab(longest_empty_ms=60_000, changes={"commit_ms": 80_000})
    state = lab.extend(lab.reach(Phase.COMMIT), [lab.commit(0)])
    state = replace(state, phase_ms=0, time_ms=1)
    assert compute_wait_ms(state, certificate(1), 20) == 10_000


def test_a_phase_takes_its_time_and_not_much_more() -> None:
    """Blocks made exactly after their waits, decided in an instant, for phases of any length."""
    for commit_ms in (7, 100, 1000, 4001, 80_000, 10**6):
        lab = Lab(longest_empty_ms=LONGEST, changes={"commit_ms": commit_ms})
        state = lab.extend(lab.reach(Phase.COMMIT), [lab.commit(0)])
        now = began = state.time_ms or 1
        state, n_empty = replace(state, time_ms=now, phase_ms=0), 0
        while state.phase is Phase.COMMIT:
            now += compute_wait_ms(state, certificate(now), n_empty)
            block = replace(lab.block(state), certificate=certificate(now))
            state, n_empty = apply(state, block), n_empty + 1
            assert n_empty < 1000
        assert commit_ms <= now - began <= commit_ms + -(-commit_ms // 8)


# -- nodes -----------------------------------------------------------------------------------------


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    net = Net(tmp_path, ProvenLab(longest_empty_ms=8_000, changes={"n_rounds": 1}))
    yield net
    net.close()


def test_an_idle_chain_makes_few_blocks_and_falls_back_at_once(net: Net) -> None:
    net.start_all()
    net.run(lambda: net.now > 60.0, clients=False)
    height = net.chain.height
    assert 6 < height < 12, "in a minute, and not one each half second"
    began = net.now
    net.run(lambda: net.chain.height > height and bool(net.chain.clients))
    assert net.now - began < 1.0
    net.run(lambda: all(node.chain.phase is Phase.DONE for node in net))
    assert net.now - began < 10.0


def test_nobody_waits_long_for_a_dead_proposer_once_something_is_due(net: Net) -> None:
    """The wait has grown to eight seconds when clients come, and who should propose is gone."""
    net.start_all()
    net.run(lambda: net.now > 40.0, clients=False)
    net.drop(net.nodes[0]._state.get_proposer(0))
    began = net.now
    net.run(lambda: bool(net.chain.clients))
    assert net.now - began < 3.0
    assert all(list_contradictions(net.list_spoken(i)) == [] for i in range(4))


def test_a_node_that_starts_waits_like_the_others(net: Net) -> None:
    net.start_all()
    net.run(lambda: net.now > 5.0, clients=False)
    expected = {node._compute_wait_for_due() for node in net}
    assert len(expected) == 1
    net.drop(2)
    assert net.start(2)._compute_wait_for_due() in expected


def test_a_phase_ends_on_an_idle_chain(tmp_path: Path) -> None:
    """One of three clients commits, and nobody sends anything more."""
    changes = {"n_rounds": 1, "commit_ms": 12_000, "prove_ms": 12_000}
    net = Net(tmp_path, ProvenLab(longest_empty_ms=8_000, changes=changes))
    try:
        net.start_all()
        net.run(lambda: net.chain.phase is Phase.COMMIT)
        net.send(net.list_due(net.chain)[0])
        net.run(lambda: bool(net.chain.commits), clients=False)
        began = net.now
        net.run(lambda: net.chain.phase is Phase.PROVE, clients=False)
        assert 10.0 < net.now - began < 16.0
        net.run(lambda: net.chain.phase is not Phase.PROVE, clients=False)
    finally:
        net.close()
