"""A client's own files of its rounds, each on disk before anything that it binds is sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from consensus.aggregation.client_side import RoundSecrets as MaskSecrets
from consensus.wire.genesis import Genesis
from consensus.wire.transactions import SentTransaction, decode_transaction
from federated.provable.batches import (
    PUBLIC_NAME,
    SECRET_NAME,
    CommittedBatches,
    load_batches,
)
from federated.provable.trajectory import (
    BLINDINGS_NAME,
    COMMITMENTS_NAME,
    TRAJECTORY_NAME,
    CommittedTrajectory,
    load_trajectory,
)
from federated.rounds.duties import Duty
from kernels.files import PRIVATE, write_whole
from kernels.numpy_types import Int64Array
from prover.model.network import QuantizedModel
from prover.model.zkq import decode_model, encode_model
from prover.pedersen.commitment import SecretCommitment

MODEL_NAME, COMMITMENT_NAME, MASKS_NAME = "model.zkq", "commitment.secret", "masks.secret"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoundSecrets:
    """A client's model of a round and the commitment to it.

    training : how it came about, step by step, where the task asks for that; the model is its
               export
    """

    model: QuantizedModel
    commitment: SecretCommitment
    training: CommittedTrajectory | None = None

    @property
    def summed(self) -> tuple[Int64Array, int]:
        """What enters the sum of the round, int64[n_parameters], and the blinding of the commitment
        to it: the masters at the end of training, or without training the model. Secret."""
        if self.training is None:
            return self.model.wires, self.commitment.blinding.rho
        end = self.training.trajectory.n_steps
        return self.training.trajectory.get_masters(end), self.training.get_blinding(end)


class SecretStore:
    """FOLDER/chain-GENESIS/round-N/, for its owner's eyes only: model.zkq, commitment.secret,
    masks.secret, and each transaction under its duty's name once it is made, `prove.sent`; of a
    task that asks for training the three files of a trajectory, and beside the rounds committed
    batches.

    On another chain the same commitment would tell that both clients are one.
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
            model=decode_model(model),
            commitment=SecretCommitment.decode(commitment),
            training=self._load_training(folder),
        )

    def save(self, learning_round: int, secrets: RoundSecrets) -> None:
        """The commitment last: where it is, all of it is. Raises OSError."""
        folder = self._get(learning_round)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if secrets.training is not None:
            for name, part in (
                (TRAJECTORY_NAME, secrets.training.trajectory),
                (BLINDINGS_NAME, secrets.training.blindings),
                (COMMITMENTS_NAME, secrets.training.public),
            ):
                write_whole(folder / name, [part.encode()], mode=PRIVATE)
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

    def load_masks(self, learning_round: int) -> MaskSecrets | None:
        """The secrets behind a round's masks; None when none were saved. Raises FormatError."""
        try:
            raw = (self._get(learning_round) / MASKS_NAME).read_bytes()
        except FileNotFoundError:
            return None
        return MaskSecrets.parse(raw)

    def save_masks(self, learning_round: int, secrets: MaskSecrets) -> None:
        """In place of what was there, before any answer that they bind. Raises OSError."""
        folder = self._get(learning_round)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(folder / MASKS_NAME, [secrets.encode()], mode=PRIVATE)

    def load_batches(self) -> CommittedBatches | None:
        """Those of this chain; None when none were saved whole. Raises FormatError, OSError."""
        return load_batches(self._folder) if (self._folder / PUBLIC_NAME).exists() else None

    def save_batches(self, batches: CommittedBatches) -> None:
        """The secret first: a commitment without one must never exist. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, part in ((SECRET_NAME, batches.secret), (PUBLIC_NAME, batches.public)):
            write_whole(self._folder / name, [part.encode()], mode=PRIVATE)

    @staticmethod
    def _load_training(folder: Path) -> CommittedTrajectory | None:
        return load_trajectory(folder) if (folder / COMMITMENTS_NAME).exists() else None

    def _get(self, learning_round: int) -> Path:
        return self._folder / f"round-{learning_round}"
