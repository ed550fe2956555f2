"""Nodes in virtual time: agreement over a seeded network that loses, delays, repeats, reorders
and splits, with crashes between any two effects and with Byzantine validators.

`World(seed, ...).run()` is a pure function of its arguments: a failing seed replays exactly.
Until `HEAL_MS` anything may happen; from then on every message between correct nodes arrives within
`DELTA_MS`, and nobody crashes. Times are milliseconds.

Checked all along: agreement (one final block per height), validity of final blocks by the toy
chain's rules, certificates, no two votes or proposals of a correct validator for one place
(restarts included), no evidence against a correct one, no censored client, times of blocks between
those of correct clocks. Checked at the end:
every correct node goes on, within `bound_rounds` rounds per height.
"""

from __future__ import annotations

import heapq
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from consensus.agreement import memory
from consensus.agreement.receipts import list_heard
from consensus.agreement.votes import n_faulty
from consensus.wire.messages import (
    NIL,
    Block,
    Evidence,
    FinalBlock,
    Proposal,
    Step,
    Vote,
)
from tests.consensus.sim_node import DELTA_MS, DRIFT_MS, REPEAT_MS, WORK_MS, Node, Violation
from tests.consensus.toy_chain import ToyScene, describe

HEAL_MS = 800
LIMIT_MS = 60_000
HEIGHTS_AFTER = 3  # which every correct node must reach after the network heals


@dataclass
class Faults:
    """What the network does before it heals, drawn from the seed."""

    loss: float
    repeat: float
    slow: float
    slow_ms: int
    crashes: Sequence[tuple[int, int, int]] = ()  # time, node, length
    splits: Sequence[tuple[int, int, tuple[int, ...]]] = ()  # from, to, side of each node
    hidden: float = 0.0  # loss of votes for blocks and of final blocks, but for one receiver
    favourite: int = 0  # that one

    @classmethod
    def draw(cls, rng: Random, n: int) -> Faults:
        kind = rng.random()
        heavy = kind < 0.5
        crashes, splits = [], []
        for _ in range(rng.randrange(2 * n) if heavy else rng.randrange(3)):
            crashes.append((rng.randrange(HEAL_MS), rng.randrange(n), rng.randrange(50, 500)))
        if rng.random() < 0.2:  # all at once
            at = rng.randrange(HEAL_MS)
            crashes.extend((at, i, rng.randrange(10, 300)) for i in range(n))
        for _ in range(rng.randrange(3)):
            at = rng.randrange(HEAL_MS)
            sides = tuple(rng.randrange(2) for _ in range(n))
            splits.append((at, at + rng.randrange(50, 400), sides))
        return cls(
            loss=rng.choice((0.0, 0.05, 0.2, 0.4)) if heavy else rng.choice((0.0, 0.02)),
            repeat=rng.choice((0.0, 0.1, 0.3)),
            slow=rng.choice((0.0, 0.1, 0.3)),
            slow_ms=rng.choice((50, 200, 500)),
            crashes=sorted(crashes),
            splits=splits,
            hidden=rng.choice((0.0, 0.0, 0.6, 0.9)),
            favourite=rng.randrange(n),
        )

    def is_hidden(self, rng: Random, receiver: int, message: Any) -> bool:
        """So that one node decides and the others do not know: the situation that locks are for."""
        if not self.hidden or receiver == self.favourite:
            return False
        named = isinstance(message, Vote) and message.block_hash != NIL
        return (named or isinstance(message, FinalBlock)) and rng.random() < self.hidden


MakeNode = Callable[["World", int], Node]


