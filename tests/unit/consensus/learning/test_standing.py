"""For whom a phase waits, who may lead, and how a silent client or validator comes back."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from consensus.aggregation.outcome import Cheat, Failure
from consensus.learning.chain import find_fault, proposers
from consensus.learning.chain_state import Absence, ChainState, Phase
from consensus.learning.outcome import make_none
from consensus.learning.rules import ChainRules
from consensus.learning.standing import LONGEST_ABSENCE, is_absent, is_complete
from consensus.wire.outcomes import Exclusion
from consensus.wire.transactions import Refusal
from tests.support.learning import BLOCK_MS, Lab

LAB = Lab(n_clients=5, changes={"n_rounds": 200})
SENDING = [Phase.COMMIT, Phase.PROVE, Phase.MASK, Phase.UNMASK]
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
    masking: Collection[int] | None = None,
    unmasking: Collection[int] | None = None,
) -> tuple[ChainState, list[int]]:
    """A learning round, and how many blocks each phase took that waits for clients."""
    number, spent = state.learning_round, []
    parts = [committing, proving, masking, unmasking]
    for i in (1, 2, 3):
        parts[i] = parts[i - 1] if parts[i] is None else parts[i]
    while state.learning_round == number:
        if state.phase in SENDING:
            taking_part = parts[SENDING.index(state.phase)]
            assert taking_part is not None
            state, n_blocks = play(state, state.phase, *taking_part)
            spent.append(n_blocks)
        else:
            state = LAB.extend(state)
    return state, spent


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
        assert lengths in ([1, 1, 1, 1], [SPENT, 1, 1, 1])
        if lengths[0] > 1:
            spent.append(number)
    assert spent == [1, 3, 6, 11, 20, 37, 70, 135]


@pytest.mark.parametrize("phase", SENDING[1:])
def test_silence_in_a_later_phase_is_an_absence_too(phase: Phase) -> None:
    state, spent = begin(), []
    taking_part = [(0, 1, 2, 3) if p is phase else None for p in SENDING[1:]]
    for _ in range(12):
        number = state.learning_round
        state, lengths = play_round(state, range(5), *taking_part)
        if max(lengths) > 1:
            spent.append(number)
    assert spent == [1, 3, 6, 11]


def test_who_was_absent_is_waited_for_again_whoever_is_quick() -> None:
    """And nobody has to let it in."""
    state, _ = play_round(begin(), (0, 1, 2, 3))
    assert is_absent(state, LAB.client(4))
    state, lengths = play_round(state, (0, 1, 2, 3))
    assert lengths == [1, 1, 1, 1], "not waited for in this round"
    assert not is_absent(state, LAB.client(4))
    state = LAB.extend(state, [LAB.commit(i, state.learning_round) for i in range(4)])
    assert state.phase is Phase.COMMIT, "the quick ones can't close it"
    for _ in range(2):
        state = LAB.extend(state)
    state = LAB.extend(state, [LAB.commit(4, state.learning_round)])
    assert state.phase is Phase.BEACON
    assert LAB.client(4) in state.commits


def test_an_absent_client_takes_part_while_the_phase_is_open() -> None:
    """Serving a round, it is absent no more."""
    state, _ = play_round(begin(), (0, 1, 2, 3))
    assert state.absences == {LAB.client(4): Absence(1, 3)}
    state, lengths = play_round(state, range(5))
    assert lengths == [1, 1, 1, 1]
    assert state.absences == {}
    assert LAB.client(4) in state.ranking


def test_a_minority_never_ends_a_phase_early() -> None:
    """After a round that most clients missed, the one that did not can't close the next alone."""
    state, lengths = play_round(begin(), (0,))
    assert lengths == [SPENT, 1], "and one makes no sum"
    assert sum(is_absent(state, LAB.client(i)) for i in range(5)) == 4
    state = LAB.extend(state, [LAB.commit(0, state.learning_round)])
    assert state.phase is Phase.COMMIT
    state = LAB.extend(state, [LAB.commit(i, state.learning_round) for i in range(1, 5)])
    assert state.phase is Phase.BEACON


def test_a_phase_waits_for_absent_clients_without_whom_there_is_no_sum() -> None:
    """Else rounds would run away while one of few clients is started anew."""
    lab = Lab(n_clients=4, changes={"collusion": 2})
    state = replace(
        lab.reach(Phase.COMMIT, learning_round=1),
        absences={lab.client(3): Absence(length=8, until=10)},
    )
    for phase in SENDING:
        *quick, slow = lab.list_due(state)
        state = lab.extend(state, quick)
        assert state.phase is phase
        state = lab.extend(state, [slow])
        if phase is Phase.COMMIT:
            state = lab.extend(state)
    assert (state.phase, state.closed) == (Phase.ELECT, Phase.UNMASK)


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


