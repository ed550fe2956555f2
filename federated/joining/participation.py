"""One client's part in a task from now on: what is due, sent until it is final, round after round.

The chain comes from a light client (`consensus.node.watch`), which believes nobody but 2f + 1
validators of the genesis. Everything that must survive is in the client's folder before it is sent,
so this may end at any point, in whatever way, and be started again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from redis.exceptions import RedisError

from consensus.aggregation.outcome import Ending as RoundEnding
from consensus.errors import AnswerRefused, BlobMissing
from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.ethereum import format_address
from consensus.wire.messages import FinalBlock
from consensus.wire.outcomes import Aggregate
from consensus.wire.transactions import (
    Commit,
    Contribution,
    Proof,
    Register,
    RoundStep,
    SentTransaction,
)
from federated.client import Client
from federated.errors import BelowThreshold, NodesSilent, NotAdmitted
from federated.rounds.duties import name_deals
from prover.errors import RangeExceeded, UpdateExceeds

RESEND_S = 1.0
"""What is due is said again after this: the transport may have lost it."""
WINDOW_S, MAX_NEWS = 1.0, 4
"""A chain that brings no more blocks than this in such a time is followed, not caught up with."""
PATIENCE_S = 120.0
"""Without a block, where the chain itself makes empty ones more often."""
_DONE = {
    RoundStep.MASK: "sent its model under masks",
    RoundStep.UNMASK: "answered for the masks of the sum",
    RoundStep.ATTEST: "attested its masks",
    RoundStep.REVEAL: "revealed its masks with those who have cheated",
}
_POLL_MS = 100
_PAUSE_S = 0.2  # between looks for a server that is being started again


class Chain(Protocol):
    """What `consensus.node.watch.Watch` is to a client."""

    @property
    def state(self) -> ChainState: ...
    def poll(self, wait_ms: int) -> list[tuple[FinalBlock, ChainState]]: ...
    def send(self, tx: SentTransaction) -> None: ...
    def look_for(self, digests: list[bytes]) -> None: ...


class Outcome(StrEnum):
    """How taking part has ended."""

    DONE = "done"  # it entered a global model
    OVER = "task_over"  # before this client could do anything
    MISSED = "missed"  # it took part, or wanted to, and entered none
    EXPELLED = "expelled"  # a block says that it has cheated


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """rounds : in whose global model this client is, as far as blocks were seen; from 0"""

    outcome: Outcome
    rounds: tuple[int, ...]


class Participation:
    """A client and the chain that it follows. report(what) : a sentence for people, now and then"""

    def __init__(
        self,
        client: Client,
        chain: Chain,
        *,
        report: Callable[[str], None],
        offer: Callable[[SentTransaction], None] = lambda tx: None,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """offer : brings what a transaction names to who looks for it, each time that it is sent

        patience_s : without a block; never less than a quiet chain leaves between two
        """
        self._client, self._chain = client, chain
        self._report, self._offer = report, offer
        self._clock, self._sleep = clock, sleep
        longest_s = chain.state.genesis.timeouts.longest_empty_ms / 1000
        self._patience_s = max(patience_s, 3 * longest_s)
        self._heard_at = clock()
        self._rounds: list[int] = []
        self._out_of: int | None = None
        self._is_account_known = False
        self._sent: SentTransaction | None = None
        self._sent_at = float("-inf")

    def run(self, *, once: bool) -> Ending:
        """Until the task is over, or with `once` until one learning round is.

        Raises NotAdmitted, NodesSilent; what `Client.act` raises, but for blobs that are to come.
        """
        self._catch_up()
        if self._chain.state.phase is Phase.DONE:
            return self._end(Outcome.OVER)
        goal = self._choose_round() if once else None
        while (state := self._chain.state).phase is not Phase.DONE:
            if goal is not None and state.learning_round > goal:
                break
            if self._client.public_key in state.expelled:
                return self._end(Outcome.EXPELLED)
            self._require_admission(state)
            self._compare_account(state)
            self._act(state)
            self._poll()
        is_in = bool(self._rounds) if goal is None else goal in self._rounds
        return self._end(Outcome.DONE if is_in else Outcome.MISSED)

    def _end(self, outcome: Outcome) -> Ending:
        return Ending(outcome=outcome, rounds=tuple(self._rounds))

    def _choose_round(self) -> int:
        """The round under way while one can still commit, or this client has; else the next."""
        state = self._chain.state
        is_open = state.phase in (Phase.REGISTER, Phase.ORDER, Phase.COMMIT)
        is_in = self._client.public_key in state.commits
        return state.learning_round + (0 if is_open or is_in else 1)

    def _require_admission(self, state: ChainState) -> None:
        if self._client.public_key in state.clients:
            return
        if state.phase is not Phase.REGISTER:
            raise NotAdmitted(
                f"registration of the task closed with {len(state.clients)} of at most "
                f"{state.genesis.task.n_expected} clients, this one not among them; "
                "ask who runs the task for another one"
            )
        self._client.require_permit()

    def _compare_account(self, state: ChainState) -> None:
        """Says once that contracts will not pay the account that this client names."""
        key, asked = self._client.public_key, self._client.account.address
        if self._is_account_known or key not in state.clients:
            return
        self._is_account_known = True
        bound = state.accounts.get(key, b"")
        if asked and bound != asked:
            found = f"to {format_address(bound)}" if bound else "to none"
            self._report(
                f"this client is not bound to {format_address(asked)} but {found}, for ever: it "
                "was registered before it named that account, or another client has it"
            )

    # -- what comes in

    def _catch_up(self) -> None:
        """Returns when blocks come no faster than a chain makes them: what is due is due now."""
        while True:
            ends_at, height = self._clock() + WINDOW_S, self._chain.state.height
            while self._clock() < ends_at:
                self._poll()
            if self._chain.state.height <= height + MAX_NEWS:
                return

    def _poll(self) -> None:
        """Takes what has become final; waits a moment for it. Raises NodesSilent."""
        try:
            news = self._chain.poll(_POLL_MS)
        except RedisError:
            self._sleep(_PAUSE_S)
            news = []
        for final, _ in news:
            self._heard_at = self._clock()
            for aggregate in final.block.aggregate:
                self._note(aggregate)
        if self._clock() - self._heard_at > self._patience_s:
            raise NodesSilent(self._patience_s, self._chain.state.height)

    def _note(self, aggregate: Aggregate) -> None:
        """A round has ended, or somebody has cheated in it."""
        number = aggregate.learning_round + 1
        if aggregate.ending in (RoundEnding.DISPUTE, RoundEnding.REVEAL):
            self._report(f"round {number}: the sum does not open, somebody has cheated")
        elif aggregate.ending is RoundEnding.NONE:
            self._report(f"round {number} ended without a model: {', '.join(aggregate.reason)}")
        else:
            is_in = any(entry.client_key == self._client.public_key for entry in aggregate.entries)
            if is_in:
                self._rounds.append(aggregate.learning_round)
            part = "among them" if is_in else "not among them"
            n = len(aggregate.entries)
            self._report(f"round {number} ended: a mean of {n} models, this client's {part}")

    # -- what goes out

    def _act(self, state: ChainState) -> None:
        """What is due now and again; made first, which may take long."""
        if self._out_of == state.learning_round:
            return
        started_at = self._clock()
        try:
            due = self._client.act(state)
        except (AnswerRefused, BelowThreshold, RangeExceeded, UpdateExceeds) as refused:
            if isinstance(refused, RangeExceeded) and state.genesis.task.training is None:
                raise  # no other round's model will fit the scales any better
            self._out_of = state.learning_round
            self._report(f"round {state.learning_round + 1}: {refused}")
            return
        except BlobMissing as lacking:
            # One after the other would take a moment for each neighbour.
            more = name_deals(state, self._client.public_key) if state.phase is Phase.UNMASK else {}
            self._chain.look_for([lacking.digest, *more.values()])
            return
        now = self._clock()
        self._heard_at += now - started_at  # blocks came, but nobody listened
        if due is None or (due is self._sent and now - self._sent_at < RESEND_S):
            return
        if due is not self._sent:
            self._report(describe(due))
        try:
            self._chain.send(due)
        except RedisError:
            self._sleep(_PAUSE_S)
            return
        self._sent, self._sent_at = due, now
        self._offer(due)


def describe(tx: SentTransaction) -> str:
    """A transaction for people."""
    match tx:
        case Register():
            return f"registering as {tx.client_key.hex()}"
        case Commit():
            what = "committed to its model" + (" and each of its steps" if tx.trajectory else "")
        case Proof():
            what = "proven its accuracy" + (" and its training" if tx.training else "")
        case Contribution():
            what = _DONE[RoundStep(tx.step)]
    return f"round {tx.learning_round + 1}: {what}"
