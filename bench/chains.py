"""Chains to measure: a genesis with all its keys, clients that share one model, blocks made here.

One party deals every key and makes every block: what is measured is what nodes do with them.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.aggregation.circle import Circle
from consensus.aggregation.client_side import RoundClient, RoundSecrets
from consensus.aggregation.deal import Deal
from consensus.aggregation.masks import Masker
from consensus.content.blobs import FileBlobs
from consensus.disk.development import BLOBS
from consensus.disk.identity import get_public_key
from consensus.learning.admission import describe_occasion
from consensus.learning.aggregate import WEIGHT
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.circle import describe_circle
from consensus.learning.samples import SamplePool
from consensus.learning.steps import STEPS
from consensus.wire.genesis import Task, Timeouts, set_phases
from consensus.wire.messages import FinalBlock
from consensus.wire.transactions import Commit, Contribution, Proof, Register, SentTransaction
from federated.experiments.chains.dealt import N_VALIDATORS, DealtChain
from kernels.backend import Backend
from kernels.encoding import encode_g1
from prover.circuit.accuracy import AccuracyCircuit
from prover.keys.halves import ProvingKey
from prover.model.network import QuantizedModel
from prover.pedersen.commitment import Blinding, Committer, ModelCommitment, draw_blinding
from prover.pipeline import commit_job, prove_job
from prover.wire.records import Record

NO_DEADLINE_MS = 86_400_000


@dataclass(frozen=True, kw_only=True)
class Prover:
    """A circuit with its key, the model that all clients have, and the samples to draw from."""

    circuit: AccuracyCircuit
    key: ProvingKey
    model: QuantizedModel
    pool: SamplePool
    n_samples: int
    backend: Backend


class ChainLab(DealtChain):
    """A chain under `folder`, and all that its clients and validators would say."""

    def __init__(
        self,
        folder: Path,
        prover: Prover,
        *,
        n_clients: int,
        n_rounds: int,
        empty_block_ms: int = 1000,
        step_ms: int = 2000,
    ) -> None:
        self.prover = prover
        self.clients = [Ed25519PrivateKey.generate() for _ in range(n_clients)]
        self._secrets: dict[tuple[bytes, int], RoundSecrets] = {}
        self._circles: dict[bytes, Circle] = {}
        self._deals: dict[bytes, Deal] = {}
        folder.mkdir(parents=True, mode=0o700)
        blobs = FileBlobs(folder / BLOBS)
        timeouts = Timeouts(
            propose_ms=step_ms,
            prevote_ms=step_ms,
            precommit_ms=step_ms,
            increase_ms=step_ms,
            empty_block_ms=empty_block_ms,
            longest_empty_ms=empty_block_ms,
        )
        super().__init__(folder, self._make_task(blobs, n_rounds), blobs, timeouts=timeouts)

    def _make_task(self, blobs: FileBlobs, n_rounds: int) -> Task:
        p = self.prover
        return Task(
            task_id=b"bench",
            architecture=p.model.architecture,
            circuit_digest=p.circuit.digest,
            verifying_key_digest=blobs.put(p.key.verifying.encode()),
            sealed=False,
            pools=(blobs.put(p.pool.encode()),),
            n_samples=p.n_samples,
            threshold=1,
            margin=None,
            n_rounds=n_rounds,
            n_expected=len(self.clients),
            collusion=0,
            **set_phases(NO_DEADLINE_MS),
            allow_few_samples=True,
        )

    # -- what clients send

    def list_due(self, state: ChainState) -> list[SentTransaction]:
        """What is due of every client in the phase under way."""
        t = state.learning_round
        match state.phase:
            case Phase.REGISTER:
                return [self._register(i) for i in range(len(self.clients))]
            case Phase.COMMIT:
                return [self._commit(key, t) for key in self.clients]
            case Phase.PROVE:
                return [self._prove(key, state) for key in self.clients]
            case Phase.MASK | Phase.UNMASK:
                return [self._contribute(key, state) for key in self.clients]
            case _:
                return []

    def _register(self, i: int) -> Register:
        key = self.clients[i]
        public = get_public_key(key)
        tx = Register(client_key=public, validator=i % N_VALIDATORS, permit=self.permit(public))
        return self.sign(tx, key)

    def _commit(self, key: Ed25519PrivateKey, learning_round: int) -> Commit:
        made, keys = self._commitment, self._draw_secrets(key, learning_round).public
        tx = Commit(
            client_key=get_public_key(key),
            learning_round=learning_round,
            d_w=encode_g1(made.d),
            mask_key=keys.mask_key,
            share_key=keys.share_key,
        )
        return self.sign(tx, key)

    def _prove(self, key: Ed25519PrivateKey, state: ChainState) -> Proof:
        p, public = self.prover, get_public_key(key)
        images, labels = p.pool.draw(state.beacon, p.n_samples)
        job = prove_job(
            p.circuit,
            p.key,
            p.model,
            images=images,
            labels=labels,
            occasion=describe_occasion(state, public),
            commitment=self._commitment,
            blinding=self._blinding,
            random_bytes=secrets.token_bytes,
            backend=p.backend,
            clock=perf_counter,
        )
        dealt = self._take_part(key, state).deal()
        tx = Proof(
            client_key=public,
            learning_round=state.learning_round,
            envelope=job.envelope,
            deal=self.blobs.put(dealt.encode()),
        )
        return self.sign(tx, key)

    def _contribute(self, key: Ed25519PrivateKey, state: ChainState) -> Contribution:
        client, public = self._take_part(key, state), get_public_key(key)
        accepted, masked = state.proofs.keys(), state.masked.keys()
        payload: Record
        if state.phase is Phase.MASK:
            payload = client.mask(
                self.prover.model.wires,
                rho=self._blinding.rho,
                weight=WEIGHT,
                accepted=accepted,
            )
        else:
            payload = client.unmask(accepted=accepted, masked=masked, deals=self._load_deals(state))
        tx = Contribution(
            client_key=public,
            learning_round=state.learning_round,
            step=STEPS[state.phase],
            payload=self.blobs.put(payload.encode()),
        )
        return self.sign(tx, key)

    def _draw_secrets(self, key: Ed25519PrivateKey, learning_round: int) -> RoundSecrets:
        place = (get_public_key(key), learning_round)
        if place not in self._secrets:
            self._secrets[place] = RoundSecrets.draw(
                genesis_digest=self.genesis.digest,
                learning_round=learning_round,
                client_key=place[0],
                random_bytes=secrets.token_bytes,
            )
        return self._secrets[place]

    def _take_part(self, key: Ed25519PrivateKey, state: ChainState) -> RoundClient:
        place = (get_public_key(key), state.learning_round)
        drawn = self._draw_secrets(key, state.learning_round)
        if state.beacon not in self._circles:
            self._circles = {state.beacon: describe_circle(state)}

        def save(changed: RoundSecrets) -> None:
            self._secrets[place] = changed

        circle = self._circles[state.beacon]
        return RoundClient(drawn, circle, masker=Masker(self.prover.backend), save=save)

    def _load_deals(self, state: ChainState) -> dict[bytes, Deal]:
        """Of all clients, read once a round."""
        if self._deals.keys() != state.proofs.keys():
            named = {client: proven.deal for client, proven in state.proofs.items()}
            self._deals = {c: Deal.parse(self.blobs.get(digest)) for c, digest in named.items()}
        return self._deals

    # -- what validators would make of it

    def extend(self, state: ChainState, parent: FinalBlock | None) -> FinalBlock:
        """The block after `parent` with all that is due, and its certificate."""
        return self.finish(self.make_block(state, parent, self.list_due(state)))

    def make_blocks(self, n: int) -> Sequence[FinalBlock]:
        """The first n blocks of the chain."""
        state, finals = start(self.genesis), list[FinalBlock]()
        for _ in range(n):
            finals.append(self.extend(state, finals[-1] if finals else None))
            state = apply(state, finals[-1].block)
        return finals

    # -- keys

    @cached_property
    def _blinding(self) -> Blinding:
        return draw_blinding(secrets.token_bytes)

    @cached_property
    def _commitment(self) -> ModelCommitment:
        p = self.prover
        committer = Committer(p.model.architecture.n_parameters, p.backend)
        return commit_job(p.model, self._blinding, committer)
