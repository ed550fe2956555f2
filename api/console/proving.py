"""What `prove` needs together: a model, and the key and circuit that fit it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from api.console.ceremony.required import require_ceremony_of
from api.console.model_files import load_model
from kernels.backend import Backend
from prover.circuit.accuracy import AccuracyCircuit
from prover.circuit.sizes import CircuitSizes, compute_sizes
from prover.errors import KeyMismatch
from prover.groth16.prove import prepare
from prover.keys.card import KeyCard
from prover.keys.folder import PROVING_NAME, load_proving_key, load_verifying_half, require_part
from prover.keys.halves import ProvingKey
from prover.model.network import QuantizedModel
from prover.pipeline import compile_for_key
from prover.plan import must_stream


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProverKit:
    """A private model, a key of its architecture, and the compiled circuit."""

    model: QuantizedModel
    key: ProvingKey
    card: KeyCard
    accuracy: AccuracyCircuit

    @classmethod
    def load(
        cls,
        model: Path,
        key: Path,
        *,
        key_digest: bytes | None,
        memory_bytes: int | None,
        ceremony: bool = False,
    ) -> ProverKit:
        """The cheap refusals first: the whole proving half is hashed when it is loaded.

        key_digest : of the key that it must be; None: whatever key lies there
        memory_bytes : where they are too few, the key's bases stay in their file
        ceremony : whether the key must be of one
        Raises FormatError, KeyMismatch, CeremonyInvalid, CircuitTooLarge, OSError.
        holds : a circuit is compiled only if it has the sizes of the key that lies there, whose
                bytes are many times those of the matrices
        """
        verifying, card = load_verifying_half(key, expected_digest=key_digest)
        if ceremony:
            require_ceremony_of(key, verifying, is_pinned=key_digest is not None)
        require_part(key / PROVING_NAME)
        loaded = load_model(model)
        if loaded.architecture != card.architecture:
            raise KeyMismatch(
                f"the key is for {card.architecture.name} "
                f"(digest {card.architecture.digest.hex()[:16]}), the model is "
                f"{loaded.architecture.name} (digest {loaded.architecture.digest.hex()[:16]})"
            )
        sizes = replace(
            compute_sizes(card.architecture, card.n_samples), is_padded=verifying.is_of_ceremony
        )
        proving = load_proving_key(key, verifying, streams=must_stream(sizes, memory_bytes))
        _require_sizes(proving, card, sizes)
        return cls(
            model=loaded,
            key=proving,
            card=card,
            accuracy=compile_for_key(card, verifying),
        )

    def prepare(self, backend: Backend) -> ProverKit:
        """The kit with its bases prepared for proofs on this backend, and no other copy of them."""
        return replace(self, key=prepare(self.key, backend))


def _require_sizes(key: ProvingKey, card: KeyCard, sizes: CircuitSizes) -> None:
    """KeyMismatch when the card's circuit has other sizes than the key, without compiling it."""
    found = (key.n_wires, key.linked, key.n_advice)
    wanted = (sizes.n_wires, (sizes.n_model,), sizes.n_advice)
    if found != wanted or key.domain not in sizes.domains:
        raise KeyMismatch(
            f"the key was made for another circuit than {card.architecture.name} "
            f"on {card.n_samples} samples"
        )
