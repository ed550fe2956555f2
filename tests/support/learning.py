"""A small chain with all its keys: pure blocks with made-up proofs, or a real circuit's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from hashlib import sha256
from random import Random
from typing import Any, TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from consensus.aggregation.outcome import Ending, Failure
from consensus.learning import beacon
from consensus.learning.admission import describe_occasion, expect_statement
from consensus.learning.binding import sign_binding
from consensus.learning.chain import apply, beacon_message, find_fault, start
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.outcome import list_entries, make_none
from consensus.learning.samples import SamplePool
from consensus.learning.steps import STEPS, list_asked
from consensus.node.verifier import BlockVerifier
from consensus.wire.codec import Signed
from consensus.wire.genesis import Genesis, Task, Timeouts, Validator, set_phases
from consensus.wire.messages import Block, QuorumCertificate, Step, Vote
from consensus.wire.outcomes import Aggregate, Edge
from consensus.wire.task_training import TaskTraining
from consensus.wire.transactions import (
    Commit,
    Contribution,
    Proof,
    Register,
    Transaction,
    permit_bytes,
)
from kernels.array import G1Array
from kernels.backend import get_backend
from kernels.bn254 import G1
from kernels.encoding import encode_g1
from kernels.reference import mul_g1
from prover.circuit.accuracy import AccuracyCircuit, compile_accuracy
from prover.groth16.setup import setup_accuracy
from prover.keys.halves import ProvingKey
from prover.model.layers import Requant
from prover.model.network import Architecture, QuantizedModel
from prover.pedersen.commitment import (
    Blinding,
    Committer,
    ModelCommitment,
    SecretCommitment,
    draw_blinding,
)
from prover.pipeline import commit_job, prove_job
from prover.training.recipe import TrainingRecipe
from prover.wire.envelope import Envelope
from tests.support.masking import Masking
from tests.support.models import random_images, random_model
from tests.support.tiny_circuits import seeded

ARCHITECTURE = Architecture.mlp([6, 4, 3], requant=Requant(shift=10, q_bits=9))
N_SAMPLES = 16
FIRST_MS = 1_700_000_000_000
BLOCK_MS = 1000
"""Between blocks that `Lab.block` makes: four last as long as a phase."""
N_POOL = 40
PHASES = tuple(phase for phase in Phase if phase is not Phase.ORDER)
"""Of a task without training."""
BACKEND = get_backend("cpu")

S = TypeVar("S", bound=Signed)


def ed25519(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(Random(seed).randbytes(32))


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


@cache
def deal_beacon(n_validators: int) -> beacon.BeaconKeys:
    return beacon.deal(
        n_validators=n_validators, n_faulty=(n_validators - 1) // 3, random_bytes=seeded(11)
    )


@cache
def point(k: int) -> bytes:
    """k G, compressed: some D_W of which nothing is known here."""
    return encode_g1(G1Array.from_ints([mul_g1(k, G1)]))


@cache
def exchange_key(seed: int) -> bytes:
    """Some client's X25519 key."""
    private = X25519PrivateKey.from_private_bytes(Random(seed).randbytes(32))
    return private.public_key().public_bytes_raw()


def account_secret(i: int) -> bytes:
    """The private key of a client's account."""
    return sha256(b"account %d" % i).digest()


OTHER_DIGEST = b"\x05" * 32
STATEMENT_CHANGES: dict[str, Any] = {
    "chain_id": b"other",
    "task_id": b"other",
    "round_index": 1,
    "commit_height": 3,
    "client_key": public(ed25519(201)),  # client 1
    "verifying_key_digest": OTHER_DIGEST,
    "shard_index": 1,
    "n_real": N_SAMPLES + 1,
    "dataset_digest": OTHER_DIGEST,
    "multipliers": (2,),
    "claimed_correct": 0,
    "commitments": (point(9),),
}
"""Per field of a statement a value that the chain does not expect of client 0."""


