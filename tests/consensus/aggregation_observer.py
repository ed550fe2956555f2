"""Who sees everything of a round of aggregation, and looks for models in it.

`Observer` is a node, the store and colluding clients at once: it has all payloads, late ones too,
the colluders' secrets, and every secret that shares open. It takes off all masks that it can, adds
and subtracts what is left, and searches all bytes for models and blindings in any encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from random import Random
from typing import Any

import numpy as np

from consensus.aggregation.deal import Deal, Secret, open_share
from consensus.aggregation.dispute import Revelation, list_asked
from consensus.aggregation.masked import Masked
from consensus.aggregation.masks import SignedSeed
from consensus.aggregation.secrets import agree_pair_seed, derive_mask_private, derive_self_seed
from consensus.aggregation.shamir import recover
from consensus.aggregation.unmasking import Unmasking, list_shares
from kernels.array import FrArray
from kernels.bn254 import R
from kernels.encoding import encode_fr
from tests.consensus.aggregation_rounds import (
    COLLUSION,
    N_CLIENTS,
    Answer,
    Played,
    Player,
    Table,
    masker,
)


class LatePlayer(Player):
    """An honest client whose masked update is there too late."""

    is_honest = False

    def mask(self, accepted: frozenset[bytes]) -> Answer:
        self.late["mask"] = Masked.parse(bytes(super().mask(accepted) or b"")).encode()
        return None


class Observer:
    """colluders : whose secrets it has, beside everything public"""

    def __init__(self, played: Played, colluders: Sequence[Player]) -> None:
        self.played, self.circle = played, played.circle
        self.colluders = {p.key: p.own for p in colluders}
        self.blobs = played.published
        self.updates: dict[bytes, FrArray] = {}
        self.owned: dict[bytes, list[SignedSeed]] = {}
        self.seeds: dict[bytes, list[SignedSeed]] = {}

    def learn(self, table: Table) -> None:
        """Reads every masked update, and every secret that enough shares are known of."""
        for client, player in table.players.items():
            raw = player.sent.get("mask") or player.late.get("mask")
            if raw is not None:
                self.updates[client] = Masked.parse(raw).scalars
        shares = self._gather(table)
        for client in self.updates:
            self.owned[client] = [*self._find_self_seed(client, shares)]
            self.seeds[client] = [*self.owned[client]]
            for other in self.circle.list_neighbours(client, self.played.accepted):
                seed = self._find_pair_seed(client, other, shares, table)
                if seed is not None:
                    self.seeds[client].append((-self.circle.graph.find_sign(client, other), seed))

    def _gather(self, table: Table) -> dict[tuple[bytes, Secret], dict[int, int]]:
        """All shares: those that were sent, and those that colluders decrypt."""
        found: dict[tuple[bytes, Secret], dict[int, int]] = {}
        graph = self.circle.graph
        for sender, player in table.players.items():
            point = graph.find_position(sender) + 1
            made = Unmasking.decode(player.sent.get("unmask", b""))
            if made is not None and sender in self.played.answered["unmask"]:
                for dealer, share in list_shares(made, self.circle, sender, self.played.accepted):
                    secret = Secret.SELF if dealer in self.played.masked else Secret.PAIRS
                    found.setdefault((dealer, secret), {})[point] = share
        for receiver, own in self.colluders.items():
            point = graph.find_position(receiver) + 1
            for dealer in self.played.accepted - {receiver}:
                deal = Deal.parse(table.players[dealer].sent["deal"])
                for secret in Secret:
                    share = open_share(
                        deal,
                        self.circle,
                        dealer=dealer,
                        receiver=receiver,
                        own=own.share_private,
                        secret=secret,
                    )
                    if share is not None:
                        found.setdefault((dealer, secret), {})[point] = share
        return found

    def _recover(self, shares: dict[int, int] | None) -> int | None:
        t = self.circle.graph.threshold
        if shares is None or len(shares) < t:
            return None
        rows = sorted(shares.items())[:t]
        values = FrArray.from_ints(share for _, share in rows)
        return recover([[point for point, _ in rows]], values, masker().backend)[0]

    def _find_self_seed(self, client: bytes, shares: dict[Any, Any]) -> Iterator[SignedSeed]:
        value = self._recover(shares.get((client, Secret.SELF)))
        if client in self.colluders:
            value = self.colluders[client].self_secret
        if value is not None:
            yield -1, derive_self_seed(value, self.circle.place)

    def _find_pair_seed(
        self, client: bytes, other: bytes, shares: dict[Any, Any], table: Table
    ) -> bytes | None:
        for mine, theirs in ((client, other), (other, client)):
            if mine in self.colluders:
                private = self.colluders[mine].mask_private
                return agree_pair_seed(self.circle, mine, private, theirs)
            sigma = self._recover(shares.get((mine, Secret.PAIRS)))
            if sigma is not None:
                private = derive_mask_private(sigma, self.circle.place)
                return agree_pair_seed(self.circle, mine, private, theirs)
            made = Revelation.decode(table.players[mine].sent.get("reveal", b""))
            asked = list_asked(self.played.edges, mine)
            if made is not None and theirs in asked:
                return made.list_seeds()[asked.index(theirs)]
        return None

    def list_vectors(self) -> list[FrArray]:
        """Updates as they came, those of others with all known masks off, differences of any two.

        (The colluders' own are bare models, which have small numbers in common with others.)
        """
        others = [c for c in self.updates if c not in self.colluders]
        groups = [list(self.updates.values())]
        for own_only in (True, False):
            groups.append([self._take_off(c, own_only=own_only) for c in others])
        differences = [
            masker().add(a, masker().scale(b, -1))
            for group in groups
            for a, b in combinations(group, 2)
        ]
        return [vector for group in groups for vector in group] + differences

    def _take_off(self, client: bytes, *, own_only: bool) -> FrArray:
        """An update without the masks that are known; without its own only."""
        seeds = (self.owned if own_only else self.seeds)[client]
        return masker().add(
            self.updates[client], masker().sum_streams(seeds, self.circle.n_elements)
        )

    def find_traces(self, player: Player) -> set[str]:
        """Names of the encodings of a client's secrets that are anywhere in what is seen."""
        seen = b"|".join([*self.blobs, *map(encode_fr, self.list_vectors())])
        return {name for name, pattern in list_patterns(player) if pattern in seen}


def list_patterns(player: Player) -> Iterator[tuple[str, bytes]]:
    """A client's weights and blinding as they could be written."""
    model, rho, c = player.model, player.rho, player.weight
    yield "int8", model.astype(np.int8).tobytes()
    for order in "<>":
        for width in (2, 4, 8):
            yield f"int{8 * width}{order}", model[:8].astype(f"{order}i{width}").tobytes()
    scalars = [("weight", int(w)) for w in model if w]
    scalars += [("weighted", c * int(w)) for w in model if w]
    scalars += [("blinding", rho), ("blinding", c * rho)]
    for name, value in scalars:
        raw = (value % R).to_bytes(32, "little")
        yield f"{name} little-endian", raw
        yield f"{name} big-endian", raw[::-1]


def observe(players: Sequence[Player], n_colluders: int = COLLUSION) -> Observer:
    """A round, seen by its first clients together."""
    table = Table(players)
    played = table.play()
    observer = Observer(played, players[:n_colluders])
    observer.learn(table)
    return observer


def make_players(rng: Random, *kinds: type[Player]) -> list[Player]:
    some = [kind(rng.randbytes(32), rng) for kind in kinds]
    return some + [Player(rng.randbytes(32), rng) for _ in range(N_CLIENTS - len(some))]
