"""Clients that are not all ready at once, and a validator that wants none of them in a block.

A promise beyond those of `simulator`: whoever of the clients that a phase waits for sends
`MARGIN_MS` before its time is over is in, whoever leads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.standing import is_absent
from consensus.learning.steps import STEPS, get_done
from consensus.wire.genesis import set_phases
from consensus.wire.messages import FinalBlock, QuorumCertificate, Receipt
from consensus.wire.transactions import SentTransaction, Transaction
from tests.consensus.real_chain import RealScene
from tests.consensus.sim_node import CLOCK_MS, DELTA_MS, DRIFT_MS, REPEAT_MS, Node, Violation
from tests.consensus.simulator import Faults, World
from tests.support.learning import Lab

PHASE_MS = 1200
MARGIN_MS = 3 * DELTA_MS + REPEAT_MS + 2 * DRIFT_MS + 60
"""There, judged at the next look, receipts back; the first and the last correct precommit of a
block apart; clocks apart."""
CALM = Faults(loss=0.0, repeat=0.0, slow=0.0, slow_ms=1)
Place = tuple[Phase, int]
IsSilent = Callable[[int, Place], bool]


def make_lab(n_validators: int, n_clients: int, *, n_rounds: int = 3) -> Lab:
    changes = {**set_phases(PHASE_MS), "n_rounds": n_rounds}
    return Lab(n_validators=n_validators, n_clients=n_clients, changes=changes)


class Crowd(World):
    """Client i has what a phase asks of it `ready_ms[i]` after the phase began, and sends it.

    is_silent : (client, place) -> whether it sends nothing there
    """

    def __init__(
        self,
        seed: int,
        lab: Lab,
        ready_ms: Sequence[int],
        *,
        is_silent: IsSilent = lambda client, place: False,
        **options: Any,
    ) -> None:
        self.lab, self.ready_ms, self.is_silent = lab, ready_ms, is_silent
        self.places: dict[Place, int] = {}  # when it began, on the clock of blocks; 0: not known
        self.sent: dict[tuple[Place, bytes], int] = {}

        def make_scene(n: int, _: int) -> RealScene:
            return RealScene(n, seed, lab)

        super().__init__(seed, lab.n_validators, faults=CALM, make_scene=make_scene, **options)

    @property
    def head(self) -> ChainState:
        chain: ChainState = self.chains[len(self.finals)]
        return chain

    def is_done(self) -> bool:
        return self.head.phase is Phase.DONE

    # -- clients

    def submit(self) -> None:
        """A phase has begun, or goes on."""
        chain = self.head
        place = (chain.phase, chain.learning_round)
        if place in self.places:
            return
        self.places[place] = chain.time_ms
        clients = {self.lab.client(i): i for i in range(self.lab.n_clients)}
        for tx in self.scene.list_transactions(chain):
            i = clients[tx.client_key]
            if self.scene.is_fit(chain, tx) and not self.is_silent(i, place):
                self.call_in(self.ready_ms[i], self.send_due, place, tx)

    def send_due(self, place: Place, tx: SentTransaction) -> None:
        """To everyone, again and again while it is due."""
        if (self.head.phase, self.head.learning_round) != place:
            return
        self.sent.setdefault((place, tx.client_key), CLOCK_MS + self.now)
        for node in range(self.n):
            self.send(self.rng.choice(self.others(node)), node, tx)
        self.call_in(REPEAT_MS, self.send_due, place, tx)

    # -- the promise

    def check_final(self, node: Node, final: FinalBlock) -> None:
        n_before = len(self.finals)
        super().check_final(node, final)
        if len(self.finals) > n_before:
            before, after = self.chains[n_before], self.head
            place = (before.phase, before.learning_round)
            if not self.places[place]:
                self.places[place] = after.time_ms
            if (after.phase, after.learning_round) != place:
                self.check_members(place, before, after)

    def check_members(self, place: Place, before: ChainState, after: ChainState) -> None:
        if place[0] not in (Phase.REGISTER, Phase.COMMIT, Phase.PROVE, *STEPS):
            return
        in_time = self.places[place] + PHASE_MS - MARGIN_MS
        members = get_done(after, place[0])
        left_out = [
            client
            for (sent_for, client), at in self.sent.items()
            if sent_for == place and at <= in_time and client not in members
        ]
        if not all(is_absent(before, client) for client in left_out):
            raise Violation(f"{self.name}: a client that sent in time is not in {place}")


class Down(Node):
    """A validator that is never there."""

    def start(self) -> None:
        pass


class Captor(Node):
    """Makes its blocks at once, of its own clients alone; its clock says what suits it."""

    def __init__(self, world: World, index: int) -> None:
        super().__init__(world, index)
        self.random = Random(f"captor {world.seed} {index}")
        self.clocks = self.random.choice(((0,), (1 << 62,), (0, 1 << 62)))

    def read_clock(self) -> int:
        return self.random.choice(self.clocks)

    def broadcast(self, message: Any) -> None:
        if not isinstance(message, Receipt):
            super().broadcast(message)

    def build_later(self, effect: Any) -> None:
        self.world.call_in(1, self.build, self.life, effect)

    def list_fit(self) -> tuple[Transaction, ...]:
        lab = self.world.scene.lab
        own = {lab.client(i) for i in range(lab.n_clients) if i % self.world.n == self.index}
        return tuple(tx for tx in super().list_fit() if tx.client_key in own)

    def get_certificate(self) -> tuple[QuorumCertificate, ...]:
        """The votes that make the block as late as can be."""
        quorum = self.state.config.quorum
        return tuple(
            QuorumCertificate.of(sorted(known.votes, key=lambda vote: vote.time_ms)[-quorum:])
            for known in self.state.certificate
        )
