"""For whom a phase waits, who may lead, and how a silent client or validator comes back."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from consensus.learning.chain import proposers
from consensus.learning.chain_state import Absence, ChainState, Phase
from consensus.learning.standing import LONGEST_ABSENCE, is_absent, is_complete
from consensus.wire.transactions import Refusal
from tests.support.learning import BLOCK_MS, Lab

LAB = Lab(n_clients=5, changes={"n_rounds": 200})
SPENT = 4  # blocks that a phase takes whose time runs out


def play(state: ChainState, phase: Phase, *taking_part: int) -> tuple[ChainState, int]:
    """Through this phase; the state after it and how many blocks it took."""
    assert state.phase is phase
    before = state.height
    names = {LAB.client(i) for i in taking_part}
    due = [tx for tx in LAB.list_due(state) if tx.client_key in names]
    state = LAB.extend(state, due)
    if state.phase is phase:
        state = LAB.wait(state)
    return state, state.height - before


def play_round(
    state: ChainState,
    committing: Collection[int],
    proving: Collection[int] | None = None,
    opening: Collection[int] | None = None,
) -> tuple[ChainState, list[int]]:
    """A learning round, and how many blocks COMMIT, PROVE and UPDATE took."""
    proving = committing if proving is None else proving
    opening = proving if opening is None else opening
    state, n_commit = play(state, Phase.COMMIT, *committing)
    state, n_prove = play(LAB.extend(state), Phase.PROVE, *proving)
    state, n_update = play(state, Phase.UPDATE, *opening)
    return LAB.extend(state), [n_commit, n_prove, n_update]


def begin() -> ChainState:
    """In the second round, everyone having taken part in the first."""
    return LAB.reach(Phase.COMMIT, learning_round=1)


# -- who is waited for -----------------------------------------------------------------------------


def test_a_silent_client_costs_few_rounds_their_time() -> None:
    """Waited for in rounds 1, 3, 6, 11, 20, 37, 70 and then every 65th."""
    state, spent = begin(), []
    while state.learning_round < 140:
        number = state.learning_round
        state, lengths = play_round(state, (0, 1, 2, 3))
        assert lengths in ([1, 1, 1], [SPENT, 1, 1])
        if lengths[0] > 1:
            spent.append(number)
    assert spent == [1, 3, 6, 11, 20, 37, 70, 135]


@pytest.mark.parametrize("phase", [Phase.PROVE, Phase.UPDATE])
def test_silence_in_a_later_phase_is_an_absence_too(phase: Phase) -> None:
    state, spent = begin(), []
    for _ in range(12):
        proving = (0, 1, 2, 3) if phase is Phase.PROVE else None
        number = state.learning_round
        state, lengths = play_round(state, range(5), proving, (0, 1, 2, 3))
        if max(lengths) > 1:
            spent.append(number)
    assert spent == [1, 3, 6, 11]


def test_who_was_absent_is_waited_for_again_whoever_is_quick() -> None:
    """And nobody has to let it in."""
    state, _ = play_round(begin(), (0, 1, 2, 3))
    assert is_absent(state, LAB.client(4))
    state, lengths = play_round(state, (0, 1, 2, 3))
    assert lengths == [1, 1, 1], "not waited for in this round"
    assert not is_absent(state, LAB.client(4))
    state = LAB.extend(state, [LAB.commit(i, state.learning_round) for i in range(4)])
    assert state.phase is Phase.COMMIT, "the quick ones can't close it"
    for _ in range(2):
        state = LAB.extend(state)
    state = LAB.extend(state, [LAB.commit(4, state.learning_round)])
    assert state.phase is Phase.BEACON
    assert LAB.client(4) in state.commits


def test_an_absent_client_takes_part_while_the_phase_is_open() -> None:
    """Opening a model, it is absent no more."""
    state, _ = play_round(begin(), (0, 1, 2, 3))
    assert state.absences == {LAB.client(4): Absence(1, 3)}
    state, lengths = play_round(state, range(5))
    assert lengths == [1, 1, 1]
    assert state.absences == {}
    assert LAB.client(4) in state.ranking


def test_a_minority_never_ends_a_phase_early() -> None:
    """After a round that most clients missed, the one that did not can't close the next alone."""
    state, lengths = play_round(begin(), (0,))
    assert lengths == [SPENT, 1, 1]
    assert sum(is_absent(state, LAB.client(i)) for i in range(5)) == 4
    state = LAB.extend(state, [LAB.commit(0, state.learning_round)])
    assert state.phase is Phase.COMMIT
    state = LAB.extend(state, [LAB.commit(i, state.learning_round) for i in range(1, 5)])
    assert state.phase is Phase.BEACON


@pytest.mark.parametrize(
    ("absent", "done", "complete"),
    [
        ((), range(5), True),
        ((), range(4), False),
        ((4,), range(4), True),
        ((3, 4), range(3), True),
        ((3, 4), (0, 1, 3, 4), False),
        ((2, 3, 4), (0, 1), False),
        ((2, 3, 4), range(5), True),
        (range(5), (0,), False),
    ],
)
def test_a_phase_is_complete_when_the_attending_majority_is_in(
    absent: Collection[int], done: Collection[int], complete: bool
) -> None:
    absences = {LAB.client(i): Absence(1, 9) for i in absent}
    state = replace(begin(), absences=absences)
    assert is_complete(state, state.clients, [LAB.client(i) for i in done]) is complete


def test_absences_do_not_grow_beyond_a_bound() -> None:
    state = begin()
    state = replace(state, absences={LAB.client(4): Absence(LONGEST_ABSENCE, 0)})
    state, _ = play_round(state, (0, 1, 2, 3))
    assert state.absences == {LAB.client(4): Absence(LONGEST_ABSENCE, 2 + LONGEST_ABSENCE)}


