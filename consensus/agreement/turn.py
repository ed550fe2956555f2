"""A step of `consensus.agreement.state` under way: the state so far, and the effects so far."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from consensus.agreement.events import Build, ConsensusMessage, Effect, Relay, Schedule, Send
from consensus.agreement.memory import State, enter_round, list_polka, put_round
from consensus.wire.messages import Block, Proposal, Step, Vote


class Turn:
    """What the rules of one step change; gone with it."""

    __slots__ = ("effects", "state", "time_ms")

    def __init__(self, state: State, time_ms: int) -> None:
        self.state = state
        self.time_ms = time_ms
        self.effects: list[Effect] = []

    def note(self, number: int, **changes: Any) -> None:
        """Changes what is known of a round."""
        known = replace(self.state.get_round(number), **changes)
        self.state = put_round(self.state, number, known)

    def start_round(self, number: int) -> None:
        """Lines 11 to 21."""
        self.relay_polka()
        self.state = enter_round(self.state, number)
        self.open_round()

    def open_round(self) -> None:
        """Lines 14 to 21, for a round that this node may have been in before it stopped."""
        state = self.state
        if state.step != Step.PROPOSE:
            return
        self.effects.append(Schedule(Step.PROPOSE, state.height, state.round))  # line 21
        if not state.is_proposer or state.get_round(state.round).proposed:
            return
        if state.valid_hash in state.candidates:
            self.propose(
                state.candidates[state.valid_hash].block, state.valid_round
            )  # lines 16, 19
            self.relay_polka(again=True)
        else:
            self.effects.append(Build(state.height, state.round))  # line 18

    def propose(self, block: Block, valid_round: int) -> None:
        """Line 19. valid_round : of the block's polka, -1 for none"""
        state = self.state
        assert state.config.validator is not None  # who only observes is no proposer
        self.note(state.round, proposed=True)
        proposal = Proposal(
            height=state.height,
            round=state.round,
            valid_round=valid_round + 1,
            block=block,
            validator=state.config.validator,
        )
        self.effects.append(Send(proposal))

    def vote(
        self, kind: Step, block_hash: bytes, grounds: tuple[ConsensusMessage, ...] = ()
    ) -> None:
        """Votes, unless only observing, and moves on to the step of that vote."""
        state = self.state
        self.state = replace(state, step=kind)
        if state.config.validator is None:
            return
        vote = Vote(
            step=kind,
            height=state.height,
            round=state.round,
            block_hash=block_hash,
            time_ms=self.time_ms if kind == Step.PRECOMMIT else 0,
            validator=state.config.validator,
        )
        self.effects.append(Send(vote, grounds))

    def relay_polka(self, *, again: bool = False) -> None:
        """Shows others the latest polka known, once, or again with a proposal that rests on it.

        So all correct nodes soon know the highest one, and whoever is locked can let go; section 3
        of the paper asks this of the network.
        """
        number, block_hash = self.state.valid_round, self.state.valid_hash
        if number < 0 or (self.state.get_round(number).relayed and not again):
            return
        self.note(number, relayed=True)
        self.effects.append(Relay(list_polka(self.state, number, block_hash)))
