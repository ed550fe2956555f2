"""READ FIRST: how nodes agree on the next block. Pure: no clock, no I/O, no randomness.

Tendermint, arXiv 1807.04938, Algorithm 1; "line n" below is a line of it.

                     proposal            2f+1 prevotes for it: lock        2f+1 precommits for it
    ┌─────────┐ (22, 28) or timeout ┌─────────┐ (36), for nil (44), ┌───────────┐   from any step
    │ PROPOSE │────────────────────>│ PREVOTE │────────────────────>│ PRECOMMIT │──────┐   (49)
    └─────────┘        (57)         └─────────┘  or timeout (61)    └───────────┘      v
         ^                                                               │         final block,
         │        next round: timeout after 2f+1 precommits (47, 65)     │         next height,
         └───────────────────────────────────────────────────────────────┘         round 0
              f+1 validators are in a later round: go there (55), from any step

Who proposes in which round of a height follows from final blocks (`consensus.learning.election`);
what blocks mean, and the phases of learning rounds, is drawn in `consensus.learning.chain`.
`consensus.agreement.events` holds what goes in and out, `consensus.agreement.memory` what is
remembered. Where this differs from the paper:

- valid(v) takes time: `Check` asks, `BlockChecked` answers, and rules that need it wait.
- The proposer has a timer as well: it may fail to build a block.
- A block that has a quorum of votes counts whichever proposal of this height brought it.
- Line 55 takes f + 1 messages of that round or of later ones, so that lost ones don't matter.
- The paper's network passes on to all what one correct process has seen. Here a node relays the
  polka it knows (its block and 2f+1 prevotes) when a round fails, and sends its own messages again
  (`memory.list_repeats`); a polka of an earlier round is remembered as in lines 42 and 43.
- A new block that leaves out a transaction with receipts is prevoted nil
  (`consensus.agreement.receipts`), and so is an aggregate that leaves out a model which this node
  has (`consensus.learning.absence`); a block with a polka is not: someone may be locked on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from consensus.agreement.events import (
    Accuse,
    BlockBuilt,
    BlockChecked,
    Check,
    Effect,
    Event,
    Fetch,
    Finalize,
    FinalReceived,
    Held,
    Received,
    Relay,
    Schedule,
    Send,
    Started,
    TimeoutFired,
)
from consensus.agreement.memory import (
    State,
    enter_height,
    get_tally,
    has_polka,
    list_polka,
    list_repeats,
    record_early,
    record_late,
    record_proposal,
    record_vote,
)
from consensus.agreement.receipts import list_heard
from consensus.agreement.turn import Turn
from consensus.wire.messages import (
    NIL,
    Block,
    FinalBlock,
    Proposal,
    QuorumCertificate,
    Receipt,
    Step,
    Vote,
)


def step(state: State, event: Event, time_ms: int) -> tuple[State, tuple[Effect, ...]]:
    """One transition: the state after the event, and what to do, in this order.

    time_ms : the node's clock, which its precommits tell; nothing here depends on it
    Total: an event that comes late, twice or from nowhere changes nothing.
    """
    turn = Turn(state, time_ms)
    _HANDLERS[type(event)](turn, event)
    while any(rule(turn) for rule in _RULES):
        pass
    return turn.state, tuple(turn.effects)


# -- rules of the paper ----------------------------------------------------------------------------
# Each says whether it fired. After any event they run until none does.


def is_unlocked(state: State, block_hash: bytes, valid_round: int) -> bool:
    """Lines 23 and 29: our lock allows a prevote for this block.

    valid_round : of its polka, -1 for none
    """
    return state.locked_round <= valid_round or state.locked_hash == block_hash


def is_censoring(state: State, block: Block) -> bool:
    """The block leaves out a transaction that had its receipts before this round began."""
    if not state.due:
        return False
    heard, rules = list_heard(block), state.config.rules
    left_out = any(c not in heard and rules.awaits(state.chain, c) for c in state.due)
    return left_out and not rules.is_full(state.chain, block)


def lock(state: State, block_hash: bytes) -> State:
    """Lines 38 and 39."""
    return replace(state, locked_round=state.round, locked_hash=block_hash)


def _decide(turn: Turn) -> bool:
    """Line 49: 2f + 1 precommits of any round for a valid block make it final."""
    state = turn.state
    for known in state.rounds.values():
        block_hash = known.precommits.find_block(state.config.quorum)
        if block_hash is not None and state.is_valid(block_hash):
            certificate = QuorumCertificate.of(known.precommits.list_votes(block_hash))
            block = state.candidates[block_hash].block
            _finalize(turn, FinalBlock(block=block, certificate=certificate))
            return True
    return False


def _skip(turn: Turn) -> bool:
    """Line 55: f + 1 validators have reached a later round; at least one of them is correct."""
    state = turn.state
    later = sorted((n for n in state.ahead.values() if n > state.round), reverse=True)
    if len(later) < state.config.support:
        return False
    turn.start_round(later[state.config.support - 1])
    return True


def _prevote(turn: Turn) -> bool:
    """Line 22, and line 28 for a block that had its polka in an earlier round."""
    state = turn.state
    known = state.get_round(state.round)
    if state.step != Step.PROPOSE or known.proposal is None:
        return False
    block_hash, valid_round = known.proposal_hash, known.proposal.valid_round - 1
    if valid_round >= 0 and not has_polka(state, valid_round, block_hash):
        return False
    accepted = is_unlocked(state, block_hash, valid_round)
    if accepted and block_hash not in state.faults:
        return False  # under check
    if valid_round < 0 and state.locked_hash != block_hash:
        accepted = accepted and not is_censoring(state, known.proposal.block)
        accepted = accepted and block_hash not in state.unfair
    accepted = accepted and state.is_valid(block_hash)
    turn.vote(Step.PREVOTE, block_hash if accepted else NIL)  # lines 24, 26, 30, 32
    return True


def _await_prevotes(turn: Turn) -> bool:
    """Line 34: enough prevotes to go on; wait a little for agreement among them."""
    state = turn.state
    known = state.get_round(state.round)
    enough = known.prevotes.n_voters >= state.config.quorum
    if state.step != Step.PREVOTE or known.prevote_timer or not enough:
        return False
    turn.note(state.round, prevote_timer=True)
    turn.effects.append(Schedule(Step.PREVOTE, state.height, state.round))
    return True


def _see_polka(turn: Turn) -> bool:
    """Line 36: 2f + 1 prevotes for a valid block; lock it and precommit, or just remember it."""
    state = turn.state
    known = state.get_round(state.round)
    if state.step < Step.PREVOTE or known.has_polka:
        return False
    block_hash = known.prevotes.find_block(state.config.quorum)
    if block_hash is None or not state.is_valid(block_hash):
        return False
    turn.note(state.round, has_polka=True)
    if state.step == Step.PREVOTE:
        turn.state = lock(turn.state, block_hash)
        grounds = list_polka(state, state.round, block_hash)
        turn.vote(Step.PRECOMMIT, block_hash, grounds)  # lines 40, 41
    turn.state = replace(turn.state, valid_round=state.round, valid_hash=block_hash)  # lines 42, 43
    if known.precommit_timer:
        turn.relay_polka()
    return True


def _recall_polka(turn: Turn) -> bool:
    """Lines 42 and 43 for an earlier round: a polka that came late is worth proposing as well.

    It binds nobody (the lock is of line 36 alone), so safety does not depend on it.
    """
    state = turn.state
    for number, known in state.rounds.items():
        if state.valid_round < number < state.round:
            block_hash = known.prevotes.find_block(state.config.quorum)
            if block_hash is not None and state.is_valid(block_hash):
                turn.state = replace(state, valid_round=number, valid_hash=block_hash)
                return True
    return False


def _precommit_nil(turn: Turn) -> bool:
    """Line 44: 2f + 1 prevotes for nil; nothing can come of this round."""
    state = turn.state
    n_nil = state.get_round(state.round).prevotes.count(NIL)
    if state.step != Step.PREVOTE or n_nil < state.config.quorum:
        return False
    turn.vote(Step.PRECOMMIT, NIL)  # lines 45, 46
    return True


def _await_precommits(turn: Turn) -> bool:
    """Line 47: enough precommits to go on; wait a little for agreement among them."""
    state = turn.state
    known = state.get_round(state.round)
    if known.precommit_timer or known.precommits.n_voters < state.config.quorum:
        return False
    turn.note(state.round, precommit_timer=True)
    turn.effects.append(Schedule(Step.PRECOMMIT, state.height, state.round))
    turn.relay_polka()
    return True


_RULES: tuple[Callable[[Turn], bool], ...] = (
    _decide,
    _skip,
    _prevote,
    _see_polka,
    _recall_polka,
    _precommit_nil,
    _await_prevotes,
    _await_precommits,
)


# -- events ----------------------------------------------------------------------------------------


def _finalize(turn: Turn, final: FinalBlock) -> None:
    """Lines 51 to 54; then what already came for the next height."""
    state = turn.state
    turn.effects.append(Finalize(final))
    chain = state.config.rules.apply(state.chain, final.block)
    turn.state = enter_height(state, chain, final.certificate)
    early = turn.state.early
    turn.state = replace(turn.state, early={})
    turn.start_round(0)
    for message in early.values():
        _take_message(turn, message)


def _on_started(turn: Turn, event: Started) -> None:
    """Line 10, or on where the log ends."""
    state = turn.state
    turn.state = replace(state, due=state.book.list_due(state.config.quorum))
    for block_hash, proposal in state.candidates.items():
        turn.effects.append(Check(proposal.block, block_hash))
    turn.open_round()
    again = list_repeats(state)
    if again:
        turn.effects.append(Relay(again))


def _on_received(turn: Turn, event: Received) -> None:
    message = event.message
    if isinstance(message, Receipt):
        turn.state = replace(turn.state, book=turn.state.book.record(message))
    else:
        _take_message(turn, message)


def _take_message(turn: Turn, message: Proposal | Vote) -> None:
    state = turn.state
    if message.height > state.height:
        turn.state = record_early(state, message)
        if turn.state is state:  # told before, or too far on: not a matter of moments
            turn.effects.append(Fetch(state.height))
    elif message.height < state.height:
        turn.state = record_late(state, message)
    elif isinstance(message, Vote):
        _take_vote(turn, message)
    else:
        _take_proposal(turn, message)


def _take_vote(turn: Turn, vote: Vote) -> None:
    state = turn.state
    tally = get_tally(state.get_round(vote.round), vote.step)
    evidence = tally.find_contradiction(vote)
    if evidence is not None and vote.validator not in state.accused:
        turn.effects.append(Accuse(evidence))
        state = replace(state, accused=state.accused | {vote.validator})
    turn.state = record_vote(state, vote)


def _take_proposal(turn: Turn, proposal: Proposal) -> None:
    block_hash = proposal.block.hash
    known = turn.state.candidates
    turn.state = record_proposal(turn.state, proposal, block_hash)
    if block_hash not in known and block_hash in turn.state.candidates:
        turn.effects.append(Check(proposal.block, block_hash))


def _on_timeout(turn: Turn, event: TimeoutFired) -> None:
    state = turn.state
    if (event.height, event.round) != (state.height, state.round):
        return
    if event.step == Step.PRECOMMIT:  # line 65
        turn.start_round(state.round + 1)
    elif event.step == state.step == Step.PROPOSE:  # line 57
        turn.vote(Step.PREVOTE, NIL)
    elif event.step == state.step == Step.PREVOTE:  # line 61
        turn.vote(Step.PRECOMMIT, NIL)


def _on_built(turn: Turn, event: BlockBuilt) -> None:
    state = turn.state
    if (event.height, event.round, state.step) != (state.height, state.round, Step.PROPOSE):
        return
    waiting = state.is_proposer and not state.get_round(state.round).proposed
    if waiting and event.block.height == state.height:
        turn.propose(event.block, -1)


def _on_checked(turn: Turn, event: BlockChecked) -> None:
    state = turn.state
    if event.height == state.height and event.block_hash in state.candidates:
        turn.state = replace(state, faults={**state.faults, event.block_hash: event.fault})
        if event.leaves_out:
            turn.state = replace(turn.state, unfair=state.unfair | {event.block_hash})


def _on_final(turn: Turn, event: FinalReceived) -> None:
    state, block = turn.state, event.final.block
    if block.height == state.height and block.parent == state.chain.head:
        _finalize(turn, event.final)


def _on_held(turn: Turn, event: Held) -> None:
    """Signs a receipt for the first valid transaction of a client that the next block may hold."""
    state, tx = turn.state, event.transaction
    if not state.config.rules.takes(state.chain, tx):
        return
    digest = tx.digest
    book = state.book.hold(tx.client_key, digest)
    if book is state.book:
        return
    turn.state = replace(state, book=book)
    if state.config.validator is not None:
        receipt = Receipt(
            learning_round=book.learning_round,
            transaction_digest=digest,
            validator=state.config.validator,
        )
        turn.effects.append(Send(receipt))


_HANDLERS: dict[type, Callable[[Turn, Any], None]] = {
    Started: _on_started,
    Received: _on_received,
    TimeoutFired: _on_timeout,
    BlockBuilt: _on_built,
    BlockChecked: _on_checked,
    FinalReceived: _on_final,
    Held: _on_held,
}