@pytest.mark.parametrize("phase", [Phase.MASK, Phase.UNMASK])
def test_who_proves_and_goes_no_further_leads_until_the_round_is_over_and_never_again(
    phase: Phase,
) -> None:
    """Client 0 has the best proof in every round."""
    masking = (1, 2, 3, 4) if phase is Phase.MASK else None
    state, _ = play_round(begin(), range(5), None, masking, (1, 2, 3, 4))
    for _ in range(3):
        assert state.leader == LAB.client(1)
        assert proposers(state)[0] == 1
        state, _ = play(state, Phase.COMMIT, *range(5))
        state, _ = play(LAB.extend(state), Phase.PROVE, *range(5))
        assert LAB.client(0) in state.proofs
        assert state.leader == LAB.client(1)
        state, _ = play(state, Phase.MASK, *(masking or range(5)))
        state, _ = play(state, Phase.UNMASK, 1, 2, 3, 4)
        state = LAB.extend(state)
        assert state.debtors == (LAB.client(0),)


def test_who_serves_again_leads_from_the_next_round_on() -> None:
    state, _ = play_round(begin(), range(5), range(5), (1, 2, 3, 4))
    state, _ = play_round(state, range(5))
    assert (state.debtors, state.leader) == ((), LAB.client(1))
    state, _ = play_round(state, range(5))
    assert state.leader == LAB.client(0)


def test_a_round_that_breaks_off_puts_nobody_in_debt_who_did_all_that_was_asked() -> None:
    """Two of five prove, or mask: no sum is made, by no fault of theirs."""
    state, lengths = play_round(begin(), range(5), (0, 1))
    assert len(lengths) == 2
    assert (state.debtors, state.ranking) == ((), (LAB.client(0), LAB.client(1)))
    state, lengths = play_round(begin(), range(5), range(5), (1, 2))
    assert len(lengths) == 3
    assert state.debtors == tuple(sorted(LAB.client(i) for i in (0, 3, 4)))
    assert state.ranking == (LAB.client(1), LAB.client(2))


def test_a_round_that_breaks_off_frees_nobody_of_its_debt() -> None:
    """Else a cheater would pay with a round that it has spoilt."""
    state, _ = play_round(begin(), range(5), range(5), (1, 2, 3, 4))
    state, _ = play_round(state, range(5), range(5), (0, 1))
    assert LAB.client(0) in state.debtors


def test_a_liar_leads_no_more_from_the_block_that_records_it() -> None:
    state, _ = play_round(begin(), range(5))
    assert state.leader == LAB.client(0)
    state, _ = play(state, Phase.COMMIT, *range(5))
    state = LAB.extend(state)
    state = LAB.extend(state, [Refusal(proof=LAB.prove(0, state))])
    assert state.leader == LAB.client(1)
    state, _ = play(state, Phase.PROVE, 1, 2, 3, 4)
    state = serve(state, 1, 2, 3, 4)
    assert (state.debtors, state.leader) == ((LAB.client(0),), LAB.client(1))


def test_a_refusal_beside_a_valid_proof_is_no_lie() -> None:
    """Its client made a mistake, and mended it."""
    state, _ = play(begin(), Phase.COMMIT, *range(5))
    state = LAB.extend(state)
    state = LAB.extend(state, [Refusal(proof=LAB.prove(0, state, claimed=5))])
    state, _ = play(state, Phase.PROVE, *range(5))
    state = serve(state, *range(5))
    assert (state.debtors, state.leader) == ((), LAB.client(0))


def serve(state: ChainState, *taking_part: int) -> ChainState:
    """The rest of a round, from MASK on."""
    state, _ = play(state, Phase.MASK, *taking_part)
    state, _ = play(state, Phase.UNMASK, *taking_part)
    return LAB.extend(state)


def test_a_round_that_nobody_serves_has_no_leader() -> None:
    state, _ = play_round(begin(), range(5), range(5), ())
    assert (state.leader, len(state.debtors)) == (None, 5)
    assert sorted(proposers(state)) == [0, 1, 2, 3]


# -- disputes --------------------------------------------------------------------------------------


def dispute(excluded: tuple[Exclusion, ...] = ()) -> ChainState:
    """In ATTEST of the second round; client 0 has the best proof."""
    state = LAB.reach(Phase.ELECT, learning_round=1)
    return LAB.extend(state, aggregate=(LAB.dispute(state, excluded=excluded),))


