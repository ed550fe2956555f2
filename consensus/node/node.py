"""A node: the process around agreement's `step`. One thread; time, disk and network end here.

    bytes of others ──authenticate, decode──> events ──step──> effects ──> disk, bytes, timers

What cannot be decoded or authenticated is counted and dropped. Whatever goes wrong with the
transport is waited out; what goes wrong with the own disk stops the node, before it votes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from consensus.agreement.authentication import authenticate, decode_message, decode_signed
from consensus.agreement.events import (
    Accuse,
    BlockBuilt,
    Build,
    Check,
    Config,
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
from consensus.agreement.memory import State, restore
from consensus.agreement.state import step
from consensus.content.interface import Blobs
from consensus.disk.identity import Identity
from consensus.disk.ledger import Ledger
from consensus.disk.place import resume_place
from consensus.errors import LedgerError
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.pace import compute_wait_ms, count_empty
from consensus.learning.rules import ChainRules
from consensus.node.catch_up import CatchUp
from consensus.node.desk import Desk
from consensus.node.metrics import NodeMetrics
from consensus.node.stream import BLOBS, FINAL, TRANSACTIONS, VOTES, Incoming, Transport
from consensus.node.timers import Timers
from consensus.node.verifier import BlockVerifier
from consensus.node.voice import Voice
from consensus.wire.finality import FinalityShare
from consensus.wire.genesis import Genesis
from consensus.wire.gossip_messages import BlobPart, BlobRequest, HeldState, Holdings
from consensus.wire.messages import (
    NIL,
    BeaconShare,
    BlockRequest,
    FinalBlock,
    Proposal,
    Receipt,
    Step,
    Vote,
)
from consensus.wire.transactions import decode_transaction
from prover.randomness import RandomBytes

GATHER_S = 0.02
"""How long a proposer waits for more once it has something to propose."""
LOOK_PAUSE_S = 0.2
"""How often a node looks for blobs that it lacks."""
_MAX_WAIT_S = 0.25

Log = Any
"""A structlog logger: heights, hashes and verdicts go there."""


class Node:
    """One validator, or an observer."""

    def __init__(
        self,
        genesis: Genesis,
        identity: Identity,
        *,
        ledger: Ledger,
        blobs: Blobs,
        transport: Transport,
        metrics: NodeMetrics,
        log: Log,
        random_bytes: RandomBytes,
        tell_wanted: Callable[[frozenset[bytes]], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        read_time_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """read_time_ms : since 1970; the median of such times is the time of blocks

        tell_wanted : called with the digests of the blobs that are lacked, now and then
        """
        self.genesis, self.identity, self.ledger = genesis, identity, ledger
        self._transport, self._metrics = transport, metrics
        self._log, self._blobs = log, blobs
        self._clock, self._read_time_ms, self._tell_wanted = clock, read_time_ms, tell_wanted
        verifier = BlockVerifier(genesis, blobs, random_bytes)
        self._desk = Desk(genesis, verifier, blobs, metrics=metrics, log=log)
        self._events: deque[Event] = deque()
        self._timers = Timers(clock)
        self._build: Build | None = None
        self._unchecked: dict[bytes, Check] = {}
        self._height_since = clock()
        self._ready_since: float | None = None
        self._looked_at = float("-inf")
        self._voice = Voice(
            genesis,
            identity,
            ledger=ledger,
            blobs=blobs,
            transport=transport,
            metrics=metrics,
            log=log,
            clock=clock,
        )
        self._catch_up = CatchUp(genesis)
        self._n_empty = count_empty(ledger.iter_newest(), genesis.timeouts)
        config = Config(
            n_validators=genesis.n_validators, validator=identity.index, rules=ChainRules()
        )
        self._desk.move_on(ledger.state, ledger.state)
        self._tell_place(ledger.state)
        resume_place(identity, ledger, genesis)
        self._state: State = restore(
            config, ledger.state, ledger.last_certificate, ledger.own_votes
        )

    @property
    def chain(self) -> ChainState:
        chain: ChainState = self._state.chain
        return chain

    # -- the loop

    def run(
        self, should_stop: Callable[[], bool], *, mend: Callable[[], None] = lambda: None
    ) -> None:
        """Until told to stop. Raises OSError when the own disk fails.

        mend : called when the transport is unreachable; raises nothing
        """
        self._log.info("node is up", height=self.ledger.height, torn=self.ledger.n_torn)
        self._take(Started())
        while not should_stop():
            try:
                self.turn()
            except RedisError as error:
                self._log.warning("transport unreachable", error=type(error).__name__)
                self._voice.begin_again(after_s=_MAX_WAIT_S)
                time.sleep(_MAX_WAIT_S)
                mend()

    def turn(self) -> None:
        """Messages, timers, checks, drafts, repetitions: once. Raises RedisError, OSError."""
        self._voice.watch_streams()
        self._voice.repeat(self._state, self._desk.list_pending)
        for incoming in self._transport.read(self._compute_wait_ms()):
            self._receive(incoming)
        self._fire_timers()
        self._look_for_blobs()
        self._judge_pending()
        self._check_blocks()
        self._mind_due()
        self._try_build()

    def _compute_wait_ms(self) -> int:
        now = self._clock()
        until = [now + _MAX_WAIT_S, self._voice.get_due_time(self.chain), self._timers.next_at]
        if self._build is not None:
            until.append(self._find_build_time(self._build))
        return max(1, int(max(0.0, min(until) - now) * 1000))

    def _take(self, event: Event) -> None:
        """One event and all that follows from it."""
        self._events.append(event)
        while self._events:
            event = self._events.popleft()
            self._state, effects = step(self._state, event, self._read_time_ms())
            for effect in effects:
                self._carry_out(effect)
        self._metrics.round.set(self._state.round)

    # -- effects

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send():
                self._sign_and_send(effect)
            case Relay():
                self._voice.say(VOTES, *effect.messages)
            case Schedule():
                self._set_timer(effect)
            case Build():
                self._build = effect
            case Check():
                self._unchecked[effect.block_hash] = effect
                self._voice.hurry_blobs()
            case Finalize():
                self._finalize(effect.final)
            case Fetch():
                self._voice.fetch(effect.height)
            case Accuse():
                self._desk.accuse(effect.evidence)

    def _sign_and_send(self, effect: Send) -> None:
        message, place = effect.message, self.identity.place
        assert place is not None  # an observer says nothing of its own
        if not isinstance(message, Receipt) and not place.allows(message):
            self._log.warning("not signed again", height=message.height, round=message.round)
            return
        signed = self._voice.sign(message)
        if isinstance(signed, Vote | Proposal):
            self.ledger.record_vote(signed, effect.grounds)
            place.advance(signed)
        if isinstance(signed, Vote):
            choice = "nil" if signed.block_hash == NIL else "block"
            self._metrics.votes.labels(Step(signed.step).name.lower(), choice).inc()
        self._voice.say(VOTES, signed)
        self._events.append(Received(signed))

    def _set_timer(self, effect: Schedule) -> None:
        if self.chain.phase is Phase.DONE:
            return
        t = self.genesis.timeouts
        base = {
            # In round 0 a proposer waits for something to propose.
            Step.PROPOSE: t.propose_ms + (self._compute_wait_for_due() if effect.round == 0 else 0),
            Step.PREVOTE: t.prevote_ms,
            Step.PRECOMMIT: t.precommit_ms,
        }[effect.step]
        fired = TimeoutFired(effect.step, effect.height, effect.round)
        self._timers.add(base + effect.round * t.increase_ms, fired)

    def _compute_wait_for_due(self) -> int:
        """Milliseconds that a proposer of this height waits, if nothing is due meanwhile."""
        return compute_wait_ms(self.chain, self._state.certificate, self._n_empty)

    def _mind_due(self) -> None:
        """Once something is due, nobody waits for the proposer longer than in a busy chain."""
        chain = self.chain
        if self._ready_since is not None or chain.phase is Phase.DONE:
            return
        if self._desk.is_anything_due(chain):
            self._ready_since = self._clock()
            t = self.genesis.timeouts
            fired = TimeoutFired(Step.PROPOSE, self._state.height, 0)
            self._timers.add(t.propose_ms + t.empty_block_ms, fired)

    def _fire_timers(self) -> None:
        while (fired := self._timers.pop_due()) is not None:
            self._take(fired)

    def _finalize(self, final: FinalBlock) -> None:
        """On disk first; then everything that goes by heights begins anew."""
        before = self.ledger.state
        for vote in final.certificate.votes:
            self._notice(vote)
        for digest in self.ledger.append(final):
            self._blobs.discard(digest)
        after = self.ledger.state
        self._begin_height(before, after)
        if after.leader != before.leader:
            self._metrics.leader_changes.inc()
        self._log.info(
            "block is final",
            height=after.height,
            hash=after.head.hex()[:16],
            phase=after.phase.value,
            transactions=len(final.block.transactions),
        )
        self._voice.say_final(final, before, after)

    def _begin_height(self, before: ChainState, after: ChainState) -> None:
        self._build, self._ready_since = None, None
        self._unchecked.clear()
        self._timers.clear()
        self._height_since = self._clock()
        self._n_empty = count_empty(self.ledger.iter_newest(), self.genesis.timeouts)
        self._desk.move_on(before, after)
        self._tell_place(after)

    def _tell_place(self, chain: ChainState) -> None:
        self._metrics.height.set(chain.height)
        self._metrics.learning_round.set(chain.learning_round)

    # -- messages

    def _receive(self, incoming: Incoming) -> None:
        known = {
            TRANSACTIONS: self._on_transaction,
            VOTES: self._on_vote,
            FINAL: self._on_final,
            BLOBS: self._on_blob,
        }
        if not known[incoming.stream](incoming.raw):
            self._metrics.refused.labels(incoming.stream).inc()

    def _on_transaction(self, raw: bytes) -> bool:
        tx = decode_transaction(raw)
        if tx is None:
            return False
        fault = self._desk.add_transaction(self.chain, tx)
        if fault is not None:
            self._transport.forget(raw)  # its client may register, or another leave room
            return False
        self._voice.note(tx)
        return True

    def _on_vote(self, raw: bytes) -> bool:
        match decode_message(raw, self.genesis):
            case Holdings() as holdings:
                self._voice.answer_holdings(holdings, self._state, self._desk.list_pending())
            case Receipt() as receipt:
                self._voice.note(receipt)
                self._take(Received(receipt))
            case Vote() | Proposal() as message:
                self._notice(message)
                self._metrics.peer_height.labels(str(message.validator)).set(message.height)
                self._take(Received(message))
            case FinalityShare() as share:
                return self._voice.take_share(share)
            case BeaconShare() as share:
                return self._desk.add_share(self.chain, share) is None
            case BlockRequest() as request:
                self._voice.answer(request)
            case BlobRequest() as request:
                self._voice.answer_blob(request)
            case _:
                return False
        return True

    def _notice(self, message: Vote | Proposal) -> None:
        """What this validator signed and does not know of: it runs on a copy of its folder."""
        place = self.identity.place
        if place is None or message.validator != self.identity.index:
            return
        if place.notice(message):
            self._log.error("own vote was forgotten: sits this height out", height=message.height)

    def _on_final(self, raw: bytes) -> bool:
        held = HeldState.decode(raw)
        if held is not None:
            self._transport.forget(raw)  # the block that names it may still come
            return self._jump(held)
        certificate = FinalBlock.read_certificate(raw)
        if certificate is None:
            return False
        if certificate.height <= self.chain.height:
            return True
        signed = authenticate(certificate, self.genesis) is None
        final = FinalBlock.decode(raw) if signed else None
        if final is None:
            return False
        if final.block.height == self.chain.height + 1:
            self._take(FinalReceived(final))
        else:
            self._transport.forget(raw)
            self._catch_up.expect(final, self.chain.height)
            self._voice.fetch(self.chain.height + 1)
        return True

    def _on_blob(self, raw: bytes) -> bool:
        part = decode_signed(BlobPart, raw, self.genesis)
        if part is None:
            return False
        blob = self._voice.take_part(part)
        if blob is not None:
            self._desk.keep_blob(blob)
        return True

    def _jump(self, held: HeldState) -> bool:
        """Goes on from a state of peers that have let go of the blocks before it."""
        snapshot = self._catch_up.take(held, self.chain.height)
        if snapshot is None:
            return False
        before = self.ledger.state
        try:
            self.ledger.jump(snapshot)
        except LedgerError as error:
            self._log.warning("stays where it is", why=error.what, next_step=error.next_step)
            return True
        self._log.info("went on from a snapshot", height=self.ledger.height)
        for vote in snapshot.final.certificate.votes:
            self._notice(vote)
        self._begin_height(before, self.ledger.state)
        self._state = restore(
            self._state.config, self.ledger.state, self.ledger.last_certificate, ()
        )
        self._take(Started())
        return True

    # -- checks and drafts

    def _judge_pending(self) -> None:
        for tx in self._desk.judge_pending(self.chain):
            self._take(Held(tx))

    def _look_for_blobs(self) -> None:
        """Now and then: what was lacked may be here meanwhile, or a peer may have it."""
        now = self._clock()
        if now - self._looked_at >= LOOK_PAUSE_S:
            self._looked_at = now
            wanted = tuple(self._desk.list_wanted(self.chain))
            self._desk.look_again()  # after it: what waits for a blob lacks it until looked at
            if self._tell_wanted is not None:
                self._tell_wanted(frozenset(wanted))
            self._voice.want_blobs(wanted)

    def _check_blocks(self) -> None:
        for block_hash, check in list(self._unchecked.items()):
            if block_hash not in self._unchecked:
                continue  # one before it has become final
            checked = self._desk.check(self.chain, check)
            if checked is not None:
                del self._unchecked[block_hash]
                self._take(checked)

    def _find_build_time(self, build: Build) -> float:
        """When this block should be made, as far as is known."""
        if build.round > 0:
            return float("-inf")  # at once
        if self._ready_since is not None:
            return self._ready_since + GATHER_S
        return self._height_since + self._compute_wait_for_due() / 1000

    def _try_build(self) -> None:
        build, index = self._build, self.identity.index
        if build is None or index is None or self.chain.phase is Phase.DONE:
            return
        if self._clock() < self._find_build_time(build):
            return
        block = self._desk.draft(
            self.chain,
            proposer=index,
            certificate=self._state.certificate,
            round=build.round,
        )
        if block is not None:
            self._build = None
            self._take(BlockBuilt(build.height, build.round, block))
