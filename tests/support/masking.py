"""Clients that really mask, for chains of `tests.support.learning`: their sums really open.

Every payload is an honest client's, or what `lie` makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from consensus.aggregation.circle import Circle
from consensus.aggregation.client_side import RoundClient, RoundSecrets
from consensus.aggregation.deal import Deal
from consensus.aggregation.dispute import list_asked, make_revelation
from consensus.aggregation.masked import Masked
from consensus.aggregation.masks import Masker
from consensus.learning.aggregate import WEIGHT, GlobalModel, combine
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.circle import describe_circle, describe_judged, list_bad
from consensus.learning.steps import STEPS
from consensus.node.aggregation_desk import AggregationDesk
from consensus.wire.outcomes import Aggregate
from consensus.wire.transactions import Commit, Proof, Transaction
from kernels.array import FrArray
from kernels.backend import get_backend
from kernels.encoding import encode_g1
from prover.model.network import QuantizedModel
from prover.pedersen.commitment import Committer
from prover.wire.records import Record
from tests.support.memory_blobs import MemoryBlobs
from tests.support.models import random_model
from tests.support.tiny_circuits import seeded

if TYPE_CHECKING:
    from tests.support.learning import Lab
else:
    Lab = object

BACKEND = get_backend("cpu")
Lie = Callable[[int, Phase, Record], Record]
"""lie(client, phase, honest payload) gives what is sent."""


@cache
def committer(n_parameters: int) -> Committer:
    return Committer(n_parameters, BACKEND)


@cache
def masker() -> Masker:
    return Masker(BACKEND)


@dataclass
class Masking(Lab):
    """What a lab of clients that mask has beside `Lab`, which it is mixed with.

    lie : what clients make of their payloads; honest ones leave them as they are
    """

    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    lie: Lie = lambda i, phase, payload: payload
    circles: dict[bytes, Circle] = field(default_factory=dict)

    def model(self, i: int, learning_round: int) -> QuantizedModel:
        """What client i has learnt."""
        rng = np.random.default_rng(1000 * learning_round + i)
        return random_model(self.task.architecture, rng)

    def rho(self, i: int, learning_round: int) -> int:
        return 10**9 + 1000 * learning_round + i

    def committer(self) -> Committer:
        return committer(self.task.architecture.n_parameters)

    def secrets(self, i: int, learning_round: int) -> RoundSecrets:
        """As client i draws them."""
        return RoundSecrets.draw(
            genesis_digest=self.genesis.digest,
            learning_round=learning_round,
            client_key=self.client(i),
            random_bytes=seeded(7000 + 100 * learning_round + i),
        )

    def take_part(self, i: int, state: ChainState) -> RoundClient:
        """Client i in the round under way, from the beacon on, with nothing answered yet.

        A lab may play a round again to another end, which no client would.
        """
        circle = self.circles.setdefault(state.beacon, describe_circle(state))
        secrets = self.secrets(i, state.learning_round)
        return RoundClient(secrets, circle, masker=masker(), save=lambda secrets: None)

    # -- transactions ------------------------------------------------------------------------------

    def commit(self, i: int, learning_round: int = 0, *, d_w: bytes | None = None) -> Commit:
        model, rho = self.model(i, learning_round), self.rho(i, learning_round)
        d_w = d_w or encode_g1(committer(len(model.wires)).commit(model.wires, rho))
        keys = self.secrets(i, learning_round).public
        tx = replace(
            super().commit(i, learning_round, d_w=d_w),
            mask_key=keys.mask_key,
            share_key=keys.share_key,
        )
        return self.sign(tx, self.clients[i])

    def prove(self, i: int, state: ChainState, *, claimed: int | None = None) -> Proof:
        dealt = self.lie(i, Phase.PROVE, self.take_part(i, state).deal())
        tx = replace(super().prove(i, state, claimed=claimed), deal=self.blobs.put(dealt.encode()))
        return self.sign(tx, self.clients[i])

    def make_due(self, i: int, state: ChainState) -> Transaction:
        payload = self.lie(i, state.phase, self.make_payload(i, state))
        digest = self.blobs.put(payload.encode())
        return self.sign_payload(i, state.phase, state.learning_round, digest)

    def make_payload(self, i: int, state: ChainState) -> Record:
        """What an honest client answers in the step under way, after those before."""
        client, answer = self.take_part(i, state), self.mask
        payload = answer(client, i, state)
        for phase, answer in (
            (Phase.UNMASK, self.unmask),
            (Phase.ATTEST, self.attest),
            (Phase.REVEAL, self.reveal),
        ):
            if list(STEPS).index(state.phase) >= list(STEPS).index(phase):
                payload = answer(client, i, state)
        return payload

    def mask(self, client: RoundClient, i: int, state: ChainState) -> Record:
        wires, rho = self.model(i, state.learning_round).wires, self.rho(i, state.learning_round)
        return client.mask(wires, rho=rho, weight=WEIGHT, accepted=state.proofs.keys())

    def unmask(self, client: RoundClient, i: int, state: ChainState) -> Record:
        named = {c: proven.deal for c, proven in state.proofs.items()}
        deals = {c: Deal.parse(self.blobs.get(digest)) for c, digest in named.items()}
        masked = state.masked.keys()
        return client.unmask(accepted=state.proofs.keys(), masked=masked, deals=deals)

    def attest(self, client: RoundClient, i: int, state: ChainState) -> Record:
        masked, bad = state.masked.keys(), list_bad(state)
        return client.attest(masked=masked, bad=bad, committer=self.committer())

    def reveal(self, client: RoundClient, i: int, state: ChainState) -> Record:
        """Also of a dispute about nothing, which an honest client would not answer."""
        judged = describe_judged(state)
        if state.excluded:
            return client.reveal(judged, masked=state.masked.keys())
        others = list_asked(judged.edges, self.client(i))
        own = self.secrets(i, state.learning_round).derive()
        return make_revelation(self.circles[state.beacon], self.client(i), own, others)

    # -- blocks ------------------------------------------------------------------------------------

    def desk(self) -> AggregationDesk:
        return AggregationDesk(self.genesis, self.blobs, seeded(5))

    def aggregate(self, state: ChainState) -> Aggregate:
        return self.desk().build(state)

    def mean(self, clients: Collection[int], state: ChainState) -> GlobalModel:
        """The exact mean of these clients' models of a round, from the models themselves.

        state : of that round, with the proofs
        """
        t = state.learning_round
        return combine((self.model(i, t), WEIGHT) for i in clients)


def shift(payload: Record) -> Record:
    """A masked model with one parameter more than it has."""
    assert isinstance(payload, Masked)
    numbers = payload.scalars.to_ints()
    return Masked(scalars=FrArray.from_ints([numbers[0] + 1, *numbers[1:]]))
