"""What `commit` and `prove` need together: a model, and the key and circuit that fit it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from api.key_card import KeyCard, compile_for_key, load_verifying_half, require_part
from api.model_files import load_model
from kernels.backend import Backend
from kernels.encoding import encode_g1
from prover.accuracy import AccuracyCircuit
from prover.commitment import Blinding, ModelCommitment, commit_model
from prover.errors import KeyMismatch
from prover.keyfile import PROVING_NAME, load_proving_key
from prover.keys import ProvingKey
from prover.model import QuantizedModel
from prover.pipeline import collect_model_wires


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProverKit:
    """A private model, a key of its architecture, and the compiled circuit."""

    model: QuantizedModel
    key: ProvingKey
    card: KeyCard
    accuracy: AccuracyCircuit

    @classmethod
    def load(cls, model: Path, key: Path, *, require_ceremony: bool) -> ProverKit:
        """The cheap refusals first: the whole proving half is hashed when it is loaded.

        Raises FormatError, KeyMismatch, CeremonyRequired, OSError.
        """
        verifying, card = load_verifying_half(key, require_ceremony=require_ceremony)
        require_part(key / PROVING_NAME)
        loaded = load_model(model)
        if loaded.architecture != card.architecture:
            raise KeyMismatch(
                f"the key is for {card.architecture.name} "
                f"(digest {card.architecture.digest.hex()[:16]}), the model is "
                f"{loaded.architecture.name} (digest {loaded.architecture.digest.hex()[:16]})"
            )
        return cls(
            model=loaded,
            key=load_proving_key(key, require_ceremony=require_ceremony),
            card=card,
            accuracy=compile_for_key(card, verifying),
        )

    def require_commitment(
        self, commitment: ModelCommitment, blinding: Blinding, backend: Backend
    ) -> None:
        """KeyMismatch unless the commitment is of this model, with this blinding, under this key.

        cost : a second commitment; without it the fault would show after the whole proof
        """
        if commitment.key_digest != self.key.verifying.digest:
            raise KeyMismatch("the commitment was made under another key")
        wires = collect_model_wires(self.accuracy, self.model)
        again = commit_model(self.key, wires, blinding, backend)
        if encode_g1(again.d_w) != encode_g1(commitment.d_w):
            raise KeyMismatch("the commitment is of another model, or the blinding of another one")