def make_task(**changes: Any) -> Task:
    """An open task of two rounds; digests name nothing."""
    task = Task(
        task_id=b"digits",
        architecture=ARCHITECTURE,
        circuit_digest=sha256(b"circuit").digest(),
        verifying_key_digest=sha256(b"verifying").digest(),
        sealed=False,
        pools=(sha256(b"pool").digest(),),
        n_samples=N_SAMPLES,
        threshold=1,
        margin=None,
        n_rounds=2,
        n_expected=3,
        collusion=0,
        **set_phases(4 * BLOCK_MS),
        allow_few_samples=True,
        scales=(("input", (1.0,)), ("weights", (0.125, 1e-3))),
    )
    return replace(task, **changes)


def make_training(**changes: Any) -> TaskTraining:
    """Three of five steps are proven, under keys that nobody has."""
    recipe = TrainingRecipe(
        architecture=ARCHITECTURE, batch_size=4, master_bits=12, logit_shift=6, error_bits=14
    )
    training = TaskTraining(
        numbers=tuple(sorted(recipe.numbers.items())),
        n_steps=5,
        n_drawn=3,
        step_circuit=sha256(b"step").digest(),
        step_key=sha256(b"key of a step").digest(),
        export_circuit=sha256(b"export").digest(),
        export_key=sha256(b"key of an export").digest(),
    )
    return replace(training, **changes)


