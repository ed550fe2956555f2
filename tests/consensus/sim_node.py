"""A node of the simulator: the state machine with a disk, timers and work that take their time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from consensus.agreement import authentication, memory, state
from consensus.agreement.events import (
    Accuse,
    BlockBuilt,
    BlockChecked,
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
from consensus.wire.messages import (
    BeaconShare,
    Block,
    Evidence,
    FinalBlock,
    Proposal,
    QuorumCertificate,
    Receipt,
    Vote,
)
from consensus.wire.transactions import Commit, Contribution, Proof, Register, Transaction

if TYPE_CHECKING:
    from tests.consensus.simulator import World

DELTA_MS = 20
WORK_MS = 5  # at most, for building or checking a block
REPEAT_MS = 60
TIMEOUT_MS = 150  # of a step of round 0
INCREASE_MS = 50
CLOCK_MS = 1_000_000  # when the network begins
DRIFT_MS = 30  # of the clocks of correct nodes, either way


class Violation(AssertionError):
    """A promise of the protocol was broken."""


@dataclass(frozen=True)
class Request:
    """Asks for a final block."""

    height: int
    sender: int


class Crash(Exception):
    """A process ends between two effects, or within one."""


@dataclass
class Node:
    """A correct validator: the shell around `step`. `ledger` and `log` survive a crash."""

    world: World
    index: int
    ledger: list[FinalBlock] = field(default_factory=list)
    log: list[Any] = field(default_factory=list)
    life: int = 0
    down: bool = True  # until started
    crash_in: int | None = None  # effects until it crashes
    state: Any = None
    chain: Any = None
    pending: dict[bytes, Transaction] = field(default_factory=dict)
    shares: dict[int, BeaconShare] = field(default_factory=dict)  # by validator
    evidence: dict[int, Evidence] = field(default_factory=dict)
    last_place: tuple[int, int, int] = (0, 0, 0)
    events: deque[Event] = field(default_factory=deque)
    busy: bool = False

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """After construction or a crash: from the ledger and the log alone."""
        self.down = False
        self.life += 1
        self.pending, self.shares, self.evidence = {}, {}, {}
        rules = self.world.scene.rules
        self.chain = self.world.scene.start()
        for final in self.ledger:
            self.chain = rules.apply(self.chain, final.block)
        config = Config(n_validators=self.world.n, validator=self.index, rules=rules)
        last = self.ledger[-1].certificate if self.ledger else None
        self.state = memory.restore(config, self.chain, last, self.log)
        self.step(Started())
        self.world.call_in(self.world.rng.randrange(REPEAT_MS), self.tick, self.life)

    def crash(self) -> None:
        self.down = True
        self.life += 1
        self.state = None
        self.crash_in = None
        self.events.clear()

    def tick(self, life: int) -> None:
        """Sends own messages again when nothing has moved for a while."""
        if life != self.life:
            return
        place = (self.state.height, self.state.round, self.state.step)
        if place == self.last_place:
            for message in state.list_repeats(self.state):
                self.broadcast(message)
        self.last_place = place
        self.share_beacon()
        self.offer_pending()
        self.world.call_in(REPEAT_MS, self.tick, life)

    # -- in ------------------------------------------------------------------------------------

    def deliver(self, message: Any) -> None:
        """A message from the network, by anyone."""
        if self.down:
            return
        match message:
            case Vote() | Proposal() | Receipt():
                if self._find_fault(message) is None:
                    self.step(Received(message))
            case FinalBlock():
                wanted = message.block.height == self.state.height
                if wanted and self._find_fault(message) is None:
                    self.step(FinalReceived(message))
            case Request():
                if message.height <= len(self.ledger):
                    final = self.ledger[message.height - 1]
                    self.world.send(self.index, message.sender, final)
            case BeaconShare():
                is_signed = self._find_fault(message) is None
                if is_signed and self.world.scene.is_share(self.chain, message):
                    self.shares[message.validator] = message
            case Register() | Commit() | Proof() | Contribution():
                self.pending[message.digest] = message
                if self.world.scene.is_fit(self.chain, message):
                    self.step(Held(message))

    def _find_fault(self, message: Any) -> str | None:
        is_signed = self.world.scene.signer.is_signed
        return authentication.find_origin_fault(message, self.world.n, is_signed)

    def step(self, event: Event) -> None:
        """This event, and those that its effects bring about at once."""
        self.events.append(event)
        if self.busy:
            return
        self.busy = True
        try:
            while self.events:
                self.step_once(self.events.popleft())
        except Crash:
            self.world.take_down(self)
        self.busy = False

    def step_once(self, event: Event) -> None:
        self.world.n_steps += 1
        self.state, effects = state.step(self.state, event, self.read_clock())
        self.chain = self.state.chain
        self.world.note_round(self)
        for effect in effects:
            if self.crash_in is not None:
                self.crash_in -= 1
                if self.crash_in < 0:
                    self.tear(effect)
                    raise Crash
            self.carry_out(effect)

    def read_clock(self) -> int:
        """What its precommits say."""
        return CLOCK_MS + self.world.now + self.world.drifts[self.index]

    def tear(self, effect: Effect) -> None:
        """What a crash within this effect leaves in the log: nothing, a part, or all, unsent."""
        if isinstance(effect, Send) and not isinstance(effect.message, Receipt):
            n_kept = self.world.rng.randrange(len(effect.grounds) + 2)
            self.log.extend(effect.grounds[:n_kept])
            if n_kept > len(effect.grounds):
                self.log.append(self.world.sign(self, effect.message))
        elif isinstance(effect, Finalize) and self.world.rng.random() < 0.5:
            self.keep_final(effect.final)

    # -- out -----------------------------------------------------------------------------------

    def carry_out(self, effect: Effect) -> None:
        world = self.world
        match effect:
            case Send():
                signed = world.sign(self, effect.message)
                if not isinstance(signed, Receipt):
                    self.log.extend(effect.grounds)
                    self.log.append(signed)
                self.broadcast(signed)
                self.step(Received(signed))
            case Relay():
                for message in effect.messages:
                    self.broadcast(message)
            case Schedule():
                timeout = TIMEOUT_MS + INCREASE_MS * effect.round
                fired = TimeoutFired(effect.step, effect.height, effect.round)
                world.call_in(timeout, self.step_later, self.life, fired)
            case Build():
                self.build_later(effect)
            case Check():
                fault = world.scene.find_fault(self.chain, effect.block)
                checked = BlockChecked(self.chain.height + 1, effect.block_hash, fault)
                world.call_in(world.draw_work(), self.step_later, self.life, checked)
            case Finalize():
                self.keep_final(effect.final)
            case Fetch():
                for peer in world.rng.sample(world.others(self.index), 2):
                    world.send(self.index, peer, Request(effect.height, self.index))
            case Accuse():
                self.evidence[effect.evidence.first.validator] = effect.evidence
                world.check_evidence(effect.evidence)

    def step_later(self, life: int, event: Event) -> None:
        if life == self.life:
            self.step(event)

    def keep_final(self, final: FinalBlock) -> None:
        self.ledger.append(final)
        self.log = [m for m in self.log if m.height > final.block.height]
        self.world.check_final(self, final)

    def broadcast(self, message: Any) -> None:
        for peer in self.world.others(self.index):
            self.world.send(self.index, peer, message)

    # -- blocks --------------------------------------------------------------------------------

    def build_later(self, effect: Build) -> None:
        self.world.call_in(self.world.draw_work(), self.build, self.life, effect)

    def build(self, life: int, effect: Build) -> None:
        here = life == self.life and (self.state.height, self.state.round)
        if here != (effect.height, effect.round):
            return
        block = self.make_block()
        if block is None:
            self.build_later(effect)
        else:
            self.step(BlockBuilt(effect.height, effect.round, block))

    def make_block(self) -> Block | None:
        """A block as it should be; None while the beacon lacks shares."""
        scene, chain = self.world.scene, self.chain
        shares = [share for share in self.shares.values() if scene.is_share(chain, share)]
        evidence = [e for v, e in self.evidence.items() if v not in chain.offenders]
        fit = self.list_fit()
        known = self.get_certificate()
        block: Block | None = scene.make_block(chain, self.index, fit, evidence, shares, known)
        return block

    def get_certificate(self) -> tuple[QuorumCertificate, ...]:
        """What its block says of the parent."""
        known: tuple[QuorumCertificate, ...] = self.state.certificate
        return known

    def list_fit(self) -> tuple[Transaction, ...]:
        """What the next block may hold."""
        is_fit = self.world.scene.is_fit
        self.pending = {d: tx for d, tx in self.pending.items() if is_fit(self.chain, tx)}
        return tuple(self.pending.values())

    def offer_pending(self) -> None:
        for tx in self.list_fit():
            if not self.down:
                self.step(Held(tx))

    def share_beacon(self) -> None:
        share = self.world.scene.make_share(self.chain, self.index)
        if share is not None:
            self.shares[share.validator] = share
            self.broadcast(share)
