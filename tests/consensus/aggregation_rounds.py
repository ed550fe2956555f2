"""Whole rounds of secure aggregation in one process, as a chain would play them.

The chain here is its rules, nothing else: a payload counts when its bytes decode, its check finds
no fault and it is its sender's first of the step; the sets are frozen between steps. Clients are
players; a cheating one overrides what it does otherwise. All bytes that are published are kept, for
who looks for models in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import TypeVar

import numpy as np

from consensus.aggregation import deal, masked, unmasking
from consensus.aggregation.circle import Circle, PublicKeys, form_circle
from consensus.aggregation.client_side import RoundClient, RoundSecrets
from consensus.aggregation.deal import Deal
from consensus.aggregation.dispute import (
    Attestation,
    Revelation,
    find_attestation_fault,
    find_revelation_fault,
)
from consensus.aggregation.masked import Masked
from consensus.aggregation.masks import Masker
from consensus.aggregation.opening import Final, Opening
from consensus.aggregation.outcome import Edges, Ending, Failure, Outcome
from consensus.aggregation.unmasking import Unmasking
from kernels.backend import get_backend
from kernels.bn254 import R
from prover.pedersen.commitment import Committer
from prover.wire.records import Record

N_CLIENTS, N_PARAMETERS, COLLUSION = 7, 12, 2
GENESIS = bytes(range(32))
ROUND = 3
STEPS = ("deal", "mask", "unmask", "attest", "reveal")

P = TypeVar("P", bound=Record)
Answer = bytes | None | Sequence[bytes]
"""What is published in a step: bytes, nothing, or several, one after the other."""


@cache
def masker() -> Masker:
    return Masker(get_backend("cpu"))


@cache
def committer() -> Committer:
    return Committer(N_PARAMETERS, masker().backend)


class Player:
    """An honest client. Each method gives the bytes that it publishes in a step, None for none.

    is_honest  : does all that it should, in time
    is_cheater : says what is not so
    sent, late : what it published by step, in time and too late
    """

    is_honest, is_cheater = True, False

    def __init__(self, key: bytes, rng: Random, *, n_parameters: int = N_PARAMETERS) -> None:
        self.key, self.rng = key, rng
        self.model = np.array([rng.randrange(-127, 128) for _ in range(n_parameters)])
        self.rho, self.weight = rng.randrange(R), rng.randrange(1, 512)
        self.sent: dict[str, bytes] = {}
        self.late: dict[str, bytes] = {}
        self.secrets = RoundSecrets.draw(
            genesis_digest=GENESIS,
            learning_round=ROUND,
            client_key=key,
            random_bytes=rng.randbytes,
        )

    @property
    def public(self) -> PublicKeys:
        return self.secrets.public

    def enter(self, circle: Circle) -> None:
        """The beacon is there."""
        self.circle, self.own = circle, self.secrets.derive()
        self.neighbours = circle.graph.list_neighbours(self.key)
        self.client = RoundClient(self.secrets, circle, masker=masker(), save=self._save)

    def _save(self, secrets: RoundSecrets) -> None:
        self.secrets = RoundSecrets.decode(secrets.encode())

    def deal(self) -> Answer:
        return self.client.deal().encode()

    def mask(self, accepted: frozenset[bytes]) -> Answer:
        return self.client.mask(
            self.model, rho=self.rho, weight=self.weight, accepted=accepted
        ).encode()

    def unmask(
        self, accepted: frozenset[bytes], u: frozenset[bytes], deals: Mapping[bytes, Deal]
    ) -> Answer:
        return self.client.unmask(accepted=accepted, masked=u, deals=deals).encode()

    def attest(self, u: frozenset[bytes], bad: frozenset[bytes]) -> Answer:
        return self.client.attest(masked=u, bad=bad, committer=committer()).encode()

    def reveal(self, judged: Outcome, u: frozenset[bytes]) -> Answer:
        return self.client.reveal(judged, masked=u).encode()


@dataclass(slots=True)
class Played:
    """A round's end and all payloads that were published on the way, late ones too."""

    circle: Circle
    outcome: Outcome
    accepted: frozenset[bytes] = frozenset()
    masked: frozenset[bytes] = frozenset()
    answered: dict[str, frozenset[bytes]] = field(default_factory=dict)
    published: list[bytes] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    edges: Edges = ()


def make_circle(players: Sequence[Player], *, collusion: int = COLLUSION) -> Circle:
    circle = form_circle(
        genesis_digest=GENESIS,
        learning_round=ROUND,
        n_parameters=len(players[0].model),
        beacon=players[0].rng.randbytes(32),
        collusion=collusion,
        keys={p.key: p.public for p in players},
    )
    for player in players:
        player.enter(circle)
    return circle


