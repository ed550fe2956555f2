"""Tasks of dealt chains: one round, an open pool, phases that wait for everybody."""

from __future__ import annotations

from consensus.content.interface import Blobs
from consensus.learning.samples import SamplePool
from consensus.wire.genesis import Task, Timeouts, set_phases
from consensus.wire.task_norm import TaskNorm
from consensus.wire.task_training import TaskTraining
from prover.circuit.accuracy import AccuracyCircuit
from prover.keys.halves import ProvingKey

_DAY_MS = 86_400_000
TIMEOUTS = Timeouts(
    propose_ms=2000,
    prevote_ms=2000,
    precommit_ms=2000,
    increase_ms=2000,
    empty_block_ms=1000,
    longest_empty_ms=1000,
)


def make_round(
    circuit: AccuracyCircuit,
    key: ProvingKey,
    blobs: Blobs,
    pool: SamplePool,
    *,
    n_clients: int,
    norm: TaskNorm | None = None,
    training: TaskTraining | None = None,
) -> Task:
    """A task of one round under this key, whose pool and key are put there."""
    return Task(
        task_id=b"experiment",
        architecture=circuit.architecture,
        circuit_digest=circuit.digest,
        verifying_key_digest=blobs.put(key.verifying.encode()),
        sealed=False,
        pools=(blobs.put(pool.encode()),),
        n_samples=circuit.n_samples,
        threshold=1,
        margin=None,
        n_rounds=1,
        n_expected=n_clients,
        collusion=0,
        **set_phases(_DAY_MS),
        allow_few_samples=True,
        norm=norm,
        training=training,
    )