# -- who leads -------------------------------------------------------------------------------------


def test_who_never_opens_leads_until_the_round_is_over_and_never_again() -> None:
    """Client 0 has the best proof in every round."""
    state, _ = play_round(begin(), range(5), range(5), (1, 2, 3, 4))
    for _ in range(3):
        assert state.leader == LAB.client(1)
        assert proposers(state)[0] == 1
        state, _ = play(state, Phase.COMMIT, *range(5))
        state, _ = play(LAB.extend(state), Phase.PROVE, *range(5))
        assert LAB.client(0) in state.proofs
        assert state.leader == LAB.client(1)
        state, _ = play(state, Phase.UPDATE, 1, 2, 3, 4)
        state = LAB.extend(state)
        assert state.debtors == (LAB.client(0),)


def test_who_opens_again_leads_from_the_next_round_on() -> None:
    state, _ = play_round(begin(), range(5), range(5), (1, 2, 3, 4))
    state, _ = play_round(state, range(5))
    assert (state.debtors, state.leader) == ((), LAB.client(1))
    state, _ = play_round(state, range(5))
    assert state.leader == LAB.client(0)


def test_a_liar_leads_no_more_from_the_block_that_records_it() -> None:
    state, _ = play_round(begin(), range(5))
    assert state.leader == LAB.client(0)
    state, _ = play(state, Phase.COMMIT, *range(5))
    state = LAB.extend(state)
    state = LAB.extend(state, [Refusal(proof=LAB.prove(0, state))])
    assert state.leader == LAB.client(1)
    state, _ = play(state, Phase.PROVE, 1, 2, 3, 4)
    state, _ = play(state, Phase.UPDATE, 1, 2, 3, 4)
    state = LAB.extend(state)
    assert (state.debtors, state.leader) == ((LAB.client(0),), LAB.client(1))


def test_a_refusal_beside_a_valid_proof_is_no_lie() -> None:
    """Its client made a mistake, and mended it."""
    state, _ = play(begin(), Phase.COMMIT, *range(5))
    state = LAB.extend(state)
    state = LAB.extend(state, [Refusal(proof=LAB.prove(0, state, claimed=5))])
    state, _ = play(state, Phase.PROVE, *range(5))
    state, _ = play(state, Phase.UPDATE, *range(5))
    state = LAB.extend(state)
    assert (state.debtors, state.leader) == ((), LAB.client(0))


def test_a_round_that_nobody_serves_has_no_leader() -> None:
    state, _ = play_round(begin(), range(5), range(5), ())
    assert (state.leader, len(state.debtors)) == (None, 5)
    assert sorted(proposers(state)) == [0, 1, 2, 3]


# -- validators ------------------------------------------------------------------------------------


def extend_by(
    state: ChainState, number: int, signers: Collection[int], maker: int | None = None
) -> ChainState:
    """After a block whose parent was decided in this round, with precommits of these."""
    known = LAB.certify_head(state, number=number, signers=sorted(signers))
    place = proposers(state)[0] if maker is None else maker
    return LAB.extend(state, certificate=known, proposer=place)


def test_offenders_do_not_propose() -> None:
    state = begin()
    assert sorted(proposers(replace(state, offenders=(0, 3)))) == [1, 2]
    assert sorted(proposers(replace(state, offenders=(0, 1, 2, 3)))) == [0, 1, 2, 3]


def test_a_validator_that_is_down_costs_two_turns_in_all() -> None:
    """Client 0 leads, whose home is down: that is known from the block after the next."""
    state, failed = begin(), 0
    number = 0
    for _ in range(40):
        order = proposers(state)
        maker = order[0] if order[0] != 0 else order[1]
        state = extend_by(state, number, (1, 2, 3), maker)
        number = int(order[0] == 0)
        failed += number
    assert failed == 2
    assert proposers(state)[-1] == 0


def test_who_is_heard_again_takes_its_place_again() -> None:
    state = begin()
    assert proposers(state)[0] == 0
    state = extend_by(state, 0, (1, 2, 3), 1)
    state = extend_by(state, 1, (1, 2, 3), 1)
    assert proposers(state)[-1] == 0
    for _ in range(3):
        state = extend_by(state, 0, (1, 2, 3))
        assert proposers(state)[-1] == 0
    state = extend_by(state, 0, (0, 1, 2))
    assert proposers(state)[0] == 0
    state = extend_by(extend_by(state, 0, (0, 1, 2)), 0, (1, 2, 3))
    assert state.lapses == (), "it has made a block"


def test_who_votes_and_never_proposes_costs_ever_fewer_turns() -> None:
    state, failed, number = begin(), [], 0
    for _ in range(300):
        order = proposers(state)
        maker = order[0] if order[0] != 0 else order[1]
        state = extend_by(state, number, (0, 1, 2, 3), maker)
        number = int(order[0] == 0)
        if number:
            failed.append(state.height)
    assert len(failed) <= 20
    assert failed[-1] - failed[-3] > 60


def test_a_block_that_took_two_rounds_is_no_missed_turn_of_its_maker() -> None:
    state = begin()
    state = extend_by(state, 0, (0, 1, 2))
    assert extend_by(state, 1, (0, 1, 2)).lapses == ()
    others = extend_by(state, 3, (0, 1, 2)).lapses
    assert [lapse.validator for lapse in others] == sorted(state.order[1:3])


def test_the_clock_of_the_labs_chain_is_what_these_tests_count_on() -> None:
    assert LAB.task.commit_ms == SPENT * BLOCK_MS
