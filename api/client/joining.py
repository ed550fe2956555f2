"""A client of a task on this machine: chain, folder, prover and places for blobs, put together.

    me = Membership(load_genesis("http://127.0.0.1:8000"), folder=Path("me"), key=Path("key"))
    ending = me.take_part(learn_by(network, fit, me.task))

`zkpot client join` is this with samples from a folder, examples/own_client.py with own code.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from api.settings import Settings
from api.valkey.shared import sharing
from consensus.content.background import SeveralBlobs
from consensus.content.blobs import FileBlobs, KeptBlobs, ObjectBlobs
from consensus.content.interface import Blobs
from consensus.content.peers import PeerBlobs
from consensus.disk.blob_limits import make_limit
from consensus.disk.identity import get_public_key
from consensus.learning.steps import list_sent
from consensus.node.stream import FINAL, Transport
from consensus.node.watch import Watch
from consensus.wire.genesis import Genesis, Task
from consensus.wire.task_training import TaskTraining
from consensus.wire.transactions import SentTransaction
from federated.bounds import UpdateProver
from federated.client import Client, Learn, Prover, make_committer
from federated.data import LabeledImages
from federated.errors import ProvingFailed
from federated.joining.account import Account, take_account
from federated.joining.folder import BLOBS, holding, pin_genesis, take_key, take_permit
from federated.joining.own_prover import OwnProver, find_key_folder
from federated.joining.participation import PATIENCE_S, Ending, Participation
from federated.provable.training_prover import OwnTrainingProver
from federated.rounds.store import SecretStore
from federated.rounds.training import Trainee, take_batches
from kernels.backend import Backend, get_backend
from prover.keys.folder import VERIFYING_NAME
from prover.keys.training_folder import EXPORT_NAME, STEP_NAME
from prover.pedersen.commitment import Committer as PedersenCommitter
from prover.progress import StageProgress, silent

KEYS = "keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a client's blobs lie for others, beside the bucket of the settings.

    folder : one that nodes read too
    peers  : http://HOST:PORT of nodes that serve theirs (`zkpot node --content-port`), and take
             what they look for; what no place has is asked for over the streams
    """

    folder: Path | None = None
    peers: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """One client of one task.

    folder    : its own, private; see `federated.joining.folder`
    permit    : 128 hexadecimal digits of who holds the admission key, the first time
    key       : folder with the proving key; None: where this machine keeps those that it made
    norm_key  : folder with the key of bounds on updates, of a task that has them
    training_keys : folder of `zkpot setup --training`, of a task that asks for proofs of training;
                    None: where this machine keeps those that it made
    account   : that the client registers with; None: the one that its folder knows, or none
    prover    : a service that is trusted with the model, in place of this machine, but for bounds
    validator : its home, which proposes when this client leads; None: one by its public key
    report    : a sentence for people, now and then
    """

    genesis: Genesis
    folder: Path
    settings: Settings = field(default_factory=Settings.from_environment)
    permit: str | None = None
    account: Account | None = None
    key: Path | None = None
    norm_key: Path | None = None
    training_keys: Path | None = None
    prover: Prover | None = None
    places: Places = field(default_factory=Places)
    validator: int | None = None
    backend: Backend = field(default_factory=lambda: get_backend("cpu"))
    report: Callable[[str], None] = print
    progress: StageProgress = silent
    patience_s: float = PATIENCE_S

    @property
    def task(self) -> Task:
        return self.genesis.task

    def take_part(self, learn: Learn | LabeledImages, *, once: bool = False) -> Ending:
        """Until the task is over, or one learning round; goes on where it was when it was ended.

        learn : how the client learns; of a task that asks for proofs of training, its samples
        Raises ClientFolderInvalid, NotAdmitted, NodesSilent, ProvingFailed, ConsensusError,
        ProverError, ServerUnavailable, OSError; what `learn` raises.
        """
        with holding(self.folder):
            pin_genesis(self.folder, self.genesis)
            own = FileBlobs(self.folder / BLOBS, get_limit=make_limit(self.task))
            peers = PeerBlobs(self.places.peers, get_limit=make_limit(self.task))
            blobs = KeptBlobs(own, self._open_places(peers))
            client = self._make_client(learn, blobs)
            with sharing(self.settings, retries=1) as (redis, _):
                transport = Transport(redis, self.genesis.digest, (FINAL,))
                part = Participation(
                    client,
                    Watch(self.genesis, transport, blobs=blobs),
                    report=self.report,
                    offer=Bringer(own, peers).bring,
                    patience_s=self.patience_s,
                )
                return part.run(once=once)

    def _make_client(self, learn: Learn | LabeledImages, blobs: Blobs) -> Client:
        key = take_key(self.folder, secrets.token_bytes)
        public = get_public_key(key)
        validator = self.validator
        if validator is None:
            validator = int.from_bytes(public[:8], "little") % self.genesis.n_validators
        store = SecretStore(self.folder, self.genesis)
        return Client(
            key,
            validator=validator,
            permit=take_permit(self.folder, self.genesis, key, self.permit),
            blobs=blobs,
            secrets=store,
            learn=self._make_trainee(learn, store) if isinstance(learn, LabeledImages) else learn,
            commit=make_committer(
                self.task, random_bytes=secrets.token_bytes, backend=self.backend
            ),
            prover=self.prover or self._load_prover(),
            random_bytes=secrets.token_bytes,
            backend=self.backend,
            updates=self._load_updates(),
            account=take_account(self.folder, self.genesis, public, self.account),
        )

    def _make_trainee(self, samples: LabeledImages, store: SecretStore) -> Trainee:
        """Loads the keys before anything is sent: who cannot prove must not register."""
        training = self.task.training
        if training is None:
            raise ProvingFailed("the task asks for no proofs of training, so give `learn`")
        committer = PedersenCommitter(self.task.architecture.n_parameters, self.backend)
        step, export = self._find_training_keys(training)
        prover = OwnTrainingProver.load(
            step,
            export,
            step_key=training.step_key,
            export_key=training.export_key,
            committer=committer,
            random_bytes=secrets.token_bytes,
            backend=self.backend,
            progress=self.progress,
        )
        batches = take_batches(
            self.task,
            samples,
            store,
            random_bytes=secrets.token_bytes,
            backend=self.backend,
            progress=self.progress,
        )
        return Trainee(
            self.task,
            batches,
            prover=prover,
            committer=committer,
            random_bytes=secrets.token_bytes,
            progress=self.progress,
        )

    def _find_training_keys(self, training: TaskTraining) -> tuple[Path, Path]:
        """Folders of the keys of a step, and of an export."""
        if self.training_keys is not None:
            return self.training_keys / STEP_NAME, self.training_keys / EXPORT_NAME
        architecture, keys = self.task.architecture, self.settings.data_dir / KEYS
        cards = training.make_step_card(architecture), training.make_export_card(architecture)
        step, export = (keys / card.digest.hex() for card in cards)
        if not all((folder / VERIFYING_NAME).is_file() for folder in (step, export)):
            raise ProvingFailed(
                "this machine has not the keys of training whose digests are "
                f"{training.step_key.hex()} and {training.export_key.hex()}: have who runs the "
                "task give you the folder of `zkpot setup --training`, and name it by "
                "--training-keys"
            )
        return step, export

    def _load_updates(self) -> UpdateProver | None:
        """For a task that bounds updates; the client says what it lacks when that is asked for."""
        if self.task.norm is None or self.norm_key is None:
            return None
        digest = self.task.norm.verifying_key_digest
        return UpdateProver.load(self.norm_key, key_digest=digest, backend=self.backend)

    def _load_prover(self) -> OwnProver:
        """Before anything is sent: who cannot prove must not commit."""
        folder = self.key or find_key_folder(self.task, self.settings.data_dir / KEYS)
        if folder is None:
            raise ProvingFailed(
                "this machine has not the proving key whose digest is "
                f"{self.task.verifying_key_digest.hex()}: have who runs the task give you the "
                "folder of `zkpot setup`, and name it by --key, or name a service by --prover"
            )
        return OwnProver.load(
            self.task,
            folder,
            random_bytes=secrets.token_bytes,
            backend=self.backend,
            progress=self.progress,
        )

    def _open_places(self, peers: PeerBlobs) -> Blobs:
        limit = make_limit(self.task)
        places: list[Blobs] = []
        if self.places.folder is not None:
            places.append(FileBlobs(self.places.folder, get_limit=limit))
        if self.settings.bucket is not None:
            from consensus.content.s3 import S3Objects

            places.append(ObjectBlobs(S3Objects(*self.settings.bucket), BLOBS, get_limit=limit))
        return SeveralBlobs([*places, peers])


class Bringer:
    """Brings to peers what transactions name, until one of them has taken it."""

    def __init__(self, own: Blobs, peers: PeerBlobs) -> None:
        self._own, self._peers = own, peers
        self._taken: set[bytes] = set()

    def bring(self, tx: SentTransaction) -> None:
        """A peer looks for it as soon as the transaction has come there; others ask that one."""
        for digest in list_sent(tx):
            if digest not in self._taken and self._peers.offer(self._own.get(digest)):
                self._taken.add(digest)
