"""A client of a task: what the chain asks of it in each phase, made once, sent until it is final.

    REGISTER  its key and home validator, by a permit
    COMMIT    trains from the global model; D_W of the outcome, with a blinding kept on its disk
    PROVE     the shard that the beacon drew; a proof of it, made by whoever proves for it
    UPDATE    its model into the blobs, and the blinding that opens D_W

What to do is a function of a state that a light client has verified; data, proving and sending are
arguments. One commitment per learning round: it is on disk before it is sent, so that a client that
was killed goes on with the same one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.content.interface import Blobs
from consensus.disk.identity import get_public_key, sign
from consensus.learning.admission import describe_occasion
from consensus.learning.aggregate import GlobalModel
from consensus.learning.chain_state import NO_MODEL, ChainState, Phase
from consensus.learning.samples import SamplePool
from consensus.wire.genesis import Genesis, Task
from consensus.wire.transactions import (
    Commit,
    Proof,
    Register,
    SentTransaction,
    Update,
    decode_transaction,
)
from federated.errors import NotAdmitted, ProvingFailed
from kernels.backend import Backend
from kernels.encoding import encode_g1
from kernels.files import PRIVATE, write_whole
from kernels.numpy_types import UInt8Array
from prover.errors import KeyMismatch
from prover.model.network import QuantizedModel
from prover.model.zkq import decode_model, encode_model
from prover.pedersen.commitment import Committer as PedersenCommitter
from prover.pedersen.commitment import SecretCommitment, draw_blinding
from prover.pipeline import commit_job
from prover.randomness import RandomBytes
from prover.wire.statement import Occasion

MODEL_NAME, COMMITMENT_NAME = "model.zkq", "commitment.secret"

Learn = Callable[[GlobalModel | None, int], QuantizedModel]
"""learn(global model or None before the first, learning round) gives the client's own model."""
Committer = Callable[[QuantizedModel], SecretCommitment]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProofOrder:
    """What a prover is handed; `commitment` and `model` are secret.

    images, labels : uint8[n_samples, ...] and uint8[n_samples] of the drawn shard
    """

    model: QuantizedModel
    commitment: SecretCommitment
    images: UInt8Array
    labels: UInt8Array
    occasion: Occasion


class Prover(Protocol):
    """Whoever proves for a client: a service that it trusts with its model, or its own machine."""

    def prove(self, order: ProofOrder) -> bytes:
        """An envelope. Raises ProvingFailed."""


class Duty(StrEnum):
    """What the chain waits for from a client."""

    REGISTER = "register"
    COMMIT = "commit"
    PROVE = "prove"
    OPEN = "open"
    NOTHING = "nothing"


def find_duty(state: ChainState, client_key: bytes) -> Duty:
    """What this client is to do after this state. Pure."""
    match state.phase:
        case Phase.REGISTER if client_key not in state.clients:
            return Duty.REGISTER
        case Phase.COMMIT if client_key in state.clients and client_key not in state.commits:
            return Duty.COMMIT
        case Phase.PROVE if client_key in state.commits and client_key not in state.proofs:
            return Duty.PROVE
        case Phase.UPDATE if client_key in state.proofs and client_key not in state.updates:
            return Duty.OPEN
        case _:
            return Duty.NOTHING


def draw_shard(state: ChainState, blobs: Blobs) -> tuple[UInt8Array, UInt8Array]:
    """Images and labels that the beacon of this round drew from the pool.

    Raises BlobUnavailable, PoolInvalid.
    """
    task = state.genesis.task
    pool = SamplePool.parse(blobs.get(task.get_pool(state.learning_round)))
    return pool.draw(state.beacon, task.n_samples)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoundSecrets:
    """A client's model of a round and the commitment to it."""

    model: QuantizedModel
    commitment: SecretCommitment


class SecretStore:
    """FOLDER/chain-GENESIS/round-N/, for its owner's eyes only: model.zkq, commitment.secret, and
    each transaction under its duty's name once it is made, `prove.sent`.

    On another chain a commitment would be under another key, or tell that both clients are one.
    """

    def __init__(self, folder: Path, genesis: Genesis) -> None:
        self._folder = folder / f"chain-{genesis.digest.hex()[:32]}"

    def load(self, learning_round: int) -> RoundSecrets | None:
        """What was saved whole; None when nothing was. Raises FormatError, ModelFormatError."""
        folder = self._get(learning_round)
        try:
            commitment = (folder / COMMITMENT_NAME).read_bytes()
            model = (folder / MODEL_NAME).read_bytes()
        except FileNotFoundError:
            return None
        return RoundSecrets(
            model=decode_model(model), commitment=SecretCommitment.decode(commitment)
        )

    def save(self, learning_round: int, secrets: RoundSecrets) -> None:
        """The commitment last: where it is, the model is. Raises OSError."""
        folder = self._get(learning_round)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(folder / MODEL_NAME, [encode_model(secrets.model)], mode=PRIVATE)
        write_whole(folder / COMMITMENT_NAME, [secrets.commitment.encode()], mode=PRIVATE)

    def load_sent(self, learning_round: int, duty: Duty) -> SentTransaction | None:
        """What was made for this duty; None when nothing was, or it is none of this version."""
        try:
            raw = (self._get(learning_round) / f"{duty}.sent").read_bytes()
        except FileNotFoundError:
            return None
        return decode_transaction(raw)

    def save_sent(self, learning_round: int, duty: Duty, tx: SentTransaction) -> None:
        """Before it is sent. Raises OSError."""
        folder = self._get(learning_round)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(folder / f"{duty}.sent", [tx.encode()], mode=PRIVATE)

    def _get(self, learning_round: int) -> Path:
        return self._folder / f"round-{learning_round}"


