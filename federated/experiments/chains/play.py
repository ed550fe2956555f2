"""A dealt chain that is played: real clients act, a block takes what they sent, and the rules judge
it before anybody goes on."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.disk.identity import get_public_key
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.messages import FinalBlock
from consensus.wire.transactions import SentTransaction, Transaction
from federated.bounds import UpdateProver
from federated.client import Client, Committer, Learn, Prover
from federated.experiments.chains.dealt import N_VALIDATORS, DealtChain
from federated.rounds.store import SecretStore
from federated.rounds.training import Trainee
from kernels.backend import Backend


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Player:
    """A client and the key by which anything can be signed in its name."""

    key: Ed25519PrivateKey
    client: Client

    @property
    def public(self) -> bytes:
        return self.client.public_key


def make_player(
    chain: DealtChain,
    index: int,
    *,
    learn: Learn | Trainee,
    commit: Committer,
    prover: Prover,
    backend: Backend,
    updates: UpdateProver | None = None,
    key: Ed25519PrivateKey | None = None,
) -> Player:
    """Client `index` of a chain, with its files under the chain's folder. The rest as `Client`."""
    key = key or Ed25519PrivateKey.generate()
    client = Client(
        key,
        validator=index % N_VALIDATORS,
        permit=chain.permit(get_public_key(key)),
        blobs=chain.blobs,
        secrets=SecretStore(chain.folder / f"client-{index}", chain.genesis),
        learn=learn,
        commit=commit,
        prover=prover,
        random_bytes=secrets.token_bytes,
        backend=backend,
        updates=updates,
    )
    return Player(key=key, client=client)


class Play:
    """The chain as it goes on.

    state : after the last block, whose final form is `parent`; None before the first
    """

    def __init__(
        self, chain: DealtChain, players: Sequence[Player], state: ChainState | None = None
    ) -> None:
        """state : to begin with; default that of the genesis"""
        self.chain, self.players = chain, tuple(players)
        self.state = state or start(chain.genesis)
        self.parent: FinalBlock | None = None

    def collect(self) -> list[SentTransaction]:
        """What is due of all players now, in their order."""
        acts = (player.client.act(self.state) for player in self.players)
        return [tx for tx in acts if tx is not None]

    def judge(self, transactions: Sequence[Transaction]) -> str | None:
        """What every node would hold against a next block of these; None: it would be valid."""
        block = self.chain.make_block(self.state, self.parent, transactions)
        return self.chain.verifier.check(self.state, block)

    def advance(self, transactions: Sequence[Transaction]) -> None:
        """Makes them the next block, which must be valid."""
        block = self.chain.make_block(self.state, self.parent, transactions)
        fault = self.chain.verifier.check(self.state, block)
        assert fault is None, f"an honest block is refused: {fault}"
        self.take(self.chain.finish(block), apply(self.state, block))

    def take(self, final: FinalBlock, after: ChainState) -> None:
        """Goes on from a block that was judged elsewhere, and the state after it."""
        self.parent, self.state = final, after

    def go_to(self, phase: Phase) -> None:
        """Plays on, all players in each block, until this phase has begun."""
        while self.state.phase is not phase:
            self.advance(self.collect())