@dataclass
class Lab:
    """Everyone's keys. Proofs are envelopes with a right statement and 224 zero bytes; what clients
    show of training, where the task asks for it, are digests of nothing.
    """

    n_validators: int = 4
    n_clients: int = 3
    changes: dict[str, Any] = field(default_factory=dict)
    longest_empty_ms: int = 500
    n_bound: int = 0
    """Clients that register with an account, the first ones."""

    @cached_property
    def genesis(self) -> Genesis:
        keys = deal_beacon(self.n_validators)
        return Genesis(
            chain_id=b"test-chain",
            validators=tuple(
                Validator(key=public(v), beacon_share=share)
                for v, share in zip(self.validators, keys.shares, strict=True)
            ),
            beacon_key=keys.group,
            admission_key=public(self.admission),
            task=self.task,
            timeouts=Timeouts(
                propose_ms=300,
                prevote_ms=100,
                precommit_ms=100,
                increase_ms=50,
                empty_block_ms=500,
                longest_empty_ms=self.longest_empty_ms,
            ),
        )

    @cached_property
    def task(self) -> Task:
        return make_task(**{"n_expected": self.n_clients} | self.changes)

    @cached_property
    def validators(self) -> list[Ed25519PrivateKey]:
        return [ed25519(100 + i) for i in range(self.n_validators)]

    @cached_property
    def clients(self) -> list[Ed25519PrivateKey]:
        return [ed25519(200 + i) for i in range(self.n_clients)]

    @cached_property
    def admission(self) -> Ed25519PrivateKey:
        return ed25519(99)

    def client(self, i: int) -> bytes:
        return public(self.clients[i])

    def sign(self, message: S, key: Ed25519PrivateKey) -> S:
        signature = key.sign(message.sign_bytes(self.genesis.digest))
        return replace(message, signature=signature)  # type: ignore[type-var]

    def certify(
        self,
        height: int,
        block_hash: bytes,
        *,
        number: int = 0,
        signers: Sequence[int] | None = None,
        keys: Sequence[int] | None = None,
        times_ms: Sequence[int] | None = None,
    ) -> QuorumCertificate:
        """2f + 1 precommits, or those of `signers`, at the height's time or at `times_ms`.

        keys : of the validators that sign, if they are not those that they say they are
        """
        signers = range(2 * self.genesis.n_faulty + 1) if signers is None else signers
        times_ms = times_ms or [FIRST_MS + height * BLOCK_MS] * len(signers)
        votes = [
            Vote(
                step=int(Step.PRECOMMIT),
                height=height,
                round=number,
                block_hash=block_hash,
                time_ms=time_ms,
                validator=i,
            )
            for i, time_ms in zip(signers, times_ms, strict=True)
        ]
        signed = zip(votes, keys or signers, strict=True)
        return QuorumCertificate.of(self.sign(v, self.validators[key]) for v, key in signed)

    def certify_head(self, state: ChainState, **options: Any) -> tuple[QuorumCertificate, ...]:
        """What the next block carries."""
        return (self.certify(state.height, state.head, **options),) if state.height else ()

    # -- transactions ------------------------------------------------------------------------------

    @property
    def trains(self) -> bool:
        return self.task.training is not None

    def make_up(self, what: bytes) -> bytes:
        """The digest of something of training; empty where the task asks for none."""
        return sha256(what).digest() if self.trains else b""

    def register(self, i: int) -> Register:
        permit = self.admission.sign(permit_bytes(self.genesis.digest, self.client(i)))
        tx = Register(
            client_key=self.client(i),
            validator=i % self.n_validators,
            permit=permit,
            batches=self.make_up(b"batches of %d" % i),
        )
        return self.bind(tx, i) if i < self.n_bound else self.sign(tx, self.clients[i])

    def bind(self, tx: Register, i: int, *, owner: int | None = None) -> Register:
        """The client's registration with its account, or that of `owner`."""
        secret = account_secret(i if owner is None else owner)
        address, signature = sign_binding(secret, tx.client_key, self.genesis.digest)
        tx = replace(tx, address=address, address_signature=signature)
        return self.sign(tx, self.clients[i])

    def commit(self, i: int, learning_round: int = 0, *, d_w: bytes | None = None) -> Commit:
        tx = Commit(
            client_key=self.client(i),
            learning_round=learning_round,
            d_w=d_w or point(2 + i + 100 * learning_round),
            mask_key=exchange_key(2 * i),
            share_key=exchange_key(2 * i + 1),
            trajectory=self.make_up(b"trajectory of %d in %d" % (i, learning_round)),
            d_m=point(50 + i + 100 * learning_round) if self.trains else b"",
        )
        return self.sign(tx, self.clients[i])

    def prove(self, i: int, state: ChainState, *, claimed: int | None = None) -> Proof:
        return self.wrap(i, self.envelope(i, state, claimed), state.learning_round)

    def envelope(self, i: int, state: ChainState, claimed: int | None) -> Envelope:
        statement = expect_statement(
            state,
            self.client(i),
            claimed_correct=max(N_SAMPLES - i, 1) if claimed is None else claimed,
            dataset_digest=bytes(32),
        )
        return Envelope(statement=statement, proof=bytes(224))

    def wrap(
        self, i: int, envelope: Envelope, learning_round: int = 0, deal: bytes | None = None
    ) -> Proof:
        tx = Proof(
            client_key=self.client(i),
            learning_round=learning_round,
            envelope=envelope.encode(),
            deal=deal or sha256(b"deal %d of %d" % (i, learning_round)).digest(),
            training=self.make_up(b"steps of %d in %d" % (i, learning_round)),
        )
        return self.sign(tx, self.clients[i])

    def contribute(self, i: int, phase: Phase, learning_round: int = 0) -> Contribution:
        """A made-up one to any step."""
        payload = sha256(b"%s %d of %d" % (phase.encode(), i, learning_round)).digest()
        return self.sign_payload(i, phase, learning_round, payload)

    def sign_payload(
        self, i: int, phase: Phase, learning_round: int, payload: bytes
    ) -> Contribution:
        tx = Contribution(
            client_key=self.client(i),
            learning_round=learning_round,
            step=STEPS[phase],
            payload=payload,
        )
        return self.sign(tx, self.clients[i])

    # -- blocks ------------------------------------------------------------------------------------

    def compute_beacon(self, state: ChainState) -> bytes:
        secrets = deal_beacon(self.n_validators).secrets
        message = beacon_message(state)
        signers = range(self.genesis.n_faulty + 1)
        return beacon.combine({i: beacon.sign_share(secrets[i], message) for i in signers})

    def aggregate(self, state: ChainState) -> Aggregate:
        """What honest clients come to."""
        if state.closed in (Phase.PROVE, Phase.MASK):
            return make_none(state, Failure.TOO_FEW)
        excluded = [exclusion.client_key for exclusion in state.excluded]
        return Aggregate(
            learning_round=state.learning_round,
            ending=Ending.MODEL,
            model_digest=sha256(b"mean %d" % state.height).digest(),
            entries=list_entries(state, excluded),
            excluded=state.excluded,
        )

    def dispute(self, state: ChainState, **changes: Any) -> Aggregate:
        """The sum does not open."""
        aggregate = Aggregate(
            learning_round=state.learning_round,
            ending=Ending.DISPUTE,
            model_digest=state.global_model,
            excluded=state.excluded,
        )
        return replace(aggregate, **changes)

    def ask_for_seeds(self, state: ChainState, *edges: tuple[int, int]) -> Aggregate:
        """Of these clients' masks; without any, of one of each client."""
        chosen = edges or [(i, (i + 1) % self.n_clients) for i in range(self.n_clients)]
        found = [Edge(self.client(i), self.client(j)) for i, j in chosen]
        found.sort(key=lambda edge: edge.owner + edge.other)
        return self.dispute(state, ending=Ending.REVEAL, edges=tuple(found))

    def block(
        self, state: ChainState, transactions: Sequence[Transaction] = (), **changes: Any
    ) -> Block:
        """What an honest proposer makes of these transactions; `changes` are lies."""
        block = Block(
            height=state.height + 1,
            parent=state.head,
            certificate=self.certify_head(state),
            proposer=0,
            state_root=state.digest,
            beacon=b"" if state.beacon_height is None else self.compute_beacon(state),
            transactions=tuple(transactions),
            evidence=(),
            aggregate=(self.aggregate(state),) if state.phase is Phase.ELECT else (),
        )
        return replace(block, **changes)

    def extend(
        self, state: ChainState, transactions: Sequence[Transaction] = (), **changes: Any
    ) -> ChainState:
        """The state after an honest block; it must be one."""
        block = self.block(state, transactions, **changes)
        assert find_fault(state, block) is None
        return apply(state, block)

    def wait(self, state: ChainState) -> ChainState:
        """The state after empty blocks until the phase is over."""
        after = state
        while after.phase is state.phase:
            assert after.height < state.height + 10, "the phase waits for somebody"
            after = self.extend(after)
        return after

    def list_due(self, state: ChainState) -> list[Transaction]:
        """What all clients send in this phase."""
        everyone, t = range(self.n_clients), state.learning_round
        match state.phase:
            case Phase.REGISTER:
                return [self.register(i) for i in everyone]
            case Phase.COMMIT:
                return [self.commit(i, t) for i in everyone]
            case Phase.PROVE:
                return [self.prove(i, state) for i in everyone if self.client(i) in state.commits]
            case phase if phase in STEPS:
                asked = list_asked(state, phase)
                return [self.make_due(i, state) for i in everyone if self.client(i) in asked]
            case _:
                return []

    def make_due(self, i: int, state: ChainState) -> Transaction:
        """A client's contribution to the step under way."""
        return self.contribute(i, state.phase, state.learning_round)

    def reach(self, phase: Phase, *, learning_round: int = 0) -> ChainState:
        """The first state of this phase, everyone having done what was due, block by block.

        To ATTEST and REVEAL a dispute leads about nothing.
        """
        state, place = start(self.genesis), (phase, learning_round)
        while (state.phase, state.learning_round) != place:
            assert state.phase is not Phase.DONE, f"there is no {phase} in round {learning_round}"
            changes: dict[str, Any] = {}
            if state.phase is Phase.ELECT and state.learning_round == learning_round:
                if state.closed is Phase.UNMASK and phase in (Phase.ATTEST, Phase.REVEAL):
                    changes = {"aggregate": (self.dispute(state),)}
                elif state.closed is Phase.ATTEST and phase is Phase.REVEAL:
                    changes = {"aggregate": (self.ask_for_seeds(state),)}
            state = self.extend(state, self.list_due(state), **changes)
        return state