def describe_permit(public_key: bytes) -> str:
    """What a client without a permit is to do."""
    return (
        "have whoever holds the task's admission key run `zkpot chain permit CHAIN "
        f"{public_key.hex()}`, and give what it prints by --permit"
    )


def make_committer(task: Task, *, random_bytes: RandomBytes, backend: Backend) -> Committer:
    """Commits to models of the task. Raises KeyMismatch for another architecture."""
    bases = PedersenCommitter(task.architecture.n_parameters, backend)

    def commit(model: QuantizedModel) -> SecretCommitment:
        if model.architecture.digest != task.architecture.digest:
            raise KeyMismatch("the model has another architecture than the task")
        blinding = draw_blinding(random_bytes)
        made = commit_job(model, blinding, bases)
        return SecretCommitment(public=made, blinding=blinding)

    return commit


class Client:
    """One client on one chain; not for several threads."""

    def __init__(
        self,
        key: Ed25519PrivateKey,
        *,
        validator: int,
        permit: bytes,
        blobs: Blobs,
        secrets: SecretStore,
        learn: Learn,
        commit: Committer,
        prover: Prover,
    ) -> None:
        """validator : its home, which proposes when this client leads
        permit    : of the admission key; b"" for one that is registered already
        """
        self.public_key = get_public_key(key)
        self._key, self._validator, self._permit = key, validator, permit
        self._blobs, self._secrets = blobs, secrets
        self._learn, self._commit, self._prover = learn, commit, prover
        self._made: tuple[Duty, int, SentTransaction] | None = None

    def act(self, state: ChainState) -> SentTransaction | None:
        """The transaction that is due after this state; None: nothing is.

        Made once, which may take as long as training and proving do, and kept on disk; the same
        comes again until it is final.

        Raises ProvingFailed, BlobUnavailable, PoolInvalid, ProverError, OSError.
        """
        duty = find_duty(state, self.public_key)
        if duty is Duty.NOTHING:
            return None
        if self._made is None or self._made[:2] != (duty, state.learning_round):
            made = self._secrets.load_sent(state.learning_round, duty)
            if made is None:
                made = sign(self._key, self._make(duty, state), state.genesis.digest)
                self._secrets.save_sent(state.learning_round, duty, made)
            self._made = duty, state.learning_round, made
        return self._made[2]

    def require_permit(self) -> None:
        """Raises NotAdmitted for a client that has none, with what to do."""
        if not self._permit:
            what = "this client is not registered and has no permit"
            raise NotAdmitted(f"{what}; {describe_permit(self.public_key)}")

    def load_secrets(self, learning_round: int) -> RoundSecrets | None:
        """The model and the commitment of a round, once they are made."""
        return self._secrets.load(learning_round)

    def _make(self, duty: Duty, state: ChainState) -> SentTransaction:
        """Not signed yet."""
        if duty is Duty.REGISTER:
            return Register(
                client_key=self.public_key, validator=self._validator, permit=self._permit
            )
        if duty is Duty.COMMIT:
            public = self._require_secrets(state).commitment.public
            return Commit(
                client_key=self.public_key,
                learning_round=state.learning_round,
                d_w=encode_g1(public.d),
            )
        secrets = self._require_secrets(state)
        if duty is Duty.PROVE:
            return Proof(
                client_key=self.public_key,
                learning_round=state.learning_round,
                envelope=self._prove(state, secrets),
            )
        return Update(
            client_key=self.public_key,
            learning_round=state.learning_round,
            model_digest=self._blobs.put(encode_model(secrets.model)),
            rho=secrets.commitment.blinding.rho.to_bytes(32, "little"),
        )

    def _prove(self, state: ChainState, secrets: RoundSecrets) -> bytes:
        images, labels = draw_shard(state, self._blobs)
        return self._prover.prove(
            ProofOrder(
                model=secrets.model,
                commitment=secrets.commitment,
                images=images,
                labels=labels,
                occasion=describe_occasion(state, self.public_key),
            )
        )

    def _require_secrets(self, state: ChainState) -> RoundSecrets:
        """Those of this round; in COMMIT they are made when there are none."""
        found = self._secrets.load(state.learning_round)
        if found is not None:
            return found
        if state.phase is not Phase.COMMIT:
            raise ProvingFailed(
                f"the model of round {state.learning_round} is not in this client's folder any "
                "more; it can take part again in the next round"
            )
        model = self._learn(self._load_global(state), state.learning_round)
        made = RoundSecrets(model=model, commitment=self._commit(model))
        self._secrets.save(state.learning_round, made)
        return made

    def _load_global(self, state: ChainState) -> GlobalModel | None:
        if state.global_model == NO_MODEL:
            return None
        return GlobalModel.parse(self._blobs.get(state.global_model))