class World:
    """A network of n validators of which `byzantine` do as `make_byzantine` makes them do."""

    def __init__(
        self,
        seed: int,
        n: int,
        *,
        byzantine: Sequence[int] = (),
        make_byzantine: MakeNode = Node,
        faults: Faults | None = None,
        bound_rounds: int | None = None,
        make_scene: Callable[[int, int], Any] = ToyScene,
    ) -> None:
        self.name = f"seed={seed} n={n} byzantine={list(byzantine)}"
        self.seed, self.n = seed, n
        self.rng = Random(f"consensus {seed} {n}")
        self.scene = make_scene(n, seed)
        self.byzantine = frozenset(byzantine)
        self.correct = [i for i in range(n) if i not in self.byzantine]
        self.faults = faults or Faults.draw(self.rng, n)
        self.bound_rounds = bound_rounds
        self.now = 0
        self.n_steps = 0
        self.trace = 0
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._n_queued = 0
        self.finals: dict[int, FinalBlock] = {}
        self.chains: dict[int, Any] = {0: self.scene.start()}
        self.signed: dict[tuple[int, ...], tuple[bytes, int]] = {}
        self.proposed: dict[bytes, set[tuple[int, int]]] = {}  # round and validator, by block
        self.prevoted: dict[tuple[int, bytes], dict[int, list[tuple[bytes, ...]]]] = {}
        self.rounds: dict[int, int] = defaultdict(int)
        clocks = Random(f"clocks {seed} {n}")
        self.drifts = [clocks.randint(-DRIFT_MS, DRIFT_MS) for _ in range(n)]
        self.clocks: dict[int, list[int]] = defaultdict(list)  # of correct precommits, by height
        self.at_heal: tuple[int, int] | None = None
        self.sides = [self.rng.randrange(2) for _ in range(n)]  # who is told which story
        self.sided: dict[bytes, int] = {}  # which side knows a block that has a twin
        self.nodes = [
            make_byzantine(self, i) if i in self.byzantine else Node(self, i) for i in range(n)
        ]
        self._peers = [[j for j in range(n) if j != i] for i in range(n)]

    # -- time ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Until every correct node has gone on for HEIGHTS_AFTER heights. Raises Violation."""
        for node in self.nodes:
            self.call_in(self.rng.randrange(30), self.start_node, node, 0)
        for at, index, length in self.faults.crashes:
            self.call_in(at, self.arm_crash, self.nodes[index], length)
        self.call_in(HEAL_MS, self.heal)
        self.call_in(0, self.submit_again)
        while not self.is_done():
            if not self._queue or self.now > LIMIT_MS:
                raise Violation(f"{self.name}: no progress: {self.list_places()}")
            self.now, _, act, arguments = heapq.heappop(self._queue)
            act(*arguments)
        self.check_rounds()

    def call_in(self, delay: int, act: Callable[..., None], *arguments: Any) -> None:
        self._n_queued += 1
        heapq.heappush(self._queue, (self.now + delay, self._n_queued, act, arguments))

    def is_done(self) -> bool:
        if self.at_heal is None:
            return False
        goal = self.at_heal[0] + HEIGHTS_AFTER
        return all(len(self.nodes[i].ledger) >= goal for i in self.correct)

    def heal(self) -> None:
        heights = [len(self.nodes[i].ledger) + 1 for i in self.correct]
        self.at_heal = (max(heights), self.rounds[max(heights)])
        for node in self.nodes:
            node.crash_in = None

    def draw_work(self) -> int:
        return self.rng.randint(1, WORK_MS)

    def list_places(self) -> list[Any]:
        return [
            (i, s.height, s.round, s.step.name, s.locked_round) if s else (i, "down")
            for i, s in ((i, self.nodes[i].state) for i in self.correct)
        ]

    # -- processes -----------------------------------------------------------------------------

    def start_node(self, node: Node, life: int) -> None:
        if node.life == life:
            node.start()

    def arm_crash(self, node: Node, length: int) -> None:
        """It crashes after a few more effects, wherever it then is."""
        if not node.down and node.state is not None and node.index not in self.byzantine:
            node.crash_in = self.rng.randrange(5)
            self.call_in(length, self.disarm, node, node.life)

    def disarm(self, node: Node, life: int) -> None:
        if node.life == life:
            node.crash_in = None

    def take_down(self, node: Node) -> None:
        node.crash()
        length = self.rng.randrange(5, 250)
        restart = min(length, max(HEAL_MS - self.now, 0))
        self.call_in(restart, self.start_node, node, node.life)

    # -- network -------------------------------------------------------------------------------

    def others(self, index: int) -> list[int]:
        return self._peers[index]

    def send(self, sender: int, receiver: int, message: Any) -> None:
        """Puts a message on its way, if it gets there."""
        for delay in self.draw_delays(sender, receiver, message):
            self.call_in(delay, self.arrive, receiver, message)

    def draw_delays(self, sender: int, receiver: int, message: Any) -> list[int]:
        """Of each copy that arrives; without any the message is lost."""
        rng, faults = self.rng, self.faults
        if self.now >= HEAL_MS:
            return [rng.randint(1, DELTA_MS)]
        for start, end, sides in faults.splits:
            if start <= self.now < end and sides[sender] != sides[receiver]:
                return []
        if rng.random() < faults.loss or faults.is_hidden(rng, receiver, message):
            return []
        delays = [rng.randint(1, DELTA_MS)]
        if rng.random() < faults.slow:
            delays = [rng.randint(1, faults.slow_ms)]
        if rng.random() < faults.repeat:
            delays.append(rng.randint(1, faults.slow_ms))
        return delays

    def arrive(self, receiver: int, message: Any) -> None:
        place = (self.now, receiver, *describe(message))
        self.trace = zlib.crc32(repr(place).encode(), self.trace)
        self.nodes[receiver].deliver(message)

    def is_told(self, peer: int, block_hash: bytes) -> bool:
        """Whether conspirators want this validator to hear of votes for a block."""
        side = self.sided.get(block_hash)
        return peer in self.byzantine or side in (None, self.sides[peer])

    def submit(self) -> None:
        """Clients send what is due to everyone."""
        for tx in self.scene.list_transactions(self.chains[len(self.finals)]):
            for node in range(self.n):
                self.send(self.rng.choice(self.others(node)), node, tx)

    def submit_again(self) -> None:
        self.submit()
        self.call_in(REPEAT_MS, self.submit_again)

    # -- promises ------------------------------------------------------------------------------

    def sign(self, node: Node, message: Any) -> Any:
        """Signs for a node; a correct one never signs two things for one place."""
        signed = self.scene.signer.sign(message)
        if isinstance(signed, Proposal):
            places = self.proposed.setdefault(signed.block.hash, set())
            places.add((signed.round, signed.validator))
        if node.index in self.byzantine:
            return signed
        match message:
            case Vote():
                named = (message.block_hash, message.time_ms)
                self.note_signed((1, *_place(message), message.step), named)
                if message.step == Step.PRECOMMIT:
                    self.clocks[message.height].append(message.time_ms)
                if message.step == Step.PREVOTE and message.block_hash != NIL:
                    key = (message.height, message.block_hash)
                    rounds = self.prevoted.setdefault(key, {})
                    rounds.setdefault(message.round, []).append(node.state.due)
            case Proposal():
                self.note_signed((2, *_place(message)), (message.block.hash, 0))
        return signed

    def note_signed(self, place: tuple[int, ...], named: tuple[bytes, int]) -> None:
        if self.signed.setdefault(place, named) != named:
            raise Violation(f"{self.name}: a correct validator contradicts itself at {place}")

    def note_round(self, node: Node) -> None:
        if node.index not in self.byzantine:
            s = node.state
            self.rounds[s.height] = max(self.rounds[s.height], s.round)

    def check_evidence(self, evidence: Evidence) -> None:
        if evidence.first.validator not in self.byzantine:
            raise Violation(f"{self.name}: evidence against a correct validator")

    def check_final(self, node: Node, final: FinalBlock) -> None:
        """Agreement, validity, certificate, no censorship."""
        if node.index in self.byzantine:
            return
        block, height = final.block, final.block.height
        known = self.finals.get(height)
        if known is not None:
            if known.block.hash != block.hash:
                raise Violation(f"{self.name}: two final blocks at height {height}")
            return
        if len(final.certificate.votes) <= 2 * self.n // 3 or not all(
            self.scene.signer.is_signed(vote, vote.validator) for vote in final.certificate.votes
        ):
            raise Violation(f"{self.name}: a certificate without a quorum at height {height}")
        chain = self.chains[height - 1]
        fault = self.scene.find_fault(chain, block)
        if fault is not None:
            raise Violation(f"{self.name}: invalid block final at height {height}: {fault}")
        order = self.scene.rules.proposers(chain)
        places = self.proposed.get(block.hash, set())
        if not any(order[number % len(order)] == validator for number, validator in places):
            raise Violation(f"{self.name}: a block of no leader final at height {height}")
        self.check_censorship(chain, block)
        self.finals[height] = final
        self.chains[height] = self.scene.rules.apply(chain, block)
        self.check_time(height)
        self.submit()

    def check_time(self, height: int) -> None:
        """A block's time is not before its parent's, and between what correct clocks showed."""
        before, after = self.chains[height - 1].time_ms, self.chains[height].time_ms
        shown = self.clocks[height - 1]
        enough = height > 1 and len(self.byzantine) <= n_faulty(self.n)
        if enough and not max(before, min(shown)) <= after <= max(before, *shown):
            raise Violation(f"{self.name}: the time of height {height} is no correct clock's")

    def check_censorship(self, chain: Any, block: Block) -> None:
        """A left out transaction was not due to f + 1 correct voters when the block was new."""
        rounds = self.prevoted.get((block.height, block.hash), {})
        dues = rounds[min(rounds)] if rounds else []
        for client in {c for due in dues for c in due} - list_heard(block):
            n_due = sum(client in due for due in dues)
            if self.scene.rules.awaits(chain, client) and n_due > 0:
                raise Violation(f"{self.name}: a client was censored at height {block.height}")

    def check_rounds(self) -> None:
        """How long agreement took after the network healed."""
        if self.bound_rounds is None or self.at_heal is None:
            return
        height, reached = self.at_heal
        for h in range(height, height + HEIGHTS_AFTER):
            allowed = self.bound_rounds + (reached if h == height else 0)
            if self.rounds[h] > allowed:
                raise Violation(f"{self.name}: height {h} took {self.rounds[h]} rounds")


def _place(message: Vote | Proposal) -> tuple[int, ...]:
    return message.validator, message.height, message.round


def count_memory(s: memory.State) -> int:
    """Messages that a state holds."""
    tallies = [t for r in s.rounds.values() for t in (r.prevotes, r.precommits)]
    n_votes = sum(len(by) for tally in tallies for by in tally.named.values())
    return n_votes + len(s.candidates) + len(s.early)