def cheat(i: int) -> Exclusion:
    return Exclusion(client_key=LAB.client(i), cheat=Cheat.MASKED)


def test_who_is_expelled_never_commits_nor_leads_again() -> None:
    state = dispute((cheat(0),))
    assert (state.expelled, state.leader) == ((LAB.client(0),), LAB.client(1))
    state, n_blocks = play(state, Phase.ATTEST, 1, 2, 3, 4)
    assert n_blocks == 1, "it is asked for nothing any more"
    state = LAB.extend(state)
    assert (state.excluded, state.expelled) == ((), (LAB.client(0),))
    for _ in range(2):
        refused = LAB.block(state, [LAB.commit(0, state.learning_round)])
        assert find_fault(state, refused) == "transaction 0: the client is expelled"
        state, lengths = play_round(state, (1, 2, 3, 4))
        assert lengths == [1, 1, 1, 1], "and nobody waits for it"
        assert state.leader == LAB.client(1)


def test_who_leaves_a_dispute_unresolved_sits_out_ever_longer() -> None:
    state, sat_out = begin(), []
    for _ in range(12):
        number = state.learning_round
        if ChainRules().awaits(state, LAB.client(4)):
            state, _ = play(state, Phase.COMMIT, *range(5))
            state, _ = play(LAB.extend(state), Phase.PROVE, *range(5))
            state, _ = play(state, Phase.MASK, *range(5))
            state, _ = play(state, Phase.UNMASK, *range(5))
            state = LAB.extend(state, aggregate=(LAB.dispute(state),))
            state, _ = play(state, Phase.ATTEST, 0, 1, 2, 3)
            unresolved = replace(
                make_none(state, Failure.TOO_FEW),
                reason=(Failure.UNRESOLVED,),
                silent=(LAB.client(4),),
            )
            state = LAB.extend(state, aggregate=(unresolved,))
            assert state.debtors == (LAB.client(4),)
        else:
            state, lengths = play_round(state, (0, 1, 2, 3))
            assert lengths == [1, 1, 1, 1]
            sat_out.append(number)
    assert sat_out == [2, 4, 5, 7, 8, 9, 10, 12]


@pytest.mark.parametrize("phase", [Phase.ATTEST, Phase.REVEAL])
def test_who_is_asked_in_a_dispute_and_says_nothing_is_absent_and_in_debt(phase: Phase) -> None:
    state = LAB.reach(phase, learning_round=1)
    state, n_blocks = play(state, phase, 1, 2, 3, 4)
    assert n_blocks == SPENT
    assert is_absent(replace(state, learning_round=2), LAB.client(0))
    state = LAB.extend(state)
    assert (state.debtors, state.leader) == ((LAB.client(0),), LAB.client(1))


@pytest.mark.parametrize("phase", [Phase.ATTEST, Phase.REVEAL])
def test_a_dispute_waits_for_who_was_absent_too(phase: Phase) -> None:
    """Its silence is held against it: others must not end its time by being quick."""
    state = replace(
        LAB.reach(phase, learning_round=1), absences={LAB.client(4): Absence(length=4, until=9)}
    )
    *quick, slow = LAB.list_due(state)
    state = LAB.extend(state, quick)
    assert (state.phase, slow.client_key) == (phase, LAB.client(4))
    assert LAB.extend(state, [slow]).phase is Phase.ELECT


def test_bans_run_out_where_those_who_may_commit_do_not() -> None:
    """Too few are left for a sum, and no round would ever end that waited for one of them."""
    bans = {LAB.client(i): Absence(length=2, until=4) for i in range(3)}
    state = replace(begin(), bans=bans)
    for number in (1, 2, 3):
        assert (state.phase, state.learning_round) == (Phase.COMMIT, number)
        state, n_blocks = play(state, Phase.COMMIT)
        assert n_blocks == SPENT, "who may commit has its time"
        while state.phase is not Phase.COMMIT:
            state = LAB.extend(state)
    state, lengths = play_round(state, (0, 1, 2))
    assert (state.learning_round, len(lengths)) == (5, 4)


def test_where_enough_may_commit_a_round_waits_for_one_of_them() -> None:
    """Rounds don't run away while everybody is offline, whoever is banned."""
    state = replace(begin(), bans={LAB.client(0): Absence(length=64, until=80)})
    for _ in range(3 * SPENT):
        state = LAB.extend(state)
    assert (state.phase, state.learning_round) == (Phase.COMMIT, 1)


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
