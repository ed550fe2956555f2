"""A client of a task: what the chain asks of it in each phase, made once, sent until it is final.

    REGISTER  its key and home validator, by a permit
    COMMIT    trains from the global model; D_W of the outcome, with a blinding kept on its disk,
              and two keys for the masks of the round
    PROVE     the shard that the beacon drew; a proof of it, made by whoever proves for it; shares
              of its secrets for its neighbours
    MASK      its weighted model under masks
    UNMASK    shares of others' secrets, as the frozen sets say
    ATTEST, REVEAL   where somebody has cheated: `consensus.aggregation.dispute`

A task that asks for proofs of training changes each of these, see `federated.rounds.training`.

What to do is a function of a state that a light client has verified; data, proving and sending are
arguments. One commitment per learning round: it is on disk before it is sent, so that a client that
was killed goes on with the same one. What a client unmasks for is on disk before it answers
(`consensus.aggregation.client_side`): its model never leaves it but under masks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.aggregation.client_side import RoundClient
from consensus.aggregation.client_side import RoundSecrets as MaskSecrets
from consensus.aggregation.deal import Deal
from consensus.aggregation.masks import Masker
from consensus.content.interface import Blobs
from consensus.disk.identity import get_public_key, sign
from consensus.learning.admission import describe_occasion, is_norm_asked
from consensus.learning.aggregate import WEIGHT, GlobalModel
from consensus.learning.chain_state import NO_MODEL, ChainState, Phase
from consensus.learning.circle import describe_circle, describe_judged, list_bad
from consensus.learning.steps import STEPS, list_sent
from consensus.wire.genesis import Task
from consensus.wire.transactions import (
    Commit,
    Contribution,
    Proof,
    Register,
    SentTransaction,
)
from federated.bounds import UpdateProver
from federated.errors import BelowThreshold, NotAdmitted, ProvingFailed
from federated.joining.account import Account
from federated.rounds.duties import Duty, draw_shard, find_duty, name_deals
from federated.rounds.store import RoundSecrets, SecretStore
from federated.rounds.training import Trainee
from kernels.backend import Backend
from kernels.encoding import encode_g1
from kernels.numpy_types import UInt8Array
from prover.errors import KeyMismatch
from prover.model.network import QuantizedModel, is_correct
from prover.model.samples import shape_samples
from prover.pedersen.commitment import Committer as PedersenCommitter
from prover.pedersen.commitment import SecretCommitment, draw_blinding
from prover.pipeline import commit_job
from prover.randomness import RandomBytes
from prover.wire.records import Record
from prover.wire.statement import Occasion

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
        learn: Learn | Trainee,
        commit: Committer,
        prover: Prover,
        random_bytes: RandomBytes,
        backend: Backend,
        updates: UpdateProver | None = None,
        account: Account | None = None,
    ) -> None:
        """validator : its home, which proposes when this client leads
        permit    : of the admission key; b"" for one that is registered already
        learn     : a `Trainee` where the task asks for proofs of training, and only there
        updates   : of a task that bounds them
        account   : that it registers with, for contracts to pay; None: none
        """
        self.public_key = get_public_key(key)
        self._key, self._validator, self._permit = key, validator, permit
        self._blobs, self._secrets = blobs, secrets
        self._learn, self._commit, self._prover = learn, commit, prover
        self._random_bytes, self._masker = random_bytes, Masker(backend)
        self._updates, self.account = updates, account or Account()
        self._made: tuple[Duty, int, SentTransaction] | None = None

    def act(self, state: ChainState) -> SentTransaction | None:
        """The transaction that is due after this state; None: nothing is.

        Made once, which may take as long as training and proving do, and kept on disk; the same
        comes again until it is final.

        Raises ProvingFailed, BlobUnavailable, PoolInvalid, ProverError, OSError; BelowThreshold for
        a model that would not count, and AnswerRefused for what would show it.
        """
        duty = find_duty(state, self.public_key)
        if duty is Duty.NOTHING:
            return None
        if self._made is None or self._made[:2] != (duty, state.learning_round):
            made = self._secrets.load_sent(state.learning_round, duty)
            if made is not None:
                self._offer_again(made)
            else:
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

    def _offer_again(self, tx: SentTransaction) -> None:
        """Puts what a transaction names where others look for it: it may not have come there."""
        for digest in list_sent(tx):
            self._blobs.put(self._blobs.get(digest))

    def _make(self, duty: Duty, state: ChainState) -> SentTransaction:
        """Not signed yet."""
        if duty is Duty.REGISTER:
            trainee = self._find_trainee(state)
            return Register(
                client_key=self.public_key,
                validator=self._validator,
                permit=self._permit,
                batches=b"" if trainee is None else self._put(trainee.batches.public),
                address=self.account.address,
                address_signature=self.account.signature,
            )
        if duty is Duty.COMMIT:
            made = self._require_secrets(state)
            keys = self._require_masks(state).public
            training = None if made.training is None else made.training.public
            return Commit(
                client_key=self.public_key,
                learning_round=state.learning_round,
                d_w=encode_g1(made.commitment.public.d),
                mask_key=keys.mask_key,
                share_key=keys.share_key,
                trajectory=b"" if training is None else self._put(training),
                d_m=b"" if training is None else encode_g1(training.d[-1:]),
            )
        secrets, masks = self._require_secrets(state), self._take_part(state)
        if duty is Duty.PROVE:
            return Proof(
                client_key=self.public_key,
                learning_round=state.learning_round,
                envelope=self._prove(state, secrets),
                norm=self._prove_norm(state, secrets),
                deal=self._put(masks.deal()),
                training=self._prove_training(state, secrets),
            )
        payload = self._contribute(duty, state, secrets, masks)
        return Contribution(
            client_key=self.public_key,
            learning_round=state.learning_round,
            step=STEPS[state.phase],
            payload=self._put(payload),
        )

    def _put(self, record: Record) -> bytes:
        """Its digest, by which others find it."""
        return self._blobs.put(record.encode())

    def _contribute(
        self, duty: Duty, state: ChainState, secrets: RoundSecrets, masks: RoundClient
    ) -> Record:
        accepted, masked = state.proofs.keys(), state.masked.keys()
        if duty is Duty.MASK:
            summed, rho = secrets.summed
            return masks.mask(summed, rho=rho, weight=WEIGHT, accepted=accepted)
        if duty is Duty.UNMASK:
            named = name_deals(state, self.public_key)
            deals = {c: Deal.parse(self._blobs.get(digest)) for c, digest in named.items()}
            return masks.unmask(accepted=accepted, masked=masked, deals=deals)
        if duty is Duty.ATTEST:
            n = state.genesis.task.architecture.n_parameters
            committer = PedersenCommitter(n, self._masker.backend)
            return masks.attest(masked=masked, bad=list_bad(state), committer=committer)
        return masks.reveal(describe_judged(state), masked=masked)

    def _take_part(self, state: ChainState) -> RoundClient:
        """In the masks of this round, from the beacon on."""
        number = state.learning_round
        return RoundClient(
            self._require_masks(state),
            describe_circle(state),
            masker=self._masker,
            save=lambda secrets: self._secrets.save_masks(number, secrets),
        )

    def _prove(self, state: ChainState, secrets: RoundSecrets) -> bytes:
        images, labels = draw_shard(state, self._blobs)
        task = state.genesis.task
        shaped = shape_samples(images, secrets.model.architecture.input_shape)
        count = int(is_correct(secrets.model.logits(shaped), labels).sum())
        if count < task.threshold:
            raise BelowThreshold(count, task.n_samples, task.threshold)
        return self._prover.prove(
            ProofOrder(
                model=secrets.model,
                commitment=secrets.commitment,
                images=images,
                labels=labels,
                occasion=describe_occasion(state, self.public_key),
            )
        )

    def _prove_norm(self, state: ChainState, secrets: RoundSecrets) -> bytes:
        """The second envelope of a proof; empty where none is asked for."""
        origin = self._load_global(state)
        if origin is None or not is_norm_asked(state):
            return b""
        return self._require_updates().prove(
            secrets.model,
            origin,
            occasion=describe_occasion(state, self.public_key),
            commitment=secrets.commitment,
        )

    def _prove_training(self, state: ChainState, secrets: RoundSecrets) -> bytes:
        """Digest of the proofs of training; empty where none are asked for."""
        trainee = self._find_trainee(state)
        if trainee is None:
            return b""
        return self._blobs.put(trainee.prove(state, self.public_key, secrets))

    def _find_trainee(self, state: ChainState) -> Trainee | None:
        """None where the task asks for no proofs of training. Raises ProvingFailed for the other
        way to learn."""
        if state.genesis.task.training is None:
            if isinstance(self._learn, Trainee):
                raise ProvingFailed("the task asks for no proofs of training, so give `learn`")
            return None
        if not isinstance(self._learn, Trainee):
            raise ProvingFailed(
                "the task asks for proofs of training, and no code but its own recipe has them: "
                "take part with samples (`zkpot client join --data`)"
            )
        return self._learn

    def _require_updates(self) -> UpdateProver:
        if self._updates is None:
            raise ProvingFailed(
                "the task bounds updates around the global model: have who runs it give you the "
                "folder of `zkpot setup --norm`, and name it by --norm-key"
            )
        return self._updates

    def _require_secrets(self, state: ChainState) -> RoundSecrets:
        """Those of this round; in COMMIT they are made when there are none."""
        found = self._secrets.load(state.learning_round)
        asks_for_training = state.genesis.task.training is not None
        if found is not None and (found.training is not None) == asks_for_training:
            return found
        if state.phase is not Phase.COMMIT:
            raise _lose("its model", state)
        made = self._learn_round(state, self._load_global(state))
        self._secrets.save(state.learning_round, made)
        return made

    def _learn_round(self, state: ChainState, origin: GlobalModel | None) -> RoundSecrets:
        """The model that the client is to show in this round, with all that it is shown by."""
        trainee = self._find_trainee(state)
        near = origin if is_norm_asked(state) else None
        if trainee is not None:
            training = trainee.train(state, self.public_key, origin)
            model = training.trajectory.export()
            if near is not None:  # before it commits: what steps have led to is not clipped
                self._require_updates().require(model, near)
            return RoundSecrets(model=model, commitment=self._commit(model), training=training)
        assert not isinstance(self._learn, Trainee), "refused above"
        model = self._learn(origin, state.learning_round)
        if near is not None:
            model = self._require_updates().fit(model, near)
        return RoundSecrets(model=model, commitment=self._commit(model))

    def _require_masks(self, state: ChainState) -> MaskSecrets:
        """Those of this round; in COMMIT they are drawn when there are none."""
        found = self._secrets.load_masks(state.learning_round)
        if found is None:
            if state.phase is not Phase.COMMIT:
                raise _lose("what is behind its masks", state)
            found = MaskSecrets.draw(
                genesis_digest=state.genesis.digest,
                learning_round=state.learning_round,
                client_key=self.public_key,
                random_bytes=self._random_bytes,
            )
            self._secrets.save_masks(state.learning_round, found)
        return found

    def _load_global(self, state: ChainState) -> GlobalModel | None:
        if state.global_model == NO_MODEL:
            return None
        return GlobalModel.parse(self._blobs.get(state.global_model))


def _lose(what: str, state: ChainState) -> ProvingFailed:
    return ProvingFailed(
        f"{what} of round {state.learning_round} is not in this client's folder any more; it can "
        "take part again in the next round"
    )
