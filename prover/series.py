"""Proofs of all shards of a test set: shard i is verified beside the making of shard i + 1.

    device   │ make 0 │ make 1 │ make 2 │
    beside            │ verify 0 │ verify 1 │ verify 2 │

Kernels release the GIL, so on a GPU verification costs no time of its own. What a proof is made of
depends on none of it: the verifier's weights come from a source of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from kernels.backend import Backend
from prover.circuit.accuracy import AccuracyCircuit
from prover.circuit.public_inputs import ShardInputs
from prover.errors import ProverError, ShardFailed
from prover.keys.halves import ProvingKey
from prover.model.network import QuantizedModel
from prover.pedersen.commitment import Blinding, ModelCommitment
from prover.pipeline import MadeProof, ProvedJob, make_proof
from prover.progress import Clock, StageProgress, silent
from prover.randomness import RandomBytes
from prover.wire.statement import Occasion
from prover.wire.verdict import Verdict


def prove_shards(
    accuracy: AccuracyCircuit,
    key: ProvingKey,
    model: QuantizedModel,
    shards: Sequence[ShardInputs],
    *,
    occasion: Occasion,
    commitment: ModelCommitment,
    blinding: Blinding,
    random_bytes: RandomBytes,
    backend: Backend,
    clock: Clock,
    claimed: int | None = None,
    progress: StageProgress | None = None,
    beside: bool = True,
) -> list[ProvedJob]:
    """One verified proof for each shard, in their order, all under one commitment.

    claimed : of a single shard; default all samples that are correct
    beside  : whether a shard is verified in a thread beside the next one's making; the proofs are
              the same, and no thread outlives the call
    memory  : one witness more than a proof takes
    raises  : of the first shard that fails, what `prove_job` raises; of several shards ShardFailed
              in place of a ProverError, which says which one
    """
    report, n_shards = progress or silent, len(shards)
    beside = beside and n_shards > 1
    jobs: list[ProvedJob] = []
    last: Callable[[], ProvedJob] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="zkpot verify") as thread:
        for index, inputs in enumerate(shards):
            if n_shards > 1:
                report("shards", index, n_shards)
            try:
                with _naming(index, n_shards):
                    made = make_proof(
                        accuracy,
                        key,
                        model,
                        inputs=inputs,
                        occasion=occasion,
                        commitment=commitment,
                        blinding=blinding,
                        random_bytes=random_bytes,
                        backend=backend,
                        clock=clock,
                        shard_index=index,
                        claimed=claimed,
                        progress=report,
                    )
            finally:  # a fault of the shard before comes first
                if last is not None:
                    jobs.append(last())
            verdict = thread.submit((_silence(made) if beside else made).verify)
            last = partial(_conclude, made, verdict, index, n_shards)
            if not beside:
                jobs.append(last())
                last = None
        if last is not None:
            jobs.append(last())
    if n_shards > 1:
        report("shards", n_shards, n_shards)
    return jobs


def _conclude(made: MadeProof, verdict: Future[Verdict], index: int, n_shards: int) -> ProvedJob:
    with _naming(index, n_shards):
        return made.conclude(verdict.result())


def _silence(made: MadeProof) -> MadeProof:
    """Who draws progress hears of one thing at a time: of what is being made."""
    return replace(made, stages=replace(made.stages, report=silent))


@contextmanager
def _naming(index: int, n_shards: int) -> Iterator[None]:
    try:
        yield
    except ProverError as error:
        if n_shards == 1:
            raise
        raise ShardFailed(shard=index, n_shards=n_shards, cause=error) from error
