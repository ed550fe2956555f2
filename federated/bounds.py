"""A client of a task that bounds updates: it clips its model before it commits, and proves that.

    learn      model ──fit──> a model within the bounds around the global one ──> commit to it
    prove      beside the proof of accuracy, under the same commitment, on the same occasion

In the first round there is no global model, so nothing is asked.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from consensus.learning.aggregate import GlobalModel
from kernels.backend import Backend
from prover.circuit.norm.circuit import NormCircuit
from prover.groth16.prove import prepare
from prover.keys.folder import load_proving_key, load_update_half
from prover.keys.halves import ProvingKey
from prover.model.network import QuantizedModel
from prover.model.update import clip_update, compute_update, require_bounds
from prover.pedersen.commitment import Committer, SecretCommitment
from prover.progress import StageProgress, silent
from prover.updates import compile_norm_for_key, prove_update
from prover.wire.statement import Occasion


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UpdateProver:
    """Proves updates of one task on this machine.

    cost : for an mlp-784-128-10 about a third of a proof of accuracy on 1,024 samples
    """

    norm: NormCircuit
    key: ProvingKey
    committer: Committer
    backend: Backend

    @classmethod
    def load(cls, folder: Path, *, key_digest: bytes, backend: Backend) -> Self:
        """From the folder of `zkpot setup --norm`; key_digest: as the genesis names the key.

        Raises FormatError, KeyMismatch, CircuitTooLarge, OSError.
        """
        verifying, card = load_update_half(folder, expected_digest=key_digest)
        return cls(
            norm=compile_norm_for_key(card, verifying),
            key=prepare(load_proving_key(folder, verifying), backend),
            committer=Committer(card.architecture.n_parameters, backend),
            backend=backend,
        )

    def fit(self, model: QuantizedModel, global_model: GlobalModel) -> QuantizedModel:
        """The model, clipped to the bounds around the global one: what to commit to."""
        return clip_update(model, global_model.rounded(), self.norm.bounds)

    def require(self, model: QuantizedModel, global_model: GlobalModel) -> None:
        """UpdateExceeds, for the owner's eyes, unless the model lies within the bounds."""
        update = compute_update(model, global_model.rounded())
        require_bounds(model.architecture, update, self.norm.bounds)

    def prove(
        self,
        model: QuantizedModel,
        global_model: GlobalModel,
        *,
        occasion: Occasion,
        commitment: SecretCommitment,
        progress: StageProgress = silent,
    ) -> bytes:
        """The envelope that goes with the proof of accuracy.

        Raises UpdateExceeds, for the owner's eyes, when the model was not fitted; KeyMismatch,
        ShapeMismatch, SelfCheckFailed.
        """
        proven = prove_update(
            self.norm,
            self.key,
            model,
            global_model.rounded(),
            occasion=occasion,
            commitment=commitment.public,
            blinding=commitment.blinding,
            committer=self.committer,
            random_bytes=secrets.token_bytes,
            backend=self.backend,
            clock=time.monotonic,
            progress=progress,
        )
        return proven.envelope