class Table:
    """Plays one round with these players."""

    def __init__(self, players: Sequence[Player], *, collusion: int = COLLUSION) -> None:
        self.players = {p.key: p for p in players}
        self.circle = make_circle(players, collusion=collusion)
        self.commitments = {p.key: committer().commit(p.model, p.rho) for p in players}
        self.published: list[bytes] = []
        self.answered: dict[str, frozenset[bytes]] = {}

    def play(self) -> Played:
        endings: list[Ending] = []
        accepted = masked_set = frozenset[bytes]()
        edges: Edges = ()

        def end(outcome: Outcome) -> Played:
            return Played(
                circle=self.circle,
                outcome=outcome,
                accepted=accepted,
                masked=masked_set,
                answered=self.answered,
                published=self.published,
                endings=[*endings, outcome.ending],
                edges=edges,
            )

        too_few = Outcome(ending=Ending.NONE, reason=Failure.TOO_FEW)
        deals = self._collect("deal", Deal, self.players, lambda p: p.deal(), self._find_deal_fault)
        accepted = frozenset(deals)
        if not self.circle.graph.is_enough(accepted):
            return end(too_few)
        updates = self._collect(
            "mask",
            Masked,
            accepted,
            lambda p: p.mask(accepted),
            lambda m, c: masked.find_fault(m, self.circle, c, accepted),
        )
        masked_set = u = frozenset(updates)
        if not self.circle.graph.is_enough(u):
            return end(too_few)
        unmaskings = self._collect(
            "unmask",
            Unmasking,
            u,
            lambda p: p.unmask(accepted, u, deals),
            lambda m, c: unmasking.find_fault(
                m, self.circle, c, accepted=accepted, masked=u, deals=deals
            ),
        )
        opening = self.make_opening(accepted, deals, updates, unmaskings)
        opened = opening.open_sum()
        if opened.ending is not Ending.DISPUTE:
            return end(opened)
        endings.append(opened.ending)
        bad = frozenset(client for client, _ in opened.excluded)
        attestations = self._collect(
            "attest",
            Attestation,
            u - bad,
            lambda p: p.attest(u, bad),
            lambda a, c: find_attestation_fault(a, self.circle, c, masked=u, bad=bad),
        )
        judged = opening.judge(attestations)
        if judged.ending is not Ending.REVEAL:
            return end(judged)
        endings.append(judged.ending)
        edges = judged.edges
        revelations = self._collect(
            "reveal",
            Revelation,
            {owner for owner, _ in judged.edges},
            lambda p: p.reveal(judged, u),
            lambda r, c: find_revelation_fault(
                r,
                self.circle,
                c,
                edges=judged.edges,
                pairs=opening.pair_commitments(attestations),
                masker=masker(),
                committer=committer(),
                random_bytes=Random(1).randbytes,
            ),
        )
        return end(opening.conclude(judged, revelations))

    def make_opening(
        self,
        accepted: frozenset[bytes],
        deals: Mapping[bytes, Deal],
        updates: Mapping[bytes, Masked],
        unmaskings: Mapping[bytes, Unmasking],
    ) -> Opening:
        final = Final(
            circle=self.circle,
            accepted=accepted,
            masked=frozenset(updates),
            weights={c: self.players[c].weight for c in updates},
            commitments={c: self.commitments[c] for c in updates},
            deals=deals,
            unmaskings=unmaskings,
            load_masked=updates.__getitem__,
        )
        return Opening(final, masker(), committer())

    def _find_deal_fault(self, payload: Deal, client: bytes) -> str | None:
        return deal.find_fault(payload, self.circle, client)

    def _collect(
        self,
        step: str,
        kind: type[P],
        clients: Iterable[bytes],
        act: Callable[[Player], Answer],
        find_fault: Callable[[P, bytes], str | None],
    ) -> dict[bytes, P]:
        """The payloads of a step that count."""
        found = {}
        for client in sorted(clients):
            answer = act(self.players[client])
            several = () if answer is None else (answer,) if isinstance(answer, bytes) else answer
            for raw in several:
                self.players[client].sent[step] = raw
                self.published.append(raw)
                payload = kind.decode(raw)
                if payload is not None and find_fault(payload, client) is None:
                    assert payload.encode() == raw
                    found[client] = payload
                    break
        self.published += [p.late[step] for p in self.players.values() if step in p.late]
        self.answered[step] = frozenset(found)
        return found


def sum_models(players: Iterable[Player]) -> list[int]:
    """sum c_i W_i, by Python's integers."""
    total = [0] * N_PARAMETERS
    for p in players:
        total = [t + p.weight * int(w) for t, w in zip(total, p.model, strict=True)]
    return total


def make_silent(step: str) -> type[Player]:
    """Clients that do not answer in one step."""

    def nothing(*_: object) -> None:
        return None

    return type(f"SilentAt{step.title()}", (Player,), {step: nothing, "is_honest": False})
