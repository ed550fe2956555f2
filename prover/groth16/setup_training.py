"""Keys of training steps and exports: `prover.groth16.setup.setup_accuracy` for the others."""

from __future__ import annotations

from kernels.backend import Backend
from prover.circuit.training.export import ExportCircuit
from prover.circuit.training.step import StepCircuit
from prover.groth16.setup import setup
from prover.groth16.trapdoor import draw_trapdoor
from prover.keys.halves import ProvingKey
from prover.keys.streamed import Keep, keep_in_memory
from prover.keys.training_card import ExportCard, StepCard
from prover.progress import StageProgress
from prover.randomness import RandomBytes


def setup_step(
    step: StepCircuit,
    *,
    random_bytes: RandomBytes,
    backend: Backend,
    progress: StageProgress | None = None,
    keep: Keep = keep_in_memory,
) -> ProvingKey:
    """A key of a compiled step: `setup` with a trapdoor that is drawn and forgotten here."""
    return _setup(step, StepCard.of(step).digest, random_bytes, backend, progress, keep)


def setup_export(
    circuit: ExportCircuit,
    *,
    random_bytes: RandomBytes,
    backend: Backend,
    progress: StageProgress | None = None,
    keep: Keep = keep_in_memory,
) -> ProvingKey:
    """A key of a compiled export, likewise."""
    return _setup(circuit, ExportCard.of(circuit).digest, random_bytes, backend, progress, keep)


def _setup(
    circuit: StepCircuit | ExportCircuit,
    card_digest: bytes,
    random_bytes: RandomBytes,
    backend: Backend,
    progress: StageProgress | None,
    keep: Keep,
) -> ProvingKey:
    return setup(
        circuit.r1cs,
        circuit_digest=circuit.digest,
        card_digest=card_digest,
        n_challenges=circuit.n_challenges,
        trapdoor=draw_trapdoor(random_bytes, n_linked=len(circuit.r1cs.linked)),
        backend=backend,
        progress=progress,
        keep=keep,
    )