@dataclass
class SumLab(Masking, Lab):
    """The same with models, and sums that open; proofs are made up."""


@dataclass
class ProvenLab(SumLab):
    """The same with a circuit, its keys and real proofs. Client 0 has the labels' own model."""

    salt: bytes = b""

    @cached_property
    def task(self) -> Task:
        key = proving_key()
        pool = self.pool.encode()
        return make_task(
            **{
                "n_expected": self.n_clients,
                "circuit_digest": accuracy().digest,
                "verifying_key_digest": self.blobs.put(key.verifying.encode()),
                "pools": (self.blobs.put(pool),) * (2 if self.salt else 1),
                "sealed": bool(self.salt),
            }
            | self.changes
        )

    @cached_property
    def pool(self) -> SamplePool:
        images = random_images(ARCHITECTURE, N_POOL, np.random.default_rng(3))
        labels = model_of(0).logits(images).argmax(axis=1).astype(np.uint8)
        return SamplePool.of(images=images, labels=labels, salt=self.salt)

    def model(self, i: int, learning_round: int) -> QuantizedModel:
        return model_of(i)

    def rho(self, i: int, learning_round: int) -> int:
        return commitment_of(i)[1].rho

    def secret(self, i: int, learning_round: int) -> SecretCommitment:
        public, blinding = commitment_of(i)
        return SecretCommitment(public=public, blinding=blinding)

    def verifier(self, seed: int = 1) -> BlockVerifier:
        return BlockVerifier(self.genesis, self.blobs, seeded(seed))

    def envelope(self, i: int, state: ChainState, claimed: int | None) -> Envelope:
        return self.make_envelope(i, state, claimed=claimed)

    def make_envelope(
        self,
        i: int,
        state: ChainState,
        *,
        claimed: int | None = None,
        shard_index: int = 0,
        **occasion: Any,
    ) -> Envelope:
        """A proof that verifies by itself; `occasion` are fields to lie about."""
        images, labels = self.pool.draw(state.beacon, N_SAMPLES)
        secret = self.secret(i, state.learning_round)
        place = describe_occasion(state, self.client(i))
        job = prove_job(
            accuracy(),
            proving_key(),
            self.model(i, state.learning_round),
            images=images,
            labels=labels,
            occasion=replace(place, **occasion),
            shard_index=shard_index,
            commitment=secret.public,
            blinding=secret.blinding,
            claimed=claimed,
            random_bytes=seeded(i),
            backend=BACKEND,
            clock=lambda: 0.0,
        )
        envelope = Envelope.decode(job.envelope)
        assert envelope is not None
        return envelope


