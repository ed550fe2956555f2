"""A small chain whose task bounds updates, with the key of the bounds and proofs of them.

Client 0's model is the global one; the others' weights are up to 40 away from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property

from consensus.learning.admission import describe_occasion
from consensus.learning.aggregate import ONE, GlobalModel
from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.genesis import Task
from consensus.wire.task_norm import TaskNorm
from consensus.wire.transactions import Proof
from prover.circuit.norm.circuit import NormCircuit, compile_norm
from prover.groth16.setup_norm import setup_norm
from prover.keys.halves import ProvingKey
from prover.model.network import QuantizedModel
from prover.model.update import UpdateBounds
from prover.updates import prove_update
from prover.wire.update import UpdateEnvelope
from tests.support.learning import (
    ARCHITECTURE,
    BACKEND,
    ProvenLab,
    commitment_of,
    committer,
    model_of,
)
from tests.support.tiny_circuits import seeded

BOUNDS = UpdateBounds(weight=40, bias=10, squares=36 * 1600)


@cache
def norm() -> NormCircuit:
    return compile_norm(ARCHITECTURE, BOUNDS)


@cache
def norm_key() -> ProvingKey:
    return setup_norm(norm(), random_bytes=seeded(73), backend=BACKEND)


@dataclass
class BoundedLab(ProvenLab):
    """A task that bounds updates, in its first round, and in one that has a global model."""

    @cached_property
    def task(self) -> Task:
        asked = TaskNorm(
            bounds=BOUNDS,
            circuit_digest=norm().digest,
            verifying_key_digest=self.blobs.put(norm_key().verifying.encode()),
        )
        return replace(super().task, norm=asked)

    @cached_property
    def first(self) -> ChainState:
        return self.reach(Phase.PROVE)

    @cached_property
    def later(self) -> ChainState:
        return self.measure_from(model_of(0))

    def measure_from(self, origin: QuantizedModel) -> ChainState:
        """The same round, as if this were what the one before came to."""
        mean = GlobalModel(architecture=ARCHITECTURE, numbers=origin.wires * ONE)
        return replace(self.first, global_model=self.blobs.put(mean.encode()))

    def bound(
        self, i: int, *, origin: QuantizedModel | None = None, **occasion: object
    ) -> UpdateEnvelope:
        """A proof of bounds that verifies by itself; `occasion` are fields to lie about."""
        made, blinding = commitment_of(i)
        place = describe_occasion(self.first, self.client(i))
        proven = prove_update(
            norm(),
            norm_key(),
            model_of(i),
            origin or model_of(0),
            occasion=replace(place, **occasion),  # type: ignore[arg-type]
            commitment=made,
            blinding=blinding,
            committer=committer(),
            random_bytes=seeded(80 + i),
            backend=BACKEND,
            clock=lambda: 0.0,
        )
        envelope = UpdateEnvelope.decode(proven.envelope)
        assert envelope is not None
        return envelope

    def send(self, i: int, envelope: UpdateEnvelope | None) -> Proof:
        """A transaction with a true proof of accuracy and this second envelope."""
        proof = self.prove(i, self.first)
        given = b"" if envelope is None else envelope.encode()
        return self.sign(replace(proof, norm=given), self.clients[i])
