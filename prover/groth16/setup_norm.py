"""A key of bounds on updates: `prover.groth16.setup.setup_accuracy` for the other statement."""

from __future__ import annotations

from kernels.backend import Backend
from prover.circuit.norm.circuit import NormCircuit
from prover.groth16.setup import setup
from prover.groth16.trapdoor import draw_trapdoor
from prover.keys.card import UpdateCard
from prover.keys.halves import ProvingKey
from prover.keys.streamed import Keep, keep_in_memory
from prover.progress import StageProgress
from prover.randomness import RandomBytes


def setup_norm(
    norm: NormCircuit,
    *,
    random_bytes: RandomBytes,
    backend: Backend,
    progress: StageProgress | None = None,
    keep: Keep = keep_in_memory,
) -> ProvingKey:
    """A key of compiled bounds: `setup` with a trapdoor that is drawn and forgotten here."""
    return setup(
        norm.r1cs,
        circuit_digest=norm.digest,
        card_digest=UpdateCard.of(norm).digest,
        n_challenges=norm.n_challenges,
        trapdoor=draw_trapdoor(random_bytes, n_linked=len(norm.r1cs.linked)),
        backend=backend,
        progress=progress,
        keep=keep,
    )