@cache
def accuracy() -> AccuracyCircuit:
    return compile_accuracy(ARCHITECTURE, N_SAMPLES)


@cache
def proving_key() -> ProvingKey:
    return setup_accuracy(accuracy(), random_bytes=seeded(72), backend=BACKEND)


@cache
def model_of(i: int) -> QuantizedModel:
    """Client 0's model names the labels; the others' come near it."""
    teacher = random_model(ARCHITECTURE, np.random.default_rng(40))
    rng = np.random.default_rng(50 + i)
    noise = 40 * min(i, 1)
    weights = [
        np.clip(w + rng.integers(-noise, noise + 1, size=w.shape), -127, 127).astype(np.int8)
        for w in teacher.weights
    ]
    return replace(teacher, weights=tuple(weights))


@cache
def committer() -> Committer:
    return Committer(ARCHITECTURE.n_parameters, BACKEND)


@cache
def commitment_of(i: int) -> tuple[ModelCommitment, Blinding]:
    blinding = draw_blinding(seeded(60 + i))
    return commit_job(model_of(i), blinding, committer()), blinding


@cache
def proven_lab() -> ProvenLab:
    """Three clients; shared by tests that only read."""
    return ProvenLab()


@cache
def proven_state(phase: Phase, learning_round: int = 0) -> ChainState:
    """A state of `proven_lab`, reached by real proofs."""
    return proven_lab().reach(phase, learning_round=learning_round)
