"""A client's own files of its rounds, each on disk before anything that it binds is sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from consensus.aggregation.client_side import RoundSecrets as MaskSecrets
from consensus.wire.genesis import Genesis
from consensus.wire.transactions import SentTransaction, decode_transaction
from federated.rounds.duties import Duty
from kernels.files import PRIVATE, write_whole
from prover.model.network import QuantizedModel
from prover.model.zkq import decode_model, encode_model
from prover.pedersen.commitment import SecretCommitment

MODEL_NAME, COMMITMENT_NAME, MASKS_NAME = "model.zkq", "commitment.secret", "masks.secret"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoundSecrets:
    """A client's model of a round and the commitment to it."""

    model: QuantizedModel
    commitment: SecretCommitment


class SecretStore:
    """FOLDER/chain-GENESIS/round-N/, for its owner's eyes only: model.zkq, commitment.secret,
    masks.secret, and each transaction under its duty's name once it is made, `prove.sent`.

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

    def _get(self, learning_round: int) -> Path:
        return self._folder / f"round-{learning_round}"
